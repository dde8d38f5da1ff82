"""Small autoencoders of the kinds that people have, by name: (model, data)."""

import keras
import numpy as np
from keras import layers


def data(shape, n=300, seed=0):
    """Smooth data in (0, 1) on a curved three-dimensional surface."""
    rng = np.random.default_rng(seed)
    codes, mixing = rng.random((n, 3)), np.random.default_rng(9).normal(size=(3, np.prod(shape)))
    return (1 / (1 + np.exp(-(codes - 0.5) * 3 @ mixing))).reshape(n, *shape).astype("float32")


def sequential():
    hidden = [layers.Dense(8, activation="relu"), layers.Dense(3, activation="relu", name="code")]
    ends = [layers.Dense(8, activation="relu"), layers.Dense(12, activation="sigmoid")]
    return keras.Sequential([keras.Input((12,)), *hidden, *ends]), (12,)


def sequential_without_input():
    return keras.Sequential(sequential()[0].layers), (12,)


def nested():
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="tanh", name="out"),
        ],
        name="encoder",
    )
    code = keras.Input((3,))
    pixels = layers.Dense(64, activation="sigmoid", name="out")(code)  # one name in both halves
    decoder = keras.Model(code, layers.Reshape((8, 8, 1))(pixels), name="decoder")
    image = keras.Input((8, 8, 1), name="image")
    return keras.Model(image, decoder(encoder(image)), name="nested"), (8, 8, 1)


def feature_map():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    h = layers.MaxPooling2D()(h)
    h = layers.Conv2D(2, 3, padding="same", activation="relu")(h)
    h = layers.MaxPooling2D()(h)
    h = layers.Conv2D(8, 3, padding="same", activation="relu")(h)
    h = layers.UpSampling2D(4)(h)
    return keras.Model(x, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(h)), (8, 8, 1)


def recurrent():
    return keras.Sequential(
        [
            keras.Input((6, 2)),
            layers.LSTM(4),
            layers.RepeatVector(6),
            layers.LSTM(8, return_sequences=True),
            layers.TimeDistributed(layers.Dense(2)),
        ]
    ), (6, 2)


def over_time():
    x = keras.Input((16, 3))
    h = layers.Conv1D(8, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.ReLU()(layers.Conv1D(2, 3, strides=2, padding="same")(h))
    h = layers.Conv1DTranspose(8, 3, strides=2, padding="same", activation="relu")(h)
    return keras.Model(x, layers.Conv1DTranspose(3, 3, strides=2, padding="same")(h)), (16, 3)


def pooled():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.Dense(64, activation="sigmoid")(layers.GlobalAveragePooling2D()(h))
    return keras.Model(x, layers.Reshape((8, 8, 1))(h)), (8, 8, 1)


def normalized():
    x = keras.Input((12,))
    h = layers.Dense(8, activation="relu")(x)
    h = layers.Dense(3, activity_regularizer="l1", name="code")(h)
    h = layers.Activation("relu")(layers.BatchNormalization()(h))
    h = layers.Dense(8, activation="relu")(layers.Dropout(0.1)(h))
    return keras.Model(x, layers.Dense(12)(h)), (12,)


def branched():
    x = keras.Input((12,))
    h = layers.Dense(8, activation="relu")(x)
    code = layers.Concatenate(name="code")([layers.Dense(2)(h), layers.Dense(3)(h)])
    return keras.Model(x, layers.Dense(12)(layers.Dense(8, activation="relu")(code))), (12,)


def linear():
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(12)(layers.Dense(3)(x))), (12,)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder = keras.Sequential([layers.Flatten(), layers.Dense(3, activation="relu")])
        self.decoder = keras.Sequential(
            [layers.Dense(64, activation="sigmoid"), layers.Reshape((8, 8, 1))]
        )

    def call(self, x):
        return self.decoder(self.encoder(x))


def subclassed():
    return Subclassed(), (8, 8, 1)


KINDS = {
    maker.__name__: maker
    for maker in (
        sequential, sequential_without_input, nested, feature_map, recurrent, over_time,
        pooled, normalized, branched, linear, subclassed,
    )
}  # fmt: skip


def trained(kind, loss="mse", epochs=5):
    """The autoencoder of that kind, trained a little, and its data."""
    keras.utils.set_random_seed(0)
    model, shape = KINDS[kind]()
    x = data(shape)
    model.compile("adam", loss=loss)
    if epochs:
        model.fit(x, x, epochs=epochs, batch_size=50, verbose=0)
    return model, x
