import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from tests.gradients import gradients
from vaekit.losses import gaussian_kl, gaussian_kl_terms

HOSTILE = [-1e4, -100.0, -30.0, 0.0, 20.0, 100.0, 1e4]
HALVES_AND_SINGLE = ["float16", "bfloat16", "float32"]
FEW = settings(deadline=None, max_examples=20, derandomize=True)
SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)


def closed_form(z_mean, z_log_var):
    """The KL in float64 NumPy, one an example."""
    m, v = np.asarray(z_mean, "float64"), np.asarray(z_log_var, "float64")
    return 0.5 * (m**2 + np.exp(v) - 1 - v).reshape(len(m), -1).sum(axis=1)


def kl(z_mean, z_log_var):
    return ops.convert_to_numpy(gaussian_kl(z_mean, z_log_var))


def normal(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).normal(size=(2, *shape)).astype(dtype)


# ---- the value -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 3), (7, 4, 3), (7, 2, 2, 3)])
def test_equals_the_closed_form_in_float64(shape):
    pair = normal(*shape)
    np.testing.assert_allclose(kl(*pair), closed_form(*pair), rtol=1e-6)


@pytest.mark.parametrize("shape", [(7, 3), (7, 4, 3), (7, 2, 2, 3)])
def test_terms_are_the_kl_of_each_latent_alone(shape):
    pair = normal(*shape)
    one_latent_an_example = [head.reshape(-1, 1) for head in pair]
    expected = closed_form(*one_latent_an_example).reshape(shape)
    found = ops.convert_to_numpy(gaussian_kl_terms(*pair))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.tensorflow  # on torch Keras rounds float64 to float32 in ops.minimum
def test_float64_input_is_computed_in_float64():
    pair = normal(7, 3, dtype="float64")
    np.testing.assert_allclose(kl(*pair), closed_form(*pair), rtol=1e-13)


@pytest.mark.parametrize("z_mean, z_log_var", [(0.5, 0.2), (-1.0, -0.3), (2.0, -4.0), (0.0, 1.5)])
def test_is_within_3_standard_errors_of_monte_carlo(z_mean, z_log_var):
    sigma = np.exp(0.5 * z_log_var)
    z = np.random.default_rng(0).normal(z_mean, sigma, size=200_000)
    log_ratio = stats.norm.logpdf(z, z_mean, sigma) - stats.norm.logpdf(z)
    standard_error = log_ratio.std() / np.sqrt(len(z))
    assert abs(log_ratio.mean() - kl([[z_mean]], [[z_log_var]])[0]) < 3 * standard_error


@pytest.mark.parametrize(
    "z_mean, z_log_var, expected",
    [
        ([1.0], [2 * np.log(0.5)], 0.8181472),
        ([0.5, -1.0], [0.2, -0.3], 0.656),
        ([0.5, -1.0], [2 * 0.2, 2 * -0.3], 0.745),  # log sigma, read as what it is not
    ],
)
def test_reference_numbers(z_mean, z_log_var, expected):
    found = kl(np.array([z_mean], "float32"), np.array([z_log_var], "float32"))
    assert found == pytest.approx([expected], abs=5e-4 if expected < 0.8 else 1e-6)


def test_doubling_the_latent_axes_doubles_it():
    pair = normal(7, 3)
    doubled = np.concatenate([pair, pair], axis=-1)
    np.testing.assert_allclose(kl(*doubled), 2 * kl(*pair), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3), (2, 4, 4, 3)])
def test_is_exactly_0_at_the_prior(shape):
    np.testing.assert_array_equal(kl(np.zeros(shape), np.zeros(shape)), [0, 0])


@FEW
@given(
    shape=SHAPES,
    dtype=st.sampled_from(HALVES_AND_SINGLE),
    z_mean=st.floats(-1e-3, 1e-3),
    z_log_var=st.floats(-1e-2, 1e-2) | st.floats(-1e4, 1e4),
)
def test_is_never_negative(shape, dtype, z_mean, z_log_var):
    found = kl(ops.full(shape, z_mean, dtype), ops.full(shape, z_log_var, dtype))
    assert found.shape == shape[:1]
    assert found.dtype == np.float32
    assert np.all(np.isfinite(found)) and np.all(found >= -1e-6)


@FEW
@given(shape=SHAPES, seed=st.integers(0, 1000))
def test_equals_the_closed_form_for_any_shape(shape, seed):
    pair = normal(*shape, seed=seed)
    np.testing.assert_allclose(kl(*pair), closed_form(*pair), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1e-4])
def test_keeps_its_digits_near_the_prior(size):
    """There exp(v) - 1 and v cancel: the rest is v squared / 4."""
    found = kl(np.zeros((1, 1), "float32"), np.full((1, 1), size, "float32"))
    assert found == pytest.approx(closed_form([[0]], [[size]]), rel=1e-2)


# ---- hostile log-variances -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES_AND_SINGLE)
@pytest.mark.parametrize("z_log_var", HOSTILE)
def test_value_and_gradients_are_finite(z_log_var, dtype):
    pair = [ops.ones((4, 2), dtype), ops.full((4, 2), z_log_var, dtype)]
    assert np.all(np.isfinite(kl(*pair)))
    assert np.all(np.isfinite(gradients(lambda m, v: ops.sum(gaussian_kl(m, v)), *pair)))


@pytest.mark.parametrize("dtype", HALVES_AND_SINGLE)
@pytest.mark.parametrize("z_log_var", [-1e4, -30.0, -1.0, 0.5, 5.0, 10.5, 20.0, 100.0, 1e4])
def test_gradient_to_the_log_variance_is_that_of_the_formula_and_never_vanishes(z_log_var, dtype):
    pair = [ops.zeros((1, 2), dtype), ops.full((1, 2), z_log_var, dtype)]
    _, found = gradients(lambda m, v: ops.sum(gaussian_kl(m, v)), *pair)
    bound = 11 if dtype == "float16" else 20
    np.testing.assert_allclose(found, 0.5 * np.expm1(min(z_log_var, bound)), rtol=0.01)


def test_gradient_to_the_mean_is_the_mean():
    z_mean, z_log_var = normal(4, 3)
    found, _ = gradients(lambda m, v: ops.sum(gaussian_kl(m, v)), z_mean, z_log_var)
    np.testing.assert_allclose(found, z_mean, rtol=1e-6)


def test_goes_on_along_the_tangent_above_the_bound():
    def value(v):
        return kl(np.zeros((1, 1), "float32"), np.full((1, 1), v, "float32"))[0]

    assert value(22) - value(20) == pytest.approx(np.expm1(20), rel=1e-5)


# ---- kinds of input --------------------------------------------------------------------------


def test_takes_lists_arrays_and_tensors():
    pair = normal(4, 3)
    lists, tensors = [a.tolist() for a in pair], [ops.convert_to_tensor(a) for a in pair]
    np.testing.assert_allclose(kl(*lists), kl(*pair), rtol=1e-6)
    np.testing.assert_array_equal(kl(*tensors), kl(*pair))


@pytest.mark.parametrize("shape", [(3,), (5, 3), (None, None, 2)])
def test_takes_symbolic_tensors(shape):
    assert gaussian_kl(keras.Input(shape), keras.Input(shape)).shape == (None,)


@pytest.mark.tensorflow
def test_axes_unknown_while_tracing_are_accepted():
    import tensorflow as tf

    traced = tf.function(gaussian_kl, input_signature=[tf.TensorSpec((None, None, 2))] * 2)
    assert traced(tf.zeros((3, 5, 2)), tf.zeros((3, 5, 2))).shape == (3,)


@pytest.mark.parametrize(
    "first, second", [((4, 3), (4, 2)), ((4, 3), (4, 1)), ((4, 3), (1, 3)), ((4, 3), (4, 3, 1))]
)
@pytest.mark.parametrize("function", [gaussian_kl, gaussian_kl_terms])
def test_different_shapes_are_refused_and_not_broadcast(function, first, second):
    with pytest.raises(ValueError) as caught:
        function(np.zeros(first), np.zeros(second))
    assert str(caught.value) == (
        f"gaussian_kl expects z_mean and z_log_var of one shape, but got {first} and {second}. "
        "Give both heads the same number of units."
    )
