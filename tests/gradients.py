"""The gradient of a function on whichever backend Keras runs."""

import keras
from keras import ops


def gradients(function, *arrays):
    """The derivatives of ``function(*tensors)``, a scalar, as float32 arrays, one an argument."""
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    elif backend == "jax":
        import jax

        found = jax.grad(function, argnums=tuple(range(len(tensors))))(*tensors)
    else:
        tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        function(*tensors).backward()
        found = [tensor.grad for tensor in tensors]
    return [ops.convert_to_numpy(ops.cast(gradient, "float32")) for gradient in found]
