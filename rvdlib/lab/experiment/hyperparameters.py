"""What was chosen, read from ``params/``: for the victims, the attacks and the defences."""

import functools
from pathlib import Path

from rvdlib import paths
from rvdlib.strict_yaml import read_yaml

VICTIMS_FILE = paths.PARAMS / "victims.yml"
ATTACKS_FILE = paths.PARAMS / "attacks.yml"
DEFENSES_FILE = paths.PARAMS / "defenses.yml"


def victim_hyperparameters(dataset: str, regime: str, victim: str) -> dict:
    """The chosen hyper-parameters of a victim; where a data set has none for it, ML-100K's.

    Raises:
        KeyError: for an unknown regime or victim.
    """
    chosen = _read(VICTIMS_FILE)
    own = chosen.get(dataset, {}).get(regime, {})
    return dict(own[victim] if victim in own else chosen["ml-100k"][regime][victim])


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
