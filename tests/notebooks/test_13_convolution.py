"""What notebook 13 computes by hand, against loops, matrices and closed forms."""

import numpy as np
import pytest
from keras import ops

from tests.notebooks.sketches import definition
from tests.notebooks.test_exercises import parts, refuses, refuses_changed_solution

NOTEBOOK = "13_convolution"
RNG = np.random.default_rng(0)
NAMES = {"np": np, "ops": ops, "PATCH": 7, "LENGTH": 64, "STRIDE": 4, "CHANNELS": 4, "PIXELS": 784}


def taught(*names):
    """Functions of the notebook; each may call those before it."""
    namespace = dict(NAMES)
    functions = [definition(NOTEBOOK, name, namespace) for name in names]
    return functions[0] if len(functions) == 1 else functions


@pytest.mark.parametrize("extra", [0, 3, 5])
def test_wrap_continues_a_signal_with_its_beginning(extra):
    x = RNG.normal(size=(2, 6, 4)).astype("float32")
    wrapped = ops.convert_to_numpy(taught("wrap")(x, extra, axis=1))
    np.testing.assert_array_equal(wrapped, np.concatenate([x, x[:, :extra]], axis=1))


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("extra", [0, 2, 4])
def test_fold_is_the_transpose_of_wrap(extra, axis):
    wrap, fold = taught("wrap", "fold")
    x = RNG.normal(size=(3, 6, 5)).astype("float32")
    wrapped = ops.convert_to_numpy(wrap(x, extra, axis))
    y = RNG.normal(size=wrapped.shape).astype("float32")
    folded = ops.convert_to_numpy(fold(y, extra, axis))
    assert folded.shape == x.shape
    assert np.sum(wrapped * y) == pytest.approx(np.sum(x * folded), rel=1e-4)


def pca_error(x, axes):
    """The MSE of not centred PCA, from singular values."""
    return np.sum(np.linalg.svd(x, compute_uv=False)[axes:] ** 2) / x.size


def test_the_smallest_error_of_one_place_in_the_code_is_that_of_pca_of_whole_signals():
    x = RNG.normal(size=(40, 12)).cumsum(axis=1)
    error = taught("smallest_error")(x, stride=12, channels=5)
    assert error == pytest.approx(pca_error(x, 5))


def test_the_smallest_error_of_a_stationary_process_keeps_the_largest_of_the_folded_powers():
    first = RNG.normal(size=12)
    x = np.array([np.roll(first, places) for places in range(12)])
    powers = np.abs(np.fft.fft(first)) ** 2 / 12**2  # they add up to the mean square
    folded = np.sort(powers.reshape(4, 3), axis=0)  # the frequencies m, m + 3, m + 6, m + 9
    error = taught("smallest_error")(x, stride=4, channels=1)
    assert error == pytest.approx(folded[:-1].sum())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_smallest_error_is_below_that_of_pca_of_patches(channels):
    x = RNG.normal(size=(40, 12)).cumsum(axis=1)
    error = taught("smallest_error")(x, stride=4, channels=channels)
    assert 0 < error < pca_error(x.reshape(-1, 4), channels)


def test_principal_axes_are_orthonormal_and_sorted_for_complex_numbers_too():
    x = (RNG.normal(size=(50, 4)) + 1j * RNG.normal(size=(50, 4))) * [1, 5, 2, 3]
    axes = taught("principal_axes")(x)
    np.testing.assert_allclose(axes.conj().T @ axes, np.eye(4), atol=1e-12)
    lost = x - x @ axes[:, :2] @ axes[:, :2].conj().T
    assert np.mean(np.abs(lost) ** 2) == pytest.approx(pca_error(x, 2))


def test_patches_are_cut_out_in_reading_order_and_joined_again():
    cut, join = taught("cut", "join")
    images = RNG.normal(size=(3, 28, 28, 1))
    patches = cut(images)
    assert patches.shape == (48, 49)
    np.testing.assert_array_equal(patches[16 + 6], images[1, 7:14, 14:21, 0].ravel())
    np.testing.assert_array_equal(join(patches), images)


def test_waves_of_one_frequency_of_the_code_are_four_apart_along_both_axes():
    waves_by_frequency, images_from = taught("waves_by_frequency", "images_from")
    rows, columns = np.indices((28, 28))
    wave = np.cos(2 * np.pi * (9 * rows + 6 * columns) / 28)[None, ..., None]
    sizes = np.abs(waves_by_frequency(wave)).sum(axis=(1, 2)).reshape(4, 4)
    used = {(9 % 4, 6 % 4), (-9 % 4, -6 % 4)}
    assert set(zip(*np.nonzero(sizes > 1e-6), strict=True)) == used
    images = RNG.normal(size=(3, 28, 28, 1))
    np.testing.assert_allclose(images_from(waves_by_frequency(images)), images, atol=1e-12)


def test_the_relative_change_of_a_code_that_is_only_moved_is_0():
    relative_change = taught("relative_change")
    z = RNG.normal(size=(5, 16, 1))
    assert relative_change(z, np.roll(z, 1, axis=1), 1) == 0
    assert relative_change(z, 2 * z, 0) == pytest.approx(1)


# ---- exercises ---------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [0, 2 + 3 + 2, 3, 2, 24, 48, -12])
def test_other_moves_than_the_product_of_the_strides_are_caught(places):
    refuses(NOTEBOOK, 1, f"answer_1 = {places}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("(size * size)", "size", id="mean over rows only"),
        pytest.param(".swapaxes(2, 3)", "", id="pixels of several patches"),
        pytest.param("[: size * size - channels]", "[channels:]", id="the largest are lost"),
        pytest.param(" / len(patches)", "", id="sum over the patches"),
    ],
)
def test_the_usual_wrong_errors_of_patches_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 2, right, wrong)


def test_centred_patches_are_caught():
    refuses_changed_solution(
        NOTEBOOK,
        2,
        "    eigenvalues",
        "    patches = patches - patches.mean(axis=0)\n    eigenvalues",
    )


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("inputs - offset", "inputs", id="not subtracted"),
        pytest.param("(z) + offset", "(z)", id="not added"),
        pytest.param("np.tile(mean_patch, (4, 4, 1))", "x.mean(axis=0)", id="the mean image"),
    ],
)
def test_networks_of_patches_that_are_centred_in_another_way_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)


def test_biases_alone_are_caught():
    _, _, solution = parts(NOTEBOOK, 3)
    refuses(
        NOTEBOOK,
        3,
        solution.replace("False", "True", 2)
        .replace("inputs - offset", "inputs")
        .replace("(z) + offset", "(z)"),
    )
