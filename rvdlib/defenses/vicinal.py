"""Real-time Vicinal Defense, as the paper has it (Xu, Wu, Lian 2023, arXiv 2309.17278).

To serve user u: find the k nearest neighbours, fine-tune a private copy of the victim on the
training loss of their rows, recommend with the copy, and let it go. The paper restores the shared
weights instead; a copy per call is the same specification, and safe with threads and interrupts.

This is the plain form, one user after the other: the reference that faster forms are held to.
"""

import itertools
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from rvdlib.defenses.vicinal_defense import VicinalDefense, VicinityConfig
from rvdlib.models.base import DECODER, Objective
from rvdlib.seeding import stream
from rvdlib.threads import single_thread


class RVDConfig(VicinityConfig):
    """The choices that the paper leaves open. Unknown names are refused."""

    steps: int = Field(20, ge=0, description="of the optimiser; a full batch makes a step an epoch")
    learning_rate: float = Field(0.01, gt=0)
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    batch_size: int | None = Field(None, ge=1, description="rows in a step; None: all of them")
    scope: Literal["all", "decoder", "encoder"] = Field("all", description="parameters that move")
    unobserved_weight: float = Field(
        0.0, ge=0, le=1, description="ω of the vicinal loss; 0 is the paper's"
    )
    proximal_weight: float = Field(0.0, ge=0, description="λ, the pull back to the trained victim")
    seed: int = Field(0, ge=0, description="of the mini-batches")

    @model_validator(mode="after")
    def _momentum_is_sgds(self) -> Self:
        if self.momentum and self.optimizer != "sgd":
            raise ValueError("momentum is a choice of sgd: adam has its own")
        return self


class RVD(VicinalDefense):
    """A victim defended by RVD, as it is trained now: scores like one, and never changes it."""

    Config = RVDConfig

    @single_thread()
    def score(self, users: np.ndarray) -> np.ndarray:
        """Defended scores (B, items) in stars, float32."""
        users = self.victim.rows(users)
        vicinities = self.vicinity(users)
        scores = [self._score_one(u, rows) for u, rows in zip(users, vicinities, strict=True)]
        return np.stack(scores) if scores else self.victim.score(users)

    @single_thread()
    def fine_tune(self, user: int, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """The victim's parameters after fine-tuning a private copy on ``rows``.

        Those out of scope are the victim's own tensors: not to be written to.
        """
        config, trained = self.config, self.victim.parameters
        (user,) = self.victim.rows([user])
        moving = {
            name: value.clone().requires_grad_()
            for name, value in trained.items()
            if config.scope == "all" or (name in DECODER) == (config.scope == "decoder")
        }
        parameters = {**trained, **moving}
        if config.optimizer == "adam":
            optimizer = torch.optim.Adam(moving.values(), lr=config.learning_rate, fused=True)
        else:
            optimizer = torch.optim.SGD(
                moving.values(), lr=config.learning_rate, momentum=config.momentum, fused=True
            )
        for objective in self._objectives(user, rows):
            optimizer.zero_grad()
            loss = objective(parameters)
            if config.proximal_weight:
                moved = sum(((moving[name] - trained[name]) ** 2).sum() for name in moving)
                loss = loss + config.proximal_weight / len(rows) * moved
            loss.backward()
            optimizer.step()
        return {name: value.detach() for name, value in parameters.items()}

    def _score_one(self, user: int, rows: np.ndarray) -> np.ndarray:
        return self.victim.score_with(self.fine_tune(user, rows), np.array([user]))[0]

    def _objectives(self, user: int, rows: np.ndarray) -> Iterator[Objective]:
        """What each step descends: all the rows, or shuffled mini-batches, epoch after epoch."""
        size = self.config.batch_size or len(rows)
        if size >= len(rows):
            objective = self.victim.objective(rows, self.config.unobserved_weight)
            yield from itertools.repeat(objective, self.config.steps)
            return
        rng = stream(self.config.seed, "vicinal", int(user))
        epochs = (rng.permutation(rows) for _ in itertools.count())
        batches = (e[start : start + size] for e in epochs for start in range(0, len(e), size))
        for batch in itertools.islice(batches, self.config.steps):
            yield self.victim.objective(batch, self.config.unobserved_weight)
