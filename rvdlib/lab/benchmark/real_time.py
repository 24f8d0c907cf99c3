"""A defender as users meet it: one request after the other, from one thread or several."""

import resource
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from rvdlib.lab.benchmark.serving import LIST_LENGTH, Seconds, both_clocks, each_in_turn, in_turn
from rvdlib.lab.experiment.machine import peak_mib
from rvdlib.models import Victim
from rvdlib.seeding import stream
from rvdlib.serving import UNDEFENDED, Arrays, RealTimeDefender
from rvdlib.threads import single_thread

ZIPF = 1.0  # exponent of how often users come
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
SIZE, RATED = 32, 20  # of made-up users: length of a vector, ratings
CACHE = {"cold": 0, "warm": 64 * 2**20}


def closed_form(k: int) -> dict:
    return {"method": "closed_form", "choices": {"k": k}}


def forms(k: Sequence[int]) -> dict[str, dict]:
    """What is timed, by name; the defences at each k.

    *Hardened*: the closed form, of which a quorum serves what a seventh of as many neighbours rated.
    """
    found: dict[str, dict] = {"undefended": dict(UNDEFENDED)}
    for each in k:
        quorum = {"method": "quorum", "choices": {"k": each, "quorum": max(1, each // 7)}}
        found[f"closed form, k = {each}"] = closed_form(each)
        found[f"closed form and quorum, k = {each}"] = {"chain": [closed_form(each), quorum]}
    return found


def trace(n_users: int, n_requests: int, rng: np.random.Generator) -> np.ndarray:
    """(n_requests,) rows of users, who come by Zipf's law, in an order of their own."""
    often = 1 / np.arange(1, n_users + 1) ** ZIPF
    return rng.permutation(n_users)[rng.choice(n_users, n_requests, p=often / often.sum())]


@single_thread()
def request_times(defenders: Mapping[str, RealTimeDefender], users: Sequence) -> Seconds:
    """Name → (users, 2) seconds of the clock and of the processor; each user is served by all in turn."""
    work = {
        name: each_in_turn(partial(defender.recommend, n=LIST_LENGTH), users)
        for name, defender in defenders.items()
    }
    return in_turn(work, len(users), clock=both_clocks, description="requests")


def quantiles(times: Seconds) -> pd.DataFrame:
    """By name, milliseconds at each of ``QUANTILES``, of the clock and of the processor."""
    found = []
    for name, taken in times.items():
        row = {"name": name}
        for label, share in QUANTILES.items():
            row[f"{label}_ms"], row[f"{label}_cpu_ms"] = 1000 * np.quantile(taken, share, axis=0)
        found.append(row)
    return pd.DataFrame(found)


def latencies(victim: Victim, k: Sequence[int], n_requests: int) -> pd.DataFrame:
    """Quantiles of every form, cold (nothing kept) and warm, under one trace.

    Columns name, cache (cold, warm), p50_ms, …, hits (share of requests that the cache answered).
    """
    users = trace(victim.train.shape[0], n_requests, stream(0, "trace")).tolist()
    found = []
    for cache, n_bytes in CACHE.items():
        defenders = {
            name: RealTimeDefender(victim, form=form, cache_bytes=n_bytes)
            for name, form in forms(k).items()
        }
        measured = quantiles(request_times(defenders, users))
        repeated = len(users) - len(set(users))
        found.append(measured.assign(cache=cache, hits=repeated / len(users) * (n_bytes > 0)))
    return pd.concat(found, ignore_index=True)


def throughput(victim: Victim, k: int, n_requests: int, threads: Sequence[int]) -> pd.DataFrame:
    """Requests a second by form and threads, nothing kept: columns name, threads, per_second."""
    users = trace(victim.train.shape[0], n_requests, stream(0, "trace")).tolist()
    rows = []
    for name, form in forms([k]).items():
        defender = RealTimeDefender(victim, form=form, cache_bytes=0)
        for number in threads:
            begun = time.perf_counter()
            with ThreadPoolExecutor(number) as pool:
                for _ in pool.map(partial(defender.recommend, n=LIST_LENGTH), users):
                    pass
            rows.append((name, number, len(users) / (time.perf_counter() - begun)))
    return pd.DataFrame(rows, columns=["name", "threads", "per_second"])


def updates(victim: Victim, k: int, sizes: Sequence[int], rounds: int = 3) -> pd.DataFrame:
    """What an update takes, by form and by what changes: one user, or so many ratings at once.

    Columns name, update, ratings, seconds (of the processor, the median), per_second (ratings).
    """
    (n_users, n_items), most = victim.train.shape, float(victim.levels[-1])
    rows = []
    for name, form in forms([k]).items():
        defender = RealTimeDefender(victim, form=form)
        for number in range(rounds + 1):
            rng, new = stream(number, "updates"), n_users + number
            users, items = (rng.integers(n, size=max(sizes)).tolist() for n in (n_users, n_items))
            came = [(user, item, most) for user, item in zip(users, items, strict=True)]
            kinds = {f"{size} of known users": {"ratings": came[:size]} for size in sizes}
            kinds["a new user"] = {"ratings": [(new, item, most) for item in set(items[:20])]}
            kinds["a user who leaves"] = {"remove": [new]}
            for update, given in kinds.items():
                begun = time.process_time()
                defender.update(**given)
                seconds = time.process_time() - begun
                if number:  # the first one compiles, and fills what is kept
                    rows.append((name, update, len(given.get("ratings", ())), seconds))
    found = pd.DataFrame(rows, columns=["name", "update", "ratings", "seconds"])
    found = found.groupby(["name", "update"], sort=False).median().reset_index()
    return found.assign(per_second=found["ratings"] / found["seconds"])


def made_up(n_users: int, n_items: int, rng: np.random.Generator) -> Arrays:
    """Arrays of any size, for their cost: vectors of 8 dimensions with noise in all, 20 ratings each."""
    of_users, of_items = (
        (
            rng.standard_normal((n, 8), dtype=np.float32)
            @ rng.standard_normal((8, SIZE), dtype=np.float32)
            + np.float32(0.5) * rng.standard_normal((n, SIZE), dtype=np.float32)
        )
        / np.float32(SIZE)
        for n in (n_users, n_items)
    )
    items = np.sort(rng.integers(n_items - RATED, size=(n_users, RATED)), axis=1) + np.arange(RATED)
    train = sp.csr_matrix(
        (
            np.full(items.size, 4, dtype=np.float32),
            items.ravel().astype(np.int32),
            np.arange(0, items.size + 1, RATED),
        ),
        shape=(n_users, n_items),
    )
    return Arrays.from_parts(of_users, np.zeros(n_users), of_items, np.zeros(n_items), train)


def at_scale(sizes: Sequence[int], n_items: int, k: int, n_requests: int) -> pd.DataFrame:
    """Exact against approximate neighbours, of more and more users: the closed form, nothing kept.

    Columns users, search (exact, graph), build_seconds (of what serves; of the graph, it too),
    held_mib (that the process held more than before), graph_mib, p50_ms, …, recall (of the k nearest).
    """
    rows = []
    for n_users in sizes:
        arrays = made_up(n_users, n_items, stream(0, "made up", n_users))
        users = stream(0, "asked").choice(n_users, n_requests, replace=False)
        asked, exact = users.tolist(), None
        for search in ("exact", "graph"):
            before, begun = _held_mib(), time.perf_counter()
            defender = RealTimeDefender(
                arrays, form=closed_form(k), approximate=search == "graph", cache_bytes=0
            )
            built = time.perf_counter() - begun
            times = quantiles(request_times({search: defender}, asked))
            found = np.array([_neighbors(defender, user) for user in asked[:100]])
            exact = found if exact is None else exact
            rows.append(
                times.drop(columns="name").assign(
                    users=n_users,
                    search=search,
                    build_seconds=built,
                    held_mib=_held_mib() - before,
                    graph_mib=defender.graph_bytes / 2**20,
                    recall=recall(found, exact),
                )
            )
            del defender
    return pd.concat(rows, ignore_index=True)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """The share of the neighbours (B, k) found that are among the exact ones (B, k)."""
    shares = [np.isin(a, b).mean() for a, b in zip(found, exact, strict=True)]
    return float(np.mean(shares))


def _neighbors(defender: RealTimeDefender, user: int) -> list[int]:
    return list(defender.recommend(user, 1, evidence=True).evidence.neighbors)


def _held_mib() -> float:
    """What the process holds now; its peak where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return peak_mib()
