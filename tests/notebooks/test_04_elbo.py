"""What notebook 04 defines, taken out of it and held against vaekit and SciPy; its claims."""

import numpy as np
import pytest
from keras import ops
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import vaekit
from tests.notebooks.sketches import definition
from tests.notebooks.test_exercises import parts, refuses

NOTEBOOK = "04_elbo"
NAMESPACE = {"np": np, "ops": ops, "multivariate_normal": multivariate_normal}


def take(name, **more):
    return definition(NOTEBOOK, name, {**NAMESPACE, **more})


@pytest.fixture
def model():
    rng = np.random.default_rng(3)
    x, W, b = rng.normal(size=(7, 4)), rng.normal(size=(4, 2)), rng.normal(size=4)
    return x, rng.normal(size=(7, 2)), rng.normal(-1, 1, size=(7, 2)), W, b, 0.6


# ---- the linear model --------------------------------------------------------------------------


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


def with_best_q(x, W, b, s):
    sketch, log_evidence = take("negative_elbo_sketch"), take("log_evidence")
    names = {"negative_elbo_sketch": sketch, "log_evidence": log_evidence}
    return take("with_best_q", images=x, mean_image=b, **names)(W, s)


def test_the_best_q_makes_the_bound_exact_if_the_columns_of_w_are_orthogonal(model):
    x, _, _, W, b, s = model
    orthogonal = np.linalg.qr(W)[0] * [2.0, 0.5]
    log_p, reconstruction, kl = with_best_q(x, orthogonal, b, s)
    np.testing.assert_allclose(-reconstruction - kl, log_p, rtol=0, atol=1e-9)


def test_no_diagonal_q_beats_the_best_one(model):
    x, _, _, W, b, s = model
    log_p, reconstruction, kl = with_best_q(x, W, b, s)
    assert np.all(-reconstruction - kl < log_p - 1e-3)  # the columns are not orthogonal
    P = np.eye(2) + W.T @ W / s**2
    mean = (x - b) @ W / s**2 @ np.linalg.inv(P)
    rng = np.random.default_rng(0)
    for size in (0.01, 0.1, 1.0):
        other_mean = mean + size * rng.normal(size=mean.shape)
        other_log_var = -np.log(np.diag(P)) + size * rng.normal(size=mean.shape)
        other = sum(take("negative_elbo_sketch")(x, other_mean, other_log_var, W, b, s))
        assert np.all(other > reconstruction + kl)


def test_gap_of_best_q_is_what_the_best_q_leaves_for_every_x(model):
    x, _, _, W, b, s = model
    log_p, reconstruction, kl = with_best_q(x, W, b, s)
    gap = take("gap_of_best_q")(W, s)
    np.testing.assert_allclose(log_p + reconstruction + kl, gap, rtol=0, atol=1e-9)


def test_log_evidence_obeys_bayes_rule(model):
    x, z, _, W, b, s = model
    log_p = take("log_evidence")(x, W, b, s)
    covariance = np.linalg.inv(np.eye(2) + W.T @ W / s**2)
    for i in range(len(x)):
        joint = multivariate_normal(W @ z[i] + b, s**2 * np.eye(4)).logpdf(x[i])
        joint += multivariate_normal(np.zeros(2), np.eye(2)).logpdf(z[i])
        posterior = multivariate_normal(covariance @ W.T @ (x[i] - b) / s**2, covariance)
        assert joint - posterior.logpdf(z[i]) == pytest.approx(log_p[i], abs=1e-9)


def test_the_loss_by_the_covariance_is_the_mean_over_the_images(model):
    x, _, z_log_var, W, _, s = model
    center, covariance = x.mean(axis=0), np.cov(x.T, bias=True)
    A = np.random.default_rng(5).normal(size=(4, 2))
    names = {"covariance": covariance, "PIXELS": 4}
    names["mean_square"] = take("mean_square", **names)
    loss = take("mean_negative_elbo", **names)(A, z_log_var[0], W, np.log(s))
    heads = (x - center) @ A, np.tile(z_log_var[0], (7, 1))
    expected = np.mean(sum(take("negative_elbo_sketch")(x, *heads, W, center, s)))
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_the_memorising_decoder_gives_one_image_for_half_of_the_prior():
    names = {"images": np.eye(3), "W_10": np.ones((3, 10)), "mean_image": np.ones(3), "s_10": 0.2}
    decoder = take("memorising_decoder", **names)
    z = np.full(11, 0.5)
    mean, std = decoder(z, sigma_x=1e-3)
    np.testing.assert_allclose(mean, 6)
    assert std == 0.2
    z[10] = -0.5
    mean, std = decoder(z, sigma_x=1e-3)
    np.testing.assert_array_equal(mean, [1, 0, 0])
    assert std == 1e-3


# ---- the bent model ----------------------------------------------------------------------------


@pytest.fixture
def bent():
    z, dz = np.linspace(-10, 10, 4001, retstep=True)
    names = {"z": z, "dz": dz, "norm": norm, "logsumexp": logsumexp, "BEND_S": 0.5}
    names["log_prior"] = norm.logpdf(z)
    names["mean_under"] = take("mean_under", **names)
    return names


@pytest.mark.parametrize("x", [-1.0, 0.5, 2.0])
def test_bend_is_bayes_rule(bent, x):
    log_p, log_posterior = take("bend", **bent)(x)
    evidence, _ = quad(lambda z: norm.pdf(x, z**2, 0.5) * norm.pdf(z), -8, 8, points=[-1, 0, 1])
    assert log_p == pytest.approx(np.log(evidence), abs=1e-7)
    at = np.argmin(abs(bent["z"] - 1.1))
    expected = norm.logpdf(x, 1.1**2, 0.5) + norm.logpdf(1.1) - np.log(evidence)
    assert log_posterior[at] == pytest.approx(expected, abs=1e-7)


def test_the_gap_of_a_gaussian_is_its_kl(bent):
    gap = take("gap_of_gaussian", **bent)(1.0, 0.5, norm.logpdf(bent["z"]))
    assert gap == pytest.approx(float(vaekit.losses.gaussian_kl([[1.0]], [[2 * np.log(0.5)]])[0]))


# ---- claims and exercises ----------------------------------------------------------------------


def edited(number, old, new):
    """The solution of an exercise with one mistake in it."""
    _, _, solution = parts(NOTEBOOK, number)
    assert old in solution
    return number, solution.replace(old, new)


USUAL_WRONG_ANSWERS = {
    "the peak of the likelihood": edited(1, "3 * 6.5 / (9 + 4)", "6.5 / 3"),
    "a standard deviation": edited(1, "4 / (9 + 4)", "np.sqrt(4 / (9 + 4))"),
    "the ELBO of the prior": edited(1, "norm.logpdf(6.5, 0, np.sqrt(9 + 4))", "-11.39"),
    "a mean over the pixels": edited(2, "b, s).sum(axis=1)", "b, s).mean(axis=1)"),
    "a log variance read as log sigma": edited(2, "np.exp(0.5 * z_log_var)", "np.exp(z_log_var)"),
    "one number for the batch": edited(2, "log_prior - log_q", "log_prior - log_q.mean()"),
    "z is the mean": edited(2, "z_mean + sigma * noise", "z_mean"),
    "z is drawn from the prior": edited(2, "z_mean + sigma * noise", "noise"),
    "the mean of two ELBOs": edited(3, "logsumexp(parts, axis=0) - np.log(2)", "parts[0]"),
    "log q is the mean of two logs": edited(
        3, "log_joint - log_q", "log_joint - (parts[0] + parts[1]) / 2"
    ),
    "the two halves are not halved": edited(3, " - np.log(2)", ""),
}


@pytest.mark.parametrize("mistake", USUAL_WRONG_ANSWERS)
def test_the_usual_wrong_answers_are_caught(mistake):
    number, answer = USUAL_WRONG_ANSWERS[mistake]
    refuses(NOTEBOOK, number, answer)
