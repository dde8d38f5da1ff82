import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.spatial import distance
from scipy.stats import multivariate_normal, norm

import vaekit
from tests import tiny_models
from tests.tiny_models import tiny_vae
from vaekit.evaluation import (
    active_units,
    elbo,
    kl_per_dimension,
    log_likelihood,
    marginal_kl,
    nearest_distance,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(7,), (4, 4), (4, 4, 1), (3, 3, 3)])
def test_equals_the_smallest_of_scipys_distances(shape):
    images, references = RNG.uniform(size=(5, *shape)), RNG.uniform(size=(9, *shape))
    expected = distance.cdist(images.reshape(5, -1), references.reshape(9, -1)).min(axis=1)
    np.testing.assert_allclose(nearest_distance(images, references), expected, rtol=1e-9)


def test_images_among_the_references_have_distance_0():
    """Where rounding makes some squared distances negative."""
    references = np.random.default_rng(0).uniform(size=(300, 10, 10)).astype("float32")
    found = nearest_distance(references[3:], references)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_integers_do_not_overflow():
    images, references = np.full((1, 4), 200, "uint8"), np.full((1, 4), 50, "uint8")
    np.testing.assert_allclose(nearest_distance(images, references), [300])


def test_takes_tensors_and_returns_float64():
    images = ops.convert_to_tensor(RNG.uniform(size=(2, 4)).astype("float32"))
    found = nearest_distance(images, images)
    assert isinstance(found, np.ndarray) and found.dtype == np.float64


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError) as caught:
        nearest_distance(np.zeros((2, 28, 28)), np.zeros((3, 28, 28, 1)))
    assert str(caught.value) == (
        "nearest_distance expects images and references of one shape, but got "
        "(28, 28) and (28, 28, 1). Reshape one of them."
    )


# ---- on a model whose log p(x) is known: z ~ N(0, I), x ~ N(W z + b, S^2 I) ------------------

S, PIXELS, LATENTS = 0.7, 5, 2
W = np.linalg.qr(RNG.normal(size=(PIXELS, LATENTS)))[0] * [1.5, 0.4]  # so the posterior is diagonal
B = RNG.normal(size=PIXELS)
X = (RNG.normal(size=(400, LATENTS)) @ W.T + B + S * RNG.normal(size=(400, PIXELS))).astype("f")
LOG_P = multivariate_normal(B, W @ W.T + S**2 * np.eye(PIXELS)).logpdf(X)
VARIANCE = 1 / (1 + (W**2).sum(axis=0) / S**2)  # of the posterior
FEW = X[:20]


def linear_vae(narrower=1.0, shift=0.0, **kwargs):
    """Its encoder is the exact posterior, or one with another width or mean."""
    x, z = keras.Input((PIXELS,)), keras.Input((LATENTS,))
    mean, log_var, decoder = layers.Dense(LATENTS), layers.Dense(LATENTS), layers.Dense(PIXELS)
    vae = vaekit.VAE(
        keras.Model(x, [mean(x), log_var(x)]),
        keras.Model(z, decoder(z)),
        likelihood=vaekit.likelihoods.Gaussian(scale=S),
        **kwargs,
    )
    kernel = W * VARIANCE / S**2
    mean.set_weights([kernel, shift - B @ kernel])
    log_var.set_weights([np.zeros((PIXELS, LATENTS)), np.log(VARIANCE / narrower**2)])
    decoder.set_weights([W.T, B])
    return vae


def exact_elbo(narrower=1.0, shift=0.0):
    """log p(x) minus the KL of two Gaussians whose ratio of widths and distance are known."""
    gap = 0.5 * (1 / narrower**2 - 1) + np.log(narrower) + 0.5 * shift**2 / VARIANCE
    return LOG_P - gap.sum()


@pytest.mark.parametrize("num_samples", [1, 7])
def test_with_the_exact_posterior_the_bound_is_exact(num_samples):
    found = log_likelihood(linear_vae(), X, num_samples)
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    np.testing.assert_allclose(found, LOG_P, rtol=0, atol=1e-4)


@pytest.mark.parametrize("posterior", [{}, {"narrower": 2.0}, {"narrower": 0.8, "shift": 0.3}])
def test_elbo_equals_its_closed_form(posterior):
    draws = np.array([elbo(linear_vae(**posterior), X, 200, seed=seed) for seed in range(2)])
    error = draws.mean(axis=0) - exact_elbo(**posterior)
    standard_error = 0.5 * draws.std(axis=0).mean() * np.sqrt(np.pi)  # of the mean of two
    assert draws.shape == (2, 400) and draws.dtype == np.float64
    assert abs(error.mean()) < 4 * standard_error / np.sqrt(len(X)) < 0.02


def test_the_bound_grows_with_samples_and_stays_below_log_p():
    vae = linear_vae(narrower=2.5)
    bounds = {k: log_likelihood(vae, X, k, seed=1) for k in (1, 5, 50, 500)}
    gaps = np.array([(LOG_P - bound).mean() for bound in bounds.values()])
    standard_errors = np.array(
        [(LOG_P - bound).std() / np.sqrt(len(X)) for bound in bounds.values()]
    )
    assert abs(gaps[0] - (LOG_P - exact_elbo(2.5)).mean()) < 4 * standard_errors[0]  # the ELBO
    assert np.all(np.diff(gaps) < -4 * standard_errors[1:])
    assert np.all(gaps > -3 * standard_errors) and gaps[-1] < 0.3


def test_with_many_samples_the_bound_reaches_log_p():
    found = log_likelihood(linear_vae(narrower=0.7), FEW, 20_000, batch_size=20_000, seed=1)
    np.testing.assert_allclose(found, LOG_P[:20], atol=0.03)


def test_beta_does_not_change_the_elbo():
    a, b = (elbo(linear_vae(beta=beta), FEW, seed=1) for beta in (1.0, 7.0))
    np.testing.assert_array_equal(a, b)


# ---- chunks, seeds, what is left alone ---------------------------------------------------------


@pytest.mark.parametrize("function", [elbo, log_likelihood])
def test_chunks_do_not_change_the_numbers(function):
    vae = linear_vae(narrower=2.0)
    expected = function(vae, FEW, 13, seed=1)
    for batch_size in (1, 5, 13, 40):  # parts of one example, one example, some examples
        found = function(vae, FEW, 13, batch_size=batch_size, seed=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(function(vae, FEW[:3], 13, seed=1), expected[:3], rtol=1e-5)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("n", "num_samples", "batch_size"), [(20, 3, 10), (2, 50, 10), (3, 11, 10)]
)
def test_never_decodes_more_than_a_batch_at_once(n, num_samples, batch_size):
    import tensorflow as tf

    sizes = []

    class Recording(layers.Layer):
        def call(self, z):
            sizes.append(z.shape[0])
            return z

    z = keras.Input((2,))
    decoder = keras.Model(z, layers.Dense(6, activation="sigmoid")(Recording()(z)))
    vae = vaekit.VAE(tiny_models.tiny_encoder(), decoder)
    sizes.clear()
    tf.config.run_functions_eagerly(True)  # so that the layer sees each batch
    try:
        log_likelihood(vae, tiny_models.X[:n], num_samples, batch_size)
    finally:
        tf.config.run_functions_eagerly(False)
    assert max(sizes) <= batch_size and sum(sizes) == n * num_samples
    assert len(sizes) <= 2 * n * num_samples / batch_size  # and not one by one


@pytest.mark.parametrize("function", [elbo, log_likelihood, marginal_kl])
def test_noise_depends_on_the_seed_alone(function):
    vae = linear_vae(narrower=2.0)
    keras.utils.set_random_seed(1)
    first, again, other, free = (function(vae, FEW, 2, seed=seed) for seed in (1, 1, 2, None))
    keras.utils.set_random_seed(1)
    assert np.all(first == again) and np.all(first != other) and np.all(free != first)
    assert np.all(function(vae, FEW, 2) != free)


@pytest.mark.tensorflow
def test_a_second_call_does_not_trace_again():
    class Counting(layers.Layer):
        calls = 0

        def call(self, x):
            Counting.calls += 1
            return x

    z = keras.Input((2,))
    decoder = keras.Model(z, layers.Dense(6, activation="sigmoid")(Counting()(z)))
    vae = vaekit.VAE(tiny_models.tiny_encoder(), decoder)
    log_likelihood(vae, tiny_models.X, 3)
    before = Counting.calls
    log_likelihood(vae, tiny_models.X, 3)
    assert Counting.calls == before


def test_a_vae_that_was_evaluated_is_not_kept_alive():
    vae = linear_vae()
    log_likelihood(vae, FEW)
    reference = weakref.ref(vae)
    del vae
    gc.collect()
    assert reference() is None


def test_new_weights_are_used_at_once():
    vae = linear_vae()
    log_likelihood(vae, FEW)
    vae.decoder.set_weights([W.T, B + 1])  # of x + 1, if the encoder gets x
    found = log_likelihood(vae, FEW, 2000, batch_size=2000, seed=1)
    exact = multivariate_normal(B + 1, W @ W.T + S**2 * np.eye(PIXELS)).logpdf(FEW)
    np.testing.assert_allclose(found, exact, atol=0.3)


def test_the_global_dtype_does_not_round_the_data():
    expected, vae = log_likelihood(linear_vae(), FEW), linear_vae()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = log_likelihood(vae, FEW)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_example_gets_noise_of_its_own():
    same = np.repeat(FEW[:1], 5, axis=0)
    assert len(set(elbo(linear_vae(), same, seed=1))) == 5


def test_a_bar_only_when_asked_for(capsys):
    log_likelihood(linear_vae(), FEW, 2)
    assert capsys.readouterr().out == ""
    log_likelihood(linear_vae(), FEW, 2, batch_size=8, verbose=1)
    assert "20/20" in capsys.readouterr().out


def test_leaves_the_model_as_it_was():
    vae = tiny_vae(between=[layers.Dropout(0.5), layers.BatchNormalization()])
    before, x = [np.array(v) for v in vae.variables], tiny_models.X
    found = elbo(vae, x, seed=1)
    for function in (log_likelihood, kl_per_dimension, active_units, marginal_kl):
        function(vae, x)
    assert all(map(np.array_equal, before, vae.variables))
    np.testing.assert_array_equal(elbo(vae, x, seed=1), found)  # no dropout


def test_agrees_with_evaluate():
    vae = tiny_vae(log_var=tiny_models.QUIET)
    logs = vae.evaluate(tiny_models.X, verbose=0, return_dict=True)
    assert -elbo(vae, tiny_models.X).mean() == pytest.approx(logs["loss"], rel=1e-5)
    assert kl_per_dimension(vae, tiny_models.X).sum() == pytest.approx(logs["kl_loss"], rel=1e-5)


# ---- the latents -------------------------------------------------------------------------------


def latent_vae(means, log_vars):
    """A VAE whose encoder looks up the posterior of x = 0, 1, 2, ... in two tables."""
    shape = means.shape[1:]
    x, z = keras.Input((1,)), keras.Input(shape)
    tables = [layers.Embedding(len(means), means[0].size) for _ in range(2)]
    heads = [layers.Reshape(shape)(layers.Reshape((-1,))(table(x))) for table in tables]
    vae = vaekit.VAE(
        keras.Model(x, heads), keras.Model(z, layers.Dense(1)(layers.Flatten()(z))), "gaussian"
    )
    for table, values in zip(tables, (means, log_vars), strict=True):
        table.set_weights([values.reshape(len(means), -1)])
    return vae, np.arange(len(means), dtype="float32")[:, None]


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 2, 3)])
def test_kl_per_dimension_has_the_latent_shape_and_the_closed_form(shape):
    means, log_vars = RNG.normal(size=(2, 6, *shape))
    expected = 0.5 * (means**2 + np.exp(log_vars) - 1 - log_vars).mean(axis=0)
    found = kl_per_dimension(*latent_vae(means, log_vars), batch_size=4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_active_units_have_a_variance_of_z_mean_above_the_threshold():
    spread = np.sqrt([0.0, 0.009, 0.011, 4.0])  # one a latent, where z_mean is +- spread
    model = latent_vae(np.stack([1 + spread, 1 - spread] * 3), np.zeros((6, 4)))
    assert active_units(*model) == 2 and isinstance(active_units(*model), int)
    assert active_units(*model, threshold=0.0) == 3 and active_units(*model, threshold=5.0) == 0


def test_marginal_kl_of_equal_posteriors_is_their_kl():
    model = latent_vae(np.full((10, 1), 0.6), np.full((10, 1), -1.0))
    expected = 0.5 * (0.6**2 + np.exp(-1) - 1 + 1)
    assert marginal_kl(*model, num_samples=20_000, seed=1) == pytest.approx(expected, abs=0.01)


def test_marginal_kl_of_separate_posteriors_is_the_mean_kl_less_log_n():
    vae, x = latent_vae(RNG.permuted(np.arange(8.0))[:, None] * [[1, -1]], np.full((8, 2), -9.0))
    expected = kl_per_dimension(vae, x).sum() - np.log(8)
    assert marginal_kl(vae, x, seed=1) == pytest.approx(expected, rel=1e-6)


def test_marginal_kl_is_never_below_the_mean_kl_less_log_n():
    """However few draws there are, here one of each of three examples in many latents."""
    vae, x = latent_vae(RNG.normal(0, 0.8, size=(3, 40)), np.full((3, 40), -1.0))
    least = kl_per_dimension(vae, x).sum() - np.log(3)
    estimates = [marginal_kl(vae, x, seed=seed) for seed in range(20)]
    assert min(estimates) >= least * (1 - 1e-6)
    assert np.std(estimates) < 0.05  # and the mean of log q(z) - log p(z) has 20 times as much


def test_marginal_kl_equals_quadrature():
    means, log_vars = RNG.normal(0, 1.5, size=(30, 1)), RNG.normal(-2, 1, size=(30, 1))
    z, dz = np.linspace(-12, 12, 200_001, retstep=True)
    q = np.mean(norm.pdf(z, means, np.exp(log_vars / 2)), axis=0)
    expected = np.sum(q * (np.log(q + 1e-300) - norm.logpdf(z))) * dz
    found = marginal_kl(*latent_vae(means, log_vars), num_samples=6000, seed=1)  # several parts
    assert isinstance(found, float) and found == pytest.approx(expected, abs=0.02)


def test_marginal_kl_of_the_exact_posterior_falls_with_the_number_of_examples():
    """For all x together, the exact posteriors add up to the prior."""
    few, many = (
        marginal_kl(linear_vae(), FEW[:5], 100, seed=1),
        marginal_kl(linear_vae(), X, seed=1),
    )
    assert few > 0.1 and abs(many) < 0.1


@pytest.mark.parametrize("log_var", [-1e4, -30.0, 1e4])
def test_wild_log_variances_give_numbers(log_var):
    vae, x = latent_vae(np.zeros((3, 2)), np.full((3, 2), log_var))
    for function in (elbo, log_likelihood, kl_per_dimension, marginal_kl):
        assert np.all(np.isfinite(function(vae, x)))


# ---- conditions, other latents, bad input --------------------------------------------------------


def conditional_vae():
    """The linear model with W or with 2 W, as the condition says."""
    x, c, z = keras.Input((PIXELS,)), keras.Input((1,)), keras.Input((LATENTS,))
    decoder = layers.Dense(PIXELS)
    heads = [
        layers.Dense(LATENTS, kernel_initializer="zeros")(layers.Concatenate()([x, c]))
        for _ in range(2)
    ]
    images = decoder(layers.Multiply()([z, c]))
    vae = vaekit.VAE(
        keras.Model([x, c], heads), keras.Model([z, c], images), vaekit.likelihoods.Gaussian(S)
    )
    decoder.set_weights([W.T, B])
    return vae


def test_conditions_go_beside_the_data():
    c = np.arange(1.0, 3.0).repeat(10)[:, None].astype("float32")
    found = log_likelihood(conditional_vae(), [FEW, c], 20_000, batch_size=3000, seed=1)
    for i in (0, -1):
        exact = multivariate_normal(B, c[i, 0] ** 2 * W @ W.T + S**2 * np.eye(PIXELS))
        assert found[i] == pytest.approx(exact.logpdf(FEW[i]), abs=0.1)
    vae = conditional_vae()
    for function in (elbo, kl_per_dimension, active_units, marginal_kl):
        assert np.all(np.isfinite(function(vae, [FEW, c], batch_size=8)))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.ones((2, 6), "uint8"),
            TypeError,
            "VAE expects floating-point data, but the x is uint8",
        ),
        (np.full((2, 6), np.nan, "f"), ValueError, "the x holds NaN or infinity"),
        (np.full((2, 6), 1.5, "f"), ValueError, "min 1.5 and max 1.5"),
        (np.ones((2, 5), "f"), ValueError, "VAE expects data of shape (None, 6)"),
        (np.ones((0, 6), "f"), ValueError, "at least one example"),
        ([np.ones((2, 6), "f"), np.ones((2, 1), "f")], ValueError, "expects 0 condition(s)"),
        (iter([np.ones((2, 6), "f")]), TypeError, "expects the data as an array"),
    ],
    ids=["integers", "nan", "range", "shape", "empty", "condition", "generator"],
)
@pytest.mark.parametrize(
    "function", [elbo, log_likelihood, kl_per_dimension, active_units, marginal_kl]
)
def test_refuses_what_fit_refuses(function, x, error, message):
    with pytest.raises(error) as caught:
        function(tiny_vae(), x)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_numbers_of_samples_and_batches_are_positive_ints(value):
    for name in ("num_samples", "batch_size"):
        for function in (elbo, log_likelihood, marginal_kl):
            with pytest.raises(ValueError) as caught:
                function(linear_vae(), FEW, **{name: value})
            message = f"evaluation expects {name} to be an int > 0, but got {value}."
            assert str(caught.value) == message
