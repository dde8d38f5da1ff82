"""Where the width of the posterior q(z | x) comes from, when an autoencoder has none.

Where a small step in z spoils the reconstruction, sigma must be small. Laplace's method says how
small: with L(z) = -log p(x | z), the posterior's precision along one axis of z is

    1 / sigma^2 = 1 + d^2 L / dz^2,

the 1 from the prior N(0, 1) and the second derivative from the decoder. ``posterior_log_var``
measures it for single examples, and ``ridge_regression`` teaches it to a layer, so that the
encoder predicts it for new ones. Taught in notebooks/07_convert.ipynb.
"""

import numpy as np

STEP = 0.1  # of a finite difference, in standard deviations of the prior
MOST_DECODINGS = 80_000  # examples times decodings that one measurement may take


def principal_curvatures(loss, z, x):
    """The rotation to the eigenvectors of the mean Hessian of the reconstruction loss.

    N(0, I) looks the same from every side; from this one the posterior is closest to diagonal.
    """
    d = z.shape[1]
    n = rows_within_budget(len(z), 2 * d * d)
    z, x, steps = z[:n], x[:n], STEP * np.eye(d)
    hessian = np.zeros((d, d))
    for i in range(d):
        for j in range(i + 1):
            ahead = loss(z + steps[i] + steps[j], x) + loss(z - steps[i] - steps[j], x)
            apart = loss(z + steps[i] - steps[j], x) + loss(z - steps[i] + steps[j], x)
            hessian[i, j] = hessian[j, i] = np.mean(ahead - apart)
    return np.linalg.eigh(hessian)[1]


def posterior_log_var(loss, z, x):
    """A Laplace estimate of the posterior's log-variance along each axis: ``(n, d)``, at most 0.

    The precision is 1, of the prior, plus the second derivative of the reconstruction loss,
    times the factor that gives the lowest negative ELBO on these rows.
    """
    d = z.shape[1]
    n = rows_within_budget(len(z), 2 * d)
    z, x = z[:n], x[:n]
    here = loss(z, x)
    curvature = np.empty_like(z)
    for i, step in enumerate(STEP * np.eye(d)):
        curvature[:, i] = (loss(z + step, x) + loss(z - step, x) - 2 * here) / STEP**2
    noise = np.random.default_rng(0).standard_normal(z.shape)

    def log_var(factor):
        return -np.log1p(factor * np.maximum(curvature, 0))

    def nelbo(factor):
        found = log_var(factor)
        kl = 0.5 * (np.exp(found) - found).sum(axis=1)  # but for a constant
        return np.mean(loss(z + np.exp(found / 2) * noise, x) + kl)

    return log_var(min((0.5, 0.7, 1.0, 1.4, 2.0), key=nelbo))


def ridge_regression(features, targets):
    """Kernel and bias of the linear map to ``targets``, its penalty chosen on held-out rows."""
    n = len(features)
    fit, held = slice(0, n - n // 4), slice(n - n // 4, n)
    features = features.reshape(n, -1).astype("float64")
    centre, level = features[fit].mean(axis=0), targets[fit].mean(axis=0)
    x, y = features[fit] - centre, targets[fit] - level
    wide = x.shape[1] > len(x)  # then X'(XX' + pI)^-1 is the smaller system than (X'X + pI)^-1 X'
    values, axes = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    projected = axes.T @ (y if wide else x.T @ y)
    best = None
    for penalty in (values[-1] + 1e-12) * np.array([1e9, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5]):
        kernel = axes @ (projected / (np.maximum(values, 0) + penalty)[:, None])
        kernel = x.T @ kernel if wide else kernel
        error = np.mean(((features[held] - centre) @ kernel + level - targets[held]) ** 2)
        if best is None or error < best[0]:
            best = error, kernel
    return best[1], level - centre @ best[1]


def rows_within_budget(n, decodings):
    """How many of ``n`` examples may be decoded that many times."""
    return min(n, max(MOST_DECODINGS // decodings, 50))
