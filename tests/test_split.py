"""Where an autoencoder is cut, and what cannot be cut."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.autoencoders import KINDS, Subclassed
from vaekit.flat_copy import flat_copy
from vaekit.split import split

CODE_SHAPES = {
    "sequential": (None, 3),
    "nested": (None, 3),
    "feature_map": (None, 2, 2, 2),
    "recurrent": (None, 4),
    "over_time": (None, 4, 2),
    "pooled": (None, 4),
    "normalized": (None, 3),
    "branched": (None, 5),
    "linear": (None, 3),
}


def with_skip():
    x = keras.Input((12,))
    before = layers.Dense(8, activation="relu", name="before")(x)
    after = layers.Dense(8, name="after")(layers.Dense(3, name="narrow")(before))
    return keras.Model(x, layers.Dense(12)(layers.Add(name="meeting")([before, after])))


@pytest.mark.parametrize("kind", CODE_SHAPES)
def test_narrowest_hidden_tensor_is_the_code(kind):
    model, _ = KINDS[kind]()
    assert split(model).encoder.outputs[1].shape == CODE_SHAPES[kind]


@pytest.mark.parametrize("kind", ["sequential", "nested", "over_time", "feature_map"])
def test_halves_and_activation_make_the_whole(kind):
    model, shape = KINDS[kind]()
    x = np.random.default_rng(0).random((5, *shape)).astype("float32")
    halves = split(model)
    code = halves.encoder.predict(x, verbose=0)[1]
    code = code if halves.activation is None else halves.activation(code)
    assert halves.decoder.predict(code, verbose=0) == pytest.approx(
        model.predict(x, verbose=0), abs=1e-6
    )


def test_code_is_taken_before_its_activation():
    halves = split(KINDS["nested"]()[0])
    assert halves.activation.activation is keras.activations.tanh
    assert halves.code_layer.activation is keras.activations.linear


def test_flat_copy_has_weights_of_its_own():
    model, _ = KINDS["nested"]()
    copy = flat_copy(model)
    copy.set_weights([0 * weight for weight in copy.get_weights()])
    assert any(weight.any() for weight in model.get_weights())
    assert not any(hasattr(layer, "layers") for layer in copy.layers)


def test_bottleneck_can_be_named():
    model, _ = KINDS["sequential"]()
    assert split(model, model.layers[0].name).encoder.outputs[1].shape == (None, 8)


def test_unknown_bottleneck_lists_the_layers():
    with pytest.raises(ValueError, match=r"layer 'x': it is not there\. Choose one of .*'code'"):
        split(KINDS["sequential"]()[0], "x")


def test_named_layer_off_the_common_path_is_refused():
    with pytest.raises(ValueError, match=r"'narrow': it is not crossed .*\['before', 'meeting'\]"):
        split(with_skip(), "narrow")


def test_skip_connection_is_refused_with_its_layers():
    with pytest.raises(ValueError, match=r"at 'narrow': a skip connection .* into 'meeting'"):
        split(with_skip())


def test_skip_from_the_input_is_refused():
    x = keras.Input((12,))
    out = layers.Dense(12)(layers.Dense(3, name="narrow")(x))
    with pytest.raises(ValueError, match=r"at 'narrow': a skip connection .* into 'meeting'"):
        split(keras.Model(x, layers.Dense(12)(layers.Add(name="meeting")([x, out]))))


def test_wide_code_warns():
    x = keras.Input((12,))
    model = keras.Model(x, layers.Dense(12)(layers.Dense(40, name="wide")(x)))
    with pytest.warns(UserWarning, match=r"'wide', has 40 elements, the input 12"):
        split(model)


def test_nothing_hidden_is_refused():
    x = keras.Input((12,))
    with pytest.raises(ValueError, match="no hidden tensor that every path"):
        split(keras.Model(x, layers.Dense(12)(x)))


def test_several_inputs_are_refused():
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], layers.Dense(3)(layers.Add()([a, b])))
    with pytest.raises(ValueError, match=r"one input and one output.* has 2 and 1"):
        split(model)


def test_unbuilt_model_is_refused():
    with pytest.raises(ValueError, match="not built yet"):
        split(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match="not built yet"):
        split(Subclassed())


def test_subclassed_model_without_halves_is_refused():
    class Opaque(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match=r"cannot look into .*'opaque'.*to_vae\(\(encoder, decod"):
        split(Opaque(name="opaque"))


def test_path_is_refused():
    with pytest.raises(TypeError, match=r"but got 'autoencoder'\. Load .*SavedModel folder"):
        split("autoencoder")
