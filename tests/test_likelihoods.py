import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import special, stats

from tests.gradients import gradients
from vaekit import likelihoods
from vaekit.likelihoods import Bernoulli, Gaussian, Laplace

FEW = settings(deadline=None, max_examples=15, derandomize=True)
SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)
EVERY_KIND = [Bernoulli(), Bernoulli(True), Gaussian(), Gaussian(scale=0.1), Laplace(0.3)]
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
    assert (Gaussian.low, Gaussian.high) == (-np.inf, np.inf)


# ---- names and configs -----------------------------------------------------------------------


@pytest.mark.parametrize("name, kind", [("bernoulli", Bernoulli), ("gaussian", Gaussian)])
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
    assert vars(twin) == vars(kind)


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
        f"{type(kind).__name__} expects data and decoder output of one shape, but got {x} and "
        f"{parameters}. Reshape the data, or give the decoder an output of the data's shape."
    )


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan")])
def test_gaussian_refuses_a_scale_that_is_none(scale):
    with pytest.raises(ValueError) as caught:
        Gaussian(scale)
    assert str(caught.value) == (
        f"Gaussian expects a finite scale > 0, but got {scale}. "
        "Give the standard deviation of the data around the decoder's output."
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


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_laplace_refuses_a_scale_that_is_none(scale):
    with pytest.raises(ValueError, match="Laplace expects a finite scale > 0, but got"):
        Laplace(scale)
