"""How the hyper-parameters of defences are chosen: on validation items and the defender's own attacks.

    python -m rvdlib.lab.tuning.defense_search --search hardened

The defender has validation items, and can attack himself, with targets and seeds that no table uses
(a table may report an attack of the same family). Of the validation items, those count that no table
tests on. Of all choices whose validation accuracy is within the budget, the one with the lowest
target hit ratio under the worst of the simulated attacks is taken; if none is within, the most
accurate one; target hit ratios that are nearly equal count as equal where the rule says so, and then
accuracy decides. First some are drawn at random, the same for all victims; then whatever lies one step
from the best so far is tried, until nothing there is better.

There are three searches, ``params/NAME_search.yml``. *defense*: the paper's method and the closed form,
against random-profile fakes. *hardened*: against attackers who know the defence, and are told the
choices that are tried. *robust*: the rivals that act before or in training, and blending. Every trial is
in ``results/search``, what was chosen in ``params/defenses.yml``, ``hardened.yml`` and ``robust.yml``;
of another data set than ML-100K in files that end with its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import click
import joblib
import pandas as pd
from tqdm import tqdm

from rvdlib import paths
from rvdlib.data import load_dataset
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.cells import (
    UNDEFENDED,
    Attacked,
    Cell,
    Scenario,
    carry_out,
    evaluate_cell,
)
from rvdlib.lab.experiment.hyperparameters import (
    DEFENSES_FILE,
    HARDENED_FILE,
    REGIMES,
    ROBUST_FILE,
    own_file,
)
from rvdlib.lab.experiment.knowing import told
from rvdlib.lab.statistics import BETTER
from rvdlib.lab.tuning.records import one_line, rounded, write_chosen, write_trials
from rvdlib.lab.tuning.search_space import around, candidates, within
from rvdlib.models import VICTIMS
from rvdlib.strict_yaml import parse_yaml, read_yaml
from rvdlib.threads import single_thread

# Search → the file with what is chosen; its space and rule are params/NAME_search.yml.
CHOSEN_FILES = {"defense": DEFENSES_FILE, "hardened": HARDENED_FILE, "robust": ROBUST_FILE}
METRICS = ["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]


@dataclass(eq=False)
class Simulation:
    """One victim of one regime, under the defender's own attacks on each of his seeds."""

    rule: dict
    dataset: str
    regime: str
    victim: str
    _attacked: dict[str, Attacked] = field(default_factory=dict)

    def scenario(self, attack: str, seed: int, form: Mapping) -> Scenario:
        """Judged on validation items; who knows the defence is told what it is."""
        return Scenario(
            dataset=self.dataset,
            victim=self.victim,
            regime=self.regime,
            attack=attack,
            attack_size=0.0 if attack == "none" else self.rule["attack_size"][self.regime],
            attack_options=told(self.regime, attack, form),
            target_set=self.rule["target_set"][self.regime],
            seed=seed,
            evaluated_on="validation",
        )

    def measure(self, n_users: int | None, hopeless=None, **defense: Any) -> dict[str, float]:
        """Of one defence, or of none, to the digits that are kept: they decide.

        Means over seeds: of accuracy where the rule says (under its attacks, or under none), of the
        target hit ratio under the worst of the attacks. ``hopeless`` is asked after each attack,
        accuracy first, whether what was found so far suffices; NaN is a target hit ratio of none.

        Raises:
            StudyError: if biases or popularity beat the victim, attacked though it is.
        """
        rows, attacks = [], self.rule["attacks"]
        judged = attacks if self.rule["accurate_under"] == "attacks" else ["none"]
        for attack in dict.fromkeys([*judged, *attacks]):
            for seed in self.rule["seeds"]:
                scenario = self.scenario(attack, seed, defense)
                cell = Cell(scenario=scenario, n_users=n_users, **defense)
                trained = self._carried_out(scenario)  # also to see that it has learned
                if cell.training:
                    trained = carry_out(scenario, cell.training)
                rows.append(evaluate_cell(cell, trained) | {"attack": attack})
            table = pd.DataFrame(rows).set_index("attack")
            means = table.loc[table.index.isin(judged), METRICS].mean()
            under = table.loc[table.index.isin(attacks), "target_hit_ratio"]
            means["target_hit_ratio"] = under.groupby(level="attack").mean().max()
            found = {name: rounded(value) for name, value in means.items()}
            if hopeless and set(judged) <= set(table.index) and hopeless(found):
                break
        return found

    def _carried_out(self, scenario: Scenario) -> Attacked:
        key = repr(scenario)
        if key not in self._attacked:
            trained = self._attacked[key] = carry_out(scenario)
            if trained.beaten_by:
                raise StudyError(
                    f"no defence can be chosen on a victim that {trained.beaten_by} beats on "
                    f"validation: {scenario.victim}, {scenario.regime} regime, seed {scenario.seed}; "
                    "choose its hyper-parameters first"
                )
        return self._attacked[key]


def search_victim(search: dict, dataset: str, regime: str, victim: str) -> pd.DataFrame:
    """All trials of one victim under every form, in the order in which they were made."""
    simulation = Simulation(search["rule"], dataset, regime, victim)
    others = load_dataset(dataset).n_users - 1
    with single_thread():
        return pd.concat(
            [
                search_form(within(form, others), simulation).assign(
                    regime=regime, victim=victim, defense=name
                )
                for name, form in search["forms"].items()
                if regime in form.get("regimes", REGIMES)
            ]
        )


def search_form(form: dict, simulation: Simulation) -> pd.DataFrame:
    """The trials of a form: those drawn, then steps around the best, ``most`` in all.

    Columns: ``choices``, the metrics, their ``_reference`` twins: of the undefended victim or, where
    it is more accurate, of the rule's ``reference``.
    """
    n_users, rule = form.get("n_users"), simulation.rule
    accuracy = rule["accuracy"][simulation.regime]
    bare = simulation.measure(n_users, defense=UNDEFENDED)
    if "reference" in rule:
        other = simulation.measure(n_users, method=rule["reference"])
        better = {name: max if BETTER[name] > 0 else min for name in accuracy}
        bare |= {name: better[name](bare[name], other[name]) for name in accuracy}
    reference = {f"{name}_reference": value for name, value in bare.items()}
    tried, waiting = [], candidates(form)

    def hopeless(found: Mapping) -> bool:
        """Whether its target hit ratio no longer matters to :func:`choose`, whatever is tried later."""
        trials = pd.DataFrame([*tried, {**found, **reference}])
        affordable = losses(trials, accuracy) <= rule["budget"]
        ratios = trials["target_hit_ratio"][affordable]
        return not affordable.iloc[-1] or ratios.iloc[-1] > ratios.min() + rule["equal"]

    asked = {"hopeless": hopeless} if form.get("stops_early") else {}
    while waiting:
        for choices in waiting:
            found = simulation.measure(n_users, method=form["method"], choices=choices, **asked)
            tried.append({"n_users": n_users, "choices": choices, **found, **reference})
        trials = pd.DataFrame(tried)
        best = choose(trials, accuracy, rule["budget"], rule["equal"])
        known = trials["choices"].tolist()
        left = form.get("most", len(tried)) - len(tried)
        waiting = [each for each in around(form, best["choices"]) if each not in known][:left]
    if pd.isna(best["target_hit_ratio"]):
        full = simulation.measure(n_users, method=form["method"], choices=best["choices"])
        trials.loc[best.name, METRICS] = pd.Series(full)
    return trials


def losses(trials: pd.DataFrame, accuracy: Sequence[str]) -> pd.Series:
    """The accuracy that each trial loses, relative to its reference: of what loses most."""
    each = [BETTER[a] * (1 - trials[a] / trials[f"{a}_reference"]) for a in accuracy]
    return pd.concat(each, axis=1).max(axis=1)


def choose(
    trials: pd.DataFrame, accuracy: Sequence[str], budget: float, equal: float = 0.0
) -> pd.Series:
    """The row to take, from the trials of one form and victim, as :func:`search_form` has them.

    Args:
        accuracy: of ``rmse`` (less is better), ``hit_ratio`` and ``ndcg`` (more is better); the one
            that loses most counts.
        budget: how much worse the accuracy may be, relative to the reference.
        equal: above 0, target hit ratios no further than this above the lowest count as equal to it,
            and the most accurate of these is taken; else the first of the lowest.
    """
    loss = losses(trials, accuracy)
    affordable = trials[loss <= budget]
    if len(affordable):
        ratios = affordable["target_hit_ratio"]
        near = ratios.index[ratios <= ratios.min() + equal]
        return affordable.loc[(loss if equal else ratios)[near].idxmin()]
    return trials.loc[loss.idxmin()]


def search_file(name: str) -> Path:
    return paths.PARAMS / f"{name}_search.yml"


def log_file(name: str, dataset: str) -> Path:
    return paths.RESULTS / "search" / f"{own_file(CHOSEN_FILES[name], dataset).stem}.csv"


@click.command(help=__doc__.split("\n\n")[0], context_settings={"show_default": True})
@click.option("--search", "name", type=click.Choice([*CHOSEN_FILES]), default="defense")
@click.option("--dataset", default="ml-100k")
@click.option("--form", "only", help="Search this form alone.")
@click.option("--victim", type=click.Choice(list(VICTIMS)), help="Search for this victim alone.")
@click.option("--regime", type=click.Choice(REGIMES), help="Search in this regime alone.")
@click.option("--jobs", default=-1, help="Processes; -1: one a core.")
def main(name, dataset, only, victim, regime, jobs):
    paths.require_clone()
    search = read_yaml(search_file(name))
    rule, forms = search["rule"], search["forms"]
    if only and only not in forms:
        raise click.UsageError(f"{search_file(name)} has no form {only!r}, but {[*forms]}")
    searched = search | {"forms": {only: forms[only]} if only else forms}
    names = [victim] if victim else rule.get("victims", list(VICTIMS))
    regimes = [regime] if regime else [*reversed(REGIMES)]  # the slowest first: every item counts
    victims = [(regime, victim) for regime in regimes for victim in names]
    tasks = [joblib.delayed(search_victim)(searched, dataset, *each) for each in victims]
    run = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    trials = pd.concat(tqdm(run, total=len(tasks), desc="victims"), ignore_index=True)
    record(name, search, trials, dataset)


def record(name: str, search: dict, trials: pd.DataFrame, dataset: str) -> None:
    """Write the trials and what is chosen; what is on record of others stays."""
    forms = search["forms"]
    by = ["regime", "victim", "defense"]
    log = trials.assign(choices=trials["choices"].map(one_line))
    log = log.set_index([*by, "n_users", "choices"]).reset_index()  # these columns first
    log_at = log_file(name, dataset)
    if log_at.is_file():
        known = pd.read_csv(log_at)
        again = pd.MultiIndex.from_frame(known[by]).isin(pd.MultiIndex.from_frame(trials[by]))
        log = pd.concat([log, known[~again]])
    pieces = dict([*log.groupby(by)])
    order = [each for each in product(REGIMES, VICTIMS, forms) if each in pieces]
    log = pd.concat([pieces[each] for each in order], ignore_index=True)
    chosen: dict[str, dict] = {}
    for (regime, victim, form), found in implied(log, search).items():
        chosen.setdefault(regime, {}).setdefault(victim, {})[form] = found
    write_trials(log_at, log)
    made = f"rvdlib.lab.tuning.defense_search on {dataset}: see params/{name}_search.yml"
    write_chosen(own_file(CHOSEN_FILES[name], dataset), chosen, made)


def implied(log: pd.DataFrame, search: Mapping) -> dict[tuple[str, str, str], dict]:
    """(regime, victim, form) → its ``method`` and the ``choices`` that a log of trials implies."""
    rule, found = search["rule"], {}
    for key, group in log.groupby(["regime", "victim", "defense"], sort=False):
        best = choose(group, rule["accuracy"][key[0]], rule["budget"], rule["equal"])
        method = search["forms"][key[2]]["method"]
        found[key] = {"method": method, "choices": parse_yaml(best["choices"])}
    return found


if __name__ == "__main__":
    main()
