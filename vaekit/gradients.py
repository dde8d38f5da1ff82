"""What Keras has no call of its own for, on whichever backend it runs: gradients, and precision."""

import contextlib

import keras
from keras import ops


def compiled_gradient(function):
    """``gradient(z, *data)``, compiled: the derivative by z of ``function(z, *data)``.

    Args:
        function: of tensors ``(batch, ...)``, gives a tensor ``(batch,)``.

    Returns:
        A function of NumPy arrays that gives a float32 array of the shape of the first.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(reduce_retracing=True, autograph=False)
        def gradient(z, *data):
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = function(z, *data)
            return tape.gradient(value, z)

    elif backend == "jax":
        import jax

        gradient = jax.jit(jax.grad(lambda z, *data: ops.sum(function(z, *data))))

    else:

        def gradient(z, *data):
            z = z.detach().clone().requires_grad_()
            function(z, *data).sum().backward()
            return z.grad

    def on_arrays(z, *data):
        tensors = [ops.convert_to_tensor(array) for array in data]
        found = gradient(ops.convert_to_tensor(z, "float32"), *tensors)
        return ops.convert_to_numpy(found)

    return on_arrays


@contextlib.contextmanager
def full_precision():
    """Within it GPUs multiply float32 numbers as such.

    Outside they may round the factors to 11 bits ("TF32"), and the differences of two gradients,
    of which curvatures are made, then consist of rounding.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        before = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(before)
    elif backend == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
    else:
        import torch

        cudnn = torch.backends.cudnn
        before, before_of_convolutions = torch.get_float32_matmul_precision(), cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
            cudnn.allow_tf32 = before_of_convolutions
