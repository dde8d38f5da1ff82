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


def homework_vae(latents=10, hidden=300, seed=1):
    keras.utils.set_random_seed(seed)
    x, z = keras.Input((28, 28, 1)), keras.Input((latents,))
    h, g = layers.Flatten()(x), z
    for _ in range(2):
        h = layers.Dense(hidden, activation="elu")(h)
        g = layers.Dense(hidden, activation="elu")(g)
    heads = [layers.Dense(latents, name=name)(h) for name in ("z_mean", "z_log_var")]
    logits = layers.Reshape((28, 28, 1))(layers.Dense(784)(g))
    likelihood = vaekit.likelihoods.Bernoulli(from_logits=True)
    return vaekit.VAE(keras.Model(x, heads), keras.Model(z, logits), likelihood, seed=seed)


def measured(vae, x, samples):
    kl = vaekit.evaluation.kl_per_dimension(vae, x).sum()
    found = {"negative ELBO": -vaekit.evaluation.elbo(vae, x, num_samples=10, seed=1).mean()}
    found |= {"KL": kl, "reconstruction": found["negative ELBO"] - kl}
    for k in samples:
        found[f"IWAE-{k}"] = -vaekit.evaluation.log_likelihood(vae, x, k, seed=1).mean()
    return found | {"active units": vaekit.evaluation.active_units(vae, x)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="a local mnist.npz; without it, Keras' download")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=10_000, help="test images")
    parser.add_argument("--samples", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    (x_train, _), (x_test, _) = vaekit.datasets.load_mnist(arguments.mnist)
    x_test = binarized(x_test[: arguments.images], 12345)

    vae = homework_vae(seed=arguments.seed)
    vae.compile(keras.optimizers.Adam(1e-3), jit_compile=True)
    start, steps = time.perf_counter(), 0
    while steps < arguments.steps:
        rows = x_train[: 100 * (arguments.steps - steps)]
        x = binarized(rows, steps)
        steps += len(x) // 100
        loss = vae.fit(x, batch_size=100, verbose=0).history["loss"][0]
        print(f"{steps:6} steps, {time.perf_counter() - start:4.0f} s: loss {loss:.2f}", flush=True)
    trained = time.perf_counter() - start
    start = time.perf_counter()
    found = measured(vae, x_test, arguments.samples)
    evaluated = time.perf_counter() - start

    print(
        f"\n`make bench-quality`, {datetime.date.today()}: {steps} steps in {trained:.0f} s, ",
        end="",
    )
    print(f"{len(x_test)} test images evaluated in {evaluated:.0f} s, seed {arguments.seed}\n")
    print("| nats per image | known | tolerance | here | within |\n|---|---|---|---|---|")
    for name, value in found.items():
        if name in KNOWN:
            known, tolerance = KNOWN[name]
            within = "yes" if abs(value - known) <= tolerance else "**no**"
            digits = 0 if name == "active units" else 2
            print(f"| {name} | {known:.{digits}f} | {tolerance} | {value:.{digits}f} | {within} |")


if __name__ == "__main__":
    main()
