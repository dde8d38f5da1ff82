"""Taught in notebooks/05_kl_loss.ipynb; this file stands alone, copy it as it is."""

import keras
from keras import ops

# Above this log-variance the KL follows its tangent, so that value and gradient stay
# finite and still point back down; float16 gradients end at 65504 > exp(11) / 2.
MAX_LOG_VAR = {"float16": 11.0}
DEFAULT_MAX_LOG_VAR = 20.0


def gaussian_kl_terms(z_mean, z_log_var):
    r"""The divergence $KL(N(\mu_d, \sigma_d^2) \,\|\, N(0, 1))$ of each latent d by itself; nats.

    The summands of ``gaussian_kl``, which takes and refuses the same arguments.

    Returns:
        Tensor of the shape of ``z_mean``: ``(batch, ...)``, at least 0.

    Example:
        >>> terms = gaussian_kl_terms(np.array([[1.0, 2.0]]), np.zeros((1, 2)))
        >>> print(ops.convert_to_numpy(terms))  # mu^2 / 2
        [[0.5 2. ]]
    """
    z_mean, z_log_var = ops.convert_to_tensor(z_mean), ops.convert_to_tensor(z_log_var)
    if not _agree(tuple(z_mean.shape), tuple(z_log_var.shape)):
        raise ValueError(
            "gaussian_kl expects z_mean and z_log_var of one shape, but got "
            f"{tuple(z_mean.shape)} and {tuple(z_log_var.shape)}. "
            "Give both heads the same number of units."
        )
    dtype = ops.dtype(z_log_var)
    bound = MAX_LOG_VAR.get(dtype, DEFAULT_MAX_LOG_VAR)
    dtype = "float64" if dtype == "float64" else "float32"
    z_mean, z_log_var = ops.cast(z_mean, dtype), ops.cast(z_log_var, dtype)
    capped = ops.minimum(z_log_var, bound)
    variance_minus_1 = ops.expm1(capped)  # keeps its digits where the variance is nearly 1
    tangent = variance_minus_1 * (z_log_var - capped)  # 0 up to the bound
    return 0.5 * (ops.square(z_mean) + variance_minus_1 - capped + tangent)


def gaussian_kl(z_mean, z_log_var):
    r"""The divergence $KL(N(\mu, \sigma^2 I) \,\|\, N(0, I))$, in closed form.

    .. math:: \tfrac{1}{2} \sum_d \left(\mu_d^2 + \sigma_d^2 - 1 - \log \sigma_d^2\right)

    Summed over every axis but the batch; nats. Computed in float32 (float64 for
    float64 inputs). Exact up to ``z_log_var = 20`` (11 in float16), its tangent above.

    Args:
        z_mean: float tensor ``(batch, ...)``, any range.
        z_log_var: float tensor of the same shape, :math:`\log \sigma^2`, any range.

    Returns:
        Tensor ``(batch,)``, at least 0.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> print(f"{float(gaussian_kl([[1.0]], [[np.log(0.5**2)]])[0]):.4f}")  # N(1, 0.5^2)
        0.8181

    Source: Kingma & Welling (2014), "Auto-Encoding Variational Bayes", appendix B.
    """
    terms = gaussian_kl_terms(z_mean, z_log_var)
    return ops.sum(terms, axis=tuple(range(1, len(terms.shape))))


def _agree(a, b):
    """Whether the shapes are the same, as far as they are known: nothing is broadcast."""
    return len(a) == len(b) and all(m == n or None in (m, n) for m, n in zip(a, b, strict=True))


@keras.saving.register_keras_serializable(package="vaekit")
class KLDivergence(keras.layers.Layer):
    r"""Adds $\beta \, KL(N(\mu, \sigma^2 I) \,\|\, N(0, I))$ to the model's losses.

    Returns its inputs unchanged, so that it can stand anywhere before ``Sampling``
    in a functional model that is trained with stock ``compile`` and ``fit``. The
    added loss is the KL summed over all latent axes, mean over the batch; nats.

    Args:
        beta: float, at least 0: the weight of the KL. Kept as a non-trainable
            weight, so that it can be changed during training and is saved.

    Call arguments:
        inputs: ``[z_mean, z_log_var]``, two float tensors of one shape ``(batch, ...)``;
            ``z_log_var`` is the natural logarithm of the variance.

    Returns:
        ``[z_mean, z_log_var]``.

    Raises:
        ValueError: if the input is not two tensors of one shape, or beta is negative.

    Example:
        >>> layer = KLDivergence()
        >>> _ = layer([ops.ones((8, 3)), ops.zeros((8, 3))])
        >>> print(f"{float(layer.losses[0]):.2f}")  # 3 latents, each mu^2 / 2
        1.50

    Source: Kingma & Welling (2014), appendix B; beta: Higgins et al. (2017), equation 4.
    """

    def __init__(self, beta=1.0, **kwargs):
        super().__init__(**kwargs)
        if not beta >= 0:
            raise ValueError(f"KLDivergence expects beta >= 0, but got {beta}.")
        self.initial_beta = float(beta)
        self.beta = self.add_weight(
            name="beta",
            initializer=keras.initializers.Constant(beta),
            trainable=False,
            dtype="float32",
            autocast=False,
        )

    def call(self, inputs):
        pair = isinstance(inputs, (tuple, list))  # one tensor of two rows is no pair
        self.compute_output_shape([tuple(t.shape) for t in inputs] if pair else tuple(inputs.shape))
        z_mean, z_log_var = inputs
        self.add_loss(self.beta * ops.mean(gaussian_kl(z_mean, z_log_var)))
        return [z_mean, z_log_var]

    def compute_output_shape(self, input_shape):
        shapes = [tuple(shape) for shape in input_shape if isinstance(shape, (tuple, list))]
        if len(shapes) != 2 or len(shapes) != len(input_shape) or not _agree(*shapes):
            raise ValueError(
                "KLDivergence expects [z_mean, z_log_var], two tensors of one shape, but got "
                f"{input_shape}. Give both heads the same number of units."
            )
        return shapes

    def get_config(self):
        return {**super().get_config(), "beta": self.initial_beta}
