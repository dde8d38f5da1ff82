"""The layer, the gradients and the losses of notebook 03, against the package and exact values."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import vaekit
from tests.notebooks.sketches import definition
from tests.notebooks.test_exercises import refuses

NOTEBOOK = "03_sampling_layer"
MU, SIGMA = 0.7, 0.4


@pytest.fixture
def sketch():
    return definition(NOTEBOOK, "SamplingSketch", {"keras": keras, "ops": ops})


@pytest.fixture
def quadrature():
    """Noise and weights: weighted sums are exact means over N(0, 1) for polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    return nodes, weights / weights.sum()


@pytest.mark.parametrize("shape", [(6, 2), (6, 5, 3), (6, 4, 4, 2)])
def test_the_sketch_draws_what_the_packaged_layer_draws(sketch, shape):
    heads = list(np.random.default_rng(0).normal(size=(2, *shape)).astype("float32"))
    ours, packaged = sketch(seed=3), vaekit.Sampling(seed=3)
    for _ in range(2):
        np.testing.assert_allclose(ours(heads), packaged(heads), rtol=1e-6, atol=1e-6)


def test_the_sketch_draws_what_the_packaged_layer_draws_inside_a_model(sketch):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]
    draws = [
        keras.Model(inputs, layer(seed=3)(heads)).predict(x, verbose=0)
        for layer in (sketch, vaekit.Sampling)
    ]
    np.testing.assert_allclose(*draws, rtol=1e-6, atol=1e-6)


def test_the_pathwise_gradient_is_exact_on_average(quadrature):
    epsilon, weights = quadrature
    pathwise = definition(NOTEBOOK, "pathwise", {"np": np})
    mean = pathwise(lambda z: 3 * z**2, MU, SIGMA, epsilon) @ weights  # the loss is z^3
    np.testing.assert_allclose(mean, [3 * MU**2 + 3 * SIGMA**2, 6 * MU * SIGMA], rtol=1e-10)


@pytest.mark.parametrize("baseline", [0.0, 5.0])
def test_the_score_function_is_exact_on_average_whatever_the_baseline(quadrature, baseline):
    epsilon, weights = quadrature
    score_function = definition(NOTEBOOK, "score_function", {"np": np})
    mean = score_function(lambda z: z**3, MU, SIGMA, epsilon, baseline) @ weights
    np.testing.assert_allclose(mean, [3 * MU**2 + 3 * SIGMA**2, 6 * MU * SIGMA], rtol=1e-10)


# The exact variances of an estimate from one draw, for the loss (z - 3)^2.
VARIANCES = {
    "pathwise": lambda m, s: [4 * s**2, 4 * m**2 + 8 * s**2],
    "score function": lambda m, s: [
        m**4 / s**2 + 14 * m**2 + 15 * s**2,
        2 * m**4 / s**2 + 60 * m**2 + 74 * s**2,
    ],
    "with baseline": lambda m, s: [8 * m**2 + 10 * s**2, 40 * m**2 + 56 * s**2],
}


@pytest.mark.parametrize("name", VARIANCES)
def test_the_table_of_variances_is_exact(quadrature, name):
    epsilon, weights = quadrature
    m = MU - 3
    if name == "pathwise":
        pathwise = definition(NOTEBOOK, "pathwise", {"np": np})
        estimates = pathwise(lambda z: 2 * (z - 3), MU, SIGMA, epsilon)
    else:
        baseline = m**2 + SIGMA**2 if name == "with baseline" else 0.0
        score_function = definition(NOTEBOOK, "score_function", {"np": np})
        estimates = score_function(lambda z: (z - 3) ** 2, MU, SIGMA, epsilon, baseline)
    variance = estimates**2 @ weights - (estimates @ weights) ** 2
    np.testing.assert_allclose(variance, VARIANCES[name](m, SIGMA), rtol=1e-10)


# ---- the three losses --------------------------------------------------------------------------


class Toy:
    """An encoder of two variables, a linear decoder, a quadratic loss, and known noise."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.x = tf.constant(rng.normal(size=(6, 3)))
        self.z_mean = tf.Variable(rng.normal(size=(6, 2)))
        self.z_log_var = tf.Variable(rng.normal(size=(6, 2)))
        self.kernel = tf.Variable(rng.normal(size=(2, 3)))
        self.epsilon = rng.normal(size=(6, 2))

    def gradients(self, loss_name):
        names = {"ops": ops, "image_nats": lambda x, x_prime: ops.sum((x - x_prime) ** 2, axis=1)}
        loss_of = definition(NOTEBOOK, loss_name, names)
        with tf.GradientTape() as tape:
            loss = loss_of(
                self.x,
                lambda x: [self.z_mean, self.z_log_var],
                lambda z: z @ self.kernel,
                lambda heads: heads[0] + ops.exp(0.5 * heads[1]) * self.epsilon,
            )
        return tape.gradient(loss, [self.z_mean, self.z_log_var, self.kernel])

    def nats_and_slopes(self):
        """The loss of each row, and its slope at z."""
        z = self.z_mean.numpy() + np.exp(0.5 * self.z_log_var.numpy()) * self.epsilon
        error = z @ self.kernel.numpy() - self.x.numpy()
        return (error**2).sum(axis=1), 2 * error @ self.kernel.numpy().T


def test_a_draw_made_inside_leaves_the_decoder_alone_a_gradient():
    at_mean, at_log_var, at_kernel = Toy().gradients("loss_drawn_inside")
    assert at_mean is None
    assert at_log_var is None
    assert np.abs(at_kernel).max() > 0


def test_noise_from_outside_gives_both_heads_the_pathwise_gradient():
    toy = Toy()
    at_mean, at_log_var, at_kernel = toy.gradients("loss_noise_outside")
    _, slopes = toy.nats_and_slopes()
    sigma = np.exp(0.5 * toy.z_log_var.numpy())
    np.testing.assert_allclose(at_mean, slopes / 6, rtol=1e-10)
    np.testing.assert_allclose(at_log_var, slopes * 0.5 * sigma * toy.epsilon / 6, rtol=1e-10)
    np.testing.assert_allclose(at_kernel, toy.gradients("loss_drawn_inside")[2], rtol=1e-10)


def test_the_third_loss_has_the_gradient_of_the_score_function():
    toy = Toy()
    at_mean, at_log_var, at_kernel = toy.gradients("loss_score_function")
    nats, _ = toy.nats_and_slopes()
    advantage = (nats - nats.mean())[:, None]
    sigma = np.exp(0.5 * toy.z_log_var.numpy())
    np.testing.assert_allclose(at_mean, advantage * toy.epsilon / sigma / 6, rtol=1e-10)
    np.testing.assert_allclose(at_log_var, advantage * (toy.epsilon**2 - 1) / 2 / 6, rtol=1e-10)
    np.testing.assert_allclose(at_kernel, toy.gradients("loss_drawn_inside")[2], rtol=1e-10)


def draws_of(loss_name):
    """The codes that one of the two faulty losses decodes, in two calls on rows of N(0, 1)."""
    names = {"ops": ops, "keras": keras, "LATENTS": 2, "SEED": 1, "image_nats": lambda x, z: z}
    loss_of = definition(NOTEBOOK, loss_name, names)
    zeros, sampling, draws = np.zeros((6, 2), "float32"), vaekit.Sampling(seed=3), []
    for _ in range(2):
        loss_of(zeros, lambda x: [x, x], lambda z: draws.append(np.array(z)) or z, sampling)
    return draws


def test_shared_noise_is_one_row_for_the_batch_and_new_in_each_call():
    first, second = draws_of("loss_shared_noise")
    np.testing.assert_array_equal(first, np.tile(first[:1], (6, 1)))
    assert not np.isclose(first[0], second[0]).any()


def test_frozen_noise_is_new_in_each_row_and_the_same_in_each_call():
    first, second = draws_of("loss_frozen_noise")
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first, axis=0)) == 6


# ---- claims and exercises ----------------------------------------------------------------------


LAYER_INSIDE_THE_LOOP = """
def answer_3(seed):
    z_mean, z_log_var = tf.Variable([[0.0]]), tf.Variable([[0.0]])
    for _ in range(300):
        with tf.GradientTape() as tape:
            loss = ops.sum((vaekit.Sampling(seed=seed)([z_mean, z_log_var]) - TARGET) ** 2)
        at_mean, at_log_var = tape.gradient(loss, [z_mean, z_log_var])
        z_mean.assign_sub(0.1 * at_mean)
        z_log_var.assign_sub(0.1 * at_log_var)
    return float(z_mean[0, 0]), float(ops.exp(0.5 * z_log_var)[0, 0])
"""
USUAL_WRONG_ANSWERS = {
    "log sigma is handed on as it is": (
        1, "answer_1 = lambda m, s, seed: vaekit.Sampling(seed=seed)([m, s])"
    ),
    "log sigma is halved": (
        1, "answer_1 = lambda m, s, seed: vaekit.Sampling(seed=seed)([m, 0.5 * s])"
    ),
    "log sigma is taken for sigma": (
        1, "answer_1 = lambda m, s, seed: vaekit.Sampling(seed=seed)([m, 2 * ops.log(abs(s))])"
    ),
    "every layer is called fresh": (2, "answer_2 = lambda layer: 'fresh'"),
    "rows are compared before calls": (
        2,
        "def answer_2(layer):\n"
        "    z = layer([np.zeros((4, 2), 'float32')] * 2)\n"
        "    return 'shared' if np.ptp(z, axis=0).max() == 0 else 'fresh'",
    ),
    "the layer is made inside the loop": (3, LAYER_INSIDE_THE_LOOP),
    "sigma stays as it was": (3, "answer_3 = lambda seed: (3.0, 1.0)"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", USUAL_WRONG_ANSWERS)
def test_the_usual_wrong_answers_are_caught(mistake):
    number, answer = USUAL_WRONG_ANSWERS[mistake]
    refuses(NOTEBOOK, number, answer)
