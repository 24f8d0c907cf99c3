"""One protocol for every defence: it cleans the data, changes the training, or serves otherwise.

    rows = defense.clean(train, levels, rng)
    trained = defense.fit(victim, rows, validation, levels, rng)
    recommender = defense.wrap(trained)

A defence sees what these three are given and nothing else: training rows with the fakes among them,
in an order that it must not read; never who is fake, how many users are real, what is promoted, or
the test items. Held-out validation items are for early stopping: whose they are is not to be used.
"""

import copy
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict

from rvdlib.data import HeldOut
from rvdlib.evaluation import Recommender
from rvdlib.models.base import Victim


class Choices(BaseModel):
    """What can be chosen of a defence: here nothing. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Defense:
    """A defence that does nothing: each kind overrides what it does.

    Attributes:
        config: the choices, checked.
        wraps_any: whether :meth:`wrap` also takes what another defence serves.
    """

    Config: ClassVar[type[BaseModel]] = Choices
    wraps_any: bool = False

    def __init__(self, **choices):
        self.config = self.Config(**choices)

    def clean(
        self, train: sp.csr_matrix, levels: np.ndarray, rng: np.random.Generator
    ) -> sp.csr_matrix:
        """Before training: the (users, items) CSR stars to train on.

        Same shape, same row numbers; a user who is removed has an empty row.
        """
        return train

    def fit(
        self,
        victim: Victim,
        train: sp.csr_matrix,
        validation: HeldOut,
        levels: np.ndarray,
        rng: np.random.Generator,
    ) -> Victim:
        """In training: the victim, or another one in its place, trained as :meth:`Victim.fit` does."""
        return victim.fit(train, validation, levels, rng)

    def wrap(self, victim: Victim) -> Recommender:
        """At inference: what serves in the trained victim's place, which is never changed."""
        return victim

    @property
    def trains(self) -> bool:
        """Whether it acts before or in training: its victim is not the undefended one."""
        return self.overrides("clean") or self.overrides("fit")

    def overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(Defense, hook)


class Served:
    """A victim served otherwise: subclasses say how they ``score``, or what is ``eligible``.

    Attributes:
        victim: a copy of its own of the victim, or of what another defence serves: were the victim
            fitted again, two trainings would be mixed.
        config: the choices, checked.
    """

    Config: ClassVar[type[BaseModel]] = Choices
    wraps_any: ClassVar[bool] = False

    def __init__(self, victim: Victim, **choices):
        self.victim = copy.copy(victim)
        self.config = self.Config(**choices)

    @property
    def train(self) -> sp.csr_matrix:
        """(users, items) CSR that the victim was trained on; what is stored is rated."""
        return self.victim.train

    def user_factors(self) -> np.ndarray:
        """Latent vectors (users, d) of the victim."""
        return self.victim.user_factors()


class AtInference(Defense):
    """The defence that serves by ``form(victim, **choices)``; ``form``: a :class:`Served`."""

    def __init__(self, form: type[Served], **choices):
        self.form, self.config = form, form.Config(**choices)
        self.wraps_any = form.wraps_any

    def wrap(self, victim):
        return self.form(victim, **self.config.model_dump())


def defense(method: type[Defense] | type[Served], **choices) -> Defense:
    """A defence by its class in ``DEFENSES``, its choices checked (``pydantic.ValidationError``)."""
    if issubclass(method, Defense):
        return method(**choices)
    return AtInference(method, **choices)


class Chain(Defense):
    """Several defences, one after the other; without any, no defence.

    Raises:
        ValueError: if two of them train the victim, or one that serves a victim comes after
            another that does.
    """

    def __init__(self, *defenses: Defense):
        inner = (each.defenses if isinstance(each, Chain) else (each,) for each in defenses)
        self.defenses: tuple[Defense, ...] = tuple(each for some in inner for each in some)
        defenses = self.defenses
        trainers = [each for each in defenses if each.overrides("fit")]
        if len(trainers) > 1:
            raise ValueError(
                "one defence of a chain can train the victim, "
                f"got {' and '.join(map(_name, trainers))}"
            )
        for late in [each for each in defenses if each.overrides("wrap")][1:]:
            if not late.wraps_any:
                raise ValueError(
                    f"{_name(late)} serves a trained victim, not what another defence serves: of "
                    "those that act at inference, let it be the first"
                )
        self._trainer = trainers[0] if trainers else Defense()

    def clean(self, train, levels, rng):
        for each in self.defenses:
            train = each.clean(train, levels, rng)
        return train

    def fit(self, victim, train, validation, levels, rng):
        return self._trainer.fit(victim, train, validation, levels, rng)

    def wrap(self, victim):
        for each in self.defenses:
            victim = each.wrap(victim)
        return victim

    @property
    def trains(self):
        return any(each.trains for each in self.defenses)


def _name(each: Defense) -> str:
    return each.form.__name__ if isinstance(each, AtInference) else type(each).__name__
