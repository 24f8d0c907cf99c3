"""``--profile``: what there is none of is refused before anything is imported for it."""

import subprocess
import sys

import pytest

from rvdlib.lab.experiment import committed
from rvdlib.lab.profiles import COMMITTED, PROFILES
from rvdlib.lab.runner import plan


def test_the_profiles_are_those_of_the_study():
    assert PROFILES == plan.PROFILES
    assert {*COMMITTED} == {*committed.COMMITTED}


@pytest.mark.parametrize(
    ("command", "profile", "known"),
    [
        ("plan", "nope", PROFILES),
        ("study", "nope", PROFILES),
        ("verify", "nope", COMMITTED),
        ("verify", "tiny", COMMITTED),
    ],
)
def test_a_profile_that_there_is_none_of_is_refused_at_once(command, profile, known):
    code = f"""
import sys
from rvdlib.cli import main
try:
    main(["{command}", "--profile", "{profile}"])
finally:
    assert not {{"torch", "numpy", "scipy", "joblib"}} & set(sys.modules)
"""
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert refused.returncode == 2
    said = f"'{profile}' is not one of {', '.join(map(repr, known))}."
    assert said in refused.stderr
