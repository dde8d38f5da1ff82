"""The layers, the measurements and the exercises of notebook 12."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.special import logsumexp
from scipy.stats import norm

import vaekit
from tests.notebooks.sketches import definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution

NOTEBOOK = "12_inverse"
KERAS = {"keras": keras, "layers": layers, "ops": ops, "vaekit": vaekit, "np": np}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 12)).astype("float32")


def test_the_tied_sketch_computes_what_the_packaged_layer_computes():
    dense = layers.Dense(3)
    z = dense(X)
    sketch = definition(NOTEBOOK, "TiedDenseSketch", KERAS)(dense)
    packaged = vaekit.TiedDense(dense)
    sketch.build(z.shape)
    packaged.build(z.shape)
    for layer in (sketch, packaged):
        layer.bias.assign(np.arange(12.0))
    expected = ops.convert_to_numpy(z) @ ops.convert_to_numpy(dense.kernel).T + np.arange(12)
    np.testing.assert_allclose(sketch(z), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(sketch(z), packaged(z), rtol=1e-6, atol=1e-6)


def test_the_tied_sketch_follows_the_other_layer():
    dense = layers.Dense(3)
    sketch = definition(NOTEBOOK, "TiedDenseSketch", KERAS)(dense)
    sketch(dense(X))
    dense.kernel.assign(np.zeros((12, 3)))
    np.testing.assert_array_equal(sketch(np.ones((1, 3))), np.zeros((1, 12)))


@pytest.mark.parametrize("first_stays", [True, False])
def test_a_coupling_layer_is_inverted_in_both_orders(first_stays):
    keras.utils.set_random_seed(1)
    coupling = definition(NOTEBOOK, "Coupling", {**KERAS, "PIXELS": 12})(first_stays)
    assert np.abs(coupling(X) - X).max() > 0.1
    np.testing.assert_allclose(coupling(coupling(X), inverse=True), X, atol=1e-5)
    np.testing.assert_allclose(coupling(coupling(X, inverse=True)), X, atol=1e-5)


@pytest.mark.parametrize(("first_stays", "stays"), [(True, slice(6)), (False, slice(6, 12))])
def test_a_coupling_layer_leaves_one_half_as_it_is(first_stays, stays):
    coupling = definition(NOTEBOOK, "Coupling", {**KERAS, "PIXELS": 12})(first_stays)
    np.testing.assert_array_equal(coupling(X)[:, stays], X[:, stays])


def test_a_coupling_layer_scales_by_e_at_most():
    coupling = definition(NOTEBOOK, "Coupling", {**KERAS, "PIXELS": 12})(True)
    coupling(X)
    kernel, bias = coupling.network.layers[-1].weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign(np.repeat([100.0, 0.0], 6))
    np.testing.assert_allclose(coupling(X)[:, 6:], np.e * X[:, 6:], rtol=1e-5)


def test_the_constraint_brings_columns_nearer_to_orthonormal_ones():
    W, _ = np.linalg.qr(RNG.normal(size=(12, 4)))
    W = (W + 0.01 * RNG.normal(size=W.shape)).astype("float32")
    mended = ops.convert_to_numpy(definition(NOTEBOOK, "Orthonormal", KERAS)()(W))
    before, after = (np.abs(A.T @ A - np.eye(4)).max() for A in (W, mended))
    assert after < 0.1 * before
    np.testing.assert_allclose(mended, W, atol=0.1)  # and not to some other ones


@pytest.fixture
def reversible():
    """Encoder, decoder and both together, with shifts that are not 0."""
    names = {**KERAS, "PIXELS": 784, "SEED": 1}
    for name in ("Orthonormal", "Reversible"):
        definition(NOTEBOOK, name, names)
    encoder, decoder, both = definition(NOTEBOOK, "reversible_autoencoder", names)(5)
    for weight in both.weights:
        if len(weight.shape) == 1:
            weight.assign(0.3 * RNG.normal(size=weight.shape))
    return encoder, decoder, both


def test_the_reversible_autoencoder_is_a_left_inverse_before_any_training(reversible):
    encoder, decoder, both = reversible
    z = 3 * RNG.normal(size=(6, 5)).astype("float32")
    np.testing.assert_allclose(encoder(decoder(z)), z, atol=1e-4)
    x = RNG.uniform(size=(6, 784)).astype("float32")
    assert np.abs(both(x) - x).max() > 0.1


def test_the_reversible_decoder_has_no_weights_of_its_own(reversible):
    encoder, decoder, both = reversible
    assert len(both.trainable_weights) == len(encoder.weights) == len(decoder.weights) == 6
    assert both.count_params() == 784 * 256 + 256 * 64 + 64 * 5 + 784 + 256 + 64


def test_the_reversible_layers_are_not_linear(reversible):
    encoder, _, _ = reversible
    x = RNG.uniform(size=(6, 784)).astype("float32")
    middle = (encoder(x) + encoder(-x)) / 2
    assert np.abs(middle - encoder(0 * x)).max() > 0.01


def test_the_distance_is_relative_to_the_second():
    distance = definition(NOTEBOOK, "distance", {"np": np})
    assert distance(np.array([3.0, 4.0]), np.array([0.0, 2.0])) == pytest.approx(13**0.5 / 2)


def test_the_predicted_singular_values_minimise_the_loss():
    eigenvalues = np.array([5.0, 3.0, 2.0, 1.0, 0.5])
    predicted = definition(
        NOTEBOOK, "predicted", {"np": np, "eigenvalues": eigenvalues, "LINEAR_CODE": 3}
    )
    rho = 0.7
    singular_values, error = predicted(rho)
    a = np.linspace(0, 1, 100_001)
    for found, variance in zip(singular_values, eigenvalues, strict=False):
        loss = variance * (1 - a**2) ** 2 + 2 * rho * a**2
        assert found == pytest.approx(a[np.argmin(loss)], abs=1e-4)
    left = eigenvalues[:3] @ (1 - singular_values**2) ** 2 + eigenvalues[3:].sum()
    assert error == pytest.approx(left / eigenvalues[3:].sum())


def test_the_round_trip_is_measured_in_standard_deviations():
    names = {"np": np}
    names["numpy_of"] = lambda network, inputs: network(inputs)
    round_trip = definition(NOTEBOOK, "round_trip", names)
    shift = np.array([1.0, 4.0])
    off = round_trip(lambda x: x + shift, lambda z: z, np.zeros((2, 2)), np.array([1.0, 2.0]))
    np.testing.assert_allclose(off, [2.5**0.5] * 2)


# ---- the grid ----------------------------------------------------------------------------------

SIDE = np.linspace(-5, 5, 161)
GRID = {
    "np": np,
    "norm": norm,
    "cell_area": (SIDE[1] - SIDE[0]) ** 2,
    "grid": np.stack(np.meshgrid(SIDE, SIDE), axis=-1).reshape(-1, 2),
}


def test_the_kl_on_the_grid_is_that_of_two_gaussians():
    mean, deviation = np.array([[0.5, -1.0], [0.0, 0.2]]), np.array([[0.3, 0.5], [1.0, 0.2]])
    log_prior = norm.logpdf(GRID["grid"]).sum(axis=1)
    found = definition(NOTEBOOK, "kl_on_grid", GRID)(mean, deviation, [log_prior, log_prior])
    expected = 0.5 * (mean**2 + deviation**2 - 1 - 2 * np.log(deviation)).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_posterior_on_the_grid_is_bayes_rule():
    p = 1 / (1 + np.exp(-GRID["grid"] @ RNG.normal(size=(2, 7))))
    names = {**GRID, "logsumexp": logsumexp}
    names["log_odds"] = np.log(p / (1 - p))
    names["log_all_white"] = np.log(1 - p).sum(axis=1)
    log_posterior = definition(NOTEBOOK, "log_posterior", names)
    images = (RNG.uniform(size=(3, 7)) < 0.5).astype("float32")
    log_p, log_evidence = log_posterior(images)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1) * GRID["cell_area"], 1, rtol=1e-6)
    likelihood = np.prod(np.where(images[:, None] == 1, p, 1 - p), axis=2)
    prior = norm.pdf(GRID["grid"]).prod(axis=1)
    evidence = (likelihood * prior).sum(axis=1) * GRID["cell_area"]
    np.testing.assert_allclose(np.exp(log_evidence), evidence, rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_p), likelihood * prior / evidence[:, None], rtol=1e-5)


# ---- exercises ---------------------------------------------------------------------------------

WRONG_LEFT_INVERSES = {
    "A is added as it is": "np.linalg.pinv(W2) + A",
    "the transpose is taken": "W2.T + A @ (np.eye(len(W2)) - W2 @ W2.T)",
    "the columns are taken for orthonormal": (
        "np.linalg.pinv(W2) + A @ (np.eye(len(W2)) - W2 @ W2.T)"
    ),
    "A is forgotten": "np.linalg.pinv(W2)",
}


@pytest.mark.parametrize("mistake", WRONG_LEFT_INVERSES)
def test_the_usual_wrong_left_inverses_are_caught(mistake):
    refuses(NOTEBOOK, 1, f"answer_1 = lambda W2, A: {WRONG_LEFT_INVERSES[mistake]}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("eigenvalues[d - 1] / pixels", "eigenvalues[d - 1]", id="no mean over pixels"),
        pytest.param("[d - 1]", "[d - 2]", id="the axis before"),
        pytest.param("[d - 1]", "[d]", id="the axis after"),
        pytest.param("/ pixels", "/ (2 * pixels)", id="half of it"),
    ],
)
def test_the_usual_wrong_decays_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 2, right, wrong)


TWO_MODELS = """
def answer_3(x):
    first, second = layers.Dense(64, activation="relu"), layers.Dense(16)
    encoder = keras.Sequential([keras.Input((784,)), first, second])
    decoder = keras.Sequential(
        [
            keras.Input((16,)),
            vaekit.TiedDense(second, activation="relu"),
            vaekit.TiedDense(first, activation="sigmoid"),
        ]
    )
    network = keras.Sequential([encoder, decoder])
    network.compile(keras.optimizers.Adam(3e-3), loss="binary_crossentropy")
    network.fit(x, x, batch_size=50, epochs=5, verbose=0)
    return network
"""


def test_a_tie_that_the_file_loses_is_caught():
    refuses(NOTEBOOK, 3, TWO_MODELS)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param(
            'vaekit.TiedDense(first, activation="sigmoid")',
            'layers.Dense(784, activation="sigmoid")',
            id="one layer is free",
        ),
        pytest.param("epochs=5", "epochs=0", id="it is not trained"),
    ],
)
def test_the_usual_wrong_ties_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
