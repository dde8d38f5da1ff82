"""The two networks of the benchmark in Keras, for any backend."""

import keras
from keras import layers

LATENTS = {"D": 16, "C": 2}


def networks(kind, logits=False):
    """Encoder x -> [z_mean, z_log_var] and decoder z -> probabilities, or logits if asked.

    "D" is dense, 784-512-256-16 and back; "C" is the convolutional VAE of keras.io.
    """
    return (dense if kind == "D" else convolutional)(None if logits else "sigmoid")


def dense(output):
    x, z = keras.Input((784,)), keras.Input((LATENTS["D"],))
    h = layers.Dense(512, activation="relu")(x)
    h = layers.Dense(256, activation="relu")(h)
    g = layers.Dense(256, activation="relu")(z)
    g = layers.Dense(512, activation="relu")(g)
    return halves(x, h, z, layers.Dense(784, activation=output)(g))


def convolutional(output):
    x, z = keras.Input((28, 28, 1)), keras.Input((LATENTS["C"],))
    h = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.Dense(16, activation="relu")(layers.Flatten()(h))
    g = layers.Dense(7 * 7 * 64, activation="relu")(z)
    g = layers.Reshape((7, 7, 64))(g)
    g = layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu")(g)
    g = layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu")(g)
    return halves(x, h, z, layers.Conv2DTranspose(1, 3, padding="same", activation=output)(g))


def halves(x, features, z, decoded):
    heads = [layers.Dense(z.shape[-1], name=name)(features) for name in ("z_mean", "z_log_var")]
    return keras.Model(x, heads), keras.Model(z, decoded)
