"""One layer a file; each file stands alone and may be copied as it is."""

from vaekit.layers.kl_divergence import KLDivergence
from vaekit.layers.sampling import Sampling
from vaekit.layers.tied_dense import TiedDense

__all__ = ["KLDivergence", "Sampling", "TiedDense"]
