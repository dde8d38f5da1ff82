"""How fast ``vae.fit`` trains beside its peers, all of them in turns in one run.

    python benchmarks/speed.py --mnist mnist.npz
    python benchmarks/speed.py --mnist mnist.npz --peers flags keras.io --rounds 5

In each round every peer of benchmarks/peers.py is started once, one after another, in a process of
its own, and trained for a few epochs: A B C ..., A B C ... The clock of the first epoch runs from
the start of the process, that of the others from epoch to epoch. With all peers the report goes to
figures/speed.md and figures/speed.png; with some of them it is printed and nothing is written.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
from peers import BATCH, PEERS, WORKLOADS

import vaekit

ROOT = Path(__file__).resolve().parents[1]
OURS = "vaekit"  # the peer that all others are compared with
NOTES = """\
## How to read the tables

* *First epoch* is the time from the start of Python to the end of the first epoch: imports,
  tracing and compiling are in it. *Images a second* is the median of the later epochs, and the
  range is that of the rounds. *`vae.fit` over it* is the median, over the rounds, of the speed of
  `vae.fit` divided by the speed of the peer in the same round.
* *Loss* is the mean negative ELBO of the last epoch, in nats. It shows that all peers train the
  same model. *Memory* is the most that the process held, with the framework and the images.
* `vae.fit` is what a user types: `vae.compile("adam"); vae.fit(x, batch_size=128, epochs=...)`.
* Keras' flags for speed are `compile(jit_compile=True, steps_per_execution=32)` on the dense
  network. On convolutions it is `steps_per_execution=32` alone: on a CPU, XLA makes them many times
  slower. For the same reason the whole-epoch loops and Keras on JAX train the dense network only.
* PyTorch and pythae run with a setting of the C library that keeps large blocks of memory for the
  next step (`MALLOC_MMAP_THRESHOLD_`). It helps them: without it, convolutions by hand ran at 2,417
  instead of 3,670 images a second in November 2026. TensorFlow is not faster with it.

## Why epochs of Keras stall now and then

Keras feeds arrays through `tf.data`, and `tf.data` tunes a running data set in a thread of its
own. That thread sleeps 10 ms, 20 ms, 40 ms and so on between two looks, and an epoch can end only
when the thread wakes: after 2.55, 5.11 or 10.23 seconds. An epoch that needs 2.6 seconds can so
take 5.1. `vae.fit` feeds NumPy arrays from a data set that nothing tunes. In your own data sets,
`options.autotune.enabled = False` ends the waits.
"""


def run_peer(name, workload, images, epochs, folder):
    """Trains a peer in a process of its own; returns what was measured, as a dict."""
    peer = PEERS[name]
    python = Path(sys.executable)
    environment = {
        **os.environ,
        "KERAS_BACKEND": peer.framework,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TMPDIR": folder,
    }
    # Without bytecode every start would compile all that it imports.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if peer.framework != "tensorflow":
        python = ROOT / ".venv-bench" / "bin" / "python"
        if not python.exists():
            sys.exit(
                f"The peer {name!r} needs .venv-bench, which is not there: make it with "
                "python3 tools/make_venv.py bench, or choose others with --peers."
            )
    if peer.framework == "torch":
        environment["MALLOC_MMAP_THRESHOLD_"] = str(2**32)
        environment["MALLOC_TRIM_THRESHOLD_"] = str(2**33)
    command = [python, ROOT / "benchmarks" / "peers.py", name, workload, images, str(epochs)]
    started = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"The peer {name!r} failed on workload {workload}:\n{done.stderr[-3000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    seconds = np.diff(said["ends"])
    return {
        "first": said["ends"][0] - started,
        "speed": len(np.load(images, mmap_mode="r")) / median(seconds),
        "loss": said["loss"],
        "memory": said["memory"],
    }


def run_rounds(workload, names, images, rounds, epochs):
    """A dict from each peer to its runs, one a round."""
    runs = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.save(file, images)
        for i in range(rounds):
            for name in names:
                run = run_peer(name, workload, file, epochs, folder)
                runs[name].append(run)
                print(
                    f"{workload}, round {i + 1} of {rounds}, {name}: first epoch "
                    f"{run['first']:.1f} s, then {run['speed']:,.0f} images/s",
                    flush=True,
                )
    return runs


def speeds(runs):
    return [run["speed"] for run in runs]


def table(workload, n, all_runs):
    """The results on one workload in Markdown."""
    lines = [
        f"## {workload}: {WORKLOADS[workload]}",
        "",
        f"{n:,} images an epoch, batches of {BATCH}.",
        "",
        "| | first epoch, s | images/s | range | `vae.fit` over it | loss | memory, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in all_runs.items():
        of_each_round = zip(speeds(all_runs[OURS]), speeds(runs), strict=True)
        ratio = median(ours / theirs for ours, theirs in of_each_round)
        cells = [
            PEERS[name].label,
            f"{median(run['first'] for run in runs):.1f}",
            f"{median(speeds(runs)):,.0f}",
            f"{min(speeds(runs)):,.0f} to {max(speeds(runs)):,.0f}",
            f"{ratio:.2f}",
            f"{median(run['loss'] for run in runs):.1f}",
            f"{median(run['memory'] for run in runs):.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(results):
    """A bar for each peer, its median, and a dot for each round."""
    heights = [len(all_runs) + 1 for all_runs in results.values()]
    figure, axes = plt.subplots(
        len(results),
        figsize=(8, 0.36 * sum(heights) + 0.8),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axis, (workload, all_runs) in zip(axes[:, 0], results.items(), strict=True):
        widest = max(max(speeds(runs)) for runs in all_runs.values())
        for row, (name, runs) in enumerate(all_runs.items()):
            color = "tab:orange" if name == OURS else "tab:blue"
            axis.barh(row, median(speeds(runs)), color=color, alpha=0.7)
            axis.plot(speeds(runs), [row] * len(runs), "k.", markersize=5)
            right = max(speeds(runs)) + 0.01 * widest
            axis.text(right, row, f"{median(speeds(runs)):,.0f}", va="center", fontsize=9)
        labels = [PEERS[name].label.replace("`", "") for name in all_runs]
        axis.set_yticks(range(len(labels)), labels)
        axis.invert_yaxis()
        axis.set_xlim(0, 1.12 * widest)
        axis.set_xlabel("images a second (bar: median; dots: rounds)")
        axis.set_title(f"{workload}: {WORKLOADS[workload]}", fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def machine():
    """The processor, as far as the system names it, its cores, the Python, and the date."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(": ")[1]
    today = datetime.date.today().isoformat()
    python = platform.python_version()
    return f"{processor}, {os.cpu_count()} cores, Python {python}, {today}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="a local mnist.npz; without it, Keras' download")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER",
                        help="from " + ", ".join(PEERS) + f"; {OURS} always runs")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of each peer in a round; 2 or more")
    parser.add_argument("--images", type=int, nargs=2, default=[60_000, 19_200], metavar="N",
                        help="in an epoch, of D and of C")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs must be 2 or more: the first epoch is not part of the speed.")
    (x_train, _), _ = vaekit.datasets.load_mnist(arguments.mnist)

    results = {}
    report = (
        "# Training speed of `vae.fit` and its peers\n\n"
        f"Measured on {machine()}, with `make bench MNIST=mnist.npz`. Each of {arguments.rounds} "
        f"rounds starts every peer afresh and trains it for {arguments.epochs} epochs.\n\n"
        "![Images a second of each peer](speed.png)\n\n"
    )
    for workload, n in zip(WORKLOADS, arguments.images, strict=True):
        if workload in arguments.workloads:
            names = [
                name
                for name, peer in PEERS.items()
                if workload in peer.workloads and (name == OURS or name in arguments.peers)
            ]
            images = x_train[:n]
            runs = run_rounds(workload, names, images, arguments.rounds, arguments.epochs)
            results[workload] = runs
            report += table(workload, len(images), runs) + "\n"
    print("\n" + report)
    if set(arguments.peers) == set(PEERS) and set(arguments.workloads) == set(WORKLOADS):
        (ROOT / "figures" / "speed.md").write_text(report + NOTES, encoding="utf-8")
        draw(results).savefig(ROOT / "figures" / "speed.png", dpi=110)
        print("Wrote figures/speed.md and figures/speed.png.")


if __name__ == "__main__":
    main()
