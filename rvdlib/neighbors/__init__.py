"""Neighbours of users: who is near to whom, and who is near to very many."""

from rvdlib.neighbors.hubs import MUTUAL_REACH, hubness_skewness, k_occurrence
from rvdlib.neighbors.search import DISTANCES, HUBNESS_REDUCTIONS, NeighborSearch

__all__ = [
    "DISTANCES",
    "HUBNESS_REDUCTIONS",
    "MUTUAL_REACH",
    "NeighborSearch",
    "hubness_skewness",
    "k_occurrence",
]
