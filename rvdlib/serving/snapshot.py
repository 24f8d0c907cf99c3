"""One version of all that serves: a state, and the defence made ready on it. Nobody writes to it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from rvdlib import metrics
from rvdlib.defenses import FineTuning
from rvdlib.defenses.vicinal_defense import Search, VicinalDefense
from rvdlib.eligibility import eligible_items
from rvdlib.evaluation import Recommender
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.serving import forms
from rvdlib.serving.approximate import ApproximateSearch, Graph, check_can_be_approximate
from rvdlib.serving.cache import Cache
from rvdlib.serving.errors import TooFewUsers, UnusableForm, UnusableModel
from rvdlib.serving.state import State

Graphs = dict[str, Graph]  # by distance
Listed = tuple[np.ndarray, np.ndarray]  # columns, scores


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a request is answered from, from its beginning to its end.

    Attributes:
        serving: the form, wrapped around the model.
        undefended: the model itself.
        layers: of what serves, those that have neighbours, the outermost first.
    """

    version: int
    state: State
    serving: Recommender
    undefended: Recommender
    layers: list

    def best(self, recommender: Recommender, row: int, n: int) -> Listed:
        """The first n unseen items of a row, and their scores.

        A user is scored alone: products of another shape round otherwise, and a list must not
        depend on who else is asked for.

        Raises:
            UnusableModel: if a score is NaN.
        """
        users = np.array([row])
        try:
            scores = np.asarray(recommender.score(users))
            eligible = eligible_items(recommender, users, scores.shape)
            items = metrics.top_k(scores, _seen(self.state.arrays.train, row), n, eligible)[0]
        except ValueError as error:
            raise UnusableModel(f"{type(recommender).__name__} cannot serve: {error}") from error
        items = items[items >= 0]
        return items, scores[0, items]

    def popular(self, n: int, row: int | None = None) -> Listed:
        """The n items with the most ratings, without those that a row has seen."""
        train = self.state.arrays.train
        counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float64)
        counts[train[row].indices if row is not None else []] = -1
        items = np.argsort(-counts, kind="stable")[:n]
        items = items[counts[items] >= 0]
        return items, counts[items]


class _Row(NamedTuple):
    """One row of a CSR matrix, as far as lists ask; to slice a matrix takes as long as to score."""

    format: str
    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray


def _seen(train: sp.csr_matrix, row: int) -> Any:
    indices = train.indices[train.indptr[row] : train.indptr[row + 1]]
    return _Row("csr", (1, train.shape[1]), np.array([0, len(indices)], np.int32), indices)


def make(
    state: State,
    form: forms.Form,
    version: int,
    cache: Cache,
    graphs: Graphs | None = None,
) -> Snapshot:
    """The form on a state, ready: everything that is computed once is computed here.

    Args:
        graphs: by distance, filled as they are needed; None: exact neighbours.

    Raises:
        TooFewUsers: if a vicinity needs more users than there are.
        UnusableForm: for what this model cannot be served by.
    """
    chain, model = forms.chain_of(form), state.arrays
    if any(isinstance(each, FineTuning) for each in chain.defenses):
        if state.base.folding is None:
            raise UnusableForm(
                "RVD moves the parameters of a victim, and these are arrays: serve them by closed_form"
            )
        model = state.base.folding.as_victim(state.arrays, state.known)
    try:
        serving = chain.wrap(model)
    except ValueError as error:
        raise UnusableForm(str(error)) from error
    layers = forms.layers(serving)
    check(layers, state)
    for depth, layer in enumerate(layers):
        search = _approximate(layer, state, graphs) if graphs is not None else None
        search = search or _exact(layer)
        if not isinstance(search, BalancedSearch):  # which holds everybody's neighbours already
            search = _kept(search, cache, version, depth)
        layer.search = search
    snapshot = Snapshot(version, state, serving, state.arrays, layers)
    for recommender in (serving, state.arrays):  # compiled, and everybody's graph found
        snapshot.best(recommender, 0, 1)
    cache.clear()
    return snapshot


def check(layers: list, state: State) -> None:
    """Raise TooFewUsers if a vicinity needs more users than have ratings."""
    heard = int((np.diff(state.arrays.train.indptr) > 0).sum())
    for layer in layers:
        if layer.config.neighbors != "none" and layer.config.k >= heard:
            raise TooFewUsers(layer.config.k, heard)


def _exact(layer: VicinalDefense) -> Search:
    try:
        return layer.search
    except ValueError as error:
        raise UnusableForm(str(error)) from error


def _approximate(layer: VicinalDefense, state: State, graphs: Graphs) -> Search:
    check_can_be_approximate(layer.config)
    distance, base = layer.config.distance, state.base.arrays.factors
    if distance not in graphs:
        graphs[distance] = Graph(base, distance)
    heard = np.diff(state.arrays.train.indptr) > 0
    return ApproximateSearch(
        graphs[distance], layer.config.k, state.arrays.factors, state.known, base, heard
    )


def _kept(search: Search, cache: Cache, version: int, depth: int) -> Search:
    def one(user: int) -> np.ndarray:
        work: Callable[[], np.ndarray] = partial(search, np.array([user]))
        return cache.get((version, "neighbors", depth, user), work)[0]

    return lambda users: np.stack([one(int(user)) for user in users])
