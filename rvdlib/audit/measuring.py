"""One model on one split: trained, attacked, defended, and measured on real users."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy.sparse as sp

from rvdlib import attacks, metrics
from rvdlib.audit import attacking
from rvdlib.audit.attacking import Targets
from rvdlib.audit.remedies import TRAINS
from rvdlib.audit.subject import OurModel, OwnModel
from rvdlib.data import Split
from rvdlib.defenses import Chain
from rvdlib.defenses.forms import chain_of
from rvdlib.evaluation import Recommender, evaluate
from rvdlib.seeding import stream

MOST_USERS = 1000  # whose accuracy is measured; ``FEW`` of them find targets or not
FEW = 300
NO_FORM: Mapping = MappingProxyType({})
LONGEST_LIST, LEAST_ITEMS_EACH = 50, 20
_TIMED_USERS = 64


@dataclass(frozen=True, eq=False)
class Measured:
    """One recommender under one attack.

    Attributes:
        thr: set of targets → target hit ratio, a mean over its targets.
        hits, gains: (U,) of the test item, NaN for a user without one.
        coverage: share of the catalogue that stands in anybody's list; ``list_length``: mean.
    """

    thr: dict[str, float]
    hits: np.ndarray
    gains: np.ndarray
    coverage: float
    list_length: float


@dataclass(eq=False)
class Bench:
    """What an audit measures on: the split, the model, the budget, and whom it asks.

    Attributes:
        budget: fakes per real user.
        yours: item indices that shall be promoted; None: cold and middling ones.
        seed: of all that is drawn.
        fit_seconds: of the last training, by remedy; ``cell_seconds``: of a remedy under one attack.
    """

    split: Split
    subject: OurModel | OwnModel
    budget: float
    yours: np.ndarray | None
    seed: int
    list_length: int = 0
    users: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    fit_seconds: dict[str, float] = field(default_factory=dict)
    cell_seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        n_users, n_items = self.split.train.shape
        self.list_length = self.list_length or max(
            1, min(LONGEST_LIST, n_items // LEAST_ITEMS_EACH)
        )
        users = np.arange(n_users)
        if n_users > MOST_USERS:
            users = np.sort(stream(self.seed, "users").choice(n_users, MOST_USERS, replace=False))
        self.users = users

    @property
    def n_fakes(self) -> int:
        return int(round(self.budget * self.split.train.shape[0], 9))

    def seed_of(self, repetition: int) -> int:
        """Of targets, fakes and first weights; the defender's own repetitions are below 0."""
        return 1000 * self.seed + (repetition if repetition >= 0 else 1000 + repetition)

    def targets(self, repetition: int) -> Targets:
        return attacking.draw(self.split, self.yours, stream(self.seed_of(repetition), "targets"))

    def poisoned(
        self, attack: str, targets: Targets, repetition: int, known: dict
    ) -> sp.csr_matrix:
        """Training rows with the fakes of an attack below; ``none``: without."""
        if attack == "none":
            return self.split.train
        profiles = attacking.fakes(
            attack,
            self.split,
            targets,
            self.seed_of(repetition),
            budget=self.budget,
            regime=self.subject.regime,
            known=known,
        )
        return attacks.poison(self.split, profiles)

    def fit(
        self, train: sp.csr_matrix, repetition: int, name: str = "none", form: Mapping = NO_FORM
    ) -> Any:
        """The model trained, by the remedy's form where that trains; its time is kept."""
        start = time.perf_counter()
        chain = chain_of(form) if name in TRAINS else Chain()
        trained = self.subject.fit(train, self.split, self.seed_of(repetition), chain)
        self.fit_seconds[name] = time.perf_counter() - start
        return trained

    def measure(
        self,
        recommender: Recommender,
        targets: Targets,
        *,
        few: bool = True,
        validation: bool = False,
    ) -> Measured:
        """On ``few`` users or on many; on test items, or on ``validation`` items, to choose by."""
        split = replace(self.split, test=self.split.validation) if validation else self.split
        users = self.users[:: -(-len(self.users) // FEW)] if few else self.users
        found = evaluate(recommender, split, targets.items, k=self.list_length, users=users)
        hits, served = (np.array(each) for each in found.target_counts.values())
        ratios = np.divide(hits, served, out=np.full(len(hits), np.nan), where=served > 0)
        return Measured(
            {
                name: metrics.mean(ratios[those])
                for name, those in targets.of(found.targets).items()
            },
            metrics.hits(found.test_ranks, self.list_length),
            metrics.gains(found.test_ranks, self.list_length),
            found.catalogue_share,
            found.list_length,
        )

    def milliseconds(self, recommender: Recommender) -> float:
        """Wall time of serving one user, of a few dozen served at once."""
        users = self.users[:_TIMED_USERS]
        start = time.perf_counter()
        recommender.score(users)
        if hasattr(recommender, "eligible"):
            recommender.eligible(users)
        return 1000 * (time.perf_counter() - start) / len(users)
