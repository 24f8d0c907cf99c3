"""What serving costs against every dial, the catalogue's size and the number of served users."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.models import VICTIMS, Victim
from rvdlib.runner.parallel import single_thread
from rvdlib.seeding import stream
from rvdlib.study.cells import Scenario, carry_out, sample_users
from rvdlib.study.machine import peak_mib
from rvdlib.study.serving import forms, in_turn, lists, prepare

TIMED = ("undefended", "closed_form", "engine", "functional", "plain_loop")
IN_BULK = ("undefended", "closed_form")  # serve everybody, the loops a sample
ROUNDS = 3
RATINGS_PER_USER = 50  # of made-up users


def serving_times(
    datasets: Sequence[str],
    catalogues: Sequence[int],
    victim: str,
    base: Mapping[str, int],
    dials: Mapping[str, Sequence[int]],
    n_users: int,
) -> pd.DataFrame:
    """Milliseconds a user of every form: each dial turned alone, and larger and larger catalogues.

    Args:
        datasets: the dials are turned on the first, the catalogues are those of all.
        catalogues: items of made-up data sets, beside them.
        victim: trained in the rating regime.
        base: k and steps where they are not turned.
        dials: k, steps → values.
        n_users: size of the sample that the loops serve.

    Returns:
        Columns dataset, items, dial (k, steps or items), value, form, ms_per_user.
    """
    first, rows = True, []
    with single_thread():
        for dataset in datasets:
            attacked = carry_out(Scenario(dataset=dataset, victim=victim, regime="rating"))
            served = attacked.victim, attacked.split.train
            turned = [("items", served[1].shape[1], base)]
            if first:
                turned += [(d, v, {**base, d: v}) for d, values in dials.items() for v in values]
            first = False
            rows += _times(dataset, *served, turned, n_users)
        for n_items in catalogues:
            served = made_up(victim, 1000, n_items)
            rows += _times("made up", *served, [("items", n_items, base)], n_users)
    return pd.DataFrame(rows)


def made_up(victim: str, n_users: int, n_items: int) -> tuple[Victim, sp.csr_matrix]:
    """A victim and its training ratings, of any size: what serving costs, not what it is worth.

    Trained for one epoch on made-up ratings, with the hyper-parameters that it has by default.
    """
    n_ratings = max(RATINGS_PER_USER * n_users, n_items)
    ratings = synthetic_ratings(n_users, n_items, n_ratings, rng=stream(0, "made up"))
    split = leave_one_out(ratings, stream(0, "split"))
    model = VICTIMS[victim](epochs=1)
    model.fit(split.train, split.validation, ratings.levels, stream(0, "model"))
    return model, split.train


def _times(dataset, victim, seen, turned, n_users):
    everyone = np.arange(len(seen.indptr) - 1)
    sample = sample_users(len(everyone), n_users, seed=0)
    for dial, value, at in turned:
        built, work, served = forms(victim, **at), {}, {}
        for form in TIMED:
            served[form] = everyone if form in IN_BULK else sample
            work[form] = partial(lists, prepare(built[form], seen)[0], served[form], seen)
        seconds = in_turn(work, ROUNDS, description=f"{dataset}, {dial} {value}")
        for form in TIMED:
            yield {
                "dataset": dataset,
                "items": seen.shape[1],
                "dial": dial,
                "value": value,
                "form": form,
                "ms_per_user": 1000 * np.median(seconds[form]) / len(served[form]),
            }


def milliseconds(times: pd.DataFrame, dataset: str) -> pd.Series:
    """Form → ms_per_user with no dial turned, from the rows of :func:`serving_times`."""
    at_base = (times["dial"] == "items") & (times["dataset"] == dataset)
    return times[at_base].set_index("form")["ms_per_user"]


def times_of_many(served: Sequence[int], n_users: int, n_items: int) -> pd.DataFrame:
    """Seconds, and the process's peak memory, for more and more served users of one population.

    Args:
        served: how many are served, ascending; where more than there are, all come again.
        n_users: the population, made up, whose neighbours are looked for.

    Returns:
        Columns served, form, seconds, us_per_user, peak_mib (so far: what does not grow, does
        not depend on how many are served).
    """
    rows = []
    with single_thread():
        victim, seen = made_up("MF", n_users, n_items)
        ready = {form: prepare(forms(victim)[form], seen)[0] for form in IN_BULK}
        for n in served:
            users = np.resize(np.arange(n_users), n)
            work = {form: partial(lists, ready[form], users, seen) for form in IN_BULK}
            seconds = in_turn(work, 1, description=f"{n:,} users")
            for form, (taken,) in seconds.items():
                row = {"served": n, "form": form, "seconds": taken, "us_per_user": 1e6 * taken / n}
                rows.append(row | {"peak_mib": peak_mib()})
    return pd.DataFrame(rows)
