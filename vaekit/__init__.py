"""From an autoencoder to a variational autoencoder in Keras; taught in ``notebooks/``."""

from vaekit import callbacks, datasets, evaluation, likelihoods, losses
from vaekit.convert import to_vae
from vaekit.layers import KLDivergence, Sampling, TiedDense
from vaekit.models import VAE

__version__ = "0.1.0"
__all__ = [
    "VAE",
    "KLDivergence",
    "Sampling",
    "TiedDense",
    "callbacks",
    "datasets",
    "evaluation",
    "likelihoods",
    "losses",
    "plots",
    "to_vae",
]


def __getattr__(name):
    # Layers and models work without Matplotlib.
    if name == "plots":
        import importlib

        return importlib.import_module("vaekit.plots")
    raise AttributeError(f"module 'vaekit' has no attribute {name!r}")
