"""Every figure of the course.

Each function draws one figure and returns it as a ``matplotlib.figure.Figure``. What is the same
for several functions is said here, once:

* Images are arrays or tensors ``(n, height, width)``, ``(n, height, width, 1)`` or
  ``(n, height, width, 3)``, drawn on the range [0, 1].
* Of a ``VAE`` the means of p(x | z) are drawn, and all images of a figure come from one call of
  its decoder.
* ``condition`` is what a conditional VAE takes beside x and z: an array, or a list of arrays.

The colours can be told apart by colour-blind readers (Petroff 2021).
"""

import math
from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np
from keras import ops
from matplotlib.ticker import LogFormatter

COLORS = plt.style.library["petroff10"]["axes.prop_cycle"].by_key()["color"]
_LINE_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "^", "s", "D")
_TINT = (1.0, 0.85, 0.65)  # a background that leaves black ink readable
_LINES_ON_IMAGES = (COLORS[0], COLORS[2])
_DOTS_ON_IMAGES = COLORS[4]


# ---- images ------------------------------------------------------------------------------------


def image_rows(rows, title=None, columns=None):
    """One row of images for each entry of a dict, with its name on the left.

    Args:
        rows: dict from a name to images; the rows may differ in length.
        title: str, what is seen in the figure.
        columns: the names above the columns, or None. Words stand below each other.
    """
    rows = {name: _as_images(images) for name, images in rows.items()}
    longest = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows), longest, figsize=(0.6 * longest + 1.2, 0.65 * len(rows) + 0.35), squeeze=False
    )
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        _show_images(row, images)
        row[0].text(
            -0.15, 0.5, name, ha="right", va="center", fontsize=10, transform=row[0].transAxes
        )
    if columns is not None:
        for axis, name in zip(axes[0], columns, strict=True):
            axis.set_title(name.replace(" ", "\n"), fontsize=8)
        figure.set_figheight(figure.get_figheight() + 0.3)
    return _set_title_and_layout(figure, title)


def image_grid(images, columns=10, title=None):
    """Images in reading order.

    Args:
        images: ``(n, height, width[, channels])``.
        columns: int > 0, images in a row.
        title: str, what is seen in the figure.
    """
    images = _as_images(images)
    rows = math.ceil(len(images) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.6 * columns, 0.6 * rows + 0.35), squeeze=False
    )
    _show_images(axes.ravel(), images)
    return _set_title_and_layout(figure, title)


def reconstructions(model, x, title=None):
    """The images of ``x`` above what the model makes of them, in one call of the model.

    Args:
        model: an autoencoder or a ``VAE``.
        x: images; for a conditional VAE the list ``[x, condition]``.
        title: str, what is seen in the figure.
    """
    output = model(x)
    if hasattr(model, "likelihood"):
        output = model.likelihood.mean(output)
    images = x[0] if isinstance(x, (list, tuple)) else x
    return image_rows({"input": images, "output": output}, title)


# ---- images that a VAE decodes -----------------------------------------------------------------


def samples(vae, n=20, seed=None, columns=10, condition=None, title=None):
    """Images decoded from draws of the prior N(0, I).

    Args:
        vae: a ``VAE``.
        n: int > 0, how many images.
        seed: int for the same images each time, or None.
        columns: int > 0, images in a row.
        condition: ``(n, ...)``, one for each image.
        title: str, what is seen in the figure.
    """
    return image_grid(vae.sample(n, seed=seed, condition=condition), columns, title)


def manifold(vae, n=15, condition=None, title=None):
    """The latent plane as ``n`` times ``n`` images.

    The grid takes the ``(i + 1/2) / n`` quantiles of N(0, 1) along each axis, so that every image
    stands for the same share of the prior. :math:`z_1` grows to the right, :math:`z_2` upwards.

    Args:
        vae: a ``VAE`` with two latent dimensions.
        n: int > 0, images along each axis.
        condition: ``(1, ...)``, the same for all images.
        title: str, what is seen in the figure.

    Raises:
        ValueError: if the latent has not two dimensions.

    Source: Kingma & Welling (2014), figure 4; notebooks/09_latent_space.ipynb.
    """
    images, quantiles = _decode_quantiles(vae, n, condition)
    height, width = images.shape[1:3]

    figure, axis = plt.subplots(figsize=(6.5, 6.5 * height / width))
    _show_image(axis, _tile(images, n))
    # Each axis has room for about fifteen numbers.
    numbered = np.arange(0, n, math.ceil(n / 15))
    numbers = [f"{quantiles[i]:.1f}" for i in numbered]
    axis.set_xticks((numbered + 0.5) * width - 0.5, numbers, fontsize=8)
    axis.set_yticks((n - numbered - 0.5) * height - 0.5, numbers, fontsize=8)
    axis.set(xlabel="$z_1$", ylabel="$z_2$")
    return _set_title_and_layout(figure, title)


def traversals(vae, x, dimensions=None, span=3.0, steps=9, condition=None, title=None):
    """One row for each latent dimension: it goes from ``-span`` to ``span``, the others stay.

    Args:
        vae: a ``VAE``.
        x: one image ``(1, ...)``, which is encoded to its ``z_mean``, or one code ``(1, ...)``.
        dimensions: indices from 0 into the flattened code; None takes the first ten.
        span: float, in standard deviations of the prior.
        steps: int > 0, images in a row.
        condition: ``(1, ...)``, the same for all images.
        title: str, what is seen in the figure.

    Raises:
        ValueError: if ``x`` is not one example, or a dimension is not there.

    Source: Higgins et al. (2017), figure 1; notebooks/09_latent_space.ipynb.
    """
    start = _as_codes(vae, x, condition)
    size = math.prod(vae.latent_shape)
    dimensions = range(min(size, 10)) if dimensions is None else list(dimensions)
    if len(start) != 1:
        raise ValueError(
            f"traversals expects one image or code, but got {len(start)}. Give one, such as x[:1]."
        )
    if not all(0 <= dimension < size for dimension in dimensions):
        raise ValueError(
            f"traversals expects dimensions from 0 to {size - 1}, but got {dimensions}. "
            f"The VAE's latent has the shape {vae.latent_shape}."
        )
    values = np.linspace(-span, span, steps)
    z = np.tile(start.reshape(1, 1, size), (len(dimensions), steps, 1))
    for row, dimension in enumerate(dimensions):
        z[row, :, dimension] = values
    z = z.reshape(-1, *vae.latent_shape)
    images = _decode_to_images(vae, z, condition, codes_per_condition=len(z))

    names = [f"$z_{{{dimension + 1}}}$" for dimension in dimensions]
    rows = np.split(images, len(dimensions))
    figure = image_rows(dict(zip(names, rows, strict=True)))
    for axis, value in zip(figure.axes[:steps], values, strict=True):
        axis.set_title(f"{value:.3g}", fontsize=8)
    return _set_title_and_layout(figure, title)


def interpolation(vae, a, b, steps=9, spherical=False, condition=None, title=None):
    r"""One row for each pair: the images decoded on the way from ``a`` to ``b``.

    Straight, :math:`(1-t)a + tb`, or spherical, :math:`[\sin((1-t)\omega) a + \sin(t\omega) b] /
    \sin\omega` with the angle :math:`\omega` between the codes: if both have one length, all on the
    way have it too.

    Args:
        vae: a ``VAE``.
        a: images ``(n, ...)``, which are encoded to their ``z_mean``, or codes ``(n, ...)``.
        b: as many images or codes.
        steps: int > 0, images in a row, both ends included.
        spherical: bool, whether the way is the spherical one.
        condition: ``(n, ...)``, one for each pair.
        title: str, what is seen in the figure.

    Raises:
        ValueError: if ``a`` and ``b`` are not as many; if spherical, and two codes are opposite.

    Source: Shoemake (1985), "Animating rotation with quaternion curves"; White (2016), "Sampling
    generative networks"; notebooks/09_latent_space.ipynb.
    """
    z = _codes_between(_as_codes(vae, a, condition), _as_codes(vae, b, condition), steps, spherical)
    z = z.reshape(-1, *vae.latent_shape)
    images = _decode_to_images(vae, z, condition, codes_per_condition=steps)
    return image_grid(images, steps, title)


# ---- codes -------------------------------------------------------------------------------------


def latent_scatter(codes, labels, title=None, figure=None, same_limits=False):
    """Codes coloured by label, one panel or several side by side, with one legend beside them.

    Two latent dimensions are drawn as they are, more of them by their first two principal
    components, both axes on one scale. One latent dimension is drawn as a histogram of each label.
    ``figure.axes`` are the panels, to draw on.

    Args:
        codes: ``(n, ...)``, as a deterministic encoder or ``vae.encode(x)[0]`` gives them, or a
            dict from the name of a panel to such codes. Feature maps are flattened.
        labels: ``(n,)``, integers or names, the same for all panels; at most 40 different ones.
        title: str, what is seen in the figure.
        figure: where to draw: an empty figure made with ``layout="constrained"`` or a subfigure of
            one. None makes a figure.
        same_limits: bool, whether all panels show one region, the smallest that holds all codes.

    Raises:
        ValueError: if there is not one label for each code, or more labels than can be told apart.
    """
    panels = codes if isinstance(codes, dict) else {"": codes}
    panels = {name: ops.convert_to_numpy(panel) for name, panel in panels.items()}
    labels = np.asarray(labels)
    for panel in panels.values():
        if labels.shape != panel.shape[:1]:
            raise ValueError(
                "latent_scatter expects one label for each code, but got codes "
                f"{panel.shape} and labels {labels.shape}. "
                "Give codes (n, ...) and the labels (n,) of the same examples."
            )
    names = np.unique(labels)
    most = len(COLORS) * len(_MARKERS)
    if len(names) > most:
        raise ValueError(
            f"latent_scatter expects at most {most} different labels, but got {len(names)}. "
            "Draw the codes of some of them, or join labels into groups."
        )

    if figure is None:
        side = 5.0 if len(panels) == 1 else 3.4
        figure = plt.figure(figsize=(side * len(panels) + 0.7, side), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        handles = _draw_codes(axis, panel.reshape(len(panel), -1), labels)
        axis.set_title(name, fontsize=10)
    if same_limits:
        x_limits = [axis.get_xlim() for axis in axes]
        y_limits = [axis.get_ylim() for axis in axes]
        for axis in axes:
            axis.set_adjustable("box")  # else matplotlib changes the limits
            axis.set(
                xlim=(np.min(x_limits), np.max(x_limits)), ylim=(np.min(y_limits), np.max(y_limits))
            )
    legend = figure.legend(
        handles,
        [str(name) for name in names],
        title="label",
        loc="outside right center",
        fontsize=9,
        markerscale=2.5,
        ncols=math.ceil(len(names) / 12),
    )
    _make_opaque(legend)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def decoded_plane(decode, low, high, n=20, tinted=None, lines=None, dots=None, title=None):
    """A rectangle of the latent plane as ``n`` times ``n`` decoded images.

    Each image stands where its code lies: the codes are the centres of equal cells. Both axes are
    on one scale, so that the images are stretched if the rectangle is not a square.

    Args:
        decode: function from codes ``(m, 2)`` to images.
        low: two numbers, the lower left corner of the rectangle.
        high: two numbers, the upper right corner.
        n: int > 0, images along each axis.
        tinted: function from codes ``(m, 2)`` to bools ``(m,)``, which images get an orange
            background; None tints no image.
        lines: dict from a name to points ``(m, 2)``, joined by a line over the images.
        dots: dict from a name to points ``(m, 2)``, faint dots over the images.
        title: str, what is seen in the figure.

    Raises:
        ValueError: if a corner is not two numbers, or one corner is not above the other.

    Source: notebooks/02_why_not_generate.ipynb.
    """
    low, high = np.asarray(low, "float64"), np.asarray(high, "float64")
    if low.shape != (2,) or high.shape != (2,) or (low >= high).any():
        raise ValueError(
            "decoded_plane expects two corners of two numbers each, low below high on both axes, "
            f"but got {low.tolist()} and {high.tolist()}. Use plots.latent_scatter for other codes."
        )
    figure, axis = plt.subplots(figsize=(7.5, 7.5 * (high - low)[1] / (high - low)[0] + 0.9))
    _draw_plane(axis, decode, low, high, n, tinted)
    for k, (name, points) in enumerate((lines or {}).items()):
        points = np.asarray(points)
        axis.plot(points[:, 0], points[:, 1], color=_LINES_ON_IMAGES[k % 2], lw=2.5, label=name)
    for name, points in (dots or {}).items():
        points = np.asarray(points)
        axis.scatter(
            points[:, 0], points[:, 1], s=5, color=_DOTS_ON_IMAGES, alpha=0.5, lw=0, label=name
        )
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    if lines or dots:
        columns = len(lines or {}) + len(dots or {})
        legend = axis.legend(
            loc="upper left", bbox_to_anchor=(0, -0.1), ncols=columns, fontsize=10, markerscale=3
        )
        _make_opaque(legend)
    return _set_title_and_layout(figure, title)


def decoded_planes(planes, n=12, title=None):
    """Squares of latent planes as decoded images, side by side, with the circle of N(0, I).

    Each image stands where its code lies, as in ``decoded_plane``. The circle around the origin
    holds 95 % of N(0, I). ``figure.axes`` are the panels.

    Args:
        planes: dict from the title of a panel to ``(decode, low, high)``: a function from codes
            ``(m, 2)`` to images, and two corners of the square, two numbers each.
        n: int > 0, images along each axis.
        title: str, what is seen in the figure.

    Source: notebooks/06_vae.ipynb.
    """
    figure, axes = plt.subplots(1, len(planes), figsize=(3.6 * len(planes), 4.2), squeeze=False)
    for axis, (name, (decode, low, high)) in zip(axes[0], planes.items(), strict=True):
        _draw_plane(axis, decode, np.asarray(low, "float64"), np.asarray(high, "float64"), n)
        _draw_circle_of_the_prior(axis, color=COLORS[1], linewidth=2.5)
        axis.set_title(name, fontsize=10)
    return _set_title_and_layout(figure, title)


def points(groups, arrows=None, title=None):
    """Groups of points in the plane, each in its own colour, both axes on one scale.

    Args:
        groups: dict from a name to points ``(n, 2)``.
        arrows: two arrays ``(m, 2)``: an arrow leads from each point of the first to that of the
            second. None draws none.
        title: str, what is seen in the figure.
    """
    figure, axis = plt.subplots(figsize=(6, 4))
    for k, (name, group) in enumerate(groups.items()):
        group = ops.convert_to_numpy(group)
        axis.scatter(group[:, 0], group[:, 1], s=8, color=_color(k), label=name)
    if arrows is not None:
        starts, ends = (ops.convert_to_numpy(tips) for tips in arrows)
        for start, end in zip(starts, ends, strict=True):
            axis.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->"})
            axis.plot(*start, "ko", markersize=4)
    axis.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
    return _set_title_and_layout(figure, title)


def before_and_after(before, after, xlabel, ylabel, title=None):
    """One quantity of each example before and after a change, and the line where they are equal.

    Args:
        before: ``(n,)``.
        after: ``(n,)``, of the same examples.
        xlabel: what ``before`` is, with its unit.
        ylabel: what ``after`` is, with its unit.
        title: str, what is seen in the figure.
    """
    figure, axis = plt.subplots(figsize=(4.5, 4.2))
    axis.scatter(before, after, s=8, color=_color(0), alpha=0.4, linewidths=0)
    axis.axline((0, 0), slope=1, color="black", linewidth=0.8, label="no change")
    axis.set(xlabel=xlabel, ylabel=ylabel, aspect="equal")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, loc="upper left")
    return _set_title_and_layout(figure, title)


def codes_and_draws(runs, labels, title=None):
    """One row for each network: its codes of real images, and what it makes of draws of N(0, I).

    The circle around the origin holds 95 % of N(0, I). ``figure.axes`` are the panels.

    Args:
        runs: dict from the name of a network to a pair: codes ``(n, 2)``, as for
            ``latent_scatter``, and decoded images.
        labels: ``(n,)``, the labels of the codes, the same for all networks.
        title: str, what is seen in the figure.

    Source: notebooks/05_kl_loss.ipynb.
    """
    labels = np.asarray(labels)
    figure, axes = plt.subplots(
        len(runs),
        2,
        figsize=(9.2, 3.7 * len(runs) + 0.4),
        width_ratios=[1, 1.15],
        squeeze=False,
        layout="constrained",
    )
    for (left, right), (name, (codes, images)) in zip(axes, runs.items(), strict=True):
        handles = _draw_codes(left, ops.convert_to_numpy(codes), labels)
        _draw_circle_of_the_prior(left, linewidth=1.5)
        left.set_title(f"codes, {name}", fontsize=10)
        images = _as_images(images)
        _show_image(right, _tile(images, columns=5))
        right.set_title(f"{len(images)} decoded draws of N(0, I), {name}", fontsize=10)
        right.axis("off")
    names = [str(name) for name in np.unique(labels)]
    legend = figure.legend(
        handles, names, title="label", loc="outside right center", fontsize=9, markerscale=2.5
    )
    _make_opaque(legend)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


# ---- curves ------------------------------------------------------------------------------------


def loss_curves(histories, title=None, parts=("loss", "reconstruction_loss", "kl_loss"), log=False):
    """Training (solid) and validation (dashed) curves: one panel a part, one colour a run.

    Args:
        histories: dict from the name of a run to what its ``fit`` returned (or its ``.history``),
            in nats per image.
        title: str, what is seen in the figure.
        parts: the logged names to draw; those that no run has are left out.
        log: bool, whether both axes are logarithmic.
    """
    logs = _logs(histories)
    parts = [part for part in parts if any(part in log for log in logs.values())]
    figure, axes = plt.subplots(1, len(parts), figsize=(3.8 * len(parts), 3.2), squeeze=False)
    for axis, part in zip(axes[0], parts, strict=True):
        for k, (name, log) in enumerate(logs.items()):
            _draw_epochs(axis, log.get(part), "-", _color(k), f"{name}, training")
            _draw_epochs(axis, log.get(f"val_{part}"), "--", _color(k), f"{name}, validation")
        axis.set_title(part, fontsize=10)
        axis.set(xlabel="epoch", ylabel="nats per image")
        axis.grid(alpha=0.3)
        if log:
            _set_log_axes(axis)
    axes[0, 0].legend(fontsize=8)
    return _set_title_and_layout(figure, title)


def curves_by_run(histories, title=None, parts=("reconstruction_loss", "kl_loss")):
    """Training (solid) and validation (dashed) curves: one column a run, one row a part.

    Both axes are logarithmic, and the panels of a row share the vertical one.

    Args:
        histories: dict from the name of a run to what its ``fit`` returned (or its ``.history``),
            in nats per image.
        title: str, what is seen in the figure.
        parts: the logged names to draw.

    Source: notebooks/06_vae.ipynb.
    """
    logs = _logs(histories)
    size = 1.9 * len(logs) + 0.8, 2.2 * len(parts) + 0.4
    figure, axes = plt.subplots(len(parts), len(logs), figsize=size, sharey="row", squeeze=False)
    for column, (name, log) in zip(axes.T, logs.items(), strict=True):
        column[0].set_title(name, fontsize=10)
        for axis, part in zip(column, parts, strict=True):
            _draw_epochs(axis, log.get(part), "o-", _color(0), "training")
            _draw_epochs(axis, log.get(f"val_{part}"), "^--", _color(1), "validation")
            axis.set_xlabel("epoch")
            axis.grid(alpha=0.3)
            _set_log_axes(axis)
    for axis, part in zip(axes[:, 0], parts, strict=True):
        axis.set_ylabel(f"{part}\n(nats per image)")
    axes[0, 0].legend(fontsize=8)
    return _set_title_and_layout(figure, title)


def curves(x, lines, xlabel, ylabel, title=None, logy=False, logx=False, on_top=None):
    """Several lines over one axis.

    Args:
        x: values ``(n,)`` of the horizontal axis.
        lines: dict from a name to values ``(n,)``.
        xlabel: what ``x`` is, with its unit.
        ylabel: what the lines are, with their unit.
        title: str, what is seen in the figure.
        logy: whether the vertical axis is logarithmic.
        logx: whether the horizontal axis is.
        on_top: the name of a line that is drawn over the others, black and thicker; None for none.
    """
    figure, axis = plt.subplots(figsize=(6, 3.6))
    _draw_lines(axis, x, lines, on_top)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if logx:
        axis.set_xscale("log")
    if logy:
        axis.set_yscale("log")
    return _set_title_and_layout(figure, title)


def curve_panels(panels, ylabel, title=None):
    """Lines in panels side by side, on one vertical scale; each panel has its own legend.

    Args:
        panels: dict from the title of a panel to ``(xlabel, x, lines)``: what ``x`` is, with its
            unit; values ``(n,)``; a dict from a name to values ``(n,)``.
        ylabel: what the lines are, with their unit.
        title: str, what is seen in the figure.
    """
    size = 4.2 * len(panels), 3.6
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, (name, (xlabel, x, lines)) in zip(axes[0], panels.items(), strict=True):
        _draw_lines(axis, x, lines)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(xlabel)
    axes[0, 0].set_ylabel(ylabel)
    return _set_title_and_layout(figure, title)


def kl_map(units_apart=None, title=None):
    r"""The divergence :math:`KL(N(\mu, \sigma^2) \,\|\, N(0, 1))` over mu and sigma, as contours.

    Args:
        units_apart: float > 0 or None. Then two lines show where codes at -mu and mu lie this many
            sigma apart, and two dots the places of the smallest divergence on them.
        title: str, what is seen in the figure.

    Source: notebooks/05_kl_loss.ipynb.
    """
    mu, sigma = np.meshgrid(np.linspace(-6, 6, 241), np.geomspace(0.05, 4, 121))
    divergence = 0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma)
    levels = [0, 0.5, 1, 2, 3, 5, 8, 12, 16, 20, 30]
    figure, axis = plt.subplots(figsize=(7, 4))
    axis.contourf(mu, sigma, divergence, levels, cmap="Blues", extend="max")
    contours = axis.contour(mu, sigma, divergence, levels[1:], colors="black", linewidths=0.6)
    names = {level: "1 nat" if level == 1 else f"{level:g} nats" for level in levels[1:8]}
    axis.clabel(contours, levels[1:8], fmt=names, fontsize=8)
    axis.plot(0, 1, "*", color="white", markeredgecolor="black", markersize=13)
    if units_apart is not None:
        half = units_apart / 2
        sigmas = np.geomspace(0.05, 4, 121)
        cheapest = 1 / math.sqrt(1 + half**2)
        for sign in (-1, 1):
            axis.plot(sign * half * sigmas, sigmas, "--", color=_color(2))
            axis.plot(sign * half * cheapest, cheapest, "o", color=_color(2))
    axis.set(xlabel=r"$\mu$", ylabel=r"$\sigma$ (logarithmic)", xlim=(-6, 6), yscale="log")
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 4]
    axis.set_yticks(ticks, ticks)
    axis.minorticks_off()
    return _set_title_and_layout(figure, title)


def latent_usage(kl, variance_of_means, threshold, title=None):
    """Two bars for each latent, in the order of its KL: the KL, and the variance of its mean.

    Args:
        kl: ``(d,)``, the KL of each latent in nats, as ``evaluation.kl_per_dimension`` gives it.
        variance_of_means: ``(d,)``, the variance of ``z_mean`` over the images.
        threshold: float > 0, the variance above which a latent is called active.
        title: str, what is seen in the figure.

    Source: notebooks/10_how_good.ipynb.
    """
    order = np.argsort(-np.asarray(kl))
    places = np.arange(1, len(order) + 1)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4))
    axes[0].bar(places, np.asarray(kl)[order], color=_color(0))
    axes[1].bar(places, np.asarray(variance_of_means)[order], color=_color(1))
    axes[1].axhline(threshold, color="black", linestyle="--", label=f"threshold {threshold:g}")
    axes[1].set_yscale("log")
    axes[1].legend(fontsize=9)
    for axis, name in zip(axes, ("KL (nats)", r"variance of $\mu_j$ (logarithmic)"), strict=True):
        axis.set(xlabel="latent, in the order of its KL", ylabel=name)
    return _set_title_and_layout(figure, title)


def density_maps(side, densities, title=None):
    """Densities in the latent plane side by side, in one scale of colours.

    Args:
        side: ``(m,)``, the values of both axes, at equal distances.
        densities: dict from the title of a panel to ``(m, m)``: rows are :math:`z_2` and columns
            :math:`z_1`, both growing.
        title: str, what is seen in the figure.

    Source: notebooks/10_how_good.ipynb.
    """
    highest = max(np.max(density) for density in densities.values())
    figure, axes = plt.subplots(
        1,
        len(densities),
        figsize=(4.1 * len(densities), 3.9),
        sharey=True,
        squeeze=False,
        layout="compressed",
    )
    for axis, (name, density) in zip(axes[0], densities.items(), strict=True):
        drawn = axis.pcolormesh(side, side, density, cmap="cividis", vmin=0, vmax=highest)
        axis.set_title(name, fontsize=10)
        axis.set(xlabel="$z_1$", aspect="equal")
    axes[0, 0].set_ylabel("$z_2$")
    figure.colorbar(drawn, ax=axes, label="density", shrink=0.8)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def manifold_and_codes(vae, codes, labels, n=11, title=None):
    r"""The picture of ``manifold``, and beside it codes of data in the same places, by label.

    Both panels are drawn over :math:`\Phi(z)`, the cumulative probability of N(0, 1), so that
    equal areas stand for equal shares of the prior. The numbers at the ticks are those of z. Codes
    that are distributed as the prior fill the right panel evenly.

    Args:
        vae: a ``VAE`` with two latent dimensions.
        codes: ``(m, 2)``, as ``vae.encode(x)[0]`` gives them.
        labels: ``(m,)``, the labels of the codes.
        n: int > 0, images along each axis.
        title: str, what is seen in the figure.

    Raises:
        ValueError: if the latent has not two dimensions.

    Source: notebooks/09_latent_space.ipynb.
    """
    images, quantiles = _decode_quantiles(vae, n)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.3), layout="constrained")
    _show_image(left, _tile(images, n))
    height, width = images.shape[1:3]
    left.images[0].set_extent([0, 1, 0, 1])
    left.set_title("decoded images", fontsize=10)

    cumulative = np.vectorize(NormalDist().cdf, otypes=["float64"])
    handles = _draw_codes(right, cumulative(ops.convert_to_numpy(codes)), np.asarray(labels))
    right.set_title("codes of data", fontsize=10)
    names = [str(name) for name in np.unique(labels)]
    legend = figure.legend(
        handles, names, title="label", loc="outside right center", fontsize=9, markerscale=2.5
    )
    _make_opaque(legend)
    numbered = np.arange(0, n, math.ceil(n / 11))
    numbers = [f"{quantiles[i]:.1f}" for i in numbered]
    for axis in (left, right):
        axis.set_xticks((numbered + 0.5) / n, numbers, fontsize=8)
        axis.set_yticks((numbered + 0.5) / n, numbers, fontsize=8)
        axis.set_adjustable("box")
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="$z_1$", ylabel="$z_2$")
    left.set_aspect(height / width)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def rate_distortion(rates, distortions, names, title=None):
    """Distortion over rate, one point for each model, and the line of the smallest sum.

    Args:
        rates: ``(n,)``, the mean KL of each model, in nats per image.
        distortions: ``(n,)``, the reconstruction loss of each, in nats per image.
        names: ``(n,)``, what stands beside the points.
        title: str, what is seen in the figure.

    Source: Alemi et al. (2018), figure 3; notebooks/09_latent_space.ipynb.
    """
    rates, distortions = np.asarray(rates), np.asarray(distortions)
    figure, axis = plt.subplots(figsize=(6, 3.8))
    axis.plot(rates, distortions, "o-", color=_color(0), label="models")
    smallest = np.min(rates + distortions)
    left, right = 0.0, 1.25 * rates.max()
    axis.plot(
        [left, right],
        [smallest - left, smallest - right],
        "--",
        color=_color(1),
        label=f"distortion + rate = {smallest:.0f}",
    )
    for name, x, y in zip(names, rates, distortions, strict=True):
        axis.annotate(name, (x, y), (6, 5), textcoords="offset points")
    axis.set(xlabel="rate (nats per image)", ylabel="distortion (nats per image)")
    margin = 0.12 * np.ptp(distortions)
    axis.set_xlim(left, right)
    axis.set_ylim(distortions.min() - 2 * margin, distortions.max() + margin)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    return _set_title_and_layout(figure, title)


# ---- structure ---------------------------------------------------------------------------------


def code_structures(kinds, gradients=False, losses=None, title=None):
    r"""From the image x to its copy x', one row for each way to make the code z.

    Args:
        kinds: some of ``"autoencoder"`` (z is a function of the features y), ``"drawn inside"``
            (another program draws z from :math:`N(\mu, \sigma^2)`) and ``"noise from outside"``
            (:math:`z = \mu + \sigma \odot \epsilon`).
        gradients: bool, whether to draw the loss and the way of its gradient back.
        losses: dict from a kind to its test loss after each epoch, in nats per image, drawn beside
            its row on one scale; or None. Then ``figure.axes[1::2]`` are these panels.
        title: str, what is seen in the figure.

    Raises:
        ValueError: if a kind is not one of the three.

    Source: notebooks/03_sampling_layer.ipynb.
    """
    for kind in kinds:
        if kind not in _STRUCTURES:
            raise ValueError(
                f"code_structures expects kinds among {list(_STRUCTURES)}, but got {kind!r}."
            )
    columns = 2 if losses else 1
    figure, axes = plt.subplots(
        len(kinds),
        columns,
        figsize=(9.4 if losses else 7.6, 2.1 * len(kinds) + 0.4),
        width_ratios=[3, 1][:columns],
        squeeze=False,
    )
    for row, kind in zip(axes, kinds, strict=True):
        _draw_structure(row[0], kind, gradients)
    if losses:
        lowest = min(min(losses[kind]) for kind in kinds)
        highest = max(max(losses[kind]) for kind in kinds)
        margin = 0.05 * (highest - lowest)
        for row, kind in zip(axes, kinds, strict=True):
            _draw_epochs(row[1], losses[kind], "o-", _color(0), kind)
            row[1].set(xlabel="epoch", ylabel="nats per image", title="test loss")
            row[1].set_ylim(lowest - margin, highest + margin)
            row[1].grid(alpha=0.3)
    return _set_title_and_layout(figure, title)


# ---- inverses ----------------------------------------------------------------------------------


def round_trips(panels, title=None):
    """Where a code goes when it is decoded and encoded again, one panel for each network.

    Args:
        panels: dict from the name of a network to ``(codes, starts, ends)``, all in standard
            deviations of the codes: codes of real images ``(n, 2)``; the codes that are decoded
            ``(m, 2)``; what the encoder makes of the decoded ``(m, 2)``. An arrow leads from each
            start to its end.
        title: str, what is seen in the figure.
    """
    size = 4.2 * len(panels), 4.4
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
    for axis, (name, arrays) in zip(axes[0], panels.items(), strict=True):
        codes, starts, ends = (ops.convert_to_numpy(array) for array in arrays)
        axis.scatter(*codes.T, s=4, color="0.7", linewidths=0, label="codes of real images")
        axis.quiver(
            *starts.T, *(ends - starts).T, angles="xy", scale_units="xy", scale=1,
            color=_color(1), width=0.006, label="from z to encode(decode(z))",
        )  # fmt: skip
        axis.scatter(*starts.T, s=9, color=_color(0), label="codes z that are decoded")
        # An arrow may be longer than the picture; all panels show the surroundings of the starts.
        low, high = starts.min(axis=0), starts.max(axis=0)
        room = 0.08 * (high - low).max()
        axis.set(xlim=(low[0] - room, high[0] + room), xlabel="$z_1$ (standard deviations)")
        axis.set(ylim=(low[1] - room, high[1] + room), aspect="equal")
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("$z_2$ (standard deviations)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, loc="lower center", ncols=3)
    _set_title_and_layout(figure, title)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return figure


def posteriors(panels, title=None):
    """The posterior p(z | x) of single images, and the Gaussian q(z | x) that the encoder gives.

    Args:
        panels: dict from the title of a panel to ``(side, density, z_mean, sigma)``: ``(m,)``, the
            values of both axes; ``(m, m)``, rows are :math:`z_2` and columns :math:`z_1`; mean and
            standard deviation of q, two numbers each.
        title: str, what is seen in the figure.
    """
    columns = math.ceil(len(panels) / 2)
    figure, axes = plt.subplots(2, columns, figsize=(2.6 * columns, 5.6), squeeze=False)
    around = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(around), np.sin(around)])
    for axis, (name, arrays) in zip(axes.flat, panels.items(), strict=False):
        side, density, z_mean, sigma = (ops.convert_to_numpy(array) for array in arrays)
        levels = np.array([0.01, 0.1, 0.3, 0.6, 1.0]) * density.max()
        axis.contourf(side, side, density, levels=levels, cmap="Blues")
        for deviations in (1, 2):
            ellipse = z_mean[:, None] + deviations * sigma[:, None] * circle
            axis.plot(*ellipse, color=_color(1), linewidth=1.5)
        # Both distributions are in the picture, with three of their standard deviations.
        share = density / density.sum()
        shares = share.sum(axis=0), share.sum(axis=1)
        mean = np.array([part @ side for part in shares])
        deviation = np.sqrt([part @ (side - m) ** 2 for part, m in zip(shares, mean, strict=True)])
        half = (abs(mean - z_mean) / 2 + 3 * np.maximum(deviation, sigma)).max()
        middle = (mean + z_mean) / 2
        axis.set(xlim=(middle[0] - half, middle[0] + half))
        axis.set(ylim=(middle[1] - half, middle[1] + half), aspect="equal")
        axis.set_title(name, fontsize=10)
    for axis in axes[1]:
        axis.set_xlabel("$z_1$")
    for row in axes:
        row[0].set_ylabel("$z_2$")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    return _set_title_and_layout(figure, title)


# ---- axes that codes are read off --------------------------------------------------------------


def projections(points, labels, axes, title=None):
    """Points in the plane with axes through the origin, and beside them the codes on each axis.

    Args:
        points: ``(n, 2)``.
        labels: ``(n,)``, integers or names.
        axes: dict from the name of an axis to its direction ``(2,)``; the code of a point is the
            product of the two. Each gets a panel with a histogram for each label.
        title: str, what is seen in the figure.

    Source: notebooks/14_what_a_code_keeps.ipynb.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    size = 4.2 + 2.9 * len(axes), 3.4
    figure, panels = plt.subplots(
        1, 1 + len(axes), figsize=size, width_ratios=[1.4] + [1] * len(axes)
    )
    for k, label in enumerate(np.unique(labels)):
        own = points[labels == label]
        panels[0].scatter(own[:, 0], own[:, 1], s=6, color=_color(k), label=f"class {label}")
    for style, (name, axis) in zip(_LINE_STYLES, axes.items(), strict=False):
        panels[0].axline((0, 0), tuple(axis), color="black", linestyle=style, label=name)
    panels[0].set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    panels[0].legend(fontsize=8)
    for panel, (name, axis) in zip(panels[1:], axes.items(), strict=True):
        _draw_histograms(panel, points @ np.asarray(axis), labels)
        panel.set(xlabel="code z", title=f"codes on {name}")
        panel.title.set_fontsize(10)
    return _set_title_and_layout(figure, title)


# ---- what the figures are made of --------------------------------------------------------------


def _as_images(images):
    """Images as a NumPy array ``(n, height, width, channels)`` with one channel or three."""
    images = ops.convert_to_numpy(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "plots expects images (n, height, width[, 1 or 3]), but got shape "
            f"{images.shape}. Reshape them, for example x.reshape(-1, 28, 28)."
        )
    return images


def _show_images(axes, images):
    """Shows one image on each axis, as far as there are images, and hides the axes' frames."""
    for axis in axes:
        axis.axis("off")
    for axis, image in zip(axes, images, strict=False):
        _show_image(axis, image)


def _show_image(axis, image):
    """Shows an image ``(height, width, channels)``; grey ones dark on white, like ink."""
    if image.shape[-1] == 1:
        axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    else:
        axis.imshow(np.clip(image, 0, 1), interpolation="nearest")


def _tile(images, columns):
    """Images ``(n, height, width, channels)`` in reading order, as one image."""
    n, height, width, channels = images.shape
    rows = math.ceil(n / columns)
    tiles = np.zeros((rows * columns, height, width, channels), images.dtype)
    tiles[:n] = images
    tiles = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width, channels)


def _draw_plane(axis, decode, low, high, n, tinted=None):
    """Draws ``n`` times ``n`` decoded images where their codes lie; see ``decoded_plane``."""
    centres = (np.arange(n) + 0.5) / n
    # The first row of a picture is its top, where z_2 is largest.
    z_1, z_2 = np.meshgrid(
        low[0] + centres * (high[0] - low[0]), high[1] - centres * (high[1] - low[1])
    )
    codes = np.stack([z_1, z_2], axis=-1).reshape(n * n, 2)
    # With 32 shades the eye misses nothing, and the file of the figure is half as large.
    images = np.round(31 * _as_images(decode(codes))) / 31
    background = np.ones((n * n, 1, 1, 3))
    if tinted is not None:
        background[np.asarray(tinted(codes))] = _TINT
    if images.shape[-1] == 1:
        images = 1 - images  # ink is dark
    axis.imshow(
        np.clip(_tile(background * images, n), 0, 1),
        extent=[low[0], high[0], low[1], high[1]],
        interpolation="nearest",
    )
    axis.set(xlabel="$z_1$", ylabel="$z_2$")


def _draw_circle_of_the_prior(axis, **style):
    """The circle around the origin that holds 95 % of N(0, I) in the plane."""
    radius = math.sqrt(2 * math.log(20))
    axis.add_patch(plt.Circle((0, 0), radius, fill=False, **style))


def _set_title_and_layout(figure, title):
    """Writes the title and moves the panels so that no text overlaps; returns the figure."""
    if title:
        figure.suptitle(title, fontsize=11)
    figure.tight_layout(pad=0.5)
    return figure


def _color(k):
    """The colour of line or label number ``k``; after ten the colours come again."""
    return COLORS[k % len(COLORS)]


def _logs(histories):
    """The logs of each run, of what ``fit`` returned or of its ``.history``."""
    return {name: getattr(run, "history", run) for name, run in histories.items()}


def _draw_epochs(axis, values, style, color, name):
    """Draws one logged value for each epoch, from epoch 1; nothing if it was not logged."""
    if values is not None:
        axis.plot(range(1, len(values) + 1), values, style, color=color, label=name)


def _set_log_axes(axis):
    """Makes both axes of curves over epochs logarithmic, with plain numbers at the ticks."""
    last_epoch = max(len(line.get_xdata()) for line in axis.lines)
    axis.set(xscale="log", yscale="log")
    ticks = [epoch for epoch in (1, 2, 3, 5, 10, 20, 50, 100, 200) if epoch <= last_epoch]
    axis.set_xticks(ticks, ticks)
    axis.xaxis.minorticks_off()
    axis.yaxis.set_major_formatter(LogFormatter())
    axis.yaxis.set_minor_formatter(LogFormatter())


_GRADIENT_COLOR = COLORS[2]
# Of each structure: its boxes as (x, y, text), and its arrows from box to box.
_BOXES = {
    "x": (0.0, 0.0, "$x$"),
    "y": (1.6, 0.0, "$y$"),
    "f": (4.6, 0.0, "$z = f(y)$"),
    "mean": (3.6, 0.75, r"$\mu = g(y)$"),
    "sigma": (3.6, -0.75, r"$\sigma = h(y)$"),
    "inside": (6.3, 0.0, "draw $z$ from\n" r"$N(\mu, \sigma^2)$"),
    "outside": (6.3, 0.0, r"$z = \mu + \sigma \odot \epsilon$"),
    "noise": (6.3, -1.1, r"$\epsilon$ from $N(0, I)$"),
    "copy": (8.8, 0.0, "$x'$"),
    "loss": (10.2, 0.0, "loss"),
}
_HEADS = [("y", "mean"), ("y", "sigma")]
_STRUCTURES = {
    "autoencoder": [("x", "y"), ("y", "f"), ("f", "copy")],
    "drawn inside": [
        ("x", "y"), *_HEADS, ("mean", "inside"), ("sigma", "inside"), ("inside", "copy")
    ],
    "noise from outside": [
        ("x", "y"), *_HEADS, ("mean", "outside"), ("sigma", "outside"), ("noise", "outside"),
        ("outside", "copy"),
    ],
}  # fmt: skip


def _draw_structure(axis, kind, gradients):
    """Draws one structure; the gradient goes back along its arrows, as far as it comes."""
    arrows = list(_STRUCTURES[kind])
    if gradients:
        arrows.append(("copy", "loss"))
    patches = {}
    for name in dict.fromkeys(name for arrow in arrows for name in arrow):
        x, y, text = _BOXES[name]
        changed = name in ("f", "mean", "sigma", "inside", "outside", "noise")
        style = {"boxstyle": "round,pad=0.45", "facecolor": "white", "linewidth": 1.6}
        style["edgecolor"] = _color(0) if changed else "gray"
        patches[name] = axis.text(x, y, text, ha="center", va="center", bbox=style).get_bbox_patch()
    for start, end in arrows:
        stopped = kind == "drawn inside" and start not in ("inside", "copy")
        passes = gradients and not stopped and start != "noise"
        _draw_arrow(axis, patches, start, end, "black", shift=0.13 if passes else 0.0)
        if passes:
            _draw_arrow(axis, patches, end, start, _GRADIENT_COLOR, shift=0.13)
    axis.text(0.8, 0.4, "first layers", ha="center", fontsize=8)
    axis.text(7.9, 0.4, "decoder", ha="center", fontsize=8)
    if gradients:
        _label_gradients(axis, kind)
    axis.text(-0.4, 1.1, kind, weight="bold")
    axis.set(xlim=(-0.5, 10.8 if gradients else 9.3), ylim=(-1.5, 1.5))
    axis.axis("off")


def _draw_arrow(axis, patches, start, end, color, shift):
    """An arrow between two boxes, moved to its left by ``shift``, so that two fit side by side."""
    a, b = np.array(_BOXES[start][:2]), np.array(_BOXES[end][:2])
    along = (b - a) / np.linalg.norm(b - a)
    left = shift * np.array([-along[1], along[0]])
    style = {"arrowstyle": "-|>", "color": color, "shrinkA": 1, "shrinkB": 1}
    style["linewidth"] = 1.2 if color == "black" else 2.2
    style |= {"patchA": patches[start], "patchB": patches[end]}
    axis.annotate("", b + left, a + left, arrowprops=style)


def _label_gradients(axis, kind):
    """Writes beside the boxes what the gradient is there."""
    style = {"color": _GRADIENT_COLOR, "weight": "bold", "ha": "center", "va": "center"}
    if kind == "drawn inside":
        axis.text(5.05, 0.0, "×", fontsize=26, **style)
        axis.text(6.3, 0.95, "the gradient stops here", fontsize=9, **style)
    if kind == "noise from outside":
        axis.text(5.6, 0.85, "times 1", fontsize=9, **style)
        axis.text(4.8, -0.95, r"times $\epsilon$", fontsize=9, **style)


def _make_opaque(legend):
    """Shows the entries of a legend in full colour, however faint the dots of the figure are."""
    for handle in legend.legend_handles:
        handle.set_alpha(1)


def _draw_lines(axis, x, lines, on_top=None):
    """Draws each entry of ``lines`` over ``x`` in its own style, with a grid and a legend."""
    for k, (name, y) in enumerate(lines.items()):
        style = _LINE_STYLES[k % len(_LINE_STYLES)]
        (line,) = axis.plot(x, y, style, color=_color(k), label=name)
        if name == on_top:
            line.set(color="black", linewidth=2.5, zorder=3)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)


def _draw_codes(axis, codes, labels):
    """Draws codes ``(n, size)`` and returns what stands for each label in a legend."""
    if codes.shape[1] == 1:
        return _draw_histograms(axis, codes[:, 0], labels)
    axis.set(xlabel="$z_1$", ylabel="$z_2$")
    if codes.shape[1] > 2:
        codes = _principal_components(codes)
        axis.set(xlabel="first principal component of z", ylabel="second principal component of z")
    axis.set_aspect("equal", "datalim")
    handles = []
    for k, label in enumerate(np.unique(labels)):
        own = codes[labels == label]
        marker = _MARKERS[k // len(COLORS)]
        points = axis.scatter(
            own[:, 0], own[:, 1], s=8, marker=marker, color=_color(k), alpha=0.6, linewidths=0
        )
        handles.append(points)
    return handles


def _draw_histograms(axis, values, labels):
    """Draws the values ``(n,)`` of each label over the same bins; returns the outlines."""
    bins = np.histogram_bin_edges(values, bins=40)
    outlines = []
    for k, label in enumerate(np.unique(labels)):
        style = _LINE_STYLES[k // len(COLORS)]
        _, _, (outline,) = axis.hist(
            values[labels == label], bins, histtype="step", color=_color(k), linestyle=style
        )
        outlines.append(outline)
    axis.set(xlabel="$z_1$", ylabel="codes in a bin")
    return outlines


def _principal_components(codes):
    """The first two principal components ``(n, 2)`` of codes ``(n, size)``."""
    centred = codes - codes.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


def _as_codes(vae, x, condition):
    """The codes ``(n, ...)`` of images ``x``, or ``x`` itself if it has the shape of codes."""
    x = ops.convert_to_numpy(x)
    if x.shape[1:] == tuple(vae.latent_shape):
        return x
    z_mean, _ = vae.encode(_with_condition(x, condition))
    return ops.convert_to_numpy(z_mean)


def _decode_to_images(vae, z, condition, codes_per_condition):
    """The images of codes ``(n, ...)``; each condition goes with so many codes in succession."""
    z = np.asarray(z, "float32")
    parameters = vae.decode(_with_condition(z, condition, codes_per_condition))
    return _as_images(vae.likelihood.mean(parameters))


def _decode_quantiles(vae, n, condition=None):
    """The images of ``manifold`` in reading order, and the ``n`` quantiles of N(0, 1)."""
    if math.prod(vae.latent_shape) != 2:
        raise ValueError(
            f"manifold expects a VAE with 2 latent dimensions, but got {vae.latent_shape}. "
            "Use plots.traversals for other latents."
        )
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    # The first row of a picture is its top, where z_2 is largest.
    z_1, z_2 = np.meshgrid(quantiles, quantiles[::-1])
    z = np.stack([z_1, z_2], axis=-1).reshape(n * n, *vae.latent_shape)
    return _decode_to_images(vae, z, condition, codes_per_condition=n * n), quantiles


def _with_condition(x, condition, copies=1):
    """What a network is called with: ``x``, or ``[x, condition, ...]`` if there is a condition.

    Each row of a condition is repeated ``copies`` times.
    """
    if condition is None:
        return x
    conditions = condition if isinstance(condition, (list, tuple)) else [condition]
    inputs = [x]
    for rows in conditions:
        rows = ops.convert_to_numpy(rows)
        if len(rows) * copies != len(x):
            raise ValueError(
                f"plots expects a condition of the shape ({len(x) // copies}, ...), but got "
                f"{rows.shape}. Give one row for each image or code that the figure starts from."
            )
        inputs.append(np.repeat(rows, copies, axis=0))
    return inputs


def _codes_between(a, b, steps, spherical):
    """Codes ``(n, steps, size)`` on the way from ``a`` to ``b``, both ``(n, ...)``."""
    if a.shape != b.shape:
        raise ValueError(
            f"interpolation expects a and b of one shape, but got codes {a.shape} and {b.shape}. "
            "Give as many images in a as in b."
        )
    a = a.reshape(len(a), 1, -1).astype("float64")
    b = b.reshape(len(b), 1, -1).astype("float64")
    t = np.linspace(0, 1, steps)[:, None]
    if not spherical:
        return (1 - t) * a + t * b

    product = (a * b).sum(axis=-1, keepdims=True)
    lengths = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    cosine = product / np.maximum(lengths, 1e-12)
    omega = np.arccos(np.clip(cosine, -1, 1))
    if (omega > 0.999 * np.pi).any():
        raise ValueError(
            "interpolation with spherical=True expects codes that are not opposite, but got two "
            f"at an angle of {np.degrees(omega.max()):.0f} degrees, where no way is the shortest. "
            "Use spherical=False."
        )

    def weight(t):
        # This is sin(t omega) / sin(omega), written so that it is t where omega is 0.
        return t * np.sinc(t * omega / np.pi) / np.sinc(omega / np.pi)

    return weight(1 - t) * a + weight(t) * b
