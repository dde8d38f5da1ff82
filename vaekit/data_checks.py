"""Checks of the data before any training: type, shape, NaN, range of the likelihood."""

import itertools

import keras
import numpy as np


def check(vae, x, y, name):
    """Raises if ``x`` or the target (``y``, or ``x`` without it) cannot be what ``vae`` takes.

    Arrays are checked whole, data sets by their first batch. Returns ``x``; a generator comes
    back as an iterator that still begins with the batch that was looked at.
    """
    if x is None or isinstance(x, (list, dict)):
        return x  # left to Keras, which says what it lacks
    if hasattr(x, "shape"):
        _check_pair(vae, x, y, name)
        return x
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif hasattr(x, "take"):  # tf.data.Dataset
        batch = next(iter(x.take(1)), None)
    elif hasattr(x, "__next__"):
        batch = next(x)
        x = (item for item in itertools.chain([batch], x))  # Keras takes nothing but generators
    elif hasattr(x, "__len__") and hasattr(x, "__iter__"):  # torch DataLoader
        batch = next(iter(x))
    else:
        return x
    if batch is not None:
        _check_pair(vae, *keras.utils.unpack_x_y_sample_weight(batch)[:2], f"first batch of {name}")
    return x


def _check_pair(vae, x, y, name):
    check_array(x, name, getattr(vae.encoder, "input_shape", None))
    if y is not None and y is not x:
        x, name = y, f"target of {name}"
        check_array(x, name, getattr(vae.decoder, "output_shape", None))
    likelihood, target = vae.likelihood, keras.ops.convert_to_numpy(x)
    low, high = target.min(), target.max()
    if low < likelihood.low or high > likelihood.high:
        raise ValueError(
            f"The {type(likelihood).__name__} likelihood expects data in "
            f"[{likelihood.low:g}, {likelihood.high:g}], but the {name} has min {low:g} and "
            f"max {high:g}. Scale it (images: x / 255), or use VAE(..., likelihood='gaussian')."
        )


def check_array(array, name, expected):
    """Raises unless ``array`` is floating-point, finite, not empty and fits ``expected``."""
    array = array if hasattr(array, "dtype") else np.asarray(array)  # a list, a table of pandas
    dtype = keras.utils.standardize_dtype(array.dtype)
    if "float" not in dtype:
        raise TypeError(
            f"VAE expects floating-point data, but the {name} is {dtype}. "
            "Convert it, for images with x.astype('float32') / 255."
        )
    shape = tuple(array.shape)
    if isinstance(expected, tuple) and not _fits(shape, expected):
        raise ValueError(
            f"VAE expects data of shape {expected}, but the {name} has shape {shape}. "
            "Reshape it; a missing channel axis is added by x[..., None]."
        )
    if 0 in shape:
        raise ValueError(
            f"VAE expects at least one example, but the {name} has shape {shape}. "
            "Look at how the data were loaded or split."
        )
    values = keras.ops.convert_to_numpy(array)
    if not np.isfinite([values.min(), values.max()]).all():
        raise ValueError(
            f"VAE expects finite data, but the {name} holds NaN or infinity. "
            "Drop those rows or fill them in, for example with np.nan_to_num."
        )


def _fits(shape, expected):
    return len(shape) == len(expected) and all(
        want is None or got is None or got == want
        for got, want in zip(shape[1:], expected[1:], strict=True)
    )
