"""Bad input: every refusal with its whole message, and nothing half-changed by it."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import vaekit
from tests.tiny_models import (
    EAGER,
    X,
    equal_weights,
    evaluate,
    fit,
    tiny_decoder,
    tiny_encoder,
    tiny_vae,
)

RANGE = (
    "The Bernoulli likelihood expects data in [0, 1], but the {} has min {:g} and max {:g}. "
    "Scale it (images: x / 255), or choose likelihood='gaussian'."
)
NOT_FINITE = (
    "VAE expects finite data, but the {} holds NaN or infinity. "
    "Drop those rows or fill them in, for example with np.nan_to_num."
)
SHAPE = (
    "VAE expects data of shape {}, but the {} has shape {}. "
    "Reshape it; a missing channel axis is added by x[..., None]."
)
INTEGERS = (
    "VAE expects floating-point data, but the {} is {}. "
    "Convert it, for images with x.astype('float32') / 255."
)
OUTPUT = (
    "{} expects a decoder output of shape {} for {} of shape {}, but got {}. Reshape the data (a "
    "missing channel axis is added by x[..., None]), or change the decoder's last layer."
)
BAD = (X * 255).astype("float32")
MIN, MAX = BAD.min(), BAD.max()


def holed(value):
    x = X.copy()
    x[7, 3] = value
    return x


def refuses(error, message, call, *args, **kwargs):
    """Whether ``call(vae, ...)`` raises exactly that and leaves a trained VAE as it was."""
    vae = tiny_vae(compiled={"run_eagerly": True})
    fit(vae, X[:4])
    before, logs = vae.get_weights(), vae.get_metrics_result()
    iterations = int(vae.optimizer.iterations.numpy())
    seed = vae.sampling.seed_generator.state.numpy()
    with pytest.raises(error) as raised:
        call(vae, *args, **kwargs)
    assert type(raised.value) is error
    assert str(raised.value) == message
    after = vae.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert int(vae.optimizer.iterations.numpy()) == iterations
    assert vae.get_metrics_result() == logs
    np.testing.assert_array_equal(vae.sampling.seed_generator.state.numpy(), seed)


# ---- the range of the likelihood ---------------------------------------------------------------


def test_fit_refuses_data_outside_0_1():
    refuses(ValueError, RANGE.format("x", MIN, MAX), fit, BAD)


def test_fit_refuses_negative_data():
    low, high = (X - 0.5).min(), (X - 0.5).max()
    refuses(ValueError, RANGE.format("x", low, high), fit, X - 0.5)


def test_fit_refuses_a_target_outside_0_1_and_names_it():
    refuses(ValueError, RANGE.format("target of x", MIN, MAX), fit, X, BAD)


def test_fit_takes_an_input_outside_0_1_with_a_target_inside():
    logs = fit(tiny_vae(compiled={"run_eagerly": True}), BAD, X)
    assert np.isfinite(logs["loss"][0])


@pytest.mark.parametrize(
    "data", [BAD, (BAD,), [BAD], (BAD, None)], ids=["x", "(x,)", "[x]", "none"]
)
def test_fit_refuses_validation_data_outside_0_1(data):
    message = RANGE.format("validation_data", MIN, MAX)
    refuses(ValueError, message, fit, X, validation_data=data)


def test_fit_refuses_a_validation_target_outside_0_1():
    message = RANGE.format("target of validation_data", MIN, MAX)
    refuses(ValueError, message, fit, X, validation_data=(X, BAD))


def test_evaluate_refuses_data_outside_0_1():
    refuses(ValueError, RANGE.format("x", MIN, MAX), evaluate, BAD)


def test_evaluate_refuses_a_target_outside_0_1():
    refuses(ValueError, RANGE.format("target of x", MIN, MAX), evaluate, X, BAD)


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return self.arrays


@pytest.mark.parametrize("call", [fit, evaluate])
def test_first_batch_of_a_pydataset_outside_0_1(call):
    message = RANGE.format("first batch of x", MIN, MAX)
    refuses(ValueError, message, call, Batches(BAD), batch_size=None)


def test_first_batch_of_a_generator_outside_0_1():
    message = RANGE.format("target of first batch of x", MIN, MAX)
    generator = ((X, BAD) for _ in range(3))
    refuses(ValueError, message, fit, generator, batch_size=None, steps_per_epoch=2)


@pytest.mark.parametrize("role", ["x", "validation_data"])
def test_first_batch_of_a_torch_data_loader_outside_0_1(role):
    torch = pytest.importorskip("torch")
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(BAD)), batch_size=22
    )
    message = RANGE.format(f"first batch of {role}", MIN, MAX)
    data = {"x": X, role: loader}
    refuses(ValueError, message, fit, batch_size=None if role == "x" else 4, **data)


@pytest.mark.tensorflow
@pytest.mark.parametrize("role", ["x", "validation_data"])
def test_first_batch_of_a_tf_data_set_outside_0_1(role):
    import tensorflow as tf

    data = {"x": X, role: tf.data.Dataset.from_tensor_slices(BAD).batch(22)}
    message = RANGE.format(f"first batch of {role}", MIN, MAX)
    refuses(ValueError, message, fit, batch_size=None if role == "x" else 4, **data)


def test_gaussian_takes_any_finite_data():
    vae = tiny_vae(likelihood="gaussian", compiled={"run_eagerly": True})
    assert np.isfinite(fit(vae, X * 10 - 5)["loss"][0])


def test_exactly_0_and_1_are_taken():
    vae = tiny_vae(compiled={"run_eagerly": True})
    assert np.isfinite(fit(vae, np.round(X))["loss"][0])


# ---- NaN, infinity, integers, shapes -----------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_data_that_is_not_finite(value):
    refuses(ValueError, NOT_FINITE.format("x"), fit, holed(value))


def test_nan_in_an_input_with_a_clean_target():
    refuses(ValueError, NOT_FINITE.format("x"), fit, holed(np.nan), X)


def test_nan_in_a_target():
    refuses(ValueError, NOT_FINITE.format("target of x"), fit, X, holed(np.nan))


def test_nan_in_validation_data_and_evaluate():
    message = NOT_FINITE.format("validation_data")
    refuses(ValueError, message, fit, X, validation_data=(holed(np.nan),))
    refuses(ValueError, NOT_FINITE.format("x"), evaluate, holed(np.nan))


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_images_that_are_not_floating_point(dtype):
    refuses(TypeError, INTEGERS.format("x", dtype), fit, BAD.astype(dtype))


def test_a_target_of_integers():
    refuses(TypeError, INTEGERS.format("target of x", "uint8"), fit, X, BAD.astype("uint8"))


@pytest.mark.parametrize("shape", [(22, 5), (22, 6, 1), (22,), (22, 2, 3)])
def test_data_of_another_shape(shape):
    x = np.full(shape, 0.5, "float32")
    refuses(ValueError, SHAPE.format((None, 6), "x", shape), fit, x)


def test_a_target_of_another_shape():
    message = OUTPUT.format("Bernoulli", (22, 5), "the target of x", (22, 5), (None, 6))
    refuses(ValueError, message, fit, X, X[:, :5])


LABELS = (
    "VAE expects floating-point data, but the target of x is int64. If these are labels, leave "
    "them out, the data are their own target: fit(x), or dataset.map(lambda image, label: image)."
)


def test_labels_in_the_place_of_the_target():
    labels = np.arange(22) % 10
    refuses(TypeError, LABELS, fit, X, labels)


def test_true_and_false_become_zeros_and_ones():
    message = (
        "VAE expects floating-point data, but the x is bool. Make zeros and ones of it, with "
        "x.astype('float32')."
    )
    refuses(TypeError, message, fit, X > 0.5)
    fit(tiny_vae(compiled={"run_eagerly": True}), (X > 0.5).astype("float32"))


def test_data_without_examples():
    message = (
        "VAE expects at least one example, but the x has shape (0, 6). "
        "Look at how the data were loaded or split."
    )
    refuses(ValueError, message, fit, X[:0])


@pytest.mark.parametrize("call", [fit, evaluate])
def test_a_target_of_another_length(call):
    message = (
        "VAE expects one row of the target for each of the 22 rows of data, but the target of x "
        "has 3. Look at how the two were sliced or split."
    )
    refuses(ValueError, message, call, X, X[:3])


def test_a_validation_target_of_another_length():
    message = (
        "VAE expects one row of the target for each of the 22 rows of data, but the target of "
        "validation_data has 3. Look at how the two were sliced or split."
    )
    refuses(ValueError, message, fit, X, validation_data=(X, X[:3]))


@pytest.mark.parametrize("call", [fit, evaluate])
def test_data_in_a_list_are_checked_too(call):
    refuses(ValueError, RANGE.format("x", MIN, MAX), call, [BAD])


@pytest.mark.parametrize("call", [fit, evaluate])
def test_batch_sizes_that_are_none(call):
    message = "VAE expects batch_size to be at least 1, but got {}."
    refuses(ValueError, message.format(-4), call, X, batch_size=-4)
    refuses(ValueError, message.format(0), call, X, batch_size=0)
    message = "VAE expects batch_size to be a whole number, but got 4.0. Use int(...)."
    refuses(TypeError, message, call, X, batch_size=4.0)


def test_any_image_size_that_the_encoder_takes():
    x, z = keras.Input((None, None, 1)), keras.Input((None, None, 1))
    encoder = keras.Model(x, [layers.Conv2D(1, 1)(x), layers.Conv2D(1, 1)(x)])
    vae = vaekit.VAE(encoder, keras.Model(z, layers.Conv2D(1, 1, activation="sigmoid")(z)))
    vae.compile("adam", run_eagerly=True)
    for size in (4, 5):
        assert np.isfinite(fit(vae, np.full((2, size, size, 1), 0.5, "float32"))["loss"][0])


# ---- the parts of a VAE ------------------------------------------------------------------------


def raises_on_building(error, message, *args, **kwargs):
    with pytest.raises(error) as raised:
        vaekit.VAE(*args, **kwargs)
    assert type(raised.value) is error
    assert str(raised.value) == message


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_string_in_the_place_of_a_model(role):
    models = {"encoder": tiny_encoder(), "decoder": tiny_decoder(), role: "model.keras"}
    message = (
        f"VAE expects {role} to be a built Keras model, but got 'model.keras' of type str. "
        "To use a file, load it with keras.saving.load_model."
    )
    raises_on_building(TypeError, message, **models)


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_model_that_is_not_built(role):
    unbuilt = keras.Sequential([layers.Dense(2)], name="mine")
    models = {"encoder": tiny_encoder(), "decoder": tiny_decoder(), role: unbuilt}
    message = (
        f"VAE expects a built {role}, but 'mine' has no weights yet. "
        "Begin it with a keras.Input, or call it once on a batch."
    )
    raises_on_building(ValueError, message, **models)


def heads(*units):
    x = keras.Input((6,))
    return keras.Model(x, [layers.Dense(n)(x) for n in units])


@pytest.mark.parametrize("count", [1, 4])
def test_an_encoder_with_another_number_of_outputs(count):
    message = (
        "VAE expects an encoder with the outputs [z_mean, z_log_var], but got "
        f"{count} of shape {[(None, 2)] * count}. "
        "Add a second Dense layer for z_log_var beside the one for z_mean."
    )
    raises_on_building(ValueError, message, heads(*[2] * count), tiny_decoder())


def test_an_encoder_with_unequal_heads():
    message = (
        "VAE expects z_mean and z_log_var of one shape, but got (None, 2) and (None, 3). "
        "Give both heads the same number of units."
    )
    raises_on_building(ValueError, message, heads(2, 3), tiny_decoder())


def test_a_latent_of_size_0():
    x, z = keras.Input((6,)), keras.Input((0,))
    nothing = keras.Model(x, [x[:, :0], x[:, :0]])
    message = (
        "VAE expects at least one latent dimension, but z_mean has shape (None, 0). "
        "Give both heads one unit or more."
    )
    raises_on_building(ValueError, message, nothing, keras.Model(z, z))


def test_a_decoder_of_another_latent_size():
    z = keras.Input((3,))
    decoder = keras.Model(z, layers.Dense(6)(z), name="decoder")
    message = (
        "VAE expects a decoder that takes the encoder's latent shape (None, 2), but "
        "'decoder' takes (None, 3). Give the decoder an Input of shape (2,)."
    )
    raises_on_building(ValueError, message, tiny_encoder(), decoder)


class Heads(keras.Model):
    def __init__(self, *units):
        super().__init__()
        self.heads = [layers.Dense(n) for n in units]

    def call(self, x):
        return [head(x) for head in self.heads]


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ((2,), "VAE expects an encoder with the outputs [z_mean, z_log_var], but got 1 of shape"),
        ((2, 3), "VAE expects z_mean and z_log_var of one shape, but got"),
        ((3, 3), "VAE expects a decoder that takes the encoder's latent shape"),
    ],
)
def test_a_subclassed_encoder_is_checked_on_the_first_batch(units, message):
    encoder = Heads(*units)
    encoder(X[:1])
    vae = vaekit.VAE(encoder, tiny_decoder())
    vae.compile("adam")
    with pytest.raises(ValueError, match=re.escape(message)):
        fit(vae, X)


@pytest.mark.parametrize("beta", [-1.0, float("nan")])
def test_a_beta_below_0(beta):
    message = f"VAE expects beta >= 0, but got {beta}. 1 gives the ELBO."
    raises_on_building(ValueError, message, tiny_encoder(), tiny_decoder(), beta=beta)


def test_an_unknown_likelihood():
    with pytest.raises(ValueError, match=r"likelihood expects one of .* got the name 'poison'"):
        vaekit.VAE(tiny_encoder(), tiny_decoder(), likelihood="poison")


def test_a_likelihood_of_another_type():
    with pytest.raises(TypeError, match=r"likelihood expects one of .* but got 3"):
        vaekit.VAE(tiny_encoder(), tiny_decoder(), likelihood=3)


def test_a_refused_vae_leaves_the_models_usable():
    encoder, decoder = tiny_encoder(), tiny_decoder()
    with pytest.raises(ValueError, match="beta"):
        vaekit.VAE(encoder, decoder, beta=-1)
    before = encoder.get_weights()
    vae = vaekit.VAE(encoder, decoder)
    assert all(np.array_equal(a, b) for a, b in zip(before, encoder.get_weights(), strict=True))
    assert equal_weights(vae.encoder, encoder)


def test_a_decoder_whose_output_has_another_shape_than_the_data():
    z = keras.Input((2,))
    vae = vaekit.VAE(tiny_encoder(), keras.Model(z, layers.Dense(5, activation="sigmoid")(z)))
    vae.compile("adam", run_eagerly=True)
    with pytest.raises(ValueError) as raised:
        fit(vae, X)
    assert str(raised.value) == OUTPUT.format("Bernoulli", (22, 6), "the x", (22, 6), (None, 5))


def test_a_decoder_without_a_scale_for_each_output():
    vae = tiny_vae(likelihood=vaekit.likelihoods.Gaussian("predicted"), compiled=EAGER)
    with pytest.raises(ValueError) as raised:
        fit(vae, X)
    assert str(raised.value) == OUTPUT.format("Gaussian", (22, 12), "the x", (22, 6), (None, 6))


def test_an_encoder_that_adds_the_kl_itself():
    x = keras.Input((4,))
    heads = vaekit.KLDivergence()([keras.layers.Dense(2)(x), keras.layers.Dense(2)(x)])
    with pytest.raises(ValueError, match="holds a KLDivergence layer, which would count it twice"):
        vaekit.VAE(keras.Model(x, heads), tiny_decoder())
