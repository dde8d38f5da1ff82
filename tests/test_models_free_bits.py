"""VAE(free_bits=...): the loss against NumPy, its gradient, files, bad input; any backend."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.tiny_models import (
    EAGER,
    QUIET,
    X,
    equal_weights,
    evaluate,
    fit,
    frozen,
    still_vae,
    tiny_decoder,
    tiny_encoder,
    tiny_vae,
)


def kl_table(vae, x=X):
    """The KL of each example and each latent dimension, from the formula in float64."""
    mean, log_var = (ops.convert_to_numpy(head).astype("float64") for head in vae.encode(x))
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var)
    return kl.reshape(len(kl), -1)


def between(kl):
    """A number of free nats that one of the two dimensions lies below, and one above."""
    return float(kl.mean(axis=0).mean())


def test_the_loss_charges_the_larger_of_free_bits_and_the_batch_mean():
    for free_bits in (10.0, between(kl_table(still_vae())), 40.0):
        vae = still_vae(free_bits=free_bits, beta=0.5)
        kl = kl_table(vae)
        logs = evaluate(vae, X, batch_size=22)
        charged = np.maximum(free_bits, kl.mean(axis=0)).sum()
        assert logs["kl_loss"] == pytest.approx(kl.sum(axis=1).mean(), rel=1e-5)
        expected = logs["reconstruction_loss"] + 0.5 * charged
        assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_mean_is_that_of_the_batch_and_not_of_one_example():
    vae = still_vae()
    kl = kl_table(vae, X[:8])
    free_bits = between(kl)
    assert ((kl > free_bits) != (kl.mean(axis=0) > free_bits)).any()  # or it would not matter
    vae.free_bits = free_bits
    by_batch = [np.maximum(free_bits, kl[i : i + 4].mean(axis=0)).sum() for i in (0, 4)]
    logs = evaluate(vae, X[:8], batch_size=4)
    assert logs["loss"] - logs["reconstruction_loss"] == pytest.approx(np.mean(by_batch), rel=1e-5)


def test_zero_free_bits_is_bit_identical_to_none():
    without, zero, some = (
        tiny_vae(optimizer=keras.optimizers.SGD(0.1), **kwargs)
        for kwargs in ({}, {"free_bits": 0.0}, {"free_bits": 0.5})
    )
    assert fit(without, X, epochs=2) == fit(zero, X, epochs=2)
    assert equal_weights(without, zero)
    fit(some, X, epochs=2)
    assert not equal_weights(without, some)


def test_below_free_bits_the_kl_has_no_gradient_at_all():
    """Not even a rounding error, which Adam would scale up to a full step."""
    steps = {}
    for free_bits, beta in ((100.0, 1.0), (100.0, 0.0), (0.0, 0.0), (0.0, 1.0)):
        vae = tiny_vae(log_var=QUIET, compiled=EAGER, free_bits=free_bits, beta=beta)
        fit(vae, X)
        steps[free_bits, beta] = vae.encoder.get_weights()
    same = zip(steps[100.0, 1.0], steps[0.0, 0.0], strict=True)
    assert all(np.array_equal(a, b) for a, b in same)
    assert not np.array_equal(steps[0.0, 1.0][0], steps[0.0, 0.0][0])


def test_above_free_bits_the_kl_has_its_whole_gradient():
    steps = []
    for free_bits in (0.0, 1e-3):  # far below the KL of either dimension
        vae = tiny_vae(log_var=QUIET, optimizer=keras.optimizers.SGD(0.1), free_bits=free_bits)
        fit(vae, X)
        steps.append(vae.encoder.get_weights()[0])
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-6)


def test_feature_maps_have_one_threshold_for_each_element():
    x, z = keras.Input((4, 4, 1)), keras.Input((2, 2, 3))
    heads = [layers.Conv2D(3, 2, strides=2)(x) for _ in range(2)]
    decoder = layers.Conv2DTranspose(1, 2, strides=2, activation="sigmoid")(z)
    vae = vaekit.VAE(keras.Model(x, heads), keras.Model(z, decoder))
    vae.compile(frozen(), **EAGER)
    images = np.random.default_rng(0).uniform(size=(6, 4, 4, 1)).astype("float32")
    kl = kl_table(vae, images).mean(axis=0)
    assert kl.shape == (12,)
    vae.free_bits = float(np.median(kl))
    logs = evaluate(vae, images, batch_size=6)
    charged = logs["loss"] - logs["reconstruction_loss"]
    assert charged == pytest.approx(np.maximum(np.median(kl), kl).sum(), rel=1e-4)


def test_sample_weights_weigh_the_charged_kl():
    vae = still_vae(free_bits=40.0)
    whole = evaluate(vae, X, batch_size=22)
    half = evaluate(vae, X, batch_size=22, sample_weight=np.full(22, 0.5))
    assert half == pytest.approx({name: value / 2 for name, value in whole.items()}, rel=1e-5)


def test_free_bits_keep_a_dimension_that_the_kl_would_switch_off():
    """A decoder that ignores z leaves the KL nothing to pay for: it falls to free_bits a latent."""
    kl = {}
    for free_bits in (0.0, 0.3):
        keras.utils.set_random_seed(3)
        decoder = tiny_decoder(kernel_initializer="zeros")
        decoder.trainable = False
        encoder = tiny_encoder()
        encoder.layers[1].trainable = False  # shared, it would move one latent for the other
        vae = vaekit.VAE(encoder, decoder, free_bits=free_bits, seed=1)
        vae.encoder.get_layer("z_mean").bias.assign([2.0, 2.0])
        vae.compile(keras.optimizers.SGD(0.02))
        fit(vae, np.tile(X, (400, 1)), batch_size=22)
        kl[free_bits] = kl_table(vae).mean(axis=0)
    np.testing.assert_allclose(kl[0.3], 0.3, atol=0.06)
    assert kl[0.0].max() < 0.1


def test_saved_and_loaded(tmp_path):
    vae = still_vae(free_bits=40.0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.free_bits == 40.0
    assert evaluate(loaded, X) == pytest.approx(evaluate(vae, X), rel=1e-6)
    config = vae.get_config()
    del config["free_bits"]  # a file from before there were any
    assert vaekit.VAE.from_config(config).free_bits == 0.0


@pytest.mark.parametrize("free_bits", [-0.1, float("nan"), float("inf")])
def test_free_bits_out_of_range(free_bits):
    with pytest.raises(ValueError) as raised:
        vaekit.VAE(tiny_encoder(), tiny_decoder(), free_bits=free_bits)
    assert str(raised.value) == (
        f"VAE expects a finite free_bits >= 0, but got {free_bits}. "
        "Give nats per latent dimension, for example 0.1; 0 switches it off."
    )
