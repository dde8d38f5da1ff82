"""The curvature of a loss, and the linear layer that predicts the posterior's width from it."""

import numpy as np
import pytest

from vaekit.posterior_width import curvature, fit_log_var


def quadratic(n, d, seed=0):
    """Hessians ``(n, d, d)`` of quadratic losses around 0, and their gradient as a function."""
    factors = np.random.default_rng(seed).normal(size=(n, d, d))
    hessians = factors @ factors.transpose(0, 2, 1)
    return hessians, lambda z: np.einsum("nij,npj->npi", hessians, z)


@pytest.mark.parametrize("d", [1, 3, 8])
def test_orthogonal_probes_find_the_diagonal_of_each_hessian(d):
    hessians, gradient = quadratic(5, d)
    along_axes, mean = curvature(gradient, np.zeros((5, 1, d)), np.linspace(0.1, 1, d), probes=8)
    expected = np.diagonal(hessians, axis1=1, axis2=2)
    np.testing.assert_allclose(along_axes[:, 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.diagonal(mean), expected.mean(axis=0), rtol=1e-5)


def test_mean_hessian_is_found_from_random_probes():
    hessians, gradient = quadratic(4000, 3)
    _, found = curvature(gradient, np.zeros((4000, 1, 3)), np.full(3, 0.5), probes=4)
    np.testing.assert_allclose(found, hessians.mean(axis=0), atol=0.3)


@pytest.mark.parametrize("width", [5, 200], ids=["narrow", "wide"])
def test_log_var_is_found_through_noise_on_the_precision(width):
    rng = np.random.default_rng(0)
    features, true = rng.normal(size=(2000, width)), 0.3 * rng.normal(size=(width, 2))
    features[:, 5:] *= 1e-3  # of 200 features, 5 count
    log_var = np.minimum(features @ true - 3.0, 0)
    precision = np.exp(-log_var) * (1 + rng.normal(size=log_var.shape))  # one in six is negative
    kernel, bias = fit_log_var(features, precision)
    assert features @ kernel + bias == pytest.approx(log_var, abs=0.5)


def test_noise_is_not_learned():
    rng = np.random.default_rng(0)
    features, precision = rng.normal(size=(80, 200)), np.exp(rng.normal(size=(80, 1)) + 3)
    kernel, _ = fit_log_var(features, precision)
    assert np.abs(rng.normal(size=(50, 200)) @ kernel).std() < 0.5
