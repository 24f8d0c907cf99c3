"""``rvd certify``: what a quorum with an in-degree cap promises on a data set, before any attack."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from rvdlib import metrics
from rvdlib.data import Ratings, Split, load_dataset
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.lab.experiment.progress import progress
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.models import MF, Victim
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.seeding import stream
from rvdlib.theory.certificate import survives, thr_bound

REGIME = "ranking"
FIRST = 10  # items of a list whose survival is certified
ATTACK_SIZES = (0.01, 0.03, 0.05, 0.1, 0.2, 0.3)  # fakes per real user
RATERS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_BLOCK_USERS = 256


def certify_dataset(
    dataset: str | Ratings, *, k: int, quorum: int, max_in_degree: int, seed: int = 0
) -> dict:
    """Train MF in the ranking regime as the study does, find vicinities, and certify.

    Args:
        dataset: a published one, a ratings file, or ratings.
        k: neighbours of a user.
        quorum: q, neighbours who must have rated what is served.
        max_in_degree: B, vicinities in which anybody may stand at most; at least k.

    Returns:
        In JSON's types: the arguments, ``n_users``, and

        - ``bounds``: rows of ``m`` fakes, ``honest_raters`` of the target and ``thr_bound``, whatever
          the geometry (:func:`rvdlib.theory.certificate.thr_bound`);
        - ``survives``: how many users' first ten items all have their quorum without f of their
          neighbours, whichever, f = 0 to k − q; of vicinities as they are, which new fakes move. At
          f = 0 that is everybody who is served anything.

    Raises:
        ValueError: for a data set or a choice that there is none of, before anything is trained.

    Warns:
        BeatenByReferenceWarning: if popularity is better on validation, as :class:`MF` does.
    """
    ratings = load_dataset(dataset)
    others = ratings.n_users - 1
    if not others:
        raise ValueError(
            f"{ratings.name} has one user only: there are no neighbours who could vote"
        )
    if not 1 <= k <= others:
        raise ValueError(f"k must be between 1 and {others} (the other users), got {k}")
    if not 1 <= quorum <= k:
        raise ValueError(
            f"quorum must be between 1 and k = {k}, got {quorum}: no item has more votes"
        )
    if max_in_degree < k:
        raise ValueError(
            f"max_in_degree must be at least k = {k}, or there are not enough places for everybody; "
            f"got {max_in_degree}"
        )
    split = split_of_seed(ratings, seed)
    asked = {"k": k, "quorum": quorum, "max_in_degree": max_in_degree}
    return {
        "dataset": ratings.name,
        **asked,
        "n_users": ratings.n_users,
        "bounds": _bounds(ratings.n_users, quorum, max_in_degree),
        "survives": _survivors(split, k, quorum, max_in_degree, seed),
    }


def vicinities(victim: Victim, k: int, max_in_degree: int) -> np.ndarray:
    """(users, k) row numbers by latent vectors with local scaling, nobody in more than the limit.

    Nearest first; −1 where a list is shorter.
    """
    search = BalancedSearch(
        victim.user_factors(),
        k,
        hubness_reduction="local_scaling",
        ratings=victim.train,
        max_in_degree=max_in_degree,
    )
    return search(np.arange(victim.train.shape[0]))


def _bounds(n_users: int, quorum: int, max_in_degree: int) -> list[dict]:
    rows = []
    for n_fakes in sorted({max(1, int(round(size * n_users, 9))) for size in ATTACK_SIZES}):
        raters = [r for r in RATERS if r < n_users]
        limits = {"quorum": quorum, "max_in_degree": max_in_degree, "n_users": n_users}
        bounds = thr_bound(np.array(raters), n_fakes, **limits)
        rows += [
            {"m": n_fakes, "honest_raters": r, "thr_bound": float(bound)}
            for r, bound in zip(raters, bounds, strict=True)
        ]
    return rows


def _survivors(split: Split, k: int, quorum: int, max_in_degree: int, seed: int) -> list[int]:
    steps = _survived(split, k, quorum, max_in_degree, seed)
    n_blocks = -(-split.train.shape[0] // _BLOCK_USERS)
    description = f"training MF on {split.ratings.name}, and finding vicinities and lists"
    found = np.concatenate(list(progress(steps, total=2 + n_blocks, description=description)))
    return [int((found >= f).sum()) for f in range(k - quorum + 1)]


def _survived(
    split: Split, k: int, quorum: int, max_in_degree: int, seed: int
) -> Iterator[np.ndarray]:
    """Step by step: nothing after training and after the search, then user by user what survives."""
    nobody = np.empty(0, dtype=np.int64)
    victim = MF(**victim_hyperparameters(split.ratings.name, REGIME, MF.name))
    victim.fit(split.train, split.validation, split.ratings.levels, stream(seed, "model", MF.name))
    yield nobody
    table = vicinities(victim, k, max_in_degree)
    yield nobody
    rated = sp.csr_matrix(split.train, dtype=np.float32, copy=True)
    rated.data[:] = 1
    length = min(FIRST, rated.shape[1])
    for start in range(0, len(table), _BLOCK_USERS):
        users = np.arange(start, min(start + _BLOCK_USERS, len(table)))
        row, place = np.nonzero(table[users] >= 0)
        ones = np.ones(len(row), dtype=np.float32)
        here = sp.csr_matrix((ones, (row, table[users][row, place])), (len(users), len(table)))
        votes = (here @ rated).toarray()
        lists = metrics.top_k(
            np.where(votes >= quorum, victim.score(users), -np.inf), rated[users], length
        )
        yield survives(table[users], rated, lists, quorum, displaced="any")


def as_text(report: dict) -> str:
    """The report as a reader wants it; :func:`certify_dataset` says what is in it."""
    r, n_users = report, report["n_users"]
    fakes = sorted({row["m"] for row in r["bounds"]})
    raters = sorted({row["honest_raters"] for row in r["bounds"]})
    bounds = {(row["m"], row["honest_raters"]): row["thr_bound"] for row in r["bounds"]}
    lines = [
        f"{r['dataset']}: {n_users:,} users. An item is served to a user if {r['quorum']} of the "
        f"user's {r['k']} neighbours rated it, and nobody stands in more than {r['max_in_degree']} "
        "vicinities.",
        "",
        "The most that a target's THR can be, whatever the fakes do, by the number of fakes and the",
        "target's real raters:",
        "",
        f"{'fakes':>14}" + "".join(f"{n:>8,}" for n in raters),
    ]
    for m in fakes:
        row = "".join(f"{bounds[m, n]:8.3f}" for n in raters)
        lines.append(f"{m:>6,} ({m / n_users:5.1%})" + row)
    lines += [
        "",
        f"Users whose first {FIRST} items would all keep their quorum without f of their neighbours, "
        "whichever (vicinities as they are; new fakes move them):",
        "",
        f"{'f':>4}{'users':>9}{'share':>9}",
    ]
    for f, users in enumerate(r["survives"]):
        lines.append(f"{f:>4}{users:>9,}{users / n_users:>9.1%}")
        if not users:
            break
    return "\n".join(lines)
