"""Training in blocks: many steps in one call, for any Keras model on TensorFlow and a CPU.

A step of a small network takes less time than Keras needs to call it. Here one call runs a block
of up to 32 steps, and XLA compiles the block where that pays. This file knows nothing of
autoencoders and stands alone, copy it as it is:

    class MyModel(BlockTraining, keras.Model):   # also for Sequential and functional models
        ...
"""

import functools
import inspect
import math
import types

import keras
import numpy as np
from keras import layers, tree

STEPS_IN_A_BLOCK = 32  # More of them gain nothing measurable.
# XLA needs about a second to compile a block, and then saves about a millisecond a step.
STEPS_THAT_PAY_FOR_XLA = 1_000


class BlockTraining:
    """For the bases of a Keras model: ``fit`` runs many steps in one call, where nothing can tell.

    What one step does is in the model's own ``train_step``; for the VAE, in ``models.py``.

    After ``fit``, ``model.trained_in`` tells which way it took, and why. A ``train_step`` of your
    own has to return ``self.get_metrics_result()``, as that of Keras does.
    """

    trained_in = None
    # XLA makes networks of these layers faster. It makes convolutions on a CPU slower, and was
    # not measured on other layers. A subclass may add its own.
    layers_worth_compiling = (
        layers.InputLayer,
        layers.Dense,
        layers.Flatten,
        layers.Reshape,
        layers.Concatenate,
        layers.Add,
        layers.Activation,
        layers.ReLU,
        layers.LeakyReLU,
        layers.ELU,
        layers.Rescaling,
        layers.BatchNormalization,
        layers.LayerNormalization,
    )

    def compile(self, *args, jit_compile="auto", **kwargs):
        super().compile(*args, jit_compile=jit_compile, **kwargs)
        self._xla_is_left_to_fit = jit_compile == "auto"
        # In a namespace, since TensorFlow exports functions that are attributes of a model.
        self._block_functions = types.SimpleNamespace(with_xla=None, without_xla=None)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and self._xla_is_left_to_fit:
            config["jit_compile"] = "auto"  # Keras would write down what it made of "auto" here.
        return config

    def compile_from_config(self, config):  # Keras asks for it where compile is overridden.
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(self, *args, **kwargs):
        """As ``keras.Model.fit``, and faster in the plain case, on TensorFlow and a CPU.

        * NumPy arrays without weights, on one CPU: blocks of up to 32 steps a call.
        * The same with a callback of yours that has a method for batches, such as
          ``on_train_batch_end``: blocks of one step.
        * Anything else: ``keras.Model.fit``; the list is in ``why_single_steps``. There Keras' own
          ``jit_compile="auto"`` decides about XLA, whatever the layers.

        ``model.trained_in`` tells which way it was, and why. XLA compiles the blocks if all layers
        are in ``layers_worth_compiling`` and compute in float32, and the training has 1,000 steps
        or more; the same seed gives other noise then. Blocks shuffle by the seed of
        ``keras.utils.set_random_seed`` and the number of steps taken so far: every epoch has
        another order, and a training that was interrupted goes on in the same.
        """
        call = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs)
        call.apply_defaults()
        _, *asked = call.arguments.items()  # without ``self``
        reason = why_single_steps(self, **dict(asked))
        if reason is None:
            return self._fit_in_blocks(**dict(asked))
        self.trained_in = f"single steps: {reason}"
        return super().fit(*args, **kwargs)

    def _fit_in_blocks(self, x, y, batch_size, epochs, verbose, callbacks, shuffle, **others):
        """The loop of ``keras.Model.fit``, with a block of steps in the place of each step."""
        batch_size = batch_size or 32
        data, validation = split_validation(x, y, batch_size, **others)
        rows = tree.flatten(data)[0].shape[0]
        whole_batches, steps = rows // batch_size, math.ceil(rows / batch_size)
        build_what_is_not_built(self, data)
        with_xla = self._can_and_should_compile(data, batch_size, steps * epochs)
        watching = [each for each in tree.flatten(callbacks or []) if watches_batches(each)]
        steps_in_a_block = 1 if watching else STEPS_IN_A_BLOCK
        self.trained_in = "blocks of one step" if watching else "blocks"
        self.trained_in += ", compiled by XLA" if with_xla else ""
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
            model=self,
        )
        self.stop_training = False
        steps_before = int(self.optimizer.iterations)
        callbacks.on_train_begin()
        # BackupAndRestore may have brought back a later state: its epochs are not trained again.
        restored_epochs = (int(self.optimizer.iterations) - steps_before) // steps
        logs = None
        for epoch in range(others["initial_epoch"] + restored_epochs, epochs):
            self.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            order = order_of_rows(rows, int(self.optimizer.iterations), shuffle)
            batches = {xla: batches_of(order, batch_size, not xla) for xla in {with_xla, False}}
            first = 0
            while first < steps and not self.stop_training:
                # XLA compiles for one shape: a ragged last batch is a block of its own there.
                compiled = with_xla and first < whole_batches
                last = min(first + steps_in_a_block, whole_batches if compiled else steps)
                callbacks.on_train_batch_begin(first)
                run_steps = self._block_function(compiled)
                logs = run_steps(data, batches[compiled], np.int32(first), np.int32(last))
                callbacks.on_train_batch_end(last - 1, logs)
                first = last
            logs = dict(self.get_metrics_result())
            if validation is not None:
                found = super().evaluate(validation, callbacks=callbacks, return_dict=True)
                logs.update({f"val_{name}": value for name, value in found.items()})
            callbacks.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        self.optimizer.finalize_variable_values(self.trainable_variables)
        callbacks.on_train_end(logs)
        return self.history

    def _block_function(self, with_xla):
        """``run_block`` of this model as a ``tf.function``, the same until the next compile."""
        import tensorflow as tf

        functions, name = self._block_functions, "with_xla" if with_xla else "without_xla"
        if getattr(functions, name) is None:
            # A partial and not a closure: TensorFlow warns of closures that it traces often.
            block = functools.partial(run_block, self)
            setattr(functions, name, tf.function(block, jit_compile=with_xla))
        return getattr(functions, name)

    def _can_and_should_compile(self, data, batch_size, steps):
        """Whether XLA is worth its time in that many steps, and can compile the network at all."""
        import tensorflow as tf

        listed = all(
            type(layer) in self.layers_worth_compiling and layer.compute_dtype == "float32"
            for layer in layers_within(self)
        )
        if not listed or steps < STEPS_THAT_PAY_FOR_XLA:
            return False
        rows = tree.flatten(data)[0].shape[0]
        no_step = np.int32(0)
        batches = batches_of(np.zeros(rows, "int32"), batch_size, ragged=False)
        try:
            # Compiles, and trains nothing.
            self._block_function(True)(data, batches, no_step, no_step)
        except tf.errors.OpError:  # in a function of the user's own, for example
            return False
        return True


def run_block(model, data, batches, first, last):
    """Trains on ``batches[first:last]``, and returns the logs after the last one.

    Args:
        model: a compiled Keras model.
        data: tuple of tensors ``(rows, ...)``: ``(x,)`` or ``(x, y)``.
        batches: tensor of `batches_of`, the rows of each batch.
        first: int tensor, the first step of this block.
        last: int tensor, the step after its last one.
    """
    import tensorflow as tf

    def one_step(step):
        model.train_step(tree.map_structure(lambda part: tf.gather(part, batches[step]), data))
        return (step + 1,)

    tf.while_loop(lambda step: step < last, one_step, (first,), parallel_iterations=1)
    return model.get_metrics_result()


def order_of_rows(rows, steps_taken, shuffle):
    """The row numbers in the order of an epoch, int32: a function of the seed and the steps."""
    import tensorflow as tf

    if not shuffle:
        return np.arange(rows, dtype="int32")
    has_seed = tf.compat.v1.get_seed(None)[0] is not None
    seed = tf.compat.v1.get_seed(steps_taken) if has_seed else None
    return np.random.default_rng(seed).permutation(rows).astype("int32")


def batches_of(order, batch_size, ragged):
    """The row numbers of each batch, int32 ``(steps, batch_size)``.

    A ragged tensor ends with a shorter batch where one is left, and is traced once for all lengths.
    The other holds the whole batches alone, in the fixed shape that XLA asks for.
    """
    import tensorflow as tf

    whole = len(order) // batch_size * batch_size
    if not ragged:
        return tf.constant(order[:whole].reshape(-1, batch_size))
    lengths = np.minimum(batch_size, len(order) - np.arange(0, len(order), batch_size))
    return tf.RaggedTensor.from_row_lengths(order, lengths)


def build_what_is_not_built(model, data):
    """Builds the optimizer, metrics and whatever Keras builds on the first batch."""
    present = [(variable, variable.value) for variable in model.variables]
    with keras.StatelessScope(state_mapping=present):  # No variable changes in here.
        first_row = tree.map_structure(lambda part: part[:1], data)
        if not model.built:
            model(first_row[0])
        model.test_step(first_row)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


# ---- which way ---------------------------------------------------------------------------------


def why_single_steps(model, x, y, callbacks, validation_data, shuffle, **others):
    """The first reason to leave a training to ``keras.Model.fit``, or None."""
    if keras.config.backend() != "tensorflow":
        return "blocks are for the TensorFlow backend"
    if not model.compiled:
        return "the model is not compiled"
    if model.run_eagerly or model.steps_per_execution != 1 or not model._xla_is_left_to_fit:
        return "run_eagerly, steps_per_execution or jit_compile was set in compile"
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return "its optimizer may leave out steps"
    if not is_on_one_cpu(model):
        return "blocks are for one CPU"
    if overrides_train_step(model):
        return "train_step is overridden"
    validation = keras.utils.unpack_x_y_sample_weight(validation_data)
    if not are_arrays_of_one_length(x, y) or not are_arrays_of_one_length(*validation):
        return "the data are not NumPy arrays of one length"
    if keras.config.max_epochs() or keras.config.max_steps_per_epoch():
        return "keras.config limits epochs or steps"
    if shuffle not in (True, False) or others["validation_freq"] != 1:
        return "shuffle is not True or False, or validation_freq is not 1"
    for name in ("class_weight", "sample_weight", "steps_per_epoch", "validation_steps"):
        if others[name] is not None:
            return f"{name} was given"
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return "callbacks came as a CallbackList"
    return None


def is_on_one_cpu(model):
    """Whether the model trains on the CPU of this machine, and not on several devices."""
    import tensorflow as tf

    several = model.distribute_strategy.num_replicas_in_sync > 1 or tf.distribute.has_strategy()
    return not several and not tf.config.list_physical_devices("GPU")


def overrides_train_step(model):
    """Whether ``train_step`` was overridden below the class that has BlockTraining as a base."""
    owner = next(each for each in type(model).__mro__ if "train_step" in vars(each))
    return issubclass(owner, BlockTraining) and BlockTraining not in owner.__bases__


def watches_batches(callback):
    """Whether a callback wants to see each batch: it has a method for that.

    Keras' own callbacks count only if their ``save_freq`` or ``update_freq`` is not "epoch". The
    others, ``TerminateOnNaN`` too, are called once a block.
    """
    hooks = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
    usual = keras.callbacks.Callback
    is_of_keras = type(callback).__module__.startswith("keras.")
    if is_of_keras and not isinstance(callback, keras.callbacks.LambdaCallback):
        frequencies = [getattr(callback, name, "epoch") for name in ("save_freq", "update_freq")]
        return frequencies != ["epoch", "epoch"]
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(usual, hook)
        for hook in hooks
    )


def layers_within(model):
    """The layers of a model; those of Keras' own models within it stand in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model) and type(layer).__module__.startswith("keras."):
            yield from layers_within(layer)
        else:
            yield layer


# ---- the data ----------------------------------------------------------------------------------


def are_arrays_of_one_length(*data):
    """Whether the data, but for None, are NumPy arrays of one number of rows above 0."""
    arrays = [array for array in tree.flatten(data) if array is not None]
    if not all(isinstance(array, np.ndarray) and array.ndim > 0 for array in arrays):
        return False
    return len({len(array) for array in arrays}) < 2 and all(len(array) > 0 for array in arrays)


def split_validation(x, y, batch_size, validation_data, validation_split, **others):
    """``(data, validation)``: tensors to train on, and a data set to evaluate on, or None."""
    data = (x,) if y is None else (x, y)
    if validation_data is not None:
        parts = keras.utils.unpack_x_y_sample_weight(validation_data)
        validation_data = tuple(part for part in parts if part is not None)
    elif validation_split:
        cut = math.floor(len(tree.flatten(x)[0]) * (1 - validation_split))
        validation_data = tree.map_structure(lambda array: array[cut:], data)
        data = tree.map_structure(lambda array: array[:cut], data)
    data = tree.map_structure(as_tensor, tree.lists_to_tuples(data))
    if validation_data is None:
        return data, None
    validation_data = tree.map_structure(as_tensor, tree.lists_to_tuples(validation_data))
    batches = as_batches(validation_data, others["validation_batch_size"] or batch_size)
    return data, batches


def as_tensor(array):
    """The array as a tensor: floating-point numbers in Keras' float type, others as they are."""
    is_float = np.issubdtype(array.dtype, np.floating)
    return keras.ops.convert_to_tensor(array, dtype=keras.config.floatx() if is_float else None)


def as_batches(tensors, batch_size):
    """A ``tf.data.Dataset`` of the tensors in their order, which nothing tunes while it runs.

    The thread that tunes a data set sleeps now and then, and an epoch has to wait for it.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices(tensors).batch(batch_size).with_options(options)
