"""What the decoder's output means: the distribution p(x | z) and its log-probability.

A likelihood reads the decoder's output as parameters of a distribution over the
data. Log-probabilities are in nats, summed over every axis but the batch, never
averaged: an averaged one makes the KL as many times too strong as there are pixels.
Taught in notebooks/04_elbo.ipynb and 08_decoder_outputs.ipynb.
"""

import math

import keras
import numpy as np
from keras import ops

# Adam moves a weight by about the learning rate in every step, however large its gradient is.
# So the logarithm of a learned scale is this many times its weight: it changes that much faster,
# and settles while the networks train instead of thousands of steps later.
_LOG_SIGMA_PER_WEIGHT = 5.0
# The formulas of the continuous Bernoulli divide 0 by 0 where the logit is 0. Logits of a smaller
# size than this go through a Taylor series instead, which is more accurate there.
_SMALL_LOGIT = 0.5


class Likelihood(keras.layers.Layer):
    """The interface: subclass it, and write ``log_prob_terms``, ``mean`` and ``sample``.

    ``low`` and ``high`` bound the data that the distribution accepts, ``takes_integers`` says
    whether they may be integers, and ``advice`` what to do with others. A Keras layer, so that the
    VAE that holds it trains, saves and loads its weights.

    To save one of your own, register it with ``keras.saving.register_keras_serializable`` and give
    it a ``get_config``. Override ``parameters_shape`` if the decoder outputs another shape than
    that of x. Do not use trainable weights in ``mean``: JAX does not pass them to metrics.
    """

    low, high = -math.inf, math.inf
    takes_integers = False
    advice = "Scale it (images: x / 255), or choose likelihood='gaussian'."

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True  # it has no weights that depend on the shape of the data

    def log_prob(self, x, parameters, weight=None):
        """The log-likelihood log p(x | z), summed over every axis but the batch; nats.

        Args:
            x: float tensor ``(batch, ...)`` within ``low`` and ``high``.
            parameters: the decoder's output, of shape ``parameters_shape(x.shape)``.
            weight: float tensor, what each element of x counts; None counts all of them once. With
                0 an element is not observed. Of the shape of x, or of its first axes alone:
                ``(batch, time)`` weighs the steps of a series ``(batch, time, features)``.

        Returns:
            Tensor ``(batch,)``, float32.

        Raises:
            ValueError: if the shapes do not fit; but for the weight nothing is broadcast.

        Example:
            >>> x, mean = np.array([[3.0, 5.0]]), np.array([[1.0, 1.0]])
            >>> log_p = Gaussian(scale=2.0).log_prob(x, mean, weight=[[1.0, 0.0]])
            >>> print(f"{float(log_p[0]):.4f}")  # that of 3.0 alone
            -2.1121
        """
        x, parameters = ops.convert_to_tensor(x), ops.convert_to_tensor(parameters)
        self.check_shapes(tuple(x.shape), tuple(parameters.shape))
        terms = self.log_prob_terms(ops.cast(x, "float32"), ops.cast(parameters, "float32"))
        if weight is not None:
            terms = terms * _with_trailing_axes(weight, terms)
        return ops.sum(terms, axis=tuple(range(1, len(terms.shape))))

    def log_prob_terms(self, x, parameters):
        """The summands of ``log_prob``, of the shape of x; nats."""
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
        fits = len(expected) == len(found) and all(
            wanted == got or wanted is None or got is None
            for wanted, got in zip(expected, found, strict=True)
        )
        if not fits:
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
            scale = _positive_number(scale, "Gaussian", "scale", ", 'learned' or 'predicted'")
        self.scale = scale
        self.floor = _positive_number(floor, "Gaussian", "floor")
        if scale == "learned":
            self._sigma_weight = self.add_weight(
                name="sigma_weight", initializer="zeros", dtype="float32", autocast=False
            )

    def sigma(self, parameters=None):
        """The standard deviation s, to look at: one number, one for each x if it is predicted."""
        return ops.stop_gradient(ops.exp(self._log_sigma(parameters)))

    def set_sigma(self, value):
        """Sets a learned s, for example to the error of a network that is already trained.

        Args:
            value: float > 0, in the unit of the data. One below the floor sets s to the floor.

        Raises:
            ValueError: if the scale is not learned, or value is not finite and positive.

        Example:
            >>> likelihood = Gaussian("learned")
            >>> likelihood.set_sigma(0.2)
            >>> print(f"{float(likelihood.sigma()):.4f}")
            0.2000
        """
        if self.scale != "learned":
            raise ValueError(
                f"Gaussian.set_sigma expects a learned scale, but the scale is {self.scale!r}. "
                "Make the likelihood with Gaussian('learned'), or with the number: Gaussian(0.1)."
            )
        value = _positive_number(value, "Gaussian.set_sigma", "value")
        # s^2 is the sum of the learned variance, which stays above 0, and the squared floor.
        learned_variance = max(value**2 - self.floor**2, (1e-3 * self.floor) ** 2)
        self._sigma_weight.assign(0.5 * math.log(learned_variance) / _LOG_SIGMA_PER_WEIGHT)

    def log_prob_terms(self, x, parameters):
        log_sigma = self._log_sigma(parameters)
        scaled = (x - self.mean(parameters)) * ops.exp(-log_sigma)
        return -0.5 * ops.square(scaled) - log_sigma - 0.5 * math.log(2 * math.pi)

    # The mean is computed without the learned scale, which JAX does not hand to metrics.
    def mean(self, parameters):
        if self.scale == "predicted":
            mean, _ = ops.split(parameters, 2, axis=-1)
            return mean
        return parameters

    def sample(self, parameters, seed=None):
        parameters = ops.cast(parameters, "float32")
        mean = self.mean(parameters)
        noise = keras.random.normal(ops.shape(mean), seed=seed, dtype="float32")
        return mean + ops.exp(self._log_sigma(parameters)) * noise

    def parameters_shape(self, shape):
        *rest, channels = shape
        if self.scale == "predicted" and channels is not None:
            channels = 2 * channels
        return (*rest, channels)

    def _log_sigma(self, parameters):
        if self.scale == "predicted":
            _, log_var = ops.split(parameters, 2, axis=-1)
        elif self.scale == "learned":
            log_var = 2 * _LOG_SIGMA_PER_WEIGHT * ops.convert_to_tensor(self._sigma_weight)
        else:
            return ops.convert_to_tensor(math.log(self.scale), "float32")
        # Adding the floor's square keeps a gradient everywhere; a maximum would have none below.
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
        self.scale = _positive_number(scale, "Laplace", "scale")

    def log_prob_terms(self, x, parameters):
        return -ops.abs(x - parameters) / self.scale - math.log(2 * self.scale)

    def mean(self, parameters):
        return parameters

    def sample(self, parameters, seed=None):
        """By the inverse of the distribution function."""
        uniform = keras.random.uniform(ops.shape(parameters), -0.5, 0.5, seed=seed, dtype="float32")
        size = ops.minimum(ops.abs(uniform), 0.4999999)  # at 0.5 the logarithm would be infinite
        noise = -ops.sign(uniform) * ops.log1p(-2 * size)
        return ops.cast(parameters, "float32") + self.scale * noise

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable(package="vaekit")
class ContinuousBernoulli(Bernoulli):
    r"""The Bernoulli's formula made a density on [0, 1]: for grey values.

    :math:`\log p(x|z) = \sum_i x_i \log p_i + (1 - x_i) \log(1 - p_i) + \log C(p_i)`, with
    $C(p) = 2 \operatorname{artanh}(1 - 2p) / (1 - 2p)$ and $C(1/2) = 2$, so that it integrates
    to 1. With the logit $a$ of $p$ that is $C = a / \tanh(a / 2)$. The mean is not $p$.

    Args:
        from_logits: as for ``Bernoulli``. From probabilities, data that are exactly 0 or 1
            earn at most 2.8 nats a pixel, since p is kept within 1e-7 of 0 and 1; from logits
            there is no bound.

    Example:
        >>> log_p = ContinuousBernoulli().log_prob([[0.2, 1.0]], [[0.5, 0.9]])
        >>> print(f"{float(log_p[0]):.4f}")  # 0 + log 0.9 + log C(0.9), C(0.9) = 2.7465
        0.9050

    Source: Loaiza-Ganem & Cunningham (2019), section 3.
    """

    def log_prob_terms(self, x, parameters):
        is_small, small, size = _small_and_large(self._logits(parameters))
        square = ops.square(small)
        series = square / 12 - 7 * square**2 / 1440 + 31 * square**3 / 90720
        series = math.log(2) + series - 127 * square**4 / 4838400
        log_normaliser = ops.where(is_small, series, ops.log(size / ops.tanh(size / 2)))
        return super().log_prob_terms(x, parameters) + log_normaliser

    def mean(self, parameters):
        r"""The expectation of x: $1 / (1 - e^{-a}) - 1 / a$ for the logit $a$."""
        logits = self._logits(ops.cast(parameters, "float32"))
        is_small, small, size = _small_and_large(logits)
        series = 0.5 + small / 12 - small**3 / 720 + small**5 / 30240
        if_positive = -1 / ops.expm1(-size) - 1 / size
        large = ops.where(logits > 0, if_positive, 1 - if_positive)
        return ops.where(is_small, series, large)

    def sample(self, parameters, seed=None):
        """By the inverse of the distribution function."""
        logits = self._logits(ops.cast(parameters, "float32"))
        size = ops.maximum(ops.abs(logits), 1e-6)  # there the distribution is as good as uniform
        uniform = keras.random.uniform(ops.shape(logits), seed=seed, dtype="float32")
        if_negative = ops.clip(-ops.log1p(uniform * ops.expm1(-size)) / size, 0, 1)
        return ops.where(logits > 0, 1 - if_negative, if_negative)

    def _logits(self, parameters):
        if self.from_logits:
            return parameters
        p = ops.clip(parameters, 1e-7, 1 - 1e-7)
        return ops.log(p) - ops.log1p(-p)


def _small_and_large(logits):
    """Which logits are small, these logits, and the sizes of the others.

    Where a logit is of the other kind, a harmless number stands in its place: both formulas are
    computed everywhere, and an infinity in the one that is not used would spoil the gradient.
    """
    size = ops.abs(logits)
    is_small = size < _SMALL_LOGIT
    return is_small, ops.where(is_small, logits, 0.0), ops.where(is_small, _SMALL_LOGIT, size)


@keras.saving.register_keras_serializable(package="vaekit")
class Categorical(Likelihood):
    r"""One class out of K for each position: $\log p(x|z) = \sum_i \log p_{i, c_i}$.

    The decoder's last axis holds the K probabilities of a position. Its negative is the usual
    categorical cross-entropy.

    Args:
        classes: None if x is one-hot, ``(batch, ..., K)``; counts are accepted too, and give the
            multinomial distribution without its constant. The int K if x holds the numbers of the
            classes, 0 to K - 1, as integers or floats ``(batch, ...)``.
        from_logits: False if the decoder ends in a softmax and outputs probabilities, which are
            kept above 1e-7; True if it outputs logits.

    Example:
        >>> p = np.array([[0.2, 0.7, 0.1]])
        >>> log_p = Categorical().log_prob([[0.0, 1.0, 0.0]], p)
        >>> print(f"{float(log_p[0]):.4f}")  # log 0.7
        -0.3567
        >>> log_p = Categorical(classes=3).log_prob([[1]], p[:, None])
        >>> print(f"{float(log_p[0]):.4f}")
        -0.3567

    Source: Bishop (2006), "Pattern Recognition and Machine Learning", section 2.2.
    """

    low = 0.0
    advice = "Number the classes from 0 on; what pads a series needs a sample_weight of 0."

    def __init__(self, classes=None, from_logits=False, **kwargs):
        super().__init__(**kwargs)
        if classes is not None:
            is_number = isinstance(classes, int) and classes > 0
            if not is_number:
                raise ValueError(
                    f"Categorical expects classes to be an int > 0 or None, but got {classes!r}. "
                    "It is how many classes there are, where x holds their numbers."
                )
            self.high = classes - 1
            self.takes_integers = True
        self.classes = classes
        self.from_logits = from_logits

    def log_prob_terms(self, x, parameters):
        if self.from_logits:
            log_p = ops.log_softmax(parameters, axis=-1)
        else:
            log_p = ops.log(ops.clip(parameters, 1e-7, 1.0))
        if self.classes is None:
            return x * log_p
        one_hot = ops.one_hot(ops.cast(x, "int32"), self.classes)
        return ops.sum(one_hot * log_p, axis=-1)

    def mean(self, parameters):
        """The expectation of the one-hot x: the K probabilities, also where x holds integers."""
        return ops.softmax(parameters, axis=-1) if self.from_logits else parameters

    def sample(self, parameters, seed=None):
        p = ops.cast(self.mean(parameters), "float32")
        k = p.shape[-1]
        log_p = ops.log(ops.reshape(ops.clip(p, 1e-30, 1.0), (-1, k)))
        numbers = keras.random.categorical(log_p, 1, seed=seed)
        numbers = ops.reshape(numbers, ops.shape(p)[:-1])
        if self.classes is None:
            return ops.one_hot(numbers, k, dtype="float32")
        return numbers

    def parameters_shape(self, shape):
        return tuple(shape) if self.classes is None else (*shape, self.classes)

    def get_config(self):
        config = super().get_config()
        return {**config, "classes": self.classes, "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="vaekit")
class Poisson(Likelihood):
    r"""Counts: $\log p(x|z) = \sum_i x_i \log \lambda_i - \lambda_i - \log x_i!$.

    Args:
        from_log: False if the decoder outputs the rates, as after a softplus or an exponential,
            which are kept above 1e-7; True if it outputs their logarithms.

    Example:
        >>> log_p = Poisson().log_prob([[2.0]], [[3.0]])
        >>> print(f"{float(log_p[0]):.4f}")  # 2 log 3 - 3 - log 2
        -1.4959

    Source: Johnson, Kemp & Kotz (2005), "Univariate Discrete Distributions", chapter 4.
    """

    low = 0.0
    takes_integers = True
    advice = "It is for counts; choose likelihood='gaussian' for other numbers."

    def __init__(self, from_log=False, **kwargs):
        super().__init__(**kwargs)
        self.from_log = from_log

    def log_prob_terms(self, x, parameters):
        if self.from_log:
            return x * parameters - ops.exp(parameters) - _log_factorial(x)
        rate = ops.maximum(parameters, 1e-7)
        return x * ops.log(rate) - rate - _log_factorial(x)

    def mean(self, parameters):
        return ops.exp(parameters) if self.from_log else parameters

    def sample(self, parameters, seed=None):
        """Cut at its m-th event where the rate is large, drawn in 2^20 trials where it is small.

        The m-th event of a Poisson process comes at a gamma distributed time T. If T < rate, m
        events are followed by those of the rest, whose rate is rate - T. Otherwise the m - 1
        events before T lie evenly in (0, T), and a binomial number of them lies before the end.
        Two cuts leave 1/64 of the rate or so; of that, the hits in 2^20 trials are counted, which
        differs from a Poisson number by no more than (rest of the rate) / 2^20 in probability.
        A single binomial number would do but for its rounding: JAX's, of 2^20 trials, is off by
        0.7 % of a standard deviation at a rate of 1,000.

        Source: Ahrens & Dieter (1974), "Computer methods for sampling from gamma, beta, Poisson
        and binomial distributions", Computing 12, 223-246.
        """
        seed = _different_at_each_draw(seed)
        rest = ops.cast(self.mean(parameters), "float32")
        count = ops.zeros_like(rest)

        def binomial(trials, hit):
            return keras.random.binomial(
                ops.shape(rest), trials, ops.clip(hit, 0.0, 1.0), seed=seed, dtype="float32"
            )

        for _ in range(2):
            m = ops.floor(0.875 * rest)
            time = keras.random.gamma(ops.shape(rest), ops.maximum(m, 1.0), seed=seed)
            before_end = binomial(ops.maximum(m - 1.0, 0.0), rest / time)
            cut, all_came = rest > 10.0, time < rest
            count = count + ops.where(cut, ops.where(all_came, m, before_end), 0.0)
            rest = ops.where(cut, ops.where(all_came, rest - time, 0.0), rest)
        return count + binomial(ops.full(ops.shape(rest), 2.0**20), rest / 2.0**20)

    def get_config(self):
        return {**super().get_config(), "from_log": self.from_log}


@keras.saving.register_keras_serializable(package="vaekit")
class Columns(Likelihood):
    """Different likelihoods for different columns of a table, which are independent given z.

    The last axis of x is cut into groups of columns, in their order, and so is the decoder's
    output.

    Args:
        parts: list of pairs ``(how many columns, likelihood)``; likelihoods as for ``VAE``. A
            group of K one-hot columns is ``(K, Categorical())``. A group with
            ``Gaussian("predicted")`` takes twice as many columns of the decoder's output.

    Raises:
        ValueError: if a number of columns is no int > 0, or a part takes the numbers of classes,
            which would be one column of x and K of the decoder's output: make them one-hot.

    Example: a length, a colour out of three, and a yes or no.

        >>> likelihood = Columns([(1, Gaussian(0.5)), (3, "categorical"), (1, "bernoulli")])
        >>> x = [[1.5, 0.0, 1.0, 0.0, 1.0]]
        >>> log_p = likelihood.log_prob(x, [[1.5, 0.2, 0.7, 0.1, 0.9]])
        >>> print(f"{float(log_p[0]):.4f}")  # -log 0.5 - log(2 pi) / 2 + log 0.7 + log 0.9
        -0.6878
    """

    def __init__(self, parts, **kwargs):
        super().__init__(**kwargs)
        self.widths = [width for width, _ in parts]
        self.likelihoods = [get(likelihood) for _, likelihood in parts]
        self.takes_integers = all(likelihood.takes_integers for likelihood in self.likelihoods)
        for width, likelihood in zip(self.widths, self.likelihoods, strict=True):
            if not isinstance(width, int) or width < 1:
                raise ValueError(
                    f"Columns expects an int > 0 of columns for each likelihood, but got {width!r}."
                )
            if len(likelihood.parameters_shape((None, width))) != 2:
                raise ValueError(
                    "Columns expects one-hot columns for Categorical, but got "
                    f"Categorical(classes={likelihood.classes}). Give "
                    f"({likelihood.classes}, Categorical()), and keras.utils.to_categorical of x."
                )
        bounds = [
            ([likelihood.low] * width, [likelihood.high] * width)
            for width, likelihood in zip(self.widths, self.likelihoods, strict=True)
        ]
        self.low, self.high = (np.concatenate(each) for each in zip(*bounds, strict=True))

    def split(self, x, parameters):
        """List of ``(likelihood, its columns of x, its columns of the decoder's output)``."""
        found, first, first_parameter = [], 0, 0
        for width, likelihood in zip(self.widths, self.likelihoods, strict=True):
            end = first + width
            end_of_parameters = first_parameter + likelihood.parameters_shape((None, width))[-1]
            its_parameters = parameters[..., first_parameter:end_of_parameters]
            found.append((likelihood, x[..., first:end], its_parameters))
            first, first_parameter = end, end_of_parameters
        return found

    def log_prob_terms(self, x, parameters):
        terms = [part.log_prob_terms(its_x, own) for part, its_x, own in self.split(x, parameters)]
        return ops.concatenate(terms, axis=-1)

    def mean(self, parameters):
        means = [part.mean(own) for part, _, own in self.split(parameters, parameters)]
        return ops.concatenate(means, axis=-1)

    def sample(self, parameters, seed=None):
        # A generator draws other numbers for each part; an int would repeat them.
        seed = _different_at_each_draw(seed)
        samples = [part.sample(own, seed) for part, _, own in self.split(parameters, parameters)]
        return ops.concatenate([ops.cast(sample, "float32") for sample in samples], axis=-1)

    def parameters_shape(self, shape):
        *rest, columns = shape
        if columns not in (None, sum(self.widths)):
            raise ValueError(
                f"Columns expects x with {sum(self.widths)} columns, {self.widths}, but its shape "
                f"is {tuple(shape)}. Give a part for every column, in their order."
            )
        of_parts = [
            likelihood.parameters_shape((*rest, width))[-1]
            for width, likelihood in zip(self.widths, self.likelihoods, strict=True)
        ]
        return (*rest, sum(of_parts))

    def get_config(self):
        serialized = [keras.saving.serialize_keras_object(each) for each in self.likelihoods]
        return {**super().get_config(), "parts": list(zip(self.widths, serialized, strict=True))}

    @classmethod
    def from_config(cls, config):
        parts = [
            (width, keras.saving.deserialize_keras_object(likelihood))
            for width, likelihood in config["parts"]
        ]
        return cls(**{**config, "parts": parts})


def _with_trailing_axes(weight, terms):
    """The weight with as many axes as the terms: those that it lacks, of length 1, at the end."""
    weight = ops.cast(ops.convert_to_tensor(weight), "float32")
    shape, of_terms = tuple(weight.shape), tuple(terms.shape)
    fits = len(shape) <= len(of_terms) and all(
        size in (1, None) or expected is None or size == expected
        for size, expected in zip(shape, of_terms, strict=False)
    )
    if not fits:
        raise ValueError(
            f"log_prob expects a weight of the shape of the data, {of_terms}, or of its first axes "
            f"alone, but got {shape}."
        )
    return ops.reshape(weight, (*ops.shape(weight), *[1] * (len(of_terms) - len(shape))))


def _log_factorial(x):
    """log x!, by Stirling's series for (x + 7)!, where its error is below that of float32."""
    n = x + 7
    stirling = n * ops.log(n) - n + 0.5 * ops.log(2 * math.pi * n) + 1 / (12 * n) - 1 / (360 * n**3)
    return stirling - sum(ops.log(x + k) for k in range(1, 8))  # (x + 1) ... (x + 7)


def _different_at_each_draw(seed):
    """An int as a generator, so that one seed gives several draws that are not the same."""
    return keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed


def _positive_number(number, kind, name, others=""):
    if isinstance(number, str) or not 0 < number < math.inf:
        raise ValueError(
            f"{kind} expects {name} to be a finite number > 0{others}, but got {number!r}. "
            "It is in the unit of the data: how far they lie from the decoder's mean."
        )
    return float(number)


BY_NAME = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "poisson": Poisson,
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
