"""The pixels of the benchmarks: 0 or 1, drawn with the grey values as probabilities."""

import numpy as np


def binarized(x, seed):
    return (np.random.default_rng(seed).random(x.shape, "float32") < x).astype("float32")
