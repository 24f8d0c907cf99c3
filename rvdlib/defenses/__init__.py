"""Defences: each wraps a trained victim and scores like one."""

from rvdlib.defenses.any_model.checks import CheckResult, check_defender
from rvdlib.defenses.any_model.functional import FunctionalRVD, FunctionalRVDConfig
from rvdlib.defenses.any_model.victim_module import VictimModule
from rvdlib.defenses.closed_form import ClosedFormConfig, ClosedFormRVD
from rvdlib.defenses.engine import FastRVD
from rvdlib.defenses.regression import VicinalRegression
from rvdlib.defenses.vicinal import RVD, RVDConfig

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
