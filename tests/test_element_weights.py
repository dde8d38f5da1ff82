"""``sample_weight`` for each element: series that are padded, values that are missing."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.tiny_models import X, evaluate, fit, still_vae, tiny_vae
from vaekit.evaluation import elbo, log_likelihood
from vaekit.likelihoods import Gaussian, Laplace

RNG = np.random.default_rng(0)
OBSERVED = (RNG.uniform(size=X.shape) < 0.7).astype("float32")
# Any one of them for the two last axes of a series (n, time, features).
SERIES = RNG.normal(size=(10, 4, 3)).astype("float32")
STEPS = (np.arange(4) < RNG.integers(1, 5, (10, 1))).astype("float32")


def kl(vae, x):
    return ops.convert_to_numpy(vaekit.losses.gaussian_kl(*vae.encode(x)))


def log_p(vae, x):
    """Of each element, at z = z_mean."""
    parameters = vae.predict(x, verbose=0)
    return terms(vae.likelihood, x, parameters)


def terms(likelihood, x, parameters):
    x, parameters = ops.convert_to_tensor(x), ops.convert_to_tensor(parameters)
    return ops.convert_to_numpy(likelihood.log_prob_terms(x, parameters))


def series_vae(**kwargs):
    keras.utils.set_random_seed(1)
    x, z = keras.Input((4, 3)), keras.Input((2,))
    h = layers.Flatten()(x)
    log_var = layers.Dense(2, kernel_initializer="zeros", bias_initializer="zeros")(h) - 30.0
    encoder = keras.Model(x, [layers.Dense(2)(h), log_var])
    decoder = keras.Model(z, layers.Reshape((4, 3))(layers.Dense(12)(z)))
    vae = vaekit.VAE(encoder, decoder, "gaussian", seed=1, **kwargs)
    vae.compile("adam", run_eagerly=True)
    return vae


# ---- the likelihood ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(10, 4), (10, 4, 1), (10, 1, 3), (10, 4, 3)])
def test_a_weight_counts_its_elements_and_is_broadcast_over_the_last_axes(shape):
    weight = RNG.uniform(0, 2, shape).astype("float32")
    full = weight if len(shape) == 3 else weight[..., None]
    expected = (full * terms(Laplace(0.3), SERIES, 0 * SERIES)).sum(axis=(1, 2))
    found = ops.convert_to_numpy(Laplace(0.3).log_prob(SERIES, 0 * SERIES, weight))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(10, 3), (10, 4, 3, 1), (9, 4)])
def test_a_weight_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="expects a weight of the shape of the data"):
        Laplace(0.3).log_prob(SERIES, 0 * SERIES, np.ones(shape, "float32"))


# ---- fit and evaluate --------------------------------------------------------------------------


@pytest.mark.parametrize("target", [(), (X,)], ids=["x", "x, x"])
@pytest.mark.parametrize("batch_size", [1, 4, 22])
def test_what_is_not_observed_does_not_count(target, batch_size):
    vae = still_vae()
    expected = -(OBSERVED * log_p(vae, X)).sum(axis=1)
    logs = evaluate(vae, X, *target, sample_weight=OBSERVED, batch_size=batch_size)
    assert logs["reconstruction_loss"] == pytest.approx(expected.mean(), rel=1e-5)
    assert logs["kl_loss"] == pytest.approx(kl(vae, X).mean(), rel=1e-5)
    # The loss is the mean of the batches: with a ragged one it is not that of the examples.
    if batch_size != 4:
        total = logs["reconstruction_loss"] + logs["kl_loss"]
        assert logs["loss"] == pytest.approx(total, rel=1e-5)


def test_the_steps_of_a_series_are_weighed_by_a_number_each():
    vae = series_vae()
    expected = -(STEPS[..., None] * log_p(vae, SERIES)).sum(axis=(1, 2))
    logs = evaluate(vae, SERIES, sample_weight=STEPS)
    assert logs["reconstruction_loss"] == pytest.approx(expected.mean(), rel=1e-4)


def test_training_does_not_see_what_is_not_observed():
    """Two targets that differ only there give the same weights."""
    first, second = (tiny_vae(compiled={"run_eagerly": True}) for _ in range(2))
    other = np.where(OBSERVED > 0, X, 1 - X)
    fit(first, X, X, sample_weight=OBSERVED)
    fit(second, X, other, sample_weight=OBSERVED)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("compiled", [{}, {"jit_compile": True}, {"steps_per_execution": 2}])
@pytest.mark.tensorflow
def test_it_trains_compiled_too(compiled):
    vae = tiny_vae(compiled=compiled)
    logs = fit(vae, X, sample_weight=OBSERVED, batch_size=11, epochs=2)
    assert np.isfinite(logs["loss"]).all()


def test_data_sets_bring_their_weights():
    vae = still_vae()
    expected = evaluate(vae, X, X, sample_weight=OBSERVED, batch_size=11)
    batches = ((X[i : i + 11], X[i : i + 11], OBSERVED[i : i + 11]) for i in (0, 11))
    assert evaluate(vae, batches, steps=2) == pytest.approx(expected, rel=1e-5)
    wrong = ((X[:11], X[:11], OBSERVED[:11, :5]) for _ in range(2))
    with pytest.raises(ValueError, match="expects sample_weight of shape"):
        evaluate(vae, wrong, steps=2)


def test_weights_of_validation_data():
    vae = still_vae()
    logs = fit(vae, X, validation_data=(X, X, OBSERVED))
    expected = evaluate(vae, X, sample_weight=OBSERVED)
    assert logs["val_reconstruction_loss"][0] == pytest.approx(
        expected["reconstruction_loss"], rel=1e-5
    )


def test_values_out_of_range_are_accepted_where_they_are_not_observed():
    padded = np.where(OBSERVED > 0, X, -1).astype("float32")
    fit(still_vae(), padded, sample_weight=OBSERVED)
    with pytest.raises(ValueError, match=r"in \[0, 1\], but the x has min -1"):
        fit(still_vae(), padded)
    with pytest.raises(ValueError, match=r"in \[0, 1\], but the x has min -1"):
        fit(still_vae(), padded, sample_weight=np.ones_like(X))


@pytest.mark.parametrize("shape", [(10, 3), (10, 4, 2), (10, 4, 3, 1), (9, 4), (9,)])
def test_weights_of_another_shape_are_refused_in_one_sentence(shape):
    vae = series_vae()
    before = vae.get_weights()
    with pytest.raises(ValueError) as raised:
        vae.fit(SERIES, sample_weight=np.ones(shape), verbose=0)
    assert str(raised.value) == (
        "VAE expects sample_weight of shape (10,), one number for each row of the x, or (10, 4) or "
        f"(10, 4, 3), one for each element, but got {shape}. Leave the last axes out, or put an "
        "axis of length 1 in the place of one that the weights do not know."
    )
    assert all(np.array_equal(a, b) for a, b in zip(before, vae.get_weights(), strict=True))
    # The way out:
    vae.fit(SERIES, sample_weight=np.ones((10, 1, 3)), verbose=0)


@pytest.mark.parametrize("number, sentence", [(-1.0, "0 or more"), (np.nan, "holds NaN")])
def test_weights_that_are_none_are_refused(number, sentence):
    weight = np.ones_like(X)
    weight[3, 2] = number
    with pytest.raises(ValueError, match=f"sample_weight.*{sentence}|{sentence}"):
        fit(still_vae(), X, sample_weight=weight)


# ---- evaluation --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [elbo, log_likelihood])
def test_evaluation_counts_what_is_observed(function):
    vae = still_vae()
    plain = function(vae, X, num_samples=1, seed=1)
    found = function(vae, X, num_samples=1, seed=1, sample_weight=OBSERVED)
    not_observed = ((1 - OBSERVED) * log_p(vae, X)).sum(axis=1)
    np.testing.assert_allclose(plain - found, not_observed, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", [elbo, log_likelihood])
def test_weights_of_examples_multiply_what_evaluation_gives(function):
    vae, weight = tiny_vae(), np.linspace(0, 3, 22)
    plain = function(vae, X, num_samples=2, seed=1)
    found = function(vae, X, num_samples=2, seed=1, sample_weight=weight)
    np.testing.assert_allclose(found, weight * plain, rtol=1e-6)


def test_the_log_likelihood_with_missing_values_is_that_of_the_observed_ones():
    """z ~ N(0, 1), x = z w + noise: the observed columns have a known density by themselves."""
    from scipy.stats import multivariate_normal

    w, s = np.array([1.0, -2.0, 0.5]), 0.7
    x, z = keras.Input((3,)), keras.Input((1,))
    heads = [layers.Dense(1, kernel_initializer="zeros")(x) for _ in range(2)]
    decoder = keras.Model(z, layers.Dense(3, name="w")(z))
    decoder.get_layer("w").set_weights([w[None], np.zeros(3)])
    vae = vaekit.VAE(keras.Model(x, heads), decoder, Gaussian(s))
    data = np.float32([[0.3, -1.0, 0.4]])
    seen = np.float32([[1, 0, 1]])
    kept = [0, 2]
    covariance = np.outer(w, w)[np.ix_(kept, kept)] + s**2 * np.eye(2)
    expected = multivariate_normal(np.zeros(2), covariance).logpdf(data[0, kept])
    found = log_likelihood(vae, data, num_samples=20_000, seed=1, sample_weight=seen)
    assert found[0] == pytest.approx(expected, abs=0.03)


# ---- to_vae ------------------------------------------------------------------------------------


def padded_autoencoder():
    """Series of 4 steps; those that are not observed are 5 in x, and the model gives 0 there."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(3)
    size = rng.normal(size=(400, 1, 1))
    x = np.float32(size * np.ones((400, 4, 2)) + 0.1 * rng.normal(size=(400, 4, 2)))
    steps = (np.arange(4) < rng.integers(2, 5, (400, 1))).astype("float32")
    inputs = keras.Input((4, 2))
    code = layers.Dense(1)(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Reshape((4, 2))(layers.Dense(8)(code)))
    model.compile("adam", "mse")
    mean = np.full((8, 1), 1 / 8)
    model.set_weights([mean, np.zeros(1), np.ones((1, 8)), np.zeros(8)])
    return model, x, steps


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_to_vae_fits_scale_and_width_to_what_is_observed():
    model, x, steps = padded_autoencoder()
    spoilt = np.where(steps[..., None] > 0, x, 5).astype("float32")
    vae = vaekit.to_vae(model, x, y_train=spoilt, sample_weight=steps, verbose=0)
    assert vae.likelihood.scale == pytest.approx(0.1, abs=0.01)
    ignorant = vaekit.to_vae(model, x, y_train=spoilt, verbose=0)
    assert ignorant.likelihood.scale > 1
    # The posterior of a series that is seen longer is narrower: 8 or 4 numbers tell of one size.
    few, many = (vaekit.to_vae(model, x, sample_weight=w, verbose=0) for w in (steps, steps**0))
    variance = [float(ops.mean(ops.exp(vae.encode(x)[1]))) for vae in (few, many)]
    # The precision is that of the prior plus one for each number seen.
    seen = 2 * steps.sum(axis=1).mean()
    assert variance[0] / variance[1] == pytest.approx(8 / seen, rel=0.1)


def test_to_vae_refuses_weights_of_examples():
    model, x, _ = padded_autoencoder()
    with pytest.raises(ValueError, match=r"weigh elements, as \(400, 4\) does, but got \(400,\)"):
        vaekit.to_vae(model, x, sample_weight=np.ones(400), verbose=0)
    with pytest.raises(ValueError, match="all are 0"):
        vaekit.to_vae(model, x, sample_weight=np.zeros((400, 4)), verbose=0)
