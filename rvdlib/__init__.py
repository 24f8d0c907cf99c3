"""Real-time Vicinal Defense (RVD) for recommender systems: models, attacks, defences, evaluation."""

from rvdlib.writable import keep_compiled

__version__ = "0.1.0"

keep_compiled()  # before anything imports numba
