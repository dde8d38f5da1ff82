"""The gradient of a function on whichever backend Keras runs; Keras itself has none to call."""

import keras
from keras import ops


def compiled_gradient(function):
    """``gradient(z, x)``, compiled: the derivative of ``function(z, x)``, one number an example.

    Args:
        function: of two tensors ``(batch, ...)``, gives a tensor ``(batch,)``.

    Returns:
        A function of two NumPy arrays that gives a float32 array of the shape of the first.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(reduce_retracing=True, autograph=False)
        def gradient(z, x):
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = function(z, x)
            return tape.gradient(value, z)

    elif backend == "jax":
        import jax

        gradient = jax.jit(jax.grad(lambda z, x: ops.sum(function(z, x))))

    else:

        def gradient(z, x):
            z = z.detach().clone().requires_grad_()
            function(z, x).sum().backward()
            return z.grad

    def on_arrays(z, x):
        found = gradient(ops.convert_to_tensor(z, "float32"), ops.convert_to_tensor(x))
        return ops.convert_to_numpy(found)

    return on_arrays
