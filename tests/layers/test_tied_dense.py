"""TiedDense against the formula, its tie in training and in files, its refusals."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.tiny_models import EAGER
from vaekit import TiedDense

X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")


def tied_pair():
    """Encoder and decoder as models of their own, with one layer tied to another."""
    keras.utils.set_random_seed(1)
    x, z = keras.Input((6,)), keras.Input((2,))
    code = layers.Dense(2, name="code")
    encoder = keras.Model(x, code(x))
    return encoder, keras.Model(z, TiedDense(code, activation="sigmoid", name="tied")(z))


def tied_autoencoder():
    """One functional model with two tied layers, the second of them inside a stack."""
    keras.utils.set_random_seed(1)
    x = keras.Input((6,))
    hidden, code = layers.Dense(4, "relu", name="hidden"), layers.Dense(2, name="code")
    h = TiedDense(code, activation="relu", name="tied_code")(code(hidden(x)))
    return keras.Model(x, TiedDense(hidden, name="tied_hidden")(h))


def tied_vae():
    keras.utils.set_random_seed(1)
    x, z = keras.Input((6,)), keras.Input((2,))
    z_mean = layers.Dense(2, name="z_mean")
    encoder = keras.Model(x, [z_mean(x), layers.Dense(2, name="z_log_var")(x)])
    return vaekit.VAE(encoder, keras.Model(z, TiedDense(z_mean, "sigmoid", name="tied")(z)))


def trained(model):
    model.compile(keras.optimizers.Adam(0.01), "mse", **EAGER)
    model.fit(X, X, epochs=2, verbose=0)
    return model


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


# ---- the formula -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 2), (5, 3, 2), (1, 4, 3, 2)])
def test_output_is_the_transposed_kernel_and_a_bias(shape):
    dense = layers.Dense(2)
    dense.build((None, 6))
    layer = TiedDense(dense, activation="tanh")
    layer.build((None, 2))
    layer.bias.assign(np.arange(6))
    z = np.random.default_rng(1).normal(size=shape)
    expected = np.tanh(z @ ops.convert_to_numpy(dense.kernel).T + np.arange(6))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(z)), expected, rtol=1e-5, atol=1e-6)
    assert layer(keras.Input(shape[1:])).shape == (None, *shape[1:-1], 6)


def test_without_a_bias_it_has_no_weight_of_its_own():
    dense = layers.Dense(2)
    dense.build((None, 6))
    layer = TiedDense(dense, use_bias=False)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(np.zeros((3, 2)))), 0)
    assert [id(w) for w in layer.weights] == [id(dense.kernel)]


def test_an_autoencoder_counts_the_kernel_once():
    model = keras.Sequential([*tied_pair()])
    assert model.count_params() == 6 * 2 + 2 + 6
    assert len(model.trainable_weights) == 3


def test_the_bias_of_the_other_layer_is_no_weight_of_the_decoder():
    _, decoder = tied_pair()
    assert sorted(tuple(w.shape) for w in decoder.weights) == [(6,), (6, 2)]


def test_a_mixed_precision_layer_computes_in_halves():
    dense = layers.Dense(2, dtype="mixed_bfloat16")
    dense.build((None, 6))
    layer = TiedDense(dense, dtype="mixed_bfloat16")
    assert ops.dtype(layer(np.ones((3, 2), "float32"))) == "bfloat16"
    assert layer.bias.dtype == "float32"


# ---- the tie in training -----------------------------------------------------------------------


def test_training_keeps_one_kernel():
    encoder, decoder = tied_pair()
    model = trained(keras.Sequential([encoder, decoder]))
    kernel = ops.convert_to_numpy(encoder.get_layer("code").kernel)
    logits = encoder.predict(X, verbose=0) @ kernel.T
    logits = logits + ops.convert_to_numpy(decoder.get_layer("tied").bias)
    np.testing.assert_allclose(model.predict(X, verbose=0), 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_the_decoder_alone_trains_the_kernel():
    encoder, decoder = tied_pair()
    before = ops.convert_to_numpy(encoder.get_layer("code").kernel)
    decoder.compile("sgd", "mse", **EAGER)
    decoder.fit(X[:, :2], X, verbose=0)
    assert np.abs(ops.convert_to_numpy(encoder.get_layer("code").kernel) - before).max() > 1e-5


# ---- the tie in files --------------------------------------------------------------------------


def test_one_functional_model_is_loaded_with_its_ties(tmp_path):
    model = trained(tied_autoencoder())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = saved_and_loaded(model, tmp_path)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    for name in ("code", "hidden"):
        assert loaded.get_layer(f"tied_{name}").tied_to is loaded.get_layer(name)
        assert loaded.get_layer(f"tied_{name}").kernel is loaded.get_layer(name).kernel
    assert loaded.count_params() == model.count_params()


def test_a_loaded_model_goes_on_training_as_one_that_was_not_saved(tmp_path):
    model = trained(tied_autoencoder())
    loaded = saved_and_loaded(model, tmp_path)
    for each in (model, loaded):
        each.fit(X, X, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_vae_is_loaded_with_its_tie(tmp_path):
    vae = tied_vae()
    vae.compile("adam")
    vae.fit(X, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = saved_and_loaded(vae, tmp_path)
    assert loaded.decoder.get_layer("tied").tied_to is loaded.encoder.get_layer("z_mean")
    assert len(loaded.weights) == len(vae.weights)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), vae.predict(X, verbose=0))


def test_layers_of_one_name_in_both_networks_of_a_vae_stay_two(tmp_path):
    """Of a decoder that is tied to a layer of its own, named as one of the encoder's is."""
    x, z = keras.Input((6,)), keras.Input((2,))
    h = layers.Dense(6, name="same")(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    same = layers.Dense(6, name="same")
    decoder = keras.Model(z, layers.Dense(6, "sigmoid")(TiedDense(same, name="tied")(same(z))))
    loaded = saved_and_loaded(vaekit.VAE(encoder, decoder), tmp_path)
    assert loaded.decoder.get_layer("tied").tied_to is loaded.decoder.get_layer("same")
    assert loaded.encoder.get_layer("same") is not loaded.decoder.get_layer("same")


def test_models_inside_a_model_are_loaded_as_they_computed_and_with_a_warning(tmp_path):
    model = keras.Sequential([*tied_pair()])
    with pytest.warns(
        UserWarning, match="TiedDense 'tied' was saved with a tie to the layer 'code'"
    ):
        loaded = saved_and_loaded(model, tmp_path)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_decoder_alone_is_loaded_with_its_kernel(tmp_path):
    _, decoder = tied_pair()
    loaded = saved_and_loaded(decoder, tmp_path)
    np.testing.assert_array_equal(
        loaded.predict(X[:, :2], verbose=0), decoder.predict(X[:, :2], verbose=0)
    )


def test_arguments_survive_the_config():
    dense = layers.Dense(2)
    dense.build((None, 6))
    layer = TiedDense(dense, activation="relu", use_bias=False, name="tied")
    again = TiedDense.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.use_bias, again.name) == (False, "tied")


# ---- converted, refused ------------------------------------------------------------------------


def test_a_tied_autoencoder_is_converted():
    model = trained(tied_autoencoder())
    with pytest.warns(UserWarning, match="share weights"):
        vae = vaekit.to_vae(model, X, bottleneck="code")
    np.testing.assert_allclose(vae.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-5)


@pytest.mark.parametrize("wrong", ["code", layers.Conv2D(2, 3), np.zeros((6, 2)), None])
def test_what_is_no_dense_layer_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expects tied_to to be a keras\.layers\.Dense, but got"):
        TiedDense(wrong)


def test_a_layer_without_a_kernel_is_refused():
    with pytest.raises(ValueError, match="'late', to be built, but it has no kernel yet"):
        TiedDense(layers.Dense(2, name="late"))(np.zeros((3, 2)))


def test_a_wrong_number_of_units_is_refused():
    dense = layers.Dense(2, name="code")
    dense.build((None, 6))
    with pytest.raises(ValueError, match=r"inputs of 2 numbers.*'code'.*got shape \(3, 6\)"):
        TiedDense(dense)(np.zeros((3, 6)))
