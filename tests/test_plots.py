import inspect

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import ops
from matplotlib.figure import Figure

from vaekit import plots

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(7, 28, 28)).astype("float32")
LABELS = np.repeat([1, 4, 7], 10)


class CountingModel:
    """Stands for a model and for a VAE; counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return ops.convert_to_tensor(1 - x)

    def sample(self, n, seed=None):
        self.calls += 1
        return ops.convert_to_tensor(np.random.default_rng(seed).uniform(size=(n, 28, 28, 1)))


def history(epochs=3, validation=True):
    names = ["loss", "reconstruction_loss", "kl_loss"]
    names += [f"val_{name}" for name in names] * validation
    return {name: list(RNG.uniform(size=epochs)) for name in names}


EVERY_FUNCTION = {
    "image_rows": lambda: plots.image_rows({"a": IMAGES, "b": IMAGES[:3]}, title="t"),
    "image_grid": lambda: plots.image_grid(IMAGES, columns=3, title="t"),
    "reconstructions": lambda: plots.reconstructions(CountingModel(), IMAGES, title="t"),
    "samples": lambda: plots.samples(CountingModel(), n=6, seed=1, title="t"),
    "latent_scatter": lambda: plots.latent_scatter(RNG.normal(size=(30, 2)), LABELS, title="t"),
    "latent_scatters": lambda: plots.latent_scatters(
        {"a": RNG.normal(size=(30, 2)), "b": RNG.normal(size=(30, 1))}, LABELS, title="t"
    ),
    "loss_curves": lambda: plots.loss_curves({"a": history(), "b": history()}, title="t"),
    "curves": lambda: plots.curves([1, 2], {"a": [1, 2]}, "x", "y", title="t"),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn(axis):
    """The pixels of the image on an axis, or None."""
    return np.asarray(axis.images[0].get_array()) if axis.images else None


# ---- every function --------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY_FUNCTION)
def test_returns_its_one_figure_with_the_title(name):
    figure = EVERY_FUNCTION[name]()
    assert isinstance(figure, Figure)
    assert figure.get_suptitle() == "t"
    assert plt.get_fignums() == [figure.number]
    figure.canvas.draw()


def test_every_public_function_is_tested_here():
    public = {
        name
        for name, function in inspect.getmembers(plots, inspect.isfunction)
        if function.__module__ == plots.__name__ and not name.startswith(("_", "draw_"))
    }
    assert public == set(EVERY_FUNCTION)


# ---- images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 28, 28), (7, 28, 28, 1), (7, 8, 6), (7, 8, 6, 3)])
def test_images_of_any_size_grey_or_in_colour_are_drawn_in_reading_order(shape):
    images = RNG.uniform(size=shape).astype("float32")
    figure = plots.image_grid(images, columns=3)
    assert len(figure.axes) == 9
    for axis, image in zip(figure.axes, images, strict=False):
        np.testing.assert_array_equal(drawn(axis), image.squeeze())
    assert [drawn(axis) for axis in figure.axes[7:]] == [None, None]


def test_grey_images_share_the_range_from_0_to_1():
    figure = plots.image_grid(0.2 * IMAGES)
    assert {axis.images[0].get_clim() for axis in figure.axes if axis.images} == {(0, 1)}


def test_colours_outside_the_range_are_clipped():
    figure = plots.image_grid(np.array([-1.0, 0.5, 2.0]) * np.ones((1, 2, 2, 3)))
    np.testing.assert_array_equal(drawn(figure.axes[0])[0, 0], [0, 0.5, 1])


def test_tensors_are_drawn_as_arrays():
    figure = plots.image_grid(ops.convert_to_tensor(IMAGES))
    np.testing.assert_array_equal(drawn(figure.axes[0]), IMAGES[0])


def test_rows_carry_their_names_and_may_differ_in_length():
    figure = plots.image_rows({"first": IMAGES[:2], "second": IMAGES[2:5]})
    assert len(figure.axes) == 6
    names = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert names == ["first", "second"]
    assert drawn(figure.axes[2]) is None
    np.testing.assert_array_equal(drawn(figure.axes[3]), IMAGES[2])


def test_reconstructions_stand_below_their_inputs_after_one_call_of_the_model():
    model = CountingModel()
    figure = plots.reconstructions(model, IMAGES)
    assert model.calls == 1
    np.testing.assert_array_equal(drawn(figure.axes[2]), IMAGES[2])
    np.testing.assert_array_equal(drawn(figure.axes[9]), 1 - IMAGES[2])


def test_samples_take_one_call_of_the_decoder_and_keep_the_seed():
    vae = CountingModel()
    figure = plots.samples(vae, n=6, seed=3, columns=4)
    assert vae.calls == 1
    expected = np.random.default_rng(3).uniform(size=(6, 28, 28, 1))
    np.testing.assert_allclose(drawn(figure.axes[5]), expected[5, ..., 0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(784,), (7, 784), (7, 28, 28, 2), (1, 7, 28, 28, 1)])
def test_other_shapes_than_images_are_refused(shape):
    with pytest.raises(ValueError) as caught:
        plots.image_grid(np.zeros(shape))
    assert str(caught.value) == (
        f"plots expects images (n, height, width[, 1 or 3]), but got shape {shape}. "
        "Reshape them, for example x.reshape(-1, 28, 28)."
    )


# ---- latents ---------------------------------------------------------------------------------


def test_one_latent_is_drawn_as_histograms():
    axis = plots.latent_scatter(RNG.normal(size=(30, 1)), LABELS).axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$z_1$", "images")
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert sorted(legend) == ["1", "4", "7"]


def test_two_latents_are_drawn_as_they_are():
    z = RNG.normal(size=(30, 2))
    axis = plots.latent_scatter(z, LABELS).axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$z_1$", "$z_2$")
    for points, label in zip(axis.collections, [1, 4, 7], strict=True):
        np.testing.assert_array_equal(points.get_offsets(), z[np.equal(LABELS, label)])


def test_numbers_stand_at_the_medians_of_their_classes():
    z = RNG.normal(size=(30, 2))
    axis = plots.latent_scatter(z, LABELS).axes[0]
    assert [text.get_text() for text in axis.texts] == ["1", "4", "7"]
    found = [text.get_position() for text in axis.texts]
    np.testing.assert_allclose(
        found, [np.median(z[np.equal(LABELS, k)], axis=0) for k in (1, 4, 7)]
    )


@pytest.mark.parametrize("shape", [(30, 5), (30, 2, 2, 3)])
def test_more_latents_and_feature_maps_are_drawn_by_their_principal_components(shape):
    z = RNG.normal(size=shape) + 10
    axis = plots.latent_scatter(z, LABELS).axes[0]
    assert axis.get_xlabel() == "first principal component of z"
    points = np.concatenate([points.get_offsets() for points in axis.collections])
    values = np.linalg.svd(z.reshape(30, -1) - z.reshape(30, -1).mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), values[:2])


def test_latents_may_be_tensors():
    z = RNG.normal(size=(30, 2)).astype("float32")
    axis = plots.latent_scatter(ops.convert_to_tensor(z), LABELS).axes[0]
    np.testing.assert_array_equal(axis.collections[0].get_offsets(), z[:10])


def test_more_than_ten_classes_are_drawn():
    figure = plots.latent_scatter(RNG.normal(size=(30, 2)), np.arange(30) % 15)
    assert len(figure.axes[0].collections) == 15


def test_planes_side_by_side_carry_their_names():
    figure = plots.latent_scatters({"AE": np.zeros((30, 2)), "VAE": np.ones((30, 2))}, LABELS)
    assert [axis.get_title() for axis in figure.axes] == ["AE", "VAE"]


@pytest.mark.parametrize("shape", [(20,), (60,), (30, 1), ()])
def test_labels_of_other_examples_are_refused(shape):
    with pytest.raises(ValueError) as caught:
        plots.latent_scatter(np.zeros((30, 2)), np.zeros(shape, int))
    assert str(caught.value) == (
        f"plots expects one label a code, but got codes (30, 2) and labels {shape}. "
        "Give codes (n, ...) and the integer labels (n,) of the same examples."
    )


# ---- curves ----------------------------------------------------------------------------------


def test_loss_curves_show_training_and_validation_of_each_part():
    runs = {"a": history(), "b": history()}
    figure = plots.loss_curves(runs)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels == [f"{part} (nats per image)" for part in list(runs["a"])[:3]]
    solid, dashed = figure.axes[0].lines[:2]
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    np.testing.assert_array_equal(solid.get_xydata(), np.c_[[1, 2, 3], runs["a"]["loss"]])
    np.testing.assert_array_equal(dashed.get_ydata(), runs["a"]["val_loss"])


def test_loss_curves_leave_out_what_no_run_has():
    figure = plots.loss_curves({"autoencoder": {"loss": [3, 2]}})
    assert len(figure.axes) == 1 and len(figure.axes[0].lines) == 1


def test_loss_curves_take_what_fit_returns():
    run = keras.callbacks.History()
    run.history = history(validation=False)
    assert len(plots.loss_curves({"a": run}).axes) == 3


def test_curves_draw_each_line_in_its_own_style():
    figure = plots.curves([1, 10], {"a": [1, 2], "b": [2, 3]}, "x", "y", logx=True, logy=True)
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_xscale(), axis.get_yscale()) == ("x", "log", "log")
    assert len({(line.get_linestyle(), line.get_color()) for line in axis.lines}) == 2
    np.testing.assert_array_equal(axis.lines[1].get_xydata(), [[1, 2], [10, 3]])
