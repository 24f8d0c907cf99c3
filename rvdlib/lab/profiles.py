"""The sizes of the study, ``params/<profile>.yml``, by name."""

PROFILES = ("tiny", "quick", "paper")
COMMITTED = ("paper", "quick")  # whose finished rows are in the repository, the larger first
