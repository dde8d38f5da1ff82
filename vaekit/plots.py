"""Every figure of the course. Each function draws one figure and returns it.

Images are ``(n, height, width)``, ``(n, height, width, 1)`` or ``(n, height, width, 3)``, drawn
on the range [0, 1]. The colours can be told apart by colour-blind readers (Petroff 2021).
"""

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
    """The images of ``x`` above what ``model(x)`` makes of them, in one call of the model.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    return image_rows({"input": x, "output": model(x)}, title)


def samples(vae, n=20, seed=None, columns=10, title=None):
    """``n`` images decoded from draws of the prior, in one call of the decoder.

    Returns:
        The ``matplotlib.figure.Figure``.
    """
    return image_grid(vae.sample(n, seed=seed), columns, title)


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
