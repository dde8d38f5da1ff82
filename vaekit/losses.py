"""Pure functions for losses: nats, summed over every axis but the batch.

``gaussian_kl`` stands beside its layer, so that ``layers/kl_divergence.py`` can be copied alone.
"""

from vaekit.layers.kl_divergence import gaussian_kl

__all__ = ["gaussian_kl"]
