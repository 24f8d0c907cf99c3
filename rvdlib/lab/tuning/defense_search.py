"""How RVD's own hyper-parameters are chosen: on validation items and the defender's own attack.

    python -m rvdlib.lab.tuning.defense_search

The defender has validation items, and can attack himself: random-profile fakes that promote random
targets, with seeds that no table uses (a table may report an attack of the same family). Of the
validation items, those count that no table tests on. Of all choices whose validation accuracy (RMSE
in the rating regime, NDCG@50 in the ranking regime) is within the budget of the undefended
victim's, the one with the lowest target hit ratio under the simulated attack is taken; if none is
within, the most accurate one. First some are drawn at random, the same for all victims; then whatever lies one
step from the best so far is tried, until nothing there is better. Space and rule are in
``params/defense_search.yml``, every trial in ``results/search/defenses.csv``, what was chosen in
``params/defenses.yml``.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import click
import joblib
import pandas as pd
import yaml
from tqdm import tqdm

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.cells import (
    UNDEFENDED,
    Attacked,
    Cell,
    Scenario,
    carry_out,
    evaluate_cell,
)
from rvdlib.lab.experiment.hyperparameters import DEFENSES_FILE
from rvdlib.lab.statistics import BETTER
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml
from rvdlib.threads import single_thread

SEARCH_FILE = paths.PARAMS / "defense_search.yml"
REGIMES = ("rating", "ranking")
METRICS = ["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]


def grids(form: dict) -> list[dict[str, list]]:
    """Choice → the values that are drawn; a form may have several grids."""
    return form["choices"] if isinstance(form["choices"], list) else [form["choices"]]


def candidates(form: dict) -> list[dict]:
    """Every combination of a form's choices, of each of its grids; or ``trials`` of them at random."""
    every = [
        dict(zip(grid, values, strict=True))
        for grid in grids(form)
        for values in product(*grid.values())
    ]
    if "trials" not in form:
        return every
    chosen = stream(0, "defense search").choice(len(every), form["trials"], replace=False)
    return [every[at] for at in sorted(chosen)]


def lattice(form: dict, choices: Mapping) -> dict[str, list]:
    """Choice → what it may be, in order: the grid of these choices, and what lies ``beyond`` it."""
    beyond = form.get("beyond", {})
    for grid in grids(form):
        values = {name: [*grid[name], *beyond.get(name, [])] for name in grid}
        if all(choices[name] in values[name] for name in grid):
            return {name: sorted(those) for name, those in values.items()}
    raise ValueError(f"no grid has {dict(choices)}")


def around(form: dict, choices: dict) -> list[dict]:
    """What lies one step from these choices: one of them a value lower or higher."""
    found = []
    for name, values in lattice(form, choices).items():
        at = values.index(choices[name])
        found += [{**choices, name: value} for value in values[max(at - 1, 0) : at + 2]]
    return [each for each in found if each != choices]


def scenario_of(search: dict, dataset: str, regime: str, victim: str, seed: int) -> Scenario:
    """A victim that the defender attacks himself, judged on validation items."""
    rule = search["rule"]
    return Scenario(
        dataset=dataset,
        victim=victim,
        regime=regime,
        attack=rule["attack"],
        attack_size=rule["attack_size"],
        target_set=rule["target_set"],
        seed=seed,
        evaluated_on="validation",
    )


def measure(
    attacked: Sequence[tuple[Scenario, Attacked]], n_users: int | None, **defense
) -> dict[str, float]:
    """Means over seeds of one defence, or of none, to the digits that are kept: they decide."""
    rows = [
        evaluate_cell(Cell(scenario=scenario, n_users=n_users, **defense), trained)
        for scenario, trained in attacked
    ]
    means = pd.DataFrame(rows)[METRICS].mean()
    return {name: float(f"{value:.5g}") for name, value in means.items()}


def search_victim(search: dict, dataset: str, regime: str, victim: str) -> pd.DataFrame:
    """All trials of one victim under every form, in the order in which they were made.

    Raises:
        StudyError: if biases or popularity beat the victim, attacked though it is.
    """
    rule = search["rule"]
    scenarios = [scenario_of(search, dataset, regime, victim, seed) for seed in rule["seeds"]]
    with single_thread():
        attacked = [(scenario, carry_out(scenario)) for scenario in scenarios]
        check_trained(attacked)
        return pd.concat(
            [
                search_form(form, attacked, rule["accuracy"][regime], rule["budget"]).assign(
                    regime=regime, victim=victim, defense=name
                )
                for name, form in search["forms"].items()
            ]
        )


def search_form(
    form: dict, attacked: Sequence[tuple[Scenario, Attacked]], accuracy: str, budget: float
) -> pd.DataFrame:
    """The trials of a form: those drawn, then steps around the best, ``most`` in all.

    Columns: ``choices``, the metrics, and their ``_undefended`` twins.
    """
    n_users = form.get("n_users")
    bare = measure(attacked, n_users, defense=UNDEFENDED)
    undefended = {f"{name}_undefended": value for name, value in bare.items()}
    tried, waiting = [], candidates(form)
    while waiting:
        for choices in waiting:
            found = measure(attacked, n_users, method=form["method"], choices=choices)
            tried.append({"n_users": n_users, "choices": choices, **found, **undefended})
        trials = pd.DataFrame(tried)
        best = choose(trials, accuracy, budget)["choices"]
        known = trials["choices"].tolist()
        left = form.get("most", len(tried)) - len(tried)
        waiting = [each for each in around(form, best) if each not in known][:left]
    return trials


def choose(trials: pd.DataFrame, accuracy: str, budget: float) -> pd.Series:
    """The row to take, from the trials of one form and victim: one a candidate, means over seeds.

    Args:
        trials: columns ``target_hit_ratio``, the accuracy's, and its ``_undefended`` twin.
        accuracy: ``rmse`` (less is better) or ``ndcg`` (more is better).
        budget: how much worse the accuracy may be, relative to undefended.
    """
    loss = BETTER[accuracy] * (1 - trials[accuracy] / trials[f"{accuracy}_undefended"])
    affordable = trials[loss <= budget]
    if len(affordable):
        return affordable.loc[affordable["target_hit_ratio"].idxmin()]
    return trials.loc[loss.idxmin()]


def check_trained(attacked: Sequence[tuple[Scenario, Attacked]]) -> None:
    """Refuse to choose on a victim that biases or popularity beat, attacked though it is.

    Raises:
        StudyError: naming what beats it.
    """
    for scenario, trained in attacked:
        if trained.beaten_by:
            raise StudyError(
                f"no defence can be chosen on a victim that {trained.beaten_by} beats on validation: "
                f"{scenario.victim}, {scenario.regime} regime, seed {scenario.seed}; choose its "
                "hyper-parameters first"
            )


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--dataset", default="ml-100k", show_default=True)
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one a core.")
def main(dataset, jobs):
    choose_all(dataset, jobs)


def choose_all(dataset: str = "ml-100k", jobs: int = -1) -> None:
    """Search every form for every victim, and write what was tried and what is chosen."""
    paths.require_clone()
    search = read_yaml(SEARCH_FILE)
    rule, forms = search["rule"], search["forms"]
    # The slowest first: there every item counts.
    victims = [(regime, victim) for regime in reversed(REGIMES) for victim in VICTIMS]
    tasks = [joblib.delayed(search_victim)(search, dataset, *each) for each in victims]
    run = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    found = dict(zip(victims, tqdm(run, total=len(tasks), desc="victims"), strict=True))
    trials = pd.concat([found[each] for each in product(REGIMES, VICTIMS)], ignore_index=True)
    chosen: dict = {}
    for (regime, victim, form), group in trials.groupby(
        ["regime", "victim", "defense"], sort=False
    ):
        best = choose(group, rule["accuracy"][regime], rule["budget"])
        chosen.setdefault(regime, {}).setdefault(victim, {})[form] = {
            "method": forms[form]["method"],
            "choices": best["choices"],
        }
    flow = {"default_flow_style": True, "width": 1e9}
    log = trials.assign(choices=[yaml.safe_dump(c, **flow).strip() for c in trials["choices"]])
    first = ["regime", "victim", "defense", "n_users", "choices"]
    log = log[[*first, *log.columns.drop(first)]]
    path = paths.RESULTS / "search" / "defenses.csv"
    paths.write_atomically(path, log.to_csv(index=False, float_format="%.5g"))
    header = f"# Written by rvdlib.lab.tuning.defense_search on {dataset}: see params/defense_search.yml.\n"
    paths.write_atomically(DEFENSES_FILE, header + yaml.safe_dump(chosen, sort_keys=False))


if __name__ == "__main__":
    main()
