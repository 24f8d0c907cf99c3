"""One model on one split: trained, attacked, defended, and measured on real users."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from rvdlib import attacks, metrics, paths
from rvdlib.audit import attacking
from rvdlib.audit.remedies import TRAINS
from rvdlib.audit.subject import OurModel, OwnModel
from rvdlib.data import Split
from rvdlib.defenses.forms import chain_of
from rvdlib.evaluation import Recommender, evaluate
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml
from rvdlib.threat_model import build_threat_model

MOST_USERS = 1000  # whose accuracy is measured; ``FEW`` of them find targets or not
FEW = 300
LONGEST_LIST, LEAST_ITEMS_EACH = 50, 20
# Repetitions of a seed that have seeds of their own; the defender's are further up.
MOST_SEEDS = 900
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
        seed: of what attacks and is trained anew in each repetition.
        yours: item indices that shall be promoted; None: cold and middling ones.
        seconds: what something took last: ``("fit", remedy)``, and (attack, remedy) as a whole.
        users: whose accuracy is measured.
        beaten_by_popularity: whether the most popular items rank better than the model.
    """

    split: Split
    subject: OurModel | OwnModel
    budget: float
    yours: np.ndarray | None
    seed: int
    list_length: int = 0
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    beaten_by_popularity: bool = False

    def __post_init__(self):
        n_users, n_items = self.split.train.shape
        self.list_length = self.list_length or max(
            1, min(LONGEST_LIST, n_items // LEAST_ITEMS_EACH)
        )
        some = stream(0, "users").choice(n_users, min(MOST_USERS, n_users), replace=False)
        self.users = np.sort(some)

    @property
    def few(self) -> np.ndarray:
        """The users who find targets or not."""
        return self.users[:: -(-len(self.users) // FEW)]

    @property
    def n_fakes(self) -> int:
        return int(round(self.budget * self.split.train.shape[0], 9))

    def seed_of(self, repetition: int) -> int:
        """Of targets, fakes and first weights; below 0, the defender's own, the same for every seed."""
        return 1000 * self.seed + repetition if repetition >= 0 else 1000 + repetition

    def targets(self, repetition: int) -> attacking.Targets:
        return attacking.draw(self.split, self.yours, stream(self.seed_of(repetition), "targets"))

    def poisoned(
        self, attack: str, targets: attacking.Targets, repetition: int, known: Mapping | None = None
    ) -> sp.csr_matrix:
        """Training rows with the fakes of an attack below; ``none``: without.

        Args:
            known: the choices of the defence, of which ``vicinity`` knows how it looks for neighbours.

        Raises:
            ValueError: if the attack cannot be made on such data.
        """
        split, seed, items = self.split, self.seed_of(repetition), attacking.all_of(targets)
        if attack == "none":
            return split.train
        size = min(max(1, split.ratings.mean_profile_size), split.train.shape[1] - len(items))
        visible = stream(seed, "visible")
        threat = build_threat_model(
            split, items, visible, attack_size=self.budget, filler_size=size
        )
        preset = read_yaml(paths.PARAMS / "attacks.yml")[self.subject.regime]
        options = dict(preset.get(attack, {}))
        if attack == "vicinity" and known:
            told = {"k", "distance", "hubness_reduction"} & known.keys()
            options |= {each: known[each] for each in told}
            options |= {"copies": min(known["quorum"], threat.n_fakes)} if "quorum" in known else {}
        profiles = attacks.craft(attack, threat, stream(seed, "attack", attack), **options)
        return attacks.poison(split, profiles)

    def fit(
        self, train: sp.csr_matrix, repetition: int, name: str = "none", form: Mapping | None = None
    ) -> Any:
        """The model trained, by the remedy's form where that trains."""
        start = time.perf_counter()
        chain = chain_of(form if form and name in TRAINS else {})
        trained = self.subject.fit(train, self.split, self.seed_of(repetition), chain)
        self.seconds["fit", name] = time.perf_counter() - start
        return trained

    def measure(
        self,
        recommender: Recommender,
        targets: attacking.Targets,
        *,
        few: bool = True,
        validation: bool = False,
    ) -> Measured:
        """On ``few`` users or on many; on test items, or on ``validation`` items, to choose by."""
        split = replace(self.split, test=self.split.validation) if validation else self.split
        users, items = self.few if few else self.users, attacking.all_of(targets)
        found = evaluate(recommender, split, items, k=self.list_length, users=users)
        hits, served = (np.array(each) for each in found.target_counts.values())
        ratios = np.divide(hits, served, out=np.full(len(hits), np.nan), where=served > 0)
        return Measured(
            {s: metrics.mean(ratios[np.isin(found.targets, of)]) for s, of in targets.items()},
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
