"""Defences: each wraps a trained victim and scores like one."""

from rvdlib.defenses.closed_form import ClosedFormConfig, ClosedFormRVD
from rvdlib.defenses.engine import FastRVD
from rvdlib.defenses.vicinal import RVD, RVDConfig
from rvdlib.defenses.vicinal_regression import VicinalRegression

# By the names that params and tables use.
DEFENSES = {"rvd": RVD, "fast_rvd": FastRVD, "closed_form_rvd": ClosedFormRVD}

__all__ = [
    "DEFENSES",
    "RVD",
    "ClosedFormConfig",
    "ClosedFormRVD",
    "FastRVD",
    "RVDConfig",
    "VicinalRegression",
]
