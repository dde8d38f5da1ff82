"""What notebook 10 defines, taken out of it and held against vaekit and SciPy."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.special import gammaln, logsumexp
from scipy.stats import norm

import vaekit
from tests.notebooks.sketches import definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution
from tests.tiny_models import X, tiny_vae

NOTEBOOK = "10_how_good"


def take(name, **names):
    common = {"np": np, "norm": norm, "ops": ops, "keras": keras, "layers": layers}
    return definition(NOTEBOOK, name, {**common, "vaekit": vaekit, **names})


@pytest.mark.parametrize("offset", [0.0, -2000.0])
def test_importance_bound_sketch_is_the_log_of_the_mean_of_the_weights(offset):
    log_w = offset + np.random.default_rng(0).normal(0, 4, size=(5, 30))
    expected = logsumexp(log_w, axis=1, b=1 / 30)
    np.testing.assert_allclose(take("importance_bound_sketch")(log_w), expected, rtol=1e-12)


def test_the_sketches_give_the_bound_of_vaekit_on_the_same_noise():
    vae = tiny_vae()
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(3).spawn(len(X))]
    noise = np.stack([stream.standard_normal((9, 2), "float32") for stream in streams])
    log_w = take("log_weights_sketch")(vae, X, noise)
    assert log_w.shape == (len(X), 9)
    expected = vaekit.evaluation.log_likelihood(vae, X, num_samples=9, seed=3)
    np.testing.assert_allclose(take("importance_bound_sketch")(log_w), expected, rtol=1e-5)


def test_elbo_gap_is_the_kl_of_two_gaussians():
    for ratio in (0.3, 1.0, 2.0):
        expected = vaekit.losses.gaussian_kl([[0.0]], [[2 * np.log(ratio)]])
        assert take("elbo_gap")(ratio) == pytest.approx(float(expected[0]), abs=1e-6)


def test_the_standard_error_shrinks_with_the_root_of_the_number():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=40_000)
    mean, error = take("mean_and_error")(values)
    assert mean == pytest.approx(3.0, abs=0.05)
    assert error == pytest.approx(2.0 / 200, rel=0.02)


def test_switched_off_latents_have_the_prior_as_q_and_the_others_stay():
    vae = tiny_vae()
    off = np.array([True, False])
    changed = take("switched_off")(vae, off)
    off[1] = True  # the VAE made before must not change with it
    for before, after in zip(vae.encode(X), changed.encode(X), strict=True):
        np.testing.assert_array_equal(after[:, 0], np.zeros(len(X)))
        np.testing.assert_allclose(after[:, 1], before[:, 1], rtol=1e-6)
    assert changed.decoder is vae.decoder


def test_the_score_of_the_copies_is_that_of_a_density():
    # One stored digit in place of 4,000: there are (784 over k) images with k flipped pixels.
    flips = np.arange(785.0)[:, None]
    log_density = take("copies_score", flips=flips)(0.1) + np.log(4000)
    log_images = gammaln(785) - gammaln(flips[:, 0] + 1) - gammaln(785 - flips[:, 0])
    assert logsumexp(log_density + log_images) == pytest.approx(0.0, abs=1e-9)


def test_the_softmax_weighted_mean_lies_above_the_bound_and_the_lost_signs_below():
    log_w = np.random.default_rng(0).normal(-100, 3, size=(200, 50))
    bound = take("importance_bound_sketch")
    names = {"softmax": take("softmax"), "importance_bound_sketch": bound}
    means = take("four_other_means", **names)(log_w)
    differences = {name: np.mean(values - bound(log_w)) for name, values in means.items()}
    assert differences["softmax-weighted"] > 0 > differences["mean of the logs"]
    assert differences["softmax of the errors"] < differences["mean of the logs"]
    assert differences["sign lost"] < differences["mean of the logs"]


# ---- claims and exercises ----------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["np.exp(-10)", "1 - 10 / 784", "1 - 2.0**-10"])
def test_the_usual_wrong_shares_of_noise_are_caught(wrong):
    refuses(NOTEBOOK, 1, f"answer_1 = {wrong}")


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(
            "lambda chunks: np.mean([np.logaddexp.reduce(c, axis=1) - np.log(c.shape[1])"
            " for c in chunks], axis=0)",
            id="mean of bounds",
        ),
        pytest.param(
            "lambda chunks: np.log(np.mean(np.exp(np.concatenate(chunks, axis=1)), axis=1))",
            id="underflow",
        ),
        pytest.param(
            "lambda chunks: np.logaddexp.reduce(np.concatenate(chunks, axis=1), axis=1)",
            id="sum, not mean",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_the_usual_wrong_running_bounds_are_caught(wrong):
    refuses(NOTEBOOK, 2, f"answer_2 = {wrong}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("offset=2 * np.log(factor)", "offset=np.log(factor)", id="variance"),
        pytest.param("Rescaling(1.0, offset=2 * np.log(factor))", "Rescaling(factor)", id="times"),
        pytest.param("epochs=30", "epochs=0", id="not trained"),
    ],
)
def test_the_usual_wrong_ways_to_widen_q_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
