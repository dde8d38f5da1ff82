"""What the benchmark and a peer say to each other, one line at a time.

A peer is a process ``python peers/FILE.py NAME WORKLOAD --mnist PATH --images N --started TIME``.
It trains one epoch and prints ``{"first": seconds since TIME, "loss": ...}``.
For each line "go" on its input it trains one more epoch and prints ``{"seconds": ..., "images":
trained on, "loss": ...}``. At the end of its input it exits. Its lines begin with "@@ "; all else
that it prints is to be ignored.

The loss is the negative ELBO: summed over pixels and latents, mean over the epoch, nats.
"""

import argparse
import json
import sys
import time

MARK = "@@ "
BATCH = 128

_begun = {}  # when the process and the present epoch began


def options(names):
    """The command line of a peer file that offers ``names``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=names)
    parser.add_argument("workload", choices=["D", "C"])
    parser.add_argument("--mnist", help="npz file with the key x_train")
    parser.add_argument("--images", type=int, help="how many to train on; by default all")
    parser.add_argument("--started", type=float, default=time.time(), help="Unix time of the start")
    chosen = parser.parse_args()
    _begun["process"] = chosen.started
    return chosen


def serve(train_epoch, n):
    """Trains epoch by epoch, for loops written by hand.

    Args:
        train_epoch: function without arguments that trains on ``n`` images and returns the mean
            loss as a number, or None; all its results are computed when it returns.
        n: int, images in an epoch.
    """
    report(train_epoch(), n)
    while True:
        gate()
        report(train_epoch(), n)


def gate():
    """Blocks until the benchmark says "go": for each epoch but the first."""
    if sys.stdin.readline().strip() != "go":
        sys.exit()
    _begun["epoch"] = time.perf_counter()


def report(loss, n):
    """Tells the benchmark of the epoch that has ended: its mean loss, and its number of images."""
    clock = time.perf_counter()
    loss = None if loss is None else float(loss)
    if "epoch" in _begun:
        said = {"seconds": clock - _begun["epoch"], "images": n, "loss": loss}
    else:
        said = {"first": time.time() - _begun["process"], "loss": loss}
    # Peers send the progress bars of sys.stdout elsewhere.
    print(MARK + json.dumps(said), file=sys.__stdout__, flush=True)
