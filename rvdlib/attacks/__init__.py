"""Attacks: fake users that promote target items. One family a file, one registry."""

from rvdlib.attacks.registry import ATTACKS, Attack, craft, poison

__all__ = ["ATTACKS", "Attack", "craft", "poison"]
