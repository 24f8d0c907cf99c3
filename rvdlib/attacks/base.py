"""What an attack is: how it crafts fakes, its options, and what tables and help say of it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, ValidationError

from rvdlib.arguments import did_you_mean
from rvdlib.attacks.history import History
from rvdlib.threat_model import ThreatModel


class AttackConfig(BaseModel):
    """An attack's options, with their defaults and bounds. Types are strict, NaN is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Attack:
    """An attack, all that is known of it.

    Attributes:
        name: in code, parameters and files.
        label: in tables and figures.
        summary: its recipe, in a sentence or two.
        function: (threat model, random generator, config) → (m, items) CSR of stars; of one that
            optimises, with a :class:`~rvdlib.attacks.history.History` as the fourth argument.
        Config: its options.
        optimises: whether it takes steps towards an objective, which it records; a heuristic
            does not.
        knows_defense: whether it is made against a kind of defence, whether or not it can be told that one's choices.
    """

    name: str
    label: str
    summary: str
    function: Callable[..., sp.csr_matrix]
    Config: type[AttackConfig] = AttackConfig
    optimises: bool = False
    knows_defense: bool = False

    def craft(
        self,
        threat: ThreatModel,
        rng: np.random.Generator,
        /,
        *,
        history: History | None = None,
        **options: Any,
    ) -> sp.csr_matrix:
        """Profiles (m, items); ``history`` gets the objective of an attack that optimises.

        Raises:
            ValueError: for an unknown option, a missing one, or one out of its range.
        """
        config = self.config(options)
        watched = [history or History()] if self.optimises else []
        return self.function(threat, rng, config, *watched)

    def config(self, options: Mapping[str, Any]) -> AttackConfig:
        """The options, checked.

        Raises:
            ValueError: as :meth:`craft`; the message names the option and what it must be.
        """
        plain = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in options.items()
        }
        try:
            return self.Config(**plain)
        except ValidationError as error:
            raise ValueError(self._refusal(error)) from None

    def _refusal(self, error: ValidationError) -> str:
        first, known = error.errors()[0], list(self.Config.model_fields)
        option, kind, bound = first["loc"][0], first["type"], first.get("ctx", {})
        if kind == "extra_forbidden":
            has = f"its options are {', '.join(known)}" if known else "it takes none"
            near = did_you_mean(option, known)
            return f"attack {self.name!r} has no option {option!r}, {has}{near}"
        if kind == "missing":
            return f"attack {self.name!r} needs the option {option!r}"
        choices = re.findall("'(.*?)'", bound.get("expected", ""))
        near = did_you_mean(first["input"], choices)
        expected = {
            "int_type": "a whole number",
            "float_type": "a number",
            "bool_type": "true or false",
            "finite_number": "finite",
            "greater_than_equal": f"at least {bound.get('ge', 0):g}",
            "greater_than": f"above {bound.get('gt', 0):g}",
            "less_than_equal": f"at most {bound.get('le', 0):g}",
            "literal_error": f"one of {', '.join(choices)}",
        }[kind]
        return f"{option} must be {expected}, got {first['input']!r}{near}"


def attack(
    label: str, summary: str, Config: type[AttackConfig] = AttackConfig, **traits: bool
) -> Callable[[Callable[..., sp.csr_matrix]], Attack]:
    """A decorator: the function of an attack becomes the :class:`Attack` of its name."""
    return lambda function: Attack(function.__name__, label, summary, function, Config, **traits)
