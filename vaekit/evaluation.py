"""Numbers that say how good a generative model is; taught in notebooks/10_how_good.ipynb.

A ``vae`` is evaluated on arrays: ``x``, or ``[x, condition, ...]`` if it is conditional. What
``fit`` refuses is refused, the KL weighs 1, whatever ``vae.beta`` is, and each example has its own
stream of noise: with a seed, ``batch_size`` changes a number by no more than rounding.
"""

import functools

import keras
import numpy as np
from keras import ops

from vaekit import checks
from vaekit.layers.sampling import DEFAULT_MAX_LOG_VAR
from vaekit.losses import gaussian_kl_terms


def elbo(vae, x, num_samples=1, batch_size=1000, seed=None, verbose=0):
    r"""The evidence lower bound :math:`E_q[\log p(x|z)] - KL(q(z|x) \,\|\, p(z))` of each example.

    Summed over pixels and latents; nats. The first term is a mean over draws of z, the KL is exact.

    Args:
        vae: a ``vaekit.VAE``.
        x: float array ``(n, ...)`` in the range of the likelihood, or ``[x, condition, ...]``.
        num_samples: int > 0, draws of z an example.
        batch_size: int > 0, how many z are decoded at once; bounds the memory.
        seed: int for the same noise each time, or None.
        verbose: 1 for a progress bar.

    Returns:
        NumPy array ``(n,)``, float64.

    Raises:
        TypeError, ValueError: what ``fit`` raises, or if an int is not positive.

    Example:
        >>> x, z = keras.Input((4,)), keras.Input((2,))
        >>> heads = [keras.layers.Dense(2, kernel_initializer="zeros")(x) for _ in range(2)]
        >>> decoder = keras.Model(z, keras.layers.Dense(4, kernel_initializer="zeros")(z))
        >>> vae = vaekit.VAE(keras.Model(x, heads), decoder, likelihood="gaussian")
        >>> print(elbo(vae, np.ones((3, 4), "float32")).round(4))  # -4 / 2 - 2 log(2 pi)
        [-5.6758 -5.6758 -5.6758]

    Source: Kingma & Welling (2014), equation 3.
    """
    parts = _arrays(vae, x)
    z_mean, z_log_var = _posterior(vae, parts, batch_size)
    total = -_kl(z_mean, z_log_var).sum(axis=1)
    noise = num_samples, batch_size, seed, verbose
    for rows, log_p_x, _ in _draws(vae, parts, z_mean, z_log_var, *noise):
        total[rows] += log_p_x.sum(axis=1) / num_samples
    return total


def log_likelihood(vae, x, num_samples=100, batch_size=1000, seed=None, verbose=0):
    r"""The importance-weighted bound on log p(x) of each example; nats.

    .. math:: \log \frac{1}{K} \sum_{k=1}^{K} \frac{p(x|z_k)\, p(z_k)}{q(z_k|x)},
        \qquad z_k \sim q(z|x)

    In expectation never above log p(x) and never lower with more samples; one sample gives the
    ELBO. The sum runs on while z are decoded, so 5,000 samples need no more memory than 50.

    Args:
        vae: a ``vaekit.VAE``.
        x: float array ``(n, ...)`` in the range of the likelihood, or ``[x, condition, ...]``.
        num_samples: int > 0, K.
        batch_size: int > 0, how many z are decoded at once; bounds the memory.
        seed: int for the same noise each time, or None.
        verbose: 1 for a progress bar.

    Returns:
        NumPy array ``(n,)``, float64.

    Raises:
        TypeError, ValueError: what ``fit`` raises, or if an int is not positive.

    Example:
        >>> x, z = keras.Input((1,)), keras.Input((1,))
        >>> heads = [keras.layers.Dense(1, kernel_initializer="zeros")(x) for _ in range(2)]
        >>> decoder = keras.Model(z, keras.layers.Dense(1, kernel_initializer="ones")(z))
        >>> vae = vaekit.VAE(keras.Model(x, heads), decoder, likelihood="gaussian")
        >>> found = log_likelihood(vae, np.zeros((1, 1), "float32"), num_samples=10_000, seed=1)
        >>> print(f"{found[0]:.1f}")  # x = z + noise: log N(0; 0, 2) = -log(4 pi) / 2
        -1.3

    Source: Burda, Grosse & Salakhutdinov (2016), equation 8.
    """
    parts = _arrays(vae, x)
    z_mean, z_log_var = _posterior(vae, parts, batch_size)
    total = np.full(len(z_mean), -np.inf)
    noise = num_samples, batch_size, seed, verbose
    for rows, log_p_x, log_ratio in _draws(vae, parts, z_mean, z_log_var, *noise):
        chunk = np.logaddexp.reduce(log_p_x + log_ratio, axis=1)
        total[rows] = np.logaddexp(total[rows], chunk)
    return total - np.log(num_samples)


def kl_per_dimension(vae, x, batch_size=1000):
    r"""The divergence :math:`KL(q(z_d|x) \,\|\, N(0, 1))` of each latent, mean over x; nats.

    Args:
        vae: a ``vaekit.VAE``.
        x: float array ``(n, ...)``, or ``[x, condition, ...]``.
        batch_size: int > 0, how many examples are encoded at once.

    Returns:
        NumPy array of the latent shape, float64; its sum is ``kl_loss``.

    Example:
        >>> x, z = keras.Input((4,)), keras.Input((2,))
        >>> heads = [keras.layers.Dense(2, kernel_initializer=k)(x) for k in ("ones", "zeros")]
        >>> vae = vaekit.VAE(keras.Model(x, heads), keras.Model(z, keras.layers.Dense(4)(z)))
        >>> print(kl_per_dimension(vae, np.full((3, 4), 0.25, "float32")))  # mu^2 / 2
        [0.5 0.5]

    Source: Kingma & Welling (2014), appendix B.
    """
    posterior = _posterior(vae, _arrays(vae, x), batch_size)
    return _kl(*posterior).mean(axis=0).reshape(vae.latent_shape)


def active_units(vae, x, threshold=0.01, batch_size=1000):
    """How many latents the encoder uses: those whose ``z_mean`` varies over x.

    Args:
        vae: a ``vaekit.VAE``.
        x: float array ``(n, ...)``, or ``[x, condition, ...]``.
        threshold: float >= 0; a latent is active if the variance of ``z_mean`` is above it.
        batch_size: int > 0, how many examples are encoded at once.

    Returns:
        An int, from 0 to the number of latents.

    Example:
        >>> x, z = keras.Input((4,)), keras.Input((2,))
        >>> heads = [keras.layers.Dense(2, kernel_initializer=k)(x) for k in ("ones", "zeros")]
        >>> vae = vaekit.VAE(keras.Model(x, heads), keras.Model(z, keras.layers.Dense(4)(z)))
        >>> print(active_units(vae, np.eye(4, dtype="float32") / 10))  # z_mean is 0.1 for each
        0

    Source: Burda, Grosse & Salakhutdinov (2016), section 5.2.
    """
    z_mean, _ = _posterior(vae, _arrays(vae, x), batch_size)
    return int(np.sum(z_mean.var(axis=0) > threshold))


def marginal_kl(vae, x, num_samples=1, batch_size=1000, seed=None):
    r"""The divergence :math:`KL(q(z) \,\|\, p(z))` of the aggregate posterior from the prior; nats.

    The aggregate posterior is the mixture :math:`q(z) = \frac1n \sum_i q(z|x_i)` of the n given
    examples, and the mean over draws from it of log q(z) - log p(z) is unbiased. The mean KL of
    the examples is this number plus the mutual information of z and the example, which is at
    most log n: this number is at least the mean KL less log n. So as an estimate for all
    possible data it is too high on average, and falls as n grows.

    Args:
        vae: a ``vaekit.VAE``.
        x: float array ``(n, ...)``, or ``[x, condition, ...]``.
        num_samples: int > 0, draws from each example's posterior.
        batch_size: int > 0, how many examples are encoded at once.
        seed: int for the same noise each time, or None.

    Returns:
        A float. Noise can take it a little below 0.

    Example:
        >>> x, z = keras.Input((4,)), keras.Input((2,))
        >>> heads = [keras.layers.Dense(2, kernel_initializer="zeros")(x) for _ in range(2)]
        >>> vae = vaekit.VAE(keras.Model(x, heads), keras.Model(z, keras.layers.Dense(4)(z)))
        >>> print(f"{abs(marginal_kl(vae, np.eye(4, dtype='float32'))):.4f}")  # each q is the prior
        0.0000

    Source: Hoffman & Johnson (2016), "ELBO surgery", section 3.
    """
    z_mean, z_log_var = _posterior(vae, _arrays(vae, x), batch_size)
    _check_positive(num_samples=num_samples)
    streams = np.random.SeedSequence(seed).spawn(len(z_mean))
    normal = [
        np.random.default_rng(s).standard_normal((num_samples, z_mean.shape[1])) for s in streams
    ]
    sigma, total = np.exp(np.maximum(z_log_var, -500) / 2), 0.0  # never divides by 0
    z = (z_mean[:, None] + sigma[:, None] * normal).reshape(-1, z_mean.shape[1])
    for part in np.array_split(z, -(-z.size * len(z_mean) // 2**22)):  # 32 MiB a part
        error = (part[:, None] - z_mean) / sigma
        log_q = np.logaddexp.reduce(-0.5 * (error**2 + z_log_var).sum(axis=2), axis=1)
        total += np.sum(log_q - np.log(len(z_mean)) + 0.5 * (part**2).sum(axis=1))
    return float(total / len(z))


def nearest_distance(images, references):
    """The Euclidean distance of each image to the nearest of the reference images.

    Args:
        images: array ``(n, ...)``.
        references: array ``(m, ...)`` of images of the same shape.

    Returns:
        NumPy array ``(n,)``, float64, in the unit of the pixels.

    Raises:
        ValueError: if the images differ in shape.

    Example:
        >>> print(nearest_distance(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [9.0, 9.0]])))
        [5.]
    """
    images, references = ops.convert_to_numpy(images), ops.convert_to_numpy(references)
    if images.shape[1:] != references.shape[1:]:
        raise ValueError(
            "nearest_distance expects images and references of one shape, but got "
            f"{images.shape[1:]} and {references.shape[1:]}. Reshape one of them."
        )
    a = images.reshape(len(images), -1).astype("float64")
    b = references.reshape(len(references), -1).astype("float64")
    squared = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return np.sqrt(np.maximum(squared, 0).min(axis=1))


class LogLikelihood(keras.Model):
    """``[z (b, samples, ...), x (b, ...), condition ...]`` -> log p(x | z), ``(b, samples)``.

    A model, because ``predict_on_batch`` of a model is compiled on every backend.
    """

    def __init__(self, vae):
        super().__init__(dtype="float32")  # a global half precision would round the data
        self.vae = vae

    def call(self, inputs):
        z, *rest = inputs
        pairs = ops.shape(z)[:2]

        def rows(part):
            return ops.reshape(part, (-1, *part.shape[2:]))

        x, *condition = (
            rows(ops.broadcast_to(part[:, None], (*pairs, *part.shape[1:]))) for part in rest
        )
        parameters = self.vae.decode([rows(z), *condition] if condition else rows(z))
        return ops.reshape(self.vae.likelihood.log_prob(x, parameters), pairs)


@functools.lru_cache(maxsize=8)  # TensorFlow traces anew, and warns, for every new model
def _compiled(vae, jit_compile):
    model = LogLikelihood(vae)
    model.jit_compile = jit_compile
    return model


def _draws(vae, parts, z_mean, z_log_var, num_samples, batch_size, seed, verbose):
    """Yields rows of x, and for draws of z log p(x | z) and log p(z) - log q(z | x), (rows, k)."""
    _check_positive(num_samples=num_samples)
    size = -(-num_samples // -(-num_samples // batch_size))  # draws at once, all chunks alike
    step = max(1, batch_size // size)  # of so many examples
    model = _compiled(vae, vae.jit_compile)
    sigma = np.exp(z_log_var / 2)
    seeds = np.random.SeedSequence(seed)
    progress = keras.utils.Progbar(len(z_mean), verbose=verbose)
    for start in range(0, len(z_mean), step):
        rows = slice(start, start + step)
        mean, log_var, own = z_mean[rows], z_log_var[rows], [part[rows] for part in parts]
        streams = [np.random.default_rng(s) for s in seeds.spawn(len(mean))]
        for done in range(0, num_samples, size):
            shape = min(size, num_samples - done), mean.shape[1]
            noise = np.stack([stream.standard_normal(shape, "float32") for stream in streams])
            z = mean[:, None] + sigma[rows][:, None] * noise
            log_ratio = 0.5 * (noise**2 + log_var[:, None] - z**2).sum(axis=2)
            codes = z.reshape(*z.shape[:2], *vae.latent_shape).astype("float32")
            yield rows, model.predict_on_batch([codes, *own]).astype("float64"), log_ratio
        progress.update(min(start + step, len(z_mean)))


def _posterior(vae, parts, batch_size):
    """z_mean and z_log_var of q(z | x), (n, latents) each, float64, bounded as in ``Sampling``."""
    _check_positive(batch_size=batch_size)
    found = []
    for start in range(0, len(parts[0]), batch_size):
        own = [part[start : start + batch_size] for part in parts]
        found.append(vae.encode(own if len(own) > 1 else own[0]))
    z_mean, z_log_var = (
        np.concatenate([ops.convert_to_numpy(head) for head in heads]).astype("float64")
        for heads in zip(*found, strict=True)
    )
    shape = len(z_mean), -1
    return z_mean.reshape(shape), np.minimum(z_log_var.reshape(shape), DEFAULT_MAX_LOG_VAR)


def _kl(z_mean, z_log_var):
    """The KL of every latent of every example, (n, latents), float64."""
    return ops.convert_to_numpy(gaussian_kl_terms(z_mean, z_log_var)).astype("float64")


def _arrays(vae, x):
    """The data and the conditions as NumPy arrays, checked as ``fit`` checks them."""
    data, conditions = checks.input_and_conditions(x)
    if not all(hasattr(part, "shape") for part in [data, *conditions]):
        raise TypeError(
            "evaluation expects the data as an array, x or [x, condition, ...], but got "
            f"{type(x).__name__}. Collect a data set first, with np.concatenate(list(batches))."
        )
    checks.check_arrays(vae, x, None, "x")
    return [ops.convert_to_numpy(part) for part in [data, *conditions]]


def _check_positive(**arguments):
    for name, value in arguments.items():
        if not (isinstance(value, (int, np.integer)) and value > 0):
            raise ValueError(f"evaluation expects {name} to be an int > 0, but got {value!r}.")
