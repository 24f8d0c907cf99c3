"""What 12_serving_timings asks of a defender in service: what approximate neighbours and a cache change,
and how often the alarm is raised for nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from rvdlib.defenses import ClosedFormRVD
from rvdlib.evaluation import evaluate
from rvdlib.lab.benchmark import real_time
from rvdlib.lab.experiment.cells import UNDEFENDED, Scenario, carry_out, sample_users
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.experiment.poison import kept_poison
from rvdlib.lab.runner.ledger import said_of
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import effects, tables
from rvdlib.lab.study.claims import Part, judge
from rvdlib.lab.study.effects import ATTACK_SIZE, CLOSED_FORM, RVD, removed, with_lift
from rvdlib.models import Victim
from rvdlib.seeding import stream
from rvdlib.serving import UNDEFENDED as NO_DEFENSE
from rvdlib.serving import RealTimeDefender
from rvdlib.serving.alarm import DEVIATIONS, Alarm
from rvdlib.serving.approximate import EXPANSION, ApproximateSearch, Graph

EXACT = "exact"
ROUNDS = 4  # of a trace, each from an empty cache
CACHED = ["undefended_cpu_ms", "rvd_cpu_ms", "ratio", "hits"]
HALVES = 10  # into which a seed's users are divided, for the alarm
SHOWN = {
    "recall": "neighbours found",
    "target_hit_ratio": "THR@50",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
}


def graph_name(expansion: int) -> str:
    return f"graph, expansion {expansion}"


def scenarios(dataset, victim, settings, seeds) -> Iterator[Scenario]:
    """Not attacked, and attacked as each regime's setting says, seed by seed."""
    for regime, under in settings.items():
        attacks, target_set = ["none", under["attack"]], under["target_set"]
        for seed in seeds:
            yield from effects.scenarios(dataset, [victim], [regime], attacks, [target_set], [seed])


def approximation(
    dataset: str,
    victim: str,
    settings: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    n_users: int | None,
    expansions: Sequence[int],
) -> pd.DataFrame:
    """The closed form with exact neighbours, and with those of graphs: a row a cell.

    Columns of :func:`rvdlib.lab.study.effects.with_lift`, the defence named by its search, with
    ``recall``: the share of the exact neighbours of those who are evaluated that the search finds.
    """
    rows = []
    for scenario in scenarios(dataset, victim, settings, seeds):
        attacked = carry_out(scenario)
        users = sample_users(attacked.split.train.shape[0], n_users, scenario.seed)
        exact = None
        for name, recommender in _searches(attacked.victim, scenario, expansions):
            found = evaluate(recommender, attacked.split, attacked.targets, users=users)
            recall = np.nan
            if name != UNDEFENDED:
                lists = recommender.search(users)
                exact = lists if exact is None else exact
                recall = real_time.recall(lists, exact)
            known = scenario.model_dump() | {"attack_size": ATTACK_SIZE[scenario.regime]}
            known |= {"defense": name, "recall": recall}
            rows.append(known | found.summary() | found.target_counts)
    columns = ["dataset", "victim", "regime", "target_set", "attack", "seed", "defense", *SHOWN]
    return pd.DataFrame(rows)[[*columns, "attack_size", "target_hits", "target_users"]]


def _searches(trained: Victim, scenario: Scenario, expansions: Sequence[int]):
    yield UNDEFENDED, trained
    forms = chosen_defenses(scenario.regime, scenario.victim, scenario.dataset)
    chosen = forms[CLOSED_FORM]["choices"]
    yield EXACT, ClosedFormRVD(trained, **chosen)
    factors, everyone = trained.user_factors(), np.arange(trained.train.shape[0])
    heard = np.diff(trained.train.indptr) > 0
    for expansion in dict.fromkeys([*expansions, EXPANSION]):
        form = ClosedFormRVD(trained, **chosen)
        graph = Graph(factors, form.config.distance, expansion=expansion)
        form.search = ApproximateSearch(graph, form.config.k, factors, everyone, factors, heard)
        yield graph_name(expansion), form


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds with intervals, attacked: what a table shows."""
    attacked = rows[(rows["attack"] != "none") & (rows["defense"] != UNDEFENDED)]
    return summarise(attacked, ["regime", "defense"], list(SHOWN))


def lift_lost(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Regime → share of the lift removed, approximate less exact, by seed."""
    lifted = with_lift(rows)
    lifted = lifted[lifted["attack"] != "none"]
    found = {}
    for regime, here in lifted.groupby("regime", sort=False):
        of = {name: removed(own) for name, own in here.groupby("defense", sort=False)}
        found[regime] = of[graph_name(EXPANSION)] - of[EXACT]
    return found


def victims(dataset: str, victim: str, regimes: Iterable[str]) -> dict[str, Victim]:
    """Regime → the victim, not attacked."""
    made = [Scenario(dataset=dataset, victim=victim, regime=regime) for regime in regimes]
    return {scenario.regime: carry_out(scenario).victim for scenario in made}


def cached(dataset: str, trained: Mapping[str, Victim], n_requests: int) -> pd.DataFrame:
    """RVD with a cache beside no defence with one: the mean time of a request, of a Zipf trace.

    Columns regime, victim, round, undefended_cpu_ms, rvd_cpu_ms, ratio (of these), hits (share from the
    cache).
    """
    rows = []
    for regime, victim in trained.items():
        form = chosen_defenses(regime, victim.name, dataset)[RVD]
        for number in range(ROUNDS):
            asked = real_time.trace(victim.train.shape[0], n_requests, stream(number, "trace"))
            defenders = {
                "undefended": RealTimeDefender(victim, form=NO_DEFENSE),
                "rvd": RealTimeDefender(victim, form=form),
            }
            times = real_time.request_times(defenders, asked.tolist())
            hits = 1 - len(set(asked.tolist())) / len(asked)
            bare, ours = (1000 * times[name][:, 1].mean() for name in defenders)
            rows.append((regime, victim.name, number, bare, ours, ours / bare, hits))
    return pd.DataFrame(rows, columns=["regime", "victim", "round", *CACHED])


def cached_means(caching: pd.DataFrame) -> pd.DataFrame:
    """:func:`cached` over rounds: a row a regime and victim."""
    return caching.groupby(["regime", "victim"], sort=False)[CACHED].mean().round(3)


def judged(caching: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """C6 from rounds of a trace, as :func:`cached` has them; C17 as :func:`approximation` has it.

    What is timed differs from run to run: of C6 the verdict alone is kept, and its numbers stand with
    the timings. C17 is measured for the closed form.
    """
    timed = [
        Part({"regime": regime, "victim": victim, "defense": RVD}, {"": here["ratio"]})
        for (regime, victim), here in caching.groupby(["regime", "victim"], sort=False)
    ]
    caches = judge("C6", timed).assign(value=np.nan, low=np.nan, high=np.nan, n_seeds=0)
    victim = rows["victim"].iloc[0]
    lost = [
        Part({"regime": regime, "victim": victim, "defense": CLOSED_FORM}, {"": values})
        for regime, values in lift_lost(rows).items()
    ]
    return pd.concat([caches, judge("C17", lost)], ignore_index=True)


def false_alarms(
    dataset: str, victim: str, settings: Mapping[str, Mapping[str, str]], seeds: Sequence[int]
) -> pd.DataFrame:
    """The alarm where real users come, and where fakes come with them: a row a division of the users.

    A half of them is the reference; then the other half comes, without or with the fakes of the
    setting's attack.

    Columns regime, seed, half, arrivals (users, users and fakes), raised.
    """
    rows = []
    for scenario in scenarios(dataset, victim, settings, seeds):
        if scenario.attack == "none":
            clean = carry_out(scenario)
            continue
        fakes = kept_poison(**scenario.poison).profiles
        train = clean.split.train
        rated = {"users": train, "users and fakes": sp.vstack([train, fakes], "csr")}
        for half in range(HALVES):
            rng = stream(scenario.seed, "halves", half)
            first = np.sort(rng.choice(train.shape[0], train.shape[0] // 2, False))
            alarm = Alarm.calibrated(train[first], rng)
            for arrivals, known in rated.items():
                raised = alarm.surge(known) > DEVIATIONS
                rows.append((scenario.regime, scenario.seed, half, arrivals, raised))
    columns = ["regime", "seed", "half", "arrivals", "raised"]
    return pd.DataFrame(rows, columns=columns)


def alarm_rates(alarms: pd.DataFrame) -> pd.DataFrame:
    """Share of divisions with an alarm: a row a regime, a column what arrived."""
    return alarms.pivot_table(index="regime", columns="arrivals", values="raised", sort=False)


def answer(
    latency: pd.DataFrame,
    scale: pd.DataFrame,
    caching: pd.DataFrame,
    alarms: pd.DataFrame,
    found: pd.DataFrame,
) -> str:
    """The answer of 12, of rows of :func:`rvdlib.lab.benchmark.real_time.latencies` and
    :func:`~rvdlib.lab.benchmark.real_time.at_scale`, :func:`cached`, :func:`false_alarms` and :func:`judged`.
    """
    cold = latency[latency["cache"] == "cold"].set_index("name")["p99_cpu_ms"]
    slowest = cold.drop("undefended").idxmax()
    most = scale[scale["users"] == scale["users"].max()].set_index("search")
    rates, means = alarm_rates(alarms), cached_means(caching)
    lost = found.loc[found["id"] == "C17", "value"]
    return tables.answer(
        f"99 of 100 cold requests take at most {cold['undefended']:.2f} ms of the processor "
        f"undefended and {cold[slowest]:.2f} ms in the slowest form ({slowest}).",
        f"The paper's own form, by steps, takes {tables.span(means['rvd_cpu_ms'], '{:.2f}')} ms a request "
        f"and no defence {tables.span(means['undefended_cpu_ms'], '{:.2f}')} ms, both with a cache: "
        f"{tables.span(means['ratio'], '{:.0f}')} times as long; {said_of('C6', found)}.",
        f"Among {scale['users'].max():,} users, exact neighbours take "
        f"{most.loc['exact', 'p50_cpu_ms']:.1f} ms a request and those of a graph "
        f"{most.loc['graph', 'p50_cpu_ms']:.1f} ms, after "
        f"{most.loc['graph', 'build_seconds']:.0f} seconds to build it; the share of the lift "
        f"that the closed form removes changes by {tables.span(lost.dropna())}; {said_of('C17', found)}.",
        f"The alarm is raised in {tables.span(rates['users'], '{:.0%}')} of looks where real users "
        f"came, and in {tables.span(rates['users and fakes'], '{:.0%}')} where fakes came with them.",
    )
