"""The gradient of a function on whichever backend Keras runs; Keras itself has none to call."""

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
