"""Pure functions for losses: nats, summed over every axis but the batch.

``gaussian_kl`` stands beside its layer, so that ``layers/kl_divergence.py`` can be copied alone.
"""

import math

from keras import ops

from vaekit.layers.kl_divergence import gaussian_kl

__all__ = ["gaussian_kl", "gaussian_kl_terms"]


def gaussian_kl_terms(z_mean, z_log_var):
    r"""The summands of ``gaussian_kl``, one a latent dimension; nats.

    Args:
        z_mean: float tensor ``(batch, ...)``, any range.
        z_log_var: float tensor of the same shape, :math:`\log \sigma^2`, any range.

    Returns:
        Tensor ``(batch, latents)``, the latent axes flattened; its sum over latents is
        ``gaussian_kl``.

    Raises:
        ValueError: if the shapes differ in size.

    Example:
        >>> terms = gaussian_kl_terms(np.array([[1.0, 2.0]]), np.zeros((1, 2)))
        >>> print(ops.convert_to_numpy(terms))  # mu^2 / 2
        [[0.5 2. ]]

    Source: Kingma & Welling (2014), "Auto-Encoding Variational Bayes", appendix B.
    """
    one_column = [ops.reshape(head, (-1, 1)) for head in (z_mean, z_log_var)]
    return ops.reshape(gaussian_kl(*one_column), (-1, math.prod(z_mean.shape[1:])))
