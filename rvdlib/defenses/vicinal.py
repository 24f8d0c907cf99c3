"""Real-time Vicinal Defense, as the paper has it (Xu, Wu, Lian 2023, arXiv 2309.17278).

To serve user u: find the k nearest neighbours, fine-tune a private copy of the victim on the
training loss of their rows, recommend with the copy, and let it go. The paper restores the shared
weights instead; a copy per call is the same specification, and safe with threads and interrupts.

The training loss is all of it: the data term, the victim's own unobserved weight ω, its regulariser
and its optimiser (:mod:`rvdlib.models.loss`). So a parameter that no neighbour's row depends on is
not left as it was: where the regulariser counts every parameter, it decays, under Adam by nearly one
learning rate a step. The vicinity forgets what it does not rehearse. Parts of the loss are left out
by name, ``regularizer="none"`` and ``unobserved_weight=0``, and the neighbours by ``neighbors``.

This is the plain form, one user after the other: the reference that faster forms are held to.
"""

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from rvdlib.defenses.vicinal_defense import VicinalDefense, VicinityConfig
from rvdlib.models.base import DECODER, Objective
from rvdlib.models.loss import Loss, Optimizer, Regularizer
from rvdlib.threads import single_thread


class RVDConfig(VicinityConfig):
    """The choices that the paper leaves open. Unknown names are refused."""

    steps: int = Field(20, ge=0, description="of the optimiser, each on the whole vicinity")
    learning_rate: float = Field(0.01, gt=0)
    optimizer: Optimizer | None = Field(
        None, description="None: the victim's own, see rvdlib.models.loss"
    )
    scope: Literal["all", "decoder"] = Field("all", description="parameters that move")
    regularizer: Regularizer = Field(
        "coupled", description="of the victim's own weight; none: the data term alone"
    )
    unobserved_weight: float | None = Field(
        None, ge=0, le=1, description="ω of the vicinal loss; None: the victim's own"
    )
    proximal_weight: float = Field(0.0, ge=0, description="λ, the pull back to the trained victim")


class RVD(VicinalDefense):
    """A victim defended by RVD, as it is trained now: scores like one, and never changes it."""

    Config = RVDConfig
    config: RVDConfig

    @property
    def loss(self) -> Loss:
        """What fine-tuning descends: the victim's own loss, but for what was chosen otherwise."""
        return self.victim.loss.variant(self.config.unobserved_weight, self.config.regularizer)

    @property
    def optimizer(self) -> Optimizer:
        return self.config.optimizer or self.victim.loss.optimizer

    @single_thread()
    def score(self, users: np.ndarray) -> np.ndarray:
        """Defended scores (B, items) in stars, float32."""
        users = self.victim.rows(users)
        scores = [
            self.victim.score_with(self.fine_tune(rows[rows >= 0]), np.array([user]))[0]
            for user, rows in zip(users, self.vicinity(users), strict=True)
        ]
        return np.stack(scores) if scores else self.victim.score(users)

    @single_thread()
    def fine_tune(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """The victim's parameters after fine-tuning a private copy on the ``rows`` of some users.

        Those out of scope are the victim's own tensors: not to be written to.
        """
        return self._descend(np.asarray(rows, dtype=np.int64), max(len(rows), 1))

    @single_thread()
    def decayed(self, n_rows: int | None = None) -> dict[str, torch.Tensor]:
        """The victim's parameters after as many steps down the regulariser alone.

        These steps are those of every number that the rows of a vicinity do not depend on. They
        depend on its trained value, and on no user, but through the length of a vicinity:
        ``n_rows``, by default what was chosen.
        """
        if n_rows is None:
            n_rows = self.config.k * (self.config.neighbors != "none") + self.config.include_user
        return self._descend(np.empty(0, dtype=np.int64), max(n_rows, 1))

    def _descend(self, rows: np.ndarray, n_rows: int) -> dict[str, torch.Tensor]:
        config, loss, trained = self.config, self.loss, self.victim.parameters
        moving = {
            name: value.clone().requires_grad_()
            for name, value in trained.items()
            if name not in self.victim.constants and (config.scope == "all" or name in DECODER)
        }
        parameters = {**trained, **moving}
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.optimizer]
        optimizer = kind(moving.values(), lr=config.learning_rate, fused=True)
        objective: Objective = self.victim.objective(rows, loss)
        shrinking = {}
        if loss.regularizer == "decoupled":
            weights = self.victim.regularizer_weights(rows, loss)
            shrinking = {n: 1 - 2 * config.learning_rate * weights[n] for n in moving}
        for _ in range(config.steps):
            optimizer.zero_grad()
            total = objective(parameters)
            if config.proximal_weight:
                moved = sum(((moving[name] - trained[name]) ** 2).sum() for name in moving)
                total = total + config.proximal_weight / n_rows * moved
            total.backward()
            with torch.no_grad():
                for name, factor in shrinking.items():
                    moving[name].mul_(factor)
            optimizer.step()
        return {name: value.detach() for name, value in parameters.items()}
