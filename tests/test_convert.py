"""A trained autoencoder becomes a VAE with the same inputs and outputs."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.autoencoders import KINDS, data, trained
from tests.fresh_process import run_fresh
from vaekit import likelihoods


@pytest.fixture(scope="module", params=["sequential", "nested", "feature_map", "recurrent"])
def converted(request):
    """(autoencoder, data, the autoencoder's weights before, the VAE); the zoo has more kinds."""
    autoencoder, x = trained(request.param)
    before = [weight.copy() for weight in autoencoder.get_weights()]
    return autoencoder, x, before, vaekit.to_vae(autoencoder, x, seed=0)


def test_predictions_are_the_autoencoders_on_unseen_data(converted):
    autoencoder, x, _, vae = converted
    unseen = data(x.shape[1:], seed=5)
    expected = autoencoder.predict(unseen, verbose=0)
    error = np.abs(vae.predict(unseen, verbose=0) - expected).max()
    assert error <= 1e-4 * np.ptp(expected)


def test_shapes_and_names_are_the_autoencoders(converted):
    autoencoder, x, _, vae = converted
    assert vae.input_shape == (None, *x.shape[1:]) == vae.output_shape
    if hasattr(autoencoder, "output_names"):
        assert vae.encoder.inputs[0].name == autoencoder.inputs[0].name
        assert vae.output_names == autoencoder.output_names


def test_latents_have_variance_one_with_their_noise(converted):
    _, x, _, vae = converted
    z_mean, z_log_var = (ops.convert_to_numpy(t).reshape(len(x), -1) for t in vae.encode(x))
    assert np.abs(z_mean.mean(axis=0)).max() < 0.02
    total = z_mean.var(axis=0) + np.exp(z_log_var).mean(axis=0)
    assert total == pytest.approx(np.ones_like(total), abs=0.1)


def test_elbo_before_training_beats_any_constant_width(converted):
    _, x, _, vae = converted
    found = np.mean([vae.evaluate(x, verbose=0, return_dict=True)["loss"] for _ in range(5)])
    z_mean = vae.encode(x)[0]
    noise = keras.random.normal(ops.shape(z_mean), seed=1)
    for sigma in (0.05, 0.1, 0.2, 0.4):
        z_log_var = ops.full(ops.shape(z_mean), 2 * np.log(sigma))
        log_p = vae.likelihood.log_prob(x, vae.decode(z_mean + sigma * noise))
        nelbo = vaekit.losses.gaussian_kl(z_mean, z_log_var) - log_p
        assert found < ops.convert_to_numpy(nelbo).mean() + 0.05


def test_training_goes_on_and_leaves_the_autoencoder_alone(converted):
    autoencoder, x, before, vae = converted
    iterations = int(autoencoder.optimizer.iterations)
    vae.fit(x, epochs=2, verbose=0)
    vae.fit(x, x, epochs=1, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, autoencoder.get_weights(), strict=True))
    assert int(autoencoder.optimizer.iterations) == iterations
    assert vae.optimizer is not autoencoder.optimizer


def test_converted_vae_is_saved_and_loaded(converted, tmp_path):
    _, x, _, vae = converted
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert np.array_equal(loaded.predict(x, verbose=0), vae.predict(x, verbose=0))


LOAD_AND_GO_ON = """
import sys

import keras
import numpy as np
import vaekit

folder = sys.argv[1]
vae = keras.saving.load_model(f"{folder}/vae.keras", safe_mode=True)
x, expected = np.load(f"{folder}/x.npy"), np.load(f"{folder}/expected.npy")
print(np.abs(vae.predict(x, verbose=0) - expected).max() < 1e-6, type(vae.likelihood).__name__)
vae.fit(x, epochs=1, verbose=0)
"""


def test_converted_vae_loads_and_trains_in_a_fresh_process(tmp_path):
    autoencoder, x = trained("recurrent", epochs=0)
    vae = vaekit.to_vae(autoencoder, x)
    vae.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "expected.npy", autoencoder.predict(x, verbose=0))
    assert run_fresh(LOAD_AND_GO_ON, tmp_path).split() == ["True", "Gaussian"]


@pytest.mark.tensorflow
def test_converted_vae_is_exported(tmp_path):
    import tensorflow as tf

    autoencoder, x = trained("nested", epochs=0)
    vae = vaekit.to_vae(autoencoder, x)
    vae.export(tmp_path / "vae", verbose=False)
    served = tf.saved_model.load(tmp_path / "vae")
    assert served.serve(x).numpy() == pytest.approx(autoencoder.predict(x, verbose=0), abs=1e-5)


def test_callbacks_work_on_a_converted_vae(tmp_path):
    autoencoder, x = trained("nested", epochs=1)
    vae = vaekit.to_vae(autoencoder, x)
    run = vae.fit(
        x,
        validation_data=(x, x),
        epochs=3,
        verbose=0,
        callbacks=[
            vaekit.callbacks.KLWarmup(2),
            keras.callbacks.EarlyStopping("val_loss", baseline=-1e9, patience=2),
            keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        ],
    ).history
    assert run["beta"] == [0.0, 0.5] and len(run["val_loss"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.keras", "2.keras"]


def test_compiled_state_of_the_autoencoder_is_untouched():
    autoencoder, x = trained("sequential", epochs=1)

    def state():
        optimizer = [ops.convert_to_numpy(v).copy() for v in autoencoder.optimizer.variables]
        return [*optimizer, autoencoder.evaluate(x, x, verbose=0)]

    before, compiled = state(), autoencoder.get_compile_config()
    vaekit.to_vae(autoencoder, x).fit(x, epochs=1, verbose=0)
    assert len(before) > 8  # the learning rate, the iterations, Adam's moments
    assert all(np.array_equal(a, b) for a, b in zip(before, state(), strict=True))
    assert autoencoder.get_compile_config() == compiled


def test_optimizer_is_a_fresh_copy():
    autoencoder, x = trained("linear", epochs=0)
    autoencoder.compile(keras.optimizers.RMSprop(0.0123), loss="mse")
    optimizer = vaekit.to_vae(autoencoder, x).optimizer
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert float(optimizer.learning_rate) == pytest.approx(0.3 * 0.0123)


@pytest.mark.parametrize("extension", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.filterwarnings("ignore:.*Compiled the loaded model, but the compiled metrics")
def test_autoencoder_from_a_file_is_converted(tmp_path, extension):
    autoencoder, x = trained("sequential")
    autoencoder.save(tmp_path / f"autoencoder.{extension}")
    loaded = keras.saving.load_model(tmp_path / f"autoencoder.{extension}", compile=False)
    vae = vaekit.to_vae(loaded, x)
    assert vae.predict(x, verbose=0) == pytest.approx(autoencoder.predict(x, verbose=0), abs=1e-5)


def test_pair_is_converted():
    autoencoder, x = trained("nested")
    pair = autoencoder.get_layer("encoder"), autoencoder.get_layer("decoder")
    vae = vaekit.to_vae(pair, x)
    assert vae.predict(x, verbose=0) == pytest.approx(autoencoder.predict(x, verbose=0), abs=1e-5)


def test_sigmoid_moves_to_the_decoder_so_that_means_can_be_negative():
    autoencoder, x = trained("nested")
    vae = vaekit.to_vae(autoencoder, x)
    z_mean = ops.convert_to_numpy(vae.encode(x)[0])
    assert z_mean.min() < -0.5 and z_mean.max() > 0.5
    assert any(isinstance(layer, layers.Activation) for layer in vae.decoder.layers)


def test_dead_unit_costs_nothing_and_stays_at_the_prior():
    autoencoder, x = trained("sequential", epochs=60)
    kernel, bias = autoencoder.get_layer("code").get_weights()
    kernel[:, 1], bias[1] = 0.0, -100.0
    autoencoder.get_layer("code").set_weights([kernel, bias])
    vae = vaekit.to_vae(autoencoder, x)
    z_mean, z_log_var = map(ops.convert_to_numpy, vae.encode(x))
    kl = 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var).mean(axis=0)
    assert kl.min() < 0.01 < 0.2 < kl.max()
    assert vae.predict(x, verbose=0) == pytest.approx(autoencoder.predict(x, verbose=0), abs=1e-5)


def test_more_latents_than_rows_and_repeated_units_do_not_break_the_whitening():
    keras.utils.set_random_seed(0)
    x, code = keras.Input((12,)), layers.Dense(5, name="half")
    both = layers.Concatenate()([code(x), code(x)])  # rank 5 of 10
    autoencoder = keras.Model(x, layers.Dense(12, activation="sigmoid")(both))
    few = data((12,), n=8)
    vae = vaekit.to_vae(autoencoder, few, bottleneck=autoencoder.layers[-2].name)
    assert vae.latent_shape == (10,)
    assert np.isfinite(vae.evaluate(few, verbose=0)).all()
    unseen = data((12,), seed=3)
    expected = autoencoder.predict(unseen, verbose=0)
    assert np.abs(vae.predict(unseen, verbose=0) - expected).max() < 1e-4 * np.ptp(expected)


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        ("binary_crossentropy", likelihoods.Bernoulli),
        (keras.losses.BinaryCrossentropy(), likelihoods.Bernoulli),
        ("mse", likelihoods.Gaussian),
        (keras.losses.MeanSquaredError(name="mine"), likelihoods.Gaussian),
        ("mae", likelihoods.Laplace),
        (["mse"], likelihoods.Gaussian),
    ],
    ids=["bce", "bce-object", "mse", "mse-object", "mae", "in-a-list"],
)
def test_likelihood_follows_the_loss(loss, kind):
    autoencoder, x = trained("sequential", loss, epochs=0)
    assert type(vaekit.to_vae(autoencoder, x).likelihood) is kind


def test_scale_is_fitted_on_the_residuals():
    autoencoder, x = trained("linear", "mse")
    residuals = x - autoencoder.predict(x, verbose=0)
    expected = np.sqrt(np.mean(residuals**2))
    assert vaekit.to_vae(autoencoder, x).likelihood.scale == pytest.approx(expected, rel=1e-4)
    autoencoder.compile(loss="mae")
    expected = np.mean(np.abs(residuals))
    assert vaekit.to_vae(autoencoder, x).likelihood.scale == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("name", "power"), [("gaussian", 2), ("laplace", 1)])
def test_scale_of_a_named_likelihood_is_fitted_too(name, power):
    autoencoder, x = trained("linear", "cosine_similarity")
    residuals = np.abs(x - autoencoder.predict(x, verbose=0))
    expected = np.mean(residuals**power) ** (1 / power)
    likelihood = vaekit.to_vae(autoencoder, x, likelihood=name).likelihood
    assert likelihood.scale == pytest.approx(expected, rel=1e-4)


def test_logits_are_recognised():
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    autoencoder, x = trained("linear", loss, epochs=0)
    assert vaekit.to_vae(autoencoder, x).likelihood.from_logits


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("sequential", likelihoods.Bernoulli), ("linear", likelihoods.Gaussian)],
)
def test_likelihood_of_an_uncompiled_autoencoder_follows_its_last_activation(kind, expected):
    model, shape = KINDS[kind]()
    assert type(vaekit.to_vae(model, data(shape)).likelihood) is expected


def test_likelihood_can_be_given():
    autoencoder, x = trained("sequential", epochs=0)
    given = likelihoods.Gaussian(0.3)
    assert vaekit.to_vae(autoencoder, x, likelihood=given).likelihood is given


def test_learned_scale_begins_at_the_residuals():
    autoencoder, x = trained("linear")
    residuals = x - autoencoder.predict(x, verbose=0)
    given = likelihoods.Gaussian("learned")
    vae = vaekit.to_vae(autoencoder, x, likelihood=given)
    assert float(vae.likelihood.sigma()) == pytest.approx(np.sqrt(np.mean(residuals**2)), rel=1e-3)
    assert float(given.sigma()) == pytest.approx(1, abs=1e-5)  # not touched


def test_unknown_loss_names_the_argument():
    autoencoder, x = trained("sequential", "cosine_similarity", epochs=0)
    with pytest.raises(ValueError, match=r"no likelihood for the loss 'cosine_similarity'\. Pass"):
        vaekit.to_vae(autoencoder, x)


def test_wrong_data_are_refused():
    autoencoder, x = trained("sequential", epochs=0)
    with pytest.raises(ValueError, match=r"expects data of shape \(None, 12\).*\(300, 11\)"):
        vaekit.to_vae(autoencoder, x[:, :11])
    with pytest.raises(TypeError, match="floating-point"):
        vaekit.to_vae(autoencoder, (x * 255).astype("uint8"))
    with pytest.raises(ValueError, match="NaN"):
        vaekit.to_vae(autoencoder, np.full_like(x, np.nan))
    with pytest.raises(TypeError, match="expects x_train to be the array"):
        vaekit.to_vae(autoencoder, "mnist.npz")


def test_codes_that_are_not_finite_are_refused():
    autoencoder, x = trained("linear", epochs=0)
    autoencoder.layers[1].kernel.assign(autoencoder.layers[1].kernel * np.inf)
    with pytest.raises(ValueError, match="expects finite codes"):
        vaekit.to_vae(autoencoder, x)


def test_model_that_does_more_than_its_halves_is_refused():
    autoencoder, x = trained("subclassed", epochs=1)
    autoencoder.call = lambda x: 0.5 * autoencoder.decoder(autoencoder.encoder(x))
    autoencoder.predict_function = None
    with pytest.raises(ValueError, match=r"does more than decoder\(encoder\(x\)\)"):
        vaekit.to_vae(autoencoder, x)


def test_output_of_another_size_is_refused_with_both():
    x = keras.Input((30, 30, 1))
    h = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    h = layers.Conv2D(2, 3, strides=2, padding="same")(h)
    h = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(h)
    h = layers.Conv2DTranspose(1, 3, strides=2, padding="same", name="last")(h)
    with pytest.raises(ValueError, match=r"'last', gives, \(32, 32, 1\), .* \(30, 30, 1\)"):
        vaekit.to_vae(keras.Model(x, h), data((30, 30, 1), n=8))


def test_outputs_far_from_their_target_are_told_with_the_place_of_the_call():
    autoencoder, x = trained("linear", epochs=100)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        vaekit.to_vae(autoencoder, x, verbose=0)
    assert not any("y_train" in str(each.message) for each in found)
    with pytest.warns(UserWarning, match="give them as y_train") as found:
        vaekit.to_vae(autoencoder, x, y_train=x - 9, verbose=0)
    (told,) = (each for each in found if "y_train" in str(each.message))
    assert told.filename == __file__
