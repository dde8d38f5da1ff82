"""What notebook 10 defines, taken out of it and held against vaekit and SciPy."""

import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp
from scipy.stats import norm

import vaekit
from tests.notebooks.sketches import definition
from tests.tiny_models import X, tiny_vae

NOTEBOOK = "10_how_good"


def take(name):
    return definition(NOTEBOOK, name, {"np": np, "norm": norm, "ops": ops})


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
