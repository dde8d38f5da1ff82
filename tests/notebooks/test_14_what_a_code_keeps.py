"""What notebook 14 defines, taken out of it and held against NumPy."""

import numpy as np
import pytest
from keras import ops

from tests.notebooks.sketches import cells, definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution

NOTEBOOK = "14_what_a_code_keeps"
RNG = np.random.default_rng(0)


def take(name, **names):
    return definition(NOTEBOOK, name, {"np": np, "ops": ops, **names})


# ---- Sanger's rule -----------------------------------------------------------------------------


def test_sangers_update_is_the_rule_written_latent_by_latent():
    W, x = RNG.normal(size=(3, 5)), RNG.normal(size=(7, 5))
    expected = np.zeros_like(W)
    for one in x:
        z = W @ one
        for j in range(3):
            copy_so_far = sum(z[k] * W[k] for k in range(j + 1))
            expected[j] += z[j] * (one - copy_so_far) / len(x)
    np.testing.assert_allclose(take("sanger_update")(W, x), expected)


def test_without_the_triangle_every_latent_sees_the_whole_copy():
    W, x = RNG.normal(size=(3, 5)), RNG.normal(size=(7, 5))
    expected = np.mean([np.outer(W @ one, one - W.T @ W @ one) for one in x], axis=0)
    np.testing.assert_allclose(take("subspace_update")(W, x), expected)


def test_both_updates_stand_still_on_the_axes_of_pca_and_only_one_on_turned_axes():
    x = RNG.normal(size=(4000, 4)) * [4.0, 3.0, 2.0, 1.0]
    _, vectors = np.linalg.eigh(x.T @ x)
    W = vectors[:, ::-1][:, :2].T
    turned = np.array([[0.8, 0.6], [-0.6, 0.8]]) @ W
    for name in ("sanger_update", "subspace_update"):
        np.testing.assert_allclose(take(name)(W, x), 0, atol=1e-9)
    np.testing.assert_allclose(take("subspace_update")(turned, x), 0, atol=1e-9)
    assert np.abs(take("sanger_update")(turned, x)).max() > 0.1


# ---- views and VICReg --------------------------------------------------------------------------


def test_images_are_moved_as_numpy_rolls_them():
    x = RNG.uniform(size=(20, 28, 28, 1))
    shifts = RNG.integers(-3, 4, size=(20, 2))
    expected = [np.roll(image, shift, axis=(0, 1)) for image, shift in zip(x, shifts, strict=True)]
    np.testing.assert_array_equal(take("shifted")(x, shifts), expected)


def test_random_shifts_take_every_value_from_minus_3_to_3():
    shifts = take("random_shifts")(500, np.random.default_rng(1))
    assert shifts.shape == (500, 2)
    assert set(shifts.ravel()) == set(range(-3, 4))


@pytest.fixture
def two_views():
    z = RNG.normal(size=(2, 50, 4)) * [0.2, 0.8, 1.5, 3.0]
    return np.moveaxis(z, 0, 1).astype("float32")  # (batch, 2, d)


def vicreg_by_numpy(z, w_invariance, w_variance, w_covariance):
    a, b = z[:, 0], z[:, 1]
    total = w_invariance * np.mean((a - b) ** 2)
    for view in (a, b):
        lacking = np.maximum(0, 1 - np.sqrt(view.var(axis=0) + 1e-4))
        total += w_variance * lacking.mean() / 2
        covariance = np.cov(view.T)
        off_diagonal = covariance - np.diag(np.diag(covariance))
        total += w_covariance * np.sum(off_diagonal**2) / view.shape[1]
    return total


@pytest.mark.parametrize("weights", [(25, 25, 1), (25, 0, 0), (0, 25, 0), (0, 0, 1)])
def test_the_vicreg_loss_is_the_sum_of_its_three_terms(two_views, weights):
    names = {"BATCH": len(two_views)}
    for name in ("invariance", "too_narrow", "correlated"):
        names[name] = take(name, BATCH=len(two_views))
    loss = take("vicreg", **names)(*[float(weight) for weight in weights])
    got = float(loss(None, ops.convert_to_tensor(two_views)))
    assert got == pytest.approx(vicreg_by_numpy(two_views, *weights), rel=1e-5)


@pytest.mark.parametrize(
    ("z", "directions"),
    [
        pytest.param(np.outer(RNG.normal(size=500), [1.0, 2.0, 3.0]), 1.0, id="line"),
        pytest.param(np.vstack([np.eye(3), -np.eye(3)]), 3.0, id="ball"),
        pytest.param(np.vstack([np.eye(3), -np.eye(3)]) * [1.0, 1.0, 0.0], 2.0, id="plane"),
    ],
)
def test_directions_are_counted(z, directions):
    assert take("directions_used")(z) == pytest.approx(directions, abs=1e-3)


# ---- losses of the classes ---------------------------------------------------------------------


@pytest.fixture
def class_losses():
    names = {"MARGIN": 6.0}
    for name in ("class_means", "spread", "overlap"):
        names[name] = take(name, **names)
    return names


@pytest.fixture
def classes():
    labels = RNG.permutation(np.repeat(np.arange(10), [3, 5, 7, 9, 11, 13, 15, 17, 19, 21]))
    z = RNG.normal(size=(10, 3))[labels] * 3 + RNG.normal(size=(len(labels), 3))
    return labels, z.astype("float32")


def test_spread_is_the_mean_squared_distance_from_the_class_mean(class_losses, classes):
    labels, z = classes
    means = np.stack([z[labels == k].mean(axis=0) for k in range(10)])
    expected = np.mean(np.sum((z - means[labels]) ** 2, axis=1))
    assert float(class_losses["spread"](labels, z)) == pytest.approx(expected, rel=1e-4)


def test_overlap_is_what_the_distances_of_the_means_lack(class_losses, classes):
    labels, z = classes
    means = np.stack([z[labels == k].mean(axis=0) for k in range(10)])
    lacking = [
        max(0.0, 6.0 - np.linalg.norm(means[a] - means[b])) ** 2
        for a in range(10)
        for b in range(10)
        if a != b
    ]
    assert 0 < min(len(lacking), np.count_nonzero(lacking)) < 90  # some pairs are far enough apart
    assert float(class_losses["overlap"](labels, z)) == pytest.approx(np.mean(lacking), rel=1e-3)


def test_labels_may_come_as_a_column(class_losses, classes):
    labels, z = classes
    for name in ("spread", "overlap"):
        flat, column = class_losses[name](labels, z), class_losses[name](labels[:, None], z)
        assert float(flat) == float(column)


# ---- stored tables, claims and exercises -------------------------------------------------------


@pytest.mark.parametrize("wrong", ["0.0", "25.0", "2 * 24.75", "16 * 24.75"])
def test_the_usual_wrong_prices_of_a_point_are_caught(wrong):
    refuses(NOTEBOOK, 1, f"answer_1 = {wrong}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("/ np.var(z, axis=0).sum()", "/ np.var(z - class_mean)", id="within"),
        pytest.param(".sum() / np.var(z, axis=0).sum()", ".sum() / np.sum(z**2)", id="centre"),
        pytest.param(
            "np.var(class_mean, axis=0)", "np.var(np.unique(class_mean, axis=0), axis=0)",
            id="every class counts the same",
        ),
        pytest.param("/ np.var(z, axis=0).sum()", "", id="no ratio"),
    ],
)  # fmt: skip
def test_the_usual_wrong_measures_of_density_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 2, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("12.5 * lacking", "0.0 * lacking", id="point"),
        pytest.param("+ ops.sum(squares) / 8", "", id="line"),
        pytest.param("small * factor", "small", id="equal views"),
        pytest.param("25 * difference", "0 * difference", id="nothing in common"),
    ],
)
def test_the_usual_wrong_ways_to_forget_the_ink_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)


def test_the_exercise_in_training_asks_for_no_label():
    (text,) = (cell["source"] for cell in cells(NOTEBOOK) if cell["id"] == "exercise-3-solution")
    assert "small_labels" not in text
