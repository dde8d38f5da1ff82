"""Copies a trained model into one flat graph with weights of its own; the original is not touched.

Functions (activations, regularizers) are used as they are: they hold no weights, and sending them
through a configuration would lose those that nobody registered. How a model was compiled is not
copied.
"""

import inspect
import warnings

import keras


def flat_copy(model):
    """A functional copy of ``model``, uncompiled, in which nested models are inlined.

    Args:
        model: a built functional or Sequential Keras model with one input.

    Raises:
        ValueError: if a layer cannot be copied; it is named, with the way out.
    """
    copies = _Copies()
    flat = copies.copy_graph(model)
    copies.copy_weights()
    return flat


def is_graph(layer):
    """Whether a layer is a model whose layers are known: a functional or a Sequential one."""
    functional = isinstance(layer, keras.Model) and hasattr(layer, "operations")
    return functional or isinstance(layer, keras.Sequential)


def inputs_like(model, shape=None):
    """New inputs as those of ``model``, with any batch size; ``shape`` fixes free axes."""
    return [
        keras.Input(shape or tuple(tensor.shape)[1:], dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    ]


def walk(model, inputs, replace, call):
    """Calls ``call(replace(operation), ...)`` for each node of a graph; returns its outputs.

    The nodes are those that Keras itself runs: layers, operators, slices, masks.
    """
    # The view has the layers of the model, but is not compiled: clone_model would copy that too.
    view = keras.Model(model.inputs, model.outputs)
    return keras.models.clone_model(
        view, input_tensors=inputs, clone_function=replace, call_function=call
    ).outputs


def _alone(tensors):
    """The tensor of a list of one; longer lists as they are."""
    return tensors[0] if len(tensors) == 1 else tensors


class _Copies:
    """The copies of all operations of one model."""

    def __init__(self):
        self.by_original = {}  # id of an operation -> (the operation, its copy)
        self.names = set()

    def copy_graph(self, model):
        inputs = inputs_like(model)
        outputs = walk(model, inputs, self.copy, self.call)
        return keras.Model(_alone(inputs), _alone(outputs))

    def copy(self, operation):
        if id(operation) not in self.by_original:
            made = self.copy_graph(operation) if is_graph(operation) else self.copy_one(operation)
            self.by_original[id(operation)] = operation, made
        return self.by_original[id(operation)][1]

    def call(self, operation, *args, **kwargs):
        if not is_graph(operation):
            return operation(*args, **kwargs)
        # The model's own ``call`` runs its layers one by one on the symbolic tensors.
        tensors = keras.tree.flatten((args, kwargs))
        tensors = [tensor for tensor in tensors if isinstance(tensor, keras.KerasTensor)]
        return operation.call(_alone(tensors[: len(operation.inputs)]))

    def copy_one(self, operation):
        name = operation.name
        while name in self.names:  # nested models may use one name, a flat one may not
            name += "_again"
        self.names.add(name)
        return copy_operation(operation, name)

    def copy_weights(self):
        owners = {}
        for original, made in self.by_original.values():
            if is_graph(original) or not isinstance(original, keras.Layer):
                continue
            if made is not original:
                _copy_weights(original, made)
            for variable in original.weights:
                owners.setdefault(id(variable), []).append(original.name)
        tied = sorted({tuple(names) for names in owners.values() if len(names) > 1})
        if tied:
            warnings.warn(
                f"The layers {' and '.join(map(repr, tied[0]))} share weights. The VAE holds a "
                "copy for each of them, which training may move apart.",
                stacklevel=6,
            )


def copy_operation(operation, name):
    """A copy of a layer or of an operator, without weights yet."""
    if isinstance(operation, keras.layers.Lambda):
        return operation  # it has no weights, and its function cannot be rebuilt from a file
    failures = []
    for live_objects in (_functions_and_layers, _functions, _nothing):
        try:
            config = {**operation.get_config(), "name": name}
            config.update({key: live for key, live in live_objects(operation) if key in config})
            with keras.saving.custom_object_scope(_own_names(operation)):
                return type(operation).from_config(config)
        except Exception as failure:  # whatever the code of a user's class raises
            failures.append(failure)
    if not getattr(operation, "variables", ()):
        return operation  # without weights nothing can be trained by mistake
    raise _cannot_copy(operation, failures[-1])


def _cannot_copy(layer, failure):
    return ValueError(
        f"to_vae cannot copy the layer {layer.name!r} of class {type(layer).__name__}: "
        f"{str(failure).strip().splitlines()[0] if str(failure).strip() else failure!r} "
        f"Give {type(layer).__name__} a get_config that returns every argument of its __init__; "
        "autoencoder.save needs one too."
    )


def _functions(operation):
    """What a layer holds under the names of its arguments and can be used as it is."""
    for key, value in _arguments(operation):
        if callable(value) and not isinstance(value, keras.Layer):
            yield key, value


def _functions_and_layers(operation):
    """As ``_functions``, with built copies of the layers that a user's own layer holds."""
    yield from _functions(operation)
    if _is_of_keras(type(operation)):
        return
    for key, value in _arguments(operation):
        if isinstance(value, keras.Layer):
            inner = copy_operation(value, value.name)
            if value.built and value.get_build_config():
                inner.build_from_config(value.get_build_config())
            yield key, inner


def _nothing(operation):
    return ()


def _arguments(operation):
    for key in operation.get_config():
        if key not in ("name", "dtype", "trainable"):
            yield key, getattr(operation, key, None)


def _own_names(layer):
    """The user's functions and classes in a layer, by the names that a configuration uses."""
    found = {}
    for holder in _with_inner_layers(layer):
        for value in keras.tree.flatten(list(vars(holder).values())):
            for item in (value, type(value)):
                named = inspect.isfunction(item) or inspect.isclass(item)
                if named and not _is_of_keras(item) and item.__module__ != "builtins":
                    found[item.__name__] = item
    return found


def _is_of_keras(item):
    return item.__module__.split(".")[0] in ("keras", "tensorflow", "jax", "torch", "numpy")


def _copy_weights(original, made):
    try:
        made.set_weights(original.get_weights())
    except Exception as failure:  # whatever the code of a user's class raises
        raise _cannot_copy(original, failure) from failure
    for layer in _with_inner_layers(made):
        if hasattr(layer, "finalize_state"):  # as of Normalization: constants made of its weights
            layer.finalize_state()


def _with_inner_layers(layer):
    """A layer and the layers that it holds as attributes, such as that of a TimeDistributed."""
    layers = [layer]
    for holder in layers:  # the list grows while it is walked
        for value in keras.tree.flatten(list(vars(holder).values())):
            if isinstance(value, keras.Layer) and not any(value is known for known in layers):
                layers.append(value)
    return layers
