"""What an attacker who knows a defence tells his attack."""

from collections.abc import Mapping

from rvdlib.attacks import ATTACKS
from rvdlib.defenses import DEFENSES, defense
from rvdlib.lab.experiment.hyperparameters import attack_options

# Choice of a defence → option of an attack by which the attacker knows it.
KNOWABLE = {
    "k": "k",
    "distance": "distance",
    "hubness_reduction": "hubness_reduction",
    "max_in_degree": "max_in_degree",
    "quorum": "copies",
}


def resolved(form: Mapping) -> dict:
    """All choices of a defence, its defaults among them; of a chain, the later step has the say.

    ``form``: ``method`` and ``choices``, a ``chain`` of these, or nothing.
    """
    steps = form.get("chain", [form] if "method" in form else [])
    found: dict = {}
    for step in steps:
        found |= defense(DEFENSES[step["method"]], **step.get("choices", {})).config.model_dump()
    return found


def has_neighbors(form: Mapping) -> bool:
    """Whether the defence listens to the nearest users."""
    return resolved(form).get("neighbors") == "nearest"


def told(regime: str, attack: str, form: Mapping, options: Mapping | None = None) -> dict:
    """All that the attack is told: of the regime's victims, its own ``options``, and, if it is made
    against such a defence, of this one.

    An option that is None is as the defence has it.
    """
    own = {option: value for option, value in (options or {}).items() if value is not None}
    return attack_options(regime, attack) | _about(form, attack) | own


def _about(form: Mapping, attack: str) -> dict:
    if attack == "none" or not ATTACKS[attack].knows_defense:
        return {}
    choices, has = resolved(form), ATTACKS[attack].Config.model_fields
    known = {option: choices[name] for name, option in KNOWABLE.items() if name in choices}
    return {option: value for option, value in known.items() if option in has}
