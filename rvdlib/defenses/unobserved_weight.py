"""Training with unobserved cells as weak zeros: the rival that matters most.

In the rating regime an item that hardly anybody rated may be predicted to be liked by everybody.
Counting unobserved cells (Hu et al. 2008) in training leaves little of that, before any defence at
inference; what the victim then predicts is no longer a rating.
"""

from typing import Any

from pydantic import Field

from rvdlib.defenses.protocol import Choices, Defense


class UnobservedWeightConfig(Choices):
    """The choices. Unknown names are refused."""

    unobserved_weight: float = Field(0.1, gt=0, le=1, description="ω of the training")
    hyperparameters: dict[str, Any] | None = Field(
        None, description="of the victim, besides ω; None: those that it has"
    )


class UnobservedWeight(Defense):
    """Another victim of the same class, trained with ω in place of the one given."""

    Config = UnobservedWeightConfig

    def fit(self, victim, train, validation, levels, rng):
        chosen = self.config.hyperparameters
        chosen = victim.config.model_dump() if chosen is None else chosen
        chosen = chosen | {"unobserved_weight": self.config.unobserved_weight}
        return type(victim)(**chosen).fit(train, validation, levels, rng)
