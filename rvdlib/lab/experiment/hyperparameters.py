"""What was chosen, read from ``params/``: for the victims, the attacks and the defences."""

import functools
from pathlib import Path

from rvdlib import paths
from rvdlib.strict_yaml import read_yaml

VICTIMS_FILE = paths.PARAMS / "victims.yml"
ATTACKS_FILE = paths.PARAMS / "attacks.yml"
DEFENSES_FILE = paths.PARAMS / "defenses.yml"
DEMANDS_FILE = paths.PARAMS / "good_victims.yml"


def victim_hyperparameters(dataset: str, regime: str, victim: str) -> dict:
    """The chosen hyper-parameters of a victim; a data set without any takes ML-100K's.

    Raises:
        KeyError: for an unknown regime or victim.
    """
    chosen = _read(VICTIMS_FILE)
    return dict(chosen.get(dataset, chosen["ml-100k"])[regime][victim])


def may_be_beaten(dataset: str, regime: str, victim: str) -> bool:
    """Whether tables may stand on a victim that biases (rating regime) or popularity beat.

    Of a data set without chosen hyper-parameters the study promises nothing.
    """
    if dataset not in _read(VICTIMS_FILE):
        return True
    return victim in _read(DEMANDS_FILE)["may_be_beaten"].get(dataset, {}).get(regime, [])


def attack_options(regime: str, attack: str) -> dict:
    """What an attack is told about victims of this regime, where its own defaults do not fit."""
    return dict(_read(ATTACKS_FILE)[regime].get(attack, {}))


def chosen_defenses(regime: str, victim: str, plain: bool = False) -> dict[str, dict]:
    """Form of RVD → its ``method`` and ``choices``, as :mod:`rvdlib.lab.tuning.defense_search` found them.

    ``plain`` takes the plain form in place of the compiled engine, which gives the same scores.
    """
    forms = _read(DEFENSES_FILE)[regime][victim]
    if not plain:
        return forms
    slow = {"fast_rvd": "rvd"}
    return {
        name: form | {"method": slow.get(form["method"], form["method"])}
        for name, form in forms.items()
    }


@functools.cache
def _read(file: Path) -> dict:
    return read_yaml(file)
