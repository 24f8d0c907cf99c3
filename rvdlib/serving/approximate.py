"""Neighbours among very many users: a graph (HNSW, by usearch) names candidates, exact distances choose.

The graph is of the base's vectors, is built once, and is only read. Users who came later, or whose
vector has changed, are not in it: they are compared one by one, and what the graph says of their old
vectors is passed over. So no update waits for a graph, and nobody who is gone is ever found. When
many have changed, make another defender; what they cost is a product with their vectors.

Exact search takes a product with everybody's vectors, which up to about a million users is a matter
of milliseconds.
"""

import threading

import numpy as np

from rvdlib.arguments import as_indices
from rvdlib.defenses.vicinal_defense import VicinityConfig
from rvdlib.neighbors.spaces import directions
from rvdlib.serving import forms
from rvdlib.serving.errors import TooFewUsers, UnusableForm, needed

METRICS = {"euclidean": "l2sq", "cosine": "cos", "inner_product": "ip"}
CONNECTIVITY, EXPANSION = 16, 64  # of HNSW; the more, the better and the slower
_CANDIDATES = 2  # times k


class Graph:
    """The approximate nearest among fixed vectors, the same at every run: one thread builds it.

    Args:
        vectors: (users, d).
        expansion: of HNSW; less is sooner, and misses more.
    """

    def __init__(self, vectors: np.ndarray, distance: str, *, expansion: int = EXPANSION):
        usearch = needed("usearch.index")
        self.distance = distance
        self._index = usearch.Index(
            ndim=vectors.shape[1],
            metric=METRICS[distance],
            dtype="f32",
            connectivity=CONNECTIVITY,
            expansion_add=expansion,
            expansion_search=expansion,
        )
        # It has room for as many searches at once as there are cores, and refuses others.
        self._one_at_a_time = threading.Lock()
        self._index.add(np.arange(len(vectors)), np.float32(vectors), threads=1)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def n_bytes(self) -> int:
        return int(self._index.memory_usage)

    def nearest(self, vector: np.ndarray, n: int) -> np.ndarray:
        """Up to n rows, about nearest first."""
        with self._one_at_a_time:
            return self._index.search(np.float32(vector), n, threads=1).keys.astype(np.int64)


class ApproximateSearch:
    """The k nearest of each user now, by a graph of the base's vectors.

    Args:
        graph: of the base's vectors.
        factors: (users, d) of everybody now.
        known: (users,) each one's row in the base, −1 for who is not there.
        base_factors: (base users, d), what the graph was made of.
        heard: (users,) bool, who has ratings; the others are nobody's neighbours.

    Raises:
        TooFewUsers: if k is not below the number of those who are heard.
    """

    def __init__(
        self,
        graph: Graph,
        k: int,
        factors: np.ndarray,
        known: np.ndarray,
        base_factors: np.ndarray,
        heard: np.ndarray,
    ):
        if not k < heard.sum():
            raise TooFewUsers(k, int(heard.sum()))
        self.graph, self.k, self._factors = graph, k, factors
        as_in_graph = (known >= 0) & (factors == base_factors[known]).all(axis=1)
        self._row_of = np.full(len(base_factors), -1, dtype=np.int64)
        listed = np.flatnonzero(as_in_graph & heard)
        self._row_of[known[listed]] = listed
        self._others = np.flatnonzero(~as_in_graph & heard)

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """(B, k) int64 row numbers, nearest first; ties go to the lower row."""
        users = as_indices("users", users, len(self._factors))
        found = np.empty((len(users), self.k), dtype=np.int64)
        for row, user in zip(found, users, strict=True):
            row[:] = self._nearest(int(user))
        return found

    def _nearest(self, user: int) -> np.ndarray:
        reach = _CANDIDATES * self.k + 1
        while True:
            listed = self._row_of  # what no search finds, all are asked for
            if reach < len(self.graph):
                listed = listed[self.graph.nearest(self._factors[user], reach)]
            rows = np.union1d(listed[listed >= 0], self._others)
            rows = rows[rows != user]
            if len(rows) >= self.k or reach >= len(self.graph):
                break
            reach *= 4
        return rows[np.argsort(self._distances(user, rows), kind="stable")[: self.k]]

    def _distances(self, user: int, rows: np.ndarray) -> np.ndarray:
        own, others = (self._factors[at].astype(np.float64) for at in (user, rows))
        if self.graph.distance == "euclidean":
            return ((others - own) ** 2).sum(axis=1)
        if self.graph.distance == "cosine":
            own, others = directions(own[None])[0], directions(others)
        return -(others @ own)


def check_form(form: forms.Form) -> None:
    """Raise UnusableForm, or ImportError, for a defence that no graph can serve, before any is trained."""
    needed("usearch.index")
    for step in forms.chain_of(form).defenses:
        if isinstance(step.config, VicinityConfig):
            try:
                check_can_be_approximate(step.config)
            except UnusableForm as error:
                raise UnusableForm(
                    f"{forms.name_of(form)}: {error}. A file for --defense that will do: {{method: "
                    "closed_form, choices: {k: 100, hubness_reduction: none}}"
                ) from None


def check_can_be_approximate(config: VicinityConfig) -> None:
    """Raise UnusableForm, with the choice to make, for neighbours that a graph cannot find."""
    wanted = {
        "neighbors": ("nearest",),
        "distance": tuple(METRICS),
        "hubness_reduction": ("none",),
        "max_in_degree": (None,),
        "max_overlap": (1.0,),
    }
    for name, values in wanted.items():
        if (found := getattr(config, name)) not in values:
            choose = " or ".join(map(repr, values))
            raise UnusableForm(
                f"approximate neighbours need {name} {choose}, got {found!r}: that takes everybody's "
                "distances; choose so, or serve by exact neighbours"
            )
