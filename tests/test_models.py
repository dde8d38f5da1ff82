"""VAE on any backend: the contract, the logs, and the numbers against NumPy."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import vaekit
from tests.tiny_models import (
    EAGER,
    QUIET,
    X,
    assert_close_weights,
    equal_weights,
    evaluate,
    fit,
    frozen,
    still_vae,
    tiny_decoder,
    tiny_encoder,
    tiny_vae,
)

LOGS = ["kl_loss", "loss", "reconstruction_loss"]
LOG_2PI = np.log(2 * np.pi)


def numpy(tensor):
    is_variable = isinstance(tensor, keras.Variable)
    return tensor.numpy() if is_variable else ops.convert_to_numpy(tensor)


# ---- the contract ------------------------------------------------------------------------------


def test_call_decodes_the_posterior_mean():
    vae = tiny_vae()
    z_mean, _ = vae.encode(X)
    np.testing.assert_allclose(numpy(vae(X)), numpy(vae.decode(z_mean)), rtol=1e-6)


def test_predict_equals_call_and_repeats():
    vae = tiny_vae()
    first = vae.predict(X, verbose=0)
    np.testing.assert_allclose(first, numpy(vae(X)), rtol=1e-6)
    np.testing.assert_array_equal(first, vae.predict(X, verbose=0))


def test_call_is_deterministic_even_in_training_mode():
    vae = tiny_vae()
    np.testing.assert_array_equal(numpy(vae(X, training=True)), numpy(vae(X, training=True)))


def test_call_is_deterministic_after_fit():
    vae = tiny_vae()
    fit(vae, X, validation_data=X)
    assert isinstance(vae.predict(X, verbose=0), np.ndarray)
    np.testing.assert_array_equal(numpy(vae(X)), numpy(vae(X)))


def test_call_is_deterministic_after_a_step_that_failed():
    vae = tiny_vae(compiled={"run_eagerly": True})
    with pytest.raises(Exception, match=r"incompatible|expected"):
        vae.train_on_batch(X[:, :5])
    np.testing.assert_array_equal(numpy(vae(X)), numpy(vae(X)))


def test_encode_returns_mean_and_log_variance():
    vae = tiny_vae(log_var=-2.0)
    z_mean, z_log_var = vae.encode(X)
    assert tuple(z_mean.shape) == tuple(z_log_var.shape) == (22, 2)
    np.testing.assert_array_equal(numpy(z_mean), numpy(vae.encoder(X)[0]))
    np.testing.assert_array_equal(numpy(z_log_var), np.full((22, 2), -2.0, "float32"))


def test_sample_repeats_with_a_seed_only():
    vae = tiny_vae()
    first = numpy(vae.sample(5, seed=7))
    assert first.shape == (5, 6)
    np.testing.assert_array_equal(first, numpy(vae.sample(5, seed=7)))
    assert not np.array_equal(first, numpy(vae.sample(5, seed=8)))
    assert not np.array_equal(numpy(vae.sample(5)), numpy(vae.sample(5)))


def test_sample_decodes_the_standard_normal_prior():
    z = keras.Input((2,))
    x = keras.Input((2,))
    same = layers.Rescaling(1.0)
    encoder = keras.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)])
    vae = vaekit.VAE(encoder, keras.Model(z, same(z)), likelihood="gaussian")
    drawn = numpy(vae.sample(20_000, seed=1))
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=4 / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(2), atol=0.04)


def test_sample_returns_means_in_the_range_of_the_data():
    logits = vaekit.likelihoods.Bernoulli(from_logits=True)
    vae = vaekit.VAE(tiny_encoder(), tiny_decoder(activation=None), logits)
    z = keras.random.normal((50, 2), seed=2)
    expected = 1 / (1 + np.exp(-numpy(vae.decode(z))))
    np.testing.assert_allclose(numpy(vae.sample(50, seed=2)), expected, rtol=1e-5)


def test_a_third_output_of_the_encoder_is_not_used_and_the_weights_are_shared():
    two = tiny_encoder()
    three = keras.Model(two.input, [*two.outputs, vaekit.Sampling()(two.outputs)])
    vae = vaekit.VAE(three, tiny_decoder())
    assert len(vae.encoder.outputs) == 2
    assert all(a is b for a, b in zip(vae.encoder.weights, two.weights, strict=True))
    assert not any(isinstance(layer, vaekit.Sampling) for layer in vae.encoder.layers)


def test_a_vae_with_a_third_output_trains_like_one_without():
    keras.utils.set_random_seed(3)
    two = tiny_encoder()
    vae = vaekit.VAE(
        keras.Model(two.input, [*two.outputs, vaekit.Sampling(seed=0)(two.outputs)]),
        tiny_decoder(),
        seed=1,
    )
    vae.compile("sgd")
    fit(vae, X)
    other = tiny_vae()
    fit(other, X)
    for a, b in zip(vae.trainable_weights, other.trainable_weights, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def test_building_a_vae_leaves_the_models_untouched():
    encoder, decoder = tiny_encoder(), tiny_decoder()
    before = [numpy(w).copy() for w in encoder.weights + decoder.weights]
    vaekit.VAE(encoder, decoder)
    after = [numpy(w) for w in encoder.weights + decoder.weights]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_convolutions_with_feature_maps_as_latents():
    x = keras.Input((4, 4, 1))
    h = layers.Conv2D(3, 3, strides=2, padding="same", activation="relu")(x)
    encoder = keras.Model(x, [layers.Conv2D(2, 1)(h), layers.Conv2D(2, 1)(h)])
    z = keras.Input((2, 2, 2))
    decoder = layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")
    vae = vaekit.VAE(encoder, keras.Model(z, decoder(z)))
    vae.compile("adam")
    images = np.random.default_rng(0).uniform(size=(6, 4, 4, 1)).astype("float32")
    logs = fit(vae, images)
    z_mean, z_log_var = (numpy(head).astype("float64") for head in vae.encode(images))
    kl = 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var).sum(axis=(1, 2, 3)).mean()
    assert vae.sample(3).shape == (3, 4, 4, 1)
    assert np.isfinite(logs["loss"][0])
    np.testing.assert_allclose(evaluate(vae, images)["kl_loss"], kl, rtol=1e-4)


class TwoHeads(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean_head, self.log_var_head = layers.Dense(2), layers.Dense(2)

    def call(self, x):
        return self.mean_head(x), self.log_var_head(x)


class OneHead(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = layers.Dense(6, activation="sigmoid")

    def call(self, z):
        return self.head(z)


def test_subclassed_models_built_by_a_call_train():
    encoder, decoder = TwoHeads(), OneHead()
    decoder(encoder(X[:1])[0])
    vae = vaekit.VAE(encoder, decoder)
    vae.compile("adam")
    before = [numpy(w).copy() for w in vae.trainable_weights]
    logs = fit(vae, X)
    assert sorted(logs) == LOGS
    assert len(before) == 6
    assert all(
        not np.array_equal(a, numpy(b)) for a, b in zip(before, vae.trainable_weights, strict=True)
    )


def test_subclassed_models_sample_after_the_first_batch():
    encoder, decoder = TwoHeads(), OneHead()
    decoder(encoder(X[:1])[0])
    vae = vaekit.VAE(encoder, decoder)
    vae(X[:1])
    assert vae.sample(4).shape == (4, 6)


def test_a_sequential_decoder():
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(6, activation="sigmoid")])
    vae = vaekit.VAE(tiny_encoder(), decoder)
    vae.compile("adam")
    assert sorted(fit(vae, X)) == LOGS


# ---- in the place of an autoencoder ------------------------------------------------------------


def test_a_model_of_its_input_and_its_output_is_the_reconstruction():
    vae = tiny_vae()
    assert vae.inputs == vae.encoder.inputs
    assert [tuple(output.shape) for output in vae.outputs] == [(None, 6)]
    model = keras.Model(vae.input, vae.output)
    np.testing.assert_allclose(numpy(model(X)), numpy(vae(X)), rtol=1e-6)
    longer = keras.Model(vae.inputs, layers.Rescaling(2.0)(vae.outputs[0]))
    np.testing.assert_allclose(numpy(longer([X])), 2 * numpy(vae(X)), rtol=1e-6)


def test_a_conditional_vae_has_two_inputs():
    x, c, z = keras.Input((6,)), keras.Input((3,)), keras.Input((2,))
    both = layers.Concatenate()
    encoder = keras.Model([x, c], [layers.Dense(2)(both([x, c])) for _ in range(2)])
    decoder = keras.Model([z, c], layers.Dense(6, activation="sigmoid")(both([z, c])))
    vae = vaekit.VAE(encoder, decoder)
    data = [X, np.ones((22, 3), "float32")]
    model = keras.Model(vae.inputs, vae.outputs)
    (found,) = keras.tree.flatten(model(data))
    np.testing.assert_allclose(numpy(found), numpy(vae(data)), rtol=1e-6)


def test_a_compiled_vae_has_a_loss_for_those_who_ask():
    assert tiny_vae(optimizer=None).loss is None
    vae = tiny_vae()
    assert vae.loss
    assert vae.get_compile_config()["loss"] is None


def test_latents_of_a_free_size_are_drawn_by_hand():
    x, z = keras.Input((None, None, 1)), keras.Input((None, None, 2))
    half = layers.Conv2D(2, 3, strides=2, padding="same"), layers.Conv2D(2, 3, 2, "same")
    encoder = keras.Model(x, [layer(x) for layer in half])
    vae = vaekit.VAE(encoder, keras.Model(z, layers.Conv2DTranspose(1, 3, 2, "same")(z)))
    with pytest.raises(ValueError, match=r"latents of a known shape, .* \(None, None, 2\)"):
        vae.sample(3)
    drawn = vae.likelihood.mean(vae.decode(keras.random.normal((3, 4, 4, 2))))
    assert tuple(drawn.shape) == (3, 8, 8, 1)


# ---- data in all the forms that Keras takes ----------------------------------------------------


def test_fit_x_and_fit_x_x_give_bit_identical_weights():
    alone, paired = tiny_vae(), tiny_vae()
    assert fit(alone, X, epochs=1) == fit(paired, X, X, epochs=1)
    assert equal_weights(alone, paired)


def test_fit_uses_the_clean_target():
    vae = still_vae()
    noisy = 1 - X
    p = numpy(vae(noisy)).astype("float64")
    expected = -(X * np.log(p) + (1 - X) * np.log1p(-p)).sum(axis=1).mean()
    np.testing.assert_allclose(fit(vae, noisy, X)["reconstruction_loss"][0], expected, rtol=1e-5)


def test_a_clean_target_changes_the_weights_learned():
    to_itself, to_clean = tiny_vae(compiled=EAGER), tiny_vae(compiled=EAGER)
    fit(to_itself, 1 - X)
    fit(to_clean, 1 - X, X)
    assert not equal_weights(to_itself, to_clean)


class Batches(keras.utils.PyDataset):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return self.wrap(X[4 * i : 4 * i + 4])


def generator(wrap):
    while True:
        for i in range(5):
            yield wrap(X[4 * i : 4 * i + 4])


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: (x, x)], ids=["x", "x-x"])
def test_pydataset_trains_as_the_array(wrap):
    array, batches = tiny_vae(compiled=EAGER), tiny_vae(compiled=EAGER)
    fit(array, X[:20])
    fit(batches, Batches(wrap), batch_size=None)
    assert_close_weights(array, batches)


@pytest.mark.parametrize("wrap", [lambda x: (x,), lambda x: (x, x)], ids=["x", "x-x"])
def test_generator_trains_as_the_array_and_no_batch_is_lost(wrap):
    array, batches = tiny_vae(compiled=EAGER), tiny_vae(compiled=EAGER)
    fit(array, X[:20], epochs=2)
    fit(batches, generator(wrap), batch_size=None, steps_per_epoch=5, epochs=2)
    assert_close_weights(array, batches)


def test_generators_for_validation_and_evaluation():
    vae = still_vae()
    data = generator(lambda x: (x,))
    logs = fit(vae, X[:20], validation_data=data, validation_steps=5)
    np.testing.assert_allclose(logs["val_loss"], logs["loss"], rtol=1e-5)
    logs_of_evaluate = evaluate(vae, generator(lambda x: (x,)), batch_size=None, steps=5)
    np.testing.assert_allclose(logs_of_evaluate["loss"], logs["loss"][0], rtol=1e-5)


def test_torch_data_loader():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(X[:20]))
    array, loader = tiny_vae(compiled=EAGER), tiny_vae(compiled=EAGER)
    fit(array, X[:20])
    fit(loader, torch.utils.data.DataLoader(data, batch_size=4), batch_size=None)
    assert equal_weights(array, loader)


def test_pandas_table():
    pandas = pytest.importorskip("pandas")
    array, table = tiny_vae(compiled=EAGER), tiny_vae(compiled=EAGER)
    fit(array, X)
    fit(table, pandas.DataFrame(X))
    assert equal_weights(array, table)


def test_float64_data():
    single, double = tiny_vae(compiled=EAGER), tiny_vae(compiled=EAGER)
    fit(single, X)
    fit(double, X.astype("float64"))
    assert equal_weights(single, double)


def test_a_batch_of_one():
    vae = tiny_vae(compiled=EAGER)
    assert np.isfinite(fit(vae, X[:1])["loss"][0])
    assert vae.predict(X[:1], verbose=0).shape == (1, 6)


@pytest.mark.parametrize(
    "validation", [X, (X,), (X, X), [X, X], (X, None)], ids=["x", "(x,)", "(x,x)", "[x,x]", "none"]
)
def test_validation_data_in_every_form(validation):
    vae = still_vae()
    logs = fit(vae, X, validation_data=validation)
    assert sorted(logs) == LOGS + [f"val_{name}" for name in LOGS]
    for name in LOGS:
        np.testing.assert_allclose(logs[f"val_{name}"], logs[name], rtol=1e-5)


def test_validation_split():
    vae = still_vae()
    logs = fit(vae, X, validation_split=0.5)
    assert logs["val_loss"][0] == pytest.approx(evaluate(vae, X[11:])["loss"], rel=1e-5)
    assert logs["loss"][0] == pytest.approx(evaluate(vae, X[:11])["loss"], rel=1e-5)


def test_train_on_batch_and_test_on_batch():
    vae = still_vae()
    trained = vae.train_on_batch(X, return_dict=True)
    vae.reset_metrics()
    assert sorted(trained) == LOGS
    assert vae.test_on_batch(X, return_dict=True) == pytest.approx(trained, rel=1e-5)


# ---- the loss against NumPy --------------------------------------------------------------------


def linear_vae(log_var, likelihood="gaussian", activation=None, beta=1.0):
    """x -> W x + b with a constant posterior variance, and its weights in float64."""
    keras.utils.set_random_seed(5)
    x = keras.Input((6,))
    mean = layers.Dense(2, bias_initializer="normal")
    constant = keras.initializers.Constant(log_var)
    spread = layers.Dense(2, kernel_initializer="zeros", bias_initializer=constant)
    encoder = keras.Model(x, [mean(x), spread(x)])
    decoder = tiny_decoder(activation, bias_initializer="normal")
    vae = vaekit.VAE(encoder, decoder, likelihood, beta=beta, seed=1)
    vae.compile(frozen())
    weights = [w.astype("float64") for w in mean.get_weights() + decoder.get_weights()]
    return vae, weights


def test_elbo_of_a_linear_gaussian_model():
    vae, (w, b, v, c) = linear_vae(QUIET, beta=0.7)
    mu = X.astype("float64") @ w + b
    squares = ((X - (mu @ v + c)) ** 2).sum(axis=1)
    reconstruction = (0.5 * squares + 6 * 0.5 * LOG_2PI).mean()
    kl = 0.5 * (mu**2 + np.exp(QUIET) - 1 - QUIET).sum(axis=1).mean()
    logs = evaluate(vae, X)
    assert logs["reconstruction_loss"] == pytest.approx(reconstruction, rel=1e-5)
    assert logs["kl_loss"] == pytest.approx(kl, rel=1e-5)
    assert logs["loss"] == pytest.approx(reconstruction + 0.7 * kl, rel=1e-5)


def test_elbo_with_a_bernoulli_likelihood():
    vae, (w, b, v, c) = linear_vae(QUIET, "bernoulli", "sigmoid")
    mu = X.astype("float64") @ w + b
    p = 1 / (1 + np.exp(-(mu @ v + c)))
    reconstruction = -(X * np.log(p) + (1 - X) * np.log1p(-p)).sum(axis=1).mean()
    assert evaluate(vae, X)["reconstruction_loss"] == pytest.approx(reconstruction, rel=1e-5)


def test_one_step_follows_the_gradient_summed_over_pixels_and_averaged_over_the_batch():
    vae, (w, b, v, c) = linear_vae(QUIET, beta=0.7)
    vae.compile(keras.optimizers.SGD(0.01))
    mu = X.astype("float64") @ w + b
    error = mu @ v + c - X  # of log N(x; m, 1) by m, negated
    by_w = X.T @ (error @ v.T + 0.7 * mu) / len(X)
    by_v = mu.T @ error / len(X)
    fit(vae, X, batch_size=22)
    new_w, new_v = vae.encoder.get_weights()[0], vae.decoder.get_weights()[0]
    np.testing.assert_allclose(new_w, w - 0.01 * by_w, atol=1e-6)
    np.testing.assert_allclose(new_v, v - 0.01 * by_v, atol=1e-6)


def test_mean_over_the_noise_is_the_analytic_expectation():
    vae, (w, b, v, c) = linear_vae(log_var=-1.0)
    x, n, variance = X[:1].astype("float64"), 20_000, np.exp(-1.0)
    offset = (x - ((x @ w + b) @ v + c))[0]
    constant = 6 * 0.5 * LOG_2PI
    # E |r - V e|^2 = |r|^2 + tr(V V^T) s^2, and its variance from the Gaussian's moments.
    gram = variance * v @ v.T
    expected = 0.5 * (offset @ offset + np.trace(gram)) + constant
    spread = 0.25 * (2 * np.trace(gram @ gram) + 4 * variance * ((v @ offset) ** 2).sum())
    logs = evaluate(vae, np.repeat(X[:1], n, axis=0), batch_size=2000)
    assert abs(logs["reconstruction_loss"] - expected) < 4 * np.sqrt(spread / n)


def test_loss_is_the_sum_of_its_parts_also_with_a_ragged_last_batch():
    logs = fit(tiny_vae(beta=0.3), X, X, epochs=3, validation_data=(X,))
    for twin in ("", "val_"):
        loss, reconstruction, kl = (
            np.array(logs[twin + name]) for name in ("loss", "reconstruction_loss", "kl_loss")
        )
        np.testing.assert_allclose(loss, reconstruction + 0.3 * kl, rtol=1e-5)


def test_a_ragged_last_batch_weighs_by_its_examples():
    vae = still_vae()
    whole = evaluate(vae, X, batch_size=22)
    assert fit(vae, X, batch_size=4)["loss"][0] == pytest.approx(whole["loss"], rel=1e-5)
    assert evaluate(vae, X, batch_size=4) == pytest.approx(whole, rel=1e-5)


def test_frozen_epochs_equal_evaluate_and_leak_no_state():
    vae = still_vae(eager=False)
    before = evaluate(vae, X)
    logs = fit(vae, X, epochs=3, validation_data=X)
    for name in LOGS:
        np.testing.assert_allclose(logs[name], [before[name]] * 3, rtol=1e-5)
        np.testing.assert_allclose(logs[f"val_{name}"], [before[name]] * 3, rtol=1e-5)
    assert evaluate(vae, X) == pytest.approx(before, rel=1e-5)


def test_every_step_draws_new_noise():
    vae = tiny_vae(log_var=0.0, optimizer=frozen())
    losses = fit(vae, X, epochs=3)["reconstruction_loss"]
    assert len(set(losses)) == 3
    assert evaluate(vae, X)["loss"] != evaluate(vae, X)["loss"]


def test_one_seed_gives_one_history():
    histories = [fit(tiny_vae(), X, epochs=2, shuffle=True) for _ in range(2)]
    assert histories[0] == histories[1]


def test_another_seed_of_the_noise_gives_another_history():
    first, second = (fit(tiny_vae(seed=seed, compiled=EAGER), X) for seed in (1, 2))
    assert first != second


def test_without_a_seed_set_random_seed_decides():
    histories = [
        fit(tiny_vae(seed=None, compiled=EAGER), X, epochs=2, shuffle=True) for _ in range(2)
    ]
    assert histories[0] == histories[1]


def test_training_lowers_the_loss():
    vae = tiny_vae(optimizer=keras.optimizers.Adam(0.05), compiled=EAGER)
    losses = fit(vae, X, batch_size=11, epochs=20)["loss"]
    assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.2


# ---- weights of examples -----------------------------------------------------------------------


@pytest.mark.parametrize("target", [(), (X,)], ids=["fit(x)", "fit(x, x)"])
def test_sample_weight_zero_leaves_the_weights_unchanged(target):
    trained, untouched = tiny_vae(compiled=EAGER), tiny_vae(compiled=EAGER)
    logs = fit(trained, X, *target, sample_weight=np.zeros(22))
    assert logs["loss"] == [0.0]
    assert equal_weights(
        keras.Model(trained.encoder.input, trained.decoder(trained.encoder.outputs[0])),
        keras.Model(untouched.encoder.input, untouched.decoder(untouched.encoder.outputs[0])),
    )


@pytest.mark.parametrize("target", [(), (X,)], ids=["x", "x, x"])
def test_sample_weight_scales_each_example(target):
    vae = still_vae()
    each = np.array([evaluate(vae, x[None])["loss"] for x in X[:6]])
    weight = np.linspace(0.0, 3.0, 6)
    target = [y[:6] for y in target]
    logs = evaluate(vae, X[:6], *target, sample_weight=weight)
    assert logs["loss"] == pytest.approx((weight * each).mean(), rel=1e-5)
    assert logs["loss"] == pytest.approx(logs["reconstruction_loss"] + logs["kl_loss"], rel=1e-5)


def test_sample_weight_as_a_column():
    vae = still_vae()
    weight = np.linspace(0.0, 3.0, 22)
    row = evaluate(vae, X, X, sample_weight=weight)
    assert evaluate(vae, X, X, sample_weight=weight[:, None]) == pytest.approx(row, rel=1e-6)


@pytest.mark.parametrize("target", [None, X], ids=["none", "x"])
def test_sample_weight_of_validation_data(target):
    vae = still_vae()
    logs = fit(vae, X, validation_data=(X, target, np.full(22, 2.0)))
    assert logs["val_loss"][0] == pytest.approx(2 * logs["loss"][0], rel=1e-5)


# ---- metrics, regularizers, loss=, beta --------------------------------------------------------


def test_compiled_metrics_are_logged_and_right():
    vae = still_vae(eager=False, compiled={"metrics": ["mse"]})
    logs = fit(vae, X, validation_data=X)
    expected = np.square(X - vae.predict(X, verbose=0)).mean()
    assert logs["mse"][0] == pytest.approx(expected, rel=1e-4)
    assert logs["val_mse"][0] == pytest.approx(expected, rel=1e-4)


def test_compiled_metrics_see_the_target():
    vae = still_vae(compiled={"metrics": ["mse"]})
    expected = np.square(1 - X - vae.predict(X, verbose=0)).mean()
    assert evaluate(vae, X, 1 - X)["mse"] == pytest.approx(expected, rel=1e-4)


def test_weighted_metrics_are_weighted():
    vae = still_vae(compiled={"weighted_metrics": ["mse"]})
    weight = np.linspace(0.0, 3.0, 22)
    each = np.square(X - vae.predict(X, verbose=0)).mean(axis=1)
    logs = evaluate(vae, X, X, sample_weight=weight)
    assert logs["mse"] == pytest.approx((weight * each).sum() / weight.sum(), rel=1e-4)


def test_compiled_metrics_get_means_and_not_logits():
    keras.utils.set_random_seed(3)
    logits = vaekit.likelihoods.Bernoulli(from_logits=True)
    vae = vaekit.VAE(tiny_encoder(log_var=QUIET), tiny_decoder(activation=None), logits)
    vae.compile(frozen(), metrics=["mse"])
    mean = 1 / (1 + np.exp(-vae.predict(X, verbose=0)))
    assert evaluate(vae, X)["mse"] == pytest.approx(np.square(X - mean).mean(), rel=1e-4)


def regularized_vae(strength):
    keras.utils.set_random_seed(3)
    penalty = {"kernel_regularizer": keras.regularizers.L2(strength)}
    encoder = tiny_encoder(log_var=QUIET, **penalty)
    return vaekit.VAE(encoder, tiny_decoder(**penalty), seed=1)


def test_regularizers_add_exactly_their_losses():
    vae = regularized_vae(0.1)
    vae.compile(frozen())
    logs = fit(vae, X, validation_data=X)
    penalty = float(numpy(sum(vae.losses)))
    kernels = [w for w in vae.get_weights() if w.ndim == 2]  # that of z_log_var is zero
    assert penalty == pytest.approx(0.1 * sum(np.square(k).sum() for k in kernels), rel=1e-5)
    for twin in ("", "val_"):
        parts = logs[f"{twin}reconstruction_loss"][0] + logs[f"{twin}kl_loss"][0]
        assert logs[f"{twin}loss"][0] - parts == pytest.approx(penalty, rel=1e-3)


def test_regularizers_enter_the_gradient():
    plain, pulled = regularized_vae(0.0), regularized_vae(0.1)
    for vae in (plain, pulled):
        vae.compile(keras.optimizers.SGD(0.1), **EAGER)
    kernel = plain.decoder.get_weights()[0]
    fit(plain, X, batch_size=22)
    fit(pulled, X, batch_size=22)
    difference = plain.decoder.get_weights()[0] - pulled.decoder.get_weights()[0]
    np.testing.assert_allclose(difference, 0.1 * 2 * 0.1 * kernel, atol=1e-6)


def test_compile_refuses_a_loss():
    vae = tiny_vae(optimizer=None)
    with pytest.raises(ValueError) as error:
        vae.compile("adam", loss="mse")
    assert str(error.value) == (
        "VAE computes its own loss, the negative ELBO, but got loss='mse'. Leave it out and "
        "choose VAE(..., likelihood=...): 'gaussian' for mse, 'bernoulli' for bce."
    )
    assert not vae.compiled


def test_beta_is_a_non_trainable_variable():
    vae = tiny_vae(beta=0.25)
    assert any(v is vae.beta for v in vae.non_trainable_variables)
    assert not any(v is vae.beta for v in vae.trainable_variables)
    assert float(numpy(vae.beta)) == 0.25


def test_beta_weighs_the_kl_of_the_loss_already_compiled():
    vae = still_vae(eager=False, beta=0.0)
    without = fit(vae, X)
    assert without["loss"] == pytest.approx(without["reconstruction_loss"], rel=1e-6)
    vae.beta.assign(0.5)
    for logs in (fit(vae, X), {k: [v] for k, v in evaluate(vae, X).items()}):
        rise = logs["loss"][0] - without["loss"][0]
        assert rise == pytest.approx(0.5 * without["kl_loss"][0], rel=1e-5)


def test_beta_weighs_the_gradient_of_the_kl():
    steps = {}
    for beta in (0.0, 1.0, 3.0):
        sgd = keras.optimizers.SGD(0.1)
        vae = tiny_vae(log_var=QUIET, optimizer=sgd, compiled=EAGER, beta=beta)
        start = vae.encoder.get_weights()[2]
        fit(vae, X, batch_size=22)
        steps[beta] = vae.encoder.get_weights()[2] - start
    by_kl = steps[1.0] - steps[0.0]
    assert np.abs(by_kl).max() > 1e-3
    np.testing.assert_allclose(steps[3.0] - steps[0.0], 3 * by_kl, atol=1e-5)


# ---- layers that behave differently in training ------------------------------------------------


def test_dropout_acts_in_fit_only():
    vae = still_vae([layers.Dropout(0.5, seed=1)], eager=False)
    without = evaluate(still_vae(), X)
    assert evaluate(vae, X) == pytest.approx(without, rel=1e-5)
    trained = fit(vae, X, epochs=2, validation_data=X)
    assert abs(trained["loss"][0] - without["loss"]) > 1e-3
    assert trained["loss"][0] != trained["loss"][1]
    np.testing.assert_allclose(trained["val_loss"], without["loss"], rtol=1e-5)


def test_batch_norm_moves_its_statistics_once_a_step():
    norm = layers.BatchNormalization(momentum=0.9)
    vae = tiny_vae([norm], optimizer=frozen())
    hidden = keras.Model(vae.encoder.input, vae.encoder.layers[1].output)
    h = hidden.predict(X, verbose=0).astype("float64")
    fit(vae, X, batch_size=22)
    np.testing.assert_allclose(numpy(norm.moving_mean), 0.1 * h.mean(axis=0), atol=1e-6)
    moved = 0.9 + 0.1 * h.var(axis=0)
    np.testing.assert_allclose(numpy(norm.moving_variance), moved, atol=1e-6)


def test_batch_norm_of_the_decoder_moves_in_fit_only():
    norm = layers.BatchNormalization(momentum=0.9)
    z = keras.Input((2,))
    decoder = keras.Model(z, layers.Dense(6, activation="sigmoid")(norm(z)))
    vae = vaekit.VAE(tiny_encoder(log_var=QUIET), decoder)
    vae.compile(frozen())
    evaluate(vae, X)
    np.testing.assert_array_equal(numpy(norm.moving_mean), np.zeros(2))
    fit(vae, X, batch_size=22)
    z_mean = numpy(vae.encode(X)[0])
    np.testing.assert_allclose(numpy(norm.moving_mean), 0.1 * z_mean.mean(axis=0), atol=1e-6)


def test_batch_norm_keeps_its_statistics_in_evaluate_and_predict():
    norm = layers.BatchNormalization()
    vae = tiny_vae([norm], optimizer=frozen())
    evaluate(vae, X)
    vae.predict(X, verbose=0)
    np.testing.assert_array_equal(numpy(norm.moving_mean), np.zeros(5))


# ---- callbacks that monitor val_loss -----------------------------------------------------------


def test_early_stopping_acts_on_val_loss():
    vae = still_vae()
    stop = keras.callbacks.EarlyStopping("val_loss", patience=1, min_delta=1e-3)
    assert len(fit(vae, X, epochs=9, validation_data=X, callbacks=[stop])["val_loss"]) == 2


def test_reduce_on_plateau_acts_on_val_loss():
    vae = tiny_vae(log_var=QUIET, optimizer=keras.optimizers.SGD(1e-8))
    reduce = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=1e-3)
    fit(vae, X, epochs=2, validation_data=X, callbacks=[reduce])
    assert float(numpy(vae.optimizer.learning_rate)) == pytest.approx(5e-9)


def test_kl_warmup_changes_beta_in_fit():
    vae = still_vae()
    logs = fit(vae, X, epochs=3, callbacks=[vaekit.callbacks.KLWarmup(epochs=2)])
    expected = np.array(logs["reconstruction_loss"]) + [0, 0.5, 1] * np.array(logs["kl_loss"])
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    assert float(numpy(vae.beta)) == 1.0


def test_running_eagerly_gives_the_same_history():
    compiled, eager = tiny_vae(), tiny_vae(compiled={"run_eagerly": True})
    histories = fit(compiled, X, epochs=2), fit(eager, X, epochs=2)
    for name in LOGS:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)
