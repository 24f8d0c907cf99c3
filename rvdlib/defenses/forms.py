"""A form: a defence as params and files of ``rvd tune`` have it.

``{method, choices}``, or ``{chain: [{method, choices}, …]}``, or nothing; methods as in ``DEFENSES``.
"""

from collections.abc import Mapping
from typing import Any

from rvdlib.defenses import DEFENSES
from rvdlib.defenses.protocol import Chain, Defense, defense


def steps_of(form: Mapping) -> list[Defense]:
    """The defences of a form, in the order in which they are applied; of an empty one, none."""
    steps = form.get("chain", [form] if "method" in form else [])
    return [defense(DEFENSES[step["method"]], **step.get("choices", {})) for step in steps]


def chain_of(form: Mapping) -> Chain:
    """The defences of a form as one."""
    return Chain(*steps_of(form))


def resolved(form: Mapping) -> dict[str, Any]:
    """All choices of a form, its defaults among them; of a chain, the later step has the say."""
    found: dict[str, Any] = {}
    for step in steps_of(form):
        found |= step.config.model_dump()
    return found
