"""How ``VAE.fit`` trains on a CPU with TensorFlow; elsewhere it is Keras' own.

Keras runs one step a call. For small networks the way into such a call and out of it costs as
much as the step, so here one call runs a block of them, and XLA compiles it if that pays. The
results are those of single steps: same order of the data, same noise. ``benchmarks/speed``
measures each choice.
"""

import contextlib
import functools
import inspect
import itertools
import math

import keras
import numpy as np
from keras import layers, tree

from vaekit import data_checks, likelihoods

STEPS = 32  # in a block; more of them gain nothing measurable
VALUES = 25_000_000  # in a block, which so stays below 100 MB
UNKNOWN = 100, 128  # what a size and a number of rows count as if nobody knows them
WORTH = 1_000  # steps: XLA takes a second more to compile, and saves a millisecond each
WATCHING = [f"on_{kind}batch_{end}" for kind in ("", "train_", "test_") for end in ("begin", "end")]
SHOWING = (keras.callbacks.ProgbarLogger, keras.callbacks.CallbackList)
# XLA doubles the speed of these; convolutions get slower by it, and Dropout other noise.
COMPILED = {
    layers.InputLayer, layers.Dense, layers.Flatten, layers.Reshape, layers.Concatenate,
    layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Add, layers.Rescaling,
    layers.BatchNormalization, layers.LayerNormalization, *likelihoods.BY_NAME.values(),
}  # fmt: skip
OF_LAYERS = [f"{part}_{kind}" for part in ("kernel", "bias", "activity", "beta", "gamma")
             for kind in ("regularizer", "constraint")]  # fmt: skip


def applies(vae):
    """Whether steps of this model may run in blocks here; measured on CPUs only."""
    if keras.backend.backend() != "tensorflow" or vae.run_eagerly:
        return False
    import tensorflow as tf

    alone = vae.distribute_strategy.num_replicas_in_sync == 1 and not tf.distribute.has_strategy()
    return alone and not tf.config.list_physical_devices("GPU")


def block_steps(vae, call):
    """How many steps a block has: 1 if a callback wants to see each of them."""
    callbacks = getattr(call["callbacks"], "callbacks", call["callbacks"])  # of a CallbackList
    if any(_watches_steps(each) for each in tree.flatten(callbacks or ())):
        return 1
    # A block has to end where Keras ends an epoch, or begins the data anew.
    limit = keras.config.max_steps_per_epoch()
    asked, validation = call.get("steps_per_epoch", call.get("steps")), call.get("validation_steps")
    batches, ends = _batches(call["x"], call["batch_size"]), [limit, asked, validation]
    if limit or asked:
        if batches is None:
            return 1
        ends.append(batches)
    if validation:
        size = call["validation_batch_size"] or call["batch_size"]
        ends.append(_batches(call["validation_data"], size))
    ends = [n for n in ends if n not in (None, math.inf)]
    most = int(max(1, min(STEPS, VALUES // _values(vae, call), batches or STEPS)))
    return next(steps for steps in range(most, 0, -1) if not any(n % steps for n in ends))


def _batches(data, size):
    """How many batches data have: infinitely many, or None if nobody knows."""
    if _length(data):
        return math.ceil(_length(data) / (size or 32))
    if hasattr(data, "cardinality"):
        known = int(data.cardinality())
        return {-1: math.inf, -2: None}.get(known, known)
    return getattr(data, "num_batches", None)


def _length(data):
    """How many rows arrays have, or a table of pandas; 0 for data that come in batches."""
    return _rows(data) or (getattr(data, "shape", None) or [0])[0]


def _values(vae, call):
    """How many numbers a batch has, as far as it is known."""
    size, rows = UNKNOWN
    spec = tree.flatten(getattr(call["x"], "element_spec", call["x"]))
    shapes = [part.shape for part in spec if getattr(part, "shape", None)]
    if not shapes or any(getattr(shape, "rank", 1) is None for shape in shapes):
        shapes = data_checks.input_shapes(vae.encoder) or [(None, None)]
    rows = call["batch_size"] or (32 if _length(call["x"]) else shapes[0][0]) or rows
    return rows * sum(math.prod(each or size for each in shape[1:]) for shape in shapes)


def pays(vae, steps):
    """Whether XLA saves more time in that many steps than it takes to compile, and is safe.

    Functions of the user's own may hold what XLA cannot compile, or noise, which it changes.
    """
    return (
        steps >= WORTH
        and of_keras(vae.optimizer)
        and vae._metrics_of_keras
        and all(
            type(layer) in COMPILED
            and layer.compute_dtype == "float32"
            and all(of_keras(getattr(layer, n, None)) for n in ["activation", *OF_LAYERS])
            for layer in vae._flatten_layers(include_self=False)
            if layer is not vae.sampling
            and not (isinstance(layer, keras.Model) and of_keras(layer))
        )
        and None not in vae.latent_shape
    )


def named(method, *args, **kwargs):
    """All arguments of a call by their names, those that were left out too."""
    call = inspect.signature(method).bind(*args, **kwargs)
    call.apply_defaults()
    others = call.arguments.pop("kwargs", {})
    return {**call.arguments, **others}


@contextlib.contextmanager
def setting(vae, **values):
    """Attributes of the model, for a while."""
    before = {name: getattr(vae, name) for name in values}
    try:
        for name, value in values.items():
            setattr(vae, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


@contextlib.contextmanager
def in_blocks(vae, call):
    """Sets up ``vae.fit(**call)`` or ``vae.evaluate(**call)``: changes ``call`` and settings."""
    if not (vae.compiled and vae._runs_blocks()):
        yield
        return
    fits = "epochs" in call
    _hold_arrays(call, fits)
    if fits and vae._asked_jit == "auto" and not vae._xla and pays(vae, _planned_steps(call)):
        vae._xla, vae.train_function = True, None
    if fits and vae.optimizer is not None and not vae.optimizer.built:
        vae.optimizer.build(vae.trainable_variables)  # or the first block is traced twice
    callbacks = tree.flatten(call["callbacks"] or ())
    if call["verbose"] != 0 and not any(isinstance(each, SHOWING) for each in callbacks):
        call["callbacks"] = [*callbacks, ProgressBar()]
    steps = vae._asked_steps or block_steps(vae, call)
    # Keras' setting is what it counts by; ours stays when a callback compiles or predicts.
    with setting(vae, steps_per_execution=steps, _block_steps=steps):
        try:
            yield
        finally:
            vae._xla = vae._xla and vae.train_function is not None  # not if nothing was trained


def _hold_arrays(call, fits):
    """Replaces the arrays in a call by data sets, where that leaves nothing for Keras to do."""
    size, data = call["batch_size"], (call["x"], call["y"], call["sample_weight"])
    if not fits:
        if call["steps"] is None:
            _replace(call, as_dataset(*data, size, shuffle=False))
        return
    if call["validation_split"] and call["validation_data"] is None:
        cut = math.floor(_rows(data) * (1 - call["validation_split"]))
        if not 0 < cut < _rows(data):
            return  # Keras says what is wrong
        last = tree.map_structure(lambda a: None if a is None else a[cut:], data)
        data = tree.map_structure(lambda a: None if a is None else a[:cut], data)
        _replace(call, *data)
        call.update(validation_data=last, validation_split=0.0)
    validation = call["validation_data"]
    if isinstance(validation, tuple) and call["validation_steps"] is None:
        parts = keras.utils.unpack_x_y_sample_weight(validation)
        held = as_dataset(*parts, call["validation_batch_size"] or size, shuffle=False)
        call["validation_data"] = validation if held is None else held
    if call["shuffle"] in (True, False) and call["class_weight"] is call["steps_per_epoch"] is None:
        held = as_dataset(*data, size, call["shuffle"])
        call["shuffle"] = call["shuffle"] and held is None
        _replace(call, held)


def _replace(call, x, y=None, sample_weight=None):
    if x is not None:
        call.update(x=x, y=y, sample_weight=sample_weight)


def _planned_steps(call):
    """How many steps a call of ``fit`` will run; infinitely many if nobody knows."""
    steps = call["steps_per_epoch"] or _batches(call["x"], call["batch_size"])
    return (math.inf if steps is None else steps) * (call["epochs"] - call["initial_epoch"])


def as_dataset(x, y, sample_weight, batch_size, shuffle):
    """The arrays as a ``tf.data.Dataset`` that gives the batches Keras would, or None.

    Keras' own data set is tuned as it runs, by a thread that sleeps 10 ms, 20 ms, 40 ms, ...
    An epoch often cannot end before it wakes, and so lasts up to twice as long.
    """
    import tensorflow as tf

    rows, size = _rows((x, y, sample_weight)), batch_size or 32
    if not rows:
        return None  # left to Keras, which converts, or says what is wrong
    if y is x and sample_weight is None:
        y = None  # held once; the VAE takes x as the target
    x, y, sample_weight = tree.map_structure(_tensor, tree.lists_to_tuples((x, y, sample_weight)))
    data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def order(_):
        rows_in_order = tf.range(rows, dtype="int64")
        return tf.random.shuffle(rows_in_order) if shuffle else rows_in_order

    def epoch(rows_in_order):
        def batch(start):
            chosen = rows_in_order[start : start + size]
            return tree.map_structure(lambda tensor: tf.gather(tensor, chosen), data)

        return tf.data.Dataset.range(0, rows, size).map(batch)

    batches = tf.data.Dataset.range(1).map(order).flat_map(epoch).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False  # would copy the data
    steps = tf.data.experimental.assert_cardinality(math.ceil(rows / size))
    return batches.apply(steps).with_options(options)


def _rows(data):
    """How many rows NumPy arrays and tensors have; 0 for other data, and if they differ."""
    arrays = [part for part in tree.flatten(data) if part is not None]
    rows = {array.shape[0] if _is_plain(array) else 0 for array in arrays}
    return rows.pop() if len(rows) == 1 else 0


def _is_plain(array):
    dense = keras.ops.is_tensor(array) and hasattr(array, "__array__")  # no sparse one
    return (dense or isinstance(array, np.ndarray)) and len(array.shape) > 0


def function(vae, step, single, xla):
    """The function that Keras calls with an iterator: runs a block of steps.

    Args:
        vae: the model.
        step: its ``train_step`` or ``test_step``.
        single: what Keras has made of that, for batches of anything but tensors.
        xla: bool, whether XLA compiles the block.
    """
    import tensorflow as tf

    # Partials, not closures: TensorFlow warns of closures that many models trace anew.
    run = tf.function(functools.partial(_run_block, vae, step), jit_compile=xla)
    run_one = functools.partial(step)
    run_one = tf.function(run_one, reduce_retracing=True, jit_compile=vae.jit_compile)
    draw = tf.function(functools.partial(_draw_noise, vae))

    def run_steps(iterator):
        steps = vae._block_steps or vae.steps_per_execution
        batches = list(itertools.islice(iterator, steps))
        if not batches:
            raise StopIteration
        vae._missing_steps = steps - len(batches)
        for shapes, alike in itertools.groupby(batches, _shapes):
            alike = list(alike)
            if None in shapes or len(alike) == 1:
                for batch in alike:
                    logs = single(iter([batch])) if None in shapes else run_one(batch)
                continue
            count = tf.constant(len(alike))
            # XLA that fit has chosen changes no noise; XLA that was asked for is that of Keras.
            chosen = xla and not vae.jit_compile
            epsilon = draw(shapes[0][0], count, steps) if chosen else None
            # Filled up: blocks of one size are traced and compiled once.
            alike += alike[:1] * (steps - len(alike))
            block = tree.map_structure(lambda *tensors: tf.stack(tensors), *alike)
            logs = run(block, epsilon, count)
        return logs

    return run_steps


def _run_block(vae, step, block, epsilon, count):
    """Runs a step on each of the first ``count`` batches of a block; the logs after the last."""
    import tensorflow as tf

    def body(k):
        with setting(vae, _epsilon=None if epsilon is None else epsilon[k]):
            step(tree.map_structure(lambda tensor: tensor[k], block))
        return (k + 1,)

    tf.while_loop(lambda k: k < count, body, (0,), parallel_iterations=1)
    return vae.get_metrics_result()


def _draw_noise(vae, rows, count, steps):
    """The noise of ``count`` steps, drawn as they would, filled up to ``steps``.

    Drawn outside XLA, which has other numbers for a seed.
    """
    import tensorflow as tf

    dtype, seed = vae.sampling.compute_dtype, vae.sampling.seed_generator

    def draw(_):
        return keras.random.normal((rows, *vae.latent_shape), dtype=dtype, seed=seed)

    epsilon = tf.map_fn(draw, tf.range(count), fn_output_signature=dtype)
    padding = [[0, steps - count]] + [[0, 0]] * (len(epsilon.shape) - 1)
    return tf.pad(epsilon, padding)


def _shapes(batch):
    """The shapes in a batch, None for what cannot be stacked."""
    return [
        tuple(part.shape) if hasattr(part, "device") and hasattr(part, "shape") else None
        for part in tree.flatten(batch)
    ]


def _tensor(array):
    """Floats in Keras' float type, other numbers as they are."""
    if array is None:
        return None
    floatx, dtype = keras.config.floatx(), getattr(array.dtype, "as_numpy_dtype", array.dtype)
    floating = np.issubdtype(dtype, np.floating)
    if not floating or floatx == "bfloat16" or not isinstance(array, np.ndarray):
        return keras.ops.convert_to_tensor(array, dtype=floatx if floating else None)
    import tensorflow as tf

    # A copy at a multiple of 64 bytes is used as it stands; TensorFlow would make two of its own.
    size = array.size * np.dtype(floatx).itemsize
    memory = np.empty(size + 64, "uint8")
    begin = -memory.ctypes.data % 64
    copy = memory[begin : begin + size].view(floatx).reshape(array.shape)
    copy[...] = array
    return tf.experimental.dlpack.from_dlpack(copy.__dlpack__())


def of_keras(thing):
    """Whether an object or a function is one of Keras', or the name of one; also for None."""
    module = getattr(thing, "__module__", None) or ""
    return thing is None or isinstance(thing, str) or module.startswith("keras.")


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Keras' own, which would count the steps of the last block beyond the end of the epoch."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch - self.model._missing_steps, logs)

    def on_test_batch_end(self, batch, logs=None):
        super().on_test_batch_end(batch - self.model._missing_steps, logs)


def _watches_steps(callback):
    """Whether a callback has a method for single batches; Keras' own, if it uses it."""
    if isinstance(getattr(callback, "save_freq", None), int):
        return True
    if getattr(callback, "update_freq", "epoch") != "epoch":  # of TensorBoard
        return True
    bar = isinstance(callback, keras.callbacks.ProgbarLogger)
    if bar or (of_keras(callback) and not isinstance(callback, keras.callbacks.LambdaCallback)):
        return False
    base = keras.callbacks.Callback
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(base, name)
        for name in WATCHING
    )
