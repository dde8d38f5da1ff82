import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from scipy import special, stats

import vaekit
from tests.fresh_process import run_fresh
from tests.gradients import gradients
from vaekit import likelihoods
from vaekit.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Laplace

FEW = settings(deadline=None, max_examples=15, derandomize=True)
SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)
EVERY_KIND = [
    *(Bernoulli(), Bernoulli(True), ContinuousBernoulli(), ContinuousBernoulli(True)),
    *(Gaussian(), Gaussian(scale=0.1), Gaussian("learned"), Laplace(0.3)),
]
RNG = np.random.default_rng(0)


def log_prob(likelihood, x, parameters):
    return ops.convert_to_numpy(likelihood.log_prob(x, parameters))


def summed(terms):
    return terms.reshape(len(terms), -1).sum(axis=1)


# ---- log-probabilities against SciPy ---------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 8), (5, 4, 3), (5, 4, 4, 3)])
def test_bernoulli_equals_scipy_summed_over_every_axis_but_the_batch(shape):
    x = RNG.integers(0, 2, shape)
    p = RNG.uniform(0.01, 0.99, shape).astype("float32")
    expected = summed(stats.bernoulli.logpmf(x, p.astype("float64")))
    found = log_prob(Bernoulli(), x.astype("float32"), p)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bernoulli_from_logits_equals_scipy():
    x, logits = RNG.integers(0, 2, (5, 8)), RNG.normal(0, 3, (5, 8)).astype("float32")
    expected = summed(stats.bernoulli.logpmf(x, special.expit(logits.astype("float64"))))
    found = log_prob(Bernoulli(from_logits=True), x.astype("float32"), logits)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bernoulli_of_grey_values_is_the_usual_cross_entropy():
    x, p = RNG.uniform(0.02, 0.98, (2, 5, 8)).astype("float32")
    expected = -8 * keras.losses.binary_crossentropy(x, p)
    found = log_prob(Bernoulli(), x, p)
    np.testing.assert_allclose(found, ops.convert_to_numpy(expected), rtol=1e-5)


def test_bernoulli_is_the_same_from_logits_and_from_probabilities():
    x, logits = RNG.uniform(size=(2, 5, 8)).astype("float32")
    logits = 20 * logits - 10
    from_probabilities = log_prob(Bernoulli(), x, special.expit(logits))
    from_logits = log_prob(Bernoulli(from_logits=True), x, logits)
    np.testing.assert_allclose(from_logits, from_probabilities, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(5, 8), (5, 4, 3), (5, 4, 4, 3)])
def test_gaussian_equals_scipy_summed_over_every_axis_but_the_batch(shape, scale):
    x, mean = RNG.normal(size=(2, *shape)).astype("float32")
    expected = summed(stats.norm.logpdf(x.astype("float64"), mean.astype("float64"), scale))
    found = log_prob(Gaussian(scale), x, mean)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_gaussian_with_the_scale_of_the_docstring_is_the_sum_of_squares():
    x, mean = RNG.normal(size=(2, 5, 8)).astype("float32")
    difference = log_prob(Gaussian(0.5**0.5), x, x) - log_prob(Gaussian(0.5**0.5), x, mean)
    np.testing.assert_allclose(difference, summed((x - mean) ** 2), rtol=1e-5)


@FEW
@given(shape=SHAPES, seed=st.integers(0, 100), kind=st.sampled_from(EVERY_KIND))
def test_one_finite_float32_an_example_for_any_shape(shape, seed, kind):
    x, parameters = np.random.default_rng(seed).uniform(size=(2, *shape))
    found = log_prob(kind, x, parameters)
    assert found.shape == shape[:1] and found.dtype == np.float32
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_half_precision_parameters_are_summed_in_float32(kind, dtype):
    x = np.ones((2, 4000), "float32")
    parameters = ops.full((2, 4000), 0.25, dtype)
    found = log_prob(kind, x, parameters)
    expected = log_prob(kind, x, np.full((2, 4000), 0.25, "float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# ---- the edges -------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_bernoulli_is_finite_at_probabilities_0_and_1(x, p):
    x, p = np.full((1, 2), x, "float32"), np.full((1, 2), p, "float32")
    assert np.all(np.isfinite(log_prob(Bernoulli(), x, p)))
    assert np.all(np.isfinite(gradients(lambda p: ops.sum(Bernoulli().log_prob(x, p)), p)))


@pytest.mark.parametrize("p, sure", [(0.0, 0.0), (1.0, 1.0)])
def test_bernoulli_bounds_the_loss_of_a_wrong_certainty(p, sure):
    wrong, right = (np.full((1, 1), v, "float32") for v in (1 - sure, sure))
    p = np.full((1, 1), p, "float32")
    assert log_prob(Bernoulli(), wrong, p) == pytest.approx(np.log(1e-7), abs=0.2)
    assert log_prob(Bernoulli(), right, p) == pytest.approx(0, abs=2e-7)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("logit", [-1e30, -1e4, -100.0, 0.0, 100.0, 1e4, 1e30])
def test_bernoulli_from_logits_is_finite_and_its_gradient_right_at_huge_logits(x, logit):
    likelihood = Bernoulli(from_logits=True)
    x, logits = np.full((1, 1), x, "float32"), np.full((1, 1), logit, "float32")
    assert np.all(np.isfinite(log_prob(likelihood, x, logits)))
    (found,) = gradients(lambda logits: ops.sum(likelihood.log_prob(x, logits)), logits)
    np.testing.assert_allclose(found, x - special.expit(logits), atol=1e-6)


def test_gaussian_gradient_is_the_error_over_the_variance():
    x, mean = RNG.normal(size=(2, 4, 3)).astype("float32")
    (found,) = gradients(lambda m: ops.sum(Gaussian(0.5).log_prob(x, m)), mean)
    np.testing.assert_allclose(found, (x - mean) / 0.25, rtol=1e-5)


# ---- mean and sample -------------------------------------------------------------------------


def test_mean_of_bernoulli_is_the_probability():
    p = np.array([[0.1, 0.5, 0.9]], "float32")
    np.testing.assert_array_equal(Bernoulli().mean(p), p)


def test_mean_of_bernoulli_from_logits_is_the_sigmoid():
    logits = np.array([[-2.0, 0.0, 3.0]], "float32")
    found = ops.convert_to_numpy(Bernoulli(from_logits=True).mean(ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(found, special.expit(logits), rtol=1e-6)


def test_mean_of_gaussian_is_the_decoder_output():
    output = np.array([[-3.0, 0.5]], "float32")
    np.testing.assert_array_equal(Gaussian(2.0).mean(output), output)


@pytest.mark.parametrize("from_logits", [False, True])
def test_samples_of_bernoulli_are_0_or_1_with_the_given_frequency(from_logits):
    p = np.tile(np.array([0.1, 0.5, 0.9], "float32"), (10_000, 1))
    parameters = special.logit(p) if from_logits else p
    likelihood = Bernoulli(from_logits)
    drawn = ops.convert_to_numpy(likelihood.sample(ops.convert_to_tensor(parameters), seed=1))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    standard_error = np.sqrt(p[0] * (1 - p[0]) / len(p))
    assert np.all(np.abs(drawn.mean(axis=0) - p[0]) < 3.5 * standard_error)


def test_samples_of_gaussian_have_its_mean_and_scale():
    mean = np.tile(np.array([-1.0, 4.0], "float32"), (10_000, 1))
    drawn = ops.convert_to_numpy(Gaussian(0.5).sample(ops.convert_to_tensor(mean), seed=1))
    np.testing.assert_allclose(drawn.mean(axis=0), mean[0], atol=3.5 * 0.5 / 100)
    np.testing.assert_allclose(drawn.std(axis=0), 0.5, rtol=0.02)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_samples_repeat_with_a_seed_and_differ_without(kind):
    parameters = ops.full((4, 50), 0.5)
    once, again, other = (
        ops.convert_to_numpy(kind.sample(parameters, seed=seed)) for seed in (3, 3, None)
    )
    np.testing.assert_array_equal(once, again)
    assert np.any(once != other)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_seed_generator_draws_anew_each_time(kind):
    parameters, generator = ops.full((4, 50), 0.5), keras.random.SeedGenerator(3)
    first, second = (
        ops.convert_to_numpy(kind.sample(parameters, seed=generator)) for _ in range(2)
    )
    assert np.any(first != second)


def test_samples_of_half_precision_parameters_are_float32():
    for kind in EVERY_KIND:
        drawn = kind.sample(ops.full((2, 3), 0.5, "float16"), seed=1)
        assert keras.utils.standardize_dtype(drawn.dtype) == "float32"


def test_bounds_of_the_data():
    assert (Bernoulli.low, Bernoulli.high) == (0, 1)
    assert (ContinuousBernoulli.low, ContinuousBernoulli.high) == (0, 1)
    assert (Gaussian.low, Gaussian.high) == (-np.inf, np.inf)
    assert (Laplace.low, Laplace.high) == (-np.inf, np.inf)


# ---- names and configs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, kind",
    [
        ("bernoulli", Bernoulli),
        ("continuous_bernoulli", ContinuousBernoulli),
        ("gaussian", Gaussian),
        ("laplace", Laplace),
    ],
)
def test_get_makes_a_likelihood_of_its_name(name, kind):
    assert type(likelihoods.get(name)) is kind


def test_get_passes_an_object_through():
    likelihood = Gaussian(0.3)
    assert likelihoods.get(likelihood) is likelihood


def test_get_refuses_an_unknown_name():
    with pytest.raises(ValueError) as caught:
        likelihoods.get("mse")
    assert str(caught.value) == (
        f"likelihood expects one of {sorted(likelihoods.BY_NAME)} or a vaekit.likelihoods object, "
        "but got the name 'mse'."
    )


@pytest.mark.parametrize("wrong", [None, 1, Gaussian, keras.losses.MeanSquaredError()])
def test_get_refuses_what_is_no_likelihood(wrong):
    with pytest.raises(TypeError) as caught:
        likelihoods.get(wrong)
    assert str(caught.value) == (
        f"likelihood expects one of {sorted(likelihoods.BY_NAME)} or a vaekit.likelihoods object, "
        f"but got {wrong!r}."
    )


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_survives_serialisation_by_keras(kind):
    config = keras.saving.serialize_keras_object(kind)
    assert config["registered_name"] == f"vaekit>{type(kind).__name__}"
    twin = keras.saving.deserialize_keras_object(config)
    assert type(twin) is type(kind)
    assert twin.get_config() == kind.get_config()


def test_a_likelihood_of_ones_own_needs_only_its_terms_for_log_prob():
    class Logistic(likelihoods.Likelihood):
        def log_prob_terms(self, x, parameters):
            return -(x - parameters) - 2 * ops.softplus(-(x - parameters))

    x, location = RNG.normal(size=(2, 5, 8)).astype("float32")
    expected = summed(stats.logistic.logpdf(x, location))
    np.testing.assert_allclose(log_prob(Logistic(), x, location), expected, rtol=1e-5)


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Bernoulli(), Gaussian()])
@pytest.mark.parametrize(
    "x, parameters",
    [((4, 3), (4, 1)), ((4, 1), (4, 3)), ((4, 3), (1, 3)), ((4, 3), (4, 3, 1)), ((4, 3), (3,))],
)
def test_different_shapes_are_refused_and_not_broadcast(kind, x, parameters):
    with pytest.raises(ValueError) as caught:
        kind.log_prob(np.zeros(x, "float32"), np.zeros(parameters, "float32"))
    assert str(caught.value) == (
        f"{type(kind).__name__} expects a decoder output of shape {x} for data of shape {x}, but "
        f"got {parameters}. Reshape the data (a missing channel axis is added by x[..., None]), or "
        "change the decoder's last layer."
    )


@pytest.mark.parametrize("number", [0, -1, float("inf"), float("nan"), "Learned"])
@pytest.mark.parametrize(
    "kind, name, others",
    [
        (Gaussian, "scale", ", 'learned' or 'predicted'"),
        (Gaussian, "floor", ""),
        (Laplace, "scale", ""),
    ],
)
def test_a_scale_or_floor_that_is_none_is_refused(kind, name, others, number):
    with pytest.raises(ValueError) as caught:
        kind(**{name: number})
    assert str(caught.value) == (
        f"{kind.__name__} expects {name} to be a finite number > 0{others}, but got {number!r}. "
        "It is in the unit of the data: how far they lie from the decoder's mean."
    )


def test_laplace_is_scipys():
    rng = np.random.default_rng(0)
    x, mean = rng.normal(size=(2, 5, 3)).astype("float32")
    found = ops.convert_to_numpy(Laplace(0.7).log_prob(x, mean))
    expected = stats.laplace.logpdf(x.astype("float64"), mean, 0.7).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_laplace_samples_have_its_spread():
    mean = ops.convert_to_tensor(np.full((200_000, 1), 2.0, "float32"))
    drawn = ops.convert_to_numpy(Laplace(0.5).sample(mean, seed=1))
    assert np.isfinite(drawn).all()
    assert abs(drawn.mean() - 2.0) < 0.01
    assert abs(np.abs(drawn - 2.0).mean() - 0.5) < 0.01


# ---- the continuous Bernoulli ----------------------------------------------------------------

NEAR_HALF = 0.5 + np.array([0, 1e-7, -1e-5, 1e-4, -1e-3, 0.01, -0.05, 0.1, 0.12, -0.13, 0.2])
ANY = np.concatenate([NEAR_HALF, [1e-6, 0.01, 0.2, 0.8, 0.99, 1 - 1e-6]]).astype("float32")


def log_normaliser(p):
    """The closed form of the paper, and its series near 1/2, in float64."""
    e = np.asarray(p, "float64") - 0.5
    with np.errstate(all="ignore"):
        exact = np.log(np.abs(2 * np.arctanh(-2 * e))) - np.log(np.abs(-2 * e))
    return np.where(abs(e) < 1e-3, np.log(2) + 4 / 3 * e**2 + 104 / 45 * e**4, exact)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_continuous_bernoulli_is_the_bernoulli_times_its_normaliser(x):
    p = ANY.astype("float64")
    expected = x * np.log(p) + (1 - x) * np.log1p(-p) + log_normaliser(p)
    found = log_prob(ContinuousBernoulli(), np.full((len(p), 1), x, "float32"), ANY[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("logit", [-30.0, -3.0, -0.51, -0.49, -1e-4, 0.0, 1e-3, 0.5, 2.0, 14.0])
def test_continuous_bernoulli_integrates_to_1_and_has_its_mean(logit):
    # Gauss and Legendre's rule is exact here to float64; the densities are float32.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x, weights = (nodes + 1) / 2, weights / 2
    logits = np.full((60, 1), logit, "float32")
    density = np.exp(log_prob(ContinuousBernoulli(True), x[:, None].astype("float32"), logits))
    assert weights @ density == pytest.approx(1, abs=2e-6)
    mean = ops.convert_to_numpy(ContinuousBernoulli(True).mean(ops.convert_to_tensor(logits)))
    exact = np.exp(logit * (x - max(logit, 0)))
    expected = weights @ (x * exact) / (weights @ exact)
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("logit", [-1e30, -1e4, -100.0, -0.5, 0.0, 1e-30, 0.5, 100.0, 1e4, 1e30])
def test_continuous_bernoulli_is_finite_and_its_gradient_right_at_any_logit(x, logit):
    likelihood = ContinuousBernoulli(from_logits=True)
    x, logits = np.full((1, 1), x, "float32"), np.full((1, 1), logit, "float32")
    assert np.all(np.isfinite(log_prob(likelihood, x, logits)))
    (found,) = gradients(lambda logits: ops.sum(likelihood.log_prob(x, logits)), logits)
    mean = ops.convert_to_numpy(likelihood.mean(ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(found, x - mean, atol=1e-6)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_continuous_bernoulli_is_finite_at_probabilities_0_half_and_1(x, p):
    x, p = np.full((1, 2), x, "float32"), np.full((1, 2), p, "float32")
    likelihood = ContinuousBernoulli()
    assert np.all(np.isfinite(log_prob(likelihood, x, p)))
    assert np.all(np.isfinite(gradients(lambda p: ops.sum(likelihood.log_prob(x, p)), p)))


@pytest.mark.parametrize("logit", [-1e4, -8.0, -0.2, 0.0, 1e-5, 3.0, 40.0])
def test_samples_of_the_continuous_bernoulli_follow_its_distribution(logit):
    logits = ops.full((20_000,), logit)
    drawn = ops.convert_to_numpy(ContinuousBernoulli(True).sample(logits, seed=1))
    assert drawn.min() >= 0 and drawn.max() <= 1
    a, x = abs(logit) or 1e-9, drawn.astype("float64") if logit < 0 else 1 - drawn.astype("float64")
    uniform = np.expm1(-a * x) / np.expm1(-a)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


# ---- the scale of the Gaussian -----------------------------------------------------------------


def test_a_learned_scale_is_one_trainable_number_that_starts_at_1():
    likelihood = Gaussian("learned")
    assert [tuple(weight.shape) for weight in likelihood.trainable_weights] == [()]
    assert float(likelihood.sigma()) == pytest.approx(1, rel=1e-6)


def test_a_learned_scale_gives_the_log_probability_of_scipy():
    likelihood = Gaussian("learned")
    likelihood.set_sigma(0.3)
    x, mean = RNG.normal(size=(2, 5, 3)).astype("float32")
    expected = summed(stats.norm.logpdf(x.astype("float64"), mean, 0.3))
    np.testing.assert_allclose(log_prob(likelihood, x, mean), expected, rtol=2e-6)


@pytest.mark.parametrize("sigma", [1e-2, 0.2, 1.0, 300.0])
def test_a_learned_scale_can_be_set(sigma):
    likelihood = Gaussian("learned", floor=5e-3)
    likelihood.set_sigma(sigma)
    assert float(likelihood.sigma()) == pytest.approx(sigma, rel=2e-6)


@pytest.mark.parametrize("scale", [0.5, "predicted"])
def test_only_a_learned_scale_can_be_set(scale):
    with pytest.raises(ValueError) as caught:
        Gaussian(scale).set_sigma(0.1)
    assert str(caught.value) == (
        f"Gaussian.set_sigma expects a learned scale, but the scale is {scale!r}. "
        "Make the likelihood with Gaussian('learned'), or with the number: Gaussian(0.1)."
    )


@pytest.mark.parametrize("sigma", [0.0, -1, float("nan"), "small"])
def test_a_learned_scale_is_set_to_positive_numbers_only(sigma):
    with pytest.raises(ValueError) as caught:
        Gaussian("learned").set_sigma(sigma)
    assert str(caught.value) == (
        f"Gaussian.set_sigma expects value to be a finite number > 0, but got {sigma!r}. "
        "It is in the unit of the data: how far they lie from the decoder's mean."
    )


def test_a_predicted_scale_gives_the_log_probability_of_scipy():
    x, mean, log_var = RNG.normal(size=(3, 5, 4, 4, 2)).astype("float32")
    sigma = np.hypot(np.exp(log_var.astype("float64") / 2), 0.1)
    likelihood, parameters = Gaussian("predicted", 0.1), np.concatenate([mean, log_var], axis=-1)
    expected = summed(stats.norm.logpdf(x.astype("float64"), mean, sigma))
    np.testing.assert_allclose(log_prob(likelihood, x, parameters), expected, rtol=2e-6)
    parameters = ops.convert_to_tensor(parameters)
    np.testing.assert_array_equal(ops.convert_to_numpy(likelihood.mean(parameters)), mean)
    np.testing.assert_allclose(ops.convert_to_numpy(likelihood.sigma(parameters)), sigma, rtol=1e-6)


def test_samples_of_a_predicted_scale_have_its_mean_and_scale():
    rows = np.tile(np.array([-1.0, 4.0, 2 * np.log(0.5), 2 * np.log(3)], "float32"), (10_000, 1))
    drawn = Gaussian("predicted").sample(ops.convert_to_tensor(rows), seed=1)
    drawn = ops.convert_to_numpy(drawn)
    assert drawn.shape == (10_000, 2) and drawn.dtype == np.float32
    assert np.all(np.abs(drawn.mean(axis=0) - [-1, 4]) < 3.5 * np.array([0.5, 3]) / 100)
    np.testing.assert_allclose(drawn.std(axis=0), [0.5, 3], rtol=0.02)


@pytest.mark.parametrize("log_var", [-1e30, -1e4, -100.0, 0.0, 100.0, 1e4])
def test_a_predicted_scale_is_finite_and_its_gradient_bounded_at_any_log_variance(log_var):
    likelihood, x = Gaussian("predicted", floor=0.01), np.full((1, 1), 0.5, "float32")
    parameters = np.array([[0.25, log_var]], "float32")
    assert np.all(np.isfinite(log_prob(likelihood, x, parameters)))
    (found,) = gradients(lambda p: ops.sum(likelihood.log_prob(x, p)), parameters)
    assert np.all(np.isfinite(found))
    if log_var > 0:
        assert found[0, 1] == pytest.approx(-0.5)  # and points back down


@pytest.mark.parametrize("scale", ["learned", "predicted"])
def test_no_scale_falls_below_the_floor(scale):
    likelihood = Gaussian(scale, floor=0.02)
    if scale == "learned":
        likelihood.set_sigma(1e-9)
    parameters = ops.convert_to_tensor(np.array([[0.3, -1e4]], "float32"))
    assert float(ops.min(likelihood.sigma(parameters))) == pytest.approx(0.02, rel=1e-6)
    # So a perfect prediction is worth -log(floor), and no more.
    x, exact = np.full((1, 1), 0.3, "float32"), parameters[:, : 1 + (scale == "predicted")]
    best = -np.log(0.02) - 0.5 * np.log(2 * np.pi)
    assert log_prob(likelihood, x, exact) == pytest.approx(best, rel=1e-6)


def test_the_gradient_of_a_learned_scale_is_0_at_the_root_of_the_mean_squared_error():
    x, mean = RNG.normal(size=(2, 40, 3)).astype("float32")
    likelihood = Gaussian("learned", floor=1e-4)
    root, values = np.sqrt(np.mean((x - mean) ** 2)), []
    for factor in (0.99, 1.0, 1.01):
        likelihood.set_sigma(factor * root)
        values.append(log_prob(likelihood, x, mean).astype("float64").sum())
    assert values[1] > max(values[0], values[2])
    best = -0.5 * x.size * (1 + np.log(2 * np.pi * root**2))
    assert values[1] == pytest.approx(best, rel=1e-6)


def test_adam_changes_a_learned_scale_five_times_as_fast_as_a_bias():
    """The first step of Adam moves a weight by the learning rate."""
    vae = constant_vae("learned", rate=0.01)
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    vae.fit(np.full((8, 6), 5, "float32"), batch_size=8, verbose=0)
    assert float(vae.likelihood.sigma()) == pytest.approx(np.exp(5 * 0.01), rel=1e-4)
    np.testing.assert_allclose(vae.decoder.get_weights()[1], 0.01, rtol=1e-4)


def test_what_the_decoder_must_output():
    assert Gaussian("predicted").parameters_shape((None, 28, 28, 3)) == (None, 28, 28, 6)
    assert Gaussian("predicted").parameters_shape((None, None, None)) == (None, None, None)
    for kind in EVERY_KIND:
        assert kind.parameters_shape((None, 28, 28, 3)) == (None, 28, 28, 3)


def test_a_predicted_scale_refuses_a_decoder_output_of_the_shape_of_the_data():
    with pytest.raises(ValueError) as caught:
        Gaussian("predicted").log_prob(np.zeros((4, 5, 3)), np.zeros((4, 5, 3)))
    assert str(caught.value) == (
        "Gaussian expects a decoder output of shape (4, 5, 6) for data of shape (4, 5, 3), but got "
        "(4, 5, 3). Reshape the data (a missing channel axis is added by x[..., None]), or change "
        "the decoder's last layer."
    )


# ---- inside a VAE ------------------------------------------------------------------------------


def constant_vae(scale, outputs=6, rate=0.02):
    """A VAE that can do no better than the mean of each column of its data."""
    keras.utils.set_random_seed(1)
    x, z = keras.Input((6,)), keras.Input((2,))
    zeros = {"kernel_initializer": "zeros", "trainable": False}
    encoder = keras.Model(x, [layers.Dense(2, **zeros)(x), layers.Dense(2, **zeros)(x)])
    decoder = keras.Model(z, layers.Dense(outputs, kernel_initializer="zeros")(z))
    vae = vaekit.VAE(encoder, decoder, Gaussian(scale))
    vae.compile(keras.optimizers.Adam(rate))
    return vae


def test_a_learned_scale_settles_at_the_root_of_the_mean_squared_error():
    x = np.random.default_rng(0).normal(0.5, 0.2, (512, 6)).astype("float32")
    vae = constant_vae("learned")
    vae.fit(np.tile(x, (150, 1)), batch_size=512, shuffle=False, verbose=0)  # 150 equal batches
    root = np.sqrt(np.mean((x - vae.predict(x, verbose=0)) ** 2))
    assert float(vae.likelihood.sigma()) == pytest.approx(root, rel=0.01)
    assert root == pytest.approx(0.2, rel=0.03)


def test_a_learned_scale_is_saved_and_loaded_in_a_new_process(tmp_path):
    vae = constant_vae("learned")
    vae.fit(np.ones((8, 6), "float32"), epochs=2, verbose=0)
    vae.save(tmp_path / "vae.keras")
    code = """
import sys, keras, vaekit
vae = keras.saving.load_model(sys.argv[1])
print(f"{float(vae.likelihood.sigma()):.7f}", len(vae.trainable_variables), vae.likelihood.floor)
"""
    found, weights, floor = run_fresh(code, tmp_path / "vae.keras").split()
    assert found == f"{float(vae.likelihood.sigma()):.7f}" != "1.0000005"
    assert (int(weights), float(floor)) == (len(vae.trainable_variables), 1e-3)


def test_a_predicted_scale_trains_and_its_vae_samples_data_and_not_parameters():
    x = np.random.default_rng(0).normal(0.5, 0.2, (512, 6)).astype("float32")
    vae = constant_vae("predicted", outputs=12, rate=0.05)
    vae.fit(np.tile(x, (200, 1)), batch_size=512, shuffle=False, verbose=0)
    assert vae.predict(x[:3], verbose=0).shape == (3, 12)
    assert tuple(vae.sample(3, seed=1).shape) == (3, 6)
    sigma = ops.convert_to_numpy(vae.likelihood.sigma(vae(x[:1])))[0]
    np.testing.assert_allclose(sigma, x.std(axis=0), rtol=0.02)
