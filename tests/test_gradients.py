import keras
import numpy as np
import pytest
from keras import ops

from vaekit.gradients import compiled_gradient, full_precision


def test_the_gradient_of_a_product_is_its_other_factors():
    a, b, c = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    gradient = compiled_gradient(lambda z, x, y: ops.sum(z * x * y, axis=1))
    np.testing.assert_allclose(gradient(a, b, c), b * c, rtol=1e-6)


def multiplies_coarsely():
    """Whether the backend lets a GPU round the factors of a product."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.tensor_float_32_execution_enabled()
    if backend == "jax":
        import jax

        return jax.config.jax_default_matmul_precision != "highest"
    import torch

    return torch.backends.cudnn.allow_tf32 or torch.get_float32_matmul_precision() != "highest"


def test_full_precision_ends_with_its_block_also_after_an_error():
    before = multiplies_coarsely()
    with full_precision():
        assert not multiplies_coarsely()
    assert multiplies_coarsely() == before
    with pytest.raises(KeyError), full_precision():
        raise KeyError
    assert multiplies_coarsely() == before
