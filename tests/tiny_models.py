"""The networks that the tests of VAE share: 6 inputs, 2 latents, 22 examples."""

import keras
import numpy as np
from keras import layers

import vaekit

# Batches of 4 leave a ragged last one of 2.
X = np.random.default_rng(0).uniform(0.05, 0.95, size=(22, 6)).astype("float32")
EAGER = {"run_eagerly": True}  # nothing to trace: three times as fast for a few steps
QUIET = -30.0  # a log-variance so small that the noise of z is lost in rounding


def tiny_encoder(between=(), log_var=None, hidden=5, **dense):
    """x -> [z_mean, z_log_var]; with ``log_var`` the second head gives that constant."""
    x = h = keras.Input((6,), name="x")
    h = layers.Dense(hidden, activation="tanh", **dense)(h)
    for layer in between:
        h = layer(h)
    return keras.Model(x, two_heads(h, log_var, **dense), name="encoder")


def two_heads(h, log_var=None, **dense):
    """[z_mean, z_log_var] of the features; with ``log_var`` the second gives that constant."""
    constant = {
        "kernel_initializer": "zeros",
        "bias_initializer": keras.initializers.Constant(log_var or 0.0),
        "trainable": False,
    }
    return [
        layers.Dense(2, name="z_mean", **dense)(h),
        layers.Dense(2, name="z_log_var", **({} if log_var is None else constant))(h),
    ]


def tiny_decoder(activation="sigmoid", **dense):
    z = keras.Input((2,), name="z")
    return keras.Model(z, layers.Dense(6, activation=activation, **dense)(z), name="decoder")


def tiny_vae(between=(), log_var=None, optimizer="sgd", compiled=None, seed=1, **kwargs):
    """A VAE whose weights depend on nothing but ``between``; compiled if there is an optimizer.

    Adam has a state that files and blocks must keep; elsewhere it is a third of what is traced.
    """
    keras.utils.set_random_seed(3)
    vae = vaekit.VAE(tiny_encoder(between, log_var), tiny_decoder(), seed=seed, **kwargs)
    if optimizer is not None:
        vae.compile(optimizer, **(compiled or {}))
    return vae


def frozen():
    """An optimizer that changes nothing."""
    return keras.optimizers.SGD(0.0)


def still_vae(between=(), eager=True, compiled=None, **kwargs):
    """A VAE without noise that does not learn: its logs can be computed by hand."""
    compiled = {"run_eagerly": eager, **(compiled or {})}
    return tiny_vae(between, QUIET, frozen(), compiled, **kwargs)


def fit(vae, *args, **kwargs):
    """The history of one quiet epoch, in the order of the data unless told otherwise."""
    kwargs = {"batch_size": 4, "shuffle": False, "verbose": 0, **kwargs}
    return vae.fit(*args, **kwargs).history


def evaluate(vae, *args, **kwargs):
    return vae.evaluate(*args, **{"batch_size": 4, "verbose": 0, "return_dict": True, **kwargs})


def equal_weights(a, b):
    """Whether two models have bit-identical weights."""
    a, b = a.get_weights(), b.get_weights()
    return len(a) == len(b) and all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


def assert_close_weights(a, b, **tolerance):
    """For batches of unknown shape TensorFlow sums in another order: equal up to rounding."""
    for u, v in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(u, v, **{"atol": 1e-6, "rtol": 1e-5, **tolerance})
