"""Checks of a model that is to be defended; one module a group of them, all in the registry."""

from rvdlib.defenses.any_model.checks.registry import CheckResult, check_defender

__all__ = ["CheckResult", "check_defender"]
