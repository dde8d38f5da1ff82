"""Sampling and KLDivergence in a plain functional model, trained with stock compile and fit."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.fresh_process import run_fresh
from vaekit import KLDivergence, Sampling

X = np.random.default_rng(0).uniform(size=(20, 6)).astype("float32")
FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}  # leaves a ragged last batch of 4


def functional_vae(seed):
    keras.utils.set_random_seed(4)
    x = keras.Input((6,))
    h = layers.Dense(5, activation="tanh")(x)
    pair = KLDivergence(name="kl")([layers.Dense(2, name="m")(h), layers.Dense(2, name="v")(h)])
    model = keras.Model(x, layers.Dense(6)(Sampling(seed=seed, name="z")(pair)))
    model.compile("adam", "mse")
    return model


def everything(model):
    """What must survive a file: the noise to come, its state, beta, the optimizer, learning on."""
    found = {
        "beta": ops.convert_to_numpy(model.get_layer("kl").beta),
        "seed_state": ops.convert_to_numpy(model.get_layer("z").seed_generator.state),
        "iterations": ops.convert_to_numpy(model.optimizer.iterations),
        "predictions": model.predict(X, verbose=0),
    }
    found["loss"] = model.fit(X, X, epochs=1, **FIT).history["loss"]
    found["weights"] = np.concatenate([weight.ravel() for weight in model.get_weights()])
    return found


LOAD = """
import sys
import keras, numpy as np
from tests.layers.test_functional_model import everything

model = keras.saving.load_model(sys.argv[1], safe_mode=True)
np.savez(sys.argv[2], **everything(model))
"""


def train():
    model = functional_vae(seed=None)
    model.optimizer.learning_rate = 0.05
    return model.fit(X, X, epochs=8, **FIT).history


@pytest.fixture(scope="module")
def history():
    return train()


@pytest.fixture(scope="module")
def saved_and_loaded(tmp_path_factory):
    """The trained model's ``everything``, and that of its file in a fresh process."""
    folder = tmp_path_factory.mktemp("functional")
    model = functional_vae(seed=7)
    model.fit(X, X, epochs=2, **FIT)
    model.get_layer("kl").beta.assign(0.25)
    model.save(folder / "model.keras")
    here = everything(model)
    run_fresh(LOAD, folder / "model.keras", folder / "loaded.npz")
    with np.load(folder / "loaded.npz") as loaded:
        return here, dict(loaded)


def test_training_lowers_the_loss(history):
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_set_random_seed_twice_gives_identical_histories(history):
    assert train() == history


def test_logged_loss_is_mse_plus_kl():
    model = functional_vae(seed=7)
    logged = model.evaluate(X, X, batch_size=20, verbose=0)
    heads = keras.Model(model.input, [model.get_layer(name).output for name in "mv"])
    z_mean, z_log_var = np.asarray(heads.predict(X, verbose=0), "float64")
    kl = 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var).sum(axis=1).mean()
    mse = np.mean((functional_vae(seed=7).predict(X, verbose=0) - X) ** 2)  # the same first noise
    assert logged == pytest.approx(mse + kl, rel=1e-5)


@pytest.mark.parametrize("part", ["beta", "iterations", "seed_state"])
def test_a_fresh_process_loads(part, saved_and_loaded):
    here, loaded = saved_and_loaded
    np.testing.assert_array_equal(loaded[part], here[part])


def test_a_fresh_process_goes_on_with_the_noise(saved_and_loaded):
    here, loaded = saved_and_loaded
    np.testing.assert_allclose(loaded["predictions"], here["predictions"], atol=1e-6)


def test_the_noise_does_not_begin_again(saved_and_loaded):
    first_noise = functional_vae(seed=7).get_layer("z").seed_generator.state
    assert np.any(saved_and_loaded[1]["seed_state"] != ops.convert_to_numpy(first_noise))


def test_a_fresh_process_learns_on_as_if_never_saved(saved_and_loaded):
    here, loaded = saved_and_loaded
    np.testing.assert_allclose(loaded["loss"], here["loss"], rtol=1e-6)
    np.testing.assert_allclose(loaded["weights"], here["weights"], atol=1e-6)
