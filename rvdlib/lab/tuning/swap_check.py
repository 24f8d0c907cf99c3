"""Whether fakes that a search found can be bettered by exchanging their fillers, gradient or not.

    python -m rvdlib.lab.tuning.swap_check

From the best attack of :mod:`rvdlib.lab.tuning.attack_search` on, fillers are exchanged at random,
the victim is trained anew behind its defence, and what helps is kept (:mod:`rvdlib.lab.tuning.swap_search`). The
attacker sees the whole system here, on the very split and targets that are attacked: more than any
attacker of the study. ``results/search/swaps.csv`` has what it gained: little says that the search has
converged, as far as so few exchanges can tell.
"""

import math

import click
import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from rvdlib import paths
from rvdlib.evaluation import Evaluation, evaluate
from rvdlib.lab.experiment.cells import Cell, carry_out, sample_users
from rvdlib.lab.experiment.hyperparameters import attacked_defenses, searched_attackers
from rvdlib.lab.experiment.poison import aim, kept_poison
from rvdlib.lab.tuning.attack_search import SEARCH_FILE, cells_of
from rvdlib.lab.tuning.records import REGIMES, write_trials
from rvdlib.lab.tuning.swap_search import swap_fillers
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml
from rvdlib.threads import single_thread

NOT_AIMED = ("attack", "dataset", "options", "crafted_for")  # of what identifies a poison


def nearness(evaluation: Evaluation) -> float:
    """How near targets are to the lists, in [0, 1]: 1 / (1 + (rank / K)²), mean over pairs."""
    ranks = evaluation.target_ranks[~evaluation.raters]
    return float(np.mean(1 / (1 + (ranks / evaluation.k) ** 2)))


def refine(cell: Cell, steps: int, share: float) -> dict:
    """One cell's fakes, exchanged step by step: a row of the target hit ratio before and after."""
    scenario = cell.scenario
    known = {name: value for name, value in scenario.poison.items() if name not in NOT_AIMED}
    split, threat, _ = aim(scenario.attack, scenario.dataset, **known)
    users = sample_users(split.train.shape[0], cell.n_users, scenario.seed)

    def attacked(profiles) -> Evaluation:
        trained = carry_out(scenario, cell.training, profiles=profiles)
        defended = cell.defended_by().wrap(trained.victim)
        return evaluate(defended, trained.split, trained.targets, users=users)

    with single_thread():
        first = kept_poison(**scenario.poison).profiles
        best, history = swap_fillers(
            first,
            threat,
            stream(scenario.seed, "swaps"),
            lambda profiles: nearness(attacked(profiles)),
            steps,
            math.ceil(share * first.shape[0]),
        )
        before, after = (attacked(profiles).target_hit_ratio for profiles in (first, best))
    return {
        "regime": scenario.regime,
        "defense": cell.defense,
        "seed": scenario.seed,
        "attack": scenario.attack,
        "steps": steps,
        "kept": int(np.sum(np.diff(history) > 0)),
        "before": before,
        "after": after,
    }


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one a core.")
def main(jobs):
    paths.require_clone()
    search = read_yaml(SEARCH_FILE)
    rule, swaps = search["rule"], search["swaps"]
    cells = [
        cell
        for regime in REGIMES
        for name in swaps["defenses"]
        for cell in cells_of(
            search,
            regime,
            searched_attackers(regime)[name],
            name,
            attacked_defenses(regime, rule["victim"], rule["dataset"])[name],
        )
    ]
    tasks = (joblib.delayed(refine)(cell, swaps["steps"], swaps["share"]) for cell in cells)
    run = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    found = pd.DataFrame(tqdm(run, total=len(cells), desc="fakes"))
    write_trials(paths.RESULTS / "search" / "swaps.csv", found)


if __name__ == "__main__":
    main()
