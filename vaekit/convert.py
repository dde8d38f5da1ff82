"""A trained autoencoder becomes a VAE with the same inputs and outputs.

``split`` copies the autoencoder and cuts it at its code, ``latent_map`` finds the affine map from
the code to z, ``posterior_width`` how wide the posterior must be, and ``heads`` has the layers that
all of it is written into.
"""

import warnings

import keras
import numpy as np
from keras import ops

from vaekit import checks, latent_map, likelihoods
from vaekit.flat_copy import is_graph
from vaekit.gradients import compiled_gradient, full_precision
from vaekit.heads import Heads, from_code, named_as
from vaekit.models import VAE
from vaekit.posterior_width import fit_log_var
from vaekit.split import split

BATCH_SIZE = 500  # examples at a time
MOST_CODES = 20_000  # training examples whose codes are whitened
MOST_ROWS = 4000  # of these, examples that the width of the posterior is fitted on
MOST_NUMBERS = 2_000_000  # in the codes of those rows, where they are large
FEWEST_EXAMPLES = 4
FINE_TUNING = 0.3  # of the autoencoder's learning rate


@full_precision()
def to_vae(
    autoencoder,
    x_train,
    bottleneck=None,
    likelihood=None,
    seed=None,
    verbose=1,
    y_train=None,
    sample_weight=None,
):
    r"""A VAE with the inputs and outputs of a trained autoencoder, usable before any training.

    ``vae.predict(x)`` equals ``autoencoder.predict(x)``, on a GPU up to its rounding. The codes
    are whitened: an affine map is folded into the mean head and its inverse into the decoder's
    code_layer. The posterior's width follows from the curvature of the log-likelihood, and is
    regressed on the features that the code is made of. The autoencoder is copied, and not touched.
    Memory grows with the number of codes and the square of the latent size alone.

    Args:
        autoencoder: a trained functional, Sequential or nested Keras model; a subclassed one
            with ``encoder`` and ``decoder``; or the pair ``(encoder, decoder)``.
        x_train: array ``(n, ...)``, the inputs that the autoencoder was trained on.
        bottleneck: name of the layer that gives the code; None finds the narrowest hidden one.
        likelihood: as for ``VAE``; None follows the autoencoder's loss (binary cross-entropy:
            Bernoulli; squared error: Gaussian; absolute error: Laplace; categorical cross-entropy,
            one-hot or of integers: Categorical; Poisson: Poisson). Scales are fitted on the
            residuals, by name too, and a learned one begins there; other objects are taken as
            they are.
        seed: int or None, for the noise of the VAE.
        verbose: 1 says so where the code is so large that its layers work per position; 0 never.
        y_train: array ``(n, ...)``, the targets that the autoencoder was trained on, where they
            are not x_train: clean images for noisy ones, x / 255 for an autoencoder that begins
            with ``Rescaling``. Scales and widths are fitted to them; train with
            ``vae.fit(x_train, y_train)``.
        sample_weight: the weights of elements that the autoencoder was trained with, of the shape
            of the target or of its first axes: 0 where a series is padded, or a value missing.
            Scales and widths are fitted with them; train with the same.

    Returns:
        A compiled ``VAE`` with a fresh copy of the autoencoder's optimizer at 0.3 times its
        present learning rate: at the whole of it, training first spoils what it finds.

    Raises:
        TypeError, ValueError: if the autoencoder cannot be cut, the data do not fit it, or its
            loss is no likelihood; with the layers and the way out.

    Source: PCA whitening: Kessy, Lewin & Strimmer (2018); the curvature as a posterior
    precision: MacKay (2003), chapter 27. Folding both into a network is this course's own.
    Taught in notebooks/07_convert.ipynb.
    """
    x_train = _array(x_train, "x_train")
    y_train = None if y_train is None else _array(y_train, "y_train")
    target = x_train if y_train is None else y_train
    halves = split(autoencoder, bottleneck, x_train.shape[1:])
    if likelihood is None:
        likelihood = _likelihood_of_loss(autoencoder, halves.decoder, target)
    _check_data(halves, likelihoods.get(likelihood), x_train, y_train, sample_weight)
    encode = keras.Model(halves.encoder.inputs[0], halves.encoder.outputs[1])
    size = _outputs(encode, x_train[:1]).size
    most_codes = min(MOST_CODES, max(10 * MOST_NUMBERS // size, 1000))
    chosen = np.random.default_rng(0).permutation(len(x_train))[:most_codes]
    codes = _outputs(encode, x_train[chosen])
    if not np.isfinite(codes).all():
        raise ValueError(
            "to_vae expects finite codes, but the encoder gives NaN or infinity on x_train. "
            "Scale x_train as it was for training the autoencoder."
        )
    n = min(MOST_ROWS, max(MOST_NUMBERS // size, 100))
    x, target = x_train[chosen[:n]], target[chosen[:n]]
    weight = np.ones(len(target), "float32")
    if sample_weight is not None:
        weight = np.asarray(sample_weight, "float32")[chosen[:n]]
    weight = weight.reshape(*weight.shape, *[1] * (target.ndim - weight.ndim))
    decoder = _decoder_of_codes(halves)
    parameters = _outputs(decoder, codes[:n])
    _warn_of_another_target(likelihoods.get(likelihood), target, parameters, weight)
    likelihood = _with_fitted_scale(likelihood, target, parameters, weight)
    heads = Heads(halves, codes.shape[1:])
    name = (getattr(autoencoder, "output_names", None) or heads.decoder.output_names)[0]
    vae = VAE(heads.encoder, named_as(heads.decoder, name), likelihood, seed=seed)
    if heads.per_position and verbose:
        print(
            f"to_vae: the code {codes.shape[1:]} is a large feature map, so z_mean, z_log_var and "
            f"code act on the {heads.channels} channels of each position alone."
        )
    by_position = codes.reshape(-1, heads.positions, heads.channels)
    gradient = _loss_gradient(decoder, likelihood, target, weight, codes.shape[1:])
    found, curvatures = latent_map.fit(by_position, by_position[:n], gradient)
    features = _outputs(heads.features, x).astype("float64")
    kernel, bias = _fitted_log_var(features, curvatures)
    # Whatever the widths, the KL is lowest if codes and posterior's noise have the variance 1.
    width = np.exp(features.reshape(-1, len(kernel)) @ kernel + bias).mean(axis=0)
    spread = np.sqrt(found.to_z(by_position[:n]).var(axis=(0, 1)) + width)
    found.scale(spread)
    heads.write(found, kernel, bias - 2 * np.log(spread))
    _check_equal_outputs(vae, autoencoder, halves, x_train[:64])
    vae.compile(_fresh_optimizer(autoencoder))
    return vae


def _array(x, name):
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
    x = np.asarray(x) if hasattr(x, "columns") else ops.convert_to_numpy(x)
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


def _check_data(halves, likelihood, x_train, y_train, sample_weight):
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


def _warn_of_another_target(likelihood, target, parameters, weight):
    """Warns where the mean of the target is nearer to it than what the autoencoder gives."""
    given = ops.convert_to_numpy(likelihood.mean(parameters))
    if given.shape != target.shape:
        return
    weight = np.broadcast_to(weight, target.shape)
    error = _scale(target, given, weight, 2)
    spread = _scale(target, np.average(target, axis=0, weights=weight + 1e-9), weight, 2)
    if error > 1.5 * spread:
        warnings.warn(
            f"What the autoencoder gives is {error:.3g} away from its target (root mean square), "
            f"and the mean of the target only {spread:.3g}. Either it is not trained yet, or it "
            "was trained on other targets: give them as y_train.",
            stacklevel=4,
        )


def _outputs(model, x):
    """The outputs of a model as one array. Nothing is traced, which would take longer."""
    batches = [x[i : i + BATCH_SIZE] for i in range(0, len(x), BATCH_SIZE)]
    return np.concatenate([ops.convert_to_numpy(model(b, training=False)) for b in batches])


def _decoder_of_codes(halves):
    code = keras.Input(tuple(halves.encoder.outputs[1].shape)[1:], dtype="float32")
    return keras.Model(code, from_code(halves, code))


def _loss_gradient(decoder, likelihood, target, weight, shape):
    """Function of codes ``(n, positions, channels)`` of the first n rows: d(-log p) / d(code)."""

    def loss(code, y, weight):
        return -likelihood.log_prob(y, decoder(code, training=False), weight)

    gradient = compiled_gradient(loss)

    def in_batches(codes):
        parts = []
        for start in range(0, len(codes), BATCH_SIZE):
            rows = slice(start, min(start + BATCH_SIZE, len(codes)))
            batch = codes[rows].reshape(-1, *shape)
            parts.append(gradient(batch, target[rows], weight[rows]))
        return np.nan_to_num(np.concatenate(parts), posinf=0, neginf=0).reshape(codes.shape)

    return in_batches


def _fitted_log_var(features, curvatures):
    """Kernel and bias of ``z_log_var``."""
    precision = 1 + curvatures.reshape(-1, curvatures.shape[-1])
    features = features.reshape(len(precision), -1)
    some = np.random.default_rng(0).permutation(len(precision))[:MOST_CODES]
    return fit_log_var(features[some], precision[some])


def _fresh_optimizer(autoencoder):
    """A copy of the optimizer without its state, at a smaller learning rate."""
    optimizer = getattr(autoencoder, "optimizer", None)
    if optimizer is None:
        return keras.optimizers.Adam(FINE_TUNING * 1e-3)
    rate = FINE_TUNING * float(ops.convert_to_numpy(optimizer.learning_rate))
    try:
        return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": rate})
    except Exception:  # whatever the code of a user's optimizer or schedule raises
        warnings.warn(
            f"The optimizer {type(optimizer).__name__} cannot be copied: the VAE gets Adam at "
            f"{rate:.3g}, {FINE_TUNING} times its present learning rate. Compile it with another, "
            "vae.compile(optimizer), if you like.",
            stacklevel=4,
        )
        return keras.optimizers.Adam(rate)


def _likelihood_of_loss(autoencoder, decoder, x):
    """The likelihood, or its name, whose negative logarithm is the loss, up to a scale."""
    loss = getattr(autoencoder, "loss", None)
    if isinstance(loss, (list, dict)) and len(loss) == 1:
        (loss,) = loss.values() if isinstance(loss, dict) else loss
    if loss is None:  # not compiled, or a pair
        last = getattr(decoder.layers[-1], "activation", None)
        unit = x.min() >= 0 and x.max() <= 1 and last is keras.activations.sigmoid
        loss = "binary_crossentropy" if unit else "mse"
    loss = keras.losses.get(loss)
    name = getattr(loss, "__name__", type(loss).__name__)
    kind = name.replace("_", "").lower()
    if kind == "binarycrossentropy":
        return likelihoods.Bernoulli(from_logits=getattr(loss, "from_logits", False))
    if kind == "meansquarederror":
        return "gaussian"
    if kind == "meanabsoluteerror":
        return "laplace"
    if kind == "categoricalcrossentropy":
        return likelihoods.Categorical(from_logits=getattr(loss, "from_logits", False))
    if kind == "sparsecategoricalcrossentropy":
        classes = tuple(decoder.outputs[0].shape)[-1]
        return likelihoods.Categorical(classes, from_logits=getattr(loss, "from_logits", False))
    if kind == "poisson":
        return "poisson"
    advice = "likelihood='bernoulli', 'gaussian', or an object of vaekit.likelihoods"
    if kind in ("huber", "logcosh"):
        advice = "likelihood='laplace', which large errors cost as little as they do in this loss"
    raise ValueError(f"to_vae knows no likelihood for the loss {name!r}. Pass one: {advice}.")


def _with_fitted_scale(likelihood, x, parameters, weight):
    """The likelihood of that name with its scale fitted; an object, but for a learned scale."""
    if likelihood == "gaussian":
        return likelihoods.Gaussian(_scale(x, parameters, weight, 2))
    if likelihood == "laplace":
        return likelihoods.Laplace(_scale(x, parameters, weight, 1))
    likelihood = likelihoods.get(likelihood)
    if isinstance(likelihood, likelihoods.Columns):
        weight = np.broadcast_to(weight, x.shape)
        weights = [its for _, its, _ in likelihood.split(weight, parameters)]
        fitted = [
            _with_fitted_scale(*part, its_weight)
            for part, its_weight in zip(likelihood.split(x, parameters), weights, strict=True)
        ]
        return likelihoods.Columns(list(zip(likelihood.widths, fitted, strict=True)))
    if getattr(likelihood, "scale", None) == "learned":  # a copy: the object stays as it is
        likelihood = type(likelihood).from_config(likelihood.get_config())
        likelihood.set_sigma(_scale(x, parameters, weight, 2))
    return likelihood


def _scale(x, parameters, weight, power):
    """The scale of maximum likelihood for those residuals, kept above 0."""
    residuals = np.abs(x - parameters) ** power
    weight = np.broadcast_to(weight, residuals.shape)
    return max(float(np.average(residuals, weights=weight) ** (1 / power)), 1e-6)


def _check_equal_outputs(vae, autoencoder, halves, x):
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
            + _cause_of_the_difference(autoencoder, x, expected)
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


def _cause_of_the_difference(autoencoder, x, expected):
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
    return (
        "some layer computes with a value that is neither among its weights nor in its get_config. "
        "Make that value a weight, with add_weight, or return it from get_config."
    )
