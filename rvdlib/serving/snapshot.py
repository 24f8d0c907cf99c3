"""One version of all that serves: a state, and the defence made ready on it. Nobody writes to it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from rvdlib import metrics
from rvdlib.defenses import Blending, ClosedFormRVD, Count, FineTuning, Quorum
from rvdlib.defenses.vicinal_defense import Search, VicinalDefense
from rvdlib.eligibility import eligible_items
from rvdlib.evaluation import Recommender
from rvdlib.seeding import stream
from rvdlib.serving import forms
from rvdlib.serving.approximate import ApproximateSearch, Graph, check_can_be_approximate
from rvdlib.serving.arrays import Arrays
from rvdlib.serving.cache import Cache
from rvdlib.serving.change import Change
from rvdlib.serving.errors import TooFewUsers, UnusableForm, UnusableModel
from rvdlib.serving.matching import following
from rvdlib.serving.state import State
from rvdlib.threads import single_thread

# Of these, a list depends on the user and the vicinity alone.
LOCAL = (Blending, ClosedFormRVD, Count, Quorum)
LOOKED_AT, TOLERATED = (
    200,
    0.05,
)  # users who are asked for their lists' lengths; share of empty ones
FOUND_BEFOREHAND = 2**13  # users: of up to so many, everybody's neighbours; half a second of work
Graphs = dict[str, Graph]  # by distance
Listed = tuple[np.ndarray, np.ndarray]  # columns, scores


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a request is answered from, from its beginning to its end.

    Attributes:
        serving: the form, wrapped around the model.
        undefended: the model itself.
        layers: of what serves, those that have neighbours, the outermost first.
        searches: theirs, None for those that are made anew with each version.
        since: what may be kept → (users,) the version from which on it stands.
    """

    version: int
    state: State
    serving: Recommender
    undefended: Recommender
    layers: list
    searches: list
    since: dict[Any, np.ndarray]

    def key(self, kind: Any, row: int) -> tuple:
        """What is kept of a row under the cache: as long as it stands, the same."""
        return kind, self.state.id_of(row), int(self.since[kind][row])

    def best(self, recommender: Recommender, row: int, n: int) -> Listed:
        """The first n unseen items of a row, and their scores.

        A user is scored alone: products of another shape round otherwise, and a list must not
        depend on who else is asked for.

        Raises:
            UnusableModel: if a score is NaN, or a listed one infinite.
        """
        users = np.array([row])
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
                scores = np.asarray(recommender.score(users))
            eligible = eligible_items(recommender, users, scores.shape)
            items = metrics.top_k(scores, _seen(self.state.arrays.train, row), n, eligible)[0]
        except ValueError as error:
            raise UnusableModel(f"{type(recommender).__name__} cannot serve: {error}") from error
        items = items[items >= 0]
        if not np.isfinite(scores[0, items]).all():
            raise UnusableModel(f"{type(recommender).__name__} cannot serve: scores are not finite")
        return items, scores[0, items]

    def popular(self, n: int, row: int | None = None) -> Listed:
        """The n items with the most ratings, without those that a row has seen."""
        train = self.state.arrays.train
        counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float64)
        counts[train[row].indices if row is not None else []] = -1
        items = np.argsort(-counts, kind="stable")[:n]
        items = items[counts[items] >= 0]
        return items, counts[items]

    def warn_of_empty_lists(self) -> None:
        """One UserWarning with the remedy, if more than a share of ``TOLERATED`` is empty.

        That is what a quorum does that was chosen for denser ratings. Looked at are ``LOOKED_AT`` users,
        drawn alike each time.
        """
        if not hasattr(self.serving, "eligible"):  # whoever has none abstains from nothing
            return
        n_users, n_items = self.state.arrays.train.shape
        drawn = stream(0, "lengths").choice(n_users, min(n_users, LOOKED_AT), replace=False)
        empty = []
        for row in drawn:
            eligible = eligible_items(self.serving, np.array([row]), (1, n_items))
            free = np.ones(n_items, bool) if eligible is None else eligible[0].copy()
            free[_seen(self.state.arrays.train, row).indices] = False
            empty.append(not free.any())
        if (share := np.mean(empty)) > TOLERATED:
            warnings.warn(
                f"about {share:.0%} of users get an empty list: too few of their neighbours rated the "
                "same items for this defence to serve any; choose one for these ratings (`rvd tune`), "
                "serve another form, or ask for lists with a fallback",
                stacklevel=1,
            )


class _Row(NamedTuple):
    """One row of a CSR matrix, as far as lists ask; to slice a matrix takes as long as to score."""

    format: str
    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray


def _seen(train: sp.csr_matrix, row: int) -> Any:
    indices = train.indices[train.indptr[row] : train.indptr[row + 1]]
    return _Row("csr", (1, train.shape[1]), np.array([0, len(indices)], np.int32), indices)


@single_thread()
def make(
    state: State,
    form: forms.Form,
    cache: Cache,
    graphs: Graphs | None = None,
    before: tuple[Snapshot, Change] | None = None,
) -> Snapshot:
    """The form on a state, ready: everything that is computed once is computed here.

    Args:
        graphs: by distance, filled as they are needed; None: exact neighbours.
        before: the version before this one, and what has changed: of the former is kept what holds.

    Raises:
        TooFewUsers: if a vicinity needs more users than there are.
        UnusableForm: for what this model cannot be served by.
    """
    chain = forms.chain_of(form)
    model: Any = state.arrays
    if any(isinstance(each, FineTuning) for each in chain.defenses):
        if state.base.folding is None:
            raise UnusableForm(
                "RVD moves the parameters of a victim, and these are arrays: serve them by closed_form"
            )
        model = state.base.folding.as_victim(state.arrays, state.known)
    with _told_by_form():
        serving = chain.wrap(model)
    layers = forms.layers(serving)
    heard = int((np.diff(state.arrays.train.indptr) > 0).sum())
    for layer in layers:
        if layer.config.neighbors != "none" and layer.config.k >= heard:
            raise TooFewUsers(layer.config.k, heard)
    version, own = 0, np.zeros(state.n_users, dtype=np.int64)
    if before is not None:
        last, change = before
        version = last.version + 1
        own = change.rows(last.since["undefended"], version)
    since: dict[Any, np.ndarray] = {"undefended": own}
    searches: list[Any] = []
    snapshot = Snapshot(version, state, serving, state.arrays, layers, searches, since)
    local = all(type(each) in LOCAL for each in forms.served(serving))
    followed = local and before is not None
    for depth, layer in enumerate(layers):
        search, since[depth] = None, np.full(state.n_users, version)
        if before is not None and last.searches[depth] is not None:
            after = last.searches[depth].after(change, model.factors, model.train)
            if after is not None:
                search, lost = after
                since[depth] = np.where(lost, version, change.rows(last.since[depth], version))
            if isinstance(layer, ClosedFormRVD):
                _follow(layer, last.layers[depth], change)
        followed &= search is not None
        searches.append(search or _following(layer, state, graphs))
        layer.search = searches[-1] or _kept(
            _made_anew(layer, state, graphs), cache, snapshot, depth
        )
        if searches[-1] and state.n_users <= FOUND_BEFOREHAND:
            layer.search(np.arange(state.n_users))
    stands = np.max(list(since.values()), axis=0)
    since["defended"] = stands if local else np.full(state.n_users, version)
    if not followed:
        for recommender in (serving, state.arrays):  # compiled, and everybody's graph found
            snapshot.best(recommender, 0, 1)
    return snapshot


@contextmanager
def _told_by_form() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UnusableForm(str(error)) from error


def _following(layer: VicinalDefense, state: State, graphs: Graphs | None) -> Any:
    """Of neighbours among the arrays; None where no search follows updates."""
    if graphs is not None or not isinstance(forms.served(layer)[-1].victim, Arrays):
        return None
    with _told_by_form():
        return following(layer.config, state.arrays.factors, state.arrays.train)


def _follow(layer: ClosedFormRVD, last: ClosedFormRVD, change: Change) -> None:
    """The layer's regression, checked and prepared for those who came alone."""
    own: Any = layer.victim
    with _told_by_form():
        alone = ClosedFormRVD(own.only(change.came), **layer.config.model_dump())._regression
    made = change.spliced(last._regression, alone, ("_latent", "_offsets", "_silence"))
    made._ratings = layer.train
    vars(layer)["_regression"] = made


def _made_anew(layer: VicinalDefense, state: State, graphs: Graphs | None) -> Search:
    """By a graph of the base, or as the library makes it."""
    if graphs is None:
        with _told_by_form():
            return layer.search
    check_can_be_approximate(layer.config)
    distance, base = layer.config.distance, state.base.arrays.factors
    if distance not in graphs:
        graphs[distance] = Graph(base, distance)
    heard = np.diff(state.arrays.train.indptr) > 0
    return ApproximateSearch(
        graphs[distance], layer.config.k, state.arrays.factors, state.known, base, heard
    )


def _kept(search: Search, cache: Cache, snapshot: Snapshot, depth: int) -> Search:
    """From the cache, for one version."""

    def one(user: int) -> np.ndarray:
        return cache.get(snapshot.key(depth, user), lambda: search(np.array([user])))[0]

    return lambda users: np.stack([one(int(user)) for user in users])
