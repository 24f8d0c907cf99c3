"""The paper's method where it runs: a recommender that defends each list when it is asked for.

    defender = RealTimeDefender(victim, ratings)
    defender.recommend("196", 10).items

Requests come from any number of threads. Each is answered from one version of the model, whatever is
updated meanwhile, and has the same answer whoever else is served.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from rvdlib.data import Ratings
from rvdlib.defenses import FunctionalRVD
from rvdlib.models import Victim
from rvdlib.serving import forms, snapshot
from rvdlib.serving.arrays import Arrays, Module, arrays_of
from rvdlib.serving.cache import Cache
from rvdlib.serving.errors import (
    CannotFoldIn,
    ListLength,
    UnknownUser,
    UnusableForm,
    UnusableModel,
    shortened,
)
from rvdlib.serving.evidence import Answer, evidence_of
from rvdlib.serving.folding import Folding
from rvdlib.serving.monitors import Monitors
from rvdlib.serving.state import Base, Names, State
from rvdlib.threads import single_thread

Fallback = Literal["undefended", "popularity"]
CACHE_BYTES = 64 * 2**20


class RealTimeDefender:
    """Lists of users by their own ids, defended when they are asked for.

    Args:
        source: a trained victim of ``rvdlib.models``; or :class:`Arrays`, of anybody's linear model;
            or a torch module as :class:`rvdlib.defenses.FunctionalRVD` takes it.
        ratings: whose ids these are, and what everybody has rated by now: neighbours are heard with
            it, and it is filtered from lists. Without: what the model was trained on, and row and
            column numbers are the ids. ``Arrays`` have ratings of their own, whose values stay: these
            must be of the same cells, and give the ids. Where their values are other ones (stars
            beside 0 and 1), updates are in the unit of the arrays, and what is off its range is
            refused: nothing is converted.
        form: which defence, see :mod:`rvdlib.serving.forms`; or a YAML file of one. By default what
            held best in the study, in the victim's regime. ``UNDEFENDED`` serves the model. For a
            module the choices of ``FunctionalRVD``.
        approximate: whether neighbours are looked for by a graph (:mod:`rvdlib.serving.approximate`).
        cache_bytes: what may be kept of lists; 0: nothing. Neighbours are kept beside it, k numbers a
            user.

    Raises:
        ServingError: of a type that says what cannot be used, and why.
    """

    def __init__(
        self,
        source: Victim | Arrays | torch.nn.Module | Base,
        ratings: Ratings | None = None,
        *,
        form: forms.Form | str | Path | None = None,
        approximate: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ):
        module = source if isinstance(source, torch.nn.Module) else None
        if module is None:
            regime, name = "ranking", "MF"
            if isinstance(source, Victim):
                regime, name = "ranking" if source.ranking else "rating", source.name
            form = forms.read_form(forms.default_form(regime, name) if form is None else form)
        elif not isinstance(form, Mapping | None):
            raise UnusableForm(
                f"of a module, a form is a mapping of choices, got {shortened(form)}"
            )
        base = source if isinstance(source, Base) else _base(source, ratings)
        self.form: forms.Form = forms.UNDEFENDED if module else form  # type: ignore[assignment]
        self.defense, self.approximate = forms.name_of(self.form), approximate
        self.cache, self.monitors = Cache(cache_bytes), Monitors()
        self._graphs: snapshot.Graphs | None = {} if approximate and not module else None
        self._updates = threading.Lock()
        self._snapshot = snapshot.make(State.first(base), self.form, self.cache, self._graphs)
        if module is not None:
            serving = FunctionalRVD(module, len(base.users.ids), **dict(form or {}))  # type: ignore[arg-type]
            self.defense = "rvd"
            self._snapshot = replace(
                self._snapshot, serving=serving, undefended=Module(module), layers=[serving]
            )
        self._snapshot.warn_of_empty_lists()
        self.cache.clear()  # nothing is kept of whom nobody asked for

    @property
    def version(self) -> int:
        """Of the model that serves now: 0, and one more with each update."""
        return self._snapshot.version

    @property
    def updatable(self) -> bool:
        """Whether it is of arrays, and not of a module that holds its own data."""
        return not isinstance(self._snapshot.undefended, Module)

    @property
    def graph_bytes(self) -> int:
        """Of the graphs that neighbours are looked for by."""
        return sum(graph.n_bytes for graph in (self._graphs or {}).values())

    @property
    def state(self) -> State:
        """Who is served now, and on which ratings."""
        return self._snapshot.state

    def recommend(
        self,
        users: object,
        n: int = 10,
        *,
        evidence: bool = False,
        fallback: Fallback | None = None,
    ) -> Answer | list[Answer]:
        """The answer for a user's id; of a list, tuple or array of ids a list of answers.

        Args:
            n: items, at most; a list is shorter where a defence allows less or less is left, and
                ``short`` says by how many.
            evidence: whether to say what the list rests on; it costs about a second list.
            fallback: what to serve, flagged, where the form cannot, and to fill a short list with:
                to whom nobody knows the most popular items, to others the ``undefended`` list or
                the most popular items. None: an error, and the list as short as it is.

        Raises:
            UnknownUser, ListLength: naming the value.
            UnusableModel: if scores are not numbers.
        """
        now = self._snapshot
        if isinstance(users, list | tuple | np.ndarray):
            return [self._recommend(now, user, n, evidence, fallback) for user in users]
        return self._recommend(now, users, n, evidence, fallback)

    def _recommend(self, now, user, n, evidence, fallback) -> Answer:
        begun, n_items = time.perf_counter(), len(now.state.base.items.ids)
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= n_items:
            raise ListLength(n, n_items)
        if fallback not in (None, "undefended", "popularity"):
            raise ValueError(f"fallback must be undefended, popularity or None, got {fallback!r}")
        n, flagged, row = int(n), None, None
        try:
            row = now.state.row_of(user)
            items, scores = self._list(now, "defended", row, n)
        except (UnknownUser, UnusableModel):
            if fallback is None:
                raise
            items, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        n_defended = len(items)
        if fallback is not None and n_defended < n:
            if row is not None and fallback == "undefended":
                others = self._list(now, "undefended", row, n)
            else:
                fallback, others = "popularity", now.popular(n, row)
            added = np.flatnonzero(~np.isin(others[0], items))[: n - n_defended]
            items = np.concatenate([items, others[0][added]])
            scores = np.concatenate([scores, others[1][added]])
            flagged = fallback if len(added) else None
        undefended = np.empty(0, np.int64)
        if row is not None and (evidence or (now.layers and self.monitors.wants_comparison)):
            undefended = self._list(now, "undefended", row, n)[0]
            self.monitors.compared(items[:n_defended], undefended)
        found = None
        if evidence:
            found = evidence_of(now.state, now.layers, row, items, undefended, n_defended)
        names = now.state.base.items.ids
        seconds = time.perf_counter() - begun
        self.monitors.served(seconds, len(items), n_defended, n, flagged)
        return Answer(
            user.item() if isinstance(user, np.generic) else user,
            tuple(names[item] for item in items.tolist()),
            tuple(scores.tolist()),
            "none" if flagged and not n_defended else self.defense,
            flagged,
            n - n_defended,
            now.version,
            found,
        )

    @single_thread()
    def _list(self, now: snapshot.Snapshot, kind: str, row: int, n: int) -> snapshot.Listed:
        recommender = now.serving if kind == "defended" else now.undefended
        key = (*now.key(kind, row), n)
        return self.cache.get(key, lambda: now.best(recommender, row, n))

    def update(
        self,
        ratings: Iterable[tuple[Any, Any, float]] = (),
        *,
        remove: Iterable = (),
        keep: Callable[[], object] = lambda: None,
    ) -> int:
        """Take what has changed; all of it or, where it raises, nothing. The new version.

        When it returns, every request that begins is answered by the new version; those that have
        begun end with the old one. Of a user and an item that stand there twice, the last counts.
        Neighbours and lists of those whom it does not concern are kept. With a limit on in-degrees it may
        concern anybody, and everybody is matched again: then take ratings together.

        Args:
            ratings: (user id, item id, stars) of known users and of new ones.
            remove: ids of users who go, before the ratings come. They are nobody's neighbour and
                cannot be asked for; their id may come again as a new user.
            keep: called when nothing is left that could be refused, and before anybody is served by
                it; what it raises is raised.

        Raises:
            UnusableRating: for an unknown item, an id of another type, stars off the scale.
            UnknownUser: for a user to remove who is not there.
            CannotFoldIn: for ratings of whom the model has no vector; it says why.
            TooFewUsers: if those who stay are too few for a vicinity.
        """
        if not self.updatable:
            raise CannotFoldIn("a torch module holds its own data: make another defender of it")
        changes: dict[Any, dict[int, float]] = {}
        for user, item, stars in ratings:
            name, column, number = self.state.base.checked(user, item, stars)
            changes.setdefault(name, {})[column] = number
        remove = list(remove)
        with self._updates:
            now = self._snapshot
            if not changes and not remove:
                return now.version
            gone = {now.state.row_of(user) for user in remove}
            state, change = now.state.changed(changes, gone)
            try:
                before = now, change
                made = snapshot.make(state, self.form, self.cache, self._graphs, before)
                counts = self._clicks(now, changes)
                keep()
            except BaseException:
                self.cache.clear()  # what was kept for a version that there is not
                raise
            self._snapshot = made
            self.monitors.add(
                {
                    "rvd_updates_total": 1,
                    "rvd_ratings_total": sum(map(len, changes.values())),
                    "rvd_removed_users_total": len(gone),
                    **counts,
                }
            )
            return made.version

    def _clicks(self, now: snapshot.Snapshot, changes: Mapping[Any, Mapping]) -> dict[str, float]:
        """What users rated after their list was made: the accuracy that can be seen while serving.

        Were they in the list, before they were known? Of the first of a batch, with each list.
        """
        counts: dict[str, float] = {}
        for user in list(changes)[: self.monitors.most_clicks]:
            if (row := now.state.find(user)) < 0:
                continue
            new = set(changes[user]) - set(now.state.arrays.train[row].indices.tolist())
            n = min(self.monitors.list_length, len(now.state.base.items.ids))
            by = {"rvd_clicks_total": len(new)}
            for kind in ("defended", "undefended"):
                listed = set(self._list(now, kind, row, n)[0].tolist())
                by[f'rvd_click_hits_total{{list="{kind}"}}'] = len(new & listed)
            counts = {name: counts.get(name, 0) + number for name, number in by.items()}
        return counts


def _base(source: Victim | Arrays | torch.nn.Module, ratings: Ratings | None) -> Base:
    """The source's arrays, and whose they are."""
    given, folding, levels = ratings.matrix if ratings is not None else None, None, None
    if isinstance(source, Victim):
        arrays, folding, levels = Arrays.of(source, given), Folding(source), source.levels
    elif isinstance(source, Arrays):
        arrays = source
    elif isinstance(source, torch.nn.Module) and given is not None:
        arrays = arrays_of(given)
    else:
        raise UnusableModel("a source is a trained victim, Arrays, or a torch module with ratings")
    arrays.check_finite()
    ids = tuple(map(np.arange, arrays.train.shape))
    if ratings is not None:
        own = arrays.levels_beside(ratings.matrix) if arrays is source else None
        levels = ratings.levels if own is None else own
        ids = ratings.user_ids, ratings.item_ids
    return Base(Names(ids[0], "user"), Names(ids[1], "item"), arrays, folding, levels)
