"""Whitening and Laplace's widths as notebook 07 writes them, against the converter's own."""

import numpy as np
import pytest

from tests.notebooks.sketches import cells, definition
from vaekit.latent_map import LatentMap
from vaekit.posterior_width import curvature

NOTEBOOK = "07_convert"


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    return rng.exponential(size=(500, 3)) @ rng.normal(size=(3, 3)) + [5.0, -2.0, 30.0]


@pytest.fixture
def laplace_sketch():
    return definition(NOTEBOOK, "laplace_sketch", {"np": np})


def test_the_sketch_whitens_as_the_converter_does(codes):
    mean, forward, backward = definition(NOTEBOOK, "whitening_sketch", {"np": np})(codes)
    own = LatentMap(codes[:, None])
    own_mean, own_forward, own_backward = own.mean, own.inverse(), own.axes
    np.testing.assert_allclose(mean, own_mean)
    # The signs of eigenvectors are free; the products do not depend on them.
    np.testing.assert_allclose(forward @ forward.T, own_forward @ own_forward.T, rtol=1e-3)
    np.testing.assert_allclose(backward.T @ backward, own_backward.T @ own_backward, rtol=1e-3)


def test_the_sketch_finds_the_widths_that_the_converter_finds(laplace_sketch):
    """For a linear decoder with Gaussian noise, where both are exact."""
    z = np.random.default_rng(1).normal(size=(2000, 2))
    weight = np.array([3.0, 40.0])

    def loss(code):
        return 0.5 * np.sum(weight * (z - code) ** 2, axis=1)

    expected = np.tile([1 / 4, 1 / 41], (2000, 1))
    np.testing.assert_allclose(laplace_sketch(loss, z), expected, rtol=1e-9)
    found, _ = curvature(lambda c: weight * (c - z[:, None]), z[:, None], np.full(2, 0.1), 2)
    np.testing.assert_allclose(1 / (1 + found[:, 0]), expected, rtol=1e-5)


def test_a_loss_that_curves_down_gives_the_width_of_the_prior(laplace_sketch):
    found = laplace_sketch(lambda z: -np.sum(z**2, axis=1), np.ones((4, 2)))
    assert found == pytest.approx(np.ones((4, 2)))


def test_every_refusal_names_the_way_out():
    printed = {
        cell["id"]: "".join("".join(output.get("text", "")) for output in cell["outputs"])
        for cell in cells(NOTEBOOK)
        if cell["id"] in ("skip", "loss")
    }
    assert "bottleneck=" in printed["skip"]
    assert "likelihood='bernoulli'" in printed["loss"]
    assert "x_train / 255" in printed["loss"]
