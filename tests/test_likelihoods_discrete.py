"""Categorical, Poisson and Columns; the other likelihoods are in test_likelihoods.py."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import special, stats

import vaekit
from tests.fresh_process import run_fresh
from tests.gradients import gradients
from tests.test_likelihoods import log_prob, summed
from vaekit import likelihoods
from vaekit.likelihoods import Bernoulli, Categorical, Columns, Gaussian, Laplace, Poisson

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (6, 5, 4)).astype("float32")
P = special.softmax(LOGITS.astype("float64"), axis=-1)
NUMBERS = RNG.integers(0, 4, (6, 5))
ONE_HOT = np.eye(4, dtype="float32")[NUMBERS]
TABLE = Columns([(2, Gaussian(0.5)), (3, "categorical"), (1, "bernoulli"), (1, "poisson")])


def table(n):
    """Rows that ``TABLE`` accepts, and an output of a decoder for them."""
    rng = np.random.default_rng(1)
    one_hot = np.eye(3)[rng.integers(0, 3, n)]
    columns = [rng.normal(size=(n, 2)), one_hot, rng.integers(0, 2, (n, 1)), rng.poisson(3, (n, 1))]
    p = rng.dirichlet(np.ones(3), n)
    own = [rng.normal(size=(n, 2)), p, rng.uniform(0.1, 0.9, (n, 1)), rng.uniform(1, 5, (n, 1))]
    return [np.concatenate(each, axis=1).astype("float32") for each in (columns, own)]


# ---- Categorical -----------------------------------------------------------------------------


@pytest.mark.parametrize("classes, x", [(None, ONE_HOT), (4, NUMBERS), (4, NUMBERS.astype("f"))])
@pytest.mark.parametrize("from_logits", [False, True])
def test_categorical_equals_scipy(classes, x, from_logits):
    parameters = LOGITS if from_logits else P.astype("float32")
    expected = summed(stats.multinomial(1, P).logpmf(ONE_HOT.astype("int")))
    found = log_prob(Categorical(classes, from_logits), x, parameters)
    assert found.shape == (6,) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_categorical_of_counts_is_the_multinomial_without_its_constant():
    counts, p = RNG.multinomial(7, P[0, 0], 6), np.tile(P[0, 0], (6, 1))
    constant = special.gammaln(8) - special.gammaln(counts + 1).sum(axis=1)
    expected = stats.multinomial(7, p).logpmf(counts) - constant
    found = log_prob(Categorical(), counts.astype("float32"), p.astype("float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_categorical_is_the_cross_entropy_of_keras():
    expected = keras.losses.sparse_categorical_crossentropy(NUMBERS, LOGITS, from_logits=True)
    found = log_prob(Categorical(4, from_logits=True), NUMBERS, LOGITS)
    np.testing.assert_allclose(found, -summed(ops.convert_to_numpy(expected)), rtol=1e-5)


@pytest.mark.parametrize("from_logits, size", [(False, 1.0), (True, 1e30)])
def test_categorical_is_finite_where_it_is_sure_and_wrong(from_logits, size):
    wrong = np.array([[[size, 0.0]]], "float32")
    likelihood = Categorical(2, from_logits)
    number = np.array([[1]])
    assert np.isfinite(log_prob(likelihood, number, wrong)).all()
    (found,) = gradients(lambda p: ops.sum(likelihood.log_prob(number, p)), wrong)
    assert np.isfinite(found).all()


def test_the_mean_of_categorical_is_the_probability_of_each_class():
    for classes in (None, 4):
        found = Categorical(classes, from_logits=True).mean(ops.convert_to_tensor(LOGITS))
        np.testing.assert_allclose(ops.convert_to_numpy(found), P, rtol=1e-4)


@pytest.mark.parametrize("classes", [None, 4])
def test_samples_of_categorical_have_its_frequencies(classes):
    p = np.broadcast_to(np.float32([0.1, 0.2, 0.3, 0.4]), (20_000, 1, 4))
    drawn = ops.convert_to_numpy(Categorical(classes).sample(p, seed=1))
    assert drawn.shape == ((20_000, 1, 4) if classes is None else (20_000, 1))
    one_hot = drawn if classes is None else np.eye(4)[drawn]
    np.testing.assert_allclose(one_hot.mean(axis=(0, 1)), [0.1, 0.2, 0.3, 0.4], atol=0.015)


@pytest.mark.parametrize("classes", [0, -1, 2.5, "10"])
def test_classes_that_are_no_number_of_them_are_refused(classes):
    with pytest.raises(ValueError, match=r"classes to be an int > 0 or None, but got"):
        Categorical(classes)


# ---- Poisson ---------------------------------------------------------------------------------


@pytest.mark.parametrize("from_log", [False, True])
@pytest.mark.parametrize("rate", [0.01, 1.0, 20.0, 3000.0])
def test_poisson_equals_scipy(rate, from_log):
    counts = np.concatenate([[0, 1, 2, 3], RNG.poisson(rate, 40)])[:, None]
    expected = stats.poisson(rate).logpmf(counts)[:, 0]
    parameters = np.full(counts.shape, np.log(rate) if from_log else rate, "float32")
    found = log_prob(Poisson(from_log), counts.astype("float32"), parameters)
    # In float32 numbers as large as 8 x cancel.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 + 3e-6 * rate)


def test_poisson_differs_from_the_loss_of_keras_by_the_factorial_alone():
    counts, rate = RNG.poisson(3, (6, 5)), RNG.uniform(1, 5, (6, 5)).astype("float32")
    loss = keras.losses.poisson(counts.astype("float32"), rate)
    found = log_prob(Poisson(), counts.astype("float32"), rate)
    expected = -5 * ops.convert_to_numpy(loss) - summed(special.gammaln(counts + 1))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_poisson_is_finite_at_a_rate_of_0():
    counts, rate = np.full((1, 1), 3.0, "float32"), np.zeros((1, 1), "float32")
    assert np.isfinite(log_prob(Poisson(), counts, rate)).all()


@pytest.mark.parametrize("rate", [0.3, 4.0, 200.0])
def test_samples_of_poisson_have_its_frequencies(rate):
    drawn = ops.convert_to_numpy(Poisson().sample(np.full((20_000, 1), rate, "float32"), seed=1))
    assert np.array_equal(drawn, np.round(drawn))
    assert drawn.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate / 20_000))
    assert drawn.var() == pytest.approx(rate, rel=0.05)
    below = (drawn <= np.floor(rate)).mean()
    assert below == pytest.approx(stats.poisson(rate).cdf(np.floor(rate)), abs=0.015)


@pytest.mark.parametrize("rate", [1_000.0, 20_000.0])
def test_many_samples_of_poisson_have_its_mean_and_variance(rate):
    many = 1_000_000
    drawn = Poisson().sample(np.full(many, rate, "float32"), seed=1)
    drawn = ops.convert_to_numpy(drawn).astype("float64")
    assert drawn.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate / many))
    assert drawn.var() == pytest.approx(rate, rel=4 * np.sqrt(2 / many))


# ---- Columns ---------------------------------------------------------------------------------


def test_the_log_probability_of_columns_is_the_sum_of_their_own():
    x, own = table(6)
    expected = stats.norm.logpdf(x[:, :2], own[:, :2], 0.5).sum(axis=1)
    expected += np.log((x[:, 2:5] * own[:, 2:5]).sum(axis=1))
    expected += stats.bernoulli.logpmf(x[:, 5], own[:, 5])
    expected += stats.poisson.logpmf(x[:, 6], own[:, 6])
    np.testing.assert_allclose(log_prob(TABLE, x, own), expected, rtol=1e-5)


def test_a_predicted_scale_takes_two_columns_of_the_output():
    likelihood = Columns([(1, Laplace(0.3)), (2, Gaussian("predicted"))])
    assert likelihood.parameters_shape((None, 3)) == (None, 5)
    x = np.float32([[1.0, 2.0, 3.0]])
    own = np.float32([[0.5, 2.5, 2.5, 0.0, 2 * np.log(2.0)]])
    expected = stats.laplace.logpdf(1, 0.5, 0.3) + stats.norm.logpdf(2, 2.5, 1)
    expected += stats.norm.logpdf(3, 2.5, 2)
    np.testing.assert_allclose(log_prob(likelihood, x, own), [expected], rtol=1e-4)


def test_mean_and_samples_of_columns_are_rows_of_the_table():
    x, own = table(4000)
    np.testing.assert_allclose(ops.convert_to_numpy(TABLE.mean(ops.convert_to_tensor(own))), own)
    own = np.broadcast_to(own[:1], x.shape)
    drawn, again = (ops.convert_to_numpy(TABLE.sample(own, seed=1)) for _ in range(2))
    assert drawn.shape == x.shape
    assert np.array_equal(drawn[:, 2:5].sum(axis=1), np.ones(4000))
    np.testing.assert_allclose(drawn.mean(axis=0), own[0], atol=0.15)
    assert np.array_equal(drawn, again)


def test_columns_of_one_kind_draw_different_numbers():
    twice = Columns([(1, "gaussian"), (1, "gaussian")])
    first, second = ops.convert_to_numpy(twice.sample(np.zeros((50, 2), "float32"), seed=1)).T
    assert not np.array_equal(first, second)


def test_columns_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match=r"expects x with 7 columns, .* but its shape is \(4, 6\)"):
        TABLE.log_prob(np.zeros((4, 6), "float32"), np.zeros((4, 7), "float32"))


def test_numbers_of_classes_in_a_table_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"Give \(3, Categorical\(\)\), and .*to_categorical"):
        Columns([(1, Categorical(3))])
    Columns([(3, Categorical())])


@pytest.mark.parametrize("width", [0, 1.0, "2"])
def test_a_number_of_columns_that_is_none_is_refused(width):
    with pytest.raises(ValueError, match="expects an int > 0 of columns"):
        Columns([(width, "gaussian")])


# ---- in a VAE --------------------------------------------------------------------------------


def vae_of(likelihood, activation, inputs=7, outputs=7):
    keras.utils.set_random_seed(1)
    x, z = keras.Input((inputs,)), keras.Input((2,))
    encoder = keras.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)])
    out = layers.Dense(outputs)(z) if activation is None else activation(layers.Dense(outputs)(z))
    vae = vaekit.VAE(encoder, keras.Model(z, out), likelihood, seed=1)
    vae.compile(keras.optimizers.Adam(0.05))
    return vae


def activations_of_the_table(h):
    return layers.Concatenate()(
        [h[:, :2], ops.softmax(h[:, 2:5]), ops.sigmoid(h[:, 5:6]), ops.softplus(h[:, 6:])]
    )


CASES = {
    "categorical": ("categorical", layers.Softmax(), 4, ONE_HOT[:, 0]),
    "counts": ("poisson", layers.Activation("softplus"), 3, RNG.poisson(4, (6, 3))),
    "columns": (TABLE, activations_of_the_table, 7, table(6)[0]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_vae_trains_and_samples_in_it(name):
    likelihood, activation, width, x = CASES[name]
    vae = vae_of(likelihood, activation, width, width)
    data = np.repeat(x, 20, axis=0)
    losses = vae.fit(data, epochs=8, batch_size=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    drawn = ops.convert_to_numpy(vae.sample(5, seed=1))
    assert drawn.shape == (5, width) and np.isfinite(drawn).all()


def test_words_train_a_vae_of_integers():
    words = np.random.default_rng(2).integers(0, 9, (40, 5)).astype("int32")
    x, z = keras.Input((5,), dtype="int32"), keras.Input((2,))
    h = layers.Flatten()(layers.Embedding(9, 4)(x))
    out = layers.Reshape((5, 9))(layers.Dense(45)(z))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    vae = vaekit.VAE(encoder, keras.Model(z, out), Categorical(9, from_logits=True), seed=1)
    vae.compile(keras.optimizers.Adam(0.05))
    losses = vae.fit(words, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert vaekit.evaluation.elbo(vae, words, seed=1).shape == (40,)
    assert vae.predict(words, verbose=0).shape == (40, 5, 9)
    assert ops.convert_to_numpy(vae.likelihood.sample(vae.decode(np.zeros((3, 2))))).shape == (3, 5)


@pytest.mark.parametrize(
    "likelihood, x, sentence",
    [
        (Categorical(4), np.full((6, 3), 4), r"Categorical .* in \[0, 3\], .* max 4. Number the"),
        (Poisson(), np.full((6, 3), -1.0, "float32"), r"Poisson .* in \[0, inf\], .* min -1"),
        (
            Columns([(2, "gaussian"), (1, "bernoulli")]),
            np.full((6, 3), 2.0, "float32"),
            r"in \[0, 1\], but column 2 of the x has min 2 and max 2",
        ),
    ],
)
def test_data_out_of_its_range_are_refused(likelihood, x, sentence):
    vae = vae_of(likelihood, None, 3, 12 if isinstance(likelihood, Categorical) else 3)
    if isinstance(likelihood, Categorical):
        z = keras.Input((2,))
        decoder = keras.Model(z, layers.Reshape((3, 4))(layers.Dense(12)(z)))
        vae = vaekit.VAE(vae.encoder, decoder, likelihood)
        vae.compile()
    with pytest.raises(ValueError, match=sentence):
        vae.fit(x, verbose=0)


def test_integers_are_still_refused_where_they_mean_nothing():
    with pytest.raises(TypeError, match="expects floating-point data"):
        vae_of("gaussian", None, 3, 3).fit(np.zeros((6, 3), "int32"), verbose=0)


@pytest.mark.parametrize("kind", [Categorical(), Categorical(4, True), Poisson(True), TABLE])
def test_it_survives_serialisation_by_keras(kind):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(kind))
    assert type(twin) is type(kind)
    assert twin.get_config() == kind.get_config()


LOAD = """
import sys, keras, vaekit
vae = keras.saving.load_model(sys.argv[1])
print(f"{float(vae.likelihood.likelihoods[0].sigma()):.4f}")
print(type(vae.likelihood.likelihoods[1]).__name__, vae.likelihood.widths)
"""


def test_a_vae_of_columns_is_loaded_in_a_new_process_with_its_learned_scale(tmp_path):
    likelihood = Columns([(2, Gaussian("learned")), (1, Bernoulli(from_logits=True))])
    vae = vae_of(likelihood, None, 3, 3)
    vae.likelihood.likelihoods[0].set_sigma(0.25)
    vae.save(tmp_path / "vae.keras")
    found = run_fresh(LOAD, tmp_path / "vae.keras")
    assert found.split() == ["0.2500", "Bernoulli", "[2,", "1]"]


def test_names():
    assert type(likelihoods.get("categorical")) is Categorical
    assert type(likelihoods.get("poisson")) is Poisson
