"""Peers on JAX: a functional Keras VAE, and a whole epoch in one compiled ``lax.scan``.

    python peers/jax_peers.py "jax scan" D --mnist mnist.npz

Runs in the environment of requirements-jax.txt.
"""

import contextlib
import itertools
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
sys.path.append(str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from data import images
from protocol import BATCH, options, serve

# ---- Keras, trained by fit -----------------------------------------------------------------


def train_keras(kind, x):
    import keras
    from keras import layers, ops
    from keras_gate import KerasGate
    from keras_networks import networks

    class Sampling(layers.Layer):
        """z of [z_mean, z_log_var]; adds the KL to the loss of the model."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seed_generator = keras.random.SeedGenerator(1)

        def call(self, inputs):
            z_mean, z_log_var = inputs
            kl = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
            self.add_loss(ops.mean(ops.sum(kl, axis=1)))
            epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
            return z_mean + ops.exp(0.5 * z_log_var) * epsilon

    def summed_cross_entropy(x, probabilities):
        cross_entropy = ops.binary_crossentropy(x, probabilities)
        return ops.sum(cross_entropy, axis=tuple(range(1, len(x.shape))))

    keras.utils.set_random_seed(1)
    encoder, decoder = networks(kind)
    vae = keras.Model(encoder.input, decoder(Sampling()(encoder.outputs)))
    vae.compile("adam", loss=summed_cross_entropy)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        vae.fit(x, x, epochs=1000, batch_size=BATCH, callbacks=[KerasGate(len(x))])


# ---- JAX, written by hand ------------------------------------------------------------------

LATENTS = 16
ENCODER = [784, 512, 256, 2 * LATENTS]  # the last layer holds both heads
DECODER = [LATENTS, 256, 512, 784]


def initial_layers(random, widths):
    """Weights (inputs, outputs) and biases, as Keras begins: uniform after Glorot, and 0."""
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        limit = np.sqrt(6 / (inputs + outputs))
        weights = random.uniform(-limit, limit, (inputs, outputs))
        layers.append((jnp.asarray(weights, "float32"), jnp.zeros(outputs)))
    return layers


def apply(layers, h):
    *hidden, (weights, bias) = layers
    for hidden_weights, hidden_bias in hidden:
        h = jax.nn.relu(h @ hidden_weights + hidden_bias)
    return h @ weights + bias


def negative_elbo(parameters, x, key):
    encoder, decoder = parameters
    z_mean, z_log_var = jnp.split(apply(encoder, x), 2, axis=1)
    z = z_mean + jnp.exp(0.5 * z_log_var) * jax.random.normal(key, z_mean.shape)
    logits = apply(decoder, z)
    cross_entropy = jax.nn.softplus(logits) - x * logits
    kl = 0.5 * (z_mean**2 + jnp.exp(z_log_var) - 1 - z_log_var)
    return (cross_entropy.sum() + kl.sum()) / len(x)


def adam(parameters, gradients, first, second, t, rate=1e-3, b1=0.9, b2=0.999, epsilon=1e-7):
    """One step: the new parameters and the new averages of gradients and of their squares."""
    tree = jax.tree.map
    first = tree(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
    second = tree(lambda v, g: b2 * v + (1 - b2) * g**2, second, gradients)
    rate = rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)
    parameters = tree(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) + epsilon), parameters, first, second
    )
    return parameters, first, second


def train_scan(kind, x):
    """The whole epoch compiled into one call, without the last, smaller batch; dense only."""
    if kind != "D":
        raise SystemExit("jax scan is written for the dense workload D alone.")
    steps, random = len(x) // BATCH, np.random.default_rng(1)
    parameters = [initial_layers(random, ENCODER), initial_layers(random, DECODER)]
    zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]

    def train_epoch(state, data, order, key):
        def step(state, batch):
            parameters, first, second, t = state
            indices, key = batch
            loss, gradients = jax.value_and_grad(negative_elbo)(parameters, data[indices], key)
            return (*adam(parameters, gradients, first, second, t + 1.0), t + 1.0), loss

        state, losses = jax.lax.scan(step, state, (order, jax.random.split(key, steps)))
        return state, losses.mean()

    compiled = jax.jit(train_epoch, donate_argnums=0)
    data, state = jnp.asarray(x), (parameters, *zeros, 0.0)

    def next_epoch():
        nonlocal state
        order = random.permutation(len(x))[: steps * BATCH].reshape(steps, BATCH)
        key = jax.random.key(random.integers(2**31))
        state, loss = jax.block_until_ready(compiled(state, data, order, key))
        return loss

    serve(next_epoch, steps * BATCH)


PEERS = {"keras jax": train_keras, "jax scan": train_scan}

if __name__ == "__main__":
    chosen = options(PEERS)
    PEERS[chosen.name](chosen.workload, images(chosen.workload, chosen.mnist, chosen.images))
