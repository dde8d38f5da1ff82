"""The conditional VAE: [x, c] in the encoder, [z, c] in the decoder; any backend."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.fresh_process import run_fresh
from tests.tiny_models import (
    EAGER,
    QUIET,
    X,
    assert_close_weights,
    equal_weights,
    evaluate,
    fit,
    frozen,
    tiny_decoder,
    tiny_encoder,
    tiny_vae,
    two_heads,
)

C = np.eye(3, dtype="float32")[np.arange(22) % 3]
LOGS = ["kl_loss", "loss", "reconstruction_loss"]


def conditional_encoder(log_var=None, condition=(3,)):
    x, c = keras.Input((6,), name="x"), keras.Input(condition, name="c")
    h = layers.Dense(5, activation="tanh")(layers.Concatenate()([x, c]))
    return keras.Model([x, c], two_heads(h, log_var), name="encoder")


def conditional_decoder(condition=(3,)):
    z, c = keras.Input((2,), name="z"), keras.Input(condition, name="c")
    x = layers.Dense(6, activation="sigmoid", name="x")(layers.Concatenate()([z, c]))
    return keras.Model([z, c], x, name="decoder")


def conditional_vae(log_var=None, optimizer="sgd", compiled=None, **kwargs):
    keras.utils.set_random_seed(3)
    vae = vaekit.VAE(conditional_encoder(log_var), conditional_decoder(), seed=1, **kwargs)
    vae.compile(optimizer, **(compiled or {}))
    return vae


def still_vae(**compiled):
    """Without noise and without learning."""
    return conditional_vae(QUIET, frozen(), {**EAGER, **compiled})


numpy = ops.convert_to_numpy
OTHER = np.roll(C, 1, axis=1)


# ---- the methods -------------------------------------------------------------------------------


def test_the_condition_reaches_the_decoder_and_the_encoder():
    vae = conditional_vae()
    z = np.zeros((22, 2), "float32")
    assert np.abs(numpy(vae.decode([z, C])) - numpy(vae.decode([z, OTHER]))).max() > 0.01
    assert np.abs(numpy(vae.encode([X, C])[0]) - numpy(vae.encode([X, OTHER])[0])).max() > 0.01


def test_call_encodes_and_decodes_under_one_condition():
    vae = conditional_vae()
    z_mean, _ = vae.encode([X, C])
    expected = numpy(vae.decode([z_mean, C]))
    assert expected.shape == (22, 6)
    np.testing.assert_allclose(numpy(vae([X, C])), expected, rtol=1e-6)
    for inputs in ([X, C], (X, C)):
        np.testing.assert_allclose(vae.predict(inputs, verbose=0), expected, rtol=1e-5)


def test_samples_decode_the_prior_under_the_condition():
    vae = conditional_vae()
    z = keras.random.normal((22, 2), seed=7)
    expected = numpy(vae.decode([z, C]))
    for condition in (C, [C], ops.convert_to_tensor(C)):
        samples = numpy(vae.sample(22, condition=condition, seed=7))
        np.testing.assert_allclose(samples, expected, rtol=1e-6)
    assert np.abs(numpy(vae.sample(22, condition=OTHER, seed=7)) - expected).max() > 0.01


def test_shapes_are_those_of_the_parts():
    vae = conditional_vae()
    assert vae.input_shape == [(None, 6), (None, 3)]
    assert vae.output_shape == (None, 6)
    assert vae.latent_shape == (2,)


def test_integer_labels_through_an_embedding():
    x, z, c = keras.Input((6,)), keras.Input((2,)), keras.Input((), dtype="int32")
    table = layers.Embedding(3, 4)
    h = layers.Concatenate()([x, table(c)])
    encoder = keras.Model([x, c], [layers.Dense(2)(h), layers.Dense(2)(h)])
    output = layers.Dense(6, activation="sigmoid")(layers.Concatenate()([z, table(c)]))
    vae = vaekit.VAE(encoder, keras.Model([z, c], output))
    vae.compile("adam", **EAGER)
    before = numpy(table.embeddings).copy()
    fit(vae, [X, np.arange(22) % 3])
    assert not np.array_equal(before, numpy(table.embeddings))
    assert vae.sample(4, condition=np.arange(4) % 3).shape == (4, 6)


def test_two_conditions():
    x, z, c, w = (keras.Input((n,)) for n in (6, 2, 3, 1))
    h = layers.Concatenate()([x, c, w])
    encoder = keras.Model([x, c, w], [layers.Dense(2)(h), layers.Dense(2)(h)])
    output = layers.Dense(6, activation="sigmoid")(layers.Concatenate()([z, c, w]))
    vae = vaekit.VAE(encoder, keras.Model([z, c, w], output))
    vae.compile("adam", **EAGER)
    width = np.linspace(0, 1, 22)[:, None]
    assert sorted(fit(vae, [X, C, width])) == LOGS
    thin, wide = (
        numpy(vae.sample(5, condition=[C[:5], np.full((5, 1), w)], seed=1)) for w in (0, 1)
    )
    assert np.abs(thin - wide).max() > 1e-3


class Encoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.join, self.heads = layers.Concatenate(), [layers.Dense(2), layers.Dense(2)]

    def call(self, inputs):
        return [head(self.join(inputs)) for head in self.heads]


def test_a_subclassed_encoder():
    encoder = Encoder()
    encoder([X[:1], C[:1]])
    vae = vaekit.VAE(encoder, conditional_decoder())
    vae.compile("adam", **EAGER)
    assert sorted(fit(vae, [X, C], X, validation_data=([X, C], X))) == sorted(
        LOGS + [f"val_{name}" for name in LOGS]
    )
    assert vae.sample(3, condition=C[:3]).shape == (3, 6)


# ---- training ----------------------------------------------------------------------------------


def test_fit_and_fit_with_the_target_give_bit_identical_weights():
    alone, paired = conditional_vae(), conditional_vae()
    assert fit(alone, [X, C]) == fit(paired, (X, C), X)
    assert equal_weights(alone, paired)
    assert not equal_weights(alone, conditional_vae())


def test_the_loss_against_numpy():
    vae = still_vae()
    z_mean, z_log_var = (numpy(head).astype("float64") for head in vae.encode([X, C]))
    p = numpy(vae([X, C])).astype("float64")
    reconstruction = -(X * np.log(p) + (1 - X) * np.log1p(-p)).sum(axis=1).mean()
    kl = 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var).sum(axis=1).mean()
    logs = evaluate(vae, [X, C])
    assert logs["reconstruction_loss"] == pytest.approx(reconstruction, rel=1e-5)
    assert logs["kl_loss"] == pytest.approx(kl, rel=1e-5)
    assert fit(vae, [X, C])["loss"][0] == pytest.approx(logs["loss"], rel=1e-5)


def test_the_clean_target_is_used():
    vae = still_vae()
    assert evaluate(vae, [X, C], 1 - X)["loss"] != pytest.approx(evaluate(vae, [X, C])["loss"])


@pytest.mark.parametrize(
    "validation",
    [[X, C], (X, C), ([X, C],), ([X, C], X), ((X, C), None)],
    ids=["[x,c]", "(x,c)", "([x,c],)", "([x,c],x)", "none"],
)
def test_validation_data_in_every_form(validation):
    logs = fit(still_vae(), [X, C], validation_data=validation)
    for name in LOGS:
        np.testing.assert_allclose(logs[f"val_{name}"], logs[name], rtol=1e-5)


def test_validation_split_weights_metrics_and_single_batches():
    vae = still_vae(metrics=["mse"])
    logs = fit(vae, [X, C], validation_split=0.5)
    expected = evaluate(vae, [X[11:], C[11:]])
    assert logs["val_loss"][0] == pytest.approx(expected["loss"], rel=1e-5)
    mse = np.square(X - vae.predict([X, C], verbose=0)).mean()
    assert evaluate(vae, [X, C])["mse"] == pytest.approx(mse, rel=1e-4)
    weighted = evaluate(vae, [X, C], sample_weight=np.full(22, 2.0))
    assert weighted["loss"] == pytest.approx(2 * evaluate(vae, [X, C])["loss"], rel=1e-5)
    vae.reset_metrics()
    trained = vae.train_on_batch([X, C], return_dict=True)
    vae.reset_metrics()
    assert vae.test_on_batch([X, C], X, return_dict=True) == pytest.approx(trained, rel=1e-5)


def generator(wrap):
    while True:
        for i in range(5):
            yield wrap((X[4 * i : 4 * i + 4], C[4 * i : 4 * i + 4]))


@pytest.mark.parametrize("wrap", [lambda p: (p,), lambda p: (p, p[0])], ids=["x-c", "x-c-x"])
def test_a_generator_trains_as_the_arrays(wrap):
    arrays, batches = (conditional_vae(compiled=EAGER) for _ in range(2))
    fit(arrays, [X[:20], C[:20]])
    fit(batches, generator(wrap), batch_size=None, steps_per_epoch=5)
    assert_close_weights(arrays, batches)


@pytest.mark.tensorflow
def test_data_sets_train_validate_and_predict_as_the_arrays():
    import tensorflow as tf

    arrays = conditional_vae(compiled=EAGER)
    logs = fit(arrays, [X, C])
    for data in (((X, C),), ((X, C), X)):
        data = tf.data.Dataset.from_tensor_slices(data).batch(4)
        data_set = conditional_vae(compiled=EAGER)
        of_set = fit(data_set, data, batch_size=None, validation_data=data)
        assert_close_weights(arrays, data_set)
        assert of_set["loss"] == pytest.approx(logs["loss"], rel=1e-5)
        assert np.isfinite(of_set["val_loss"][0])
        expected = arrays.predict([X, C], verbose=0)
        np.testing.assert_allclose(data_set.predict(data, verbose=0), expected, rtol=1e-4)


def test_the_label_lowers_the_loss():
    """Data that are their label and nothing else: given c, the decoder needs no z."""
    x = np.repeat(C, 2, axis=1) * 0.9 + 0.05
    without = tiny_vae(optimizer=keras.optimizers.Adam(0.05))
    given = conditional_vae(optimizer=keras.optimizers.Adam(0.05))
    fit(without, np.tile(x, (60, 1)), batch_size=22)
    fit(given, [np.tile(x, (60, 1)), np.tile(C, (60, 1))], batch_size=22)
    assert evaluate(without, x)["loss"] - evaluate(given, [x, C])["loss"] > 0.2


# ---- files -------------------------------------------------------------------------------------

LOAD = """
import sys
import keras
import numpy as np
import vaekit
from tests.test_conditional import C, X, fit

vae = keras.saving.load_model(f"{sys.argv[1]}/vae.keras", safe_mode=True)
np.save(f"{sys.argv[1]}/predicted.npy", vae.predict([X, C], verbose=0))
fit(vae, [X, C])
np.savez(f"{sys.argv[1]}/resumed.npz", *vae.get_weights())
"""


@pytest.mark.slow
def test_saved_loaded_in_a_new_process_and_trained_on(tmp_path):
    vae = conditional_vae(optimizer="adam")
    fit(vae, [X, C])
    vae.save(tmp_path / "vae.keras")
    expected = vae.predict([X, C], verbose=0)
    run_fresh(LOAD, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "predicted.npy"), expected, rtol=1e-6)
    fit(vae, [X, C])
    with np.load(tmp_path / "resumed.npz") as resumed:
        for a, b in zip(resumed.values(), vae.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.tensorflow
def test_export(tmp_path):
    import tensorflow as tf

    vae = conditional_vae()
    vae.export(tmp_path / "vae", verbose=False)
    served = tf.saved_model.load(tmp_path / "vae")
    np.testing.assert_allclose(
        numpy(served.serve([X, C])), vae.predict([X, C], verbose=0), rtol=1e-5
    )


# ---- bad input ---------------------------------------------------------------------------------

SHAPE = (
    "VAE expects a condition of shape {}, one row an example, but that of the {} has shape {}. "
    "Integer labels become rows with keras.utils.to_categorical(labels)."
)
COUNT = (
    "VAE expects {} condition(s), the encoder's inputs after x, but the {} came with {}. "
    "Conditions go beside the data, as in fit([x, c]), and into sample(n, condition=c); "
    "a VAE without conditions takes none."
)
NOT_FINITE = (
    "VAE expects finite data, but the {} holds NaN or infinity. "
    "Drop those rows or fill them in, for example with np.nan_to_num."
)
LABELS = np.arange(22) % 3
HOLED = np.where(C == 1, np.nan, C)


def refuses(error, message, call, *args, vae=None, **kwargs):
    vae = vae or conditional_vae(compiled=EAGER)
    before = vae.get_weights()
    with pytest.raises(error) as raised:
        call(vae, *args, **kwargs)
    assert type(raised.value) is error
    assert str(raised.value) == message
    assert all(np.array_equal(a, b) for a, b in zip(before, vae.get_weights(), strict=True))


@pytest.mark.parametrize("call", [fit, evaluate], ids=["fit", "evaluate"])
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (X, ValueError, COUNT.format(1, "x", 0)),
        ([X, C, C], ValueError, COUNT.format(1, "x", 2)),
        ([X, LABELS], ValueError, SHAPE.format((22, 3), "x", (22,))),
        ([X, LABELS[:, None]], ValueError, SHAPE.format((22, 3), "x", (22, 1))),
        ([X, C[:21]], ValueError, SHAPE.format((22, 3), "x", (21, 3))),
        ([X, HOLED], ValueError, NOT_FINITE.format("condition of the x")),
        ([HOLED[:, [0, 0, 1, 1, 2, 2]], C], ValueError, NOT_FINITE.format("x")),
    ],
    ids=["none", "two", "labels", "column", "rows", "nan", "nan in x"],
)
def test_data_that_do_not_fit(call, data, error, message):
    refuses(error, message, call, data)


def test_labels_that_are_no_numbers():
    message = (
        "VAE expects conditions of numbers, but that of the x is <U1. "
        "Number the classes, and use keras.utils.to_categorical(labels)."
    )
    refuses(TypeError, message, fit, [X, np.array(list("ab") * 11)])


def test_validation_data_and_batches_that_do_not_fit():
    message = SHAPE.format((22, 3), "validation_data", (22,))
    refuses(ValueError, message, fit, [X, C], validation_data=([X, LABELS], X))
    refuses(ValueError, message, fit, [X, C], validation_data=[X, LABELS])
    batches = (((X, LABELS),) for _ in range(2))
    message = SHAPE.format((22, 3), "first batch of x", (22,))
    refuses(ValueError, message, fit, batches, batch_size=None, steps_per_epoch=1)


def test_the_data_and_the_target_are_checked_as_without_conditions():
    message = (
        "VAE expects floating-point data, but the {} is uint8. "
        "Convert it, for images with x.astype('float32') / 255."
    )
    images = (255 * X).astype("uint8")
    refuses(TypeError, message.format("x"), fit, [images, C])
    refuses(TypeError, message.format("target of x"), fit, [X, C], images)


def sample(vae, *args, **kwargs):
    return vae.sample(*args, **kwargs)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, COUNT.format(1, "samples", 0)),
        ([C, C], COUNT.format(1, "samples", 2)),
        (C[:4], SHAPE.format((5, 3), "samples", (4, 3))),
        (C[0], SHAPE.format((5, 3), "samples", (3,))),
        (LABELS[:5], SHAPE.format((5, 3), "samples", (5,))),
        (7, SHAPE.format((5, 3), "samples", ())),
        (HOLED[:5], NOT_FINITE.format("condition of the samples")),
    ],
    ids=["none", "two", "rows", "one row", "labels", "number", "nan"],
)
def test_samples_under_a_condition_that_does_not_fit(condition, message):
    refuses(ValueError, message, sample, 5, condition=condition)


def test_a_vae_without_conditions_takes_none():
    refuses(
        ValueError, COUNT.format(0, "samples", 1), sample, 22, condition=C,
        vae=tiny_vae(optimizer=None),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("encoder", "decoder", "shapes"),
    [
        (conditional_encoder, tiny_decoder, ([(None, 3)], [])),
        (tiny_encoder, conditional_decoder, ([], [(None, 3)])),
        (
            lambda: conditional_encoder(condition=(4,)),
            conditional_decoder,
            ([(None, 4)], [(None, 3)]),
        ),
    ],
    ids=["encoder only", "decoder only", "other shape"],
)
def test_parts_that_take_different_conditions(encoder, decoder, shapes):
    with pytest.raises(ValueError) as raised:
        vaekit.VAE(encoder(), decoder())
    assert str(raised.value) == (
        "VAE expects an encoder of [x, c, ...] and a decoder of [z, c, ...] with the same "
        f"conditions c, but after x the encoder takes {shapes[0]} and after z the decoder "
        f"{shapes[1]}. Give both the same Inputs in the same order, used or not."
    )


def test_a_conditional_decoder_of_another_latent_size_is_refused():
    z, c = keras.Input((5,)), keras.Input((3,))
    decoder = keras.Model([z, c], layers.Dense(6)(layers.Concatenate()([z, c])), name="decoder")
    message = r"takes the encoder's latent shape \(None, 2\), but 'decoder' takes \(None, 5\)"
    with pytest.raises(ValueError, match=message):
        vaekit.VAE(conditional_encoder(), decoder)
