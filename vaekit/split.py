"""Cuts a copy of an autoencoder at its bottleneck: the first half of ``vaekit.to_vae``.

The cut is made at a tensor that every path from the input to the output crosses, so that nothing
of x reaches the output but through the code. Of those tensors the narrowest is the code.
"""

import math
import warnings
from typing import NamedTuple

import keras

from vaekit.flat_copy import flat_copy, inputs_like, is_graph, walk

# Layers that are a function of each number alone, and therefore an activation.
ELEMENTWISE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)
# Layers of which it is known that ``activation`` is the last thing they do.
ENDS_IN_ITS_ACTIVATION = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


class Halves(NamedTuple):
    """A copy of an autoencoder as two functional models; the original is not touched."""

    encoder: keras.Model  # x -> [features, code], the code before its activation
    decoder: keras.Model  # code after its activation -> x'
    activation: object  # the elementwise function between the two, or None
    code_layer: object  # the layer or operation that makes the code of the features


class Step(NamedTuple):
    """One call of one layer or operator, in the order of execution."""

    operation: object
    inputs: list  # the tensors that go in
    outputs: list  # the tensors that come out


class Graph(NamedTuple):
    """A flat model as the list of its steps."""

    input: object
    steps: list
    output: object
    sizes: dict  # id of a tensor -> its numbers an example


def split(autoencoder, bottleneck=None, x_shape=None):
    """The ``Halves`` of a copy of ``autoencoder``, cut at its bottleneck.

    Args:
        autoencoder: a built functional, Sequential or nested Keras model, a subclassed one
            with the attributes ``encoder`` and ``decoder``, or the pair ``(encoder, decoder)``.
        bottleneck: the name of the layer that gives the code, or None for the narrowest
            hidden tensor that every path from input to output crosses.
        x_shape: the shape of one example, which counts where the model leaves an axis free.

    Raises:
        TypeError: if it is not a Keras model or a pair of them.
        ValueError: if it is not built or cannot be cut, with the layers and the way out.
    """
    pair = _encoder_and_decoder(autoencoder)
    if pair:
        graph, decoder = _graph(flat_copy(pair[0]), x_shape), flat_copy(pair[1])
        code = graph.output
    else:
        graph = _graph(flat_copy(autoencoder), x_shape)
        code = _named(graph, bottleneck) if bottleneck else _narrowest(graph)
        decoder = keras.Model(code, graph.output)
    step = _maker(graph, code)
    activation = None
    if isinstance(step.operation, ELEMENTWISE) and step.inputs[0] is not graph.input:
        activation, code = step.operation, step.inputs[0]
        step = _maker(graph, code)
    layer = step.operation
    if activation is None and _ends_in_an_activation(layer):
        # A regularizer of the activity goes with the activation that it has seen so far.
        activation = keras.layers.Activation(
            layer.activation,
            activity_regularizer=layer.activity_regularizer,
            dtype=layer.dtype_policy,
        )
        layer.activation, layer.activity_regularizer = keras.activations.linear, None
    encoder = keras.Model(graph.input, [step.inputs[0], code])
    return Halves(encoder, decoder, activation, layer)


def _ends_in_an_activation(layer):
    """Whether a layer ends in an activation, or in a regularizer of it, that can be moved."""
    if type(layer) not in ENDS_IN_ITS_ACTIVATION:
        return False
    is_linear = layer.activation in (None, keras.activations.linear)
    return not is_linear or layer.activity_regularizer is not None


def _encoder_and_decoder(autoencoder):
    """The encoder and the decoder if they are given or held as attributes, else None."""
    if isinstance(autoencoder, (tuple, list)) and len(autoencoder) == 2:
        pair = tuple(autoencoder)
    elif not isinstance(autoencoder, keras.Model):
        raise TypeError(
            f"to_vae expects a Keras model or a pair (encoder, decoder), but got {autoencoder!r}. "
            "Load a .keras or .h5 file with keras.saving.load_model(path). A SavedModel folder has "
            "lost its layers: load it where it was made, and model.save('autoencoder.keras')."
        )
    elif is_graph(autoencoder):
        pair = None
    else:
        pair = tuple(getattr(autoencoder, name, None) for name in ("encoder", "decoder"))
    for model in (autoencoder,) if pair is None else pair:
        if not isinstance(model, keras.Model) or not (is_graph(model) or pair is None):
            raise ValueError(
                "to_vae cannot look into a subclassed model, but got "
                f"{getattr(autoencoder, 'name', autoencoder)!r}, whose encoder and decoder are not "
                "functional or Sequential models. Give such models: to_vae((encoder, decoder), x)."
            )
        if not model.built:
            raise ValueError(
                f"to_vae expects a trained model, but {model.name!r} is not built yet. Train it, "
                "or load its weights, first."
            )
        _check_one_tensor(model)
    return pair


def _check_one_tensor(model):
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"to_vae expects one input and one output, but {model.name!r} has "
            f"{len(model.inputs)} and {len(model.outputs)}. Join them: build a model of one "
            "keras.Input, slice from it what the autoencoder takes, call the autoencoder on the "
            "slices, and put its outputs together with keras.layers.Concatenate."
        )
    if model.inputs[0].dtype in ("string", "bool"):
        raise ValueError(
            f"to_vae expects an autoencoder of numbers, but {model.name!r} takes "
            f"{model.inputs[0].dtype}. Convert what follows its first layer (a TextVectorization, "
            "for example): a model from that layer's output on, with what it gives as x."
        )
    for layer in _all_layers(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"to_vae cannot convert the stateful layer {layer.name!r}: what it gives depends "
                "on the batch before. Build the same model with stateful=False, give it the "
                "weights, copy.set_weights(autoencoder.get_weights()), and convert that."
            )


def _all_layers(model):
    for layer in model.layers:
        yield layer
        if is_graph(layer):
            yield from _all_layers(layer)


def _graph(flat, x_shape):
    graph = _trace(flat, None)
    if x_shape is None or None not in tuple(graph.input.shape)[1:]:
        return graph
    # A second trace with every axis known tells how large the tensors are for these data.
    sized = _trace(flat, tuple(x_shape))
    sizes = zip(_tensors(graph), _tensors(sized), strict=True)
    return graph._replace(sizes={id(free): sized.sizes[id(known)] for free, known in sizes})


def _trace(flat, shape):
    steps = []

    def record(operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        read = keras.tree.flatten((args, kwargs))
        read = [tensor for tensor in read if isinstance(tensor, keras.KerasTensor)]
        steps.append(Step(operation, read, keras.tree.flatten(outputs)))
        return outputs

    inputs = inputs_like(flat, shape)
    (output,) = walk(flat, inputs, lambda operation: operation, record)
    graph = Graph(inputs[0], steps, output, {})
    graph.sizes.update({id(tensor): _size(tensor) for tensor in _tensors(graph)})
    return graph


def _tensors(graph):
    """The input and every tensor that a step makes, in the order of execution."""
    return [graph.input, *(tensor for step in graph.steps for tensor in step.outputs)]


def _size(tensor):
    """Numbers an example; an axis that is not known counts as endless."""
    shape = tuple(tensor.shape)[1:]
    return math.inf if None in shape else math.prod(shape)


def _maker(graph, tensor):
    """The step that makes a tensor."""
    return next(step for step in graph.steps if any(out is tensor for out in step.outputs))


def _widest_path(graph, *without):
    """The largest size that some path from input to output keeps all along; 0 if there is none.

    Paths through the tensors ``without`` do not count.
    """
    width = {id(graph.input): math.inf}
    for step in graph.steps:
        reach = max((width.get(id(tensor), 0) for tensor in step.inputs), default=0)
        for tensor in step.outputs:
            blocked = _is_among(tensor, without)
            width[id(tensor)] = 0 if blocked else min(reach, graph.sizes[id(tensor)])
    return width[id(graph.output)]


def _hidden(graph):
    """Floating-point tensors with weights before or in them, and weights after them."""
    weighted = [i for i, step in enumerate(graph.steps) if getattr(step.operation, "weights", None)]
    steps = graph.steps[weighted[0] : weighted[-1]] if weighted else []
    return [tensor for step in steps for tensor in step.outputs if "float" in tensor.dtype]


def _narrowest(graph):
    sizes, size_of_x = graph.sizes, graph.sizes[id(graph.input)]
    hidden = _hidden(graph)
    around = {id(tensor): _widest_path(graph, tensor) for tensor in hidden}
    cuts = [tensor for tensor in hidden if not around[id(tensor)]]
    best = min(cuts, key=lambda tensor: sizes[id(tensor)], default=None)
    limit = math.inf if best is None else sizes[id(best)]
    for tensor in hidden:
        narrow = sizes[id(tensor)] < limit and around[id(tensor)] >= min(limit, size_of_x)
        states = _used_outputs(graph, _maker(graph, tensor))
        if len(states) > 1:
            _check_states(graph, states, limit)
        elif narrow and _leads_around_the_code(graph, tensor, cuts, limit):
            raise ValueError(
                f"to_vae cannot cut at {_maker(graph, tensor).operation.name!r}: a skip connection "
                f"leads around it into {_meeting(graph, tensor).name!r}, and would carry x past "
                "the sampled code. Train the autoencoder without it, or name a layer that all "
                "paths cross with bottleneck=...."
            )
    if best is None:
        raise ValueError(
            "to_vae found no hidden tensor that every path from input to output crosses, in the "
            f"layers {[step.operation.name for step in graph.steps]}. Give the halves: "
            "to_vae((encoder, decoder), x)."
        )
    if limit >= size_of_x:
        warnings.warn(
            f"The narrowest hidden layer, {_maker(graph, best).operation.name!r}, has {limit} "
            f"elements, the input {size_of_x}: the code compresses nothing.",
            stacklevel=5,
        )
    return best


def _used_outputs(graph, step):
    read = [tensor for each in graph.steps for tensor in each.inputs]
    return [tensor for tensor in step.outputs if _is_among(tensor, read)]


def _check_states(graph, states, limit):
    """Raises if the outputs of one layer, as the two states of an LSTM, are the code together."""
    together = sum(graph.sizes[id(state)] for state in states)
    if together < limit and not _widest_path(graph, *states):
        raise ValueError(
            f"to_vae needs the code in one tensor, but {_maker(graph, states[0]).operation.name!r} "
            f"hands it on as {len(states)}. Join them, code = keras.layers.Concatenate()([h, c]), "
            "and slice it again for the decoder, as in code[:, :n] and code[:, n:]; the weights of "
            "the autoencoder fit such a model as they are."
        )


def _leads_around_the_code(graph, tensor, cuts, limit):
    """Whether the paths around ``tensor`` are a skip connection, and not a gate or a block.

    A gate multiplies. A block with a bottleneck of its own, as of a residual network, lies
    between two tensors that all paths cross and that are wider than the code.
    """
    if type(_meeting(graph, tensor)).__name__ == "Multiply":
        return False
    order = {id(each): position for position, each in enumerate(_tensors(graph))}
    before = [cut for cut in cuts if order[id(cut)] < order[id(tensor)]]
    after = [cut for cut in cuts if order[id(cut)] > order[id(tensor)]]
    ends = [*before[-1:], *after[:1]]
    return not cuts or any(graph.sizes[id(end)] == limit for end in ends)


def _meeting(graph, tensor):
    """The operation in which the paths through ``tensor`` and around it meet."""
    reached = {id(tensor)}
    for step in graph.steps:
        through = [id(each) in reached for each in step.inputs]
        if any(through) and not all(through):
            return step.operation
        if any(through):
            reached.update(map(id, step.outputs))
    return graph.steps[-1].operation


def _named(graph, name):
    cuts = [tensor for tensor in _hidden(graph) if not _widest_path(graph, tensor)]
    steps = [step for step in graph.steps if step.operation.name == name]
    usable = [tensor for step in steps for tensor in step.outputs if _is_among(tensor, cuts)]
    if not usable:
        problem = "not crossed by every path from input to output" if steps else "not there"
        raise ValueError(
            f"to_vae cannot cut at the layer {name!r}: it is {problem}. Choose one of "
            f"{[_maker(graph, tensor).operation.name for tensor in cuts]} as bottleneck."
        )
    return usable[-1]


def _is_among(tensor, tensors):
    return any(tensor is other for other in tensors)
