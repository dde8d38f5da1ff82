"""How good a converted autoencoder is: test negative ELBO, before and while it is trained on.

    python benchmarks/convert.py --mnist mnist.npz [--seeds 1 2 3] [--kinds dense conv lstm]

Trains an autoencoder for 10 epochs of cross-entropy on the 60,000 grey images (Adam, learning
rate 1e-3, batches of 100), and compares five ways to go on from there with 8 epochs as a VAE on
pixels that are drawn anew (0 or 1) every epoch. The numbers are nats per image on 10,000 binarised
test images: means of three draws of z, and of the seeds. All calibration uses training data alone.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
from binarized import binarized
from keras import layers

import vaekit

AUTOENCODER_EPOCHS = 10
REPORTED_EPOCHS = (1, 2, 4, 8)
BATCH = 100
RATE = 1e-3  # of the autoencoder's Adam


# ---- the autoencoders; the layer that gives the code is named "code" -----------------------


def dense():
    """784-300-300-10, ELU, and back."""
    x = keras.Input((28, 28, 1))
    h = layers.Flatten()(x)
    h = layers.Dense(300, activation="elu")(h)
    h = layers.Dense(300, activation="elu")(h)
    h = layers.Dense(10, name="code")(h)
    h = layers.Dense(300, activation="elu")(h)
    h = layers.Dense(300, activation="elu")(h)
    h = layers.Dense(784, activation="sigmoid")(h)
    return keras.Model(x, layers.Reshape((28, 28, 1))(h))


def conv():
    """Two strided convolutions, a ReLU bottleneck of 10, and back."""
    x = keras.Input((28, 28, 1))
    h = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.Dense(10, activation="relu", name="code")(layers.Flatten()(h))
    h = layers.Reshape((7, 7, 32))(layers.Dense(7 * 7 * 32, activation="relu")(h))
    h = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(h)
    return keras.Model(x, h)


def lstm():
    """The rows of an image as a sequence: LSTM, RepeatVector, LSTM."""
    x = keras.Input((28, 28, 1))
    h = layers.LSTM(16, name="code")(layers.Reshape((28, 28))(x))
    h = layers.LSTM(64, return_sequences=True)(layers.RepeatVector(28)(h))
    h = layers.TimeDistributed(layers.Dense(28, activation="sigmoid"))(h)
    return keras.Model(x, layers.Reshape((28, 28, 1))(h))


KINDS = {"dense": dense, "conv": conv, "lstm": lstm}


# ---- where the VAE starts; each of these takes the converted VAE ----------------------------


def from_scratch(vae, seed):
    """The same network with new weights everywhere."""
    keras.utils.set_random_seed(seed)
    encoder = keras.models.clone_model(vae.encoder)
    decoder = keras.models.clone_model(vae.decoder)
    return vaekit.VAE(encoder, decoder, seed=seed)


def with_copied_weights(vae, seed):
    """What one does without a converter: the code as it was, and a fresh head for z_log_var.

    ``to_vae`` whitens the code in the layer "z_mean", and the first layer of the decoder takes
    that back. Here both steps are done in "z_mean", and the decoder's layer does nothing.
    """
    keras.utils.set_random_seed(seed)
    z_mean, z_log_var = vae.encoder.get_layer("z_mean"), vae.encoder.get_layer("z_log_var")
    unwhiten = vae.decoder.get_layer("code")
    kernel, bias = z_mean.get_weights()
    unwhiten_kernel, centre = unwhiten.get_weights()
    z_mean.set_weights([kernel @ unwhiten_kernel, bias @ unwhiten_kernel + centre])
    unwhiten.set_weights([np.eye(len(centre)), np.zeros_like(centre)])
    fresh_kernel = z_log_var.kernel_initializer(z_log_var.kernel.shape)
    z_log_var.set_weights([fresh_kernel, np.zeros_like(z_log_var.bias)])
    return vae


def with_constant_width(vae, x_train):
    """One posterior width for all images and latents, the best of eight on training data."""
    rows = binarized(x_train[:4000], 0)
    z_log_var = vae.encoder.get_layer("z_log_var")
    kernel, bias = z_log_var.get_weights()

    def set_width(sigma):
        z_log_var.set_weights([np.zeros_like(kernel), np.full_like(bias, 2 * np.log(sigma))])

    found = {}
    for sigma in (0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.4):
        set_width(sigma)
        found[sigma] = negative_elbo(vae, rows)
    set_width(min(found, key=found.get))
    return vae


# ---- training and the report ---------------------------------------------------------------


def negative_elbo(vae, x):
    return np.mean([vae.evaluate(x, batch_size=1000, verbose=0)[0] for _ in range(3)])


def fine_tune(vae, x_train, test, rate, jit_compile):
    """The negative ELBO before training and after each of the reported epochs."""
    vae.compile(keras.optimizers.Adam(rate), jit_compile=jit_compile)
    found = [negative_elbo(vae, test)]
    for epoch in range(max(REPORTED_EPOCHS)):
        vae.fit(binarized(x_train, epoch), batch_size=BATCH, verbose=0)
        if epoch + 1 in REPORTED_EPOCHS:
            found.append(negative_elbo(vae, test))
    return found


def run_seed(kind, seed, x_train, x_test):
    """The negative ELBOs of each start, and what the conversion cost and changed."""
    test = binarized(x_test, 12345)
    keras.utils.set_random_seed(seed)
    autoencoder = KINDS[kind]()
    # On a CPU, XLA makes convolutions slower and the others faster.
    jit_compile = kind != "conv" or keras.config.backend() == "jax"
    autoencoder.compile("adam", loss="binary_crossentropy", jit_compile=jit_compile)
    autoencoder.fit(x_train, x_train, epochs=AUTOENCODER_EPOCHS, batch_size=BATCH, verbose=0)

    began = time.perf_counter()
    vae = vaekit.to_vae(autoencoder, x_train, seed=seed, verbose=0)
    seconds = time.perf_counter() - began
    change = np.abs(vae.predict(x_test, verbose=0) - autoencoder.predict(x_test, verbose=0)).max()

    weights = vae.get_weights()
    compiled_rate = float(vae.optimizer.learning_rate)
    starts = {
        "from scratch": (lambda: from_scratch(vae, seed), RATE),
        "weights copied": (lambda: with_copied_weights(vae, seed), RATE),
        "converted, constant width": (lambda: with_constant_width(vae, x_train), RATE),
        "converted": (lambda: vae, RATE),
        "converted, as compiled": (lambda: vae, compiled_rate),
    }
    found = {}
    for name, (begin, rate) in starts.items():
        vae.set_weights(weights)
        found[name] = fine_tune(begin(), x_train, test, rate, jit_compile)
        print(f"{kind}, seed {seed}, {name}:", np.round(found[name], 2), flush=True)
    parameters = [model.count_params() for model in (autoencoder, vae)]
    return found, seconds, change, parameters


def report(kind, runs):
    slowest = max(seconds for _, seconds, _, _ in runs)
    largest = max(change for _, _, change, _ in runs)
    before, after = runs[0][3]
    print(
        f"\n{kind}, {len(runs)} seeds: the conversion took up to {slowest:.1f} s, the outputs "
        f"changed by up to {largest:.1e}, the parameters were {before:,} and are {after:,}. "
        "Test negative ELBO in nats (spread over the seeds):\n"
    )
    print("| start | before | epoch " + " | ".join(map(str, REPORTED_EPOCHS)) + " |")
    print("|---" * (len(REPORTED_EPOCHS) + 2) + "|")
    for name in runs[0][0]:
        values = np.array([found[name] for found, *_ in runs])
        cells = [
            f"{mean:.1f} ({spread:.1f})"
            for mean, spread in zip(values.mean(axis=0), np.ptp(values, axis=0), strict=True)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="a local mnist.npz; without it, Keras' download")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    (x_train, _), (x_test, _) = vaekit.datasets.load_mnist(arguments.mnist)
    for kind in arguments.kinds:
        report(kind, [run_seed(kind, seed, x_train, x_test) for seed in arguments.seeds])


if __name__ == "__main__":
    main()
