"""VAE in files: saved, loaded in a new process, killed and resumed, exported."""

import signal
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.fresh_process import end_of_fresh, run_fresh
from tests.tiny_models import (
    EAGER,
    QUIET,
    X,
    equal_weights,
    evaluate,
    fit,
    still_vae,
    tiny_decoder,
    tiny_encoder,
    tiny_vae,
)
from vaekit.saving import random_states


def state(vae):
    """All that training goes on from: weights, iterations, seed generators, Adam's moments."""
    variables = [*random_states(vae), *vae.optimizer.variables]
    return [*vae.get_weights(), *(variable.numpy() for variable in variables)]


def assert_equal_states(actual, expected):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def noisy_vae():
    """With two kinds of noise: that of z and, before it, that of Dropout."""
    keras.utils.set_random_seed(3)
    # On torch, Keras' Dropout draws from torch's own global state, which no file holds.
    on_torch = keras.backend.backend() == "torch"
    noise = layers.GaussianNoise(0.3) if on_torch else layers.Dropout(0.3)
    # Killed amid an epoch, it is watched batch by batch: the steps then round as single ones.
    compiled = {"steps_per_execution": 1}
    return tiny_vae([noise], optimizer="adam", compiled=compiled, beta=0.5, seed=None)


# ---- a new process -----------------------------------------------------------------------------

LOAD_AND_GO_ON = """
import sys

import keras
import numpy as np
import vaekit
from tests.test_models_files import X, fit, state

folder = sys.argv[1]
vae = keras.saving.load_model(f"{folder}/vae.keras", safe_mode=True)
loaded, reconstruction = state(vae), vae.predict(X, verbose=0)
fit(vae, X)
np.savez(f"{folder}/loaded.npz", *loaded)
np.savez(f"{folder}/resumed.npz", *state(vae))
np.savez(f"{folder}/facts.npz", reconstruction=reconstruction, beta=vae.beta.numpy())
"""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A folder in which a new process has loaded a VAE, warnings as errors, and trained it on."""
    folder = tmp_path_factory.mktemp("resumed")
    vae = noisy_vae()
    vae.beta.assign(0.25)
    fit(vae, X)
    vae.save(folder / "vae.keras")
    np.savez(folder / "saved.npz", *state(vae))
    np.save(folder / "reconstruction.npy", vae.predict(X, verbose=0))
    run_fresh(LOAD_AND_GO_ON, folder)
    return folder


def arrays(path):
    with np.load(path) as file:
        return list(file.values())


@pytest.mark.slow
def test_a_new_process_loads_the_whole_state(resumed):
    assert_equal_states(arrays(resumed / "loaded.npz"), arrays(resumed / "saved.npz"))


def test_a_new_process_predicts_the_same(resumed):
    with np.load(resumed / "facts.npz") as facts:
        saved = np.load(resumed / "reconstruction.npy")
        np.testing.assert_allclose(facts["reconstruction"], saved, rtol=1e-6)


def test_a_new_process_has_the_beta_that_was_set(resumed):
    with np.load(resumed / "facts.npz") as facts:
        assert facts["beta"] == np.float32(0.25)


def test_two_epochs_equal_one_and_one_more_in_a_new_process(resumed):
    vae = noisy_vae()
    vae.beta.assign(0.25)
    fit(vae, X, epochs=2)
    assert_equal_states(arrays(resumed / "resumed.npz"), state(vae))


TRAIN = """
import os
import signal
import sys

import keras
import numpy as np
from tests.test_models_files import X, fit, noisy_vae, state

folder, kill = sys.argv[1], sys.argv[2] == "kill"


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        print("epoch", epoch, flush=True)

    def on_train_batch_end(self, batch, logs=None):
        if kill and self.epoch == 1 and batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


vae = noisy_vae()
fit(vae, X, epochs=3, callbacks=[keras.callbacks.BackupAndRestore(f"{folder}/backup"), Kill()])
np.savez(f"{folder}/end.npz", *state(vae))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_killed_and_resumed_ends_as_never_killed(tmp_path):
    killed = end_of_fresh(TRAIN, tmp_path, "kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert killed.stdout.split() == ["epoch", "0", "epoch", "1"]
    assert not (tmp_path / "end.npz").exists()
    assert run_fresh(TRAIN, tmp_path, "go on").split() == ["epoch", "1", "epoch", "2"]
    never_killed = noisy_vae()
    fit(never_killed, X, epochs=3)
    assert_equal_states(arrays(tmp_path / "end.npz"), state(never_killed))


# ---- the same process --------------------------------------------------------------------------


@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
def test_saved_and_loaded(tmp_path, trained):
    compiled = {"metrics": ["mse"], **EAGER}
    vae = tiny_vae([layers.BatchNormalization()], optimizer="adam", compiled=compiled)
    if trained:
        fit(vae, X)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert type(loaded) is vaekit.VAE
    assert equal_weights(vae, loaded)
    assert evaluate(loaded, X) == pytest.approx(evaluate(vae, X), rel=1e-5)


def test_saved_without_compile(tmp_path):
    vae = tiny_vae(optimizer=None)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert equal_weights(vae, loaded)
    assert not loaded.compiled


def test_likelihood_and_its_arguments_are_saved(tmp_path):
    vae = tiny_vae(likelihood=vaekit.likelihoods.Gaussian(scale=0.1))
    vae.save(tmp_path / "vae.keras")
    assert keras.saving.load_model(tmp_path / "vae.keras").likelihood.scale == 0.1


def test_a_third_output_of_the_encoder_survives_saving(tmp_path):
    two = tiny_encoder()
    three = keras.Model(two.input, [*two.outputs, vaekit.Sampling()(two.outputs)])
    vae = vaekit.VAE(three, tiny_decoder())
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert equal_weights(vae, loaded)
    np.testing.assert_allclose(loaded.predict(X, verbose=0), vae.predict(X, verbose=0), rtol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class TwoHeads(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean_head, self.log_var_head = layers.Dense(2), layers.Dense(2)

    def build(self, input_shape):
        self.mean_head.build(input_shape)
        self.log_var_head.build(input_shape)

    def call(self, x):
        return self.mean_head(x), self.log_var_head(x)


def test_registered_subclassed_models_are_saved_and_loaded(tmp_path):
    encoder = TwoHeads()
    encoder(X[:1])
    vae = vaekit.VAE(encoder, tiny_decoder())
    vae.compile("adam", **EAGER)
    fit(vae, X)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert len(loaded.encoder.weights) == 4
    np.testing.assert_allclose(loaded.predict(X, verbose=0), vae.predict(X, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
def test_weights_alone(tmp_path, trained):
    vae, other = noisy_vae(), noisy_vae()
    if trained:
        fit(vae, X)
        fit(other, 1 - X)
    else:
        other.set_weights([w + 1 for w in other.get_weights()])
    vae.save_weights(tmp_path / "vae.weights.h5")
    other.load_weights(tmp_path / "vae.weights.h5")
    assert_equal_states(state(other), state(vae))


def test_weights_of_a_vae_without_dropout_load_into_one_with_it(tmp_path):
    tiny_vae().save_weights(tmp_path / "vae.weights.h5")
    other = tiny_vae([layers.Dropout(0.3)])
    seeds = [state.numpy() for state in random_states(other)]
    other.load_weights(tmp_path / "vae.weights.h5")
    assert_equal_states(other.encoder.get_weights(), tiny_vae().encoder.get_weights())
    assert_equal_states([state.numpy() for state in random_states(other)][1:], seeds[1:])


def test_model_checkpoint_keeps_the_best_val_loss(tmp_path):
    vae = still_vae()
    path = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True)
    fit(vae, X, validation_data=X, callbacks=[best])
    saved = vae.get_weights()
    vae.decoder.set_weights([w + 3 for w in vae.decoder.get_weights()])  # a worse one
    fit(vae, X, validation_data=X, callbacks=[best])
    kept = keras.saving.load_model(path).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, saved, strict=True))


@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
def test_summary(trained):
    vae = tiny_vae()
    if trained:
        fit(vae, X)
    lines = []
    vae.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert all(name in text for name in ("encoder", "decoder", "Sampling"))
    # 7 * 5 + 2 * 6 * 2 weights of the encoder and 3 * 6 of the decoder; beta and 2 of the seed
    assert "Trainable params: 77 " in text


def test_config_gives_an_equal_model():
    vae = tiny_vae(beta=0.5, seed=9, likelihood=vaekit.likelihoods.Gaussian(scale=0.1))
    copy = vaekit.VAE.from_config(vae.get_config())
    assert (copy.initial_beta, copy.sampling.seed, copy.likelihood.scale) == (0.5, 9, 0.1)
    assert copy.name == vae.name
    assert [w.shape for w in copy.weights] == [w.shape for w in vae.weights]


# ---- export ------------------------------------------------------------------------------------


def operations(folder):
    """The types of all operations of a SavedModel, those inside its functions included."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
    graphs = [meta.graph_def for meta in saved.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    for graph in graphs:
        nodes += [node for function in graph.library.function for node in function.node_def]
    return {node.op for node in nodes}


@pytest.mark.tensorflow
@pytest.mark.parametrize("trained", [False, True], ids=["fresh", "trained"])
def test_export_reconstructs_without_random_operations(tmp_path, trained):
    import tensorflow as tf

    two = tiny_encoder()
    three = keras.Model(two.input, [*two.outputs, vaekit.Sampling()(two.outputs)])
    vae = vaekit.VAE(three, tiny_decoder())
    if trained:
        vae.compile("adam")
        fit(vae, X)
    vae.export(tmp_path / "vae", verbose=False)
    assert "MatMul" in operations(tmp_path / "vae")
    assert not [name for name in operations(tmp_path / "vae") if "Random" in name]
    served = tf.saved_model.load(tmp_path / "vae")
    answer = ops.convert_to_numpy(served.serve(X))
    np.testing.assert_allclose(answer, vae.predict(X, verbose=0), rtol=1e-5)


@pytest.mark.tensorflow
def test_operations_would_show_a_random_one(tmp_path):
    two = tiny_encoder(log_var=QUIET)
    sampled = keras.Model(two.input, vaekit.Sampling()(two.outputs))
    sampled.export(tmp_path / "sampled", verbose=False)
    assert [name for name in operations(tmp_path / "sampled") if "Random" in name]


@pytest.mark.parametrize("name", ["vae.h5", "vae.hdf5"])
def test_a_file_that_keras_could_not_load_again_is_not_written(name, tmp_path):
    vae = tiny_vae()
    with pytest.raises(ValueError, match=r"legacy HDF5 format, .* vae.save\('vae.keras'\)"):
        vae.save(tmp_path / name)
    assert not (tmp_path / name).exists()
    vae.save_weights(tmp_path / "vae.weights.h5")
    vae.load_weights(tmp_path / "vae.weights.h5")
