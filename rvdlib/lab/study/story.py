"""One user's story: the list before the attack, under it, and under RVD; and the neighbours."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from rvdlib.evaluation import Recommender
from rvdlib.lab.experiment.cells import Attacked, Cell, Scenario, carry_out
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.metrics import top_k
from rvdlib.models import Victim
from rvdlib.neighbors import NeighborSearch
from rvdlib.threads import single_thread

LIST_LENGTH = 10


@dataclass(frozen=True, eq=False)
class Story:
    """A victim before and under an attack, and the user in whom the attack succeeds.

    Attributes:
        user: row of the first real user whose ten first items hold a target only since the attack,
            and the most targets among those.
    """

    scenario: Scenario
    clean: Attacked
    attacked: Attacked
    user: int

    def lists(self) -> pd.DataFrame:
        """The user's ten first items: not attacked, attacked, and under each chosen defence.

        ▲ marks a target; in brackets, an item's number of real training ratings.
        """
        victim, scenario = self.attacked.victim, self.scenario
        recommenders = {"not attacked": self.clean.victim, "attacked": victim}
        of = scenario.regime, scenario.victim, scenario.dataset
        for name, form in chosen_defenses(*of).items():
            cell = Cell(scenario=scenario, **form)
            trained = carry_out(scenario, cell.training).victim if cell.training else victim
            recommenders[name] = cell.defended_by().wrap(trained)
        user, ranks = np.array([self.user]), pd.RangeIndex(1, LIST_LENGTH + 1, name="rank")
        lists = {name: _top(each, self.clean, user)[0] for name, each in recommenders.items()}
        return pd.DataFrame({name: self._named(items) for name, items in lists.items()}, ranks)

    def map(self, k: int) -> pd.DataFrame:
        """:func:`plane` of everybody, one row a user.

        Kind is ``user``, ``fake``, ``neighbour`` or ``fake neighbour`` (of the k), or ``served``.
        """
        victim = self.attacked.victim
        people = plane(victim, self.clean.split.train.shape[0])
        nearest = NeighborSearch(victim.user_factors(), k)(np.array([self.user]))[0]
        fake = people["kind"] == "fake"
        people.loc[nearest, "kind"] = np.where(fake[nearest], "fake neighbour", "neighbour")
        people.loc[self.user, "kind"] = "served"
        return people

    def _named(self, items: np.ndarray) -> list[str]:
        split = self.clean.split
        ids = split.ratings.item_ids[items]
        counts = np.bincount(split.train.indices, minlength=split.train.shape[1])[items]
        marks = np.where(np.isin(items, self.attacked.targets), "▲ ", "")
        return [f"{m}item {i} ({n})" for m, i, n in zip(marks, ids, counts, strict=True)]


def plane(victim: Victim, n_real: int) -> pd.DataFrame:
    """Everybody's latent vector on a plane (t-SNE): x, y and kind, ``user`` or ``fake``.

    ``radius``, a vector's distance from the mean of all, tells whether the victim is the same. The
    same victim has another map on another processor, for t-SNE makes much of the least difference.
    """
    factors = victim.user_factors()
    with single_thread():
        xy = TSNE(init="pca", perplexity=30, random_state=0).fit_transform(factors)
    kind = np.where(np.arange(len(xy)) < n_real, "user", "fake").astype(object)
    radius = np.linalg.norm(factors - factors.mean(axis=0), axis=1)
    x, y = xy.T.astype(float).round(1)
    return pd.DataFrame({"x": x, "y": y, "kind": kind, "radius": radius})


def reading(people: pd.DataFrame) -> str:
    """What the map of :meth:`Story.map` shows of the user's neighbours."""
    fake, real = ((people["kind"] == kind).sum() for kind in ("fake neighbour", "neighbour"))
    return (
        "Two dimensions show little of who is near to whom, and 06 counts how many fakes lie beside fakes "
        f"(C7); {fake} of this user's {fake + real} nearest neighbours are fake (C8, for one user)."
    )


def tell(scenario: Scenario) -> Story:
    """Carry out a scenario with and without its attack, and find the user to tell of.

    Raises:
        ValueError: if the attack brings no target into anybody's first ten.
    """
    with single_thread():
        clean = carry_out(scenario.model_copy(update={"attack": "none"}))
        attacked = carry_out(scenario)
        everyone = np.arange(clean.split.train.shape[0])
        before = np.isin(_top(clean.victim, clean, everyone), attacked.targets).sum(axis=1)
        after = np.isin(_top(attacked.victim, clean, everyone), attacked.targets).sum(axis=1)
    gained = np.where(before == 0, after, 0)
    if not gained.any():
        raise ValueError("the attack brings no target into anybody's first ten: choose another")
    return Story(scenario, clean, attacked, int(gained.argmax()))


def _top(recommender: Recommender, clean: Attacked, users: np.ndarray) -> np.ndarray:
    return top_k(recommender.score(users), clean.split.train[users], LIST_LENGTH)
