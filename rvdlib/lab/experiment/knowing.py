"""What an attacker who knows a defence tells his attack."""

from collections.abc import Mapping

from rvdlib.attacks import ATTACKS
from rvdlib.defenses import DEFENSES, defense
from rvdlib.lab.experiment.hyperparameters import attack_options

# Choice of a defence → option of an attack by which the attacker knows it. No attack here can be told
# of ``max_in_degree``: its surrogate's vicinities have no limit.
KNOWABLE = {
    "k": "k",
    "distance": "distance",
    "hubness_reduction": "hubness_reduction",
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


def by_neighbors(form: Mapping) -> bool:
    """Whether the defence listens to the nearest users."""
    return resolved(form).get("neighbors") == "nearest"


def told(regime: str, attack: str, form: Mapping, options: Mapping | None = None) -> dict:
    """All that the attack is told: of the regime's victims, of the defence, and its own ``options``.

    An option that is None is as the defence has it.
    """
    if attack == "none":
        return {}
    choices = resolved(form)
    known = {option: choices[name] for name, option in KNOWABLE.items() if name in choices}
    has = ATTACKS[attack].Config.model_fields
    own = {option: value for option, value in (options or {}).items() if value is not None}
    about = {option: value for option, value in known.items() if option in has}
    return attack_options(regime, attack) | about | own
