"""What else costs time and memory: imports, batch sizes, large data, evaluation, conversion.

    python benchmarks/speed/costs.py --mnist mnist.npz [--quick]

Each number is measured in a fresh process. Prints a table, and writes it below those of
compare.py in figures/speed.md and a figure to figures/speed_scaling.png. With --quick, which only
tests this file, sizes are tiny, most of it runs in one process, and both go to a temporary folder.
"""

import argparse
import importlib
import math
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

from machine import machine

# A fresh process begins with this file. NumPy, Keras and what needs them are imported in the
# functions: one of these times that, and the small parent is no part of a child's memory.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without bytecode an import takes several times as long. The first child writes it, as pip does
# when it installs; to a folder of its own, so that the environment stays as it is.
sys.dont_write_bytecode = False
sys.path.append(str(Path(__file__).resolve().parent / "peers"))

FIGURES = Path(__file__).resolve().parents[2] / "figures"
HEADING = "**Other costs**"
BATCH = 128  # where the batch size is not what varies
LONG = 1_000  # epochs that fit is asked for, so that XLA pays; it is stopped after a few
TILE = 6_000  # images, of which large data are copies
LATENTS, EXAMPLES = 16, 16_000  # of a conversion in which something else varies
FULL = {
    "starts": 6,  # the first of them is not counted
    "fitted": 60_000,
    "batches": (32, 128, 512, 2_048),
    "images": (60_000, 600_000),
    "samples": (10, 100, 1_000, 10_000),
    "examples": (1_000, 4_000, 16_000, 60_000),
    "latents": (2, 8, 16, 32, 128),
}
QUICK = {
    "starts": 1,
    "fitted": 2_000,
    "batches": (128, 512),
    "images": (6_000, 12_000),
    "samples": (10, 40),
    "examples": (500, 1_000),
    "latents": (2, 4),
}


class Series(NamedTuple):
    """One panel of the figure, and a row of the table for each of its lines."""

    title: str
    setting: str  # what varies, with its unit
    measured: str  # what is measured, with its unit
    sizes: tuple
    lines: dict  # from a name to a value for each size


# ---- measured in a fresh process -----------------------------------------------------------


def fresh(measure, *arguments):
    """What ``measure`` returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(measure, *arguments).result()
    print(f"{measure.__name__}{arguments}: {found}", file=sys.stderr, flush=True)
    return found


def here(measure, *arguments):
    """As ``fresh``, but in this process: only to test."""
    return measure(*arguments)


def seconds(function, *args, **kwargs):
    began = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - began


def start():
    """Seconds of ``import keras``, of ``import vaekit`` after it, of the second load_digits()."""
    keras = seconds(importlib.import_module, "keras")
    vaekit = seconds(importlib.import_module, "vaekit")
    load_digits = sys.modules["vaekit"].datasets.load_digits
    load_digits()
    return keras, vaekit, seconds(load_digits)


def fit_epochs(vae, x, batch, epochs):
    """Seconds of each of the first epochs of a long training, compiled by XLA."""
    import keras

    from vaekit import training

    times = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            times.append(time.perf_counter() - self.began)
            self.model.stop_training = len(times) == epochs

    vae.compile("adam")
    assert training.pays(vae, LONG * math.ceil(len(x) / batch))
    vae.fit(x, batch_size=batch, epochs=LONG, verbose=0, callbacks=[Clock()])
    return times


def fit_speed(mnist, n, batch):
    """Images a second: the median epoch of three after the first."""
    from data import images
    from keras_networks import networks

    import vaekit

    vae = vaekit.VAE(*networks("D"))
    return n / median(fit_epochs(vae, images("D", mnist, n), batch, epochs=4)[1:])


def fit_memory(mnist, n):
    """The peak of an epoch of a small VAE, that before it, and the size of the array; MB."""
    import keras
    import numpy as np
    from data import images
    from keras import layers
    from keras_networks import halves

    import vaekit

    x, z = keras.Input((784,)), keras.Input((2,))
    h, g = layers.Dense(16, activation="relu")(x), layers.Dense(16, activation="relu")(z)
    vae = vaekit.VAE(*halves(x, h, z, layers.Dense(784, activation="sigmoid")(g)))
    data = np.tile(images("D", mnist, TILE), (n // TILE, 1))  # never twice in memory
    before = peak_memory()
    fit_epochs(vae, data, BATCH, epochs=1)
    return peak_memory(), before, data.nbytes / 1e6


def peak_memory():
    """The largest resident memory of this process so far; MB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def evaluate(mnist, samples):
    """Seconds of ``log_likelihood`` of 100 images, called for the second time."""
    from data import images
    from keras_networks import networks

    import vaekit

    vae, x = vaekit.VAE(*networks("D")), images("D", mnist, 100)
    vae.compile("adam")
    for _ in range(2):
        taken = seconds(vaekit.evaluation.log_likelihood, vae, x, samples, seed=1)
    return taken


def convert(mnist, n, latents):
    """Seconds of ``to_vae`` for an autoencoder 784-256-latents-256-784, median of three calls."""
    import keras
    from data import images
    from keras import layers

    import vaekit

    x, code = keras.Input((784,)), layers.Dense(latents, name="code")
    h = code(layers.Dense(256, activation="relu")(x))
    h = layers.Dense(256, activation="relu")(h)
    autoencoder = keras.Model(x, layers.Dense(784, activation="sigmoid")(h))
    autoencoder.compile("adam", loss="binary_crossentropy")
    data = images("D", mnist, max(n, 4_000))
    autoencoder.fit(data[:4_000], data[:4_000], batch_size=BATCH, verbose=0)
    arguments = autoencoder, data[:n], "code"
    return median(seconds(vaekit.to_vae, *arguments, seed=1, verbose=0) for _ in range(3))


# ---- the report ----------------------------------------------------------------------------


def scaling(run, mnist, sizes):
    """The series of the figure, measured by ``fresh`` or ``here``."""
    speed = [run(fit_speed, mnist, sizes["fitted"], batch) for batch in sizes["batches"]]
    yield Series(
        "Training", "batch size", "images a second", sizes["batches"], {"`vae.fit`": speed}
    )
    peak, before, array = zip(*(run(fit_memory, mnist, n) for n in sizes["images"]), strict=True)
    memory = {
        "peak": peak,
        "peak less the array": [p - a for p, a in zip(peak, array, strict=True)],
        "the same before `fit`": [b - a for b, a in zip(before, array, strict=True)],
    }
    yield Series("Memory of training", "images", "MB", sizes["images"], memory)
    taken = [run(evaluate, mnist, samples) for samples in sizes["samples"]]
    yield Series(
        *("log_likelihood, 100 images", "samples", "seconds", sizes["samples"]),
        {"`log_likelihood` of 100 images": taken},
    )
    taken = [run(convert, mnist, n, LATENTS) for n in sizes["examples"]]
    yield Series(
        *(f"to_vae, latent size {LATENTS}", "examples", "seconds", sizes["examples"]),
        {f"`to_vae`, latent size {LATENTS}": taken},
    )
    n = min(EXAMPLES, sizes["fitted"])
    taken = [run(convert, mnist, n, latents) for latents in sizes["latents"]]
    yield Series(
        *(f"to_vae, {n:,} examples", "latent size", "seconds", sizes["latents"]),
        {f"`to_vae`, {n:,} examples": taken},
    )


def plain(value):
    """Three significant digits: 0.0123, 1.23, 12,300."""
    return f"{float(f'{value:.3g}'):,.12g}"


def table(starts, series):
    keras, vaekit, digits = (median(column) for column in zip(*starts, strict=True))
    rows = [
        ("`import keras`", "", "seconds", [keras]),
        ("`import vaekit` after it", "", "seconds more", [vaekit]),
        ("`load_digits()`, the second time", "", "seconds", [digits]),
    ]
    for each in series:
        sizes = f"{each.setting} " + " / ".join(f"{size:,}" for size in each.sizes)
        about = "memory of `fit`, " if each.measured == "MB" else ""
        rows += [(about + name, sizes, each.measured, ys) for name, ys in each.lines.items()]
    lines = [
        f"{HEADING}, measured on {machine()}.\n",
        "| cost | at | measured | unit |",
        "|---|---|---|---|",
    ]
    for name, sizes, unit, values in rows:
        lines.append(f"| {name} | {sizes} | {' / '.join(map(plain, values))} | {unit} |")
    return "\n".join(lines) + "\n"


def draw(series):
    """One log-log panel for each series."""
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    plt.style.use(["petroff10", {"font.size": 8, "axes.titlesize": 9, "legend.fontsize": 7}])
    figure, axes = plt.subplot_mosaic("aabbcc;.ddee.", figsize=(7.4, 4.4), layout="constrained")
    for axis, each in zip(axes.values(), series, strict=True):
        for (name, values), style in zip(each.lines.items(), ("o-", "s--", "^:"), strict=False):
            axis.loglog(each.sizes, values, style, markersize=4, label=name.replace("`", ""))
        axis.set(title=each.title, xlabel=each.setting, ylabel=each.measured)
        axis.set_xticks(each.sizes, [f"{size:,}" for size in each.sizes], fontsize=7)
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        # At least a decade, so that noise does not look like a trend.
        values = [value for line in each.lines.values() for value in line]
        middle = math.sqrt(min(values) * max(values))
        span = max(math.sqrt(10), 1.3 * max(values) / middle)
        several = len(each.lines) > 1
        axis.set_ylim(middle / span, middle * span * (4 if several else 1))
        if several:
            axis.legend(loc="upper left", frameon=False)
        subs = (1, 2, 5) if span < 10 else (1,)
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=subs))
        axis.yaxis.set_minor_locator(ticker.NullLocator())
        axis.yaxis.set_major_formatter(lambda value, _: plain(value))
        axis.grid(alpha=0.3)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="npz file with the key x_train; else Keras' download")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this file")
    chosen = parser.parse_args()
    sizes, run, folder = FULL, fresh, FIGURES
    if chosen.quick:
        sizes, run, folder = QUICK, here, Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory() as bytecode:
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = bytecode
        starts = [fresh(start) for _ in range(sizes["starts"])]
        series = list(scaling(run, chosen.mnist, sizes))
        text = table(starts[1:] or starts, series)
        print(text)
        report = folder / "speed.md"
        tables = report.read_text() if report.exists() else ""
        report.write_text(tables.split(HEADING)[0] + text)
        draw(series).savefig(folder / "speed_scaling.png", dpi=150)
    print(f"Wrote {report} and {folder}/speed_scaling.png")


if __name__ == "__main__":
    main()
