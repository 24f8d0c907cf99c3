"""Real-time Vicinal Defense (RVD) for recommender systems: models, attacks, defences, evaluation."""

__version__ = "0.1.0"
