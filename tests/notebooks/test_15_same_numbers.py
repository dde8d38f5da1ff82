"""What notebook 15 defines, taken out of it and held against the files and arrays it reads."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import vaekit
from tests.notebooks.sketches import NOTEBOOKS, definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution

NOTEBOOK = "15_same_numbers"


def take(name, **names):
    common = {
        "np": np,
        "tf": tf,
        "keras": keras,
        "layers": layers,
        "vaekit": vaekit,
        "BATCH": 100,
        "RECORD": 785,
    }
    return definition(NOTEBOOK, name, {**common, **names})


@pytest.fixture
def files(tmp_path):
    """Three files of ten records: all pixels of a record are one number, which no other has."""
    write = take("write_records")
    paths = []
    for number in range(3):
        values = (10 * number + np.arange(10)) / 255
        images = np.broadcast_to(values.reshape(10, 1, 1, 1), (10, 28, 28, 1))
        write(tmp_path / f"{number}.bytes", images, np.full(10, number))
        paths.append(str(tmp_path / f"{number}.bytes"))
    return paths


def values(batches):
    """The number of each image, batch by batch."""
    return [np.round(255 * batch.numpy()[:, 0, 0, 0]).astype(int).tolist() for batch in batches]


def test_a_record_holds_the_label_and_the_pixels(files):
    records = np.fromfile(files[2], "uint8").reshape(10, 785)
    np.testing.assert_array_equal(records[:, 0], 2)
    np.testing.assert_array_equal(
        records[:, 1:], np.repeat(20 + np.arange(10), 784).reshape(10, -1)
    )


@pytest.mark.parametrize("reader", ["in_turns", "one_after_the_other"])
def test_every_record_is_read_once_as_an_image(reader, files):
    batches = take("in_batches", decoded=take("decoded"))(take(reader)(files), 30, 8)
    read = list(batches)
    assert int(batches.cardinality()) == 4
    assert [tuple(batch.shape) for batch in read] == [(8, 28, 28, 1)] * 3 + [(6, 28, 28, 1)]
    assert all(np.ptp(batch.numpy(), axis=(1, 2, 3)).max() == 0 for batch in read)
    assert sorted(np.concatenate(values(read))) == list(range(30))


def test_only_reading_in_turns_mixes_the_files(files):
    first = {}
    for reader in ("in_turns", "one_after_the_other"):
        batches = take("in_batches", decoded=take("decoded"))(take(reader)(files), 30, 6)
        first[reader] = {value // 10 for value in values(batches)[0]}
    assert first == {"in_turns": {0, 1, 2}, "one_after_the_other": {0}}


def test_the_quiet_vae_has_no_noise():
    vae = take("quiet_vae", small_vae=take("small_vae"))()
    x = np.random.default_rng(0).uniform(size=(5, 28, 28, 1)).astype("float32")
    z_log_var = keras.ops.convert_to_numpy(vae.encode(x)[1])
    np.testing.assert_array_equal(z_log_var, -18)


def test_the_stored_numbers_of_jax_are_of_one_two_and_two_devices():
    path = NOTEBOOKS.parent / "benchmarks" / "jax_devices.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert [result["devices"] for result in stored.values()] == [1, 2, 2]


class InBlocks(vaekit.training.BlockTraining, keras.Sequential):
    pass


@pytest.mark.parametrize(
    ("model_class", "epochs_begun"), [(keras.Sequential, [0, 1, 2, 3, 4]), (InBlocks, [3, 4])]
)
def test_without_its_metadata_only_vaekit_finds_the_epoch_of_a_backup(
    model_class, epochs_begun, tmp_path
):
    x = np.linspace(0, 1, 20, dtype="float32").reshape(20, 1)

    def train(epochs):
        begun = []
        model = model_class([keras.Input((1,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        keep = keras.callbacks.BackupAndRestore(
            tmp_path / "backup", double_checkpoint=True, delete_checkpoint=False
        )
        note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: begun.append(epoch))
        model.fit(x, x, batch_size=5, epochs=epochs, verbose=0, callbacks=[keep, note])
        return begun

    train(epochs=3)
    (tmp_path / "backup" / "training_metadata.json").unlink()
    assert train(epochs=5) == epochs_begun


# ---- the usual wrong answers of the exercises --------------------------------------------------


def test_exercise_1_wants_float32_and_the_label():
    refuses(NOTEBOOK, 1, "answer_1 = 28 * 28 * 8 / 785")
    refuses(NOTEBOOK, 1, "answer_1 = 785 / (28 * 28 * 4)")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (", cycle_length=len(files)", ", cycle_length=1"),
        ("shuffle(100)", "shuffle(1_000)"),
        (" / 255", ""),
        ("count // 50", "count // 100"),
        ("batch(50)", "batch(100)"),
    ],
)
def test_exercise_2_wants_mixed_images_in_the_unit_range(right, wrong):
    if "count" in right or "batch" in right:  # TensorFlow finds that the length is not as said
        with pytest.raises(tf.errors.FailedPreconditionError):
            refuses_changed_solution(NOTEBOOK, 2, right, wrong)
    else:
        refuses_changed_solution(NOTEBOOK, 2, right, wrong)


def test_exercise_3_wants_the_whole_state():
    only_weights = """
def answer_3(vae, x, path):
    vae.fit(x, batch_size=100, epochs=2, verbose=0)
    loaded = keras.models.clone_model(vae)
    loaded.set_weights(vae.get_weights())
    loaded.compile("adam", jit_compile=False)
    loaded.fit(x, batch_size=100, epochs=2, verbose=0)
    return loaded
"""
    refuses(NOTEBOOK, 3, only_weights)
    refuses_changed_solution(
        NOTEBOOK,
        3,
        "loaded.fit(x, batch_size=100, epochs=2",
        "loaded.fit(x, batch_size=100, epochs=1",
    )
