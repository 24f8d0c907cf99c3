"""``rvd bench``: what it costs to serve a victim's users, undefended and in every form of RVD.

Times are per user (:mod:`rvdlib.lab.benchmark.serving`), all forms in turn, on the same threads. Ratios
are medians of those within a round, in which both sides serve the same users, each equally often:
:data:`PAIRS` everybody, again until there are :data:`LEAST_VISITS`; every form of RVD a sample, of whom
:data:`QUICK` forms serve each ``SAMPLE_VISITS`` times, in batches. Single users are timed too.

Agreement with the plain loop is found out on the sample, in float64 (are they the same computation?)
and in the float32 that is served, where two items may be closer than rounding. The peak memory is that
of :mod:`rvdlib.lab.benchmark.memory`, of a crowd with :data:`MOST_SCORES` scores at most.
"""

import os
import time
from functools import partial
from platform import python_version

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.arguments import check_one_of
from rvdlib.data import Ratings, leave_one_out, load_dataset
from rvdlib.data.regimes import check_regime
from rvdlib.defenses import ClosedFormConfig
from rvdlib.defenses.quorum import QuorumConfig
from rvdlib.defenses.vicinal import RVDConfig
from rvdlib.lab.benchmark import memory
from rvdlib.lab.benchmark.agreement import closed_form_error, compare, in_double
from rvdlib.lab.benchmark.serving import (
    LIST_LENGTH,
    Clock,
    again,
    check_neighbors,
    choices,
    each_in_turn,
    forms,
    hubs,
    in_turn,
    lists,
    prepare,
)
from rvdlib.lab.experiment import machine
from rvdlib.lab.experiment.cells import Attacked, Scenario, carry_out, sample_users
from rvdlib.lab.experiment.fingerprint import library_versions
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.experiment.progress import progress
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream
from rvdlib.threads import on_threads, single_thread

LEAST_VISITS = 10_000
SAMPLE_VISITS = 20
PAIRS = ("undefended", "closed_form", "closed_form_prepared", "quorum")
QUICK = (*PAIRS, "engine")
RATIOS = {f"{name}_over_undefended": ("pairs", name, "undefended") for name in PAIRS[1:]} | {
    "plain_over_closed_form": ("loops", "plain_decoder_loop", "closed_form"),
    "plain_over_engine": ("loops", "plain_loop", "engine"),
    "plain_over_functional": ("loops", "plain_loop", "functional"),
}
DESCRIPTIONS = {"pairs": "undefended, quorum, closed form", "loops": "every form of RVD"}
STEPS, LEARNING_RATE = 20, 0.01
MOST_SCORES = 2**28  # of one call: 1 GiB


def benchmark(
    dataset: str | Ratings,
    model: str,
    *,
    regime: str = "rating",
    k: int = 10,
    unobserved_weight: float = 0.1,
    proximal_weight: float = 1.0,
    chosen: bool = False,
    seed: int = 0,
    threads: int | None = None,
    pairs: int = 5,
    sample: int = 50,
    clock: Clock = time.perf_counter,
) -> dict:
    """Train ``model`` as the study does, measure, and report, in JSON's types.

    Args:
        dataset: a published one, a ratings file, or ratings.
        k: neighbours, in every form.
        unobserved_weight: ω of the closed form and the decoder loop, in [0, 1].
        proximal_weight: λ of the closed form, above 0.
        chosen: take each form's choices from ``params/defenses.yml`` in place of these.
        threads: of torch, BLAS and compiled kernels, at most one a core; None: as many as torch has.
        pairs: rounds, in each of which every form is measured once.
        sample: users whom the loops serve.

    Raises:
        ValueError: for a data set, model or choice that there is none of, before anything is
            trained.
    """
    threads = torch.get_num_threads() if threads is None else threads
    cores = max(os.cpu_count() or 1, torch.get_num_threads())
    if not 1 <= threads <= cores:
        raise ValueError(f"threads must be from 1 to {cores} (this machine's cores), got {threads}")
    check_one_of("model", model, VICTIMS)
    closed = {"unobserved_weight": unobserved_weight, "proximal_weight": proximal_weight, "k": k}
    iterative = {"k": k, "steps": STEPS, "learning_rate": LEARNING_RATE}
    ratings = load_dataset(dataset)
    if chosen:
        found = chosen_defenses(regime, model, ratings.name).values()
        by_method = {form["method"]: form["choices"] for form in found}
        closed, iterative = by_method["closed_form"], by_method["rvd"]
    check_regime(ratings, regime)
    check_neighbors(ratings, max(closed["k"], iterative["k"]))
    split = leave_one_out(ratings, stream(seed, "split"))
    made = choices(closed, iterative)
    kinds = {"closed_form": ClosedFormConfig, "quorum": QuorumConfig}
    kinds |= dict.fromkeys(("plain_loop", "plain_decoder_loop"), RVDConfig)
    complete = {name: kind(**made[name]).model_dump() for name, kind in kinds.items()}
    # Targets are drawn, and no use is made of them; random ones any catalogue has.
    aimed = {"target_set": "random", "seed": seed}
    scenario = Scenario(dataset=ratings.name, victim=model, regime=regime, **aimed)
    train = partial(carry_out, split=split)
    description = f"training {model} on {ratings.name}"
    with single_thread():  # as the study trains it
        (attacked,) = progress(map(train, [scenario]), total=1, description=description)
    with on_threads(threads):
        measured = _measure(attacked, closed, iterative, seed, pairs, sample, clock)
    asked = {"regime": regime, "k": closed["k"], "steps": iterative["steps"], "chosen": chosen}
    asked |= {"choices": complete, "seed": seed, "pairs": pairs}
    versions = library_versions() | {"python": python_version()}
    machinery = {"threads": threads, "cpu": machine.cpu_model(), "versions": versions}
    return {"dataset": ratings.name, "model": model} | asked | machinery | measured


def _measure(
    attacked: Attacked,
    closed: dict,
    iterative: dict,
    seed: int,
    pairs: int,
    sample: int,
    clock: Clock,
) -> dict:
    victim, seen = attacked.victim, attacked.split.train
    n_users, n_items = seen.shape
    few, more = (sample_users(n_users, n, seed) for n in (sample, SAMPLE_VISITS * sample))
    everyone = np.resize(np.arange(n_users), max(n_users, LEAST_VISITS))
    crowd = np.arange(min(n_users, MOST_SCORES // n_items))
    memory_mib = memory.of_one_call(victim, crowd, seen, threads=torch.get_num_threads(), **closed)

    ready, preparation = {}, {}
    for name, build in forms(victim, closed, iterative).items():
        ready[name], preparation[name] = prepare(build, seen, clock)
    often = again(few, SAMPLE_VISITS * len(few))
    served = {
        "pairs": dict.fromkeys(PAIRS, everyone),
        "loops": {
            name: often if name in QUICK else few
            for name in ready
            if name == "closed_form" or name not in PAIRS
        },
    }
    rounds = {}
    for group, users in served.items():
        work = {name: partial(lists, ready[name], users[name], seen) for name in users}
        seconds = in_turn(work, pairs, clock=clock, description=DESCRIPTIONS[group])
        rounds[group] = {name: 1e6 * seconds[name] / len(users[name]) for name in users}
    alone = {}
    for users, names in ((more, QUICK), (few, [name for name in ready if name not in QUICK])):
        serve = {name: partial(lists, ready[name], seen=seen) for name in names}
        one = {name: each_in_turn(call, users[:, None]) for name, call in serve.items()}
        alone |= in_turn(one, len(users), clock=clock, description="one user at a time")
    times = rounds["loops"] | rounds["pairs"]
    costs = {name: float(np.median(times[name])) for name in ready}
    return {
        "users": n_users,
        "items": n_items,
        "embedding_size": victim.config.embedding_size,
        "sample": len(few),
        "served": {n: len(users) for n, users in (served["loops"] | served["pairs"]).items()},
        **{f"{name}_us_per_user": costs[name] for name in costs},
        **{
            name: float(np.median(rounds[group][slow] / rounds[group][fast]))
            for name, (group, slow, fast) in RATIOS.items()
        },
        **_agreement(victim, closed, iterative, few, seen),
        "closed_form_error": closed_form_error(ready["closed_form"], few),
        "peak_rss_mib": memory_mib["peak"],
        "peak_rss_before_mib": memory_mib["before"],
        "peak_rss_users": len(crowd),
        "hubness_skewness": hubs(victim, closed["k"]),
        "preparation_ms": {name: 1000 * seconds for name, seconds in preparation.items()},
        "single_user_ms": {
            name: {f"p{n}": 1000 * float(np.percentile(taken, n)) for n in (50, 99)}
            | {"calls": len(taken)}
            for name, taken in alone.items()
        },
        "matmul_gflops": machine.matmul_gflops(),
        "copy_gigabytes": machine.copy_gigabytes(),
        "rounds_us_per_user": {
            group: {name: taken.tolist() for name, taken in by_form.items()}
            for group, by_form in rounds.items()
        },
    }


def _agreement(
    victim: Victim, closed: dict, iterative: dict, users: np.ndarray, seen: sp.csr_matrix
) -> dict:
    found = {}
    for precision, same in (("float32", victim), ("float64", in_double(victim))):
        built = forms(same, closed, iterative)
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


def as_text(report: dict) -> str:
    """The report as a reader wants it; :func:`benchmark` has its units."""
    r = report
    closed, quorum, loop = (r["choices"][name] for name in ("closed_form", "quorum", "plain_loop"))
    lines = [
        f"{r['model']} on {r['dataset']}, {r['regime']} regime: {r['users']:,} users, "
        f"{r['items']:,} items, {r['embedding_size']} factors",
        f"closed form: k = {closed['k']}, λ = {closed['proximal_weight']:g}, "
        f"ω = {closed['unobserved_weight']:g}",
        f"quorum: {quorum['quorum']} of {quorum['k']} neighbours, nobody in more than "
        f"{quorum['max_in_degree']} vicinities",
        f"loops: k = {loop['k']}, {loop['steps']} steps of {(loop['optimizer'] or 'adam').title()} by "
        f"{loop['learning_rate']:g}, all parameters; or the decoder alone, with the closed form's "
        "k and ω",
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
        f"  with neighbours found beforehand  {r['closed_form_prepared_over_undefended']:10.2f}",
        f"quorum / undefended, so prepared    {r['quorum_over_undefended']:10.2f}",
        f"plain decoder loop / closed form    {r['plain_over_closed_form']:10.1f}",
        f"plain loop / engine                 {r['plain_over_engine']:10.1f}",
        f"plain loop / functional             {r['plain_over_functional']:10.1f}",
        "",
        f"closed form: at most {r['closed_form_error']:.1e} stars off a solve item by item, over "
        f"{r['sample']} users",
        f"peak memory {r['peak_rss_mib']:,.0f} MiB of a process in which the closed form serves "
        f"{r['peak_rss_users']:,} users in one call, {r['peak_rss_before_mib']:,.0f} before",
        f"hubs, skewness of {closed['k']}-occurrences: "
        + ", ".join(f"{name} {skew:.1f}" for name, skew in r["hubness_skewness"].items()),
    ]
    lines += [
        f"{name}, {precision}: at most {compared['max_abs_difference']:.1e} stars off the plain loop, "
        f"first {LIST_LENGTH} items the same for {compared['identical_lists']:.0%} of users"
        for name, by_precision in r["agreement"].items()
        for precision, compared in by_precision.items()
    ]
    return "\n".join(lines)
