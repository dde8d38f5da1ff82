"""What notebook 08 writes itself, against the packaged likelihoods."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.notebooks.sketches import definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution
from vaekit.likelihoods import Bernoulli, ContinuousBernoulli

NOTEBOOK = "08_decoder_outputs"


def test_the_sketch_of_the_normaliser_equals_the_packaged_likelihood():
    log_c = definition(NOTEBOOK, "log_c_sketch", {"np": np})
    e = np.array([0, 1e-6, 1e-3, 0.0199, 0.0201, 0.1, 0.3, 0.49])
    p = np.concatenate([0.5 - e, 0.5 + e]).astype("float32")[:, None]
    x = np.full_like(p, 0.3)
    found = ContinuousBernoulli().log_prob(x, p) - Bernoulli().log_prob(x, p)
    np.testing.assert_allclose(found, log_c(p)[:, 0], atol=2e-6)


def test_the_two_branches_of_the_sketch_meet():
    log_c = definition(NOTEBOOK, "log_c_sketch", {"np": np})
    below, above = log_c(0.5 + 0.02 * (1 + 1e-9 * np.array([-1, 1])))
    assert below == pytest.approx(above, abs=1e-9)


def test_the_loss_of_one_pixel_is_lowest_where_the_text_says():
    loss = definition(NOTEBOOK, "one_pixel_loss", {"np": np})
    variance, sigma = 2.0, 0.6
    w = np.sqrt(variance - sigma**2)
    best = np.array([w, w / variance, np.log(sigma**2 / variance)])
    lowest, error, kl = loss(best, variance, sigma)
    assert error == pytest.approx(sigma**2) and kl == pytest.approx(np.log(variance**0.5 / sigma))
    for step in np.random.default_rng(0).normal(0, 0.01, (50, 3)):
        assert loss(best + step, variance, sigma)[0] > lowest


def test_a_linear_copy_keeps_a_fraction_of_each_axis_that_varies_more_than_the_scale():
    names = {"np": np, "variances": np.array([4.0, 1.0, 0.25]), "axes": np.eye(3)[::-1]}
    names["mean_image"] = np.array([1.0, 2.0, 3.0])
    linear_copy = definition(NOTEBOOK, "linear_copy", names)
    x = names["mean_image"] + 1.0  # one unit along each axis
    # The first axis is the last pixel here.
    np.testing.assert_allclose(linear_copy(x, 1.0), [1.0, 2.0, 3.75])
    np.testing.assert_allclose(linear_copy(x, 0.1), [1.96, 2.99, 3.9975])


def test_the_best_linear_vae_is_what_the_optimiser_finds_axis_by_axis():
    loss = definition(NOTEBOOK, "one_pixel_loss", {"np": np})
    names = {"np": np, "minimize": minimize, "one_pixel_loss": loss}
    optimised = definition(NOTEBOOK, "optimised", names)
    names = {"np": np, "PIXELS": 3, "variances": np.array([2.0, 0.5, 0.1])}
    best_linear = definition(NOTEBOOK, "best_linear", names)
    kept, kl, error = best_linear(0.5)
    by_axis = np.array([optimised(variance, 0.5) for variance in names["variances"]])
    assert kept == np.sum(by_axis[:, 0] > 1e-4) == 2
    assert (kl, 3 * error) == pytest.approx(tuple(by_axis.sum(axis=0)), abs=1e-4)


def test_dequantised_pixels_fill_their_level_and_no_other():
    dequantise = definition(NOTEBOOK, "dequantise", {"np": np})
    levels = np.arange(256)
    smooth = dequantise(levels / 255, np.random.default_rng(0))
    np.testing.assert_array_equal(np.floor(256 * smooth), levels)
    assert 0.4 < np.mean(256 * smooth - levels) < 0.6


# ---- claims and exercises ----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["2.0", "np.sqrt(1 / 8)", "2.8284"])
def test_the_usual_wrong_scales_are_caught(wrong):
    refuses(NOTEBOOK, 1, f"answer_1 = {wrong}")


@pytest.mark.parametrize(
    "wrong",
    ["np.sqrt(np.mean((x - m) ** 2))", "2 * np.mean(np.abs(x - m))", "np.median(np.abs(x - m))"],
)
def test_the_usual_wrong_widths_of_a_laplace_are_caught(wrong):
    refuses(NOTEBOOK, 2, f"answer_2 = lambda x, m: {wrong}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("Gaussian(scale=s)", "Gaussian(scale=19.8)", id="the scale is not used"),
        pytest.param("Gaussian(scale=s)", "Gaussian(scale=0.2)", id="nothing collapses"),
        pytest.param("kl = np.mean(", "kl = 1 / 8 * np.mean(", id="the KL is a mean over latents"),
    ],
)
def test_the_usual_wrong_trainings_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
