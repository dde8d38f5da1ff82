"""How fast ``vae.fit`` trains beside its peers, all of them in turns in one run.

    python benchmarks/speed/compare.py --mnist mnist.npz

Each peer is a process of its own; those on JAX and PyTorch live in environments that ``make
bench`` makes from pinned lists. One peer trains at a time: A B C ..., A B C ... Writes
figures/speed.md and figures/speed.png.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
from machine import machine

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Name: the peer's file, its environment ("" is the course's), and what the table says of it.
PEERS = {
    "vaekit": ("tensorflow_peers", "", "`vae.fit`"),
    "tf.data vaekit": ("tensorflow_peers", "", "`vae.fit` on `tf.data`"),
    "keras.io": ("tensorflow_peers", "", "keras.io `train_step`"),
    "tf loop": ("tensorflow_peers", "", "TensorFlow loop by hand"),
    "tf xla loop": ("tensorflow_peers", "", "the same, an epoch in one XLA loop"),
    "keras jax": ("jax_peers", "jax", "Keras on JAX"),
    "jax scan": ("jax_peers", "jax", "JAX scan by hand"),
    "torch": ("torch_peers", "torch", "PyTorch by hand, fused Adam"),
    "torch compile": ("torch_peers", "torch", "the same, `torch.compile`"),
    "pythae": ("pythae_peer", "torch", "pythae"),
    "layers alone": ("tensorflow_peers", "", "bound: layers alone"),
    "sgemm": ("tensorflow_peers", "", "bound: its operations as sgemm"),
}
STARTED_AGAIN = ("vaekit", "keras.io")  # their first epochs are medians of three starts
WORKLOADS = {"D": "dense 784-512-256-(2 x 16)-256-512-784", "C": "convolutional, as on keras.io"}
NOT_ON_C = ("tf xla loop", "jax scan")  # XLA's convolutions take 0.4 s a batch on a CPU
PART_ON_C = {"keras jax": 8}  # trains on an eighth of the images, or a round took a minute
# Large blocks of memory kept for the next step; convolutions of PyTorch gain by it on glibc.
# OMP_WAIT_POLICY=passive would halve its speed here.
TORCH_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
IMPORTS = {"": "keras, vaekit", "jax": "keras", "torch": "torch, pythae.trainers"}


class Peer:
    """A running peer; ``rounds`` holds what it said of each epoch but the first."""

    def __init__(self, name, workload, images, mnist, folder):
        file, environment, self.label = PEERS[name]
        if workload == "C":
            images //= PART_ON_C.get(name, 1)
        self.name, self.rounds = name, []
        self.errors = open(Path(folder) / f"{name}.txt", "w+")  # noqa: SIM115, closed by stop
        command = [python_of(environment), HERE / "peers" / f"{file}.py", name, workload]
        command += ["--images", images, "--started", time.time(), *(mnist and ["--mnist", mnist])]
        variables = TORCH_SETTINGS if environment == "torch" else {}
        variables = {**variables, "TORCHINDUCTOR_CACHE_DIR": folder}
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**ENVIRONMENT, **variables},
        )
        self.first = self.said()["first"]

    def said(self):
        """The next thing that the peer reports."""
        for line in self.process.stdout:
            if line.startswith("@@ "):
                return json.loads(line[3:])
        self.errors.seek(0)
        sys.exit(f"The peer {self.name!r} ended:\n{self.errors.read()[-3000:]}")

    def train(self):
        """An epoch to wake up, since systems take memory from a process that sleeps; and one."""
        for _ in range(2):
            print("go", file=self.process.stdin, flush=True)
            said = self.said()
        self.rounds.append(said)

    def stop(self):
        self.process.kill()  # the thread that tunes tf.data may sleep for a minute
        self.process.wait()
        self.errors.close()

    def speeds(self):
        """Images a second in each round."""
        return [said["images"] / said["seconds"] for said in self.rounds]

    def stalled(self):
        """Of each round, whether it took half as long again as the best one."""
        best = max(self.speeds())
        return [speed < best / 1.5 for speed in self.speeds()]


def python_of(environment):
    """The Python of an environment, which ``make bench`` has made."""
    if not environment:
        return sys.executable
    name = f"bench-{environment}"
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not python.exists():
        sys.exit(f".venv-{name} is missing; make it with: python3 tools/make_venv.py {name}")
    return python


def train_in_turns(workload, names, images, rounds, mnist):
    """The peers, each with ``rounds`` epochs behind it."""
    with tempfile.TemporaryDirectory() as folder:
        for environment in {PEERS[name][1] for name in names}:  # else the first to import is slow
            command = [python_of(environment), "-c", "import " + IMPORTS[environment]]
            backend = {"KERAS_BACKEND": environment or "tensorflow"}
            subprocess.run(command, env={**ENVIRONMENT, **backend}, capture_output=True, check=True)
        again = [name for name in STARTED_AGAIN if name in names]
        firsts = {name: [] for name in again}
        for _ in range(2):
            for name in again:
                peer = Peer(name, workload, images, mnist, folder)
                peer.stop()
                firsts[name].append(peer.first)
        peers = []
        for name in names:
            peers.append(Peer(name, workload, images, mnist, folder))
            peers[-1].first = statistics.median([peers[-1].first, *firsts.get(name, ())])
            print(f"{workload} {name}: first epoch {peers[-1].first:.1f} s", flush=True)
        for i in range(rounds):
            for peer in peers:
                peer.train()
            speeds = ", ".join(f"{peer.name} {peer.speeds()[-1]:,.0f}" for peer in peers)
            print(f"{workload} round {i + 1} of {rounds}: {speeds}", flush=True)
        for peer in peers:
            peer.stop()
    return peers


def compared(peer, ours):
    """The median speed of a peer, that of its stalled rounds, and how much faster ``vae.fit`` is.

    The first over rounds in which it did not stall, the last over those in which neither did.
    """
    speeds, stalled = peer.speeds(), peer.stalled()
    both = zip(ours.speeds(), speeds, ours.stalled(), stalled, strict=True)
    ratios = [mine / its for mine, its, one, other in both if not (one or other)]
    return (
        statistics.median(s for s, stall in zip(speeds, stalled, strict=True) if not stall),
        [s for s, stall in zip(speeds, stalled, strict=True) if stall],
        statistics.median(ratios) if ratios else float("nan"),
    )


def table_of(workload, peers, images):
    head = ["first epoch, s", "images/s", "`vae.fit` over it", "stalled rounds"]
    fewer = [peer for peer in peers if workload == "C" and peer.name in PART_ON_C]
    parts = "".join(f"; {each.label} takes 1/{PART_ON_C[each.name]} of them" for each in fewer)
    lines = [
        f"**{workload}**, {WORKLOADS[workload]}; {images:,} images a round{parts}.",
        "",
        "| | " + " | ".join(head) + " |",
        "|---" * (len(head) + 1) + "|",
    ]
    for peer in peers:
        speed, stalls, ratio = compared(peer, peers[0])
        told = f"{len(stalls)}, at {statistics.median(stalls):,.0f}" if stalls else "0"
        ratio = "1" if peer is peers[0] else f"{ratio:.2f}"
        lines.append(f"| {peer.label} | {peer.first:.1f} | {speed:,.0f} | {ratio} | {told} |")
    return "\n".join(lines)


def draw(results):
    figure, axes = plt.subplots(
        1, len(results), figsize=(9.5, 4.2), layout="constrained", squeeze=False
    )
    for axis, (workload, peers) in zip(axes[0], results, strict=True):
        for row, peer in enumerate(reversed(peers)):
            speed, *_ = compared(peer, peers[0])
            bound = peer.label.startswith("bound")
            color = "C1" if "vaekit" in peer.name else "0.8" if bound else "C0"
            axis.barh(row, speed, color=color, alpha=0.75)
            for each, stall in zip(peer.speeds(), peer.stalled(), strict=True):
                face = "white" if stall else "black"
                axis.plot(each, row, "o", ms=3.5, mfc=face, mec="black", mew=0.7)
        labels = [peer.label.replace("`", "") for peer in reversed(peers)]
        axis.set_yticks(range(len(peers)), labels, fontsize=8)
        axis.set_xlabel("images a second")
        axis.set_title(f"{workload}: {WORKLOADS[workload]}", fontsize=9)
    figure.savefig(ROOT / "figures" / "speed.png", dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="npz file with x_train; by default Keras' download")
    parser.add_argument("--workloads", default="DC")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="by default all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, nargs=2, default=[60_000, 19_200], help="of D, of C")
    chosen = parser.parse_args()
    mnist = Path(chosen.mnist).resolve() if chosen.mnist else ""
    if not mnist:
        import keras

        keras.datasets.mnist.load_data()
    names = [n for n in PEERS if n == "vaekit" or not chosen.peers or n in chosen.peers]
    results, tables = [], [f"Measured on {machine()}; medians of {chosen.rounds} rounds."]
    for workload, images in zip("DC", chosen.images, strict=True):
        if workload in chosen.workloads:
            fit = [name for name in names if workload == "D" or name not in NOT_ON_C]
            peers = train_in_turns(workload, fit, images, chosen.rounds, mnist)
            results.append((workload, peers))
            tables.append(table_of(workload, peers, images))
    text = "\n\n".join(tables) + "\n\n"
    print(text)
    if chosen.peers is None:
        (ROOT / "figures" / "speed.md").write_text(text, encoding="utf-8")
        draw(results)


if __name__ == "__main__":
    if shutil.which("gcc") is None:
        print("torch.compile needs a C++ compiler, and there is no gcc here.", file=sys.stderr)
    main()
