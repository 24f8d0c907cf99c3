"""The victims: recommenders with a linear decoder, each in two training regimes.

``PlainMF`` and ``PlainNSVD`` are MF and NSVD as the paper's group has them, without what a good
recommender adds.
"""

from rvdlib.models.autorec import AutoRec
from rvdlib.models.base import Victim
from rvdlib.models.cdae import CDAE
from rvdlib.models.loss import Loss
from rvdlib.models.mf import MF
from rvdlib.models.nsvd import NSVD
from rvdlib.models.plain_mf import PlainMF
from rvdlib.models.plain_nsvd import PlainNSVD

VICTIMS: dict[str, type[Victim]] = {
    cls.name: cls for cls in (MF, NSVD, AutoRec, CDAE, PlainMF, PlainNSVD)
}

__all__ = [
    "CDAE",
    "MF",
    "NSVD",
    "VICTIMS",
    "AutoRec",
    "Loss",
    "PlainMF",
    "PlainNSVD",
    "Victim",
]
