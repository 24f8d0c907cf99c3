"""What serving costs against every dial, the catalogue's size and the number of served users."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.lab.benchmark import memory
from rvdlib.lab.benchmark.serving import again, forms, hubs, in_turn, lists, prepare
from rvdlib.lab.experiment.cells import Scenario, carry_out, sample_users
from rvdlib.lab.experiment.trained import learning_is_not_asked_for
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream
from rvdlib.threads import single_thread

# What is timed in turn, on the same users: many, whom the quick forms serve, and few, whom the loops
# serve too. Form → how many visits at least: batches are full then, and the clock moves.
VISITS = {
    "many": {"undefended": 1000, "closed_form": 1000, "engine": 48},
    "few": {"closed_form": 500, "engine": 48, "functional": 1, "plain_loop": 1},
}
RATIOS = {
    "closed_over_undefended": ("many", "closed_form", "undefended"),
    "plain_over_engine": ("few", "plain_loop", "engine"),
    "plain_over_functional": ("few", "plain_loop", "functional"),
    "plain_over_closed": ("few", "plain_loop", "closed_form"),
}
ROUNDS = 3
MADE_UP = "made up"
RATINGS_PER_USER = 50  # of made-up users


class Trained(NamedTuple):
    """A victim to be served, and the name of its data set."""

    dataset: str
    victim: Victim


def train(datasets: Iterable[str], victim: str) -> list[Trained]:
    """The victim on each data set, in the rating regime, not attacked."""
    with single_thread():
        scenarios = [Scenario(dataset=name, victim=victim, regime="rating") for name in datasets]
        return [Trained(each.dataset, carry_out(each).victim) for each in scenarios]


def made_up(victim: str, n_users: int, n_items: int) -> Trained:
    """A victim of any size: what serving costs, not what it is worth.

    Trained for one epoch on made-up ratings, with the hyper-parameters that it has by default.
    """
    n_ratings = max(RATINGS_PER_USER * n_users, n_items)
    ratings = synthetic_ratings(n_users, n_items, n_ratings, rng=stream(0, MADE_UP))
    split = leave_one_out(ratings, stream(0, "split"))
    model = VICTIMS[victim](epochs=1)
    with single_thread(), learning_is_not_asked_for():
        model.fit(split.train, split.validation, ratings.levels, stream(0, "model"))
    return Trained(MADE_UP, model)


def serving_times(
    trained: Sequence[Trained],
    base: Mapping[str, Mapping[str, float]],
    dials: Mapping[str, Sequence[int]],
    n_users: Mapping[str, int],
) -> pd.DataFrame:
    """Milliseconds a user of every form: each dial turned alone, and one catalogue after another.

    All forms of a group serve the same users, each equally often.

    Args:
        trained: the dials are turned on the first, the catalogues are those of all.
        base: choices of the ``closed_form`` and of the ``iterative`` forms.
        dials: k, steps → values; that of ``base`` is measured anyway.
        n_users: group, many or few → size of its sample of users.

    Returns:
        Columns dataset, items, dial (k, steps or items), value, group, form, round, ms_per_user.
    """
    rows = []
    with single_thread():
        for number, one in enumerate(trained):
            size = one.victim.train.shape[1]
            at_base = _times(one, base, n_users, f"{size:,} items")
            rows.append(at_base.assign(dial="items", value=size))
            for dial, values in dials.items() if number == 0 else ():
                usual = base["iterative"][dial]
                rows.append(at_base.assign(dial=dial, value=usual))
                for value in sorted(set(values) - {usual}):
                    turned = {
                        form: chosen | ({dial: value} if dial in chosen else {})
                        for form, chosen in base.items()
                    }
                    measured = _times(one, turned, n_users, f"{dial} {value}")
                    rows.append(measured.assign(dial=dial, value=value))
    columns = ["dataset", "items", "dial", "value", "group", "form", "round", "ms_per_user"]
    return pd.concat(rows, ignore_index=True)[columns]


def _times(one: Trained, choices, n_users: Mapping[str, int], description: str) -> pd.DataFrame:
    seen, built, found = one.victim.train, forms(one.victim, **choices), []
    ready = {form: prepare(built[form], seen)[0] for form in VISITS["many"] | VISITS["few"]}
    for group, visits in VISITS.items():
        sample = sample_users(seen.shape[0], n_users[group], seed=0)
        served = {form: again(sample, least) for form, least in visits.items()}
        work = {form: partial(lists, ready[form], served[form], seen) for form in visits}
        seconds = in_turn(work, ROUNDS, description=f"{one.dataset}, {description}, {group} users")
        for form, taken in seconds.items():
            each = pd.DataFrame({"ms_per_user": 1000 * taken / len(served[form])})
            found.append(each.assign(group=group, form=form, round=each.index))
    return pd.concat(found).assign(dataset=one.dataset, items=seen.shape[1])


def ratios(times: pd.DataFrame) -> pd.DataFrame:
    """Medians of the ratios within a round of :func:`serving_times`: a row a k, a column a pair of forms."""
    turned = times[times["dial"] == "k"]
    index, columns = ["value", "round"], ["group", "form"]
    each = turned.pivot(index=index, columns=columns, values="ms_per_user")
    found = {
        name: each[group, slow] / each[group, fast] for name, (group, slow, fast) in RATIOS.items()
    }
    return pd.DataFrame(found).groupby("value").median().rename_axis("k")


def times_of_many(
    served: Sequence[int], n_users: int, n_items: int, base: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    """Seconds for more and more served users of one population, undefended and in closed form.

    Args:
        served: how many are served; where more than there are, all come again.
        n_users: the population, made up, whose neighbours are looked for.
        base: choices, as of :func:`serving_times`.

    Returns:
        Columns served, form, round, seconds, us_per_user.
    """
    rows, victim = [], made_up("MF", n_users, n_items).victim
    with single_thread():
        seen, built = victim.train, forms(victim, **base)
        ready = {form: prepare(built[form], seen)[0] for form in ("undefended", "closed_form")}
        for n in served:
            users = np.resize(np.arange(n_users), n)
            work = {form: partial(lists, ready[form], users, seen) for form in ready}
            for form, taken in in_turn(work, ROUNDS, description=f"{n:,} users").items():
                rows += [
                    (n, form, number, seconds, 1e6 * seconds / n)
                    for number, seconds in enumerate(taken)
                ]
    return pd.DataFrame(rows, columns=["served", "form", "round", "seconds", "us_per_user"])


def memory_of_one_call(trained: Iterable[Trained], **choices) -> pd.DataFrame:
    """Peak memory of a process in which the closed form serves everybody in one call, with these choices.

    Columns data set, users, items, and in MiB: scores (of all users, float32), before, peak
    (:func:`rvdlib.lab.benchmark.memory.of_one_call`).
    """
    rows = []
    for dataset, victim in trained:
        n_users, n_items = victim.train.shape
        found = memory.of_one_call(victim, np.arange(n_users), victim.train, **choices)
        scores = 4 * n_users * n_items / 2**20
        rows.append((dataset, n_users, n_items, scores, found["before"], found["peak"]))
    columns = ["data set", "users", "items", "scores, MiB", "before, MiB", "peak, MiB"]
    return pd.DataFrame(rows, columns=columns)


def hubs_of(trained: Iterable[Trained], k: int) -> pd.DataFrame:
    """:func:`rvdlib.lab.benchmark.serving.hubs`: a row a data set, a column a distance."""
    return pd.DataFrame({one.dataset: hubs(one.victim, k) for one in trained}).T
