"""The training step as notebook 06 writes it, against the packaged model."""

import keras
import numpy as np
import pytest

import vaekit
from tests.notebooks.sketches import cells, definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

NOTEBOOK = "06_vae"
NAMES = {"loss", "reconstruction_loss", "kl_loss"}


def model(model_class, optimizer, **options):
    """A small compiled model; equal initial weights and equal noise at every call."""
    keras.utils.set_random_seed(3)
    x, z = keras.Input((4, 3, 1)), keras.Input((2,))
    h = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(x))
    encoder = keras.Model(x, [keras.layers.Dense(2)(h), keras.layers.Dense(2)(h)])
    p = keras.layers.Dense(12, activation="sigmoid")(z)
    decoder = keras.Model(z, keras.layers.Reshape((4, 3, 1))(p))
    made = model_class(encoder, decoder, seed=5, **options)
    made.compile(optimizer)
    return made


@pytest.fixture(scope="module")
def sketch_class():
    return definition(NOTEBOOK, "VAESketch", {"keras": keras, "tf": tf, "vaekit": vaekit})


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(40, 4, 3, 1)).astype("float32")


def apart(a, b):
    """The largest difference of two weights of the models."""
    pairs = zip(a.trainable_weights, b.trainable_weights, strict=True)
    return max(np.abs(p.numpy() - q.numpy()).max() for p, q in pairs)


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_one_step_equals_the_packaged_one(sketch_class, x, optimizer):
    sketch, vae = model(sketch_class, optimizer(0.01)), model(vaekit.VAE, optimizer(0.01))
    untrained = model(vaekit.VAE, "sgd")
    assert apart(sketch, vae) == 0
    logs = [m.train_on_batch(x, return_dict=True) for m in (sketch, vae)]
    assert set(logs[0]) == set(logs[1]) == NAMES
    np.testing.assert_allclose([logs[0][n] for n in NAMES], [logs[1][n] for n in NAMES], rtol=1e-5)
    assert apart(sketch, vae) < 2e-6 < 1e-3 < apart(sketch, untrained)


@pytest.mark.parametrize("wrong", [{"beta": 0.9}, {"likelihood": "gaussian"}])
def test_one_step_of_another_loss_does_not_equal_it(sketch_class, x, wrong):
    sketch, other = model(sketch_class, "sgd"), model(vaekit.VAE, "sgd", **wrong)
    for m in (sketch, other):
        m.train_on_batch(x)
    assert apart(sketch, other) > 1e-5


def test_two_epochs_with_a_ragged_batch_equal_the_packaged_ones(sketch_class, x):
    sketch, vae = model(sketch_class, "adam"), model(vaekit.VAE, "adam")
    logs = []
    for m in (sketch, vae):
        logs.append(m.fit(x, batch_size=16, epochs=2, shuffle=False, verbose=0).history)
    for name in NAMES:
        np.testing.assert_allclose(logs[0][name], logs[1][name], rtol=1e-5)
    assert apart(sketch, vae) < 1e-5


def test_the_sketch_takes_x_alone_and_x_as_its_own_target(sketch_class, x):
    alone, paired = model(sketch_class, "sgd"), model(sketch_class, "sgd")
    alone.fit(x, shuffle=False, verbose=0)
    paired.fit(x, x, shuffle=False, verbose=0)
    assert apart(alone, paired) == 0


def test_elbo_parts_equal_the_packaged_losses(sketch_class, x):
    sketch, vae = model(sketch_class, "sgd"), model(vaekit.VAE, "sgd")
    reconstruction, kl = sketch.elbo_parts(x)
    z_mean, z_log_var = vae.encode(x)
    z = vaekit.Sampling(seed=5)([z_mean, z_log_var])
    expected = -vae.likelihood.log_prob(x, vae.decode(z))
    np.testing.assert_allclose(reconstruction, expected, rtol=1e-5)
    np.testing.assert_allclose(kl, vaekit.losses.gaussian_kl(z_mean, z_log_var), atol=1e-5)


def test_evaluation_equals_the_packaged_one_and_moves_no_weight(sketch_class, x):
    sketch, vae = model(sketch_class, "adam"), model(vaekit.VAE, "adam")
    start = [weight.numpy() for weight in sketch.trainable_weights]
    logs = [m.evaluate(x, batch_size=16, verbose=0, return_dict=True) for m in (sketch, vae)]
    for name in NAMES:
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-5)
    for weight, before in zip(sketch.trainable_weights, start, strict=True):
        np.testing.assert_array_equal(weight.numpy(), before)


def test_validation_is_logged_beside_the_training(sketch_class, x):
    sketch = model(sketch_class, "adam")
    logs = sketch.fit(x, validation_data=(x,), epochs=2, verbose=0).history
    assert set(logs) == NAMES | {f"val_{name}" for name in NAMES}


def test_prediction_is_the_copy_from_the_mean(sketch_class, x):
    sketch, vae = model(sketch_class, "adam"), model(vaekit.VAE, "adam")
    sketch.evaluate(x, verbose=0)  # so that Keras does not warn of a layer never called
    copies = sketch.predict(x, verbose=0)
    np.testing.assert_allclose(copies, vae.predict(x, verbose=0), atol=1e-6)
    np.testing.assert_array_equal(copies, sketch.predict(x, verbose=0))


# ---- claims and exercises ----------------------------------------------------------------------


def test_no_assert_about_the_text_stands_outside_a_claim():
    for cell in cells(NOTEBOOK):
        is_check = cell["id"].startswith(("exercise-", "claim-"))
        if cell["cell_type"] == "code" and not is_check:
            assert "assert " not in cell["source"]


WRONG_LOGS = {
    "beta times the KL is taken for the KL": "(6.0, 201.0)",
    "the logged loss is taken for the negative ELBO": "(15.0, 201.0)",
    "the fifth epoch is taken for beta 0.5": "(12.0, 207.0)",
}


@pytest.mark.parametrize("mistake", WRONG_LOGS)
def test_the_usual_wrong_readings_of_a_warm_up_are_caught(mistake):
    refuses(NOTEBOOK, 1, f"answer_1 = {WRONG_LOGS[mistake]}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("+ beta * kl)", "+ kl)", id="beta not used"),
        pytest.param(
            "-vaekit.likelihoods.Bernoulli().log_prob(x, x_prime)",
            "tf.reduce_mean(keras.losses.binary_crossentropy(x, x_prime), axis=(1, 2))",
            id="mean over pixels",
        ),
        pytest.param("model.sampling([z_mean, z_log_var])", "z_mean", id="no noise"),
        pytest.param(
            "model.encoder.trainable_weights + model.decoder.trainable_weights",
            "model.decoder.trainable_weights",
            id="decoder alone",
        ),
    ],
)
def test_the_usual_wrong_steps_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 2, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param(
            "self.decoder(z_mean, training=True)",
            "self.decoder(z_mean + tf.exp(z_log_var / 2) * tf.random.normal(tf.shape(z_mean)))",
            id="noise kept",
        ),
        pytest.param("reconstruction + kl)", "reconstruction + 0 * kl)", id="no KL"),
    ],
)
def test_the_usual_wrong_trainings_without_noise_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
