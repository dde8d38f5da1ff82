"""Every figure of the course. Each function draws one figure and returns it.

Images are ``(n, height, width)``, ``(n, height, width, 1)`` or ``(n, height, width, 3)``, drawn
on the range [0, 1]. The colours can be told apart by colour-blind readers (Petroff 2021).
"""

from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np
from keras import ops

COLORS = plt.style.library["petroff10"]["axes.prop_cycle"].by_key()["color"]


def image_rows(rows, title=None):
    """One row of images for each entry, its name on the left.

    Args:
        rows: dict from a name to images ``(n, height, width[, channels])``.
        title: the finding.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    rows = {name: _as_images(images) for name, images in rows.items()}
    columns = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(0.6 * columns + 1.2, 0.65 * len(rows) + 0.35), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(row, images, strict=False):
            _draw(axis, image)
        row[0].text(
            -0.15, 0.5, name, ha="right", va="center", fontsize=10, transform=row[0].transAxes
        )
    return _finish(figure, title)


def image_grid(images, columns=10, title=None):
    """Images in reading order, ``columns`` to a row.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    images = _as_images(images)
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.6 * columns, 0.6 * rows + 0.35), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image in zip(axes.flat, images, strict=False):
        _draw(axis, image)
    return _finish(figure, title)


def reconstructions(model, x, title=None):
    """The images of ``x`` above what the model makes of them, in one call of the model.

    Args:
        model: an autoencoder, or a ``VAE``: of that the means of p(x | z) are drawn.
        x: images ``(n, height, width[, channels])``; a conditional VAE takes ``[x, c]``.
        title: the finding.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    output = model(x)
    if hasattr(model, "likelihood"):
        output = model.likelihood.mean(output)
    return image_rows(
        {"input": x[0] if isinstance(x, (list, tuple)) else x, "output": output}, title
    )


def samples(vae, n=20, seed=None, columns=10, title=None, **condition):
    """``n`` images decoded from draws of the prior, in one call of the decoder.

    ``condition=c`` is handed on to ``vae.sample``.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    return image_grid(vae.sample(n, seed=seed, **condition), columns, title)


def manifold(vae, n=15, condition=None, title=None):
    """The latent plane as ``n`` times ``n`` images, in one call of the decoder.

    The grid takes the ``(i + 1/2) / n`` quantiles of N(0, 1) along each axis, so that every image
    stands for the same share of the prior. :math:`z_1` grows to the right, :math:`z_2` upwards.

    Args:
        vae: a ``VAE`` with two latent dimensions.
        n: int > 0, images along each axis.
        condition: ``(1, ...)``, what a conditional decoder takes beside z.
        title: the finding.

    Returns:
        The ``matplotlib.figure.Figure``.

    Raises:
        ValueError: if the latent has not two dimensions.

    Source: Kingma & Welling (2014), figure 4; notebooks/09_latent_space.ipynb.
    """
    if np.prod(vae.latent_shape) != 2:
        raise ValueError(
            f"manifold expects a VAE with 2 latent dimensions, but got {vae.latent_shape}. "
            "Use plots.traversals for other latents."
        )
    grid = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    z = np.stack(np.meshgrid(grid, grid[::-1]), axis=-1).reshape(-1, *vae.latent_shape)
    images = _decoded(vae, z, condition)
    height, width, channels = images.shape[1:]
    canvas = images.reshape(n, n, height, width, channels).swapaxes(1, 2)
    figure, axis = plt.subplots(figsize=(5.2, 5.2 * height / width))
    _draw(axis, canvas.reshape(n * height, n * width, channels))
    shown = np.arange(0, n, -(-n // 15))
    labels = [f"{grid[i]:.1f}" for i in shown]
    axis.set_xticks((shown + 0.5) * width - 0.5, labels, fontsize=8)
    axis.set_yticks((n - shown - 0.5) * height - 0.5, labels, fontsize=8)
    axis.set(xlabel="$z_1$", ylabel="$z_2$")
    return _finish(figure, title)


def traversals(vae, x, dimensions=None, span=3.0, steps=9, condition=None, title=None):
    """One row a latent dimension, which goes from ``-span`` to ``span`` while the others stay.

    All images come from one call of the decoder.

    Args:
        vae: a ``VAE``.
        x: one image ``(1, ...)``, which is encoded to its ``z_mean``, or one code ``(1, ...)``.
        dimensions: indices from 0 into the flattened code; None takes the first ten.
        span: float, in standard deviations of the prior.
        steps: int, images a row.
        condition: ``(1, ...)``, what a conditional VAE takes beside x and z.
        title: the finding.

    Returns:
        The ``matplotlib.figure.Figure``.

    Raises:
        ValueError: if ``x`` is not one example, or a dimension is not there.

    Source: Higgins et al. (2017), figure 1; notebooks/09_latent_space.ipynb.
    """
    z = _codes(vae, x, condition)
    size = int(np.prod(vae.latent_shape))
    dimensions = range(min(size, 10)) if dimensions is None else list(dimensions)
    if len(z) != 1:
        raise ValueError(
            f"traversals expects one image or code, but got {len(z)}. Give one, such as x[:1]."
        )
    if not all(0 <= k < size for k in dimensions):
        raise ValueError(
            f"traversals expects dimensions from 0 to {size - 1}, but got {dimensions}. "
            f"The VAE's latent has the shape {vae.latent_shape}."
        )
    values = np.linspace(-span, span, steps)
    z = np.tile(z.reshape(1, 1, size), (len(dimensions), steps, 1))
    for row, k in zip(z, dimensions, strict=True):
        row[:, k] = values
    images = _decoded(vae, z.reshape(-1, *vae.latent_shape), condition)
    rows = images.reshape(len(dimensions), steps, *images.shape[1:])
    figure = image_rows({f"$z_{{{k + 1}}}$": row for k, row in zip(dimensions, rows, strict=True)})
    for axis, value in zip(figure.axes, values, strict=False):
        axis.set_title(f"{value:.3g}", fontsize=8)
    return _finish(figure, title)


def interpolation(vae, a, b, steps=9, spherical=False, condition=None, title=None):
    r"""One row a pair: the images decoded on the way from ``a`` to ``b``.

    Straight, :math:`(1-t)a + tb`, or spherical, :math:`[\sin((1-t)\omega) a + \sin(t\omega) b] /
    \sin\omega` with the angle :math:`\omega` between the codes: if both have one length, all on the
    way have it too. All images come from one call of the decoder.

    Args:
        vae: a ``VAE``.
        a: images ``(n, ...)``, which are encoded to their ``z_mean``, or codes ``(n, ...)``.
        b: as many images or codes.
        steps: int, images a row, both ends included.
        spherical: bool.
        condition: ``(n, ...)``, what a conditional VAE takes beside x and z, one a row.
        title: the finding.

    Returns:
        The ``matplotlib.figure.Figure``.

    Raises:
        ValueError: if ``a`` and ``b`` are not as many; if spherical, and two codes are opposite.

    Source: Shoemake (1985), "Animating rotation with quaternion curves"; White (2016), "Sampling
    generative networks"; notebooks/09_latent_space.ipynb.
    """
    z = _path(_codes(vae, a, condition), _codes(vae, b, condition), steps, spherical)
    return image_grid(_decoded(vae, z.reshape(-1, *vae.latent_shape), condition), steps, title)


def latent_scatter(z, labels, title=None):
    """Codes coloured by label, each label's number at its median.

    One latent dimension is drawn as histograms, two as they are, more by their first two
    principal components. Feature maps are flattened.

    Args:
        z: codes ``(n, ...)``, as a deterministic encoder or ``vae.encode(x)[0]`` gives them.
        labels: integers ``(n,)``.
        title: the finding.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    figure, axis = plt.subplots(figsize=(5.5, 5))
    draw_latents(axis, z, labels)
    return _finish(figure, title)


def latent_scatters(codes, labels, title=None):
    """Several latent planes side by side, each on its own scale.

    Args:
        codes: dict from a name to codes ``(n, ...)``.
        labels: integers ``(n,)``, for all of them.
        title: the finding.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    figure, axes = plt.subplots(1, len(codes), figsize=(4 * len(codes), 3.9), squeeze=False)
    for axis, (name, z) in zip(axes[0], codes.items(), strict=True):
        draw_latents(axis, z, labels)
        axis.set_title(name, fontsize=10)
    return _finish(figure, title)


def draw_latents(axis, z, labels):
    """Draws codes on an axis of your own; see ``latent_scatter``."""
    z, labels = np.asarray(ops.convert_to_numpy(z)), np.asarray(labels)
    if labels.shape != z.shape[:1]:
        raise ValueError(
            f"plots expects one label a code, but got codes {z.shape} and labels {labels.shape}. "
            "Give codes (n, ...) and the integer labels (n,) of the same examples."
        )
    z = z.reshape(len(labels), -1)
    names = ["$z_1$", "$z_2$"]
    if z.shape[1] > 2:
        centred = z - z.mean(0)
        z = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
        names = ["first principal component of z", "second principal component of z"]
    for k, label in enumerate(np.unique(labels)):
        own, color = z[labels == label], COLORS[k % len(COLORS)]
        if z.shape[1] == 1:
            axis.hist(own[:, 0], bins=40, histtype="step", color=color, label=str(label))
            continue
        axis.scatter(*own.T, s=5, color=color, alpha=0.5, linewidths=0)
        box = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": color}
        axis.text(
            *np.median(own, axis=0), str(label), ha="center", va="center", bbox=box, fontsize=8
        )
    axis.set_xlabel(names[0])
    axis.set_ylabel(names[1] if z.shape[1] == 2 else "images")
    if z.shape[1] == 1:
        axis.legend(title="label", fontsize=8)


def loss_curves(histories, title=None, parts=("loss", "reconstruction_loss", "kl_loss")):
    """Training (solid) and validation (dashed) curves, one panel a part, one colour a run.

    Args:
        histories: dict from a name to what ``fit`` returned (or its ``.history``).
        title: the finding.
        parts: the logged names to draw; those that no run has are left out.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    logs = {name: getattr(run, "history", run) for name, run in histories.items()}
    parts = [part for part in parts if any(part in log for log in logs.values())]
    figure, axes = plt.subplots(1, len(parts), figsize=(3.8 * len(parts), 3.2), squeeze=False)
    for axis, part in zip(axes[0], parts, strict=True):
        for k, (name, log) in enumerate(logs.items()):
            for key, style, kind in ((part, "-", "training"), (f"val_{part}", "--", "validation")):
                if key in log:
                    epochs = np.arange(1, len(log[key]) + 1)
                    axis.plot(
                        epochs, log[key], style, color=COLORS[k % len(COLORS)],
                        label=f"{name}, {kind}",
                    )  # fmt: skip
        axis.set(xlabel="epoch", ylabel=f"{part} (nats per image)")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    return _finish(figure, title)


def curves(x, lines, xlabel, ylabel, title=None, logy=False, logx=False):
    """Several lines over one axis.

    Args:
        x: values ``(n,)`` of the horizontal axis.
        lines: dict from a name to values ``(n,)``.
        xlabel: what ``x`` is, with its unit.
        ylabel: what the lines are, with their unit.
        title: the finding.
        logy: whether the vertical axis is logarithmic.
        logx: whether the horizontal axis is.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    figure, axis = plt.subplots(figsize=(6, 3.6))
    styles = ("-", "--", "-.", ":")
    for k, (name, y) in enumerate(lines.items()):
        axis.plot(x, y, styles[k % 4], color=COLORS[k % len(COLORS)], label=name)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if logx:
        axis.set_xscale("log")
    if logy:
        axis.set_yscale("log")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    return _finish(figure, title)


def _conditioned(x, condition):
    if condition is None:
        return x
    condition = condition if isinstance(condition, (list, tuple)) else [condition]
    times = [len(x) // len(c) for c in condition]
    return [
        x,
        *(np.repeat(ops.convert_to_numpy(c), k, 0) for c, k in zip(condition, times, strict=True)),
    ]


def _codes(vae, x, condition=None):
    """The codes ``(n, ...)`` of images ``x``, or ``x`` itself if it has the shape of codes."""
    x = ops.convert_to_numpy(x)
    if x.shape[1:] == tuple(vae.latent_shape):
        return x
    return ops.convert_to_numpy(vae.encode(_conditioned(x, condition))[0])


def _decoded(vae, z, condition=None):
    z = np.asarray(z, "float32")
    return _as_images(vae.likelihood.mean(vae.decode(_conditioned(z, condition))))


def _path(a, b, steps, spherical=False):
    """Codes ``(n, steps, size)`` on the way from ``a`` to ``b``, both ``(n, ...)``."""
    if a.shape != b.shape:
        raise ValueError(
            f"interpolation expects a and b of one shape, but got codes {a.shape} and {b.shape}. "
            "Give as many images in a as in b."
        )
    a, b = (z.reshape(len(z), 1, -1).astype("float64") for z in (a, b))
    t = np.linspace(0, 1, steps)[:, None]
    if not spherical:
        return (1 - t) * a + t * b
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = (a * b).sum(-1) / np.maximum(lengths, 1e-12)
    omega = np.arccos(np.clip(cosine, -1, 1))[..., None]
    if (omega > 0.999 * np.pi).any():
        raise ValueError(
            "spherical interpolation expects codes that are not opposite, but between "
            f"{np.degrees(omega.max()):.0f} degrees no way is the shortest. Use spherical=False."
        )

    def weight(t):  # sin(t omega) / sin(omega), which is t at omega = 0
        return t * np.sinc(t * omega / np.pi) / np.sinc(omega / np.pi)

    return weight(1 - t) * a + weight(t) * b


def _as_images(images):
    images = np.asarray(ops.convert_to_numpy(images))
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "plots expects images (n, height, width[, 1 or 3]), but got shape "
            f"{images.shape}. Reshape them, for example x.reshape(-1, 28, 28)."
        )
    return images


def _draw(axis, image):
    if image.shape[-1] == 1:
        axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    else:
        axis.imshow(np.clip(image, 0, 1), interpolation="nearest")


def _finish(figure, title):
    if title:
        figure.suptitle(title, fontsize=11)
    figure.tight_layout(pad=0.5)
    return figure
