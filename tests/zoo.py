"""The zoo: autoencoders of every family that people bring to ``to_vae``, one row each.

``CONVERTED`` has functions that make a ``Case`` which converts. ``REFUSED`` has a way in, the
sentence that refuses it, and the way out that the sentence names, which converts. All are small,
and hardly any is trained: what is tested holds for any weights.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.autoencoders import KINDS, data

N = 60  # examples
SPARSE = keras.losses.SparseCategoricalCrossentropy()


class Case(NamedTuple):
    """The arguments of ``to_vae``."""

    autoencoder: object
    x: np.ndarray
    options: Mapping = MappingProxyType({})


def dense_ends(code, units=12, activation="sigmoid"):
    """The second half of a dense autoencoder."""
    return layers.Dense(units, activation=activation)(layers.Dense(8, activation="relu")(code))


def dense(code_of, units=12):
    """An autoencoder of 12 numbers whose code a function makes of 8 features."""
    x = keras.Input((12,), name="x")
    code = code_of(layers.Dense(8, activation="relu")(x))
    return Case(keras.Model(x, dense_ends(code)), data((12,), N))


def operators():
    return dense(lambda h: layers.Dense(3)(h) * 2.0 + 1.0)


def slices():
    return dense(lambda h: layers.Dense(6)(h)[:, 1:4])


def ops_of_keras():
    return dense(lambda h: ops.tanh(ops.concatenate([layers.Dense(2)(h), layers.Dense(1)(h)], 1)))


def gate_before_the_code():
    def code(h):
        return layers.Dense(4)(h * layers.Dense(8, activation="sigmoid")(layers.Dense(2)(h)))

    return dense(code)


def gate_on_the_code():
    def code(h):
        c = layers.Dense(4)(h)
        return layers.Multiply()([c, layers.Dense(4, activation="sigmoid")(layers.Dense(1)(c))])

    return dense(code)


def residual_block_before_the_code():
    def code(h):
        narrow = layers.Dense(2)(h)
        return layers.Dense(3)(layers.Add()([h, layers.Dense(8)(narrow)]))

    return dense(code)


def lists_of_one():
    x = keras.Input((12,))
    return Case(keras.Model([x], [dense_ends(layers.Dense(3)(x))]), data((12,), N))


def dictionaries_of_one():
    x = keras.Input((12,), name="x")
    out = dense_ends(layers.Dense(3)(x))
    return Case(keras.Model({"x": x}, {"out": out}), data((12,), N))


def masked_series():
    x = keras.Input((6, 2))
    h = layers.LSTM(4)(layers.Masking()(x))
    h = layers.LSTM(5, return_sequences=True)(layers.RepeatVector(6)(h))
    values = data((6, 2), N)
    values[:20, 4:] = 0
    return Case(keras.Model(x, layers.Dense(2)(h)), values)


def state_of_a_gru():
    x = keras.Input((6, 2))
    _, state = layers.GRU(3, return_state=True)(x)
    h = layers.GRU(5, return_sequences=True)(layers.RepeatVector(6)(state))
    return Case(keras.Model(x, layers.TimeDistributed(layers.Dense(2))(h)), data((6, 2), N))


def states_of_an_lstm_joined():
    x = keras.Input((6, 2))
    _, h, c = layers.LSTM(2, return_state=True)(x)
    code = layers.Concatenate()([h, c])
    start = [code[:, :2], code[:, 2:]]
    zeros = layers.RepeatVector(6)(code)
    h = layers.LSTM(2, return_sequences=True)(zeros, initial_state=start)
    return Case(keras.Model(x, layers.Dense(2)(h)), data((6, 2), N))


def last_step_of_a_bidirectional():
    x = keras.Input((6, 2))
    h = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    h = layers.GRU(4, return_sequences=True)(layers.RepeatVector(6)(h[:, -1]))
    return Case(keras.Model(x, layers.Dense(2)(h)), data((6, 2), N))


def recurrent_over_images():
    x = keras.Input((3, 4, 4, 1))
    h = layers.ConvLSTM2D(1, 3, strides=2, padding="same", return_sequences=True)(x)
    h = layers.TimeDistributed(layers.Conv2DTranspose(2, 3, strides=2, padding="same"))(h)
    return Case(keras.Model(x, layers.Conv3D(1, 3, padding="same")(h)), data((3, 4, 4, 1), N))


def volumes():
    x = keras.Input((4, 4, 4, 1))
    h = layers.Conv3D(2, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.Conv3DTranspose(2, 3, strides=2, padding="same", activation="relu")(h)
    return Case(keras.Model(x, layers.Conv3D(1, 3, padding="same")(h)), data((4, 4, 4, 1), N))


def large_feature_map():
    """Of 512 numbers: heads per position."""
    x = keras.Input((16, 16, 3))
    h = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid")(h)
    return Case(keras.Model(x, h), data((16, 16, 3), N))


def free_image_size():
    x = keras.Input((None, None, 1))
    h = layers.Conv2D(2, 3, strides=2, padding="same", activation="relu")(x)
    return Case(keras.Model(x, layers.Conv2DTranspose(1, 3, 2, "same")(h)), data((8, 8, 1), N))


def free_length():
    x = keras.Input((None, 3))
    h = layers.Conv1D(2, 3, strides=2, padding="same", activation="relu")(x)
    return Case(keras.Model(x, layers.Conv1DTranspose(3, 3, 2, "same")(h)), data((8, 3), N))


def large_vector():
    """More numbers than a matrix is wanted for: one scale each."""
    x = keras.Input((450,))
    return Case(
        keras.Model(x, layers.Dense(450)(layers.Dense(410, activation="relu")(x))), data((450,), N)
    )


def swish_of_my_own(x):
    return x * ops.sigmoid(1.5 * x)


def own_activation():
    return dense(lambda h: layers.Dense(3, activation=swish_of_my_own)(h))


def relu(x):
    """Not that of Keras, though its name is."""
    return ops.maximum(x, 0.3 * x)


def own_activation_with_the_name_of_another():
    x = keras.Input((12,))
    h = layers.Dense(3)(layers.Dense(8, activation=relu)(x))
    return Case(keras.Model(x, dense_ends(h)), data((12,), N))


def own_loss_metric_and_schedule():
    def my_loss(y, p):
        return ops.mean(ops.abs(y - p) ** 1.5, axis=-1)

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 1e-3 / (1.0 + ops.cast(step, "float32"))

    case = dense(lambda h: layers.Dense(3)(h))
    optimizer = keras.optimizers.Adam(Schedule())
    case.autoencoder.compile(optimizer, loss=my_loss, metrics=[lambda y, p: ops.mean(y - p)])
    return case._replace(options={"likelihood": "gaussian"})


def lambdas():
    factor = 2.0
    return dense(lambda h: layers.Lambda(lambda t: factor * t)(layers.Dense(3)(h)))


class WithoutConfig(keras.layers.Layer):
    """Keras writes the configuration itself, as long as the arguments are plain."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))

    def call(self, x):
        return x @ self.kernel


def own_layer_without_config():
    return dense(lambda h: WithoutConfig(3)(h))


class Softened(keras.layers.Layer):
    """Its activation is not the last thing that it does."""

    def __init__(self, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3))

    def call(self, x):
        return 0.5 * self.activation(x @ self.kernel) + 0.1

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}


def own_layer_with_an_activation_inside():
    return dense(lambda h: Softened()(h))


def adapted_normalization():
    values = 50 + 20 * data((12,), N)
    normalization = layers.Normalization()
    normalization.adapt(values)
    x = keras.Input((12,))
    return Case(keras.Model(x, layers.Dense(12)(layers.Dense(3)(normalization(x)))), values)


def rescaling_inside():
    images = np.float32(255 * data((6, 6, 1), N))
    x = keras.Input((6, 6, 1))
    h = layers.Dense(3)(layers.Flatten()(layers.Rescaling(1 / 255)(x)))
    out = layers.Reshape((6, 6, 1))(layers.Dense(36, activation="sigmoid")(h))
    model = keras.Model(x, out)
    model.compile("adam", "binary_crossentropy")
    return Case(model, images, {"y_train": images / 255})


def denoising():
    clean = data((12,), N)
    noisy = clean + np.float32(0.3 * np.random.default_rng(3).standard_normal(clean.shape))
    case = dense(lambda h: layers.Dense(3)(h))
    return case._replace(x=noisy, options={"y_train": clean})


def grey_to_colour():
    colours = data((4, 4, 3), N)
    x = keras.Input((4, 4, 1))
    h = layers.Conv2D(2, 3, strides=2, padding="same")(x)
    model = keras.Model(x, layers.Conv2DTranspose(3, 3, strides=2, padding="same")(h))
    return Case(model, colours.mean(axis=-1, keepdims=True), {"y_train": colours})


def channel_axis_added():
    images = data((4, 4), N)
    x = keras.Input((4, 4))
    code = layers.Dense(3)(layers.Flatten()(x))
    model = keras.Model(x, layers.Reshape((4, 4, 1))(layers.Dense(16)(code)))
    return Case(model, images, {"y_train": images[..., None]})


def half(dtype):
    x = keras.Input((12,))
    h = layers.Dense(8, activation="relu", dtype=dtype)(x)
    h = layers.Dense(8, activation="relu", dtype=dtype)(layers.Dense(3, dtype=dtype)(h))
    return Case(
        keras.Model(x, layers.Dense(12, activation="sigmoid", dtype=dtype)(h)), data((12,), N)
    )


def float16():
    return half("float16")


def bfloat16():
    return half("bfloat16")


def mixed_float16():
    return half("mixed_float16")


@keras.saving.register_keras_serializable(package="tests")
class Tied(keras.layers.Layer):
    """The transpose of another layer."""

    def __init__(self, dense, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense

    def build(self, shape):
        if not self.dense.built:
            self.dense.build((None, 12))
        self.bias = self.add_weight(shape=(12,))

    def call(self, x):
        return x @ ops.transpose(self.dense.kernel) + self.bias

    def get_config(self):
        return {**super().get_config(), "dense": keras.saving.serialize_keras_object(self.dense)}

    @classmethod
    def from_config(cls, config):
        if not isinstance(config["dense"], keras.Layer):
            config["dense"] = keras.saving.deserialize_keras_object(config["dense"])
        return cls(**config)


def tied():
    x, code = keras.Input((12,)), layers.Dense(3, name="down")
    return Case(keras.Model(x, Tied(code, name="up")(code(x))), data((12,), N))


def one_layer_twice():
    x, twice = keras.Input((12,)), layers.Dense(8, activation="relu")
    h = layers.Dense(3)(twice(layers.Dense(8)(twice(x[:, :8]))))
    return Case(keras.Model(x, dense_ends(h)), data((12,), N))


def regularized_activity():
    return dense(lambda h: layers.Dense(3, activation="relu", activity_regularizer="l1")(h))


def layers_named_as_ours():
    x = keras.Input((12,))
    code = layers.Dense(3)(layers.Dense(8, name="z_mean")(x))
    return Case(
        keras.Model(x, layers.Dense(12, name="z")(layers.Dense(8, name="code")(code))),
        data((12,), N),
    )


def prelu():
    return dense(lambda h: layers.PReLU()(layers.Dense(3)(h)))


def attention():
    x = keras.Input((6, 4))
    h = layers.MultiHeadAttention(1, 4)(x, x)
    h = layers.Dense(3)(layers.Flatten()(layers.LayerNormalization()(h)))
    return Case(keras.Model(x, layers.Reshape((6, 4))(layers.Dense(24)(h))), data((6, 4), N))


def separable_and_cropped():
    x = keras.Input((7, 7, 1))
    h = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    h = layers.SeparableConv2D(2, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.Conv2D(1, 3, padding="same")(layers.UpSampling2D()(h))
    return Case(keras.Model(x, layers.Cropping2D(((0, 1), (0, 1)))(h)), data((7, 7, 1), N))


def pair_of_models():
    x, z = keras.Input((12,)), keras.Input((3,))
    encoder = keras.Model(x, layers.Dense(3, activation="tanh")(x))
    return Case((encoder, keras.Model(z, dense_ends(z))), data((12,), N))


def kind(name):
    """One of the autoencoders that other tests train."""

    def case():
        model, shape = KINDS[name]()
        x = data(shape, N)
        model(x[:1])
        return Case(model, x)

    case.__name__ = name
    return case


def numbers_of_words(one_hot=False):
    """Integers through an Embedding, and their classes back."""
    words = np.random.default_rng(2).integers(0, 10, (N, 4)).astype("int32")
    x = keras.Input((4,), dtype="int32")
    code = layers.Dense(2)(layers.Flatten()(layers.Embedding(10, 3)(x)))
    p = layers.Softmax()(layers.Reshape((4, 10))(layers.Dense(40)(code)))
    model = keras.Model(x, p)
    model.compile("adam", "categorical_crossentropy" if one_hot else SPARSE)
    return Case(model, words, {"y_train": np.eye(10, dtype="float32")[words]} if one_hot else {})


def one_hot_targets():
    return numbers_of_words(one_hot=True)


def words():
    pytest.importorskip("tensorflow", reason="Keras looks text up with TensorFlow")
    values = np.array([["a", "b"], ["b", "c"]] * (N // 2))
    x = keras.Input((2,), dtype="string")
    numbers = layers.StringLookup(vocabulary=["a", "b", "c"])(x)
    return Case(keras.Model(x, words_as_numbers().autoencoder(numbers)), values)


def words_as_numbers():
    x = keras.Input((2,), dtype="int64")
    code = layers.Dense(1)(layers.Flatten()(layers.Embedding(4, 3)(x)))
    model = keras.Model(x, layers.Softmax()(layers.Reshape((2, 4))(layers.Dense(8)(code))))
    model.compile("adam", SPARSE)
    return Case(model, np.array([[1, 2], [2, 3]] * (N // 2)))


def counts():
    x = keras.Input((12,))
    model = keras.Model(x, dense_ends(layers.Dense(3)(x), activation="softplus"))
    model.compile("adam", "poisson")
    return Case(model, np.random.default_rng(2).poisson(3, (N, 12)).astype("float32"))


def table_of_columns():
    x = keras.Input((12,))
    h = dense_ends(layers.Dense(3)(x), activation=None)
    out = layers.Concatenate()([h[:, :8], ops.softmax(h[:, 8:11]), ops.sigmoid(h[:, 11:])])
    values = data((12,), N)
    values[:, 8:11] = np.eye(3)[np.argmax(values[:, 8:11], axis=1)]
    values[:, 11] = np.round(values[:, 11])
    likelihood = vaekit.likelihoods.Columns(
        [(8, vaekit.likelihoods.Gaussian("learned")), (3, "categorical"), (1, "bernoulli")]
    )
    return Case(keras.Model(x, out), values, {"likelihood": likelihood})


def padded_series():
    case = state_of_a_gru()
    steps = np.arange(6) < np.random.default_rng(2).integers(2, 7, (N, 1))
    return case._replace(options={"sample_weight": steps.astype("float32")})


CONVERTED = [
    *map(kind, KINDS), operators, slices, ops_of_keras, gate_before_the_code, gate_on_the_code,
    residual_block_before_the_code, lists_of_one, dictionaries_of_one, masked_series,
    state_of_a_gru, states_of_an_lstm_joined, last_step_of_a_bidirectional, recurrent_over_images,
    volumes, large_feature_map, free_image_size, free_length, large_vector, own_activation,
    own_activation_with_the_name_of_another, own_loss_metric_and_schedule, lambdas,
    own_layer_without_config, own_layer_with_an_activation_inside, adapted_normalization,
    rescaling_inside, numbers_of_words, one_hot_targets, counts, table_of_columns, padded_series,
    denoising, grey_to_colour, channel_axis_added, float16, bfloat16,
    mixed_float16, tied, one_layer_twice, layers_named_as_ours, regularized_activity, prelu,
    attention, separable_and_cropped, pair_of_models,
]  # fmt: skip
# What Keras needs to be told of to load a file; the autoencoder itself would need it too.
CUSTOM_OBJECTS = {
    "swish_of_my_own": swish_of_my_own,
    "WithoutConfig": WithoutConfig,
    "Softened": Softened,
}
# Keras itself cannot load these again: a Lambda only in unsafe mode, and it has lost what its
# function saw; of two functions with one name it takes its own.
NOT_RELOADED = {"lambdas", "own_activation_with_the_name_of_another"}


class Refusal(NamedTuple):
    """A case that is refused, the sentence, and the case that its way out makes of it."""

    refused: object
    sentence: str
    way_out: object


def skip_from_the_first_layer():
    x = keras.Input((12,))
    first = layers.Dense(20, activation="relu", name="first")(x)
    after = layers.Dense(20)(layers.Dense(3, name="narrow")(first))
    return Case(
        keras.Model(x, layers.Dense(12)(layers.Add(name="meeting")([first, after]))), data((12,), N)
    )


def skip_with_the_meeting_as_code():
    return skip_from_the_first_layer()._replace(options={"bottleneck": "meeting"})


def series(stateful):
    x = keras.Input(batch_shape=(N if stateful else None, 6, 2))
    h = layers.RepeatVector(6)(layers.LSTM(3, stateful=stateful, name="memory")(x))
    return Case(keras.Model(x, layers.LSTM(2, return_sequences=True)(h)), data((6, 2), N))


def stateful_series():
    return series(True)


def stateless():
    first, copy = series(True), series(False)
    copy.autoencoder.set_weights(first.autoencoder.get_weights())
    return copy


def two_inputs():
    a, b = keras.Input((5,)), keras.Input((7,))
    code = layers.Dense(3)(layers.Concatenate()([a, b]))
    return Case(keras.Model([a, b], [layers.Dense(5)(code), layers.Dense(7)(code)]), data((12,), N))


def two_inputs_joined():
    case, x = two_inputs(), keras.Input((12,))
    outputs = case.autoencoder([x[:, :5], x[:, 5:]])
    return case._replace(autoencoder=keras.Model(x, layers.Concatenate()(outputs)))


def robust_loss():
    case = dense(layers.Dense(3))
    case.autoencoder.compile("adam", keras.losses.Huber())
    return case


def robust_loss_as_laplace():
    return robust_loss()._replace(options={"likelihood": "laplace"})


def weights_of_examples():
    return padded_series()._replace(options={"sample_weight": np.ones(N)})


def raw_pixels_without_target():
    return rescaling_inside()._replace(options={})


def without_target():
    return channel_axis_added()._replace(options={})


def states_of_an_lstm_apart():
    x = keras.Input((6, 2))
    _, *states = layers.LSTM(2, return_state=True)(x)
    first = layers.RepeatVector(6)(states[0])
    h = layers.LSTM(2, return_sequences=True)(first, initial_state=states)
    return Case(keras.Model(x, layers.Dense(2)(h)), data((6, 2), N))


class Forgetful(WithoutConfig):
    """A get_config that leaves out an argument."""

    def get_config(self):
        return {"name": self.name}


def own_layer_with_a_wrong_config():
    return dense(lambda h: Forgetful(3)(h))


def text():
    return dense(layers.Dense(3))._replace(x=np.array([["a"] * 12] * N))


def bools():
    case = dense(layers.Dense(3))
    return case._replace(x=case.x > 0.5)


def bools_as_floats():
    case = bools()
    return case._replace(x=case.x.astype("float32"))


def two_rows():
    case = dense(layers.Dense(3))
    return case._replace(x=case.x[:2])


def plain():
    return dense(layers.Dense(3))


REFUSED = [
    Refusal(
        skip_from_the_first_layer,
        "at 'narrow': a skip connection leads around it into 'meeting'",
        skip_with_the_meeting_as_code,
    ),
    Refusal(stateful_series, "stateful layer 'memory'.*stateful=False", stateless),
    Refusal(two_inputs, "has 2 and 2.*slice from it.*Concatenate", two_inputs_joined),
    Refusal(words, "holds text", words_as_numbers),
    Refusal(raw_pixels_without_target, "y_train=x_train / 255", rescaling_inside),
    Refusal(robust_loss, "likelihood='laplace'", robust_loss_as_laplace),
    Refusal(weights_of_examples, r"weigh elements, as \(60, 6\) does", padded_series),
    Refusal(without_target, r"y_train=x_train\[..., None\]", channel_axis_added),
    Refusal(
        states_of_an_lstm_apart,
        "hands it on as 2.*Concatenate.*slice it again",
        states_of_an_lstm_joined,
    ),
    Refusal(
        own_layer_with_a_wrong_config,
        "of class Forgetful.*get_config",
        own_layer_without_config,
    ),
    Refusal(text, "holds text or mixed columns", plain),
    Refusal(bools, r"astype\('float32'\)", bools_as_floats),
    Refusal(two_rows, "has only 2", plain),
]  # fmt: skip
