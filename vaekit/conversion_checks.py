"""What ``to_vae`` refuses or warns of, and the last check of what it made.

As ``checks.py`` for the VAE: each sentence says what was expected, what came, and what to do.
"""

import warnings

import keras
import numpy as np
from keras import ops

from vaekit import checks, likelihoods
from vaekit.flat_copy import is_graph

FEWEST_EXAMPLES = 4


def as_array(x, name):
    """The data as a floating-point array."""
    if isinstance(x, (list, tuple, dict)) and len(keras.tree.flatten(x)) == 1:
        (x,) = keras.tree.flatten(x)  # of a model with one input in a list or a dict
    if hasattr(x, "toarray"):
        raise TypeError(
            f"to_vae expects {name} to be an array, but got a sparse {type(x).__name__}. Give "
            f"{name}.toarray(), a part of the rows if all of them are too many."
        )
    if not hasattr(x, "shape"):
        raise TypeError(
            f"to_vae expects {name} to be the array that the autoencoder was trained on, but got "
            f"{type(x).__name__}. Make one of it, for example with np.stack."
        )
    of_numpy = isinstance(x, np.ndarray) or hasattr(x, "columns")
    x = np.asarray(x) if of_numpy else ops.convert_to_numpy(x)
    if x.dtype.kind in "OSU":
        raise TypeError(
            f"to_vae expects numbers, but {name} holds text or mixed columns. Drop those columns, "
            "or turn categories into 0 and 1 as they were for training the autoencoder."
        )
    if x.dtype.kind == "b":
        raise TypeError(
            f"to_vae expects floating-point data, but {name} holds True and False. Give "
            f"{name}.astype('float32'), zeros and ones."
        )
    if x.ndim and len(x) < FEWEST_EXAMPLES:
        raise ValueError(
            "to_vae expects the examples that the autoencoder was trained on, but "
            f"{name} has only {len(x)}. How the codes spread cannot be told from fewer than "
            f"{FEWEST_EXAMPLES}; give all of them, a few thousand are enough."
        )
    return x.astype("float32") if x.dtype == "float64" else x


def check_data(halves, likelihood, x_train, y_train, sample_weight):
    """Raises unless data, target and weights fit each other, the halves and the likelihood."""
    integers = likelihood.takes_integers or checks.input_is_integer(halves.encoder)
    range_ = checks.check_array(x_train, "x_train", halves.encoder.input_shape, integers)
    name, target = "x_train", x_train
    if y_train is not None:
        name, target = "y_train", y_train
        range_ = checks.check_array(y_train, "y_train", None, likelihood.takes_integers)
        if len(y_train) != len(x_train):
            raise ValueError(
                f"to_vae expects a row of y_train for each of the {len(x_train)} rows of x_train, "
                f"but got {len(y_train)}."
            )
    _check_shape_of_target(halves, likelihood, target, name)
    if sample_weight is not None:
        _check_weight(sample_weight, target, name)
    advice = None
    if y_train is None and isinstance(likelihood, likelihoods.Bernoulli):
        advice = (
            "Give the data as they were for training the autoencoder; if it scales them itself, "
            "give the targets that it was trained on as well: y_train=x_train / 255 for images."
        )
    checks.check_range(likelihood, target, range_, name, sample_weight, advice)


def _check_shape_of_target(halves, likelihood, target, name):
    found = tuple(halves.decoder.outputs[0].shape)[1:]
    expected = likelihood.parameters_shape(target.shape)[1:]
    if checks.fits_shape((1, *found), (1, *expected)):
        return
    example = target.shape[1:]
    advice = "give the target that the autoencoder was trained on as y_train"
    if found == (*example, 1):
        advice = "give y_train=x_train[..., None]"
    raise ValueError(
        f"to_vae expects a target of the shape that the last layer, "
        f"{halves.decoder.layers[-1].name!r}, gives, {found}, but an example of "
        f"{'x_train, which is the target too,' if name == 'x_train' else name} has {example}. If "
        f"they are meant to differ, {advice}; if not, crop or resize what the layer gives, or pad "
        "x."
    )


def _check_weight(sample_weight, target, name):
    shape = np.shape(sample_weight)
    checks.check_sample_weight(sample_weight, target.shape, name)
    if not checks.is_weight_of_elements(shape):
        raise ValueError(
            f"to_vae expects sample_weight to weigh elements, as {target.shape[:2]} does, but got "
            f"{shape}, one number an example. Leave it out: weights of whole examples do not "
            "change the conversion. Give it to vae.fit."
        )
    if not np.any(sample_weight):
        raise ValueError("to_vae expects a sample_weight above 0 somewhere, but all are 0.")


def check_codes(codes):
    if not np.isfinite(codes).all():
        raise ValueError(
            "to_vae expects finite codes, but the encoder gives NaN or infinity on x_train. "
            "Scale x_train as it was for training the autoencoder."
        )


def warn_of_another_target(likelihood, target, parameters, weight):
    """Warns where the mean of the target is nearer to it than what the autoencoder gives."""
    given = ops.convert_to_numpy(likelihoods.get(likelihood).mean(parameters))
    if given.shape != target.shape:
        return
    weight = np.broadcast_to(weight, target.shape)
    error = _root_mean_square(target - given, weight)
    mean = np.average(target, axis=0, weights=weight + 1e-9)
    spread = _root_mean_square(target - mean, weight)
    if error > 1.5 * spread:
        warnings.warn(
            f"What the autoencoder gives is {error:.3g} away from its target (root mean square), "
            f"and the mean of the target only {spread:.3g}. Either it is not trained yet, or it "
            "was trained on other targets: give them as y_train.",
            stacklevel=4,
        )


def check_equal_outputs(vae, autoencoder, halves, x):
    """The last check of the promise, on a few rows."""
    if isinstance(autoencoder, (tuple, list)):
        expected = _predicted(autoencoder[1], _predicted(autoencoder[0], x))
    else:
        expected = _predicted(autoencoder, x)
    found = ops.convert_to_numpy(vae(x, training=False)).astype("float32")
    expected = expected.astype("float32")
    error = np.abs(found - expected).max()
    if not error <= _tolerance(halves) * max(np.ptp(expected), 1e-6):
        raise ValueError(
            f"The VAE's output differs from the autoencoder's by {error:.2g}: "
            + _cause_of_the_difference(autoencoder, halves, x, expected)
        )


def _predicted(model, x):
    # A model of a dict or a list with one input takes one.
    structure = getattr(model, "input", x)
    batch = keras.tree.pack_sequence_as(structure, [x])
    (output,) = keras.tree.flatten(model(batch, training=False))
    return ops.convert_to_numpy(output)


def _tolerance(halves):
    """How far two outputs may differ in the coarsest of the autoencoder's dtypes."""
    layers = [*halves.encoder.layers, *halves.decoder.layers]
    dtypes = {getattr(layer, "compute_dtype", "float32") for layer in layers}
    coarseness = {"bfloat16": 0.15, "float16": 0.02}
    return max(coarseness.get(dtype, 1e-3) for dtype in dtypes)


def _cause_of_the_difference(autoencoder, halves, x, expected):
    if not isinstance(autoencoder, (tuple, list)) and not is_graph(autoencoder):
        return (
            f"the call of {type(autoencoder).__name__} does more than decoder(encoder(x)). Put "
            "what it does there into its encoder or decoder, or give the halves as they are to be "
            "used: to_vae((encoder, decoder), x)."
        )
    again = None
    if not isinstance(autoencoder, (tuple, list)):
        again = _predicted(autoencoder, x).astype("float32")
    if again is not None and not np.allclose(again, expected, rtol=1e-3, atol=1e-6):
        return (
            "predict gives another answer each time, so some layer draws random numbers there. "
            "Let it do so with training=True alone."
        )
    layer = _layer_that_differs(autoencoder, halves, x)
    return (
        f"{layer} computes with a value that is neither among its weights nor in its get_config. "
        "Make that value a weight, with add_weight, or return it from get_config."
    )


def _layer_that_differs(autoencoder, halves, x):
    """The first layer whose copy gives another answer to what the layer gets."""
    models = autoencoder if isinstance(autoencoder, (tuple, list)) else [autoencoder]
    copies = {layer.name: layer for layer in [*halves.encoder.layers, *halves.decoder.layers]}
    for model in models:
        for layer in getattr(model, "layers", []):
            try:
                before_and_after = keras.Model(model.inputs[0], [layer.input, layer.output])
                given, expected = before_and_after(x, training=False)
                found = _answer_of_copy(copies[layer.name], layer, given, halves)
            except Exception:  # nested, used twice, of several tensors: not to be judged alone
                continue
            found, expected = ops.convert_to_numpy(found), ops.convert_to_numpy(expected)
            if not np.allclose(found, expected, rtol=1e-3, atol=1e-5):
                return f"the layer {layer.name!r}"
        x = _predicted(model, x)
    return "some layer"


def _answer_of_copy(copy, layer, given, halves):
    found = copy(given, training=False)
    moved = getattr(copy, "activation", None) is not getattr(layer, "activation", None)
    if copy is halves.code_layer and moved:
        found = halves.activation(found)  # ``split`` has moved it to the decoder's entrance
    return found


def _root_mean_square(differences, weight):
    return np.sqrt(np.average(differences**2, weights=weight))
