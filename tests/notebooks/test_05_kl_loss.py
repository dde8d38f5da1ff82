"""The KL as notebook 05 writes it, against the packaged function and layer."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy import stats

import vaekit
from tests.notebooks.sketches import cells, definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution

NOTEBOOK = "05_kl_loss"


@pytest.fixture
def heads():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 64, 5)) * [[[2.0]], [[1.5]]]  # z_mean, z_log_var; float64


@pytest.fixture
def kl_gaussians():
    return definition(NOTEBOOK, "kl_gaussians", {"np": np})


def test_the_sketch_equals_the_packaged_function(heads):
    sketch = definition(NOTEBOOK, "gaussian_kl_sketch", {"ops": ops})
    got, expected = sketch(*heads), vaekit.losses.gaussian_kl(*heads)
    assert tuple(got.shape) == (64,)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_the_sketch_equals_what_the_layer_adds_to_a_model(heads):
    sketch = definition(NOTEBOOK, "gaussian_kl_sketch", {"ops": ops})
    layer = vaekit.KLDivergence(beta=2.0)
    layer([head.astype("float32") for head in heads])
    np.testing.assert_allclose(layer.losses, [2.0 * np.mean(sketch(*heads))], rtol=1e-5)


def test_line_4_summed_over_latents_equals_the_packaged_function(heads, kl_gaussians):
    z_mean, z_log_var = heads
    summed = kl_gaussians(z_mean, np.exp(0.5 * z_log_var)).sum(axis=1)
    np.testing.assert_allclose(summed, vaekit.losses.gaussian_kl(*heads), rtol=1e-10)


def test_unmask_finds_nothing_in_the_packaged_function_and_the_fault_in_a_wrong_one(kl_gaussians):
    unmask = definition(NOTEBOOK, "unmask", {"np": np})

    @tf.function(reduce_retracing=True)  # it is called some ten thousand times
    def compiled(mu, sigma):
        return vaekit.losses.gaussian_kl(mu[None], 2 * tf.math.log(sigma)[None])[0]

    def packaged(mu, sigma):
        return compiled(tf.constant(mu), tf.constant(sigma)).numpy()

    def in_numpy(mu, sigma):  # the same, and faster
        return kl_gaussians(mu, sigma).sum()

    truth = {"prior": 0, "slope": 0, "minimum": 0, "sigma": 1, "point": 0.5631472, "twice": 2}
    assert unmask(packaged) == pytest.approx(truth, abs=1e-4)
    assert unmask(in_numpy) == pytest.approx(truth, abs=1e-4)
    assert unmask(lambda mu, sigma: -in_numpy(mu, sigma))["minimum"] == -np.inf
    assert unmask(lambda mu, sigma: in_numpy(mu, sigma) / len(mu))["twice"] == pytest.approx(1)


def test_unmask_finds_a_power_that_is_right_at_one_alone():
    unmask = definition(NOTEBOOK, "unmask", {"np": np})

    def cubic(mu, sigma):
        return 0.5 * np.sum(abs(mu) ** 3 + sigma**2 - 1 - 2 * np.log(sigma))

    assert abs(unmask(cubic)["point"] - 0.5631472) > 0.05


def test_every_formula_but_the_first_is_named_as_wrong_in_the_stored_table():
    (table,) = (cell for cell in cells(NOTEBOOK) if cell["id"] == "table")
    text = "".join("".join(output["text"]) for output in table["outputs"])
    rows = text.splitlines()[2:]
    assert len(rows) == 10
    assert [row.startswith("blog post") for row in rows] == [
        row.endswith("nothing") for row in rows
    ]


def test_the_reconstruction_loss_is_summed_over_every_pixel_axis():
    image_nats = definition(NOTEBOOK, "image_nats", {"ops": ops})
    x, x_prime = np.random.default_rng(0).uniform(0.1, 0.9, size=(2, 3, 4, 5, 1))
    expected = -(x * np.log(x_prime) + (1 - x) * np.log(1 - x_prime)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(image_nats(x, x_prime), expected, rtol=1e-5)


class TwoCodes:
    """An encoder of two images whose codes are known."""

    def __init__(self, means, sigma):
        self.heads = np.array(means), np.full((2, 2), 2 * np.log(sigma))

    def __call__(self, x):
        return self.heads


@pytest.mark.parametrize("centre", [0.0, 3.0])
def test_the_mean_kl_is_split_into_information_centre_and_rest(centre):
    means = centre + np.array([[-40.0, 0.0], [40.0, 0.0]])
    names = {"np": np, "norm": stats.norm, "vaekit": vaekit, "SEED": 1, "x_train": None}
    split_kl = definition(NOTEBOOK, "split_kl", names)
    mean_kl, information, off_centre, rest = split_kl(TwoCodes(means, 0.1))
    assert information == pytest.approx(np.log(2))  # a code names its image
    assert off_centre == pytest.approx(centre**2)  # half of it for each latent
    assert rest == pytest.approx(mean_kl - np.log(2) - centre**2)


# ---- claims and exercises ----------------------------------------------------------------------


WRONG_BETAS = {
    "the mean over the latents is forgotten": 784 * 5e-4 * 2,
    "the factor 1/2 is forgotten": 784 * 5e-4 / 2,
    "the mean over the pixels is forgotten": 5e-4,
}
OTHER_PRIORS = {
    "no sum": "0.5 * (v_2 - v_1 + (np.exp(v_1) + (m_1 - m_2) ** 2) / np.exp(v_2) - 1)",
    "a mean": "0.5 * np.mean(v_2 - v_1 + (np.exp(v_1) + (m_1 - m_2)**2) / np.exp(v_2) - 1, axis=1)",
    "q and p swapped": (
        "0.5 * np.sum(v_1 - v_2 + (np.exp(v_2) + (m_1 - m_2)**2) / np.exp(v_1) - 1, axis=1)"
    ),
    "the means are not scaled": (
        "0.5 * np.sum(v_2 - v_1 + np.exp(v_1 - v_2) + (m_1 - m_2) ** 2 - 1, axis=1)"
    ),
}


@pytest.mark.parametrize("mistake", WRONG_BETAS)
def test_the_usual_wrong_betas_are_caught(mistake):
    refuses(NOTEBOOK, 1, f"answer_1 = {WRONG_BETAS[mistake]}")


@pytest.mark.parametrize("mistake", OTHER_PRIORS)
def test_the_usual_wrong_kls_from_another_prior_are_caught(mistake):
    refuses(NOTEBOOK, 2, f"answer_2 = lambda m_1, v_1, m_2, v_2: {OTHER_PRIORS[mistake]}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("loss=summed_cross_entropy", 'loss="binary_crossentropy"', id="mean loss"),
        pytest.param("KLDivergence(beta)", "KLDivergence(0.0)", id="no KL"),
        pytest.param("KLDivergence(beta)", "KLDivergence(1.0)", id="beta not used"),
    ],
)
def test_the_usual_wrong_trainings_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
