"""The code that notebook 01 teaches, its claims with false numbers, and its exercises."""

import keras
import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.special import xlogy
from sklearn.decomposition import PCA

from tests.notebooks.sketches import claim_cells, definition
from tests.notebooks.test_exercises import refuses_changed_solution
from vaekit import likelihoods

NOTEBOOK = "01_autoencoder"
ORTHOGONAL = np.eye(4)[:, :2]
OTHER = np.eye(4)[:, 2:]
HALF_CIRCLE = np.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])

# For each claim: the numbers that the notebook finds, and the one that would refute it.
CLAIMS = {
    "toy-check": ({"network_error": 0.001, "line_error": 0.046}, {"network_error": 0.01}),
    "toy-stray-check": (
        {"stray_copies": np.array([[0.0, 1.02], [-1.0, 0.0]]), "on_circle": HALF_CIRCLE},
        {"stray_copies": np.array([[0.0, 1.02], [0.0, -1.0]])},
    ),
    "loss-check": (
        {"PIXELS": 784, "keras_mean": 0.69, "untrained": 784 * 0.69},
        {"untrained": 0.69},
    ),
    "loss-binarised-check": ({"binarised": 205.25, "baseline": 205.2}, {"binarised": 201.0}),
    "train-removed-check": ({"removed": 0.34}, {"removed": 0.5}),
    "copies-kept-check": ({"right_copies": 0.63}, {"right_copies": 0.94}),
    "sweep-below-check": (
        {
            "network_errors": {2: 0.046, 4: 0.034, 8: 0.025, 16: 0.021},
            "pca_errors": {2: 0.055, 4: 0.048, 8: 0.037, 16: 0.027},
            "CODE_SIZES": [2, 4, 8, 16],
        },
        {"network_errors": {2: 0.046, 4: 0.034, 8: 0.025, 16: 0.027}},
    ),
    "sweep-needed-check": ({"axes_needed": {4: 11}}, {"axes_needed": {4: 6}}),
    "sweep-needed-8-check": ({"axes_needed": {8: 18}}, {"axes_needed": {8: 12}}),
    "others-moved-check": (
        {"network_on": {"digit": 0.019, "moved": 0.064}},
        {"network_on": {"digit": 0.019, "moved": 0.019}},
    ),
    "others-pca-check": (
        {"network_on": {"moved": 0.064}, "pca_on": {"moved": 0.058}},
        {"pca_on": {"moved": 0.064}},
    ),
    "others-negative-check": (
        {"network_on": {"negative": 0.672}, "pca_on": {"negative": 0.582}},
        {"pca_on": {"negative": 0.672}},
    ),
    "others-sizes-check": (
        {
            "moved_by_network": {2: 0.088, 8: 0.076, 16: 0.069},
            "moved_by_pca": {2: 0.083, 8: 0.070, 16: 0.058},
        },
        {"moved_by_network": {2: 0.088, 8: 0.070, 16: 0.069}},
    ),
    "linear-error-check": (
        {"LINEAR_CODE": 8, "pca_errors": {8: 0.0373}, "linear_error": 0.0373},
        {"linear_error": 0.0380},
    ),
    "linear-space-check": ({"W2": ORTHOGONAL @ [[1, 2], [0, 1]], "V": ORTHOGONAL}, {"W2": OTHER}),
    "linear-axes-check": (
        {"columns_angle": np.array([49, 53, 40])},
        {"columns_angle": np.array([0, 1, 40])},
    ),
    "recovered-check": (
        {"recovered_angle": np.array([0, 0.1])},
        {"recovered_angle": np.array([0, 49])},
    ),
    "wrong-range-check": ({"keras_at_2": np.array([-4.6])}, {"keras_at_2": np.array([0.01])}),
    "wrong-encoder-check": ({"W1": OTHER.T, "V": ORTHOGONAL}, {"W1": ORTHOGONAL.T}),
    "wrong-encoder-codes-check": ({"codes_angle": 0.9}, {"codes_angle": 60.0}),
}


def run_claim(name, numbers):
    (source,) = (cell["source"] for cell in claim_cells(NOTEBOOK) if cell["id"] == name)
    largest_angle = definition(
        NOTEBOOK, "largest_angle", {"np": np, "subspace_angles": subspace_angles}
    )
    exec(source, {"np": np, "largest_angle": largest_angle, **numbers})


def test_every_claim_is_tried_here():
    assert {cell["id"] for cell in claim_cells(NOTEBOOK)} == set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_holds_with_the_numbers_found_and_fails_with_false_ones(name):
    found, false = CLAIMS[name]
    run_claim(name, found)
    with pytest.raises(AssertionError):
        run_claim(name, {**found, **false})


def test_the_cross_entropy_is_the_packages_bernoulli_loss():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(5, 28, 28, 1))
    x_prime = rng.uniform(0.05, 0.95, size=x.shape)
    cross_entropy = definition(NOTEBOOK, "cross_entropy", {"np": np, "xlogy": xlogy})
    packaged = -np.array(likelihoods.Bernoulli().log_prob(x, x_prime))
    assert packaged.shape == (5,)
    np.testing.assert_allclose(cross_entropy(x, x_prime), packaged.mean(), rtol=1e-4)


def test_the_cross_entropy_of_a_perfect_black_and_white_copy_is_0():
    bits = np.random.default_rng(0).integers(0, 2, size=(2, 28, 28, 1))
    cross_entropy = definition(NOTEBOOK, "cross_entropy", {"np": np, "xlogy": xlogy})
    assert cross_entropy(bits, bits) == 0


def test_the_pca_copies_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(900, 28, 28, 1))
    namespace = {"np": np}
    flat = definition(NOTEBOOK, "flat", namespace)
    principal_axes = definition(NOTEBOOK, "principal_axes", namespace)
    namespace["center"] = flat(images).mean(axis=0)
    namespace["axes"] = principal_axes(flat(images) - namespace["center"])
    pca_copies = definition(NOTEBOOK, "pca_copies", namespace)
    fitted = PCA(5, svd_solver="full").fit(flat(images))
    expected = fitted.inverse_transform(fitted.transform(flat(images[:7])))
    np.testing.assert_allclose(flat(pca_copies(images[:7], 5)), expected, atol=1e-8)


def test_the_angle_to_the_nearest_column_knows_no_sign_and_no_length():
    angle_to_nearest = definition(NOTEBOOK, "angle_to_nearest", {"np": np})
    columns = np.array([[-3.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(angle_to_nearest(columns, np.eye(2)), [0, 45], atol=1e-6)


def test_the_encoder_gives_codes_of_the_size_asked_for_and_the_decoder_images():
    namespace = {"keras": keras, "layers": keras.layers, "PIXELS": 784}
    build = definition(NOTEBOOK, "build_autoencoder", namespace)
    encoder, decoder, autoencoder = build(5)
    images = np.random.default_rng(0).uniform(size=(3, 28, 28, 1)).astype("float32")
    codes = encoder(images)
    assert codes.shape == (3, 5)
    assert float(np.min(codes)) < 0  # A code may be any number.
    np.testing.assert_allclose(autoencoder(images), decoder(codes), atol=1e-6)


# For each exercise: the usual wrong answers, as a change of the solution.
WRONG_ANSWERS = [
    (1, "terms.sum(axis=(1, 2, 3))", "terms.mean(axis=(1, 2, 3))"),
    (1, "terms.sum(axis=(1, 2, 3))", "terms.sum() / len(x)"),
    (1, " + (1 - x) * np.log(1 - x_prime)", ""),
    (2, "center = train.mean(axis=0)", "center = test.mean(axis=0)"),
    (2, "center = train.mean(axis=0)", "center = 0"),
    (2, "eigenvectors[:, -d:]", "eigenvectors[:, :d]"),
    (3, "np.concatenate([left, x, right])", "np.concatenate([x, x, x])"),
    (3, "np.concatenate([left, x, right])", "np.concatenate([left, x, x])"),
    (3, "fit(everything, everything,", "fit(everything, np.concatenate([x, x, x]),"),
]


@pytest.mark.parametrize(("number", "right", "wrong"), WRONG_ANSWERS)
def test_the_usual_wrong_answers_fail_the_check(number, right, wrong):
    refuses_changed_solution(NOTEBOOK, number, right, wrong)
