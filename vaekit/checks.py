"""Everything that a VAE refuses, networks and data, before anything is trained.

Each refusal says what was expected, what came, and what to do. ``x`` stands for the data, or for
``[x, condition, ...]`` where the VAE is conditional.
"""

import itertools
import math

import keras
import numpy as np

from vaekit.layers import KLDivergence

# ---- what the networks and the data are --------------------------------------------------------


def input_and_conditions(x):
    """The data and the list of conditions in ``x`` or ``[x, condition, ...]``."""
    if isinstance(x, (list, tuple)):
        return x[0], list(x[1:])
    return x, []


def input_shapes(model):
    """The shapes of all inputs of a model, or None if it does not know them."""
    shape = getattr(model, "input_shape", None)
    if shape is None or isinstance(shape, list):
        return shape
    return [shape]


def input_is_integer(model):
    """Whether a model is known to begin with integers, as one with an ``Embedding`` does."""
    inputs = getattr(model, "inputs", None)
    return bool(inputs) and "int" in inputs[0].dtype


def is_conditional(vae):
    """Whether the VAE's encoder is known to take more than the data."""
    return len(input_shapes(vae.encoder) or ()) > 1


# ---- the networks ------------------------------------------------------------------------------


def check_networks(encoder, decoder):
    """Raises unless the encoder and the decoder are built and fit each other.

    Raises:
        TypeError: if one of them is not a Keras model.
        ValueError: if one is not built, the encoder holds a ``KLDivergence`` layer or has other
            outputs than ``[z_mean, z_log_var]``, or the two take different latents or conditions.
    """
    for role, model in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"VAE expects {role} to be a built Keras model, but got {model!r} of type "
                f"{type(model).__name__}. To use a file, load it with keras.saving.load_model."
            )
        if not model.built:
            raise ValueError(
                f"VAE expects a built {role}, but {model.name!r} has no weights yet. "
                "Begin it with a keras.Input, or call it once on a batch."
            )
    if any(isinstance(layer, KLDivergence) for layer in encoder.layers):
        raise ValueError(
            f"VAE adds the KL itself, but {encoder.name!r} holds a KLDivergence layer, which "
            "would count it twice. Build the encoder without that layer."
        )
    outputs = getattr(encoder, "outputs", None)
    if outputs is not None:  # A subclassed encoder shows its outputs on the first batch only.
        check_posterior(outputs, decoder)
        check_equal_conditions(encoder, decoder)


def check_posterior(outputs, decoder):
    """Raises a ValueError unless outputs are [z_mean, z_log_var(, z)] of the decoder's input."""
    shapes = [tuple(output.shape) for output in outputs]
    if len(shapes) not in (2, 3):
        raise ValueError(
            f"VAE expects an encoder with the outputs [z_mean, z_log_var], but got {len(shapes)} "
            f"of shape {shapes}. Add a second Dense layer for z_log_var beside the one for z_mean."
        )
    if shapes[0][1:] != shapes[1][1:]:
        raise ValueError(
            f"VAE expects z_mean and z_log_var of one shape, but got {shapes[0]} and {shapes[1]}. "
            "Give both heads the same number of units."
        )
    if 0 in shapes[0][1:]:
        raise ValueError(
            f"VAE expects at least one latent dimension, but z_mean has shape {shapes[0]}. "
            "Give both heads one unit or more."
        )
    taken = (input_shapes(decoder) or [None])[0]
    if isinstance(taken, tuple) and taken[1:] != shapes[0][1:]:
        raise ValueError(
            f"VAE expects a decoder that takes the encoder's latent shape {shapes[0]}, but "
            f"{decoder.name!r} takes {taken}. Give the decoder an Input of shape {shapes[0][1:]}."
        )


def check_equal_conditions(encoder, decoder):
    """Raises a ValueError unless ``[x, c, ...]`` and ``[z, c, ...]`` have the same c, if known."""
    of_encoder, of_decoder = input_shapes(encoder), input_shapes(decoder)
    if of_encoder is None or of_decoder is None:
        return
    of_encoder, of_decoder = list(of_encoder[1:]), list(of_decoder[1:])
    if [shape[1:] for shape in of_encoder] != [shape[1:] for shape in of_decoder]:
        raise ValueError(
            "VAE expects an encoder of [x, c, ...] and a decoder of [z, c, ...] with the same "
            f"conditions c, but after x the encoder takes {of_encoder} and after z the decoder "
            f"{of_decoder}. Give both the same Inputs in the same order, used or not."
        )


def check_weights_of_the_loss(beta, free_bits):
    """Raises a ValueError unless both are numbers from 0 on, free_bits a finite one."""
    if not beta >= 0:
        raise ValueError(f"VAE expects beta >= 0, but got {beta}. 1 gives the ELBO.")
    if not 0 <= free_bits < math.inf:
        raise ValueError(
            f"VAE expects a finite free_bits >= 0, but got {free_bits}. "
            "Give nats per latent dimension, for example 0.1; 0 switches it off."
        )


def check_no_loss(loss):
    """Raises a ValueError unless ``compile`` was left the choice of the loss."""
    if loss is not None:
        raise ValueError(
            f"VAE computes its own loss, the negative ELBO, but got loss={loss!r}. Leave it "
            "out and choose VAE(..., likelihood=...): 'gaussian' for mse, 'bernoulli' for bce."
        )


def check_latent_shape_is_known(vae):
    """Raises a ValueError unless every axis of z has a length, as drawing it needs."""
    if None in vae.latent_shape:
        raise ValueError(
            f"vae.sample expects latents of a known shape, but theirs is {vae.latent_shape}: the "
            "size of the images is free. Draw z in the size that you want, for example z = "
            "keras.random.normal((n, 4, 4, channels)), and take "
            "vae.likelihood.mean(vae.decode(z))."
        )


def check_file(path):
    """Raises a ValueError if a model in that file could not be loaded again."""
    if str(path).endswith((".h5", ".hdf5")):
        raise ValueError(
            f"A VAE cannot be loaded again from the legacy HDF5 format, but got {str(path)!r}. "
            "Save it as vae.save('vae.keras'), or its weights as vae.save_weights("
            "'vae.weights.h5')."
        )


# ---- the data ----------------------------------------------------------------------------------


def check_data(vae, x, y=None, name="x", sample_weight=None, batch_size=None):
    """The data as Keras takes them, if ``vae`` can train on them; raises if it cannot.

    Lists of numbers become arrays. Arrays are checked whole, data sets by their first batch.

    Args:
        vae: the ``VAE``.
        x: an array, a list of lists of numbers, a table of pandas, ``[x, condition, ...]``, or
            batches: a data set, a generator, a ``PyDataset``, a PyTorch ``DataLoader``.
        y: the target, or None where x is its own.
        name: what the messages call ``x``.
        sample_weight: one number for each example or for each element, or None.
        batch_size: int, or None.

    Returns:
        ``(x, y)``. A generator comes back as one that still begins with the first batch. The
        target is filled in where there are weights, since Keras drops them without one.

    Raises:
        TypeError: if data are not floating-point numbers, or the batch size is no whole number.
        ValueError: if data hold NaN, are outside the range of the likelihood, or differ from each
            other or from the networks in shape.
    """
    check_batch_size(batch_size)
    if x is None or isinstance(x, dict):
        return x, y  # left to Keras, which says what it lacks
    if not is_made_of_batches(x):
        x = as_arrays(vae, x)
        y = y if y is None else as_array(y)
        check_arrays(vae, x, y, name, sample_weight)
        if sample_weight is not None and y is None:
            y = input_and_conditions(x)[0]
        return x, y
    batch, x = first_batch(x)
    if batch is not None:
        x_batch, y_batch, weight = keras.utils.unpack_x_y_sample_weight(batch)
        check_arrays(vae, x_batch, y_batch, f"first batch of {name}", weight)
    return x, y


def check_validation_data(vae, validation_data):
    """``validation_data`` as Keras takes it; raises what ``check_data`` raises.

    ``x``, ``(x,)``, ``(x, y)`` and ``(x, y, sample_weight)`` are understood, with
    ``[x, condition]`` for x, and data sets.
    """
    name = "validation_data"
    if not isinstance(validation_data, (tuple, list)):
        x, _ = check_data(vae, validation_data, None, name)
        return x
    if is_conditional(vae) and not isinstance(validation_data[0], (tuple, list)):
        validation_data = (validation_data,)  # [x, condition], as in the first argument of fit
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
    x, y = check_data(vae, x, y, name, sample_weight)
    return tuple(part for part in (x, y, sample_weight) if part is not None)


def is_made_of_batches(x):
    """Whether x gives batches one after the other, and is no array, table or list."""
    if hasattr(x, "shape") or isinstance(x, (list, tuple)):
        return False
    return hasattr(x, "__iter__") or isinstance(x, keras.utils.PyDataset)


def first_batch(batches):
    """``(first batch or None, batches)``, with nothing taken away from the batches."""
    if isinstance(batches, keras.utils.PyDataset):
        return batches[0], batches
    if hasattr(batches, "__next__"):  # A generator cannot be begun anew: chain what was taken.
        first = next(batches, None)
        if first is None:
            return None, batches
        return first, (batch for batch in itertools.chain([first], batches))
    return next(iter(batches), None), batches  # a tf.data.Dataset, a PyTorch DataLoader


def as_arrays(vae, x):
    """x as one array, or as a list of them where it comes with conditions."""
    if not isinstance(x, (list, tuple)):
        return as_array(x)
    if is_conditional(vae):
        return [as_array(part) for part in x]
    if not any(hasattr(part, "shape") for part in x):
        return as_array(x)  # lists of lists of numbers
    expected = (input_shapes(vae.encoder) or [None])[0]
    if expected is not None and all(np.shape(part) == expected[1:] for part in x):
        return np.stack(x)  # a list of single examples
    return x[0] if len(x) == 1 else list(x)


def as_array(data):
    """Lists of numbers and tables of pandas as a NumPy array; arrays and tensors as they are."""
    return data if hasattr(data, "dtype") else np.asarray(data)


def check_arrays(vae, x, y, name, sample_weight=None):
    """Raises what ``check_data`` raises, for arrays alone; each is scanned twice at most."""
    x, conditions = input_and_conditions(x)
    likelihood = vae.likelihood
    integers = likelihood.takes_integers or input_is_integer(vae.encoder)
    low_and_high = check_array(x, name, (input_shapes(vae.encoder) or [None])[0], integers)
    rows = number_of_rows(x)
    check_conditions(vae, conditions, rows, name)
    target = x
    if y is not None and y is not x:
        target, name = y, f"target of {name}"
        low_and_high = check_array(target, name, None, likelihood.takes_integers)
        if number_of_rows(target) != rows:
            raise ValueError(
                f"VAE expects one row of the target for each of the {rows} rows of data, but the "
                f"{name} has {number_of_rows(target)}. Look at how the two were sliced or split."
            )
    output_shape = getattr(vae.decoder, "output_shape", None)
    if isinstance(output_shape, tuple):
        likelihood.check_shapes(tuple(np.shape(target)), output_shape, f"the {name}")
    if sample_weight is not None:
        check_sample_weight(sample_weight, tuple(np.shape(target)), name)
    check_range(likelihood, target, low_and_high, name, sample_weight)


def check_range(likelihood, target, low_and_high, name, sample_weight=None, advice=None):
    """Raises a ValueError if the target, where it is observed, is out of the likelihood's range."""
    low, high = low_and_high
    least, most = likelihood.low, likelihood.high
    by_column = np.ndim(least) > 0
    weighted = sample_weight is not None and is_weight_of_elements(np.shape(sample_weight))
    if by_column or weighted:
        values = as_numpy(target)
        if weighted:
            weight = with_trailing_axes(np.asarray(sample_weight), values.ndim)
            values = np.where(weight > 0, values, np.clip(values, least, most))
        axes = tuple(range(values.ndim - by_column))
        low, high = (np.float32(found(values, axis=axes)) for found in (np.min, np.max))
    outside, where = (low < least) | (high > most), f"the {name}"
    if not np.any(outside):
        return
    if by_column:
        column = int(np.argmax(outside))
        low, high, least, most = low[column], high[column], least[column], most[column]
        where = f"column {column} of the {name}"
    raise ValueError(
        f"The {type(likelihood).__name__} likelihood expects data in [{least:g}, {most:g}], but "
        f"{where} has min {low:g} and max {high:g}. {advice or likelihood.advice}"
    )


def advice_for_the_dtype(dtype, name, axes):
    if dtype == "bool":
        return "Make zeros and ones of it, with x.astype('float32')."
    if "target" in name and axes == 1:
        return (
            "If these are labels, leave them out, the data are their own target: fit(x), or "
            "dataset.map(lambda image, label: image)."
        )
    return "Convert it, for images with x.astype('float32') / 255."


def check_array(array, name, expected, integers=False):
    """Raises unless ``array`` is floating-point, finite, not empty and of the shape ``expected``.

    With ``integers`` those are accepted too.

    Returns:
        Its smallest and its largest value, as float32 numbers.
    """
    array = as_array(array)
    dtype = keras.utils.standardize_dtype(array.dtype)
    if "float" not in dtype and not (integers and "int" in dtype):
        raise TypeError(
            f"VAE expects floating-point data, but the {name} is {dtype}. "
            + advice_for_the_dtype(dtype, name, len(array.shape))
        )
    shape = tuple(array.shape)
    if isinstance(expected, tuple) and not fits_shape(shape, expected):
        raise ValueError(
            f"VAE expects data of shape {expected}, but the {name} has shape {shape}. "
            "Reshape it; a missing channel axis is added by x[..., None]."
        )
    if 0 in shape:
        raise ValueError(
            f"VAE expects at least one example, but the {name} has shape {shape}. "
            "Look at how the data were loaded or split."
        )
    return check_finite(as_numpy(array), name)


def check_finite(values, name):
    """Raises a ValueError if NaN or infinity is among the values; returns min and max, float32."""
    # NaN and infinity survive min and max, so no mask is needed. In float32, as the networks
    # compute: a float64 of 1.0000000000000002 is 1 then.
    low, high = np.float32(values.min()), np.float32(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(
            f"VAE expects finite data, but the {name} holds NaN or infinity. "
            "Drop those rows or fill them in, for example with np.nan_to_num."
        )
    return low, high


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
        values = as_numpy(condition)
        if values.dtype.kind not in "biuf":
            raise TypeError(
                f"VAE expects conditions of numbers, but that of the {name} is {values.dtype}. "
                "Number the classes, and use keras.utils.to_categorical(labels)."
            )
        expected = (rows, *(expected or values.shape)[1:])
        if values.shape[:1] != expected[:1] or not fits_shape(values.shape, expected):
            raise ValueError(
                f"VAE expects a condition of shape {expected}, one row an example, but that of "
                f"the {name} has shape {values.shape}. Integer labels become rows with "
                "keras.utils.to_categorical(labels)."
            )
        check_finite(values, f"condition of the {name}")


def check_sample_weight(sample_weight, shape, name):
    """Raises unless there is a weight for each example, or for each element, of that shape."""
    found = np.shape(sample_weight)
    # Of elements: the shape of the data or its first axes. An axis of length 1 fits each length.
    fits = len(found) <= len(shape) and all(
        size == expected or (size == 1 and axis > 0)
        for axis, (size, expected) in enumerate(zip(found, shape, strict=False))
    )
    if not found or not (fits or found == (shape[0], 1)):
        of_elements = " or ".join(str(shape[:axes]) for axes in range(2, len(shape) + 1))
        raise ValueError(
            f"VAE expects sample_weight of shape {shape[:1]}, one number for each row of the "
            f"{name}, or {of_elements}, one for each element, but got {found}. Leave the last axes "
            "out, or put an axis of length 1 in the place of one that the weights do not know."
        )
    low, _ = check_finite(np.asarray(sample_weight), f"sample_weight of the {name}")
    if low < 0:
        raise ValueError(
            f"VAE expects a sample_weight of 0 or more, but that of the {name} has min {low:g}."
        )


def is_weight_of_elements(shape):
    """Whether weights of that shape are for elements: ``(n,)`` and ``(n, 1)`` are for examples."""
    return tuple(shape[1:]) not in ((), (1,))


def with_trailing_axes(weight, axes):
    """The array with that many axes: those that it lacks, of length 1, at the end."""
    return weight.reshape(*weight.shape, *[1] * (axes - weight.ndim))


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


def as_numpy(array):
    """The array itself where it is one: Keras would copy it."""
    return array if isinstance(array, np.ndarray) else keras.ops.convert_to_numpy(array)


def number_of_rows(array):
    return array.shape[0] if hasattr(array, "shape") else len(array)


def fits_shape(shape, expected):
    """Whether a shape is the expected one but for the batch, as far as both are known."""
    return len(shape) == len(expected) and all(
        want is None or got is None or got == want
        for got, want in zip(shape[1:], expected[1:], strict=True)
    )
