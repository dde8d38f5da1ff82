"""Losses as pure functions, in nats. The negative ELBO is ``VAE.compute_loss`` in models.py.

They are written beside the layer that adds them to a model, so that its file can be copied alone.
"""

from vaekit.layers.kl_divergence import gaussian_kl, gaussian_kl_terms

__all__ = ["gaussian_kl", "gaussian_kl_terms"]
