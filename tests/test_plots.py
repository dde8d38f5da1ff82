import inspect

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import ops
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from vaekit import likelihoods, plots

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(7, 28, 28)).astype("float32")
LABELS = np.repeat([1, 4, 7], 10)
PAIRS = np.ones((4, 2))


class CountingModel:
    """Stands for a model and for a VAE; counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return ops.convert_to_tensor(1 - x)

    def sample(self, n, seed=None, condition=None):
        self.calls += 1
        return ops.convert_to_tensor(np.random.default_rng(seed).uniform(size=(n, 28, 28, 1)))


class CountingVAE:
    """Stands for a VAE with any latent; keeps what its decoder is called with."""

    def __init__(self, latent_shape=(2,), image_shape=(8, 6, 1), likelihood=None):
        self.latent_shape, self.image_shape, self.decoded = latent_shape, image_shape, []
        self.likelihood = likelihood or likelihoods.Bernoulli()

    def encode(self, x):
        self.encoded = x
        z = x[0] if isinstance(x, list) else x
        return ops.reshape(z, (len(z), -1))[:, : np.prod(self.latent_shape)], None

    def decode(self, z):
        self.decoded.append(z)
        z = ops.convert_to_numpy(z[0] if isinstance(z, list) else z)
        z = z.reshape(-1, np.prod(self.latent_shape))
        pixels = np.arange(np.prod(self.image_shape)) / np.prod(self.image_shape)
        return (0.5 + 0.1 * z[:, :1] + 0.01 * z[:, -1:] * pixels).reshape(-1, *self.image_shape)

    def __call__(self, x):
        return self.decode(self.encode(x)[0])


def history(epochs=3, validation=True):
    names = ["loss", "reconstruction_loss", "kl_loss"]
    names += [f"val_{name}" for name in names] * validation
    return {name: list(RNG.uniform(size=epochs)) for name in names}


def ramp(z):
    """Images of one grey: 0.5 + 0.1 z_1 + 0.01 z_2."""
    grey = 0.5 + 0.1 * z[:, 0] + 0.01 * z[:, 1]
    return np.tile(grey[:, None, None], (1, 4, 4))


EVERY_FUNCTION = {
    "image_rows": lambda: plots.image_rows({"a": IMAGES, "b": IMAGES[:3]}, title="t"),
    "image_grid": lambda: plots.image_grid(IMAGES, columns=3, title="t"),
    "reconstructions": lambda: plots.reconstructions(CountingModel(), IMAGES, title="t"),
    "samples": lambda: plots.samples(CountingModel(), n=6, seed=1, title="t"),
    "manifold": lambda: plots.manifold(CountingVAE(), n=3, title="t"),
    "traversals": lambda: plots.traversals(CountingVAE(), np.zeros((1, 2)), title="t"),
    "interpolation": lambda: plots.interpolation(CountingVAE(), IMAGES, IMAGES[::-1], title="t"),
    "latent_scatter": lambda: plots.latent_scatter(RNG.normal(size=(30, 2)), LABELS, title="t"),
    "decoded_plane": lambda: plots.decoded_plane(ramp, [0, 0], [1, 1], n=3, title="t"),
    "points": lambda: plots.points({"a": PAIRS, "b": -PAIRS}, title="t"),
    "codes_and_draws": lambda: plots.codes_and_draws(
        {"a": (np.ones((30, 2)), IMAGES)}, LABELS, "t"
    ),
    "kl_map": lambda: plots.kl_map(title="t"),
    "before_and_after": lambda: plots.before_and_after([0.0, 1.0], [0.5, 1.0], "x", "y", "t"),
    "latent_usage": lambda: plots.latent_usage([2.0, 1.0], [0.5, 0.1], 0.01, "t"),
    "density_maps": lambda: plots.density_maps([0.0, 1.0], {"a": PAIRS[:2]}, "t"),
    "decoded_planes": lambda: plots.decoded_planes({"a": (ramp, [0, 0], [1, 1])}, 3, title="t"),
    "manifold_and_codes": lambda: plots.manifold_and_codes(CountingVAE(), PAIRS, range(4), 3, "t"),
    "rate_distortion": lambda: plots.rate_distortion([2.0, 1.0], [5.0, 7.0], ["a", "b"], "t"),
    "loss_curves": lambda: plots.loss_curves({"a": history(), "b": history()}, title="t"),
    "curves_by_run": lambda: plots.curves_by_run({"a": history(), "b": history()}, title="t"),
    "code_structures": lambda: plots.code_structures(["autoencoder"], title="t"),
    "curves": lambda: plots.curves([1, 2], {"a": [1, 2]}, "x", "y", title="t"),
    "curve_panels": lambda: plots.curve_panels({"p": ("x", [1], {"a": [2]})}, "y", title="t"),
    "round_trips": lambda: plots.round_trips({"a": (PAIRS, np.eye(4, 2), PAIRS)}, "t"),
    "posteriors": lambda: plots.posteriors(
        {"a": ([0.0, 1.0], np.eye(2) + 0.1, PAIRS[0], PAIRS[1])}, "t"
    ),
    "projections": lambda: plots.projections(np.ones((30, 2)), LABELS, {"a": [1, 0]}, "t"),
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
        if function.__module__ == plots.__name__ and not name.startswith("_")
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


def test_columns_carry_their_names_above_the_first_row():
    figure = plots.image_rows({"a": IMAGES[:2], "b": IMAGES[:2]}, columns=["one", "upside down"])
    assert [axis.get_title() for axis in figure.axes] == ["one", "upside\ndown", "", ""]


def test_as_many_names_of_columns_as_columns_are_expected():
    with pytest.raises(ValueError, match="shorter"):
        plots.image_rows({"a": IMAGES[:2]}, columns=["one"])


def test_reconstructions_stand_below_their_inputs_after_one_call_of_the_model():
    model = CountingModel()
    figure = plots.reconstructions(model, IMAGES)
    assert model.calls == 1
    np.testing.assert_array_equal(drawn(figure.axes[2]), IMAGES[2])
    np.testing.assert_array_equal(drawn(figure.axes[9]), 1 - IMAGES[2])


def test_means_of_the_likelihood_are_reconstructed_and_x_is_shown_beside_its_condition():
    vae = CountingVAE(likelihood=likelihoods.Bernoulli(from_logits=True))
    x, c = RNG.uniform(size=(5, 8, 6, 1)), np.eye(5)
    figure = plots.reconstructions(vae, [x, c])
    np.testing.assert_array_equal(vae.encoded[1], c)
    np.testing.assert_array_equal(drawn(figure.axes[3]), x[3, ..., 0])
    expected = 1 / (1 + np.exp(-vae(x)[3, ..., 0]))
    np.testing.assert_allclose(drawn(figure.axes[8]), expected, rtol=1e-6)


def test_samples_hand_the_condition_on():
    class Conditional:
        def sample(self, n, seed, condition):
            return condition[:n]

    figure = plots.samples(Conditional(), n=2, condition=IMAGES)
    np.testing.assert_array_equal(drawn(figure.axes[1]), IMAGES[1])


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


# ---- structure -------------------------------------------------------------------------------


def boxes_and_arrows(axis):
    """The texts of the boxes, and how many arrows have each colour."""
    boxes = {text.get_text() for text in axis.texts if text.get_bbox_patch()}
    arrows = [text.arrow_patch for text in axis.texts if getattr(text, "arrow_patch", None)]
    colors = [to_hex(arrow.get_edgecolor()) for arrow in arrows]
    return boxes, colors.count(to_hex("black")), len(colors) - colors.count(to_hex("black"))


def test_a_drawn_code_has_two_heads_and_noise_in_the_place_of_one_function():
    figure = plots.code_structures(["autoencoder", "noise from outside"])
    plain, drawn_code = (boxes_and_arrows(axis) for axis in figure.axes)
    assert plain == ({"$x$", "$y$", "$z = f(y)$", "$x'$"}, 3, 0)
    assert drawn_code[0] - plain[0] == {
        r"$\mu = g(y)$", r"$\sigma = h(y)$", r"$z = \mu + \sigma \odot \epsilon$",
        r"$\epsilon$ from $N(0, I)$",
    }  # fmt: skip
    assert drawn_code[1:] == (7, 0)


def test_the_gradient_ends_at_a_draw_made_inside_and_never_goes_to_the_noise():
    kinds = ["drawn inside", "noise from outside"]
    figure = plots.code_structures(kinds, gradients=True)
    inside, outside = (boxes_and_arrows(axis) for axis in figure.axes)
    assert inside[1:] == (7, 2)  # back from the loss to the copy, and to the draw
    assert outside[1:] == (8, 7)  # back along every arrow but that of the noise


def test_losses_stand_beside_their_structure_on_one_scale():
    losses = {"autoencoder": [5.0, 1.0], "drawn inside": [9.0, 8.0]}
    figure = plots.code_structures(list(losses), losses=losses)
    panels = figure.axes[1::2]
    for panel, values in zip(panels, losses.values(), strict=True):
        np.testing.assert_array_equal(panel.lines[0].get_xdata(), [1, 2])
        np.testing.assert_array_equal(panel.lines[0].get_ydata(), values)
    low, high = panels[0].get_ylim()
    assert panels[1].get_ylim() == (low, high)
    assert low < 1 and high > 9


def test_other_structures_are_refused():
    with pytest.raises(ValueError) as caught:
        plots.code_structures(["autoencoder", "gan"])
    assert str(caught.value) == (
        "code_structures expects kinds among ['autoencoder', 'drawn inside', "
        "'noise from outside'], but got 'gan'."
    )


# ---- codes beside draws, and the KL -------------------------------------------------------------


def test_codes_stand_beside_the_draws_of_their_network_in_reading_order():
    codes = RNG.normal(size=(30, 2))
    figure = plots.codes_and_draws({"a": (codes, IMAGES), "b": (2 * codes, 1 - IMAGES)}, LABELS)
    left, right = figure.axes[2:4]
    np.testing.assert_allclose(left.collections[0].get_offsets(), 2 * codes[LABELS == 1])
    tiles = drawn(right)
    assert tiles.shape == (2 * 28, 5 * 28)
    np.testing.assert_array_equal(tiles[28:, 28:56], 1 - IMAGES[6])
    assert not tiles[28:, 56:].any()  # after the last image nothing is drawn


def test_the_circle_holds_95_percent_of_the_prior():
    figure = plots.codes_and_draws({"a": (np.zeros((30, 2)), IMAGES)}, LABELS)
    (circle,) = figure.axes[0].patches
    draws = np.random.default_rng(0).standard_normal((100_000, 2))
    assert np.mean(np.linalg.norm(draws, axis=1) < circle.radius) == pytest.approx(0.95, abs=0.003)


def test_the_dots_of_the_kl_map_are_the_cheapest_places_on_its_lines():
    axis = plots.kl_map(units_apart=6).axes[0]
    lines = [line for line in axis.lines if line.get_linestyle() == "--"]
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    assert len(lines) == len(dots) == 2
    for line, dot in zip(lines, dots, strict=True):
        mu, sigma = np.array(line.get_data())
        assert np.allclose(np.abs(mu) / sigma, 3)
        lowest = np.argmin(0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma))
        np.testing.assert_allclose(np.ravel(dot.get_data()), [mu[lowest], sigma[lowest]], rtol=0.03)


def test_the_lines_of_the_kl_map_are_labelled_in_nats_but_the_first_whole_one_in_one_nat():
    figure = plots.kl_map()
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert labels == {"0.5 nats", "1 nat", "2 nats", "3 nats", "5 nats", "8 nats", "12 nats"}


def test_latent_usage_sorts_both_bars_by_the_kl():
    left, right = plots.latent_usage([0.5, 2.0, 1.0], [0.05, 0.2, 0.1], threshold=0.01).axes
    assert [bar.get_height() for bar in left.patches] == [2.0, 1.0, 0.5]
    assert [bar.get_height() for bar in right.patches] == [0.2, 0.1, 0.05]
    assert list(right.lines[0].get_ydata()) == [0.01, 0.01]


def test_density_maps_share_one_scale_of_colours():
    low, high = np.full((3, 3), 0.1), np.full((3, 3), 0.4)
    panels = plots.density_maps(np.arange(3.0), {"low": low, "high": high}).axes[:2]
    meshes = [axis.collections[0] for axis in panels]
    assert [mesh.get_clim() for mesh in meshes] == [(0, 0.4), (0, 0.4)]
    np.testing.assert_allclose(meshes[1].get_array(), high)


# ---- latents ---------------------------------------------------------------------------------


def legend_names(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def boxes_of(figure):
    """Where the texts of the legend stand in pixels, and where its frame, and all else does."""
    figure.canvas.draw()
    (legend,) = figure.legends
    texts = [text.get_window_extent() for text in [legend.get_title(), *legend.get_texts()]]
    others = [axis.get_tightbbox() for axis in figure.axes]
    others += [text.get_window_extent() for text in figure.texts]
    return texts, legend.get_window_extent(), others


def test_one_latent_is_drawn_as_histograms_over_the_same_bins():
    z = RNG.normal(size=(30, 1))
    figure = plots.latent_scatter(z, LABELS)
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$z_1$", "codes in a bin")
    assert legend_names(figure) == ["1", "4", "7"]
    edges = [np.unique(outline.get_xy()[:, 0]) for outline in axis.patches]
    assert len(edges) == 3
    for found in edges:
        np.testing.assert_allclose(found, np.linspace(z.min(), z.max(), 41))


def test_two_latents_are_drawn_as_they_are_on_one_scale():
    z = RNG.normal(size=(30, 2)) * [1, 5]
    figure = plots.latent_scatter(z, LABELS)
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$z_1$", "$z_2$")
    for points, label in zip(axis.collections, [1, 4, 7], strict=True):
        np.testing.assert_array_equal(points.get_offsets(), z[np.equal(LABELS, label)])
    figure.canvas.draw()
    origin, right, up = axis.transData.transform([[0, 0], [1, 0], [0, 1]])
    assert right[0] - origin[0] == pytest.approx(up[1] - origin[1])


@pytest.mark.parametrize("classes", [10, 15, 40])
@pytest.mark.parametrize("panels", [1, 3])
def test_no_label_hides_another_where_the_medians_of_all_classes_coincide(classes, panels):
    z = np.tile([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], (classes, 1))
    labels = np.repeat(np.arange(classes), 3)
    figure = plots.latent_scatter({f"plane {k}": z for k in range(panels)}, labels, 200 * "-")
    texts, frame, others = boxes_of(figure)
    assert legend_names(figure) == [str(k) for k in range(classes)]
    for k, text in enumerate(texts):
        assert not any(text.overlaps(other) for other in texts[:k])
        assert frame.x0 < text.x0 and text.x1 < frame.x1
    assert not any(frame.overlaps(other) for other in others)
    assert figure.bbox.x0 <= frame.x0 and frame.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= frame.y0 and frame.y1 <= figure.bbox.y1
    assert not any(axis.texts for axis in figure.axes)


def test_no_label_hides_another_in_a_figure_of_half_the_size():
    figure = plots.latent_scatter(RNG.normal(size=(30, 2)), np.arange(30) % 10)
    figure.set_size_inches(3, 2.5)
    texts, frame, others = boxes_of(figure)
    assert not any(a.overlaps(b) for k, a in enumerate(texts) for b in texts[:k])
    assert not any(frame.overlaps(other) for other in others)


@pytest.mark.parametrize("size", [1, 2])
def test_up_to_forty_classes_are_told_apart_and_the_legend_shows_how(size):
    z, labels = RNG.normal(size=(80, size)), np.arange(80) % 40
    figure = plots.latent_scatter(z, labels)
    (axis,) = figure.axes
    looks = set()
    for drawn_class in [*axis.collections, *axis.patches]:
        if size == 1:
            look = (drawn_class.get_edgecolor()[:3], drawn_class.get_linestyle())
        else:
            color = tuple(drawn_class.get_facecolor()[0, :3])
            look = (color, drawn_class.get_paths()[0].vertices.tobytes())
        looks.add(look)
    assert len(looks) == 40
    assert all(handle.get_alpha() == 1 for handle in figure.legends[0].legend_handles)


def test_ten_classes_have_the_ten_colours_of_the_course():
    figure = plots.latent_scatter(RNG.normal(size=(30, 2)), np.arange(30) % 10)
    found = [to_hex(points.get_facecolor()[0]) for points in figure.axes[0].collections]
    assert found == plots.COLORS
    handles = figure.legends[0].legend_handles
    assert [to_hex(handle.get_facecolor()[0]) for handle in handles] == plots.COLORS


@pytest.mark.parametrize("shape", [(30, 5), (30, 2, 2, 3)])
def test_more_latents_and_feature_maps_are_drawn_by_their_principal_components(shape):
    z = RNG.normal(size=shape) + 10
    axis = plots.latent_scatter(z, LABELS).axes[0]
    assert axis.get_xlabel() == "first principal component of z"
    assert axis.get_ylabel() == "second principal component of z"
    points = np.concatenate([points.get_offsets() for points in axis.collections])
    values = np.linalg.svd(z.reshape(30, -1) - z.reshape(30, -1).mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), values[:2])


def test_latents_may_be_tensors_and_labels_names():
    z = RNG.normal(size=(30, 2)).astype("float32")
    figure = plots.latent_scatter(ops.convert_to_tensor(z), np.repeat(["cat", "dog"], 15))
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_offsets(), z[:15])
    assert legend_names(figure) == ["cat", "dog"]


def test_planes_side_by_side_carry_their_names_and_share_one_legend():
    codes = {"AE": np.zeros((30, 2)), "VAE": RNG.normal(size=(30, 2))}
    figure = plots.latent_scatter(codes, LABELS)
    assert [axis.get_title() for axis in figure.axes] == ["AE", "VAE"]
    np.testing.assert_array_equal(figure.axes[1].collections[2].get_offsets(), codes["VAE"][20:])
    assert legend_names(figure) == ["1", "4", "7"]


def test_what_is_drawn_on_a_panel_has_a_legend_of_its_own():
    figure = plots.latent_scatter(RNG.normal(size=(30, 2)), LABELS)
    (axis,) = figure.axes
    axis.plot([0, 1], [0, 1], label="a line")
    assert [text.get_text() for text in axis.legend().get_texts()] == ["a line"]
    assert legend_names(figure) == ["1", "4", "7"]


def test_planes_are_drawn_in_a_part_of_a_figure():
    whole = plt.figure(layout="constrained")
    above, below = whole.subfigures(2, 1)
    above.subplots()
    found = plots.latent_scatter(
        {"a": np.zeros((30, 2)), "b": np.ones((30, 2))}, LABELS, "t", below
    )
    assert found is below
    assert plt.get_fignums() == [whole.number]
    assert len(above.axes) == 1 and len(below.axes) == 2
    whole.canvas.draw()
    frame = below.legends[0].get_window_extent()
    assert not any(frame.overlaps(axis.get_tightbbox()) for axis in whole.axes)


@pytest.mark.parametrize("shape", [(20,), (60,), (30, 1), ()])
def test_labels_of_other_examples_are_refused(shape):
    with pytest.raises(ValueError) as caught:
        plots.latent_scatter(np.zeros((30, 2)), np.zeros(shape, int))
    assert str(caught.value) == (
        f"latent_scatter expects one label for each code, but got codes (30, 2) and labels {shape}."
        " Give codes (n, ...) and the labels (n,) of the same examples."
    )
    assert plt.get_fignums() == []


def test_panels_with_the_same_limits_show_one_region_that_holds_all_codes():
    codes = RNG.normal(size=(30, 2))
    panels = {"a": codes, "b": 10 * codes + 50}
    axes = plots.latent_scatter(panels, LABELS, same_limits=True).axes
    plt.gcf().canvas.draw()
    for axis in axes:
        assert (axis.get_xlim(), axis.get_ylim()) == (axes[0].get_xlim(), axes[0].get_ylim())
        for panel in panels.values():
            assert (panel.min(axis=0) > [axis.get_xlim()[0], axis.get_ylim()[0]]).all()
            assert (panel.max(axis=0) < [axis.get_xlim()[1], axis.get_ylim()[1]]).all()


def test_a_panel_of_other_examples_than_the_labels_is_refused():
    with pytest.raises(ValueError, match=r"got codes \(29, 2\) and labels \(30,\)"):
        plots.latent_scatter({"a": np.zeros((30, 2)), "b": np.zeros((29, 2))}, LABELS)


def test_more_classes_than_can_be_told_apart_are_refused():
    with pytest.raises(ValueError) as caught:
        plots.latent_scatter(np.zeros((41, 2)), np.arange(41))
    assert str(caught.value) == (
        "latent_scatter expects at most 40 different labels, but got 41. "
        "Draw the codes of some of them, or join labels into groups."
    )


# ---- the latent space through the decoder ----------------------------------------------------

SHAPES = [(8, 6, 1), (8, 6, 3), (8, 6)]
DRAWINGS = {
    "manifold": lambda vae, **more: plots.manifold(vae, n=4, **more),
    "traversals": lambda vae, **more: plots.traversals(vae, np.zeros((1, 2)), steps=4, **more),
    "interpolation": lambda vae, **more: plots.interpolation(
        vae, np.zeros((1, 2)), np.ones((1, 2)), steps=4, **more
    ),
}
every_drawing = pytest.mark.parametrize("name", DRAWINGS)


@every_drawing
@pytest.mark.parametrize("shape", SHAPES)
def test_one_call_of_the_decoder_a_figure_for_every_image_shape(name, shape):
    vae = CountingVAE(image_shape=shape)
    DRAWINGS[name](vae).canvas.draw()
    assert [z.shape for z in vae.decoded] == [({"manifold": 16, "traversals": 8}.get(name, 4), 2)]


@every_drawing
def test_means_of_the_likelihood_are_drawn(name):
    def first(likelihood):
        return drawn(DRAWINGS[name](CountingVAE(likelihood=likelihood)).axes[0])

    logits = first(likelihoods.Bernoulli())
    found = first(likelihoods.Bernoulli(from_logits=True))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-6)


@every_drawing
@pytest.mark.parametrize("listed", [False, True])
def test_condition_is_given_to_the_decoder_with_every_code(name, listed):
    vae, condition = CountingVAE(), np.array([[1.0, 2.0, 3.0]])
    DRAWINGS[name](vae, condition=[condition] if listed else condition)
    ((z, c),) = vae.decoded
    np.testing.assert_array_equal(c, np.repeat(condition, len(z), axis=0))


def test_manifold_takes_the_quantiles_of_the_prior_to_the_right_and_upwards():
    vae = CountingVAE()
    plots.manifold(vae, n=3)
    grid = [-0.967422, 0, 0.967422]  # SciPy: norm.ppf([1 / 6, 1 / 2, 5 / 6])
    expected = [[z_1, z_2] for z_2 in grid[::-1] for z_1 in grid]
    np.testing.assert_allclose(vae.decoded[0], expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 6, 1), (8, 6, 3)])
def test_manifold_tiles_its_images_with_their_codes_on_the_axes(shape):
    vae = CountingVAE(image_shape=shape)
    axis = plots.manifold(vae, n=3).axes[0]
    images = vae.decode(vae.decoded[0])
    canvas = drawn(axis).reshape(24, 18, -1)
    np.testing.assert_allclose(canvas[8:16, 12:18], images[5], rtol=1e-6)  # row 1, column 2
    labels = ["-1.0", "0.0", "1.0"]
    assert [t.get_text() for t in axis.get_xticklabels()] == labels
    assert [t.get_text() for t in axis.get_yticklabels()] == labels
    np.testing.assert_array_equal(axis.get_xticks(), [2.5, 8.5, 14.5])
    np.testing.assert_array_equal(axis.get_yticks(), [19.5, 11.5, 3.5])  # upwards


def test_large_manifold_labels_at_most_fifteen_images():
    axis = plots.manifold(CountingVAE(), n=31).axes[0]
    assert len(axis.get_xticks()) == len(axis.get_yticks()) == 11


def test_decoded_plane_takes_the_centres_of_equal_cells_from_the_top_left():
    decoded = []
    plots.decoded_plane(lambda z: decoded.append(z) or ramp(z), [0, -2], [4, 0], n=2)
    np.testing.assert_allclose(decoded[0], [[1, -0.5], [3, -0.5], [1, -1.5], [3, -1.5]])


def test_decoded_plane_draws_each_image_where_its_code_lies_and_tints_some():
    def is_right(z):
        return z[:, 0] > 2

    line = [[0, -2], [4, 0]]
    lines = {"a line": line}
    axis = plots.decoded_plane(ramp, [0, -2], [4, 0], 2, is_right, lines).axes[0]
    picture = axis.images[0]
    assert picture.get_extent() == [0, 4, -2, 0]
    canvas = np.asarray(picture.get_array())
    assert canvas.shape == (8, 8, 3)
    ink = ramp(np.array([[1, -0.5], [3, -1.5]]))[:, 0, 0]
    np.testing.assert_allclose(canvas[0, 0], 1 - ink[0], atol=0.02)  # top left: grey on white
    red, green, blue = canvas[7, 7]  # bottom right: on orange
    assert red == pytest.approx(1 - ink[1], abs=0.02)
    assert red > green > blue
    np.testing.assert_array_equal(axis.lines[0].get_xydata(), line)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a line"]


def test_decoded_plane_draws_dots_where_they_lie_and_keeps_its_limits():
    dots = {"codes": [[1, -1], [9, 9]]}
    axis = plots.decoded_plane(ramp, [0, -2], [4, 0], 2, dots=dots).axes[0]
    np.testing.assert_array_equal(axis.collections[0].get_offsets(), dots["codes"])
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 4), (-2, 0))
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["codes"]


def test_decoded_plane_keeps_the_colours_of_coloured_images():
    colored = np.random.default_rng(0).uniform(size=(4, 3, 3, 3))
    axis = plots.decoded_plane(lambda z: colored, [0, 0], [1, 1], n=2).axes[0]
    canvas = np.asarray(axis.images[0].get_array())
    np.testing.assert_allclose(canvas[:3, 3:], colored[1], atol=0.02)


def test_decoded_planes_show_each_square_where_it_lies_with_the_circle_of_the_prior():
    planes = {"here": (ramp, [-3, -3], [3, 3]), "there": (ramp, [-40, -10], [10, 40])}
    figure = plots.decoded_planes(planes, n=2)
    assert [axis.get_title() for axis in figure.axes] == list(planes)
    for axis, (_, low, high) in zip(figure.axes, planes.values(), strict=True):
        assert axis.images[0].get_extent() == [low[0], high[0], low[1], high[1]]
        (circle,) = axis.patches
        assert 1 - np.exp(-(circle.radius**2) / 2) == pytest.approx(0.95)


@pytest.mark.parametrize(("low", "high"), [([0.0], [1.0]), ([0.0, 1.0], [1.0, 1.0])])
def test_decoded_plane_of_no_rectangle_is_refused(low, high):
    assert refused(lambda: plots.decoded_plane(ramp, low, high)) == (
        "decoded_plane expects two corners of two numbers each, low below high on both axes, "
        f"but got {low} and {high}. Use plots.latent_scatter for other codes."
    )


def test_traversals_move_one_dimension_and_keep_the_others():
    vae = CountingVAE((3,))
    figure = plots.traversals(vae, np.array([[0.1, 0.2, 0.3]]), dimensions=[2, 0], span=2, steps=3)
    expected = [[0.1, 0.2, -2], [0.1, 0.2, 0], [0.1, 0.2, 2]]
    expected += [[-2, 0.2, 0.3], [0, 0.2, 0.3], [2, 0.2, 0.3]]
    np.testing.assert_allclose(vae.decoded[0], expected, rtol=1e-6)
    np.testing.assert_allclose(
        drawn(figure.axes[4]), vae.decode(np.array(expected[4]))[0, ..., 0], rtol=1e-6
    )
    assert [text.get_text() for axis in figure.axes for text in axis.texts] == [
        "$z_{3}$",
        "$z_{1}$",
    ]
    assert [axis.get_title() for axis in figure.axes] == ["-2", "0", "2", "", "", ""]


def test_traversals_begin_at_the_code_of_an_image():
    vae, x = CountingVAE((3,)), RNG.uniform(size=(1, 8, 6, 1)).astype("float32")
    plots.traversals(vae, x, dimensions=[0], steps=2, condition=np.ones((1, 4)))
    np.testing.assert_array_equal(vae.encoded[1], np.ones((1, 4)))
    np.testing.assert_array_equal(vae.decoded[0][0][:, 1:], np.repeat(x[:, 0, 1:3, 0], 2, axis=0))


@pytest.mark.parametrize(("latent", "rows"), [((1,), 1), ((12,), 10), ((2, 2, 2), 8)])
def test_traversals_take_latents_of_any_shape(latent, rows):
    vae = CountingVAE(latent)
    figure = plots.traversals(vae, np.zeros((1, *latent)), steps=2)
    assert len(figure.axes) == 2 * rows
    assert vae.decoded[0].shape == (2 * rows, *latent)
    moved = vae.decoded[0].reshape(rows, 2, -1)
    np.testing.assert_array_equal(moved[:, 1, :rows], 3 * np.eye(rows))


def test_interpolation_goes_straight_one_row_a_pair():
    vae, (a, b) = CountingVAE((2, 2)), RNG.normal(size=(2, 3, 2, 2))
    figure = plots.interpolation(vae, a, b, steps=5)
    assert len(figure.axes) == 15
    z = np.asarray(vae.decoded[0]).reshape(3, 5, 2, 2)
    np.testing.assert_allclose(z[:, 0], a, rtol=1e-6)
    np.testing.assert_allclose(z[:, 1], 0.75 * a + 0.25 * b, rtol=1e-5, atol=1e-6)


def test_spherical_interpolation_keeps_the_length_and_turns_evenly():
    vae, (a, b) = CountingVAE((5,)), RNG.normal(size=(2, 3, 5))
    a, b = (3 * z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    plots.interpolation(vae, a, b, steps=4, spherical=True)
    z = np.asarray(vae.decoded[0], "float64").reshape(3, 4, 5)
    np.testing.assert_allclose(z[:, [0, -1]], np.stack([a, b], axis=1), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 3, rtol=1e-6)
    cosines = (z[:, 1:] * z[:, :-1]).sum(-1) / 9
    angle = np.arccos((a * b).sum(-1) / 9)
    np.testing.assert_allclose(np.arccos(cosines), np.stack([angle / 3] * 3, axis=1), atol=1e-5)


def test_spherical_interpolation_of_parallel_codes_is_the_straight_one():
    vae, a = CountingVAE((3,)), np.array([[1.0, 2.0, 3.0]])
    plots.interpolation(vae, a, 2 * a, steps=3, spherical=True)
    np.testing.assert_allclose(vae.decoded[0], [a[0], 1.5 * a[0], 2 * a[0]], rtol=1e-6)


def test_interpolation_keeps_the_condition_of_each_row():
    vae, c = CountingVAE(), np.array([[1.0], [2.0]])
    plots.interpolation(vae, IMAGES[:2], IMAGES[2:4], steps=3, condition=c)
    np.testing.assert_array_equal(vae.decoded[0][1].ravel(), [1, 1, 1, 2, 2, 2])


@pytest.mark.parametrize(
    ("draw", "rows", "shape"),
    [
        (lambda c: plots.manifold(CountingVAE(), n=3, condition=c), 1, (3, 4)),
        (lambda c: plots.traversals(CountingVAE(), np.zeros((1, 2)), condition=c), 1, (2, 4)),
        (lambda c: plots.interpolation(CountingVAE(), PAIRS, PAIRS, condition=c), 4, (3, 4)),
        (lambda c: plots.interpolation(CountingVAE(), PAIRS, PAIRS, condition=[c]), 4, (1, 4)),
    ],
)
def test_conditions_that_do_not_fit_are_refused(draw, rows, shape):
    assert refused(lambda: draw(np.zeros(shape))) == (
        f"plots expects a condition of the shape ({rows}, ...), but got {shape}. "
        "Give one row for each image or code that the figure starts from."
    )


def refused(draw):
    with pytest.raises(ValueError) as caught:
        draw()
    return str(caught.value)


@pytest.mark.parametrize("latent", [(1,), (3,), (2, 2)])
def test_manifold_of_other_latents_than_planes_is_refused(latent):
    assert refused(lambda: plots.manifold(CountingVAE(latent))) == (
        f"manifold expects a VAE with 2 latent dimensions, but got {latent}. "
        "Use plots.traversals for other latents."
    )


def test_traversals_of_several_images_are_refused():
    assert refused(lambda: plots.traversals(CountingVAE(), np.zeros((3, 2)))) == (
        "traversals expects one image or code, but got 3. Give one, such as x[:1]."
    )


@pytest.mark.parametrize("dimensions", [[2], [0, -1]])
def test_traversals_of_dimensions_that_are_not_there_are_refused(dimensions):
    draw = lambda: plots.traversals(CountingVAE(), np.zeros((1, 2)), dimensions)  # noqa: E731
    assert refused(draw) == (
        f"traversals expects dimensions from 0 to 1, but got {dimensions}. "
        "The VAE's latent has the shape (2,)."
    )


def test_interpolation_between_different_numbers_of_images_is_refused():
    assert refused(
        lambda: plots.interpolation(CountingVAE(), np.zeros((3, 2)), np.ones((2, 2)))
    ) == (
        "interpolation expects a and b of one shape, but got codes (3, 2) and (2, 2). "
        "Give as many images in a as in b."
    )


def test_spherical_interpolation_between_opposite_codes_is_refused():
    a = np.array([[1.0, 2.0]])
    assert refused(lambda: plots.interpolation(CountingVAE(), a, -a, spherical=True)) == (
        "interpolation with spherical=True expects codes that are not opposite, but got two at an "
        "angle of 180 degrees, where no way is the shortest. Use spherical=False."
    )


def test_points_are_drawn_by_group_with_their_names_on_one_scale():
    figure = plots.points({"first": PAIRS, "second": ops.convert_to_tensor(-PAIRS)})
    (axis,) = figure.axes
    np.testing.assert_array_equal(axis.collections[0].get_offsets(), PAIRS)
    np.testing.assert_array_equal(axis.collections[1].get_offsets(), -PAIRS)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["first", "second"]
    assert axis.get_aspect() == 1


def test_arrows_lead_from_the_first_points_to_the_second():
    starts, ends = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    (axis,) = plots.points({"a": PAIRS}, arrows=(starts, ends)).axes
    np.testing.assert_array_equal([arrow.xyann for arrow in axis.texts], starts)
    np.testing.assert_array_equal([arrow.xy for arrow in axis.texts], ends)


def test_before_and_after_stand_beside_the_line_of_no_change():
    before, after = np.array([0.0, 1.0, 3.0]), np.array([0.5, 1.0, 2.0])
    (axis,) = plots.before_and_after(before, after, "ink before", "ink after").axes
    np.testing.assert_array_equal(axis.collections[0].get_offsets(), np.stack([before, after], 1))
    (line,) = axis.lines
    assert line.get_xy1() == (0, 0)
    assert line.get_slope() == 1
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("ink before", "ink after")
    assert axis.get_aspect() == 1


# ---- curves ----------------------------------------------------------------------------------


def test_loss_curves_show_training_and_validation_of_each_part():
    runs = {"a": history(), "b": history()}
    figure = plots.loss_curves(runs)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["loss", "reconstruction_loss", "kl_loss"]
    assert {axis.get_ylabel() for axis in figure.axes} == {"nats per image"}
    solid, dashed = figure.axes[0].lines[:2]
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    np.testing.assert_array_equal(solid.get_xydata(), np.c_[[1, 2, 3], runs["a"]["loss"]])
    np.testing.assert_array_equal(dashed.get_ydata(), runs["a"]["val_loss"])


def test_curves_by_run_show_a_column_for_each_run_from_its_first_epoch():
    runs = {"short": history(3), "long": history(9)}
    figure = plots.curves_by_run(runs)
    assert [axis.get_title() for axis in figure.axes] == ["short", "long", "", ""]
    parts = ["reconstruction_loss", "reconstruction_loss", "kl_loss", "kl_loss"]
    for axis, part, run in zip(figure.axes, parts, 2 * list(runs.values()), strict=True):
        training, validation = axis.lines
        np.testing.assert_array_equal(training.get_xdata(), range(1, len(run[part]) + 1))
        np.testing.assert_array_equal(training.get_ydata(), run[part])
        np.testing.assert_array_equal(validation.get_ydata(), run[f"val_{part}"])
        assert axis.get_xscale() == axis.get_yscale() == "log"


def test_loss_curves_have_logarithmic_axes_if_asked():
    for axis in plots.loss_curves({"a": history(12)}, log=True).axes:
        assert axis.get_xscale() == axis.get_yscale() == "log"
        assert list(axis.get_xticks()) == [1, 2, 3, 5, 10]


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


def test_panels_of_curves_have_their_own_horizontal_axes_and_one_vertical_scale():
    left, right = ("p", [0, 1], {"a": [1, 2], "b": [2, 9]}), ("q", [5, 6], {"a": [3, 4]})
    figure = plots.curve_panels({"left": left, "right": right}, "nats")
    first, second = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["left", "right"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["p", "q"]
    assert first.get_ylabel() == "nats"
    assert first.get_ylim() == second.get_ylim()
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["a", "b"]
    assert len({(line.get_linestyle(), line.get_color()) for line in first.lines}) == 2
    np.testing.assert_array_equal(second.lines[0].get_xydata(), [[5, 3], [6, 4]])


def test_curves_draw_the_line_on_top_black_and_over_the_others():
    figure = plots.curves([1, 2], {"a": [1, 2], "b": [1, 2]}, "x", "y", on_top="a")
    a, b = figure.axes[0].lines
    assert a.get_color() == "black" != b.get_color()
    assert a.get_zorder() > b.get_zorder() and a.get_linewidth() > b.get_linewidth()
    assert figure.axes[0].get_legend().legend_handles[0].get_color() == "black"


# ---- notebook 09 -------------------------------------------------------------------------------


def test_codes_stand_beside_the_manifold_where_their_images_do():
    vae = CountingVAE(image_shape=(8, 8, 1))
    codes = np.array([[0.0, 0.0], [0.967422, -0.967422]])  # SciPy: norm.ppf([1 / 2, 5 / 6, 1 / 6])
    left, right = plots.manifold_and_codes(vae, codes, [4, 9], n=3).axes
    np.testing.assert_allclose(drawn(left)[8:16, 16:], vae.decode(vae.decoded[0])[5, ..., 0])
    points = np.concatenate([group.get_offsets() for group in right.collections])
    np.testing.assert_allclose(points, [[1 / 2, 1 / 2], [5 / 6, 1 / 6]], atol=1e-6)
    for axis in (left, right):
        assert (axis.get_xlim(), axis.get_ylim()) == ((0, 1), (0, 1))
        np.testing.assert_allclose(axis.get_xticks(), [1 / 6, 1 / 2, 5 / 6])
        assert [t.get_text() for t in axis.get_yticklabels()] == ["-1.0", "0.0", "1.0"]
    assert left.images[0].get_extent() == [0, 1, 0, 1]


def test_a_manifold_of_three_latents_is_refused_beside_codes_too():
    message = refused(lambda: plots.manifold_and_codes(CountingVAE((3,)), PAIRS, range(4)))
    assert message.startswith("manifold expects a VAE with 2 latent dimensions, but got (3,).")


def test_distortion_is_drawn_over_rate_with_the_line_of_the_smallest_sum():
    axis = plots.rate_distortion([20.0, 10.0], [100.0, 115.0], ["one", "two"]).axes[0]
    points, line = axis.lines
    np.testing.assert_array_equal(points.get_xydata(), [[20, 100], [10, 115]])
    np.testing.assert_array_equal(np.sum(line.get_xydata(), axis=1), [120, 120])
    assert [text.get_text() for text in axis.texts] == ["one", "two"]


# ---- notebook 12: inverses -----------------------------------------------------------------------


def test_round_trips_lead_from_each_code_to_what_comes_back():
    codes = RNG.normal(size=(30, 2))
    starts = np.array([[0.0, 0.0], [4.0, 2.0]])
    ends = np.array([[1.0, 0.0], [90.0, 2.0]])
    figure = plots.round_trips({"free": (codes, starts, ends), "tied": (codes, starts, starts)})
    free, tied = figure.axes
    assert [axis.get_title() for axis in (free, tied)] == ["free", "tied"]
    for axis, reached in ((free, ends), (tied, starts)):
        (arrows,) = [c for c in axis.collections if isinstance(c, Quiver)]
        np.testing.assert_allclose(arrows.XY, starts)
        np.testing.assert_allclose(np.stack([arrows.U, arrows.V], axis=1), reached - starts)
    assert free.get_xlim() == tied.get_xlim() == (-0.32, 4.32)  # not out to the longest arrow
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "codes of real images",
        "from z to encode(decode(z))",
        "codes z that are decoded",
    ]


def gaussian_panel(mean, deviation, z_mean, sigma):
    side = np.linspace(-6, 6, 241)
    z_1, z_2 = np.meshgrid(side, side)
    density = np.exp(-0.5 * ((z_1 - mean[0]) ** 2 + (z_2 - mean[1]) ** 2) / deviation**2)
    return side, density, np.array(z_mean), np.array(sigma)


def test_posteriors_show_both_distributions_whole_and_on_one_scale():
    panels = {
        "a": gaussian_panel((1, -1), 0.2, (2, -1), (0.1, 0.3)),
        "b": gaussian_panel((0, 0), 0.5, (0, 0), (0.5, 0.5)),
        "c": gaussian_panel((0, 0), 0.5, (0, 0), (0.5, 0.5)),
    }
    figure = plots.posteriors(panels)
    a, b = figure.axes[:2]
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", ""]
    assert not figure.axes[3].axison
    one, two = a.lines
    np.testing.assert_allclose(one.get_xydata().min(axis=0), [1.9, -1.3], atol=1e-3)
    np.testing.assert_allclose(two.get_xydata().max(axis=0), [2.2, -0.4], atol=1e-3)
    # Half the distance of the means, and three of the wider standard deviation.
    np.testing.assert_allclose(a.get_xlim(), (1.5 - 1.1, 1.5 + 1.1), atol=1e-2)
    np.testing.assert_allclose(a.get_ylim(), (-1 - 1.1, -1 + 1.1), atol=1e-2)
    np.testing.assert_allclose(b.get_xlim(), (-1.5, 1.5), atol=1e-2)


def test_projections_draw_the_points_with_their_axes_and_the_codes_on_each_axis():
    points = RNG.normal(size=(30, 2))
    axes = {"first": [1.0, 0.0], "second": [0.0, 2.0]}
    figure = plots.projections(points, LABELS, axes)
    plane, first, second = figure.axes
    assert len(plane.collections) == len(np.unique(LABELS))
    assert [line.get_label() for line in plane.lines] == ["first", "second"]
    assert plane.get_aspect() == 1
    for panel, name, codes in (
        (first, "first", points[:, 0]),
        (second, "second", 2 * points[:, 1]),
    ):
        assert name in panel.get_title()
        left, right = panel.get_xlim()
        assert left < codes.min() and codes.max() < right
        assert len(panel.patches) == len(np.unique(LABELS))
