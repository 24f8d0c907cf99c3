"""Attacks: fake users that promote target items. One family a file, one registry."""

from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.attacks.registry import ATTACKS, Attack, craft, poison

__all__ = ["ATTACKS", "Attack", "FrozenPoison", "craft", "poison"]
