"""Defences: each wraps a trained victim and scores like one."""

from rvdlib.defenses.checks import CheckResult, check_defender
from rvdlib.defenses.closed_form import ClosedFormConfig, ClosedFormRVD
from rvdlib.defenses.engine import FastRVD
from rvdlib.defenses.functional import FunctionalRVD, FunctionalRVDConfig
from rvdlib.defenses.vicinal import RVD, RVDConfig
from rvdlib.defenses.vicinal_regression import VicinalRegression
from rvdlib.defenses.victim_module import VictimModule

# By the names that params and tables use.
DEFENSES = {"rvd": RVD, "fast_rvd": FastRVD, "closed_form_rvd": ClosedFormRVD}

__all__ = [
    "DEFENSES",
    "RVD",
    "CheckResult",
    "ClosedFormConfig",
    "ClosedFormRVD",
    "FastRVD",
    "FunctionalRVD",
    "FunctionalRVDConfig",
    "RVDConfig",
    "VicinalRegression",
    "VictimModule",
    "check_defender",
]
