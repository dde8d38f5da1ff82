"""Trains the networks of the explorer and writes them into one JavaScript file.

    python tools/explorer_models.py docs/_build/explorer/explorer-data.js

The page is opened without a server, from which a browser lets a page load scripts but no other
files: so the weights stand in a script, as 16-bit floats in base64. The networks are those of the
course with 64 instead of 256 units in the decoder's widest layer: the page stays under 1 MB.
"""

import base64
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
from keras import layers

import vaekit

SEED = 1
EPOCHS = 40
BATCH = 128
# For each beta of the slider: whether a new VAE begins with it, and its epochs. Most go on from the
# VAE of the beta before, so that the digits keep their places; at 32 such a one would take long
# to forget them.
VAES = {0.1: (True, EPOCHS), 0.5: (False, 15), 1.0: (False, 15), 4.0: (False, 15), 32.0: (True, 20)}


def network(*heads):
    """An encoder that ends in the named heads of two units each, and a decoder."""
    x = keras.Input((28, 28, 1))
    y = layers.Dense(256, activation="relu")(layers.Flatten()(x))
    y = layers.Dense(64, activation="relu")(y)
    outputs = [layers.Dense(2, name=head)(y) for head in heads]
    encoder = keras.Model(x, outputs if len(outputs) > 1 else outputs[0])
    z = keras.Input((2,))
    hidden = layers.Dense(64, activation="relu")(z)
    hidden = layers.Dense(64, activation="relu")(hidden)
    pixels = layers.Dense(784, activation="sigmoid")(hidden)
    return encoder, keras.Model(z, layers.Reshape((28, 28, 1))(pixels))


def trained_autoencoder(x):
    """Encoder and decoder of a plain autoencoder."""
    keras.utils.set_random_seed(SEED)
    encoder, decoder = network("z")
    autoencoder = keras.Model(encoder.input, decoder(encoder.output))
    autoencoder.compile("adam", "binary_crossentropy")
    autoencoder.fit(x, x, BATCH, EPOCHS, verbose=0)
    return encoder, decoder


def trained_vaes(x):
    """Yields (beta, VAE) for each beta; two may be the same VAE, which is trained on."""
    for beta, (is_new, epochs) in VAES.items():
        if is_new:
            keras.utils.set_random_seed(SEED)
            vae = vaekit.VAE(*network("z_mean", "z_log_var"))
            vae.compile("adam")
        vae.beta.assign(beta)
        vae.fit(x, batch_size=BATCH, epochs=epochs, verbose=0)
        yield beta, vae


def as_half_floats(array):
    """The numbers as little-endian 16-bit floats, in base64."""
    return base64.b64encode(np.asarray(array).astype("<f2").tobytes()).decode()


def for_the_page(name, decoder, codes):
    """One network as the page reads it: its dense layers in order, and codes of test digits."""
    dense = [layer for layer in decoder.layers if isinstance(layer, layers.Dense)]
    return {
        "name": name,
        "shapes": [list(layer.kernel.shape) for layer in dense],
        "weights": as_half_floats(np.concatenate([w.ravel() for w in decoder.get_weights()])),
        "codes": as_half_floats(codes),
    }


def script(networks, labels):
    """The text of the script; ``networks`` as `for_the_page` gives them."""
    data = {"networks": networks, "labels": [int(label) for label in labels]}
    return f"const EXPLORER_DATA = {json.dumps(data)};\n"


def main(path):
    (x_train, _), (x_test, y_test) = vaekit.datasets.load_digits()
    encoder, decoder = trained_autoencoder(x_train)
    networks = [for_the_page("autoencoder", decoder, encoder.predict(x_test, verbose=0))]
    for beta, vae in trained_vaes(x_train):
        means = vae.encoder.predict(x_test, verbose=0)[0]
        networks.append({**for_the_page("VAE", vae.decoder, means), "beta": beta})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(networks, y_test), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
