"""Numbers that say how good a generative model is; taught in notebooks/10_how_good.ipynb.

Most functions here evaluate a VAE on data, and share their arguments.

Args:
    vae: a ``vaekit.VAE``. Its weights and its ``beta`` are left alone: in every result the KL
        counts once, whatever ``vae.beta`` is.
    x: float array ``(n, ...)`` in the range of the likelihood, or ``[x, condition, ...]`` for a
        conditional VAE.
    num_samples: int > 0, how many z are drawn for each example.
    batch_size: int > 0, how many examples are encoded or how many z are decoded at once. It
        bounds the memory. Each example has a noise of its own, so the size of the batches changes
        a result by no more than rounding.
    seed: int for the same noise each time, or None.
    sample_weight: as for ``fit``. Weights of elements, of the shape of x or of its first axes,
        count in log p(x | z): with 0 for what is missing, the result is that of the observed part
        of x. Weights of examples, ``(n,)``, multiply the results.
    verbose: 1 for a progress bar, 0 for none.

Raises:
    TypeError, ValueError: for data that ``fit`` refuses, and for a ``num_samples`` or
        ``batch_size`` that is not a positive int.
"""

import weakref

import keras
import numpy as np
from keras import ops

from vaekit import checks
from vaekit.layers.sampling import DEFAULT_MAX_LOG_VAR
from vaekit.losses import gaussian_kl_terms


def elbo(vae, x, num_samples=1, batch_size=1000, seed=None, verbose=0, sample_weight=None):
    r"""The evidence lower bound :math:`E_q[\log p(x|z)] - KL(q(z|x) \,\|\, p(z))` of each example.

    Summed over pixels and latents; nats. The first term is a mean over ``num_samples`` draws of
    z, the KL is exact.

    Returns:
        NumPy array ``(n,)``, float64.

    Example:
        >>> x, z = keras.Input((4,)), keras.Input((2,))
        >>> heads = [keras.layers.Dense(2, kernel_initializer="zeros")(x) for _ in range(2)]
        >>> decoder = keras.Model(z, keras.layers.Dense(4, kernel_initializer="zeros")(z))
        >>> vae = vaekit.VAE(keras.Model(x, heads), decoder, likelihood="gaussian")
        >>> print(elbo(vae, np.ones((3, 4), "float32")).round(4))  # -4 / 2 - 2 log(2 pi)
        [-5.6758 -5.6758 -5.6758]

    Source: Kingma & Welling (2014), equation 3.
    """
    arrays = _checked_arrays(vae, x, sample_weight)
    z_mean, z_log_var = _posterior(vae, arrays, batch_size)
    weight, element_weight = _weights(sample_weight)
    total = -_kl_terms(z_mean, z_log_var).sum(axis=1)
    settings = element_weight, num_samples, batch_size, seed, verbose
    for rows, log_p_x, _ in _weighted_draws(vae, arrays, z_mean, z_log_var, *settings):
        total[rows] += log_p_x.sum(axis=1) / num_samples
    return weight * total


def log_likelihood(
    vae, x, num_samples=100, batch_size=1000, seed=None, verbose=0, sample_weight=None
):
    r"""The importance-weighted bound on log p(x) of each example; nats.

    .. math:: \log \frac{1}{K} \sum_{k=1}^{K} \frac{p(x|z_k)\, p(z_k)}{q(z_k|x)},
        \qquad z_k \sim q(z|x)

    K is ``num_samples``. In expectation the bound is never above log p(x), and never lower with
    more samples; one sample gives the ELBO. The sum runs on while z are decoded, so 5,000 samples
    need no more memory than 50.

    Returns:
        NumPy array ``(n,)``, float64.

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
    arrays = _checked_arrays(vae, x, sample_weight)
    z_mean, z_log_var = _posterior(vae, arrays, batch_size)
    weight, element_weight = _weights(sample_weight)
    log_total = np.full(len(z_mean), -np.inf)
    settings = element_weight, num_samples, batch_size, seed, verbose
    for rows, log_p_x, log_ratio in _weighted_draws(vae, arrays, z_mean, z_log_var, *settings):
        log_sum_of_these = np.logaddexp.reduce(log_p_x + log_ratio, axis=1)
        log_total[rows] = np.logaddexp(log_total[rows], log_sum_of_these)
    return weight * (log_total - np.log(num_samples))


def kl_per_dimension(vae, x, batch_size=1000):
    r"""The divergence :math:`KL(q(z_d|x) \,\|\, N(0, 1))` of each latent, mean over x; nats.

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
    z_mean, z_log_var = _posterior(vae, _checked_arrays(vae, x), batch_size)
    return _kl_terms(z_mean, z_log_var).mean(axis=0).reshape(vae.latent_shape)


def active_units(vae, x, threshold=0.01, batch_size=1000):
    """How many latents the encoder uses: those whose ``z_mean`` varies over x.

    ``threshold``, a float >= 0, is the variance of ``z_mean`` above which a latent is active.

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
    z_mean, _ = _posterior(vae, _checked_arrays(vae, x), batch_size)
    return int(np.sum(z_mean.var(axis=0) > threshold))


def marginal_kl(vae, x, num_samples=1, batch_size=1000, seed=None):
    r"""The divergence :math:`KL(q(z) \,\|\, p(z))` of the aggregate posterior from the prior; nats.

    The aggregate posterior is the mixture :math:`q(z) = \frac1n \sum_i q(z|x_i)` of the n given
    examples. The mean KL of the examples is this number plus the mutual information of z and the
    example:

    .. math:: KL(q(z) \,\|\, p(z)) = \frac1n \sum_i KL(q(z|x_i) \,\|\, p(z))
        - E[\log q(z|x_i) - \log q(z)]

    The mean KL is exact, and the expectation is a mean over ``num_samples`` draws of z for each
    example. Not one of these draws exceeds log n, so the result is never below the mean KL less
    log n, and has hardly any noise with many latents, where nearly every draw is log n. (The mean
    of log q(z) - log p(z) is unbiased too. On digits its noise was 10 times as large with 40
    latents, 3 times as large with 5, and two thirds as large with 2.) As an estimate for all
    possible data the result is too high on average, and falls as n grows.

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
    z_mean, z_log_var = _posterior(vae, _checked_arrays(vae, x), batch_size)
    _check_positive(num_samples=num_samples)
    n, latents = z_mean.shape
    mean_kl = _kl_terms(z_mean, z_log_var).sum(axis=1).mean()
    generators = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(n)]
    noise = np.stack([own.standard_normal((num_samples, latents)) for own in generators])
    sigma = np.exp(np.maximum(z_log_var, -500) / 2)  # above 0, since it divides

    def log_density(z, rows):
        """log q(z | x) of these rows of x, but for a constant that is the same for all."""
        squares = ((z - z_mean[rows]) / sigma[rows]) ** 2
        return -0.5 * (squares + z_log_var[rows]).sum(axis=-1)

    row_of_each_draw = np.repeat(np.arange(n), num_samples)
    z = z_mean[row_of_each_draw] + sigma[row_of_each_draw] * noise.reshape(-1, latents)
    every_row = slice(None)
    information = 0.0
    parts = -(-z.size * n // 2**22)  # of 32 MiB or less, rounded up
    for draws in np.array_split(np.arange(len(z)), parts):
        log_q_of_own_example = log_density(z[draws], row_of_each_draw[draws])
        log_q_of_each_example = log_density(z[draws][:, None], every_row)
        log_q = np.logaddexp.reduce(log_q_of_each_example, axis=1) - np.log(n)
        information += np.sum(log_q_of_own_example - log_q) / len(z)
    return float(mean_kl - information)


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
    squared = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
    return np.sqrt(np.maximum(squared, 0).min(axis=1))  # rounding can make a square negative


class _LogProbOfDraws(keras.Model):
    """log p(x | z) of several z an example, ``(b, samples)``.

    It takes a dict: ``"z"``, ``(b, samples, ...)``, and, with one row an example, ``"x"``, the list
    ``"conditions"`` and perhaps ``"weight"``, of elements. A model, because Keras compiles
    ``predict_on_batch`` of a model on every backend.
    """

    def __init__(self, vae):
        # A global half precision would round the data.
        super().__init__(dtype="float32", name="log_prob_of_draws")
        # Not the VAE itself: this model would keep it alive.
        self.decoder = vae.decoder
        self.likelihood = vae.likelihood
        self.jit_compile = vae.jit_compile

    def call(self, inputs):
        z = inputs["z"]
        examples, samples = ops.shape(z)[:2]

        def one_row_a_draw(array):
            return ops.reshape(array, (-1, *array.shape[2:]))

        def repeated(array):
            shape = (examples, samples, *array.shape[1:])
            return one_row_a_draw(ops.broadcast_to(array[:, None], shape))

        z = one_row_a_draw(z)
        x = repeated(inputs["x"])
        conditions = [repeated(condition) for condition in inputs["conditions"]]
        parameters = self.decoder([z, *conditions] if conditions else z)
        weight = repeated(inputs["weight"]) if "weight" in inputs else None
        log_prob = self.likelihood.log_prob(x, parameters, weight)
        return ops.reshape(log_prob, (examples, samples))


# Compiling takes longer than a small evaluation, so it is done once for each VAE. The keys are
# weak: when nobody else holds a VAE any more, it is forgotten here too.
_compiled_models = weakref.WeakKeyDictionary()


def _compiled_log_prob(vae):
    model = _compiled_models.get(vae)
    if model is None or model.jit_compile != vae.jit_compile:
        model = _LogProbOfDraws(vae)
        _compiled_models[vae] = model
    return model


def _weighted_draws(
    vae, arrays, z_mean, z_log_var, element_weight, num_samples, batch_size, seed, verbose
):
    """Yields, for some examples at a time, draws of z from their posteriors.

    Each time: which rows of x, log p(x | z), and log p(z) - log q(z | x), both (rows, draws).
    """
    _check_positive(num_samples=num_samples)
    chunks = -(-num_samples // batch_size)  # rounded up
    draws_at_once = -(-num_samples // chunks)  # equal chunks: each new shape is compiled anew
    examples_at_once = max(1, batch_size // draws_at_once)
    model = _compiled_log_prob(vae)
    sigma = np.exp(z_log_var / 2)
    seeds = np.random.SeedSequence(seed)
    progress = keras.utils.Progbar(len(z_mean), verbose=verbose)
    for start in range(0, len(z_mean), examples_at_once):
        rows = slice(start, start + examples_at_once)
        mean, log_var = z_mean[rows], z_log_var[rows]
        x, *conditions = [array[rows] for array in arrays]
        inputs = {"x": x, "conditions": conditions}
        if element_weight is not None:
            inputs["weight"] = element_weight[rows]
        generators = [np.random.default_rng(s) for s in seeds.spawn(len(mean))]
        for done in range(0, num_samples, draws_at_once):
            shape = min(draws_at_once, num_samples - done), mean.shape[1]
            noise = np.stack([own.standard_normal(shape, "float32") for own in generators])
            z = mean[:, None] + sigma[rows][:, None] * noise
            log_ratio = 0.5 * (noise**2 + log_var[:, None] - z**2).sum(axis=2)
            inputs["z"] = z.reshape(*z.shape[:2], *vae.latent_shape).astype("float32")
            log_p_x = model.predict_on_batch(inputs).astype("float64")
            yield rows, log_p_x, log_ratio
        progress.update(min(start + examples_at_once, len(z_mean)))


def _posterior(vae, arrays, batch_size):
    """z_mean and z_log_var of q(z | x), (n, latents) each, float64, bounded as in ``Sampling``."""
    _check_positive(batch_size=batch_size)
    means, log_vars = [], []
    for start in range(0, len(arrays[0]), batch_size):
        batch = [array[start : start + batch_size] for array in arrays]
        z_mean, z_log_var = vae.encode(batch if len(batch) > 1 else batch[0])
        means.append(ops.convert_to_numpy(z_mean))
        log_vars.append(ops.convert_to_numpy(z_log_var))
    shape = len(arrays[0]), -1
    z_mean = np.concatenate(means).astype("float64").reshape(shape)
    z_log_var = np.concatenate(log_vars).astype("float64").reshape(shape)
    return z_mean, np.minimum(z_log_var, DEFAULT_MAX_LOG_VAR)


def _kl_terms(z_mean, z_log_var):
    """The KL of every latent of every example, (n, latents), float64."""
    return ops.convert_to_numpy(gaussian_kl_terms(z_mean, z_log_var)).astype("float64")


def _weights(sample_weight):
    """The weight of each example, and that of each element or None."""
    if sample_weight is None:
        return 1.0, None
    weight = ops.convert_to_numpy(sample_weight)
    if checks.is_weight_of_elements(weight.shape):
        return 1.0, weight
    return weight.reshape(-1), None


def _checked_arrays(vae, x, sample_weight=None):
    """The data and the conditions as NumPy arrays, checked as ``fit`` checks them."""
    data, conditions = checks.input_and_conditions(x)
    if not all(hasattr(array, "shape") for array in [data, *conditions]):
        raise TypeError(
            "evaluation expects the data as an array, x or [x, condition, ...], but got "
            f"{type(x).__name__}. Collect a data set first, with np.concatenate(list(batches))."
        )
    checks.check_arrays(vae, x, None, "x", sample_weight)
    return [ops.convert_to_numpy(array) for array in [data, *conditions]]


def _check_positive(**arguments):
    for name, value in arguments.items():
        if not (isinstance(value, (int, np.integer)) and value > 0):
            raise ValueError(f"evaluation expects {name} to be an int > 0, but got {value!r}.")
