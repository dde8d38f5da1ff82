"""What the decoder's output means: the distribution p(x | z) and its log-probability.

A likelihood reads the decoder's output as parameters of a distribution over the
data. Log-probabilities are in nats, summed over every axis but the batch, never
averaged: an averaged one makes the KL as many times too strong as there are pixels.
Taught in notebooks/04_elbo.ipynb and 08_decoder_outputs.ipynb.
"""

import math

import keras
from keras import ops

# Adam moves a weight by about the learning rate a step, whatever its gradient: a learned log s
# is this many times its weight, or it would take thousands of steps to settle.
SPEED = 5.0
# Below this logit a series is more accurate than the formulas of the continuous Bernoulli.
NEAR = 0.5


class Likelihood(keras.layers.Layer):
    """The interface: subclass it, and write ``log_prob_terms``, ``mean`` and ``sample``.

    ``low`` and ``high`` bound the data that the distribution accepts. A Keras layer, so that the
    VAE that holds it trains, saves and loads its weights.
    """

    low, high = -math.inf, math.inf

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def log_prob(self, x, parameters):
        """The log-likelihood log p(x | z), summed over every axis but the batch; nats.

        Args:
            x: float tensor ``(batch, ...)`` within ``low`` and ``high``.
            parameters: the decoder's output, of shape ``parameters_shape(x.shape)``.

        Returns:
            Tensor ``(batch,)``, float32.

        Raises:
            ValueError: if the shapes do not fit; nothing is broadcast.
        """
        x, parameters = ops.convert_to_tensor(x), ops.convert_to_tensor(parameters)
        self.check_shapes(tuple(x.shape), tuple(parameters.shape))
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

    def parameters_shape(self, shape):
        """The shape that the decoder's output must have for data of that shape."""
        return tuple(shape)

    def check_shapes(self, shape, found, name="data"):
        """Raises a ValueError unless the decoder's output fits data of that shape."""
        expected = self.parameters_shape(shape)
        if len(expected) != len(found) or any(
            m != n and None not in (m, n) for m, n in zip(expected, found, strict=True)
        ):
            raise ValueError(
                f"{type(self).__name__} expects a decoder output of shape {expected} for {name} of "
                f"shape {shape}, but got {found}. Reshape the data (a missing channel axis is "
                "added by x[..., None]), or change the decoder's last layer."
            )


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

    def __init__(self, from_logits=False, **kwargs):
        super().__init__(**kwargs)
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
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="vaekit")
class Gaussian(Likelihood):
    r"""A Gaussian around the decoder's mean: $\log p(x|z) = \sum_i \log N(x_i; m_i, s^2)$.

    Its negative is the summed squared error divided by $2 s^2$, plus a term that rises with s.

    Args:
        scale: the standard deviation s, in the unit of the data. A float > 0 is fixed;
            ``sqrt(0.5)`` makes the data-dependent part the plain sum of squares.
            ``"learned"`` is one trainable number for all outputs, 1 at first, which settles at
            the root of the mean squared error. ``"predicted"`` is one for each output: the
            decoder gives twice the channels on the last axis, means first, then log s^2.
        floor: float > 0, what a learned or predicted s cannot fall below: its square is added
            to the variance. Without one the likelihood has no upper bound.

    Raises:
        ValueError: if scale is none of these, or the floor is not finite and positive.

    Example:
        >>> log_p = Gaussian(scale=2.0).log_prob([[3.0]], [[1.0]])
        >>> print(f"{float(log_p[0]):.4f}")  # -1/2 - log 2 - log(2 pi) / 2
        -2.1121
        >>> log_p = Gaussian("predicted").log_prob([[3.0]], [[1.0, 2 * math.log(2.0)]])
        >>> print(f"{float(log_p[0]):.4f}")
        -2.1121

    Source: Kingma & Welling (2014), appendix C.2; learned: Rybkin, Daniilidis & Levine (2021);
    no upper bound: Mattei & Frellsen (2018), section 2.
    """

    def __init__(self, scale=1.0, floor=1e-3, **kwargs):
        super().__init__(**kwargs)
        if scale not in ("learned", "predicted"):
            scale = _positive(scale, "Gaussian", "scale", ", 'learned' or 'predicted'")
        self.scale, self.floor = scale, _positive(floor, "Gaussian", "floor")
        if scale == "learned":
            self.log_scale = self.add_weight(
                name="log_scale", initializer="zeros", dtype="float32", autocast=False
            )

    def sigma(self, parameters=None):
        """The standard deviation s, to look at: one number, one for each x if it is predicted."""
        return ops.stop_gradient(ops.exp(self._log_sigma(parameters)))

    def log_prob_terms(self, x, parameters):
        log_sigma = self._log_sigma(parameters)
        scaled = (x - self.mean(parameters)) * ops.exp(-log_sigma)
        return -0.5 * ops.square(scaled) - log_sigma - 0.5 * math.log(2 * math.pi)

    def mean(self, parameters):  # without a look at the weight, which JAX keeps away from metrics
        return ops.split(parameters, 2, axis=-1)[0] if self.scale == "predicted" else parameters

    def sample(self, parameters, seed=None):
        parameters = ops.cast(parameters, "float32")
        mean = self.mean(parameters)
        noise = keras.random.normal(ops.shape(mean), seed=seed, dtype="float32")
        return mean + ops.exp(self._log_sigma(parameters)) * noise

    def parameters_shape(self, shape):
        *rest, channels = shape
        double = self.scale == "predicted" and channels is not None
        return (*rest, 2 * channels if double else channels)

    def _log_sigma(self, parameters):
        if self.scale == "predicted":
            log_var = ops.split(parameters, 2, axis=-1)[1]
        elif self.scale == "learned":
            log_var = 2 * SPEED * ops.convert_to_tensor(self.log_scale)
        else:
            return ops.convert_to_tensor(math.log(self.scale), "float32")
        # log(s^2 + floor^2), and not a maximum: its gradient would be 0 below the floor.
        return 0.5 * ops.logaddexp(log_var, 2 * math.log(self.floor))

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "floor": self.floor}


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

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = _positive(scale, "Laplace", "scale")

    def log_prob_terms(self, x, parameters):
        return -ops.abs(x - parameters) / self.scale - math.log(2 * self.scale)

    def mean(self, parameters):
        return parameters

    def sample(self, parameters, seed=None):
        uniform = keras.random.uniform(ops.shape(parameters), -0.5, 0.5, seed=seed, dtype="float32")
        noise = -ops.sign(uniform) * ops.log1p(-2 * ops.minimum(ops.abs(uniform), 0.4999999))
        return ops.cast(parameters, "float32") + self.scale * noise

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="vaekit")
class ContinuousBernoulli(Likelihood):
    r"""The Bernoulli's formula made a density on [0, 1]: for grey values.

    :math:`\log p(x|z) = \sum_i x_i \log p_i + (1 - x_i) \log(1 - p_i) + \log C(p_i)`, with
    $C(p) = 2 \operatorname{artanh}(1 - 2p) / (1 - 2p)$ and $C(1/2) = 2$, so that it integrates
    to 1. With the logit $a$ of $p$ that is $a x - \log((e^a - 1) / a)$. The mean is not $p$.

    Args:
        from_logits: False if the decoder ends in a sigmoid and outputs p, which is
            kept within 1e-7 of 0 and 1; True if it outputs logits. Data that are exactly
            0 or 1 earn at most 2.8 nats a pixel then; from logits there is no bound.

    Example:
        >>> log_p = ContinuousBernoulli().log_prob([[0.2, 1.0]], [[0.5, 0.9]])
        >>> print(f"{float(log_p[0]):.4f}")  # 0 + log 0.9 + log C(0.9), C(0.9) = 2.7465
        0.9050

    Source: Loaiza-Ganem & Cunningham (2019), section 3.
    """

    low, high = 0.0, 1.0

    def __init__(self, from_logits=False, **kwargs):
        super().__init__(**kwargs)
        self.from_logits = from_logits

    def log_prob_terms(self, x, parameters):
        a, size, near = self._logits(parameters)
        square = ops.square(ops.where(near, a, 0.0))
        series = (
            square / 24 - ops.square(square) / 2880 + square**3 / 181440
        )  # log(sinh(a/2)/(a/2))
        far = ops.relu(a) + ops.log(-ops.expm1(-size)) - ops.log(size)
        return a * x - ops.where(near, 0.5 * a + series, far)

    def mean(self, parameters):
        a, size, near = self._logits(ops.cast(parameters, "float32"))
        small = ops.where(near, a, 0.0)
        far = -1 / ops.expm1(-size) - 1 / size
        far = ops.where(a > 0, far, 1 - far)
        return ops.where(near, 0.5 + small / 12 - small**3 / 720 + small**5 / 30240, far)

    def sample(self, parameters, seed=None):
        """By the inverse of the distribution function."""
        a, *_ = self._logits(ops.cast(parameters, "float32"))
        uniform = keras.random.uniform(ops.shape(a), seed=seed, dtype="float32")
        size = ops.maximum(ops.abs(a), 1e-6)
        x = ops.clip(-ops.log1p(uniform * ops.expm1(-size)) / size, 0, 1)
        return ops.where(a > 0, 1 - x, x)

    def _logits(self, parameters):
        """The logits, their size where it is not small, and whether they are near 0."""
        if not self.from_logits:
            p = ops.clip(parameters, 1e-7, 1 - 1e-7)
            parameters = ops.log(p) - ops.log1p(-p)
        size = ops.abs(parameters)
        near = size < NEAR
        return parameters, ops.where(near, NEAR, size), near  # maximum halves a gradient at NEAR

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


def _positive(number, kind, name, others=""):
    if isinstance(number, str) or not 0 < number < math.inf:
        raise ValueError(
            f"{kind} expects {name} to be a finite number > 0{others}, but got {number!r}. "
            "It is in the unit of the data: how far they lie from the decoder's mean."
        )
    return float(number)


BY_NAME = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "laplace": Laplace,
}


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
