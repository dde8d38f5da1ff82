"""What the decoder's output means: the distribution p(x | z) and its log-probability.

A likelihood reads the decoder's output as parameters of a distribution over the
data. Log-probabilities are in nats, summed over every axis but the batch, never
averaged: an averaged one makes the KL as many times too strong as there are pixels.
Taught in notebooks/04_elbo.ipynb.
"""

import math

import keras
from keras import ops


class Likelihood:
    """The interface: subclass it, and write ``log_prob_terms``, ``mean`` and ``sample``.

    ``low`` and ``high`` bound the data that the distribution accepts.
    """

    low, high = -math.inf, math.inf

    def log_prob(self, x, parameters):
        """The log-likelihood log p(x | z), summed over every axis but the batch; nats.

        Args:
            x: float tensor ``(batch, ...)`` within ``low`` and ``high``.
            parameters: the decoder's output, of the shape of ``x``.

        Returns:
            Tensor ``(batch,)``, float32.

        Raises:
            ValueError: if the shapes differ; nothing is broadcast.
        """
        x, parameters = ops.convert_to_tensor(x), ops.convert_to_tensor(parameters)
        shapes = tuple(x.shape), tuple(parameters.shape)
        if len(shapes[0]) != len(shapes[1]) or any(
            m != n and None not in (m, n) for m, n in zip(*shapes, strict=True)
        ):
            raise ValueError(
                f"{type(self).__name__} expects data and decoder output of one shape, but got "
                f"{shapes[0]} and {shapes[1]}. Reshape the data, or give the "
                "decoder an output of the data's shape."
            )
        terms = self.log_prob_terms(ops.cast(x, "float32"), ops.cast(parameters, "float32"))
        return ops.sum(terms, axis=tuple(range(1, len(terms.shape))))

    def log_prob_terms(self, x, parameters):
        """The summands of ``log_prob``, one an element; nats."""
        raise NotImplementedError

    def mean(self, parameters):
        """The expectation of x under the distribution, of the shape of x."""
        raise NotImplementedError

    def sample(self, parameters, seed=None):
        """One draw of x; ``seed`` is an int, a ``keras.random.SeedGenerator`` or None."""
        raise NotImplementedError

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable(package="vaekit")
class Bernoulli(Likelihood):
    r"""Independent coin flips: $\log p(x|z) = \sum_i x_i \log p_i + (1 - x_i) \log(1 - p_i)$.

    A likelihood for pixels that are 0 or 1. Grey values in between are accepted and give the
    usual "BCE", which is then a loss and no longer a log-probability.

    Args:
        from_logits: False if the decoder ends in a sigmoid and outputs probabilities,
            which are kept within 1e-7 of 0 and 1; True if it outputs logits.

    Example:
        >>> log_p = Bernoulli().log_prob([[1.0, 0.0]], [[0.5, 0.9]])
        >>> print(f"{float(log_p[0]):.4f}")  # log 0.5 + log 0.1
        -2.9957

    Source: Kingma & Welling (2014), appendix C.1.
    """

    low, high = 0.0, 1.0

    def __init__(self, from_logits=False):
        self.from_logits = from_logits

    def log_prob_terms(self, x, parameters):
        if self.from_logits:
            return x * parameters - ops.softplus(parameters)
        p = ops.clip(parameters, 1e-7, 1 - 1e-7)
        return x * ops.log(p) + (1 - x) * ops.log1p(-p)

    def mean(self, parameters):
        return ops.sigmoid(parameters) if self.from_logits else parameters

    def sample(self, parameters, seed=None):
        p = self.mean(parameters)
        uniform = keras.random.uniform(ops.shape(p), seed=seed, dtype="float32")
        return ops.cast(uniform < ops.cast(p, "float32"), "float32")

    def get_config(self):
        return {"from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="vaekit")
class Gaussian(Likelihood):
    r"""A Gaussian around the decoder's output: $\log p(x|z) = \sum_i \log N(x_i; m_i, s^2)$.

    Its negative is the summed squared error divided by $2 s^2$, plus a constant.

    Args:
        scale: float > 0, the standard deviation s, in the unit of the data.
            ``sqrt(0.5)`` makes the data-dependent part the plain sum of squares.

    Example:
        >>> log_p = Gaussian(scale=2.0).log_prob([[3.0]], [[1.0]])
        >>> print(f"{float(log_p[0]):.4f}")  # -1/2 - log 2 - log(2 pi) / 2
        -2.1121

    Source: Kingma & Welling (2014), appendix C.2, with the variance fixed.
    """

    def __init__(self, scale=1.0):
        if not 0 < scale < math.inf:
            raise ValueError(
                f"Gaussian expects a finite scale > 0, but got {scale}. "
                "Give the standard deviation of the data around the decoder's output."
            )
        self.scale = float(scale)

    def log_prob_terms(self, x, parameters):
        constant = math.log(self.scale) + 0.5 * math.log(2 * math.pi)
        return -0.5 * ops.square((x - parameters) / self.scale) - constant

    def mean(self, parameters):
        return parameters

    def sample(self, parameters, seed=None):
        noise = keras.random.normal(ops.shape(parameters), seed=seed, dtype="float32")
        return ops.cast(parameters, "float32") + self.scale * noise

    def get_config(self):
        return {"scale": self.scale}


@keras.saving.register_keras_serializable(package="vaekit")
class Laplace(Likelihood):
    r"""A Laplace distribution around the decoder's output: what a mean absolute error means.

    :math:`\log p(x|z) = \sum_i -|x_i - m_i| / s - \log 2s`.

    Args:
        scale: float > 0, the mean absolute deviation s, in the unit of the data.

    Raises:
        ValueError: if the scale is not finite and positive.

    Example:
        >>> log_p = Laplace(scale=2.0).log_prob([[3.0]], [[1.0]])
        >>> print(f"{float(log_p[0]):.4f}")  # -1 - log 4
        -2.3863

    Source: Johnson, Kotz & Balakrishnan (1995), "Continuous Univariate Distributions 2", ch. 24.
    """

    def __init__(self, scale=1.0):
        if not 0 < scale < math.inf:
            raise ValueError(
                f"Laplace expects a finite scale > 0, but got {scale}. "
                "Give the mean absolute deviation of the data from the decoder's output."
            )
        self.scale = float(scale)

    def log_prob_terms(self, x, parameters):
        return -ops.abs(x - parameters) / self.scale - math.log(2 * self.scale)

    def mean(self, parameters):
        return parameters

    def sample(self, parameters, seed=None):
        uniform = keras.random.uniform(ops.shape(parameters), -0.5, 0.5, seed=seed, dtype="float32")
        noise = -ops.sign(uniform) * ops.log1p(-2 * ops.minimum(ops.abs(uniform), 0.4999999))
        return ops.cast(parameters, "float32") + self.scale * noise

    def get_config(self):
        return {"scale": self.scale}


BY_NAME = {"bernoulli": Bernoulli, "gaussian": Gaussian}


def get(identifier):
    """The likelihood of that name, or the given ``Likelihood`` object itself.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if it is neither a name nor a ``Likelihood``.

    Example:
        >>> get("gaussian").scale
        1.0
    """
    if isinstance(identifier, Likelihood):
        return identifier
    if not isinstance(identifier, str):
        raise TypeError(
            f"likelihood expects one of {sorted(BY_NAME)} or a vaekit.likelihoods object, "
            f"but got {identifier!r}."
        )
    if identifier not in BY_NAME:
        raise ValueError(
            f"likelihood expects one of {sorted(BY_NAME)} or a vaekit.likelihoods object, "
            f"but got the name {identifier!r}."
        )
    return BY_NAME[identifier]()
