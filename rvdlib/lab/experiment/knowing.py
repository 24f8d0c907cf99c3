"""What an attacker who knows a defence tells his attack."""

from collections.abc import Mapping

from rvdlib.attacks import ATTACKS
from rvdlib.defenses.forms import resolved
from rvdlib.lab.experiment.hyperparameters import (
    attack_options,
    earlier_attackers,
    searched_attackers,
)

# Choice of a defence → option of an attack by which the attacker knows it.
KNOWABLE = {
    "k": "k",
    "distance": "distance",
    "hubness_reduction": "hubness_reduction",
    "max_in_degree": "max_in_degree",
    "quorum": "copies",
}


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


def searched(regime: str, against: str, form: Mapping) -> list[tuple[str, dict]]:
    """The attacks of whoever was searched against a defence, and what the scenario says of each.

    The last search's first, then those of earlier ones that do otherwise. ``form``: the defence, of which
    the attack is told. Empty where nobody was searched, as against training with an unobserved weight in the ranking
    regime.
    """
    known = searched_attackers(regime)
    found: dict[str, tuple[str, dict]] = {}
    for each in [known.get(against), *earlier_attackers(regime).get(against, [])]:
        if each:
            attack, size = each["attack"], each["filler_size"]
            options = told(regime, attack, form, each["options"])
            does = f"{attack} {size} {ATTACKS[attack].config(options)}"
            found.setdefault(does, (attack, {"attack_options": options, "filler_size": size}))
    return [*found.values()]


def _about(form: Mapping, attack: str) -> dict:
    if attack == "none" or not ATTACKS[attack].knows_defense:
        return {}
    choices, has = resolved(form), ATTACKS[attack].Config.model_fields
    known = {option: choices[name] for name, option in KNOWABLE.items() if name in choices}
    return {option: value for option, value in known.items() if option in has}
