"""What an attacker who knows a defence tells his attack."""

from collections.abc import Mapping

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.hyperparameters import attack_options

# Choice of a defence → option of an attack by which the attacker knows it.
KNOWABLE = {
    "k": "k",
    "distance": "distance",
    "hubness_reduction": "hubness_reduction",
    "quorum": "copies",
}


def knows(choices: Mapping, attack: str) -> dict:
    """The options of ``attack`` that are choices of the defence."""
    known = {option: choices[name] for name, option in KNOWABLE.items() if name in choices}
    options = ATTACKS[attack].Config.model_fields
    return {option: value for option, value in known.items() if option in options}


def told(regime: str, attack: str, choices: Mapping, options: Mapping | None = None) -> dict:
    """All that the attack is told: of the regime's victims, of the defence, and its own ``options``."""
    return attack_options(regime, attack) | knows(choices, attack) | dict(options or {})
