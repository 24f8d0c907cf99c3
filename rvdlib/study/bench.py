"""``rvd bench``: what it costs to serve a victim's users, undefended and in every form of RVD.

One process, the same users, the same threads, all forms in turn. Times are per user, of scores for
the whole catalogue, neighbours and first 50 items (:mod:`rvdlib.study.serving`); ratios are medians
of the ratios within a round. Undefended and in closed form a user takes microseconds, so everybody
is served, and again until there are :data:`LEAST_VISITS`; the loops serve a sample.

Agreement with the plain loop, of scores in stars and of first 50 items, is found out on the sample,
in float64 (``max_abs_difference``, ``top50_identical``: are they the same computation?) and in the
float32 that is served, where two items may be closer than rounding (``agreement`` has both).

Shares of what the machine can do count the least that any implementation must do for a user: one
product of her vector with the catalogue, and scores written once and read once; defended, also one
with everybody's vectors, their distances written and read, and a product a rating of the vicinity.

The peak memory is that of the process (``getrusage``) right after the closed form has served
everybody, before any other form is built; beside it, the peak before the closed form was built,
which loading the data and training have left.
"""

import time
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.data import load_dataset
from rvdlib.models import VICTIMS, Victim
from rvdlib.runner.fingerprint import library_versions
from rvdlib.runner.parallel import on_threads, single_thread
from rvdlib.runner.progress import progress
from rvdlib.study import machine
from rvdlib.study.agreement import closed_form_error, compare, in_double
from rvdlib.study.cells import Attacked, Scenario, carry_out, sample_users
from rvdlib.study.serving import LIST_LENGTH, Clock, forms, in_turn, lists, one_by_one, prepare

LEAST_VISITS = 20_000
STEPS = 20
ENGINE_SAMPLES = 20  # the engine serves so many times the sample
CHECKED_USERS = 3
FLOAT = 4  # bytes


def benchmark(
    dataset: str,
    model: str,
    *,
    regime: str = "rating",
    k: int = 10,
    seed: int = 0,
    threads: int | None = None,
    pairs: int = 5,
    sample: int = 50,
    clock: Clock = time.perf_counter,
) -> dict:
    """Train ``model`` as the study does, measure, and report, in JSON's types.

    Args:
        dataset: a published one, or a ratings file.
        k: neighbours, in every form.
        threads: of torch, BLAS and compiled kernels; None: as many as torch has.
        pairs: rounds, in each of which every form is measured once.
        sample: users whom the loops serve.

    Raises:
        ValueError: for a data set, model or k that there is none of, before anything is trained.
    """
    threads = threads or torch.get_num_threads()
    if model not in VICTIMS:
        raise ValueError(f"{model!r} is not a model; the models are {', '.join(VICTIMS)}")
    others = load_dataset(dataset).n_users - 1
    if not 1 <= k <= others:
        raise ValueError(f"k must be between 1 and {others} (the other users), got {k}")
    scenario = Scenario(dataset=dataset, victim=model, regime=regime, seed=seed)
    description = f"training {model} on {dataset}"
    with single_thread():  # as the study trains it
        (attacked,) = progress(map(carry_out, [scenario]), total=1, description=description)
    with on_threads(threads):
        measured = _measure(attacked, k, seed, pairs, sample, clock)
    chosen = {"regime": regime, "k": k, "steps": STEPS, "seed": seed, "pairs": pairs}
    machinery = {"threads": threads, "cpu": machine.cpu_model(), "versions": library_versions()}
    return {"dataset": dataset, "model": model} | chosen | machinery | measured


def _measure(attacked: Attacked, k: int, seed: int, pairs: int, sample: int, clock: Clock) -> dict:
    victim, seen = attacked.victim, attacked.split.train
    n_users, n_items = seen.shape
    few = sample_users(n_users, sample, seed)
    more = sample_users(n_users, ENGINE_SAMPLES * sample, seed)
    everyone = np.resize(np.arange(n_users), max(n_users, LEAST_VISITS))
    builders = forms(victim, k, STEPS)
    served = dict.fromkeys(builders, few) | {
        "undefended": everyone,
        "closed_form": everyone,
        "engine": more,
    }

    before, ready, preparation = machine.peak_mib(), {}, {}
    for name, build in builders.items():
        ready[name], preparation[name] = prepare(build, seen, clock)
        if name == "closed_form":  # the first of all
            lists(ready[name], everyone, seen)
            peak = machine.peak_mib()

    work = {name: partial(lists, ready[name], users, seen) for name, users in served.items()}
    pair = {name: work[name] for name in ("undefended", "closed_form")}
    defended = {name: work[name] for name in work if name != "undefended"}
    measured = {
        "pairs": in_turn(pair, pairs, clock=clock, description="undefended and closed form"),
        "loops": in_turn(defended, pairs, clock=clock, description="every form of RVD"),
    }
    rounds = {
        group: {name: 1e6 * taken / len(served[name]) for name, taken in seconds.items()}
        for group, seconds in measured.items()
    }
    alone = one_by_one(
        {name: (ready[name], few if served[name] is few else more) for name in ready},
        seen,
        clock=clock,
    )
    costs = {name: float(np.median(taken)) for name, taken in rounds["loops"].items()}
    costs |= {name: float(np.median(taken)) for name, taken in rounds["pairs"].items()}
    return {
        "users": n_users,
        "items": n_items,
        "embedding_size": victim.config.embedding_size,
        "served": {name: len(users) for name, users in served.items()},
        **{f"{name}_us_per_user": costs[name] for name in work},
        "closed_form_over_undefended": _ratio(rounds["pairs"], "closed_form", "undefended"),
        "plain_over_closed_form": _ratio(rounds["loops"], "plain_decoder_loop", "closed_form"),
        "plain_over_engine": _ratio(rounds["loops"], "plain_loop", "engine"),
        "plain_over_functional": _ratio(rounds["loops"], "plain_loop", "functional"),
        **_agreement(victim, k, few, seen),
        "closed_form_error": closed_form_error(ready["closed_form"], few[:CHECKED_USERS]),
        "peak_rss_mib": peak,
        "peak_rss_before_mib": before,
        "preparation_ms": {name: 1000 * seconds for name, seconds in preparation.items()},
        "single_user_ms": {name: _percentiles(1000 * taken) for name, taken in alone.items()},
        **_shares(victim, k, n_items, costs),
        "rounds_us_per_user": {
            group: {name: taken.tolist() for name, taken in by_form.items()}
            for group, by_form in rounds.items()
        },
    }


def _ratio(rounds: dict[str, np.ndarray], slow: str, fast: str) -> float:
    return float(np.median(rounds[slow] / rounds[fast]))


def _percentiles(milliseconds: np.ndarray) -> dict:
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "calls": len(milliseconds)}


def _agreement(victim: Victim, k: int, users: np.ndarray, seen: sp.csr_matrix) -> dict:
    found = {}
    for precision, same in (("float32", victim), ("float64", in_double(victim))):
        built = forms(same, k, STEPS)
        plain = built["plain_loop"]()
        for name in ("engine", "functional"):
            compared = compare(built[name](), plain, users, seen)
            found.setdefault(name, {})[precision] = compared
    exact = [by_precision["float64"] for by_precision in found.values()]
    return {
        "max_abs_difference": max(compared["max_abs_difference"] for compared in exact),
        f"top{LIST_LENGTH}_identical": all(c["identical_lists"] == 1 for c in exact),
        "agreement": found,
    }


def _shares(victim: Victim, k: int, n_items: int, costs: dict[str, float]) -> dict:
    """Operations and bytes that cannot be avoided, a second, over what the machine can do."""
    peak, bandwidth = machine.matmul_gflops(), machine.copy_gigabytes()
    n_users, size = victim.train.shape[0], victim.config.embedding_size + 1
    heard = k * victim.train.nnz / n_users
    products = {"undefended": n_items, "closed_form": n_items + n_users + heard}
    numbers = {"undefended": n_items, "closed_form": n_items + n_users}
    shares = {"matmul_gflops": peak, "copy_gigabytes": bandwidth}
    for name in products:
        nanoseconds = 1000 * costs[name]
        shares[f"{name}_share_of_matmul"] = 2 * size * products[name] / nanoseconds / peak
        shares[f"{name}_share_of_copy"] = 2 * FLOAT * numbers[name] / nanoseconds / bandwidth
    return shares


def as_text(report: dict) -> str:
    """The report as a reader wants it; :func:`benchmark` has its units."""
    r = report
    lines = [
        f"{r['model']} on {r['dataset']}, {r['regime']} regime: {r['users']:,} users, "
        f"{r['items']:,} items, {r['embedding_size']} factors; k = {r['k']}, {r['steps']} steps",
        f"{r['threads']} of {r['cpu']}'s threads: {r['matmul_gflops']:.0f} GFLOP/s in a matrix "
        f"product, {r['copy_gigabytes']:.1f} GB/s in a copy",
        "",
        f"{'':20}{'µs per user':>12}{'served':>9}{'one user, ms':>16}{'preparation':>14}",
        f"{'':20}{'':>12}{'':>9}{'p50':>8}{'p99':>8}{'ms':>14}",
    ]
    for name, served in r["served"].items():
        alone = r["single_user_ms"][name]
        lines.append(
            f"{name.replace('_', ' '):20}{r[f'{name}_us_per_user']:12,.1f}{served:9,}"
            f"{alone['p50']:8.2f}{alone['p99']:8.2f}{r['preparation_ms'][name]:14,.0f}"
        )
    lines += [
        "",
        f"closed form / undefended            {r['closed_form_over_undefended']:10.2f}",
        f"plain decoder loop / closed form    {r['plain_over_closed_form']:10.1f}",
        f"plain loop / engine                 {r['plain_over_engine']:10.1f}",
        f"plain loop / functional             {r['plain_over_functional']:10.1f}",
        "",
        f"closed form: at most {r['closed_form_error']:.1e} stars off a solve item by item",
        f"peak memory {r['peak_rss_mib']:,.0f} MiB when the closed form had served everybody, "
        f"{r['peak_rss_before_mib']:,.0f} before it was built",
    ]
    lines += [
        f"{name}, {precision}: at most {compared['max_abs_difference']:.1e} stars off the plain loop, "
        f"first {LIST_LENGTH} items the same for {compared['identical_lists']:.0%} of users"
        for name, by_precision in r["agreement"].items()
        for precision, compared in by_precision.items()
    ]
    lines += [
        f"{name.replace('_', ' ')}: {r[f'{name}_share_of_matmul']:.0%} of the matrix product's "
        f"speed, {r[f'{name}_share_of_copy']:.0%} of the copy's"
        for name in ("undefended", "closed_form")
    ]
    return "\n".join(lines)
