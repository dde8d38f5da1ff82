"""A trained autoencoder becomes a VAE with the same inputs and outputs."""

import time
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from vaekit import checks, likelihoods
from vaekit.models import VAE
from vaekit.posterior_width import (
    posterior_log_var,
    principal_curvatures,
    ridge_regression,
    rows_within_budget,
)
from vaekit.split import split

BATCH_SIZE = 500  # examples at a time
CALIBRATION_ROWS = 4000  # training examples that the width of the posterior is fitted on
SMALLEST_VARIANCE = (
    1e-6  # of the largest variance of the codes: what is narrower counts as constant
)
MOST_ROTATED = 16  # latent dimensions; rotating more costs too many decodings
MOST_FEATURES = 2048  # that a width is regressed on; where there are more, on the code instead
PATIENCE = 2.0  # seconds until progress is shown


def to_vae(autoencoder, x_train, bottleneck=None, likelihood=None, seed=None, verbose=1):
    r"""A VAE with the inputs and outputs of a trained autoencoder, usable before any training.

    ``vae.predict(x)`` equals ``autoencoder.predict(x)``. The codes are whitened: an affine map
    is folded into the mean head and its inverse into the decoder's code_layer. The posterior's
    width follows from the curvature of the log-likelihood, and is regressed on the features
    that the code is made of. The autoencoder is copied, and not touched. Memory grows with
    the number of codes and the square of the latent size alone.

    Args:
        autoencoder: a trained functional, Sequential or nested Keras model; a subclassed one
            with ``encoder`` and ``decoder``; or the pair ``(encoder, decoder)``.
        x_train: array ``(n, ...)``, what the autoencoder was trained on.
        bottleneck: name of the layer that gives the code; None finds the narrowest hidden one.
        likelihood: as for ``VAE``; None follows the autoencoder's loss (binary cross-entropy:
            Bernoulli; squared error: Gaussian; absolute error: Laplace). Scales are fitted on
            the residuals, by name too, and a learned one begins there; other objects are taken as
            they are.
        seed: int or None, for the noise of the VAE.
        verbose: 1 shows progress once the conversion has taken two seconds, 0 never.

    Returns:
        A compiled ``VAE`` with a fresh copy of the autoencoder's optimizer. If the autoencoder
        had converged, a smaller learning rate serves ``vae.fit`` better.

    Raises:
        TypeError, ValueError: if the autoencoder cannot be cut, the data do not fit it, or its
            loss is no likelihood; with the layers and the way out.

    Source: PCA whitening: Kessy, Lewin & Strimmer (2018); the curvature as a posterior
    precision: MacKay (2003), chapter 27. Folding both into a network is this course's own.
    Taught in notebooks/07_convert.ipynb.
    """
    halves = split(autoencoder, bottleneck)
    if not hasattr(x_train, "shape"):
        raise TypeError(
            "to_vae expects x_train to be the array that the autoencoder was trained on, but got "
            f"{type(x_train).__name__}. Make one of it, for example with np.stack."
        )
    x_train = ops.convert_to_numpy(x_train)
    checks.check_array(x_train, "x_train", halves.encoder.input_shape)
    progress = _Progress(len(x_train), halves.encoder.outputs[1].shape, verbose)
    code = keras.Model(halves.encoder.inputs[0], halves.encoder.outputs[1])
    codes = _predict(code, x_train, progress)
    if not np.isfinite(codes).all():
        raise ValueError(
            "to_vae expects finite codes, but the encoder gives NaN or infinity on x_train. "
            "Scale x_train as it was for training the autoencoder."
        )
    shape = codes.shape[1:]
    constant = _constant_units(halves.activation, codes)
    encoder, heads = _encoder(halves, shape, constant)
    decoder, code_layer = _decoder(halves, shape, autoencoder)
    rows = np.random.default_rng(0).permutation(len(x_train))[:CALIBRATION_ROWS]
    codes = (
        _activate_constant_units(halves.activation, constant, codes)
        .reshape(len(codes), -1)
        .astype("float64")
    )
    mean, whiten, unwhiten = whitening(codes)
    code_layer.set_weights([unwhiten, mean])
    x, z = x_train[rows], (codes[rows] - mean) @ whiten
    parameters = _predict(decoder, z.reshape(-1, *shape), progress)
    if likelihood is None:
        likelihood = _likelihood_of_loss(autoencoder, decoder, x)
    likelihood = _with_fitted_scale(likelihood, x, parameters)
    vae = VAE(encoder, decoder, likelihood, seed=seed)
    checks.check_arrays(vae, x_train, None, "x_train")

    def loss(z, x):
        found = -likelihood.log_prob(x, _predict(decoder, z.reshape(-1, *shape), progress))
        return ops.convert_to_numpy(found).astype("float64")

    if z.shape[1] <= MOST_ROTATED:
        rotation = principal_curvatures(loss, z, x)
        whiten, unwhiten, z = whiten @ rotation, rotation.T @ unwhiten, z @ rotation
        code_layer.set_weights([unwhiten, mean])
    log_var = posterior_log_var(loss, z, x)
    # The prior is N(0, I): let the codes *with* their posterior's width have variance 1.
    scale = 1 / np.sqrt(z[: len(log_var)].var(axis=0) + np.exp(log_var).mean(axis=0))
    whiten, unwhiten, z = whiten * scale, unwhiten / scale[:, None], z * scale
    code_layer.set_weights([unwhiten, mean])
    features = _predict(heads.features, x[: len(log_var)], progress)
    kernel, bias = ridge_regression(features, log_var + 2 * np.log(scale))
    heads.log_var.set_weights([kernel, bias])
    if heads.folded is not None:  # code = features @ kernel + bias, and z one affine map further
        kernel, bias = (np.asarray(weight, "float64") for weight in heads.folded.get_weights())
        heads.mean.set_weights([kernel @ whiten, (bias - mean) @ whiten])
    else:
        heads.mean.set_weights([whiten, -mean @ whiten])
    _check_equal_outputs(vae, autoencoder, x[:64])
    vae.compile(_fresh_optimizer(autoencoder))
    progress.finish()
    return vae


class Heads(NamedTuple):
    """The new layers of the encoder."""

    mean: layers.Dense
    log_var: layers.Dense
    features: keras.Model  # x -> what the log-variance is read from, (batch, any)
    folded: layers.Dense | None  # the autoencoder's own code layer, if ``mean`` takes its place


def _encoder(halves, shape, constant):
    x = halves.encoder.inputs[0]
    features, code = halves.encoder.outputs
    size = int(np.prod(shape))
    folded = halves.head if isinstance(halves.head, layers.Dense) and len(shape) == 1 else None
    if constant.any():
        folded = None
        code = code * (1.0 - constant) + halves.activation(code) * (1.0 * constant)
    if folded is None:
        code = layers.Flatten()(code)
    mean = layers.Dense(size, name="z_mean")
    log_var = layers.Dense(size, name="z_log_var")
    means = mean(code if folded is None else features)
    if len(features.shape) != 2 or features.shape[1] > MOST_FEATURES:
        features = code
    outputs = [means, log_var(features)]
    if len(shape) > 1:
        outputs = [layers.Reshape(shape)(output) for output in outputs]
    encoder = keras.Model(x, outputs, name="encoder")
    return encoder, Heads(mean, log_var, keras.Model(x, features), folded)


def _decoder(halves, shape, autoencoder):
    z = keras.Input(shape, name="z")
    code_layer = layers.Dense(int(np.prod(shape)), name="code")
    code = code_layer(layers.Flatten()(z) if len(shape) > 1 else z)
    if len(shape) > 1:
        code = layers.Reshape(shape)(code)
    if halves.activation is not None:
        code = halves.activation(code)
    decoder = keras.Model(z, halves.decoder.call(code), name="decoder")
    names = getattr(autoencoder, "output_names", None) or decoder.output_names
    if names != decoder.output_names:  # the name of a nested decoder, say
        decoder = keras.Model(z, layers.Identity(name=names[0])(decoder.outputs[0]), name="decoder")
    return decoder, code_layer


class _Progress:
    """A bar over the examples that have passed an encoder or a decoder."""

    def __init__(self, n, code_shape, verbose):
        d, rows = int(np.prod(code_shape[1:])), min(n, CALIBRATION_ROWS)
        rotating = 2 * d * (d + 1) * rows_within_budget(rows, 2 * d * d) if d <= MOST_ROTATED else 0
        self.total = n + rows + rotating + (2 * d + 7) * rows_within_budget(rows, 2 * d)
        self.bar = keras.utils.Progbar(self.total, verbose=verbose, interval=1, unit_name="example")
        self.done, self.shown, self.start = 0, False, time.perf_counter()

    def add(self, n):
        self.done = min(self.done + n, self.total - 1)
        if self.shown or time.perf_counter() - self.start > PATIENCE:
            self.shown = True
            self.bar.update(self.done)

    def finish(self):
        if self.shown:
            self.bar.update(self.total, finalize=True)


def _predict(model, x, progress):
    """As ``predict``, in batches of one size, so that nothing is compiled twice."""
    parts = []
    for i in range(0, len(x), BATCH_SIZE):
        batch = x[i : i + BATCH_SIZE]
        whole = np.resize(batch, (BATCH_SIZE, *batch.shape[1:]))  # repeats what it has
        parts.append(model.predict_on_batch(whole)[: len(batch)])
        progress.add(len(batch))
    return np.concatenate(parts)


def _constant_units(activation, codes):
    """Units whose activation is one constant on the training data, as of ReLU units that died.

    They keep their activation in the encoder too, where it does no harm applied twice.
    """
    none = np.zeros(codes.shape[1:], bool)
    if activation is None:
        return none
    once = ops.convert_to_numpy(activation(codes))
    if not np.array_equal(once, ops.convert_to_numpy(activation(once))):
        return none
    return (once == once[:1]).all(axis=0)


def _activate_constant_units(activation, constant, codes):
    return (
        np.where(constant, ops.convert_to_numpy(activation(codes)), codes)
        if constant.any()
        else codes
    )


def whitening(codes):
    """``mean, whiten, unwhiten`` with ``(codes - mean) @ whiten`` of unit covariance.

    ``unwhiten`` is the exact inverse of ``whiten``, also where the codes hardly vary: there
    ``whiten`` stays finite, so that such directions come out near 0 and decode to nothing.
    """
    mean = codes.mean(axis=0)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(codes, rowvar=False, bias=True)))
    widths = np.sqrt(
        np.maximum(variances, 0) + SMALLEST_VARIANCE * max(variances.max(), SMALLEST_VARIANCE)
    )
    return mean, axes / widths, (axes * widths).T


def _fresh_optimizer(autoencoder):
    optimizer = getattr(autoencoder, "optimizer", None)
    return type(optimizer).from_config(optimizer.get_config()) if optimizer else "adam"


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
    raise ValueError(
        f"to_vae knows no likelihood for the loss {name!r}. Pass one: likelihood='bernoulli', "
        "'gaussian', or an object of vaekit.likelihoods."
    )


def _with_fitted_scale(likelihood, x, parameters):
    """The likelihood of that name with its scale fitted; an object, but for a learned scale."""
    if likelihood == "gaussian":
        return likelihoods.Gaussian(_scale(x, parameters, 2))
    if likelihood == "laplace":
        return likelihoods.Laplace(_scale(x, parameters, 1))
    likelihood = likelihoods.get(likelihood)
    if getattr(likelihood, "scale", None) == "learned":  # a copy: the object stays as it is
        likelihood = type(likelihood).from_config(likelihood.get_config())
        likelihood.log_scale.assign(np.log(_scale(x, parameters, 2)) / likelihoods.SPEED)
    return likelihood


def _scale(x, parameters, power):
    """The scale of maximum likelihood for those residuals, kept above 0."""
    return max(float(np.mean(np.abs(x - parameters) ** power) ** (1 / power)), 1e-6)


def _check_equal_outputs(vae, autoencoder, x):
    """The last check of the promise, on a few rows."""
    if isinstance(autoencoder, (tuple, list)):
        expected = autoencoder[1].predict(autoencoder[0].predict(x, verbose=0), verbose=0)
    else:
        expected = autoencoder.predict(x, verbose=0)
    found = ops.convert_to_numpy(vae(x, training=False))
    error = np.abs(found - expected).max()
    if not error <= 1e-3 * max(np.ptp(expected), 1e-6):
        raise ValueError(
            f"The VAE's output differs from the autoencoder's by {error:.2g}: the model does more "
            "than decoder(encoder(x)). Give the halves: to_vae((encoder, decoder), x)."
        )
