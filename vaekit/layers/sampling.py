"""Taught in notebooks/03_sampling_layer.ipynb; this file stands alone, copy it as it is."""

import keras
from keras import ops

# Above this log-variance the standard deviation stops growing, so that a wild
# head gives a large number and not inf: exp(20 / 2) = 22026, and 245 in float16.
MAX_LOG_VAR = {"float16": 11.0}
DEFAULT_MAX_LOG_VAR = 20.0


@keras.saving.register_keras_serializable(package="vaekit")
class Sampling(keras.layers.Layer):
    r"""The reparameterised draw $z = \mu + \sigma \odot \epsilon$ with $\epsilon \sim N(0, I)$.

    Every row of a batch and every call gets its own noise. The layer always
    samples, in training and in inference; a model that wants the deterministic
    code uses ``z_mean`` itself. The state of the noise is saved with the weights.

    Args:
        seed: int or None. Two fresh layers with one seed draw the same noise.

    Call arguments:
        inputs: ``[z_mean, z_log_var]``, two float tensors of one shape
            ``(batch, ...)`` of any rank. ``z_log_var`` is the natural logarithm
            of the *variance*, :math:`\log \sigma^2 = 2 \log \sigma`; it is
            bounded at 20 (at 11 in float16).
        epsilon: a tensor of that shape: noise to use, or None for a new draw.

    Returns:
        ``z``: the shape of ``z_mean``, in the layer's compute dtype.

    Raises:
        ValueError: if the input is not two tensors of one shape.

    Example:
        >>> z_mean, z_log_var = ops.zeros((10000, 2)), ops.full((10000, 2), -2.0)
        >>> z = Sampling(seed=1)([z_mean, z_log_var])
        >>> print(f"{float(ops.std(z)):.2f}, expected {np.exp(-2 / 2):.2f}")
        0.37, expected 0.37

    Source: Kingma & Welling (2014), "Auto-Encoding Variational Bayes", section 2.4.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, epsilon=None):
        pair = isinstance(inputs, (tuple, list))  # one tensor of two rows is no pair
        self.compute_output_shape([tuple(t.shape) for t in inputs] if pair else tuple(inputs.shape))
        z_mean, z_log_var = inputs
        bound = MAX_LOG_VAR.get(self.compute_dtype, DEFAULT_MAX_LOG_VAR)
        sigma = ops.exp(0.5 * ops.minimum(z_log_var, bound))
        if epsilon is None:
            epsilon = keras.random.normal(
                ops.shape(z_mean), dtype=self.compute_dtype, seed=self.seed_generator
            )
        return z_mean + sigma * epsilon

    def compute_output_shape(self, input_shape):
        shapes = [tuple(shape) for shape in input_shape if isinstance(shape, (tuple, list))]
        if len(shapes) != 2 or len(shapes) != len(input_shape) or not _agree(*shapes):
            raise ValueError(
                "Sampling expects [z_mean, z_log_var], two tensors of one shape, but got "
                f"{input_shape}. Give both heads the same number of units."
            )
        return shapes[0]

    # Keras saves weights but not the state of a SeedGenerator: without these two
    # methods a model that is saved, loaded and trained on would repeat its noise.
    def save_own_variables(self, store):
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        if "seed_state" in store:
            self.seed_generator.state.assign(store["seed_state"])

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def _agree(a, b):
    """Whether the shapes are the same, as far as they are known: nothing is broadcast."""
    return len(a) == len(b) and all(m == n or None in (m, n) for m, n in zip(a, b, strict=True))
