"""Checks of the data before any training: type, shape, NaN, range of the likelihood."""

import itertools

import keras
import numpy as np


def parts(inputs):
    """The data and the list of conditions in ``x`` or ``[x, c, ...]``."""
    several = isinstance(inputs, (list, tuple))
    return (inputs[0], list(inputs[1:])) if several else (inputs, [])


def input_shapes(model):
    """The shapes of all inputs of a model, or None if it does not know them."""
    shape = getattr(model, "input_shape", None)
    return shape if shape is None or isinstance(shape, list) else [shape]


def is_conditional(vae):
    """Whether the VAE's encoder is known to take more than the data."""
    return len(input_shapes(vae.encoder) or ()) > 1


def check(vae, x, y, name):
    """Raises if ``x`` or the target (``y``, or ``x`` without it) cannot be what ``vae`` takes.

    Arrays are checked whole, data sets by their first batch. Returns ``x``; a generator comes
    back as an iterator that still begins with the batch that was looked at.
    """
    several = isinstance(x, (list, tuple))
    listed = several and (is_conditional(vae) or (len(x) == 1 and hasattr(x[0], "shape")))
    if x is None or (isinstance(x, (list, dict)) and not listed):
        return x  # left to Keras, which says what it lacks
    if hasattr(x, "shape") or listed:
        check_pair(vae, x, y, name)
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
        check_pair(vae, *keras.utils.unpack_x_y_sample_weight(batch)[:2], f"first batch of {name}")
    return x


def check_pair(vae, x, y, name):
    """As ``check``, for arrays alone; ``x`` may be ``[x, condition, ...]``."""
    x, conditions = parts(x)
    check_array(x, name, (input_shapes(vae.encoder) or [None])[0])
    rows = _rows(x)
    check_conditions(vae, conditions, rows, name)
    if y is not None and y is not x:
        x, name = y, f"target of {name}"
        check_array(x, name, None)
        if _rows(x) != rows:
            raise ValueError(
                f"VAE expects one row of the target for each of the {rows} rows of data, but the "
                f"{name} has {_rows(x)}. Look at how the two were sliced or split."
            )
    likelihood, target = vae.likelihood, _numpy(x)
    output_shape = getattr(vae.decoder, "output_shape", None)
    if isinstance(output_shape, tuple):
        likelihood.check_shapes(target.shape, output_shape, f"the {name}")
    low, high = target.min(), target.max()
    if low < likelihood.low or high > likelihood.high:
        raise ValueError(
            f"The {type(likelihood).__name__} likelihood expects data in "
            f"[{likelihood.low:g}, {likelihood.high:g}], but the {name} has min {low:g} and "
            f"max {high:g}. Scale it (images: x / 255), or choose likelihood='gaussian'."
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
    _check_finite(_numpy(array), name)


def check_batch_size(size):
    """Raises unless ``size`` is a whole number above 0, or None."""
    if size is None:
        return
    if not isinstance(size, (int, np.integer)):
        raise TypeError(
            f"VAE expects batch_size to be a whole number, but got {size!r}. Use int(...)."
        )
    if size < 1:
        raise ValueError(f"VAE expects batch_size to be at least 1, but got {size}.")


def check_conditions(vae, conditions, rows, name):
    """Raises unless the conditions are finite numbers, one row of each for each of ``rows``."""
    shapes = (input_shapes(vae.encoder) or [None] * (len(conditions) + 1))[1:]
    if len(conditions) != len(shapes):
        raise ValueError(
            f"VAE expects {len(shapes)} condition(s), the encoder's inputs after x, but the {name} "
            f"came with {len(conditions)}. Conditions go beside the data, as in fit([x, c]), and "
            "into sample(n, condition=c); a VAE without conditions takes none."
        )
    for condition, expected in zip(conditions, shapes, strict=True):
        values = _numpy(condition)
        if values.dtype.kind not in "biuf":
            raise TypeError(
                f"VAE expects conditions of numbers, but that of the {name} is {values.dtype}. "
                "Number the classes, and use keras.utils.to_categorical(labels)."
            )
        expected = (rows, *(expected or values.shape)[1:])
        if values.shape[:1] != expected[:1] or not _fits(values.shape, expected):
            raise ValueError(
                f"VAE expects a condition of shape {expected}, one row an example, but that of "
                f"the {name} has shape {values.shape}. Integer labels become rows with "
                "keras.utils.to_categorical(labels)."
            )
        _check_finite(values, f"condition of the {name}")


def _numpy(array):
    """The array itself where it is one: Keras would copy it."""
    return array if isinstance(array, np.ndarray) else keras.ops.convert_to_numpy(array)


def _rows(array):
    return array.shape[0] if hasattr(array, "shape") else len(array)


def _check_finite(values, name):
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
