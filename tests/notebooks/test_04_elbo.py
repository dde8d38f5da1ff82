"""What notebook 04 defines, taken out of it and held against vaekit and SciPy."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import vaekit
from tests.notebooks.sketches import definition

NOTEBOOK = "04_elbo"
NAMESPACE = {"np": np, "multivariate_normal": multivariate_normal}


def take(name, **more):
    return definition(NOTEBOOK, name, {**NAMESPACE, **more})


@pytest.fixture
def model():
    rng = np.random.default_rng(3)
    x, W, b = rng.normal(size=(7, 4)), rng.normal(size=(4, 2)), rng.normal(size=4)
    return x, rng.normal(size=(7, 2)), rng.normal(-1, 1, size=(7, 2)), W, b, 0.6


def test_negative_elbo_sketch_has_the_kl_of_vaekit(model):
    _, kl = take("negative_elbo_sketch")(*model)
    np.testing.assert_allclose(kl, vaekit.losses.gaussian_kl(*model[1:3]), rtol=1e-12)


def test_negative_elbo_sketch_is_the_mean_of_the_likelihood_of_vaekit(model):
    x, z_mean, z_log_var, W, b, s = model
    reconstruction, _ = take("negative_elbo_sketch")(*model)
    noise = np.random.default_rng(0).standard_normal((20_000, *z_mean.shape))
    z = (z_mean + np.exp(z_log_var / 2) * noise).reshape(-1, 2)
    log_prob = vaekit.likelihoods.Gaussian(scale=s).log_prob(np.tile(x, (20_000, 1)), z @ W.T + b)
    draws = np.reshape(log_prob, (20_000, 7)).astype("float64")
    standard_error = draws.std(axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(axis=0) + reconstruction) < 4 * standard_error)


def test_negative_elbo_sketch_without_noise_is_the_likelihood_of_vaekit(model):
    x, z_mean, _, W, b, s = model
    reconstruction, _ = take("negative_elbo_sketch")(x, z_mean, np.full((7, 2), -80.0), W, b, s)
    log_prob = vaekit.likelihoods.Gaussian(scale=s).log_prob(x, z_mean @ W.T + b)
    np.testing.assert_allclose(reconstruction, -np.asarray(log_prob), rtol=1e-5)


def test_the_bound_is_exact_at_the_posterior_and_below_elsewhere(model):
    x, z_mean, z_log_var, W, b, s = model
    W = np.linalg.qr(W)[0] * [2.0, 0.5]  # orthogonal columns: the posterior is diagonal
    sketch, log_p = take("negative_elbo_sketch"), take("log_evidence")(x, W, b, s)
    mean, covariance = take("posterior")(x, W, b, s)
    exact = np.tile(np.log(np.diag(covariance)), (7, 1))
    np.testing.assert_allclose(-sum(sketch(x, mean, exact, W, b, s)), log_p, rtol=0, atol=1e-9)
    assert np.all(-sum(sketch(x, z_mean, z_log_var, W, b, s)) < log_p)


def test_posterior_and_evidence_obey_bayes_rule(model):
    x, z, _, W, b, s = model
    mean, covariance = take("posterior")(x, W, b, s)
    log_p = take("log_evidence")(x, W, b, s)
    for i in range(len(x)):
        joint = multivariate_normal(W @ z[i] + b, s**2 * np.eye(4)).logpdf(x[i])
        joint += multivariate_normal(np.zeros(2), np.eye(2)).logpdf(z[i])
        log_posterior = multivariate_normal(mean[i], covariance).logpdf(z[i])
        assert joint - log_posterior == pytest.approx(log_p[i], abs=1e-9)


@pytest.mark.tensorflow
def test_keras_vae_is_the_linear_model(model):
    import keras

    x, _, z_log_var, W, b, s = model
    V = np.random.default_rng(5).normal(size=(4, 2))
    vae = take("keras_vae", keras=keras, vaekit=vaekit, SEED=1)(V, z_log_var[0], W, b, s)
    z_mean, log_var = vae.encode(x.astype("float32"))
    np.testing.assert_allclose(z_mean, (x - b) @ V, atol=1e-4)
    np.testing.assert_allclose(log_var, np.tile(z_log_var[0], (7, 1)), rtol=1e-5)
    np.testing.assert_allclose(vae.decode(z_mean), (x - b) @ V @ W.T + b, atol=1e-4)
    assert vae.likelihood.scale == s
