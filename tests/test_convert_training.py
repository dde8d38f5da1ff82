"""Training goes on from what the conversion found, and the conversion's cost is bounded."""

import time

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.autoencoders import data


def waves(n=400, steps=12):
    """Noisy waves of one period; a recurrent code of 12 numbers has directions without use."""
    rng = np.random.default_rng(1)
    angle = np.linspace(0, 2 * np.pi, steps)
    clean = rng.uniform(0.3, 1, (n, 1)) * np.sin(angle + rng.uniform(0, 2 * np.pi, (n, 1)))
    return np.float32(clean + 0.05 * rng.standard_normal((n, steps)))[..., None]


def recurrent(layer):
    ends = [layers.RepeatVector(12), layer(8, return_sequences=True), layers.Dense(1)]
    return keras.Sequential([keras.Input((12, 1)), layer(12), *ends]), waves()


def feature_map():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(h)
    return keras.Model(x, layers.Conv2D(1, 3, padding="same")(h)), data((8, 8, 1), 400)


def one_dimensional():
    x = keras.Input((12, 1))
    h = layers.Conv1D(4, 5, strides=3, padding="same", activation="relu")(x)
    h = layers.Conv1DTranspose(4, 5, strides=3, padding="same", activation="relu")(h)
    return keras.Model(x, layers.Conv1D(1, 5, padding="same")(h)), waves()


@pytest.mark.parametrize(
    "make",
    [lambda: recurrent(layers.LSTM), lambda: recurrent(layers.GRU), feature_map, one_dimensional],
    ids=["lstm", "gru", "feature-map", "one-dimensional"],
)
@pytest.mark.filterwarnings("ignore:The narrowest hidden layer")
def test_the_first_epoch_does_not_spoil_the_conversion(make):
    keras.utils.set_random_seed(0)
    autoencoder, x = make()
    autoencoder.compile("adam", loss="mse")
    autoencoder.fit(x, x, epochs=2, verbose=0)
    vae = vaekit.to_vae(autoencoder, x, seed=0, verbose=0)
    z_mean, z_log_var = (ops.convert_to_numpy(t) for t in vae.encode(x))
    assert np.isfinite(z_mean).all() and z_log_var.max() < 1
    before = vae.evaluate(x, verbose=0)[0]
    vae.fit(x, epochs=1, verbose=0)
    assert vae.evaluate(x, verbose=0)[0] < before


@pytest.mark.filterwarnings("ignore:The narrowest hidden layer")
def test_a_code_of_4096_numbers_takes_seconds_and_few_weights():
    x = keras.Input((32, 32, 1))
    h = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    autoencoder = keras.Model(x, layers.Conv2DTranspose(1, 3, strides=2, padding="same")(h))
    rows = np.random.default_rng(0).random((2000, 32, 32, 1), dtype="float32")
    start = time.process_time()
    vae = vaekit.to_vae(autoencoder, rows, verbose=0)
    assert time.process_time() - start < 40  # of both cores together, other work beside it
    assert vae.latent_shape == (16, 16, 16)
    assert vae.count_params() < 2 * autoencoder.count_params() + 1000


def test_heads_per_position_are_announced(capsys):
    x = keras.Input((16, 16, 3))
    h = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    autoencoder = keras.Model(x, layers.Conv2DTranspose(3, 3, strides=2, padding="same")(h))
    vaekit.to_vae(autoencoder, data((16, 16, 3), 30))
    assert "act on the 8 channels of each position" in capsys.readouterr().out


def test_a_regularizer_of_the_code_sees_the_activation_as_before():
    x = keras.Input((12,))
    h = layers.Dense(3, activation="relu", activity_regularizer="l1")(x)
    autoencoder, rows = keras.Model(x, layers.Dense(12)(h)), data((12,), 50)
    vae = vaekit.to_vae(autoencoder, rows)
    autoencoder(rows), vae(rows)
    found, expected = (
        float(ops.convert_to_numpy(sum(model.losses))) for model in (vae, autoencoder)
    )
    assert found == pytest.approx(expected, rel=1e-4)


def test_scale_is_fitted_to_the_target_and_not_to_the_input():
    clean = data((12,), 300)
    noisy = clean + np.float32(0.5 * np.random.default_rng(0).standard_normal(clean.shape))
    x = keras.Input((12,))
    autoencoder = keras.Model(x, layers.Dense(12)(layers.Dense(3)(x)))
    residuals = clean - ops.convert_to_numpy(autoencoder(noisy))
    vae = vaekit.to_vae(autoencoder, noisy, y_train=clean)
    assert vae.likelihood.scale == pytest.approx(np.sqrt(np.mean(residuals**2)), rel=1e-4)
    vae.compile("adam", run_eagerly=True)
    vae.fit(noisy, clean, batch_size=150, verbose=0)


def test_adam_takes_the_place_of_an_optimizer_that_cannot_be_copied():
    class Own(keras.optimizers.SGD):
        def get_config(self):
            raise NotImplementedError("no")

    x = keras.Input((12,))
    autoencoder = keras.Model(x, layers.Dense(12)(layers.Dense(3)(x)))
    autoencoder.compile(Own(0.01), loss="mse")
    with pytest.warns(UserWarning, match="Own cannot be copied: the VAE gets Adam at 0.003"):
        vae = vaekit.to_vae(autoencoder, data((12,), 50))
    assert isinstance(vae.optimizer, keras.optimizers.Adam)


def test_tied_layers_are_named():
    from tests.zoo import tied

    case = tied()
    with pytest.warns(UserWarning, match="'down' and 'up' share weights"):
        vaekit.to_vae(case.autoencoder, case.x)
