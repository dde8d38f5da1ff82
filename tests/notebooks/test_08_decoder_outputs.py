"""What notebook 08 writes itself, against the packaged likelihoods."""

import numpy as np
import pytest

from tests.notebooks.sketches import definition
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
