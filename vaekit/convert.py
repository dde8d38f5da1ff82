"""A trained autoencoder becomes a VAE with the same inputs and outputs.

``split`` copies the autoencoder and cuts it at its code, ``latent_map`` finds the affine map from
the code to z, ``posterior_width`` how wide the posterior must be, and ``heads`` has the layers that
all of it is written into.
"""

import warnings

import keras
import numpy as np
from keras import ops

from vaekit import checks, conversion_checks, latent_map, likelihoods
from vaekit.gradients import compiled_gradient, full_precision
from vaekit.heads import Heads, from_code, named_as
from vaekit.models import VAE
from vaekit.posterior_width import fit_log_var
from vaekit.split import split

BATCH_SIZE = 500  # examples at a time
MOST_CODES = 20_000  # rows whose codes are whitened
MOST_ROWS = 4000  # rows that the posterior's width is fitted on
MOST_NUMBERS = 2_000_000  # limit on rows times the size of a code: large codes use fewer rows
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
        verbose: 1 prints a note if the code is so large that its layers act on each position
            separately; 0 never prints.
        y_train: array ``(n, ...)``, the targets that the autoencoder was trained on, where they
            are not x_train: clean images for noisy ones, x / 255 for an autoencoder that begins
            with ``Rescaling``. Scales and widths are fitted to them; train with
            ``vae.fit(x_train, y_train)``.
        sample_weight: the weights of elements that the autoencoder was trained with, of the shape
            of the target or of its first axes: 0 where a series is padded, or a value missing.
            Scales and widths are fitted with them; train with the same.

    Returns:
        A compiled ``VAE`` with a fresh copy of the autoencoder's optimizer at 0.3 times its
        present learning rate: at the full rate, the first epochs make the VAE worse.

    Raises:
        TypeError, ValueError: if the autoencoder cannot be cut, the data do not fit it, or its
            loss is no likelihood; with the layers and the way out.

    Source: PCA whitening: Kessy, Lewin & Strimmer (2018); the curvature as a posterior
    precision: MacKay (2003), chapter 27. Folding both into a network is this course's own.
    Taught in notebooks/07_convert.ipynb.
    """
    x_train = conversion_checks.as_array(x_train, "x_train")
    if y_train is not None:
        y_train = conversion_checks.as_array(y_train, "y_train")
    target = x_train if y_train is None else y_train

    # 1. Cut a copy of the autoencoder at its code.
    halves = split(autoencoder, bottleneck, x_train.shape[1:])
    if likelihood is None:
        likelihood = _likelihood_of_loss(autoencoder, halves.decoder, target)
    data = x_train, y_train, sample_weight
    conversion_checks.check_data(halves, likelihoods.get(likelihood), *data)
    decoder = _decoder_of_codes(halves)

    # 2. The codes of the training data; on some of the rows the decoder is looked at too.
    chosen, codes = _codes(halves, x_train)
    n = min(MOST_ROWS, max(MOST_NUMBERS // codes[0].size, 100))
    rows, some_codes = chosen[:n], codes[:n]
    x, target = x_train[rows], target[rows]
    weight = _weight_of_elements(sample_weight, rows, target)
    parameters = _outputs(decoder, some_codes)
    conversion_checks.warn_of_another_target(likelihood, target, parameters, weight)
    likelihood = _with_fitted_scale(likelihood, target, parameters, weight)

    # 3. The new layers around the halves, without their weights yet.
    heads = Heads(halves, codes.shape[1:])
    name = (getattr(autoencoder, "output_names", None) or heads.decoder.output_names)[0]
    vae = VAE(heads.encoder, named_as(heads.decoder, name), likelihood, seed=seed)
    if heads.per_position and verbose:
        print(
            f"to_vae: the code {codes.shape[1:]} is a large feature map, so z_mean, z_log_var and "
            f"code act on the {heads.channels} channels of each position alone."
        )

    # 4. The affine map between code and z, and the curvature of the loss along the axes of z.
    gradient = _loss_gradient(decoder, likelihood, target, weight, codes.shape[1:])
    codes, some_codes = heads.by_position(codes), heads.by_position(some_codes)
    map_to_z, curvatures = latent_map.fit(codes, some_codes, gradient)

    # 5. The posterior's width, regressed on the features that the code is made of.
    features = _outputs(heads.features, x).astype("float64")
    kernel, bias = _fitted_log_var(features, curvatures)
    # For any widths, the KL is lowest when the variance of z, codes plus noise, is 1.
    variance = np.exp(features.reshape(-1, len(kernel)) @ kernel + bias).mean(axis=0)
    spread = np.sqrt(map_to_z.to_z(some_codes).var(axis=(0, 1)) + variance)
    map_to_z.scale(spread)
    heads.write(map_to_z, kernel, bias - 2 * np.log(spread))

    conversion_checks.check_equal_outputs(vae, autoencoder, halves, x_train[:64])
    vae.compile(_fresh_optimizer(autoencoder))
    return vae


def _codes(halves, x_train):
    """The numbers of some rows, in random order, and their codes."""
    encode = keras.Model(halves.encoder.inputs[0], halves.encoder.outputs[1])
    size = _outputs(encode, x_train[:1]).size
    most = min(MOST_CODES, max(10 * MOST_NUMBERS // size, 1000))
    chosen = np.random.default_rng(0).permutation(len(x_train))[:most]
    codes = _outputs(encode, x_train[chosen])
    conversion_checks.check_codes(codes)
    return chosen, codes


def _weight_of_elements(sample_weight, rows, target):
    """The weights of these rows with as many axes as the target; 1 where there are none."""
    if sample_weight is None:
        weight = np.ones(len(rows), "float32")
    else:
        weight = np.asarray(sample_weight, "float32")[rows]
    return checks.with_trailing_axes(weight, target.ndim)


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
