import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.tiny_models import fit, frozen, tiny_decoder, tiny_encoder, tiny_vae
from vaekit import VAE, KLDivergence
from vaekit.callbacks import CollapseWarning, KLWarmup

X = np.random.default_rng(0).uniform(0.1, 0.9, size=(8, 6)).astype("float32")
JIT = pytest.mark.skipif(
    keras.config.backend() == "torch", reason="torch compiles with a C++ compiler of the machine"
)
COMPILED = [False, pytest.param(True, marks=JIT)]


def constant_decoder():
    """A decoder that ignores z, so that the noise does not reach the loss."""
    decoder = tiny_decoder()
    decoder.layers[-1].kernel.assign(ops.zeros((2, 6)))
    return decoder


def vae(**compiled):
    model = VAE(tiny_encoder(), constant_decoder())
    model.compile(frozen(), **compiled)
    return model


def functional(layer_count=1, **compiled):
    """``KLDivergence`` layers in a functional model that passes z_mean on."""
    encoder = tiny_encoder()
    pair = encoder.outputs
    for k in range(layer_count):
        pair = KLDivergence(name=f"kl_{k}")(pair)
    model = keras.Model(encoder.input, layers.Dense(6)(pair[0]))
    model.compile(frozen(), "mse", **compiled)
    return model


def nested():
    """A functional model whose ``KLDivergence`` lies two models deep."""
    inner = functional()
    middle = keras.Sequential([keras.Input((6,)), inner])
    return keras.Sequential([keras.Input((6,)), middle])


def kl(model, encoder):
    z_mean, z_log_var = np.asarray(encoder.predict(X, verbose=0), "float64")
    return 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var).sum(axis=1).mean()


def betas(model, callback, epochs):
    """The values of all variables named beta that each epoch trains with, without training."""
    callback.set_model(model)
    callback.on_train_begin()
    variables = [v for v in model.non_trainable_variables if v.name == "beta"]
    found = []
    for epoch in epochs:
        callback.on_epoch_begin(epoch)
        found.append([float(ops.convert_to_numpy(variable)) for variable in variables])
    return found


# ---- the schedule ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"epochs": 4}, [0, 0.25, 0.5, 0.75, 1, 1, 1]),
        ({"epochs": 2, "start": 0.5, "end": 4.5}, [0.5, 2.5, 4.5, 4.5]),
        ({"epochs": 2, "start": 1, "end": 0}, [1, 0.5, 0, 0]),
        ({"epochs": 0.5}, [0, 1, 1]),
    ],
)
def test_beta_rises_in_a_straight_line_and_stays(arguments, expected):
    callback = KLWarmup(**arguments)
    assert [callback.beta_at(epoch) for epoch in range(len(expected))] == expected


@pytest.mark.parametrize(
    "make, count", [(vae, 1), (functional, 1), (lambda: functional(2), 2), (nested, 1)]
)
def test_every_beta_of_the_model_is_set(make, count):
    found = betas(make(), KLWarmup(epochs=2, end=3.0), [0, 1, 2, 5])
    assert found == [[0.0] * count, [1.5] * count, [3.0] * count, [3.0] * count]


def test_depends_on_the_number_of_the_epoch_alone():
    """So a resumed training goes on where it stopped."""
    assert betas(vae(), KLWarmup(epochs=4), [3]) == [[0.75]]


def test_other_layers_with_a_beta_are_left_alone():
    model = keras.Sequential([keras.Input((6,)), layers.BatchNormalization(), functional()])
    before = ops.convert_to_numpy(model.layers[0].beta)
    assert betas(model, KLWarmup(epochs=1), [1]) == [[1.0]]
    np.testing.assert_array_equal(ops.convert_to_numpy(model.layers[0].beta), before)


# ---- in training -----------------------------------------------------------------------------


@pytest.mark.parametrize("jit_compile", COMPILED)
def test_logged_loss_of_a_frozen_vae_changes_by_exactly_beta_times_kl(jit_compile):
    model = vae(jit_compile=jit_compile)
    history = model.fit(
        X, epochs=4, batch_size=4, verbose=0, validation_data=(X,), callbacks=[KLWarmup(2, 0, 3)]
    ).history
    expected_kl = kl(model, model.encoder)
    assert history["beta"] == [0.0, 1.5, 3.0, 3.0]
    for prefix in ("", "val_"):
        change = np.array(history[f"{prefix}loss"]) - history[f"{prefix}loss"][0]
        np.testing.assert_allclose(change, np.array([0, 1.5, 3, 3]) * expected_kl, atol=2e-5)
        np.testing.assert_allclose(history[f"{prefix}kl_loss"], expected_kl, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", COMPILED)
def test_logged_loss_of_a_frozen_functional_model_changes_by_exactly_beta_times_kl(jit_compile):
    model = functional(jit_compile=jit_compile)
    encoder = keras.Model(
        model.input, [model.get_layer(name).output for name in ("z_mean", "z_log_var")]
    )
    history = model.fit(
        X, X, epochs=4, batch_size=4, verbose=0, callbacks=[KLWarmup(2, 0, 3)]
    ).history
    change = np.array(history["loss"]) - history["loss"][0]
    expected = np.array([0, 1.5, 3, 3]) * kl(model, encoder)
    np.testing.assert_allclose(change, expected, atol=2e-5)


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [0, -1, float("nan")])
def test_epochs_must_be_positive(epochs):
    with pytest.raises(ValueError, match=f"^KLWarmup expects epochs > 0, but got {epochs}.$"):
        KLWarmup(epochs)


@pytest.mark.parametrize("start, end", [(-1, 1), (0, -1), (float("nan"), 1)])
def test_betas_must_not_be_negative(start, end):
    with pytest.raises(ValueError) as caught:
        KLWarmup(2, start, end)
    assert str(caught.value) == (
        f"KLWarmup expects start >= 0 and end >= 0, but got {start}, {end}."
    )


def test_a_model_without_beta_is_refused_before_training():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6)], name="plain")
    model.compile("adam", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError) as caught:
        model.fit(X, X, verbose=0, callbacks=[KLWarmup(2)])
    assert str(caught.value) == (
        "KLWarmup expects a vaekit.VAE or a model with a KLDivergence layer, but 'plain' has "
        "neither."
    )
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


# ---- collapse --------------------------------------------------------------------------------


def warned_epochs(kls, betas=None, **arguments):
    """The epochs, from 0, at whose end the callback warns."""
    model = tiny_vae(optimizer=None)
    callback = CollapseWarning(**arguments)
    callback.set_model(model)
    callback.on_train_begin()
    warned = []
    for epoch, (kl, beta) in enumerate(zip(kls, betas or [1.0] * len(kls), strict=True)):
        model.beta.assign(beta)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            callback.on_epoch_end(epoch, {"kl_loss": kl})
        warned += [epoch for warning in caught if warning.category is UserWarning]
    return warned


@pytest.mark.parametrize(
    "kls, betas, arguments, expected",
    [
        ([0.01] * 6, None, {}, [2]),  # not the first epoch, two in a row, once
        ([0.01] * 6, None, {"patience": 4}, [4]),
        ([0.01, 0.01, 0.5, 0.01, 0.01], None, {}, [4]),  # in a row
        ([0.09] * 4, None, {"threshold": 0.05}, []),
        ([5.0] * 4, None, {}, []),
        ([0.01] * 5, [0.0] * 5, {}, []),  # nothing is charged
        ([0.01] * 5, [0.0, 0.2, 0.4, 0.6, 0.8], {}, []),  # warm-up
        ([0.01] * 5, [0.0, 0.5, 1.0, 1.0, 1.0], {}, [4]),  # collapsed after it
    ],
)
def test_when_the_collapse_warning_comes(kls, betas, arguments, expected):
    assert warned_epochs(kls, betas, **arguments) == expected


def collapsing(beta, *callbacks):
    """The history of a small VAE on two well-separated kinds of data."""
    x = np.repeat(np.array([[0.05] * 6, [0.95] * 6], "float32"), 128, axis=0)
    model = tiny_vae(optimizer=keras.optimizers.Adam(0.02), beta=beta)
    return fit(model, x, batch_size=16, epochs=8, shuffle=True, callbacks=list(callbacks))


def test_a_loss_like_a_mean_over_784_pixels_warns_in_each_training_and_names_the_cures():
    callback = CollapseWarning()
    for _ in range(2):
        with pytest.warns(UserWarning, match="collapsed") as caught:
            assert collapsing(784.0, callback)["kl_loss"][-1] < 0.1
        (message,) = (str(w.message) for w in caught if w.category is UserWarning)
        assert message.startswith("The posterior has collapsed: kl_loss is 0.0")
        assert message.endswith(
            "with beta = 784, so z tells the decoder nothing about x. Sum the reconstruction loss "
            "over pixels instead of averaging it, lower beta, begin with callbacks.KLWarmup, or "
            "set VAE(..., free_bits=0.1)."
        )


def test_a_healthy_training_does_not_warn():
    """Warnings are errors here."""
    assert collapsing(1.0, CollapseWarning())["kl_loss"][-1] > 0.3
    collapsing(1.0, KLWarmup(16), CollapseWarning())


@pytest.mark.parametrize("threshold, patience", [(0, 2), (float("nan"), 2), (0.1, 0)])
def test_collapse_warning_out_of_range(threshold, patience):
    with pytest.raises(ValueError) as caught:
        CollapseWarning(threshold, patience)
    assert str(caught.value) == (
        "CollapseWarning expects threshold > 0 and patience > 0, but got "
        f"{threshold} and {patience}."
    )


def test_collapse_warning_wants_a_vae():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6)], name="plain")
    model.compile("adam", "mse")
    with pytest.raises(ValueError) as caught:
        model.fit(X, X, verbose=0, callbacks=[CollapseWarning()])
    assert str(caught.value) == (
        "CollapseWarning expects a vaekit.VAE, whose logs have kl_loss, but got 'plain' of type "
        "Sequential."
    )
