"""The victims: four recommenders with a linear decoder, each in two training regimes."""

from rvdlib.models.autorec import AutoRec
from rvdlib.models.base import Victim
from rvdlib.models.cdae import CDAE
from rvdlib.models.mf import MF
from rvdlib.models.nsvd import NSVD

VICTIMS: dict[str, type[Victim]] = {cls.name: cls for cls in (MF, NSVD, AutoRec, CDAE)}

__all__ = ["CDAE", "MF", "NSVD", "VICTIMS", "AutoRec", "Victim"]
