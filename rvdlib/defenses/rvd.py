"""RVD as a defence: fine-tuning on the vicinity, computed by whatever form serves the victim."""

from pydantic import Field

from rvdlib.defenses.engine import ENCODERS, FastRVD
from rvdlib.defenses.protocol import Defense
from rvdlib.defenses.vicinal import RVD, RVDConfig


class FineTuningConfig(RVDConfig):
    """RVD's choices, and how it is computed."""

    plain: bool = Field(False, description="by the plain loop, also where the engine would serve")


class FineTuning(Defense):
    """RVD by the compiled engine, or by the plain loop for a victim that the engine does not know.

    Both have the same scores.
    """

    Config = FineTuningConfig

    def wrap(self, victim):
        plain = self.config.plain or type(victim) not in ENCODERS
        form = RVD if plain else FastRVD
        return form(victim, **self.config.model_dump(exclude={"plain"}))
