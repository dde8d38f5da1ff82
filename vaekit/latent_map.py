r"""Which affine map lies between the codes of an autoencoder and the latent z of its VAE.

    code = mean + z @ axes,    z = (code - mean) @ inverse

It is the whitening of the codes, then the rotation to the principal curvatures of the decoder,
then one scale an axis. Along an axis of width w the codes have the variance v, and the decoder
the curvature h, both in units of the code. To second order the negative ELBO of that axis is

    v / (2 w^2) + log(1 + h w^2) / 2,    lowest for    w^2 = v / 2 + sqrt(v^2 / 4 + v / h).

Where the decoder feels the code, h v >> 1, z gets the variance 1 with its posterior's width.
Where it feels nothing, w is far larger than the codes vary: z stays near 0, sigma is 1, and the
KL is 0; and a step of training upstream is not amplified by 1 / w.
"""

import numpy as np

from vaekit.posterior_width import MOST_MIXED, curvature

SMALLEST_VARIANCE = 1e-6  # of the largest variance of the codes; what varies less is rounding
UNFELT = 0.02  # of h w^2: noise of the prior may cost 0.01 nats along an axis that carries nothing
GROWTH = 10.0  # of an axis at a time, because h was measured only as far as a probe went
ROUNDS = 3
PAIRS = 4000  # of gradients in the first round, which finds the rotation, and in the last
FEWER_PAIRS = 1000  # in the rounds between, which find one number an axis
FEWEST_PAIRS = 500  # of feature maps with many positions


class LatentMap:
    """The map for codes ``(n, positions, channels)``; the same one at every position.

    ``axes`` is a matrix, or a vector where there are so many channels that each gets a scale and
    nothing else.
    """

    def __init__(self, codes):
        self.mean = codes.mean(axis=(0, 1), dtype="float64")
        centred = (codes - self.mean).reshape(-1, codes.shape[-1])
        if codes.shape[-1] > MOST_MIXED:
            widths = np.sqrt(_not_constant(centred.var(axis=0)))
            self.axes = widths
        else:
            variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
            widths = np.sqrt(_not_constant(variances))
            self.axes = (directions * widths).T

    def step(self, z):
        """The change of the code for a change of z."""
        return z * self.axes if self.axes.ndim == 1 else z @ self.axes

    def pull_back(self, gradient):
        """The gradient by z of the gradient by the code."""
        return gradient * self.axes if self.axes.ndim == 1 else gradient @ self.axes.T

    def inverse(self):
        return 1 / self.axes if self.axes.ndim == 1 else np.linalg.inv(self.axes)

    def divide(self, change):
        """The change of z for a change of the code: the inverse of ``step``."""
        return change * self.inverse() if self.axes.ndim == 1 else change @ self.inverse()

    def to_z(self, codes):
        return self.divide(codes - self.mean)

    def rotate(self, rotation):
        """Takes other directions for the axes; the columns are those of the new in the old."""
        if self.axes.ndim == 2:
            self.axes = rotation.T @ self.axes

    def scale(self, factors):
        """Makes the axes that many times as long, and z that many times as small."""
        self.axes = self.axes * (factors if self.axes.ndim == 1 else factors[:, None])


def _not_constant(variances):
    return np.maximum(variances, max(SMALLEST_VARIANCE * variances.max(), 1e-12))


def fit(codes, rows, gradient):
    """The ``LatentMap``, and the curvature h of each of ``rows`` along its axes.

    Args:
        codes: array ``(n, positions, channels)``, of the training data.
        rows: array of the same kind, the codes of the examples that ``gradient`` is for.
        gradient: function of codes near the first of ``rows``, the loss's gradient at each.
    """
    found = LatentMap(codes)
    positions, channels = codes.shape[1:]
    mixes = found.axes.ndim == 2
    sigma = np.full(channels, 0.1)
    for round_ in range(ROUNDS + 1):
        last, rotates = round_ == ROUNDS, round_ == 0 and mixes
        # What is one number an axis needs fewer examples than the rotation, and what is averaged
        # over positions too still fewer.
        pairs = PAIRS if last or rotates else FEWER_PAIRS
        pairs = min(pairs, max(PAIRS // positions, FEWEST_PAIRS))
        part = slice(0, len(rows) if last else min(len(rows), pairs // 2))
        z = np.zeros(rows[part].shape, "float32")
        probes = min(max(pairs // len(z), 1), max(channels, 4), 64)

        def of_z(step, codes=rows[part]):
            return found.pull_back(gradient(codes + found.step(step)))

        along_axes, hessian = curvature(of_z, z, sigma, probes, round_, with_hessian=rotates)
        if rotates:
            curvatures, rotation = np.linalg.eigh(hessian)
            found.rotate(rotation)
        else:
            curvatures = along_axes.mean(axis=(0, 1))
        if last:
            break
        if round_ == 0:
            variances = found.to_z(codes).var(axis=(0, 1))
        growth = _best_width(variances, np.maximum(curvatures, 0))
        found.scale(growth)
        variances = variances / growth**2
        sigma = 1 / np.sqrt(1 + np.maximum(curvatures, 0) * growth**2)
    return found, along_axes


def _best_width(variances, curvatures):
    """How many times as long each axis should be, for the lowest negative ELBO."""
    h = np.maximum(curvatures, 1e-12)
    squared = variances / 2 + np.sqrt(variances**2 / 4 + variances / h)
    squared = np.maximum(squared, UNFELT / h)
    return np.clip(np.sqrt(squared), 1 / GROWTH, GROWTH)
