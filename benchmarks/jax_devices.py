"""Two training steps of a VAE on one device, on two devices, and in two processes, on JAX.

    python benchmarks/jax_devices.py                 prints the numbers as JSON
    python benchmarks/jax_devices.py --store         writes them to jax_devices.json

Needs JAX. Two virtual devices of the CPU stand for two accelerators, and two processes that talk
over the network for two machines. Taught in notebooks/15_same_numbers.ipynb, which shows the
stored numbers; `make test-backends` compares them with new ones.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# Both have to be said before JAX starts.
os.environ["KERAS_BACKEND"] = "jax"
DEVICES = int(os.environ.setdefault("DEVICES", "2"))
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

import vaekit  # noqa: E402

BATCH = 200
IMAGES = 400
STORED = Path(__file__).parent / "jax_devices.json"


def quiet_vae():
    """A VAE whose sigma is nearly 0, so that the noise of z plays no part in a step."""
    keras.utils.set_random_seed(1)
    x = keras.Input((28, 28, 1))
    h = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    narrow = keras.initializers.Constant(-18.0)
    z_log_var = layers.Dense(8, kernel_initializer="zeros", bias_initializer=narrow)
    encoder = keras.Model(x, [layers.Dense(8)(h), z_log_var(h)])
    z = keras.Input((8,))
    g = layers.Dense(64, activation="relu")(z)
    g = layers.Dense(784, activation="sigmoid")(g)
    vae = vaekit.VAE(encoder, keras.Model(z, layers.Reshape((28, 28, 1))(g)), seed=1)
    vae.compile(keras.optimizers.SGD(1e-4))
    return vae


def two_steps(images, batch_size):
    """What two steps add to the weights, the loss of the epoch, and where the weights lie."""
    vae = quiet_vae()
    before = vae.get_weights()
    history = vae.fit(images, batch_size=batch_size, shuffle=False, verbose=0)
    change = [after - w for w, after in zip(before, vae.get_weights(), strict=True)]
    devices = len(vae.trainable_variables[0].value.sharding.device_set)
    return change, history.history["loss"][0], devices


def images():
    (x, _), _ = vaekit.datasets.load_digits()
    return x[:IMAGES]


def result(change, loss, devices, change_of_one):
    largest = max(np.abs(change).max() for change in change_of_one)
    pairs = zip(change, change_of_one, strict=True)
    apart = max(np.abs(a - b).max() for a, b in pairs) / largest
    return {"devices": devices, "loss": round(float(loss), 3), "difference": float(apart)}


def run_as_process(number, address, path):
    """One of two processes: it trains on its half of every batch and writes what came of it."""
    keras.distribution.initialize(address, num_processes=2, process_id=number)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    halves = images().reshape(IMAGES // BATCH, 2, BATCH // 2, 28, 28, 1)
    change, loss, devices = two_steps(halves[:, number].reshape(-1, 28, 28, 1), BATCH // 2)
    if number == 0:
        np.savez(path, *change, loss=loss, devices=devices)


def in_two_processes():
    """The same as two_steps, computed by two processes with one device each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "change.npz"
        command = [sys.executable, __file__, "--process"]
        environment = {**os.environ, "DEVICES": "1"}
        # What they print, JAX about its connections too, is kept out of the JSON.
        processes = [
            subprocess.Popen(
                [*command, str(number), address, str(path)], env=environment, stdout=sys.stderr
            )
            for number in range(2)
        ]
        exit_codes = [process.wait() for process in processes]
        if any(exit_codes):
            sys.exit("One of the two processes failed: see above.")
        with np.load(path) as stored:
            arrays = [stored[f"arr_{i}"] for i in range(len(stored.files) - 2)]
            return arrays, float(stored["loss"]), int(stored["devices"])


def main():
    one = two_steps(images(), BATCH)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    two = two_steps(images(), BATCH)
    results = {
        "one device": result(*one, one[0]),
        "two devices of one process": result(*two, one[0]),
        "two processes": result(*in_two_processes(), one[0]),
    }
    text = json.dumps(results, indent=1) + "\n"
    print(text, end="")
    if "--store" in sys.argv:
        STORED.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--process" in sys.argv:
        run_as_process(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        main()
