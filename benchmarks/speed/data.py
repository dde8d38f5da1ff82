"""The images that every peer trains on, with NumPy alone: peers live in several environments."""

from pathlib import Path

import numpy as np

KERAS_DOWNLOAD = Path.home() / ".keras" / "datasets" / "mnist.npz"
SHAPES = {"D": (784,), "C": (28, 28, 1)}  # dense and convolutional, channels last


def images(kind, mnist=None, n=None):
    """MNIST's training images in file order, float32 ``(n, 784)`` or ``(n, 28, 28, 1)`` in [0, 1].

    Args:
        kind: "D" for flat images, "C" for images with a channel.
        mnist: path to an npz file with the key ``x_train``, uint8; by default where
            ``keras.datasets.mnist`` keeps its download.
        n: int, how many; by default all.
    """
    with np.load(mnist or KERAS_DOWNLOAD) as file:
        x = file["x_train"][:n]
    return x.reshape(len(x), *SHAPES[kind]).astype("float32") / 255
