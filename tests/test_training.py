"""BlockTraining: results as those of single steps, and what it leaves to Keras."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import vaekit
from tests.tiny_models import (
    QUIET,
    X,
    assert_close_weights,
    equal_weights,
    evaluate,
    fit,
    still_vae,
    tiny_decoder,
    tiny_encoder,
    tiny_vae,
)
from vaekit.training import BlockTraining

pytestmark = pytest.mark.tensorflow
SINGLE = {"jit_compile": False}  # Told how to run steps, fit leaves them to Keras.
WEIGHTS = np.linspace(0.1, 2, 22, dtype="float32")
LONG = 167  # epochs of 6 batches: a little more than 1,000 steps


def network(**dense):
    """A network as other people have: 6 inputs, 6 outputs, nothing of a VAE."""
    keras.utils.set_random_seed(3)
    x = keras.Input((6,))
    return x, layers.Dense(6, **dense)(layers.Dense(5, activation="tanh")(x))


class Recorder(BlockTraining, keras.Model):
    """Keeps the batches that it is trained on."""

    def train_step(self, data):
        import tensorflow as tf

        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        tf.py_function(lambda part: self.batches.append(part.numpy()), [x], [])
        return super().train_step(data)


def recorder(optimizer="sgd"):
    model = Recorder(*network())
    model.batches = []
    model.compile(optimizer, loss="mse")
    return model


ROWS = np.arange(22 * 6, dtype="float32").reshape(22, 6) / 132


def orders(model, epochs):
    """The rows in the order of each epoch, from the batches of a ``Recorder``."""
    rows = np.concatenate(model.batches)[:, 0] * 132 / 6
    return rows.round().astype(int).reshape(epochs, 22).tolist()


# ---- the results are those of single steps -----------------------------------------------------


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"batch_size": 11},
        {"batch_size": 40},
        {"y": X[::-1].copy()},
        {"y": X},
        {"validation_data": (X[:7],)},
        {"validation_data": (X[:7], X[:7], WEIGHTS[:7]), "validation_batch_size": 3},
        {"validation_split": 0.3},
    ],
    ids=lambda kwargs: "-".join(kwargs) or "plain",
)
def test_blocks_train_as_single_steps_do(kwargs):
    optimizer = "sgd" if kwargs else "adam"  # one with a state
    single, blocks = (tiny_vae(optimizer=optimizer, compiled=each) for each in (SINGLE, {}))
    histories = [fit(vae, X, epochs=2, **kwargs) for vae in (single, blocks)]
    assert (
        single.trained_in
        == "single steps: run_eagerly, steps_per_execution or jit_compile was set in compile"
    )
    assert blocks.trained_in == "blocks"
    assert sorted(histories[0]) == sorted(histories[1])
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)
    assert_close_weights(single, blocks, atol=2e-6)
    assert blocks.optimizer.iterations == single.optimizer.iterations


@pytest.mark.slow
def test_blocks_compiled_by_xla_train_as_single_steps_do():
    single, blocks = (
        tiny_vae(log_var=QUIET, optimizer=keras.optimizers.SGD(0.01), compiled=compiled)
        for compiled in (SINGLE, {})
    )
    histories = [fit(vae, X, epochs=LONG) for vae in (single, blocks)]
    assert blocks.trained_in == "blocks, compiled by XLA"
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-4)
    assert_close_weights(single, blocks, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("layer", [layers.Dropout, layers.BatchNormalization])
def test_layers_with_state_train_in_blocks_as_in_single_steps(layer):
    arguments = {"rate": 0.3, "seed": 1} if layer is layers.Dropout else {}
    single, blocks = (
        tiny_vae([layer(**arguments)], compiled=compiled) for compiled in (SINGLE, {})
    )
    histories = fit(single, X, epochs=2), fit(blocks, X, epochs=2)
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-5)
    assert_close_weights(single, blocks, atol=2e-6)


@pytest.mark.parametrize("metrics", [None, ["mae"]])
def test_any_keras_model_trains_in_blocks_as_in_single_steps(metrics):
    class BlockSequential(BlockTraining, keras.Sequential):
        pass

    class BlockModel(BlockTraining, keras.Model):
        pass

    x, y = network()
    single = keras.Model(x, y)
    functional = BlockModel(*network())
    sequential = BlockSequential([layers.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(6)])
    sequential.set_weights(single.get_weights())
    histories = []
    for model in (single, functional, sequential):
        model.compile("adam", loss="mse", metrics=metrics)
        histories.append(fit(model, X, X[::-1], epochs=2, validation_data=(X, X)))
    for model, history in ((functional, histories[1]), (sequential, histories[2])):
        assert model.trained_in == "blocks"
        assert sorted(history) == sorted(histories[0])
        np.testing.assert_allclose(history["val_loss"], histories[0]["val_loss"], rtol=1e-5)
        assert_close_weights(single, model)


def test_every_example_counts_once_in_the_logs():
    vae = still_vae(eager=False)
    history = fit(vae, X, validation_data=(X,), epochs=2)
    assert vae.trained_in == "blocks"
    expected = evaluate(still_vae(), X)["loss"]
    np.testing.assert_allclose([history["loss"], history["val_loss"]], expected, rtol=1e-5)


def test_a_second_training_goes_on_and_may_have_other_rows():
    single, blocks = tiny_vae(compiled=SINGLE), tiny_vae()
    for rows in (22, 13):
        losses = [fit(vae, X[:rows])["loss"] for vae in (single, blocks)]
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_moving_averages_of_the_weights_are_taken_at_the_end():
    single, blocks = (
        tiny_vae(optimizer=keras.optimizers.SGD(0.1, use_ema=True), compiled=compiled)
        for compiled in (SINGLE, {})
    )
    fit(single, X)
    fit(blocks, X)
    assert_close_weights(single, blocks)


# ---- the order of the data ---------------------------------------------------------------------


def test_every_epoch_has_another_order_of_all_the_rows():
    model = recorder()
    keras.utils.set_random_seed(7)
    fit(model, ROWS, ROWS, epochs=3, shuffle=True)
    first, second, third = orders(model, 3)
    assert sorted(first) == sorted(second) == sorted(third) == list(range(22))
    assert first != second != third != first


def test_the_order_depends_on_the_seed_and_on_nothing_drawn_before():
    found = []
    for seed, draws in ((7, 0), (7, 3), (8, 0)):
        model = recorder()
        keras.utils.set_random_seed(seed)
        for _ in range(draws):
            keras.random.normal((2,))
        fit(model, ROWS, ROWS, epochs=2, shuffle=True)
        found.append(orders(model, 2))
    assert found[0] == found[1] != found[2]


def test_a_training_in_two_parts_has_the_orders_of_one_in_one():
    whole, parts = recorder(), recorder()
    keras.utils.set_random_seed(7)
    fit(whole, ROWS, ROWS, epochs=2, shuffle=True)
    fit(parts, ROWS, ROWS, epochs=1, shuffle=True)
    fit(parts, ROWS, ROWS, epochs=2, initial_epoch=1, shuffle=True)
    assert orders(whole, 2) == orders(parts, 2)
    assert equal_weights(whole, parts)


def test_without_a_seed_two_trainings_have_other_orders():
    import tensorflow as tf

    tf.random.set_seed(None)
    found = []
    for _ in range(2):
        model = recorder()
        tf.random.set_seed(None)
        fit(model, ROWS, ROWS, shuffle=True)
        found.append(orders(model, 1))
    assert found[0] != found[1]


def test_without_shuffling_the_order_is_that_of_the_data():
    model = recorder()
    fit(model, ROWS, ROWS, epochs=2)
    assert orders(model, 2) == [list(range(22))] * 2


class Crash(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_interrupted_and_resumed_ends_as_never_interrupted(tmp_path):
    never, resumed = tiny_vae([layers.Dropout(0.3, seed=1)], optimizer="adam"), None
    keras.utils.set_random_seed(7)
    fit(never, X, epochs=4, shuffle=True)
    for crash in ([Crash()], []):
        resumed = tiny_vae([layers.Dropout(0.3, seed=1)], optimizer="adam")
        keras.utils.set_random_seed(7)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        try:
            history = fit(resumed, X, epochs=4, shuffle=True, callbacks=[backup, *crash])
        except KeyboardInterrupt:
            continue
    assert resumed.trained_in == "blocks"
    assert len(history["loss"]) == 2
    assert equal_weights(never, resumed)


# ---- which way fit takes -----------------------------------------------------------------------


class WatchesBatches(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"sample_weight": WEIGHTS}, "sample_weight was given"),
        ({"steps_per_epoch": 2}, "steps_per_epoch was given"),
        ({"validation_data": (X, X), "validation_steps": 2}, "validation_steps was given"),
        ({"validation_data": (X,), "validation_freq": 2}, "validation_freq is not 1"),
        ({"shuffle": "batch"}, "shuffle is not True or False, or validation_freq is not 1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_fit_leaves_to_keras_and_why(kwargs, reason):
    vae = tiny_vae()
    fit(vae, X, **kwargs)
    assert vae.trained_in.startswith("single steps: ")
    assert reason in vae.trained_in


def test_a_list_of_callbacks_made_by_the_user_is_left_to_keras():
    vae, steps = tiny_vae(), Steps()
    callbacks = keras.callbacks.CallbackList([steps], add_history=True, model=vae)
    fit(vae, X, callbacks=callbacks)
    assert vae.trained_in == "single steps: callbacks came as a CallbackList"
    assert steps.seen == list(range(6))


def test_data_sets_are_left_to_keras():
    import tensorflow as tf

    vae = tiny_vae()
    fit(vae, tf.data.Dataset.from_tensor_slices(X).batch(4), batch_size=None)
    assert vae.trained_in == "single steps: the data are not NumPy arrays of one length"


@pytest.mark.parametrize(
    "compiled", [{"run_eagerly": True}, {"steps_per_execution": 3}, {"jit_compile": True}]
)
def test_what_the_user_asks_of_compile_is_done(compiled):
    vae = tiny_vae(compiled=compiled)
    fit(vae, X)
    assert (
        vae.trained_in
        == "single steps: run_eagerly, steps_per_execution or jit_compile was set in compile"
    )
    for name, value in compiled.items():
        assert getattr(vae, name) == value


def test_the_limits_that_keras_sets_are_kept(monkeypatch):
    monkeypatch.setattr(keras.config, "max_steps_per_epoch", lambda: 3)
    vae = tiny_vae()
    fit(vae, X)
    assert vae.trained_in == "single steps: keras.config limits epochs or steps"


def test_a_step_of_ones_own_runs_as_keras_runs_it():
    class Counting(vaekit.VAE):
        def train_step(self, data):
            return {**super().train_step(data), "more": 1.0}

    vae = Counting(tiny_encoder(), tiny_decoder())
    vae.compile("adam")
    assert fit(vae, X)["more"] == [1.0]
    assert vae.trained_in == "single steps: train_step is overridden"


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dropout(0.1),
        layers.Lambda(lambda x: x + 1),
        layers.Dense(5, dtype="bfloat16"),
        layers.Reshape((5, 1)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_xla_is_kept_to_the_listed_layers_in_float32(layer):
    x, z = keras.Input((6,)), keras.Input((2,))
    h = layers.Flatten()(layer(layers.Dense(5)(x)))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    vae = vaekit.VAE(encoder, keras.Model(z, layers.Dense(6, "sigmoid")(z)))
    vae.compile("adam")
    fit(vae, X, epochs=LONG, callbacks=[StopAtOnce()])
    expected = "blocks, compiled by XLA" if isinstance(layer, layers.Reshape) else "blocks"
    assert vae.trained_in == expected


class StopAtOnce(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def test_short_trainings_are_not_compiled():
    vae = tiny_vae()
    fit(vae, X, epochs=LONG - 1, callbacks=[StopAtOnce()])
    assert vae.trained_in == "blocks"
    fit(vae, X, epochs=LONG, callbacks=[StopAtOnce()])
    assert vae.trained_in == "blocks, compiled by XLA"


def test_what_xla_cannot_compile_trains_without_it():
    import tensorflow as tf

    def own(t):
        return tf.ensure_shape(tf.numpy_function(lambda a: a, [t], tf.float32), t.shape)

    class BlockModel(BlockTraining, keras.Model):
        pass

    model = BlockModel(*network(activity_regularizer=lambda t: tf.reduce_sum(own(t))))
    model.compile("sgd", loss="mse")
    history = fit(model, X, X, epochs=LONG, callbacks=[StopAtOnce()])
    assert model.trained_in == "blocks"
    assert np.isfinite(history["loss"]).all()


def test_the_choice_is_made_anew_after_loading_a_file(tmp_path):
    for compiled, expected in (({}, "blocks"), (SINGLE, "single steps")):
        vae = tiny_vae(compiled=compiled)
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras")
        fit(loaded, X)
        assert loaded.trained_in.startswith(expected)


def test_models_that_were_not_compiled_are_told_so():
    with pytest.raises(ValueError, match=r"call `?compile"):
        fit(tiny_vae(optimizer=None), X)


# ---- callbacks ---------------------------------------------------------------------------------


class Steps(WatchesBatches):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)


def test_a_callback_that_watches_batches_sees_each_of_them_and_changes_nothing():
    steps, watched, unwatched = Steps(), tiny_vae(), tiny_vae()
    for vae, callbacks in ((watched, [steps]), (unwatched, [])):
        keras.utils.set_random_seed(7)
        fit(vae, X, callbacks=callbacks, shuffle=True)
    assert watched.trained_in == "blocks of one step"
    assert steps.seen == list(range(6))
    assert equal_weights(watched, unwatched)


@pytest.mark.parametrize("name", ["on_train_batch_begin", "on_train_batch_end"])
def test_a_lambda_callback_that_watches_batches_sees_each_of_them(name):
    seen = []
    callback = keras.callbacks.LambdaCallback(**{name: lambda batch, logs: seen.append(batch)})
    fit(tiny_vae(), X, callbacks=callback)
    assert seen == list(range(6))


def test_checkpoints_within_an_epoch_come_when_they_should(tmp_path):
    name = str(tmp_path / "{epoch}-{batch}.weights.h5")
    saving = keras.callbacks.ModelCheckpoint(name, save_freq=4, save_weights_only=True)
    fit(tiny_vae(), X, epochs=2, callbacks=[saving])
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["1-4.weights.h5", "2-2.weights.h5", "2-6.weights.h5"]


def test_callbacks_of_keras_see_every_epoch_and_do_not_slow_it_down(tmp_path):
    vae = tiny_vae(compiled={"metrics": ["mae"]})
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=1e6, patience=1)
    callbacks = [checkpoint, stopping, keras.callbacks.TerminateOnNaN()]
    history = fit(vae, X, epochs=9, validation_data=(X,), callbacks=callbacks)
    assert vae.trained_in == "blocks"
    assert len(history["loss"]) == 2
    assert {"mae", "val_mae", "val_loss"} <= set(history)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.keras", "2.keras"]


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
    lines = capsys.readouterr().out
    assert "6/6" in lines and "loss" in lines
    assert "32/6" not in lines


# ---- the data ----------------------------------------------------------------------------------


def test_changes_of_an_array_reach_no_training_that_has_begun():
    class Overwrite(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            rows[:] = 0

    rows, model = ROWS.copy(), recorder()
    fit(model, rows, rows, callbacks=[Overwrite()])
    np.testing.assert_array_equal(np.concatenate(model.batches), ROWS)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_arrays_of_any_float_type_and_layout_become_float32(dtype):
    rows = np.asfortranarray(ROWS.astype(dtype)[::-1])
    model = recorder()
    fit(model, rows, rows)
    batches = np.concatenate(model.batches)
    assert batches.dtype == "float32"
    np.testing.assert_array_equal(batches, rows.astype("float32"))


def test_data_of_two_lengths_are_left_to_keras_which_says_so():
    model = recorder()
    with pytest.raises(ValueError, match="cardinality"):
        fit(model, ROWS, ROWS[:3])


def test_tables_and_lists_train_in_blocks_too():
    pandas = pytest.importorskip("pandas")
    for data in (X.tolist(), pandas.DataFrame(X)):
        array, other = tiny_vae(), tiny_vae()
        fit(array, X)
        fit(other, data)
        assert other.trained_in == "blocks"
        assert equal_weights(array, other)


# ---- the file ----------------------------------------------------------------------------------


def test_the_file_stands_alone():
    file = Path(vaekit.__file__).parent / "training.py"
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    imported = {ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)}
    assert not [line for line in imported if "vaekit" in line or "keras.src" in line]
