"""How VAE.fit runs on a CPU: blocks of steps, XLA, arrays as data sets; nothing else may change."""

import keras
import numpy as np
import pytest
from keras import layers

import vaekit
from tests.tiny_models import (
    EAGER,
    X,
    assert_close_weights,
    evaluate,
    fit,
    still_vae,
    tiny_decoder,
    tiny_encoder,
    tiny_vae,
)
from vaekit import training

pytestmark = pytest.mark.tensorflow
SINGLE = {"jit_compile": False, "steps_per_execution": 1}
WEIGHTS = np.linspace(0.1, 2, 22, dtype="float32")


@pytest.fixture
def eager_to_compile(monkeypatch):
    """As if every training were a long one."""
    monkeypatch.setattr(training, "WORTH", 1)


class Steps(keras.callbacks.Callback):
    """The index of each batch of the first epoch that Keras tells of."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)


class Spy(keras.callbacks.Callback):
    """The steps a call and the choice of XLA at the end of an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.steps, self.xla = self.model.steps_per_execution, self.model._xla


def spied(vae, *args, **kwargs):
    spy = Spy()
    fit(vae, *args, callbacks=[spy, *kwargs.pop("callbacks", [])], **kwargs)
    return spy


def conv_vae():
    x = h = keras.Input((4, 4, 1))
    h = layers.Flatten()(layers.Conv2D(2, 3)(h))
    z = keras.Input((2,))
    decoder = keras.Model(z, layers.Reshape((4, 4, 1))(layers.Dense(16, "sigmoid")(z)))
    return compiled(keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)]), decoder)


def compiled(encoder, decoder):
    vae = vaekit.VAE(encoder, decoder)
    vae.compile("adam")
    return vae


# ---- the results -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"shuffle": True},
        {"shuffle": "batch"},
        {"batch_size": 11},
        {"batch_size": 40},
        {"sample_weight": WEIGHTS},
        {"y": X[::-1].copy()},
        {"y": X},
        {"validation_data": (X[:7],)},
        {"validation_data": (X[:7], X[:7], WEIGHTS[:7]), "validation_batch_size": 3},
        {"validation_split": 0.3, "sample_weight": WEIGHTS, "shuffle": True},
        {"steps_per_epoch": 2},
        {"validation_data": (X, X), "validation_steps": 2},
    ],
    ids=lambda kwargs: "-".join(kwargs) or "plain",
)
def test_blocks_with_xla_train_as_single_steps_do(kwargs, eager_to_compile):
    single, blocks = tiny_vae(compiled=SINGLE), tiny_vae()
    single._runs_blocks = lambda: False  # Keras' own functions and data sets
    histories = []
    for vae in (single, blocks):
        keras.utils.set_random_seed(7)
        histories.append(fit(vae, X, epochs=2, **kwargs))
    assert blocks._xla
    assert sorted(histories[0]) == sorted(histories[1])
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)
    assert_close_weights(single, blocks, atol=2e-6)
    assert blocks.optimizer.iterations == single.optimizer.iterations


@pytest.mark.parametrize("between", [[layers.Dropout(0.3, seed=1)], [layers.BatchNormalization()]])
def test_layers_with_state_train_in_blocks_as_in_single_steps(between, eager_to_compile):
    single, blocks = (
        tiny_vae([type(layer).from_config(layer.get_config()) for layer in between], compiled=kind)
        for kind in (SINGLE, {})
    )
    histories = fit(single, X, epochs=2), fit(blocks, X, epochs=2)
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-5)
    assert_close_weights(single, blocks, atol=2e-6)


def test_blocks_may_change_their_length_between_trainings(eager_to_compile):
    single, blocks = tiny_vae(compiled=SINGLE), tiny_vae()
    single._runs_blocks = lambda: False
    for steps in ({"steps_per_epoch": 2}, {}):  # the same batches in blocks of 2, then of 32
        losses = [fit(vae, X[:20], **steps)["loss"] for vae in (single, blocks)]
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_xla_asked_for_is_that_of_keras():
    single, blocks = (tiny_vae(compiled={"jit_compile": True}) for _ in range(2))
    single._runs_blocks = lambda: False
    np.testing.assert_allclose(fit(single, X)["loss"], fit(blocks, X)["loss"], rtol=1e-5)


def test_metrics_and_callbacks_of_keras_see_every_epoch(eager_to_compile):
    vae = tiny_vae(compiled={"metrics": ["mae"]})
    stopping = keras.callbacks.EarlyStopping(monitor="loss", min_delta=1e6, patience=1)
    history = fit(vae, X, epochs=9, validation_data=(X,), callbacks=[stopping])
    assert len(history["loss"]) == 2
    assert {"mae", "val_mae", "val_loss"} <= set(history)


def test_evaluate_sees_every_example_within_fit_and_without():
    vae = still_vae(eager=False)
    history = fit(vae, X[:8], validation_data=(X,), epochs=2)
    for logs in (evaluate(vae, X), evaluate(still_vae(), X)):
        assert logs["loss"] == pytest.approx(history["val_loss"][0], rel=1e-6)
    assert history["val_loss"][0] == pytest.approx(history["val_loss"][1], rel=1e-6)


def test_a_data_set_of_uneven_batches_trains_each_of_them():
    import tensorflow as tf

    parts = [X[:4], X[4:8], X[8:11], X[11:15], X[15:]]
    data = tf.data.Dataset.from_generator(
        lambda: iter(parts), output_signature=tf.TensorSpec((None, 6))
    )
    vae = still_vae(eager=False)
    with pytest.warns(UserWarning, match="ran out of data"):
        history = fit(vae, data, batch_size=None)
    assert int(vae.optimizer.iterations) == len(parts)
    assert history["loss"][0] == pytest.approx(evaluate(vae, X)["loss"], rel=1e-5)


# ---- the choices -------------------------------------------------------------------------------


def test_long_trainings_of_dense_networks_are_compiled_and_short_ones_are_not():
    vae = tiny_vae()
    assert not spied(vae, X, epochs=2).xla
    assert training.pays(vae, 1_000)
    assert not training.pays(vae, 999)


@pytest.mark.parametrize(
    "slower", [layers.Dropout(0.1), layers.GaussianNoise(0.1), layers.Lambda(lambda x: x + 1)]
)
def test_what_was_not_measured_is_not_compiled(slower):
    assert not training.pays(tiny_vae([slower]), 10_000)


def test_convolutions_and_models_of_ones_own_are_not_compiled():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(2)

        def call(self, x):
            return self.head(x), self.head(x)

    own = Own()
    own(X)
    assert not training.pays(compiled(own, tiny_decoder()), 10_000)
    assert not training.pays(conv_vae(), 10_000)


def test_functions_of_ones_own_are_not_compiled():
    def own(t):
        return keras.activations.tanh(t)

    assert training.pays(compiled(tiny_encoder(), tiny_decoder("relu")), 10_000)
    assert not training.pays(compiled(tiny_encoder(), tiny_decoder(own)), 10_000)
    assert not training.pays(compiled(tiny_encoder(kernel_regularizer=own), tiny_decoder()), 10_000)
    for metric, pays in (("mae", True), (keras.metrics.MeanSquaredError(), True), (own, False)):
        assert training.pays(tiny_vae(compiled={"metrics": [metric]}), 10_000) == pays


def test_noise_within_the_encoder_is_not_compiled():
    h = vaekit.layers.Sampling(seed=9)
    x = keras.Input((6,))
    z = h([layers.Dense(3)(x), layers.Dense(3)(x)])
    encoder = keras.Model(x, [layers.Dense(2)(z), layers.Dense(2)(z)])
    assert not training.pays(compiled(encoder, tiny_decoder()), 10_000)


def test_latents_of_unknown_size_are_not_compiled(eager_to_compile):
    x, z = keras.Input((None, 6)), keras.Input((None, 2))
    encoder = keras.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)])
    vae = compiled(encoder, keras.Model(z, layers.Dense(6, "sigmoid")(z)))
    assert not spied(vae, X.reshape(11, 2, 6)).xla


def test_low_precision_is_not_compiled():
    assert not training.pays(compiled(tiny_encoder(dtype="bfloat16"), tiny_decoder()), 10_000)


def block_steps(vae, x, **kwargs):
    return training.block_steps(vae, training.named(keras.Model.fit, vae, x, **kwargs))


@pytest.mark.parametrize(
    ("shape", "batch", "steps"),
    [((6,), 1, 32), ((784,), 2048, 15), ((64, 64, 3), 128, 15), ((400, 400, 3), 128, 1)],
    ids=str,
)
def test_blocks_of_large_batches_are_short(shape, batch, steps):
    x = np.broadcast_to(np.float32(0), (40 * batch, *shape))
    assert block_steps(tiny_vae(), x, batch_size=batch) == steps
    data = training.as_dataset(x[:1], None, None, 1, False).unbatch().repeat()
    assert block_steps(tiny_vae(), data.batch(batch, drop_remainder=True)) == steps


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (5, 5), (50, 25), (64, 32), (37, 1)], ids=str)
def test_blocks_end_where_an_epoch_does(count, steps):
    forever = training.as_dataset(X, None, None, 4, False).repeat()
    assert block_steps(tiny_vae(), forever, steps_per_epoch=count) == steps


def test_blocks_are_no_longer_than_an_epoch_and_end_where_the_data_do():
    assert block_steps(tiny_vae(), X, batch_size=4) == 6
    assert block_steps(tiny_vae(), X, batch_size=4, steps_per_epoch=8) == 2
    ending = {"validation_data": X[:16], "validation_steps": 8}
    assert block_steps(tiny_vae(), X, batch_size=1, **ending) == 8


def test_tables_have_a_length(monkeypatch):
    table = pytest.importorskip("pandas").DataFrame(X)
    assert block_steps(tiny_vae(), table, batch_size=4, steps_per_epoch=6) == 6
    monkeypatch.setattr(training, "WORTH", 13)
    assert not spied(tiny_vae(), table, epochs=2).xla
    assert spied(tiny_vae(), table, epochs=3).xla


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_blocks_are_single_steps_where_nobody_knows_the_end_of_the_data():
    data = training.as_dataset(X, None, None, 4, False).filter(lambda batch: True)
    assert block_steps(tiny_vae(), data, steps_per_epoch=8) == 1
    assert block_steps(tiny_vae(), data) == 32
    logs = tiny_vae().fit(data, steps_per_epoch=8, epochs=4, shuffle=False, verbose=0).history
    assert min(logs["loss"]) > 1


def test_the_limit_that_keras_sets_is_kept(monkeypatch):
    monkeypatch.setattr(keras.config, "max_steps_per_epoch", lambda: 3)
    assert block_steps(tiny_vae(), X, batch_size=4) == 3


def test_running_out_of_data_is_told():
    with pytest.warns(UserWarning, match="ran out of data"):
        fit(tiny_vae(), X, steps_per_epoch=8)


def test_what_the_user_asks_for_is_done():
    vae = tiny_vae(compiled={"jit_compile": False, "steps_per_execution": 3})
    spy = spied(vae, X, epochs=200)
    assert (spy.steps, spy.xla, vae.steps_per_execution) == (3, False, 3)


def test_settings_last_no_longer_than_the_call():
    vae = tiny_vae()
    assert spied(vae, X).steps == 6
    assert vae.steps_per_execution == 1

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(vae, X, callbacks=[Stop()])
    assert vae.steps_per_execution == 1


def test_choices_survive_a_file(tmp_path):
    for compiled in ({}, {"jit_compile": True, "steps_per_execution": 2}):
        vae = tiny_vae(compiled=compiled)
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras")
        assert loaded._asked_jit == compiled.get("jit_compile", "auto")
        assert loaded._asked_steps == compiled.get("steps_per_execution")


def test_compile_begins_anew(eager_to_compile):
    vae = tiny_vae()
    assert spied(vae, X).xla
    vae.compile("adam", jit_compile=False)
    assert not spied(vae, X).xla


def test_eager_models_run_as_keras_runs_them():
    assert spied(tiny_vae(compiled=EAGER), X).steps == 1


def test_a_step_of_ones_own_runs_as_keras_runs_it():
    class Counting(vaekit.VAE):
        def train_step(self, data):
            return {**super().train_step(data), "more": 1.0}

    vae = Counting(tiny_encoder(), tiny_decoder())
    vae.compile("adam")
    assert fit(vae, X)["more"] == [1.0]


# ---- callbacks ---------------------------------------------------------------------------------


def test_a_callback_that_watches_batches_sees_each_of_them():
    steps = Steps()
    assert spied(tiny_vae(), X, callbacks=[steps]).steps == 1
    assert steps.seen == list(range(6))


@pytest.mark.parametrize("name", ["on_train_batch_begin", "on_train_batch_end"])
def test_a_lambda_callback_that_watches_batches_sees_each_of_them(name):
    seen = []
    callback = keras.callbacks.LambdaCallback(**{name: lambda batch, logs: seen.append(batch)})
    fit(tiny_vae(), X, callbacks=callback)
    assert seen == list(range(6))
    assert spied(tiny_vae(), X, callbacks=[keras.callbacks.LambdaCallback()]).steps == 6


def test_a_list_of_callbacks_is_looked_into():
    vae, steps = tiny_vae(), Steps()
    fit(vae, X, callbacks=keras.callbacks.CallbackList([steps], add_history=True, model=vae))
    assert steps.seen == list(range(6))


def test_checkpoints_within_an_epoch_come_when_they_should(tmp_path):
    name = str(tmp_path / "{epoch}-{batch}.weights.h5")
    saving = keras.callbacks.ModelCheckpoint(name, save_freq=4, save_weights_only=True)
    fit(tiny_vae(), X, epochs=2, callbacks=[saving])
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["1-4.weights.h5", "2-2.weights.h5", "2-6.weights.h5"]


def test_a_callback_may_compile():
    class Compile(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.compile("adam")
                self.model.make_train_function()

    vae = tiny_vae()
    fit(vae, X, epochs=3, callbacks=[Compile()])
    assert int(vae.optimizer.iterations) == 12


def test_a_fit_that_fails_at_the_start_leaves_no_choice_behind(eager_to_compile):
    vae = tiny_vae()
    with pytest.raises(ValueError, match="not sufficient to split"):
        fit(vae, X, validation_split=1.0)
    assert not vae._xla


def test_models_that_were_not_compiled_are_told_so():
    with pytest.raises(ValueError, match=r"call `?compile"):
        fit(tiny_vae(optimizer=None), X)


def test_variables_are_arrays_too():
    a, b = tiny_vae(), tiny_vae()
    fit(a, X, keras.Variable(X).value)
    fit(b, X, X)
    assert_close_weights(a, b, rtol=1e-5)


def test_callbacks_of_keras_do_not_slow_it_down(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    assert spied(tiny_vae(), X, callbacks=[checkpoint, keras.callbacks.TerminateOnNaN()]).steps == 6
    assert (tmp_path / "1.keras").exists()


def test_a_callback_may_predict_and_evaluate():
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.found = self.model.predict(X, batch_size=4, verbose=0)
            self.logs = evaluate(self.model, X)

    look, vae = Look(), still_vae(eager=False)
    fit(vae, X, callbacks=[look])
    np.testing.assert_allclose(look.found, vae(X), rtol=1e-5)
    assert look.logs["loss"] == pytest.approx(evaluate(vae, X)["loss"], rel=1e-6)


@pytest.mark.parametrize("verbose", [1, 2])
def test_the_progress_bar_counts_batches_up_to_the_last(verbose, capsys):
    tiny_vae().fit(X, batch_size=4, verbose=verbose)
    evaluate(tiny_vae(), X, verbose=verbose)
    lines = capsys.readouterr().out
    assert lines.count("6/6") == 2 if verbose == 2 else lines.count("6/6") >= 2
    assert "32/6" not in lines and "loss" in lines


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_the_progress_bar_counts_the_batches_of_data_of_unknown_length(capsys):
    data = training.as_dataset(X, None, None, 4, False).filter(lambda batch: True)
    tiny_vae().fit(data, shuffle=False, verbose=2)
    assert "6/6" in capsys.readouterr().out


# ---- the data ----------------------------------------------------------------------------------


class Recorder(keras.Model):
    """Keeps the batches that ``fit`` hands over."""

    def train_step(self, data):
        import tensorflow as tf

        tf.py_function(lambda part: self.batches.append(part.numpy()), [data], [])
        return {"loss": 0.0}

    def recorded(self, x, **kwargs):
        self.batches = []
        keras.utils.set_random_seed(7)
        self.compile()
        self.fit(x, epochs=2, verbose=0, **kwargs)
        return self.batches


@pytest.mark.parametrize("shuffle", [False, True])
def test_arrays_come_in_the_order_of_keras(shuffle):
    theirs = Recorder().recorded(X, batch_size=4, shuffle=shuffle)
    held = training.as_dataset(X, None, None, 4, shuffle)
    ours = Recorder().recorded(held, shuffle=False)
    assert len(theirs) == len(ours) == 12
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(a, b)
    assert shuffle != np.array_equal(ours[0], X[:4])


def test_arrays_become_data_sets_that_nothing_tunes():
    import tensorflow as tf

    held = training.as_dataset(X.astype("float64"), X[::-1], WEIGHTS, None, True)
    assert held.options().autotune.enabled is False
    assert int(held.cardinality()) == 1
    assert [spec.dtype for spec in held.element_spec] == [tf.float32] * 3


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_of_any_float_type_and_layout_become_float32(dtype):
    x = np.arange(12, dtype=dtype).reshape(3, 4).T[::-1]
    (batch,) = training.as_dataset(x, None, None, 4, shuffle=False)
    assert batch.dtype == "float32"
    np.testing.assert_array_equal(batch, x)


def test_changes_of_an_array_reach_no_training_that_has_begun():
    x = np.ones((4, 3), "float32")
    data = training.as_dataset(x, None, None, 4, shuffle=False)
    x[:] = 0
    (batch,) = data
    assert batch.numpy().min() == 1


def test_labels_keep_their_type():
    labels = np.arange(4)
    ((_, y),) = training.as_dataset(X[:4], labels, None, 4, shuffle=False)
    assert y.dtype == labels.dtype


def test_data_that_are_their_own_target_are_held_once():
    assert not isinstance(training.as_dataset(X, X, None, 4, True).element_spec, tuple)
    assert len(training.as_dataset(X, X, WEIGHTS, 4, True).element_spec) == 3


def test_other_data_are_left_to_keras():
    assert training.as_dataset([[1.0, 2.0]], None, None, 4, True) is None
    assert training.as_dataset(X, X[:3], None, 4, True) is None
    with pytest.raises(ValueError, match="cardinality"):
        fit(tiny_vae(), X, sample_weight=WEIGHTS[:3])
