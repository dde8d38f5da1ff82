import keras
import numpy as np
import pytest
from keras import ops

from tests.gradients import gradients
from vaekit import KLDivergence

RNG = np.random.default_rng(0)
Z_MEAN, Z_LOG_VAR = RNG.normal(size=(2, 5, 3)).astype("float32")


def closed_form(z_mean, z_log_var):
    """The KL in float64 NumPy, one an example."""
    m, v = np.asarray(z_mean, "float64"), np.asarray(z_log_var, "float64")
    return 0.5 * (m**2 + np.exp(v) - 1 - v).reshape(len(m), -1).sum(axis=1)


def added_loss(layer, z_mean, z_log_var):
    layer([z_mean, z_log_var])
    (loss,) = layer.losses
    return float(loss)


# ---- the loss it adds ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 3), (5, 2, 2, 3)])
def test_loss_is_the_closed_form_summed_over_latents_mean_over_the_batch(shape):
    z_mean, z_log_var = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    found = added_loss(KLDivergence(), z_mean, z_log_var)
    assert found == pytest.approx(closed_form(z_mean, z_log_var).mean(), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.25, 4])
def test_loss_is_weighted_by_beta(beta):
    expected = beta * closed_form(Z_MEAN, Z_LOG_VAR).mean()
    assert added_loss(KLDivergence(beta=beta), Z_MEAN, Z_LOG_VAR) == pytest.approx(
        expected, rel=1e-6
    )


def test_loss_follows_an_assigned_beta():
    layer = KLDivergence()
    layer.beta.assign(0.5)
    expected = 0.5 * closed_form(Z_MEAN, Z_LOG_VAR).mean()
    assert added_loss(layer, Z_MEAN, Z_LOG_VAR) == pytest.approx(expected, rel=1e-6)


def test_loss_of_a_model_holds_the_kl_once():
    x = keras.Input((4,))
    heads = keras.layers.Dense(3)(x), keras.layers.Dense(3)(x)
    encoder = keras.Model(x, heads)
    model = keras.Model(x, KLDivergence()(encoder.outputs)[0])
    data = RNG.normal(size=(6, 4)).astype("float32")
    model(data)
    expected = closed_form(*map(ops.convert_to_numpy, encoder(data))).mean()
    assert ops.convert_to_numpy(sum(model.losses)) == pytest.approx(expected, rel=1e-6)


def test_loss_of_a_second_call_replaces_the_first():
    pair = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(pair, KLDivergence()(pair))
    model([np.ones((6, 3), "float32")] * 2)
    model([np.zeros((6, 3), "float32")] * 2)
    assert ops.convert_to_numpy(sum(model.losses)) == 0


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float32"])
def test_loss_is_float32_and_right_under_every_policy(policy):
    layer = KLDivergence(dtype=policy)
    large = 300 * np.ones((2, 4), "float32")  # its square overflows float16
    assert added_loss(layer, large, np.zeros((2, 4), "float32")) == pytest.approx(180_000)
    assert keras.utils.standardize_dtype(layer.losses[0].dtype) == "float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("z_log_var", [-1e4, -100.0, -30.0, 0.0, 20.0, 100.0, 1e4])
def test_loss_and_gradients_are_finite(z_log_var, dtype):
    layer = KLDivergence(dtype=dtype)

    def loss(z_mean, z_log_var):
        layer([z_mean, z_log_var])
        return layer.losses[-1]

    pair = [ops.ones((4, 2), dtype), ops.full((4, 2), z_log_var, dtype)]
    assert np.isfinite(float(loss(*pair)))
    assert np.all(np.isfinite(gradients(loss, *pair)))


# ---- what it passes on -----------------------------------------------------------------------


def test_inputs_come_back_unchanged():
    z_mean, z_log_var = map(ops.convert_to_numpy, KLDivergence()([Z_MEAN, Z_LOG_VAR]))
    np.testing.assert_array_equal(z_mean, Z_MEAN)
    np.testing.assert_array_equal(z_log_var, Z_LOG_VAR)


@pytest.mark.parametrize("shape", [(None, 3), (None, 5, 3), (None, 4, 4, 2)])
def test_output_shapes_of_symbolic_input_are_its_own(shape):
    layer = KLDivergence()
    assert layer.compute_output_shape([shape, shape]) == [shape, shape]
    outputs = layer([keras.Input(shape[1:]), keras.Input(shape[1:])])
    assert [output.shape for output in outputs] == [shape, shape]


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, got",
    [
        (lambda: [keras.Input((3,)), keras.Input((4,))], "[(None, 3), (None, 4)]"),
        (lambda: [np.zeros((4, 3)), np.zeros((4, 2))], "[(4, 3), (4, 2)]"),
        (lambda: [np.zeros((1, 3)), np.zeros((4, 3))], "[(1, 3), (4, 3)]"),
        (lambda: [np.zeros((4, 3))] * 3, "[(4, 3), (4, 3), (4, 3)]"),
        (lambda: np.zeros((2, 3)), "(2, 3)"),
        (lambda: keras.Input((3,)), "(None, 3)"),
    ],
    ids=["symbolic", "units", "batch", "three", "stacked", "alone"],
)
def test_other_than_two_tensors_of_one_shape_are_refused(make, got):
    with pytest.raises(ValueError) as caught:
        KLDivergence()(make())
    assert (
        f"KLDivergence expects [z_mean, z_log_var], two tensors of one shape, but got {got}. "
        "Give both heads the same number of units."
    ) in str(caught.value)


@pytest.mark.parametrize("beta", [-1, -1e-9, float("nan")])
def test_a_beta_that_is_no_weight_is_refused(beta):
    with pytest.raises(ValueError, match=f"KLDivergence expects beta >= 0, but got {beta}"):
        KLDivergence(beta=beta)


# ---- config and state ------------------------------------------------------------------------


def test_config_makes_an_equal_layer():
    layer = KLDivergence(beta=0.5, name="kl")
    twin = KLDivergence.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    assert (float(twin.beta.value), twin.name) == (0.5, "kl")


def test_is_registered_under_vaekit():
    assert keras.saving.get_registered_name(KLDivergence) == "vaekit>KLDivergence"


def test_beta_is_a_weight_that_no_optimizer_touches():
    layer = KLDivergence()
    assert [weight.name for weight in layer.weights] == ["beta"]
    assert layer.trainable_weights == []


def test_beta_stays_float32_under_mixed_precision():
    layer = KLDivergence(beta=0.1, dtype="mixed_float16")
    assert keras.utils.standardize_dtype(layer.beta.dtype) == "float32"
    assert added_loss(layer, *np.ones((2, 1, 2), "float32")) == pytest.approx(
        0.1 * closed_form(*np.ones((2, 1, 2))).mean(), rel=1e-6
    )
