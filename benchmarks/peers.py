"""The ways to train one VAE that benchmarks/speed.py compares.

    python benchmarks/peers.py keras.io D images.npy 4

trains the peer "keras.io" on workload D for 4 epochs. The last line it prints is JSON: the time at
which each epoch ended, the mean loss of the last epoch in nats, and the peak of memory in GB.

A peer is a function of the workload, the images, and ``epoch_ended``, which it calls with the mean
loss after each epoch. Every function imports the framework it needs, because no environment holds
all of them. The whole-epoch loops leave out the last, smaller batch: 96 of 60,000 images.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

BATCH = 128
WORKLOADS = {
    "D": "dense, 784-512-256-(2 x 16)-256-512-784",
    "C": "convolutional, the network of the VAE example on keras.io",
}
SHAPES = {"D": (784,), "C": (28, 28, 1)}
LATENTS = {"D": 16, "C": 2}
# vae.fit has XLA compile the network if the training is long enough to gain by it. All trainings
# are started as long ones, and stopped after a few epochs.
MANY_EPOCHS = 1000


# ---- Keras on TensorFlow, and on JAX -------------------------------------------------------


def networks(workload, output="sigmoid"):
    """The encoder, x -> [z_mean, z_log_var], and the decoder, z -> probabilities of the pixels."""
    import keras
    from keras import layers

    x = keras.Input(SHAPES[workload])
    z = keras.Input((LATENTS[workload],))
    if workload == "D":
        h = layers.Dense(512, activation="relu")(x)
        h = layers.Dense(256, activation="relu")(h)
        g = layers.Dense(256, activation="relu")(z)
        g = layers.Dense(512, activation="relu")(g)
        pixels = layers.Dense(784, activation=output)(g)
    else:
        h = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
        h = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(h)
        h = layers.Dense(16, activation="relu")(layers.Flatten()(h))
        g = layers.Dense(7 * 7 * 64, activation="relu")(z)
        g = layers.Reshape((7, 7, 64))(g)
        g = layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu")(g)
        g = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(g)
        pixels = layers.Conv2DTranspose(1, 3, padding="same", activation=output)(g)
    z_mean = layers.Dense(LATENTS[workload], name="z_mean")(h)
    z_log_var = layers.Dense(LATENTS[workload], name="z_log_var")(h)
    return keras.Model(x, [z_mean, z_log_var]), keras.Model(z, pixels)


def fit(model, x, epoch_ended):
    import keras

    class EpochEnds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            epoch_ended(logs["loss"])

    model.fit(x, batch_size=BATCH, epochs=MANY_EPOCHS, verbose=0, callbacks=[EpochEnds()])


def train_vaekit(workload, x, epoch_ended):
    import vaekit

    vae = vaekit.VAE(*networks(workload))
    vae.compile("adam")
    fit(vae, x, epoch_ended)


def keras_io_vae(workload):
    """The VAE of keras.io: a ``train_step`` of its own, and three means to report."""
    import keras
    import tensorflow as tf
    from keras import ops

    class Sampling(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(1337)

        def call(self, inputs):
            z_mean, z_log_var = inputs
            epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
            return z_mean + ops.exp(0.5 * z_log_var) * epsilon

    class VAE(keras.Model):
        def __init__(self, encoder, decoder):
            super().__init__()
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
                # Keras takes the mean over the last axis, which has 784 pixels or one channel.
                pixels = tuple(range(1, len(data.shape) - 1))
                cross_entropy = keras.losses.binary_crossentropy(data, reconstruction)
                cross_entropy = data.shape[-1] * ops.sum(cross_entropy, axis=pixels)
                reconstruction_loss = ops.mean(cross_entropy)
                kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
                kl_loss = ops.mean(ops.sum(kl_loss, axis=1))
                total_loss = reconstruction_loss + kl_loss
            gradients = tape.gradient(total_loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            self.total_loss_tracker.update_state(total_loss)
            self.reconstruction_loss_tracker.update_state(reconstruction_loss)
            self.kl_loss_tracker.update_state(kl_loss)
            return {metric.name: metric.result() for metric in self.metrics}

    return VAE(*networks(workload))


def train_keras_io(workload, x, epoch_ended):
    vae = keras_io_vae(workload)
    vae.compile("adam")
    fit(vae, x, epoch_ended)


def train_with_flags(workload, x, epoch_ended):
    """The same with the two arguments of ``compile`` that Keras has for speed.

    On convolutions XLA is left out, because it makes them many times slower on a CPU.
    """
    vae = keras_io_vae(workload)
    vae.compile("adam", steps_per_execution=32, jit_compile=workload == "D")
    fit(vae, x, epoch_ended)


# ---- loops written by hand around the networks and the Adam of Keras -----------------------


def negative_elbo(x, z_mean, z_log_var, logits):
    """The loss: summed over pixels and latents, mean over the batch; nats."""
    from keras import ops

    pixels = tuple(range(1, len(x.shape)))
    cross_entropy = ops.sum(ops.softplus(logits) - x * logits, axis=pixels)
    kl = 0.5 * ops.sum(ops.square(z_mean) + ops.exp(z_log_var) - 1 - z_log_var, axis=1)
    return ops.mean(cross_entropy + kl)


def tensorflow_step(workload):
    """A function of a batch and its noise that takes one step and returns the loss."""
    import keras
    import tensorflow as tf

    encoder, decoder = networks(workload, output=None)
    weights = encoder.trainable_weights + decoder.trainable_weights
    optimizer = keras.optimizers.Adam()
    optimizer.build(weights)

    def step(x, noise):
        with tf.GradientTape() as tape:
            z_mean, z_log_var = encoder(x)
            logits = decoder(z_mean + tf.exp(0.5 * z_log_var) * noise)
            loss = negative_elbo(x, z_mean, z_log_var, logits)
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    return step


def train_tensorflow_loop(workload, x, epoch_ended):
    """A Python loop over the batches of ``tf.data``; one call of a ``tf.function`` a step."""
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices(x).shuffle(len(x)).batch(BATCH)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    step = tensorflow_step(workload)

    @tf.function(input_signature=[batches.element_spec])
    def train_step(batch):
        return step(batch, tf.random.normal((tf.shape(batch)[0], LATENTS[workload])))

    while True:
        losses = [train_step(batch) for batch in batches]
        epoch_ended(np.mean(losses))


def train_xla_loop(workload, x, epoch_ended):
    """The whole epoch as one loop, compiled by XLA."""
    import tensorflow as tf

    steps = len(x) // BATCH
    data = tf.constant(x)
    step = tensorflow_step(workload)
    random = np.random.default_rng(1)

    @tf.function(jit_compile=True)
    def train_epoch(order, seed):
        total = 0.0
        for i in tf.range(steps):
            noise = tf.random.stateless_normal((BATCH, LATENTS[workload]), seed=[seed, i])
            total += step(tf.gather(data, order[i]), noise)
        return total / steps

    while True:
        order = random.permutation(len(x))[: steps * BATCH].reshape(steps, BATCH)
        seed = tf.constant(random.integers(2**31), "int32")
        epoch_ended(train_epoch(tf.constant(order, "int32"), seed))


def train_jax_scan(workload, x, epoch_ended):
    """The whole epoch as one ``lax.scan``, compiled by XLA."""
    import jax
    import keras

    encoder, decoder = networks(workload, output=None)
    variables = [*encoder.trainable_variables, *decoder.trainable_variables]
    cut = len(encoder.trainable_variables)
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)
    steps = len(x) // BATCH
    data = jax.numpy.asarray(x)
    random = np.random.default_rng(1)

    def loss_of(weights, batch, key):
        (z_mean, z_log_var), _ = encoder.stateless_call(weights[:cut], [], batch)
        noise = jax.random.normal(key, z_mean.shape)
        z = z_mean + jax.numpy.exp(0.5 * z_log_var) * noise
        logits, _ = decoder.stateless_call(weights[cut:], [], z)
        return negative_elbo(batch, z_mean, z_log_var, logits)

    def train_epoch(state, data, order, key):
        def step(state, chosen):
            weights, averages = state
            indices, key = chosen
            loss, gradients = jax.value_and_grad(loss_of)(weights, data[indices], key)
            return optimizer.stateless_apply(averages, gradients, weights), loss

        keys = jax.random.split(key, steps)
        state, losses = jax.lax.scan(step, state, (order, keys))
        return state, losses.mean()

    train_epoch = jax.jit(train_epoch, donate_argnums=0)
    weights = [variable.value for variable in variables]
    state = weights, [variable.value for variable in optimizer.variables]
    while True:
        order = random.permutation(len(x))[: steps * BATCH].reshape(steps, BATCH)
        state, loss = train_epoch(state, data, order, jax.random.key(random.integers(2**31)))
        epoch_ended(loss)


# ---- PyTorch -------------------------------------------------------------------------------


def torch_networks(workload):
    """The encoder, x -> z_mean and z_log_var in one tensor, and the decoder, z -> logits."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(1)
    if workload == "D":
        encoder = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()]
        encoder += [nn.Linear(256, 32)]
        decoder = [nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU()]
        decoder += [nn.Linear(512, 784)]
    else:
        halve = {"kernel_size": 3, "stride": 2, "padding": 1}
        double = {**halve, "output_padding": 1}
        encoder = [nn.Conv2d(1, 32, **halve), nn.ReLU(), nn.Conv2d(32, 64, **halve), nn.ReLU()]
        encoder += [nn.Flatten(), nn.Linear(7 * 7 * 64, 16), nn.ReLU(), nn.Linear(16, 4)]
        decoder = [nn.Linear(2, 7 * 7 * 64), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))]
        decoder += [nn.ConvTranspose2d(64, 64, **double), nn.ReLU()]
        decoder += [nn.ConvTranspose2d(64, 32, **double), nn.ReLU()]
        decoder += [nn.ConvTranspose2d(32, 1, kernel_size=3, padding=1)]
    for layer in encoder + decoder:
        if hasattr(layer, "weight"):  # starts as the layers of Keras do, so that losses compare
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def train_torch(workload, x, epoch_ended):
    import torch
    from torch.nn import functional as F

    encoder, decoder = torch_networks(workload)
    x = torch.from_numpy(x)
    if workload == "C":
        # PyTorch names the channel before the pixels; in memory it stays behind them, the faster
        # order on a CPU.
        x = x.movedim(-1, 1)
        encoder = encoder.to(memory_format=torch.channels_last)
        decoder = decoder.to(memory_format=torch.channels_last)
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-3, fused=True)
    while True:
        losses = []
        for indices in torch.randperm(len(x)).split(BATCH):
            batch = x[indices]
            z_mean, z_log_var = encoder(batch).chunk(2, dim=1)
            logits = decoder(z_mean + torch.exp(0.5 * z_log_var) * torch.randn_like(z_mean))
            loss = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            loss = loss + 0.5 * (z_mean.square() + z_log_var.exp() - 1 - z_log_var).sum()
            loss = loss / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        epoch_ended(torch.stack(losses).mean())


def train_pythae(workload, x, epoch_ended):
    """pythae's own VAE and trainer, around the same layers."""
    import tempfile

    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    encoder, decoder = torch_networks(workload)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.layers = encoder

        def forward(self, x):
            z_mean, z_log_var = self.layers(x).chunk(2, dim=1)
            return ModelOutput(embedding=z_mean, log_covariance=z_log_var)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z).sigmoid())

    class EpochEnds(TrainingCallback):
        def on_log(self, training_config, logs, **kwargs):
            epoch_ended(logs["train_epoch_loss"])

    x = np.moveaxis(x, -1, 1) if workload == "C" else x
    config = VAEConfig(x.shape[1:], LATENTS[workload], reconstruction_loss="bce")
    training = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        num_epochs=MANY_EPOCHS,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        no_cuda=True,
    )
    pipeline = TrainingPipeline(VAE(config, Encoder(), Decoder()), training)
    pipeline(x, callbacks=[EpochEnds()])


# ---- the list ------------------------------------------------------------------------------


class Peer(NamedTuple):
    label: str
    train: object
    framework: str  # those on TensorFlow run in .venv, the others in .venv-bench
    workloads: str = "DC"  # where only D is named: XLA makes convolutions too slow on a CPU


PEERS = {
    "vaekit": Peer("`vae.fit`", train_vaekit, "tensorflow"),
    "flags": Peer("keras.io, with Keras' flags for speed", train_with_flags, "tensorflow"),
    "keras.io": Peer("keras.io `train_step`", train_keras_io, "tensorflow"),
    "tf-loop": Peer("TensorFlow loop by hand", train_tensorflow_loop, "tensorflow"),
    "tf-xla": Peer("the same, an epoch in one XLA loop", train_xla_loop, "tensorflow", "D"),
    "vaekit-jax": Peer("`vae.fit` of Keras on JAX", train_vaekit, "jax", "D"),
    "jax-scan": Peer("JAX scan by hand", train_jax_scan, "jax", "D"),
    "torch": Peer("PyTorch by hand, fused Adam", train_torch, "torch"),
    "pythae": Peer("pythae", train_pythae, "torch"),
}


def peak_memory():
    """The most memory that this process has held so far, in GB; known on Linux only."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    return float("nan")


def main():
    name, workload, images, epochs = sys.argv[1:]
    ends = []

    def epoch_ended(loss):
        loss = float(loss)  # waits until the epoch has been computed
        ends.append(time.time())
        if len(ends) == int(epochs):
            found = {"ends": ends, "loss": loss, "memory": peak_memory()}
            print("\n" + json.dumps(found), flush=True)
            os._exit(0)  # at an ordinary end, threads of tf.data may sleep for a minute

    x = np.load(images).reshape(-1, *SHAPES[workload])
    PEERS[name].train(workload, x, epoch_ended)


if __name__ == "__main__":
    main()
