"""How good a converted autoencoder is: test negative ELBO, before and while it is trained on.

    python benchmarks/convert.py --mnist mnist.npz [--seeds 3] [--kinds dense conv lstm]

Trains an autoencoder for 10 epochs of cross-entropy on the 60,000 grey images (Adam, learning
rate 1e-3, batches of 100), converts it, and goes on with 8 epochs on pixels that are drawn anew
(0 or 1) every epoch. Starts: the same network from scratch; its weights copied, with a fresh
log-variance head; converted, with one constant posterior width; converted. Each goes on with
the autoencoder's Adam at 1e-3, the last also at the rate that ``to_vae`` compiles.
Everything is calibrated on training data alone; the numbers are nats per image on 10,000
binarised test images, a mean of three draws of z, and the mean over the seeds.
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

AE_EPOCHS, MARKS, BATCH = 10, (1, 2, 4, 8), 100


def dense():
    """784-300-300-10, ELU, and back."""
    x, code = keras.Input((28, 28, 1)), layers.Dense(10, name="code")
    h = layers.Flatten()(x)
    for _ in range(2):
        h = layers.Dense(300, activation="elu")(h)
    h = code(h)
    for _ in range(2):
        h = layers.Dense(300, activation="elu")(h)
    return keras.Model(x, layers.Reshape((28, 28, 1))(layers.Dense(784, activation="sigmoid")(h)))


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


def nelbo(vae, x):
    return np.mean([vae.evaluate(x, batch_size=1000, verbose=0)[0] for _ in range(3)])


def fine_tuned(vae, x_train, test, rate=1e-3, jit="auto"):
    """The negative ELBO before training and after each of ``MARKS`` epochs."""
    vae.compile(keras.optimizers.Adam(rate), jit_compile=jit)
    found = [nelbo(vae, test)]
    for epoch in range(max(MARKS)):
        vae.fit(binarized(x_train, epoch), batch_size=BATCH, verbose=0)
        if epoch + 1 in MARKS:
            found.append(nelbo(vae, test))
    return found


def reset(vae, seed):
    """New weights everywhere: the same network from scratch."""
    keras.utils.set_random_seed(seed)
    fresh = keras.models.clone_model(vae.encoder), keras.models.clone_model(vae.decoder)
    return vaekit.VAE(*fresh, seed=seed)


def copied(vae, seed):
    """What one does without a converter: the code as it was, a fresh log-variance head."""
    keras.utils.set_random_seed(seed)
    mean, entrance = vae.encoder.get_layer("z_mean"), vae.decoder.get_layer("code")
    (kernel, bias), (axes, centre) = mean.get_weights(), entrance.get_weights()
    mean.set_weights([kernel @ axes, bias @ axes + centre])
    entrance.set_weights([np.eye(len(centre)), 0 * centre])
    log_var = vae.encoder.get_layer("z_log_var")
    log_var.set_weights([log_var.kernel_initializer(log_var.kernel.shape), 0 * log_var.bias])
    return vae


def constant_width(vae, x_train):
    """One posterior width for all, found on training data: the first result to beat."""
    log_var = vae.encoder.get_layer("z_log_var")
    kernel, bias = log_var.get_weights()
    rows, best = binarized(x_train[:4000], 0), None
    for sigma in (0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.4):
        log_var.set_weights([0 * kernel, 0 * bias + 2 * np.log(sigma)])
        found = nelbo(vae, rows), sigma
        best = min(best or found, found)
    log_var.set_weights([0 * kernel, 0 * bias + 2 * np.log(best[1])])
    return vae


def one_seed(kind, seed, data):
    (x_train, _), (x_test, _) = data
    test = binarized(x_test, 12345)
    keras.utils.set_random_seed(seed)
    autoencoder = KINDS[kind]()
    jit = kind != "conv"  # compiling helps dense and recurrent networks on a CPU
    autoencoder.compile("adam", loss="binary_crossentropy", jit_compile=jit)
    autoencoder.fit(x_train, x_train, epochs=AE_EPOCHS, batch_size=BATCH, verbose=0)
    start = time.perf_counter()
    vae = vaekit.to_vae(autoencoder, x_train, seed=seed, verbose=0)
    seconds = time.perf_counter() - start
    error = np.abs(vae.predict(x_test, verbose=0) - autoencoder.predict(x_test, verbose=0)).max()
    weights, compiled_rate = vae.get_weights(), float(vae.optimizer.learning_rate)
    starts = {
        "from scratch": (lambda: reset(vae, seed), 1e-3),
        "weights copied": (lambda: copied(vae, seed), 1e-3),
        "converted, constant width": (lambda: constant_width(vae, x_train), 1e-3),
        "converted": (lambda: vae, 1e-3),
        "converted, as compiled": (lambda: vae, compiled_rate),
    }
    rows = {}
    for name, (begin, rate) in starts.items():
        vae.set_weights(weights)
        rows[name] = fine_tuned(begin(), x_train, test, rate, jit)
        print(f"{kind}, seed {seed}, {name}:", np.round(rows[name], 2), flush=True)
    return rows, seconds, error


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="a local mnist.npz; without it, Keras' download")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    data = vaekit.datasets.load_mnist(arguments.mnist)
    for kind in arguments.kinds:
        runs = [one_seed(kind, seed, data) for seed in range(1, arguments.seeds + 1)]
        slowest, largest = max(r[1] for r in runs), max(r[2] for r in runs)
        print(
            f"\n{kind}, {arguments.seeds} seeds: conversion of {len(data[0][0]):,} images ", end=""
        )
        print(f"{slowest:.1f} s, largest difference of the outputs {largest:.1e}\n")
        print(
            "| test NELBO, nats (spread over seeds) | before | 1 epoch | "
            + " | ".join(f"{mark} epochs" for mark in MARKS[1:])
            + " |"
        )
        print("|---" * (len(MARKS) + 2) + "|")
        for name in runs[0][0]:
            values = np.array([rows[name] for rows, _, _ in runs])
            cells = zip(values.mean(axis=0), np.ptp(values, axis=0), strict=True)
            print(f"| {name} | " + " | ".join(f"{m:.1f} ({s:.1f})" for m, s in cells) + " |")


if __name__ == "__main__":
    main()
