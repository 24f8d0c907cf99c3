"""The search that chose ``params/victims.yml``: random, on validation data alone, repeatable.

    python -m rvdlib.lab.tuning.victim_search --dataset ml-100k [--victim MF] [--regime rating] [--trials 40]

Both regimes are searched on leave-one-out, as the tables train their victims: the rating regime by
RMSE on the validation items, the ranking regime by NDCG@50. Each trial is a mean over splits and
initialisations of seeds that no table reports, and never looks at the test ratings of its splits.
Nor does it see those of the tables: they are taken out of the ratings before anything is split.
(The random fifths of 02_victims are no part of this: those of ten seeds cover nearly all ratings.)
Trials are added to ``results/search/victims/DATASET.csv``, and the best of each victim and regime is
written to ``params/victims.yml``.
"""

import time

import click
import joblib
import pandas as pd
import scipy.stats
from sklearn.model_selection import ParameterSampler
from tqdm import tqdm

from rvdlib import paths
from rvdlib.data import leave_one_out, load_dataset
from rvdlib.lab.experiment.hyperparameters import REGIMES, VICTIMS_FILE
from rvdlib.lab.experiment.splits import without_test_ratings
from rvdlib.lab.tuning.records import one_line, write_chosen
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream
from rvdlib.strict_yaml import parse_yaml, read_yaml
from rvdlib.threads import single_thread

FIRST_SEED = 1001  # this one and those after it stand in no table
LOGS = paths.RESULTS / "search" / "victims"


def _trial(dataset: str, regime: str, victim: str, hyperparameters: dict, splits: int) -> dict:
    ratings = without_test_ratings(load_dataset(dataset))
    start, errors = time.perf_counter(), []
    with single_thread():
        for seed in range(FIRST_SEED, FIRST_SEED + splits):
            split = leave_one_out(ratings, stream(seed, "split"))
            model = VICTIMS[victim](**hyperparameters)
            model.fit(split.train, split.validation, ratings.levels, stream(seed, "model"))
            errors.append(model.validation_error)
    seconds = (time.perf_counter() - start) / splits
    return {
        "dataset": dataset,
        "regime": regime,
        "victim": victim,
        "validation_error": sum(errors) / len(errors),
        "train_seconds": round(seconds, 2),
        "hyperparameters": one_line(hyperparameters),
    }


def _chosen_elsewhere(dataset: str, regime: str, victim: str, space: dict) -> list[dict]:
    """What other data sets chose and the space allows, always tried first."""
    chosen = read_yaml(VICTIMS_FILE) if VICTIMS_FILE.exists() else {}
    others = [
        regimes.get(regime, {}).get(victim) for name, regimes in chosen.items() if name != dataset
    ]
    return [each for each in others if each and _inside(each, space)]


def _inside(hyperparameters: dict, space: dict[str, list]) -> bool:
    """Whether each is within its range, or one of its choices; ``epochs`` are not searched."""
    return all(
        min(choice) <= hyperparameters[name] <= max(choice)
        if len(choice) == 2
        else hyperparameters[name] in choice
        for name, choice in space.items()
    )


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--dataset", required=True)
@click.option("--victim", "victims", multiple=True, type=click.Choice(list(VICTIMS)))
@click.option("--regime", "regimes", multiple=True, type=click.Choice(REGIMES))
@click.option("--trials", default=40, show_default=True)
@click.option("--splits", default=2, show_default=True, help="Seeds that a trial is averaged over.")
@click.option("--seed", default=0, show_default=True, help="Of the trials drawn.")
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one a core.")
@click.option("--epochs", default=100, show_default=True)
def main(dataset, victims, regimes, trials, splits, seed, jobs, epochs):
    paths.require_clone()
    spaces = read_yaml(paths.PARAMS / "search.yml")
    tasks = []
    for regime in regimes or REGIMES:
        for victim in victims or VICTIMS:
            state = int(stream(seed, "search", dataset, regime, victim).integers(2**31))
            space = spaces[regime][victim]
            drawn_from = {
                name: scipy.stats.loguniform(*choice) if len(choice) == 2 else choice
                for name, choice in space.items()
            }
            sampler = ParameterSampler(drawn_from, trials, random_state=state)
            for drawn in [*_chosen_elsewhere(dataset, regime, victim, space), *sampler]:
                rounded = {
                    name: float(f"{value:.2g}") if isinstance(value, float) else value
                    for name, value in drawn.items()
                }
                chosen = rounded | {"epochs": epochs}
                tasks.append(joblib.delayed(_trial)(dataset, regime, victim, chosen, splits))
    run = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
    log = LOGS / f"{dataset}.csv"
    known = pd.read_csv(log, dtype=str) if log.is_file() else pd.DataFrame()
    for row in tqdm(run, total=len(tasks), desc="trials"):
        known = pd.concat([known, pd.DataFrame([row])])
        known = known.drop_duplicates(["regime", "victim", "hyperparameters"], keep="last")
        paths.write_atomically(log, known.to_csv(index=False))
    write_best()


def write_best():
    """Write the best trial of every data set, regime and victim on record to params/victims.yml."""
    logs = sorted(LOGS.glob("*.csv"))
    trials = pd.concat((pd.read_csv(log) for log in logs), ignore_index=True)
    best = trials.loc[trials.groupby(["dataset", "regime", "victim"])["validation_error"].idxmin()]
    chosen: dict = {}
    for row in best.itertuples():
        regimes = chosen.setdefault(row.dataset, {})
        regimes.setdefault(row.regime, {})[row.victim] = parse_yaml(row.hyperparameters)
    made = "rvdlib.lab.tuning.victim_search: chosen on validation data, see results/search/victims/"
    write_chosen(VICTIMS_FILE, chosen, made)


if __name__ == "__main__":
    main()
