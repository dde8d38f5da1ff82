"""Cuts a copy of an autoencoder at its bottleneck: the first half of ``vaekit.to_vae``."""

import math
import warnings
from typing import NamedTuple

import keras

ELEMENTWISE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
)


class Halves(NamedTuple):
    """A copy of an autoencoder as two functional models; the original is not touched."""

    encoder: keras.Model  # x -> [features, code], the code before its activation
    decoder: keras.Model  # code after its activation -> x'
    activation: object  # the elementwise function between the two, or None
    head: object  # the layer that makes the code of the features


class Step(NamedTuple):
    """One call of one layer, in the order of execution."""

    layer: object
    inputs: list  # the KerasTensors that go in
    output: object  # the KerasTensor that comes out


def split(autoencoder, bottleneck=None):
    """The ``Halves`` of a copy of ``autoencoder``, cut at its bottleneck.

    Args:
        autoencoder: a built functional, Sequential or nested Keras model, a subclassed one
            with the attributes ``encoder`` and ``decoder``, or the pair ``(encoder, decoder)``.
        bottleneck: the name of the layer that gives the code, or None for the narrowest
            hidden tensor that every path from input to output crosses.

    Raises:
        TypeError: if it is not a Keras model or a pair of them.
        ValueError: if it is not built or cannot be cut, with the layers and the way out.
    """
    pair = _encoder_and_decoder(autoencoder)
    _check_sizes(*(pair or (autoencoder, autoencoder)))
    if pair:
        encoder, decoder = (flat_copy(model) for model in pair)
        inputs, steps = _trace(encoder)
        at = len(steps) - 1
    else:
        inputs, steps = _trace(flat_copy(autoencoder))
        at = (
            _position_of(inputs, steps, bottleneck)
            if bottleneck
            else _position_of_narrowest(inputs, steps)
        )
        decoder = keras.Model(steps[at].output, steps[-1].output)
    activation = None
    if isinstance(steps[at].layer, ELEMENTWISE) and len(steps) > 1:
        activation, at = steps[at].layer, at - 1
    layer = steps[at].layer
    own = getattr(layer, "activation", keras.activations.linear)
    movable = not isinstance(layer, keras.layers.RNN) and own is not keras.activations.linear
    if activation is None and movable:  # a cell's activation is inside the recurrence
        activation, layer.activation = keras.layers.Activation(own), keras.activations.linear
    encoder = keras.Model(inputs, [steps[at].inputs[0], steps[at].output])
    return Halves(encoder, decoder, activation, layer)


def flat_copy(model, used_names=None):
    """A functional copy with weights of its own, in which nested models are inlined."""
    copies, originals = {}, {}
    # Two nested models may use one name for their layers; a flat model may not.
    used_names = set() if used_names is None else used_names

    def copy(layer):
        if id(layer) in copies:
            return copies[id(layer)]
        if _is_graph_model(layer):
            made = flat_copy(layer, used_names)
        else:
            config = layer.get_config()
            if config["name"] in used_names:
                config["name"] = f"{model.name}_{config['name']}"
            used_names.add(config["name"])
            made = type(layer).from_config(config)
            originals[id(layer)] = layer
        copies[id(layer)] = made
        return made

    def call(layer, *args, **kwargs):
        # A model's own ``call`` runs its layers one by one on the symbolic tensors.
        return layer.call(*args) if _is_graph_model(layer) else layer(*args, **kwargs)

    inputs = _input_like(model)
    if isinstance(model, keras.Sequential):
        outputs = inputs
        for layer in model.layers:
            outputs = call(copy(layer), outputs)
        flat = keras.Model(inputs, outputs)
    else:
        flat = keras.models.clone_model(
            model, input_tensors=inputs, clone_function=copy, call_function=call
        )
    for key, original in originals.items():
        copies[key].set_weights(original.get_weights())
    return flat


def _is_graph_model(layer):
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def _input_like(model):
    tensor = model.inputs[0]
    return keras.Input(tuple(tensor.shape)[1:], dtype=tensor.dtype, name=tensor.name)


def _trace(flat):
    """The input of a flat model and its ``Step``s, on fresh tensors."""
    steps = []

    def record(layer, *args, **kwargs):
        output = layer(*args, **kwargs)
        read = [t for t in keras.tree.flatten((args, kwargs)) if isinstance(t, keras.KerasTensor)]
        steps.append(Step(layer, read, output))
        return output

    inputs = _input_like(flat)
    keras.models.clone_model(
        flat, input_tensors=inputs, clone_function=lambda layer: layer, call_function=record
    )
    return inputs, steps


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
    elif _is_graph_model(autoencoder):
        pair = None
    else:
        pair = tuple(getattr(autoencoder, name, None) for name in ("encoder", "decoder"))
    for model in (autoencoder,) if pair is None else pair:
        if not isinstance(model, keras.Model) or not (_is_graph_model(model) or pair is None):
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
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(
                f"to_vae expects one input and one output, but {model.name!r} has "
                f"{len(model.inputs)} and {len(model.outputs)}. Give the part that reconstructs "
                "as a pair: to_vae((encoder, decoder), x)."
            )
    return pair


def _check_sizes(encoder, decoder):
    expected, given = tuple(encoder.inputs[0].shape)[1:], tuple(decoder.outputs[0].shape)[1:]
    if expected != given and None not in (*expected, *given):
        raise ValueError(
            f"to_vae expects an output of the input's size {expected}, but the last layer, "
            f"{decoder.layers[-1].name!r}, gives {given}. Crop or resize what it gives, or pad x."
        )


def _size(tensor):
    """Elements an example; unknown (a free time axis) counts as endless."""
    shape = getattr(tensor, "shape", (None, None))[1:]
    return math.inf if None in shape else math.prod(shape)


def _is_crossed_by_all_paths(inputs, steps, at):
    """Whether every path from the input to the output crosses the output of ``steps[at]``."""
    before = {id(inputs)}
    for step in steps[:at]:
        before.update(map(id, keras.tree.flatten(step.output)))
    return not any(id(tensor) in before for step in steps[at + 1 :] for tensor in step.inputs)


def _hidden_positions(steps):
    """Steps with weights before or in them, and weights after them."""
    weighted = [i for i, step in enumerate(steps) if getattr(step.layer, "weights", None)]
    return range(weighted[0], weighted[-1]) if weighted else range(0)


def _position_of_narrowest(inputs, steps):
    hidden = _hidden_positions(steps)
    cuts = [i for i in hidden if _is_crossed_by_all_paths(inputs, steps, i)]
    best = min(cuts, key=lambda i: _size(steps[i].output), default=None)
    limit = math.inf if best is None else _size(steps[best].output)
    for i in hidden:
        if _size(steps[i].output) < limit and _widest_around(inputs, steps, i) >= min(
            limit, _size(inputs)
        ):
            meet = next(s.layer.name for s in steps[i + 1 :] if len(s.inputs) > 1)
            raise ValueError(
                f"to_vae cannot cut at {steps[i].layer.name!r}: a skip connection leads around it "
                f"into {meet!r}, and would carry x past the sampled code. Train the autoencoder "
                "without it, or name a layer that all paths cross with bottleneck=...."
            )
    if best is None:
        raise ValueError(
            "to_vae found no hidden tensor that every path from input to output crosses, in the "
            f"layers {[step.layer.name for step in steps]}. Give the halves: "
            "to_vae((encoder, decoder), x)."
        )
    if limit >= _size(inputs):
        warnings.warn(
            f"The narrowest hidden layer, {steps[best].layer.name!r}, has {limit} elements, the "
            f"input {_size(inputs)}: the code compresses nothing.",
            stacklevel=4,
        )
    return best


def _widest_around(inputs, steps, at):
    """The largest size that some path from input to output keeps all along without ``at``."""
    width = {id(inputs): math.inf}
    for i, step in enumerate(steps):
        reach = max((width.get(id(tensor), 0) for tensor in step.inputs), default=0)
        for tensor in keras.tree.flatten(step.output):
            width[id(tensor)] = 0 if i == at else min(reach, _size(tensor))
    return width[id(steps[-1].output)]


def _position_of(inputs, steps, name):
    found = [i for i, step in enumerate(steps) if step.layer.name == name]
    usable = [i for i in _hidden_positions(steps) if _is_crossed_by_all_paths(inputs, steps, i)]
    if not found or found[-1] not in usable:
        problem = "not crossed by every path from input to output" if found else "not there"
        raise ValueError(
            f"to_vae cannot cut at the layer {name!r}: it is {problem}. Choose one of "
            f"{[steps[i].layer.name for i in usable]} as bottleneck."
        )
    return found[-1]
