"""Certificates of a quorum: what holds against any fakes, from counts and ratings alone.

Item i is eligible for user u if at least q members of u's vicinity N(u) rated it; u is served
eligible items only. There are n real users, R_i of whom rated item i, and m fakes, who rate whatever
they like. N(u) is the vicinity that u is served by, fakes included: at most k rows, none twice, never
u's own. f(u) of them are fake; c_ui = |N(u) ∩ R_i| are real raters of i.

THR counts real users who did not rate the target: "users" below are these n − |R_i|, and a fake is
none. A hit is eligible and among the first K items, so no list length breaks a bound; and a mean of
THR over targets is at most the mean of their bounds.

1. Total support (:func:`can_be_served`). Assumes nothing.
2. List (:func:`fakes_in_vicinity`). Assumes nothing.
3. Exposure (:func:`exposure`). Assumes that nobody stands in more than B vicinities of real users.
4. Fixed geometry (:func:`stays_out`, :func:`stays_in`, :func:`survives`). Assumes that vetted data
   alone give the encoder, its scales and all distances between real users. Then f fakes in N(u) take
   the places of the f farthest: N(u) is the k − f nearest real users and f fakes. An in-degree cap
   that is dealt out anew with the fakes among all (greedy by distance) breaks this: a fake that takes
   a place from user v leaves v with room for somebody else's list, so that real raters may come to
   lists in which they were not. With such a cap 1 to 3 hold and 4 does not.

Not certified: the order of the eligible items, items that are filled in where too few are eligible,
and fakes beyond m. The closed form has :mod:`rvdlib.theory.closed_form_certificate`.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from rvdlib.arguments import check_one_of
from rvdlib.theory.counts import counts_of_nearest, rated_by_neighbors


def can_be_served(raters: ArrayLike, n_fakes: int, quorum: int) -> np.ndarray:
    """Whether an item can be eligible for anybody: |R_i| + m ≥ q.

    Proof. An eligible item has q raters in one vicinity. They are different rows, and there are no
    more than |R_i| + m raters. Tight: with that many raters, let them be a vicinity.

    Args:
        raters: |R_i|, of one item or of many.
    """
    raters, n_fakes, quorum = _checked(raters, n_fakes, quorum)
    return raters + n_fakes >= quorum


def fakes_in_vicinity(honest: ArrayLike, quorum: int) -> np.ndarray:
    """The least f(u) with which an item can be eligible for a user: q − c_ui, at least 0.

    Proof. The raters of i in N(u) are c_ui real ones and at most f(u) fakes, and eligible means that
    there are q of them. Tight: let all f(u) fakes rate i.

    Args:
        honest: c_ui, real raters of the item in the vicinity as it is, fakes included.
    """
    honest, _, quorum = _checked(honest, 0, quorum)
    return np.maximum(quorum - honest, 0)


def exposure(
    raters: ArrayLike, n_fakes: int, *, quorum: int, max_in_degree: int, n_users: int
) -> np.ndarray:
    """The most users for whom an item can be eligible, whatever the geometry:

        E_i = min(n − |R_i|, ⌊(|R_i| + m) B / q⌋)  if |R_i| + m ≥ q, else 0

    For any profiles, any victim, any training, if nobody stands in more than B vicinities.

    Proof. Each of the E users holds at least q places of raters in the user's vicinity, and all
    raters together have at most (|R_i| + m) B places: E q ≤ (|R_i| + m) B, and E is a whole number.
    A vicinity has each row once, so below q raters nobody is eligible.

    Tight among all tables in which nobody stands more than B times (lists may be shorter than k,
    q ≤ k): number the raters 0 to t − 1, t = |R_i| + m ≥ q, and give the e-th of E users the raters
    e q to e q + q − 1, modulo t. These are q different ones, and each rater gets at most
    ⌈E q / t⌉ ≤ B places. So no bound from |R_i|, m, q, B and n alone is smaller. It grows with m,
    B and |R_i| (until it reaches n − |R_i|) and falls in q.

    Args:
        raters: |R_i|, of one item or of many.
        n_fakes: m.
        quorum: q; ``max_in_degree``: B; ``n_users``: n, real users, raters of the item included.

    Returns:
        Whole numbers of the shape of ``raters``.

    Raises:
        ValueError: for what is no count, or more raters than users.
    """
    raters, n_fakes, quorum = _checked(raters, n_fakes, quorum)
    _check_counts("max_in_degree", max_in_degree, least=1)
    _check_counts("n_users", n_users, least=1)
    if (raters > n_users).any():
        raise ValueError(f"raters must be at most n_users = {n_users}, got {raters.max()}")
    most = (raters + n_fakes) * max_in_degree // quorum
    return np.where(raters + n_fakes >= quorum, np.minimum(most, n_users - raters), 0)


def thr_bound(
    raters: ArrayLike, n_fakes: int, *, quorum: int, max_in_degree: int, n_users: int
) -> np.ndarray:
    """The most that an item's target hit ratio can be: E_i / (n − |R_i|), at any list length.

    NaN where all users are raters: there is no such ratio. Arguments as of :func:`exposure`. Grows
    with m, |R_i| and B: E_i does, and n − |R_i| falls.
    """
    most = exposure(
        raters, n_fakes, quorum=quorum, max_in_degree=max_in_degree, n_users=n_users
    ).astype(float)
    others = n_users - np.asarray(raters)
    return np.divide(most, others, out=np.full(most.shape, np.nan), where=others > 0)


def stays_out(counts: np.ndarray, n_fakes: int, quorum: int) -> np.ndarray:
    """Fixed geometry: whether m fakes cannot make an item eligible: c^(k−f) + f < q, f = min(m, k).

    Proof. With f fakes in the vicinity, the item has at most c^(k−f) + f raters there. One more fake
    adds one and removes one neighbour, who rated the item or did not: c^(k−f) + f never falls in f,
    and f ≤ min(m, k). Tight: fakes at the user's own place stand first in the vicinity, all of them.

    Args:
        counts: (U, k + 1) as :func:`~rvdlib.theory.counts.counts_of_nearest` gives them, or (U, k + 1, T).

    Returns:
        (U,) or (U, T).
    """
    counts, n_fakes, quorum = _checked(counts, n_fakes, quorum)
    f = min(n_fakes, counts.shape[1] - 1)
    return counts[:, -1 - f] + f < quorum


def stays_in(counts: np.ndarray, n_fakes: int, quorum: int) -> np.ndarray:
    """Fixed geometry: whether m fakes cannot make an item ineligible: c^(k−f) ≥ q, f = min(m, k).

    Proof. The k − f nearest real users stay, f ≤ min(m, k), and c^(j) grows with j. Tight: fakes at
    the user's own place that do not rate the item. Arguments as of :func:`stays_out`.
    """
    counts, n_fakes, quorum = _checked(counts, n_fakes, quorum)
    return counts[:, -1 - min(n_fakes, counts.shape[1] - 1)] >= quorum


def fakes_needed(counts: np.ndarray, quorum: int) -> np.ndarray:
    """Fixed geometry: the least f with c^(k−f) + f ≥ q, which is how many fakes a user must get.

    0 where the item is eligible without any. Where q > k there is none: k + 1.

    Args:
        counts: (U, k + 1) as :func:`~rvdlib.theory.counts.counts_of_nearest` gives them.
    """
    counts, _, quorum = _checked(counts, 0, quorum)
    enough = counts[:, ::-1] + np.arange(counts.shape[1]) >= quorum  # never falls in f
    return np.where(enough.any(axis=1), enough.argmax(axis=1), counts.shape[1])


def exposure_of_needs(needs: np.ndarray, n_fakes: int, max_in_degree: int) -> int:
    """The most users for whom an item can be eligible if user u must get ``needs[u]`` fakes.

    :func:`exposure` where the honest raters' places are known: vicinities of vetted data, in each of
    which newcomers only take the places of the farthest (``needs`` by :func:`fakes_needed`), and each
    newcomer stands in at most B of them. E is the largest number of users, those of the least needs
    first, with Σ needs ≤ m B, who need at most m each.

    Proof. No user gets more than m fakes. E users hold Σ needs places of fakes, of which there are
    m B; of all sets of E users the least needs have the least sum. Tight among all ways to place m
    newcomers in B vicinities each: deal them in turn, as in :func:`exposure`. A user gets at most m
    of them, consecutive ones, so none twice, and each gets at most ⌈Σ needs / m⌉ ≤ B users. (It is a
    b-matching of users and fakes; since anyone may stand anywhere, sorting solves it.) Grows with m
    and B, and falls in the needs.

    Args:
        needs: (U,) of the users who did not rate the item.
    """
    needs = _counts("needs", needs)
    _check_counts("n_fakes", n_fakes, least=0)
    _check_counts("max_in_degree", max_in_degree, least=1)
    spent = np.cumsum(np.sort(needs[needs <= n_fakes]))
    return int(np.searchsorted(spent, n_fakes * max_in_degree, side="right"))


def survives(
    neighbors: np.ndarray,
    ratings: sp.csr_matrix,
    lists: np.ndarray,
    quorum: int,
    *,
    displaced: str = "farthest",
) -> np.ndarray:
    """How many bad neighbours each user's list survives: (U,), -1 for an empty list or one that is
    not eligible now.

    A list survives f if each of its items stays eligible with f bad members in the vicinity, who
    rate none of them. ``farthest``: fixed geometry, the f farthest make room, c^(k−f) ≥ q.
    ``any``: whichever f make room, c − f ≥ q; so it also holds where others than the farthest do,
    and of a vicinity as it is: whoever f of its members are, the list has its quorum without them.
    No more than k − q, and ``any`` never exceeds ``farthest``.

    Proof. Every item of the list must stay, and :func:`stays_in` says when one does; without f of
    its members, whichever, a vicinity has c − f raters or more, and exactly so many where f raters
    go. Both counts never rise in f, so the largest f has all smaller ones below it.

    Args:
        neighbors: (U, k) row numbers, nearest first; -1 where there are fewer, last.
        ratings: (users, items) CSR; what is stored is rated.
        lists: (U, L) item indices that each user is served, as the first ten; -1: no item.
        displaced: ``farthest`` or ``any``.

    Raises:
        ValueError: for another ``displaced``, or ``ratings`` that are no CSR matrix.
    """
    _check_counts("quorum", quorum, least=1)
    check_one_of("displaced", displaced, ("farthest", "any"))
    counts = counts_of_nearest(rated_by_neighbors(neighbors, ratings, lists))  # (U, k + 1, L)
    counts[np.broadcast_to((lists < 0)[:, None], counts.shape)] = np.iinfo(np.int64).max
    least = counts.min(axis=2)  # over the list
    farthest = (least >= quorum).sum(axis=1) - 1  # of c^(k), c^(k−1), ...
    found = farthest if displaced == "farthest" else np.maximum(least[:, -1] - quorum, -1)
    return np.where((lists >= 0).any(axis=1), found, -1)


def _checked(counts: ArrayLike, n_fakes: int, quorum: int) -> tuple[np.ndarray, int, int]:
    _check_counts("n_fakes", n_fakes, least=0)
    _check_counts("quorum", quorum, least=1)
    return _counts("counts", counts), int(n_fakes), int(quorum)


def _counts(name: str, given: ArrayLike) -> np.ndarray:
    _check_counts(name, given, least=0)
    return np.asarray(given, dtype=np.int64)


def _check_counts(name: str, given: ArrayLike, least: int) -> None:
    values = np.asarray(given)
    if (values.dtype.kind not in "iu" and values.size) or (values < least).any():
        raise ValueError(f"{name} must be whole numbers of at least {least}, got {given!r}")
