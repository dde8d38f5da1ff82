"""The VAE of a public homework, rebuilt in vaekit: does it reach the known numbers?

    make bench-quality [MNIST=path/to/mnist.npz]

Stanford's CS236 (2018), homework 2: 784-300-300-10 and back, ELU, Bernoulli pixels drawn anew
(0 or 1) in every epoch, Adam 1e-3, batches of 100, 20,000 steps. Prints a Markdown table: nats per
image, means over the 10,000 test images, whose pixels are drawn once. Minutes on 2 CPU cores.
"""

import argparse
import datetime
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
from binarized import binarized
from keras import layers

import vaekit
from vaekit import evaluation

BATCH = 100
# What the homework's own network gave in a plain training loop, and how near a run must come.
KNOWN = {
    "negative ELBO": (100.39, 0.5),
    "KL": (18.98, 0.5),
    "reconstruction": (81.41, 0.7),
    "IWAE-10": (97.77, 0.4),
    "IWAE-100": (96.80, 0.4),
    "IWAE-1000": (96.35, 0.4),
    "active units": (10, 0),
}


def homework_vae(seed):
    keras.utils.set_random_seed(seed)
    x, z = keras.Input((28, 28, 1)), keras.Input((10,))
    h, g = layers.Flatten()(x), z
    for _ in range(2):
        h = layers.Dense(300, activation="elu")(h)
        g = layers.Dense(300, activation="elu")(g)
    z_mean = layers.Dense(10, name="z_mean")(h)
    z_log_var = layers.Dense(10, name="z_log_var")(h)
    logits = layers.Reshape((28, 28, 1))(layers.Dense(784)(g))
    encoder, decoder = keras.Model(x, [z_mean, z_log_var]), keras.Model(z, logits)
    likelihood = vaekit.likelihoods.Bernoulli(from_logits=True)
    return vaekit.VAE(encoder, decoder, likelihood, seed=seed)


def train(vae, x_train, steps):
    """``steps`` steps, with pixels drawn anew each time that all images have been seen."""
    vae.compile(keras.optimizers.Adam(1e-3), jit_compile=True)
    began, done = time.perf_counter(), 0
    while done < steps:
        x = binarized(x_train[: BATCH * (steps - done)], seed=done)
        loss = vae.fit(x, batch_size=BATCH, verbose=0).history["loss"][0]
        done += len(x) // BATCH
        print(f"{done:6} steps, {time.perf_counter() - began:4.0f} s: loss {loss:.2f}", flush=True)


def measure(vae, x, samples):
    nelbo = -evaluation.elbo(vae, x, num_samples=10, seed=1).mean()
    kl = evaluation.kl_per_dimension(vae, x).sum()
    found = {"negative ELBO": nelbo, "KL": kl, "reconstruction": nelbo - kl}
    for k in samples:
        found[f"IWAE-{k}"] = -evaluation.log_likelihood(vae, x, k, seed=1).mean()
    found["active units"] = evaluation.active_units(vae, x)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="a local mnist.npz; without it, Keras' download")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=10_000, help="test images")
    parser.add_argument("--samples", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    (x_train, _), (x_test, _) = vaekit.datasets.load_mnist(arguments.mnist)
    x_test = binarized(x_test[: arguments.images], seed=12345)

    vae = homework_vae(arguments.seed)
    began = time.perf_counter()
    train(vae, x_train, arguments.steps)
    trained = time.perf_counter()
    found = measure(vae, x_test, arguments.samples)
    evaluated = time.perf_counter()

    print(
        f"\n`make bench-quality`, {datetime.date.today()}: {arguments.steps} steps in "
        f"{trained - began:.0f} s, {len(x_test)} test images evaluated in "
        f"{evaluated - trained:.0f} s, seed {arguments.seed}\n"
    )
    print("| nats per image | known | tolerance | here | within |\n|---|---|---|---|---|")
    for name, value in found.items():
        if name in KNOWN:
            known, tolerance = KNOWN[name]
            within = "yes" if abs(value - known) <= tolerance else "**no**"
            digits = 0 if name == "active units" else 2
            print(f"| {name} | {known:.{digits}f} | {tolerance} | {value:.{digits}f} | {within} |")


if __name__ == "__main__":
    main()
