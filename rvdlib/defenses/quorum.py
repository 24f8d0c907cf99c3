"""Quorum: an item is served only if enough of the user's neighbours rated it.

    i is eligible for u   iff   |{v ∈ N_k(u) : v rated i}| ≥ q

The order of what is eligible is that of the scores that are wrapped: a victim's, a closed form's. The
silence of more than k − q neighbours is final. If nobody stands in more than B vicinities
(``max_in_degree``), m fakes and the honest raters R_i of an item make it eligible for at most
(|R_i| + m) B / q users, whatever the geometry: each of these users has q places of raters. All of
this is of ``fill="abstain"``; a list that is filled with fewer votes promises nothing.
"""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from rvdlib.defenses.votes import VicinityVotes, VotesConfig, ordered_by
from rvdlib.eligibility import also_eligible


class QuorumConfig(VotesConfig):
    """The choices. Unknown names are refused."""

    quorum: int = Field(4, ge=1, description="q, neighbours who must have rated an item; at most k")
    fill: Literal["abstain", "votes"] = Field(
        "abstain",
        description="abstain: a list that runs out is shorter; votes: what fewer neighbours rated, "
        "at least one, follows by their number",
    )

    @model_validator(mode="after")
    def _it_can_be_reached(self) -> Self:
        if self.quorum > self.k:
            raise ValueError(f"quorum must be at most k = {self.k}, got {self.quorum}")
        return self


class Quorum(VicinityVotes):
    """A victim, or what another defence serves, of which a user is shown what the quorum allows.

    RMSE judges the scores that are wrapped. With ``fill="votes"`` the scores of what fewer
    neighbours rated are lowered below all others of the user, and predict no stars.
    """

    Config = QuorumConfig
    config: QuorumConfig

    @property
    def predicts_stars(self) -> bool:
        return self.config.fill == "abstain" and getattr(self.victim, "predicts_stars", True)

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items) as they are wrapped; float64 where ``fill`` moves some."""
        scores = self.victim.score(users)
        if self.config.fill == "abstain":
            return scores
        return ordered_by(np.minimum(self.votes(users) - self.config.quorum, 0), scores)

    def eligible(self, users: np.ndarray) -> np.ndarray:
        """(B, items) bool: whether the quorum is reached, and what is wrapped may serve the item."""
        least = self.config.quorum if self.config.fill == "abstain" else 1
        return also_eligible(self.victim, users, self.reached(users, least))
