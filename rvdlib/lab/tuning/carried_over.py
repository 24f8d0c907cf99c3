"""What it costs RVD on another data set to be as it was chosen on ML-100K.

    python -m rvdlib.lab.tuning.carried_over

The log of ``defense_search --dataset filmtrust`` says what its rule chooses there, on validation items,
with targets and seeds that no table uses. Both choices are measured as a table would, on its seeds and
test items: ``results/search/carried_over.csv``.
"""

import click
import pandas as pd

from rvdlib import paths
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario, run_cells
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.tuning.defense_search import implied, log_file, search_file
from rvdlib.lab.tuning.records import write_trials
from rvdlib.strict_yaml import read_yaml

HOME = "ml-100k"
# Biases beat every victim of its rating regime, and no defence can be chosen on such.
DATASET, REGIME, TARGET_SET = "filmtrust", "ranking", "random"
ATTACKS = ("none", "random", "low_clone")
SEEDS, N_USERS, ATTACK_SIZE = (0, 1, 2), 200, 0.1
COLUMNS = ["dataset", "victim", "seed", "attack", "defense", "chosen_on"]
METRICS = ["target_hit_ratio", "hit_ratio", "ndcg"]


def cells() -> list[tuple[Cell, str]]:
    """Each cell and on which data set its defence was chosen: undefended on neither."""
    log = pd.read_csv(log_file("defense", DATASET))
    own, found = implied(log, read_yaml(search_file("defense"))), []
    for victim in dict.fromkeys(victim for _, victim, _ in own):
        carried = chosen_defenses(REGIME, victim, HOME)
        forms = {name: form for (_, of, name), form in own.items() if of == victim}
        for seed in SEEDS:
            for attack in ATTACKS:
                size = ATTACK_SIZE if attack != "none" else 0.0
                under = {"attack": attack, "attack_size": size, "target_set": TARGET_SET}
                of = {"dataset": DATASET, "victim": victim, "regime": REGIME, "seed": seed}
                whose = {"scenario": Scenario(**of, **under), "n_users": N_USERS}
                found.append((Cell(**whose, defense=UNDEFENDED), ""))
                for name, form in forms.items():
                    found.append((Cell(**whose, defense=name, **carried[name]), HOME))
                    found.append((Cell(**whose, defense=name, **form), DATASET))
    return found


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one a core.")
def main(jobs):
    paths.require_clone()
    asked, where = zip(*cells(), strict=True)
    rows = run_cells(asked, jobs=jobs).assign(chosen_on=where)
    write_trials(paths.RESULTS / "search" / "carried_over.csv", rows[[*COLUMNS, *METRICS]])


if __name__ == "__main__":
    main()
