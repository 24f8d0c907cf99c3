"""The compiled form of iterative RVD: the same scores as the plain form, sooner."""

from rvdlib.defenses.engine.fast import ENCODERS, EncoderParts, FastRVD

__all__ = ["ENCODERS", "EncoderParts", "FastRVD"]
