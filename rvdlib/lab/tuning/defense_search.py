"""How RVD's own hyper-parameters are chosen: on validation items and the defender's own attack.

    python -m rvdlib.lab.tuning.defense_search

The defender has validation items, and can attack himself: random-profile fakes that promote random
targets, with seeds that no table uses (a table may report an attack of the same family). The test
ratings of all tables are taken out beforehand. Of all choices whose validation accuracy (RMSE in
the rating regime, NDCG@50 in the ranking regime) is within the budget of the undefended victim's,
the one with the lowest target hit ratio under the simulated attack is taken; if none is within, the
most accurate one. Space and rule are in ``params/defense_search.yml``, every trial in
``results/search/defenses.csv``, what was chosen in ``params/defenses.yml``.
"""

from itertools import product

import click
import pandas as pd
import yaml

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario, run_cells
from rvdlib.lab.experiment.hyperparameters import DEFENSES_FILE
from rvdlib.lab.statistics import BETTER
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream
from rvdlib.strict_yaml import parse_yaml, read_yaml

SEARCH_FILE = paths.PARAMS / "defense_search.yml"
REGIMES = ("rating", "ranking")


def candidates(form: dict) -> list[dict]:
    """Every combination of a form's choices, of each of its grids; or ``trials`` of them at random."""
    grids = form["choices"] if isinstance(form["choices"], list) else [form["choices"]]
    every = [
        dict(zip(grid, values, strict=True)) for grid in grids for values in product(*grid.values())
    ]
    if "trials" not in form:
        return every
    chosen = stream(0, "defense search").choice(len(every), form["trials"], replace=False)
    return [every[at] for at in sorted(chosen)]


def trial_cells(search: dict, dataset: str) -> list[Cell]:
    """Every victim, undefended and under every candidate, attacked by the defender himself."""
    rule, cells = search["rule"], []
    for regime, victim, seed in product(REGIMES, VICTIMS, rule["seeds"]):
        scenario = Scenario(
            dataset=dataset,
            victim=victim,
            regime=regime,
            attack=rule["attack"],
            attack_size=rule["attack_size"],
            target_set=rule["target_set"],
            seed=seed,
            evaluated_on="validation",
        )
        for name, form in search["forms"].items():
            shared = {"scenario": scenario, "n_users": form.get("n_users")}
            cells.append(Cell(**shared))
            for choices in candidates(form):
                cells.append(Cell(**shared, defense=name, method=form["method"], choices=choices))
    return list({cell.model_dump_json(): cell for cell in cells}.values())


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


def check_trained(rows: pd.DataFrame) -> None:
    """Refuse to choose on a victim that biases or popularity beat, attacked though it is.

    Raises:
        StudyError: naming them all.
    """
    beaten = rows.loc[rows["beaten_by"] != "", ["regime", "victim", "seed", "beaten_by"]]
    if len(beaten):
        lines = beaten.drop_duplicates().astype(str).agg(", ".join, axis=1)
        raise StudyError(
            "no defence can be chosen on victims that their reference beats on validation (regime, "
            f"victim, seed, reference): {'; '.join(lines)}: choose their hyper-parameters first"
        )


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--dataset", default="ml-100k", show_default=True)
def main(dataset):
    choose_all(dataset)


def choose_all(dataset: str = "ml-100k") -> None:
    """Search every form for every victim, and write what was tried and what is chosen."""
    paths.require_clone()
    search = read_yaml(SEARCH_FILE)
    rule, forms = search["rule"], search["forms"]
    cells = trial_cells(search, dataset)
    rows = run_cells(cells)
    check_trained(rows)
    rows["choices"] = [
        yaml.safe_dump(cell.choices, default_flow_style=True).strip() for cell in cells
    ]
    metrics = ["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]
    keys = ["regime", "victim", "n_users"]
    means = rows.groupby([*keys, "defense", "choices"], as_index=False, sort=False)[metrics].mean()
    undefended = means[means["defense"] == UNDEFENDED].drop(columns=["defense", "choices"])
    trials = means[means["defense"] != UNDEFENDED].merge(
        undefended, on=keys, suffixes=("", "_undefended")
    )
    log = paths.RESULTS / "search" / "defenses.csv"
    paths.write_atomically(log, trials.to_csv(index=False, float_format="%.5g"))
    chosen: dict = {}
    for (regime, victim, form), group in trials.groupby(
        ["regime", "victim", "defense"], sort=False
    ):
        best = choose(group, rule["accuracy"][regime], rule["budget"])
        chosen.setdefault(regime, {}).setdefault(victim, {})[form] = {
            "method": forms[form]["method"],
            "choices": parse_yaml(best["choices"]),
        }
    header = f"# Written by rvdlib.lab.tuning.defense_search on {dataset}: see params/defense_search.yml.\n"
    paths.write_atomically(DEFENSES_FILE, header + yaml.safe_dump(chosen, sort_keys=False))


if __name__ == "__main__":
    main()
