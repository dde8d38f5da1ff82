import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from scipy import stats

from tests.gradients import gradients
from vaekit import Sampling

JAX = keras.config.backend() == "jax"
FLOAT64 = pytest.param(
    "float64", marks=pytest.mark.skipif(JAX, reason="JAX has float64 switched off by default")
)
HOSTILE = [-1e4, -100.0, -30.0, 0.0, 20.0, 100.0, 1e4]
HALVES_AND_SINGLE = ["float16", "bfloat16", "float32"]


def draw(z_mean, z_log_var, seed=1, **kwargs):
    """What a fresh layer makes of the arrays, as a float32 array."""
    z = Sampling(seed=seed, **kwargs)([z_mean, z_log_var])
    return ops.convert_to_numpy(ops.cast(z, "float32"))


def zeros(*shape):
    return np.zeros(shape, "float32")


# ---- the formula ---------------------------------------------------------------------------


def test_z_is_mean_plus_standard_deviation_times_noise():
    rng = np.random.default_rng(0)
    z_mean, z_log_var = rng.normal(size=(2, 6, 3)).astype("float32")
    epsilon = draw(zeros(6, 3), zeros(6, 3))
    expected = z_mean + np.exp(0.5 * z_log_var) * epsilon
    np.testing.assert_allclose(draw(z_mean, z_log_var), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("z_log_var", [-6.0, -2.0, 0.0, 1.5])
def test_standard_deviation_of_10_000_draws_is_within_2_percent(z_log_var):
    z = draw(zeros(10_000, 1), np.full((10_000, 1), z_log_var, "float32"))
    assert z.std() == pytest.approx(np.exp(0.5 * z_log_var), rel=0.02)


def test_noise_is_standard_normal():
    assert stats.kstest(draw(zeros(5000, 2), zeros(5000, 2)).ravel(), "norm").pvalue > 1e-4


def test_noise_of_two_latents_is_uncorrelated():
    first, second = draw(zeros(10_000, 2), zeros(10_000, 2)).T
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


# ---- the noise: new in every row and every call, the same for one seed -----------------------


def test_two_calls_differ():
    layer = Sampling(seed=1)
    first, second = (ops.convert_to_numpy(layer([zeros(4, 3), zeros(4, 3)])) for _ in range(2))
    assert np.all(first != second)


def test_two_compiled_calls_differ():
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, Sampling(seed=1)(inputs))
    first, second = (model.predict([zeros(4, 3)] * 2, verbose=0) for _ in range(2))
    assert np.all(first != second)


def test_two_fresh_layers_with_one_seed_agree():
    np.testing.assert_array_equal(draw(zeros(4, 3), zeros(4, 3)), draw(zeros(4, 3), zeros(4, 3)))


def test_layers_without_a_seed_differ():
    first, second = (draw(zeros(4, 3), zeros(4, 3), seed=None) for _ in range(2))
    assert np.all(first != second)


def test_set_random_seed_fixes_layers_without_a_seed():
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        drawn.append(draw(zeros(4, 3), zeros(4, 3), seed=None))
    np.testing.assert_array_equal(*drawn)


def test_every_element_of_a_batch_has_its_own_noise():
    z = draw(zeros(50, 4), zeros(50, 4))
    assert len(np.unique(z)) == z.size


def test_samples_in_inference_too():
    layer = Sampling(seed=1)
    assert np.all(ops.convert_to_numpy(layer([zeros(4, 3), zeros(4, 3)], training=False)) != 0)


# ---- hostile log-variances -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES_AND_SINGLE)
@pytest.mark.parametrize("z_log_var", HOSTILE)
def test_value_and_gradients_are_finite(z_log_var, dtype):
    layer = Sampling(seed=1, dtype=dtype)

    def total(z_mean, z_log_var):
        return ops.sum(ops.cast(layer([z_mean, z_log_var]), "float32"))

    pair = [ops.zeros((4, 2), dtype), ops.full((4, 2), z_log_var, dtype)]
    assert np.isfinite(float(total(*pair)))
    assert np.all(np.isfinite(gradients(total, *pair)))


@pytest.mark.parametrize("dtype", HALVES_AND_SINGLE)
@pytest.mark.parametrize("z_log_var", [-10.0, -1.0, 0.0, 5.0, 10.5])
def test_gradient_to_the_log_variance_is_half_of_the_noise_part(z_log_var, dtype):
    pair = [ops.zeros((4, 2), dtype), ops.full((4, 2), z_log_var, dtype)]
    layer = Sampling(seed=1, dtype=dtype)
    _, found = gradients(lambda m, v: ops.sum(ops.cast(layer([m, v]), "float32")), *pair)
    np.testing.assert_allclose(found, 0.5 * draw(*pair, dtype=dtype), rtol=0.02)
    assert np.all(found != 0)


def test_gradient_to_the_mean_is_one():
    layer = Sampling(seed=1)
    found, _ = gradients(lambda m, v: ops.sum(layer([m, v])), zeros(4, 2), zeros(4, 2))
    np.testing.assert_array_equal(found, 1)


@pytest.mark.parametrize("dtype, bound", [("float16", 11), ("bfloat16", 20), ("float32", 20)])
def test_standard_deviation_stops_growing_at_the_bound(dtype, bound):
    at_bound, above = (
        draw(zeros(4, 2), np.full((4, 2), z_log_var, "float32"), dtype=dtype)
        for z_log_var in (bound, bound + 30)
    )
    np.testing.assert_array_equal(above, at_bound)
    epsilon = draw(zeros(4, 2), zeros(4, 2), dtype=dtype)
    np.testing.assert_allclose(at_bound, np.exp(bound / 2) * epsilon, rtol=0.02)


# ---- shapes, dtypes and kinds of input -------------------------------------------------------


@pytest.mark.parametrize("shape", [(None, 3), (None, 5, 3), (None, 4, 4, 2)])
def test_output_shape_of_symbolic_input_is_that_of_the_mean(shape):
    pair = [keras.Input(shape[1:]), keras.Input(shape[1:])]
    layer = Sampling()
    assert layer.compute_output_shape([shape, shape]) == shape
    assert layer(pair).shape == shape


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_model_takes_any_batch_size(batch):
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, Sampling()(inputs))
    assert model.predict([zeros(batch, 3)] * 2, batch_size=2, verbose=0).shape == (batch, 3)


def test_numpy_and_tensor_input_give_the_same():
    z_mean, z_log_var = np.ones((4, 3), "float32"), zeros(4, 3)
    tensors = [ops.convert_to_tensor(array) for array in (z_mean, z_log_var)]
    np.testing.assert_array_equal(draw(z_mean, z_log_var), draw(*tensors))


@pytest.mark.parametrize(
    "policy, dtype",
    [
        ("float32", "float32"),
        pytest.param(*FLOAT64.values, "float64", marks=FLOAT64.marks),
        ("mixed_float16", "float16"),
        ("mixed_bfloat16", "bfloat16"),
    ],
)
def test_z_has_the_compute_dtype_of_the_policy(policy, dtype):
    z = Sampling(dtype=policy)([zeros(4, 3), zeros(4, 3)])
    assert keras.utils.standardize_dtype(z.dtype) == dtype


@pytest.mark.tensorflow  # on torch Keras rounds float64 to float32 in ops.minimum
def test_float64_is_computed_in_float64():
    pair = np.random.default_rng(0).normal(size=(2, 6, 3))
    z, epsilon = (
        ops.convert_to_numpy(Sampling(seed=1, dtype="float64")(list(inputs)))
        for inputs in (pair, np.zeros((2, 6, 3)))
    )
    np.testing.assert_allclose(z, pair[0] + np.exp(0.5 * pair[1]) * epsilon, rtol=1e-12)


@pytest.mark.tensorflow
def test_axes_unknown_while_tracing_are_accepted():
    import tensorflow as tf

    layer = Sampling()
    unknown = [tf.TensorSpec((None, None, 2))] * 2
    traced = tf.function(lambda m, v: layer([m, v]), input_signature=unknown)
    assert traced(tf.zeros((3, 5, 2)), tf.zeros((3, 5, 2))).shape == (3, 5, 2)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple),
    dtype=st.sampled_from(HALVES_AND_SINGLE),
    z_log_var=st.floats(-1e4, 1e4),
)
def test_any_shape_and_dtype_comes_back_finite(shape, dtype, z_log_var):
    z = Sampling(dtype=dtype)([np.zeros(shape), np.full(shape, z_log_var)])
    assert tuple(z.shape) == shape
    assert keras.utils.standardize_dtype(z.dtype) == dtype
    assert np.all(np.isfinite(ops.convert_to_numpy(ops.cast(z, "float32"))))


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, got",
    [
        (lambda: [keras.Input((3,)), keras.Input((4,))], "[(None, 3), (None, 4)]"),
        (lambda: [zeros(4, 3), zeros(4, 2)], "[(4, 3), (4, 2)]"),
        (lambda: [zeros(4, 3), zeros(4, 3, 1)], "[(4, 3), (4, 3, 1)]"),
        (lambda: [zeros(1, 3), zeros(4, 3)], "[(1, 3), (4, 3)]"),
        (lambda: [zeros(4, 3)], "[(4, 3)]"),
        (lambda: [zeros(4, 3)] * 3, "[(4, 3), (4, 3), (4, 3)]"),
        (lambda: zeros(2, 3), "(2, 3)"),
        (lambda: keras.Input((3,)), "(None, 3)"),
    ],
    ids=["symbolic", "units", "rank", "batch", "one", "three", "stacked", "alone"],
)
def test_other_than_two_tensors_of_one_shape_are_refused(make, got):
    with pytest.raises(ValueError) as caught:
        Sampling()(make())
    assert (
        f"Sampling expects [z_mean, z_log_var], two tensors of one shape, but got {got}. "
        "Give both heads the same number of units."
    ) in str(caught.value)


# ---- config and state ------------------------------------------------------------------------


def test_config_makes_an_equal_layer():
    layer = Sampling(seed=5, name="z", dtype="mixed_float16")
    twin = Sampling.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    assert (twin.seed, twin.name, twin.dtype_policy.name) == (5, "z", "mixed_float16")


def test_is_registered_under_vaekit():
    assert keras.saving.get_registered_name(Sampling) == "vaekit>Sampling"


def test_saved_state_goes_on_with_the_noise():
    layer, twin, store = Sampling(seed=5), Sampling(seed=5), {}
    layer([zeros(4, 3), zeros(4, 3)])
    layer.save_own_variables(store)
    twin.load_own_variables(store)
    expected, found = (ops.convert_to_numpy(s([zeros(4, 3)] * 2)) for s in (layer, twin))
    np.testing.assert_array_equal(found, expected)


def test_loads_from_a_file_without_a_seed_state():
    Sampling(seed=5).load_own_variables({})
