"""Peers on TensorFlow: vaekit, the VAE of keras.io, loops written by hand, and the layers alone.

    python peers/tensorflow_peers.py vaekit D --mnist mnist.npz

Runs in the environment of the course.
"""

import contextlib
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.append(str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import tensorflow as tf
from data import images
from keras import layers, ops
from keras_gate import KerasGate
from keras_networks import LATENTS, networks
from protocol import BATCH, options, serve

# ---- trained by fit ------------------------------------------------------------------------


def fit(model, x, n, **arguments):
    """``fit`` with its progress bar, which is drawn but not shown."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        model.fit(x, epochs=1000, callbacks=[KerasGate(n)], **arguments)


def vaekit_vae(kind):
    import vaekit

    vae = vaekit.VAE(*networks(kind))
    vae.compile("adam")
    return vae


def train_vaekit(kind, x):
    fit(vaekit_vae(kind), x, len(x), batch_size=BATCH)


def train_vaekit_on_tf_data(kind, x):
    dataset = tf.data.Dataset.from_tensor_slices(x).shuffle(10_000).batch(BATCH)
    fit(vaekit_vae(kind), dataset.prefetch(tf.data.AUTOTUNE), len(x))


class Sampling(layers.Layer):
    """z of [z_mean, z_log_var], as keras.io writes it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class KerasIoVAE(keras.Model):
    """The VAE of keras.io: a ``train_step`` of its own, three means, a loss of probabilities."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.sampling = encoder, decoder, Sampling()
        self.total_loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total_loss_tracker, self.reconstruction_loss_tracker, self.kl_loss_tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            z_mean, z_log_var = self.encoder(data)
            reconstruction = self.decoder(self.sampling([z_mean, z_log_var]))
            # The loss of Keras is a mean over the last axis: 784 pixels, or one channel.
            cross_entropy = data.shape[-1] * keras.losses.binary_crossentropy(data, reconstruction)
            pixels = tuple(range(1, len(cross_entropy.shape)))
            reconstruction_loss = ops.mean(ops.sum(cross_entropy, axis=pixels))
            kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
            kl_loss = ops.mean(ops.sum(kl_loss, axis=1))
            total_loss = reconstruction_loss + kl_loss
        gradients = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.total_loss_tracker.update_state(total_loss)
        self.reconstruction_loss_tracker.update_state(reconstruction_loss)
        self.kl_loss_tracker.update_state(kl_loss)
        return {metric.name: metric.result() for metric in self.metrics}


def train_keras_io(kind, x):
    vae = KerasIoVAE(*networks(kind))
    vae.compile(optimizer=keras.optimizers.Adam())
    fit(vae, x, len(x), batch_size=BATCH)


# ---- trained by hand -----------------------------------------------------------------------


def negative_elbo(encoder, decoder, x, noise):
    z_mean, z_log_var = encoder(x)
    logits = decoder(z_mean + tf.exp(0.5 * z_log_var) * noise)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
    kl = 0.5 * (tf.square(z_mean) + tf.exp(z_log_var) - 1 - z_log_var)
    return (tf.reduce_sum(cross_entropy) + tf.reduce_sum(kl)) / tf.cast(tf.shape(x)[0], x.dtype)


def training_step(kind):
    """A function (x, noise) -> loss that takes one step of Adam."""
    encoder, decoder = networks(kind, logits=True)
    weights = encoder.trainable_weights + decoder.trainable_weights
    optimizer = keras.optimizers.Adam()
    optimizer.build(weights)

    def step(x, noise):
        with tf.GradientTape() as tape:
            loss = negative_elbo(encoder, decoder, x, noise)
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    return step


def train_tf_loop(kind, x):
    """A Python loop over batches of tf.data, one ``tf.function`` a step."""
    batches = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(BATCH)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    step = training_step(kind)

    @tf.function(input_signature=[batches.element_spec])
    def train_step(batch):
        return step(batch, tf.random.normal((tf.shape(batch)[0], LATENTS[kind])))

    def train_epoch():
        return np.mean([train_step(batch) for batch in batches])

    serve(train_epoch, len(x))


def train_tf_xla_loop(kind, x):
    """The whole epoch compiled into one call, without the last, smaller batch.

    A ceiling for the dense workload; XLA's convolutions on a CPU take seconds a batch.
    """
    steps = len(x) // BATCH
    data, step = tf.constant(x), training_step(kind)
    random = np.random.default_rng(1)

    @tf.function(jit_compile=True)
    def run(order, seed):
        total = 0.0
        for i in tf.range(steps):
            noise = tf.random.stateless_normal((BATCH, LATENTS[kind]), seed=[seed, i])
            total += step(tf.gather(data, order[i]), noise)
        return total / steps

    def train_epoch():
        order = random.permutation(len(x))[: steps * BATCH].reshape(steps, BATCH)
        seed = random.integers(2**31)
        return run(tf.constant(order, tf.int32), tf.constant(seed, tf.int32)).numpy()

    serve(train_epoch, steps * BATCH)


def run_layers_alone(kind, x):
    """A bound: forward and backward through the layers, on one batch again and again.

    No sigmoid, no loss, no z, no optimizer, no data. XLA makes the dense layers faster and the
    convolutions slower. Each output serves as its own gradient, all gradients go into a sum, and
    each pass reads the sum of the last one: a compiler can leave nothing out and move nothing
    out of the loop. With gradients of ones, XLA drops the forward pass of each last layer.
    """
    encoder, decoder = networks(kind, logits=True)
    weights = encoder.trainable_weights + decoder.trainable_weights
    batch, z = tf.constant(x[:BATCH]), tf.random.normal((BATCH, LATENTS[kind]))
    steps = len(x) // BATCH

    @tf.function(jit_compile=kind == "D")
    def run():
        total = 0.0
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                outputs = [*encoder(batch + 1e-30 * total), decoder(z + 1e-30 * total)]
            gradients = tape.gradient(outputs, weights, output_gradients=outputs)
            total = tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients])
        return total

    def train_epoch():
        run().numpy()

    serve(train_epoch, steps * BATCH)


def flops_of_an_image(kind):
    """Multiplications and additions, forward and backward; none for the gradient of the data."""
    total = 0
    for model in networks(kind, logits=True):
        for layer in model.layers:
            if layer.weights:
                places = 1  # a kernel is applied once an image, a convolution's at every pixel
                if isinstance(layer, layers.Conv2DTranspose):
                    places = np.prod(layer.input.shape[1:3])
                elif isinstance(layer, layers.Conv2D):
                    places = np.prod(layer.output.shape[1:3])
                reads_data = layer.input is model.inputs[0] and len(model.outputs) == 2
                total += (
                    2 * int(places) * layer.kernel.value.shape.num_elements() * (3 - reads_data)
                )
    return total


def run_sgemm(kind, x):
    """The other bound: as many operations as an epoch has, in large products of matrices."""
    side = 2048
    matrix = tf.random.normal((side, side))
    times = round(len(x) * flops_of_an_image(kind) / (2 * side**3))

    def train_epoch():
        for _ in range(times):
            product = tf.matmul(matrix, matrix)
        product.numpy()

    serve(train_epoch, len(x))


PEERS = {
    "vaekit": train_vaekit,
    "tf.data vaekit": train_vaekit_on_tf_data,
    "keras.io": train_keras_io,
    "tf loop": train_tf_loop,
    "tf xla loop": train_tf_xla_loop,
    "layers alone": run_layers_alone,
    "sgemm": run_sgemm,
}

if __name__ == "__main__":
    chosen = options(PEERS)
    keras.utils.set_random_seed(1)
    PEERS[chosen.name](chosen.workload, images(chosen.workload, chosen.mnist, chosen.images))
