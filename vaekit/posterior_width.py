r"""Where the width of the posterior q(z | x) comes from, when an autoencoder has none.

Where a small step in z spoils the reconstruction, sigma must be small. How small follows from the
loss L(z) = -log p(x | z). The Gaussian with the highest ELBO has along each axis of z

    1 / sigma^2 = 1 + h,    h = the mean of d^2 L / dz^2 over the posterior itself:

1 from the prior N(0, 1), and h, the curvature, from the decoder. ``curvature`` measures h for
single examples, and ``fit_log_var`` teaches -log(1 + h) to a linear layer, so that the encoder
predicts it for new ones. Where the decoder feels nothing, h = 0 and sigma = 1, as in the prior.

Source: Laplace's method, MacKay (2003), chapter 27; the mean over the posterior: Opper &
Archambeau (2009), equation 13; the random probes: Hutchinson (1990), Bekas, Kokiopoulou & Saad
(2007). Taught in notebooks/07_convert.ipynb.
"""

import numpy as np

MOST_MIXED = 400  # axes of z whose mean Hessian is measured too; more would cost too much
MOST_TRIED = 64  # outputs that the damping of the regression is chosen for
MOST_COMPONENTS = 256  # principal components of the features that the log-variance is read from


def curvature(gradient, z, sigma, probes, seed=0, with_hessian=True):
    """The curvature of a loss along the axes of z, met by steps of the size of the posterior.

    A probe goes from z by +sigma or -sigma along every axis at once, with random signs, and back.
    The change of the gradient along an axis, times its sign, is the curvature there plus terms
    of random sign from the other axes, which cancel over the examples. The first ``d`` probes
    of an example are orthogonal: over them the terms of ``d`` axes cancel exactly.

    Args:
        gradient: function of z, the gradient of the loss of each example, of the shape of z.
        z: array ``(n, positions, d)``.
        sigma: array ``(d,)``, how far a probe goes along each axis.
        probes: int, how many.
        seed: int.
        with_hessian: False leaves the mean Hessian at 0, which saves time where d is large.

    Returns:
        ``(n, positions, d)``, h of each example along each axis, and ``(d, d)``, the mean Hessian
        over all examples and positions.
    """
    d = z.shape[-1]
    random_signs = np.random.default_rng(seed).choice([-1.0, 1.0], z.shape).astype("float32")
    order = _hadamard(d)
    along_axes, hessian = np.zeros(z.shape), np.zeros((d, d))
    for probe in range(probes):
        signs = random_signs * order[probe % len(order), :d]
        if probe and probe % len(order) == 0:
            random_signs = random_signs[::-1].copy()
        step = signs * sigma
        change = (gradient(z + step) - gradient(z - step)) / 2
        along_axes += change * signs / sigma
        if d <= MOST_MIXED and with_hessian:
            hessian += change.reshape(-1, d).T @ (signs / sigma).reshape(-1, d)
    hessian /= probes * z.shape[0] * z.shape[1]
    return along_axes / probes, (hessian + hessian.T) / 2


def _hadamard(d):
    """Rows of signs that are orthogonal to each other, at least 1 and at most 64 of them."""
    rows = np.ones((1, 1), "float32")
    while len(rows) < min(d, 64):
        rows = np.block([[rows, rows], [rows, -rows]])
    return np.tile(rows, -(-d // len(rows)))


def fit_log_var(features, precision, steps=8):
    """Kernel and bias of the linear layer whose output is the best log-variance.

    Best is the lowest KL and reconstruction loss that sigma can give, the mean over examples of
    (precision * sigma^2 - log sigma^2) / 2. That needs no logarithm of a precision, so measured
    ones may be noisy and even negative. It is a regression with a gamma distribution and
    a logarithmic link, solved by Fisher's scoring, which here is a sequence of ridge regressions
    with one matrix; how strongly they are damped is chosen on held-out examples.

    Args:
        features: array ``(n, ...)``; axes are flattened.
        precision: array ``(n, d)``, 1 + h.
        steps: int, of the scoring.

    Source: McCullagh & Nelder (1989), chapter 8.
    """
    n = len(features)
    fit, held = slice(0, n - n // 4), slice(n - n // 4, n)
    features = features.reshape(n, -1).astype("float64")
    centre = features[fit].mean(axis=0)
    components, variances = _principal_components(features[fit] - centre)
    x = (features - centre) @ components
    penalties = variances.max(initial=0.0) * np.array([1e9, 1e1, 1e0, 1e-1, 1e-2, 1e-3]) + 1e-9
    some = precision[:, :: -(-precision.shape[1] // MOST_TRIED)]
    costs = []
    for penalty in penalties:
        kernel, bias = _scoring(x[fit], some[fit], variances, penalty, steps)
        log_var = x[held] @ kernel + bias
        cost = some[held] * np.exp(np.clip(log_var, -50, 50)) - log_var
        costs.append(cost.mean())
    best = penalties[np.argmin(costs)]
    kernel, bias = _scoring(x[fit], precision[fit], variances, best, steps)
    kernel = components @ kernel
    return kernel, bias - centre @ kernel


def _scoring(x, precision, variances, penalty, steps):
    """Kernel and bias by Fisher's scoring, damped by ``penalty``; x are principal components."""
    bias = -np.log(np.maximum(precision.mean(axis=0), 1.0))
    kernel = np.zeros((x.shape[1], precision.shape[1]))
    for _ in range(steps if penalty < 1e8 * variances.max(initial=0.0) else 1):
        log_var = np.clip(x @ kernel + bias, -50, 0.5)
        # The gain of one step of scoring; the clip keeps outliers from throwing it far.
        gain = np.clip(1 - precision * np.exp(log_var), -3, 1)
        target = log_var + gain
        bias = target.mean(axis=0)
        kernel = x.T @ (target - bias) / len(target) / (variances + penalty)[:, None]
    return kernel, bias


def _principal_components(x):
    """The directions of largest variance, as columns, and their variances."""
    wide = x.shape[1] > len(x)
    variances, axes = np.linalg.eigh((x @ x.T if wide else x.T @ x) / len(x))
    variances, axes = variances[-MOST_COMPONENTS:], axes[:, -MOST_COMPONENTS:]
    keep = variances > 1e-10 * max(variances.max(), 1e-30)
    variances, axes = variances[keep], axes[:, keep]
    if wide:
        axes = x.T @ axes / np.sqrt(variances * len(x))
    return axes, variances
