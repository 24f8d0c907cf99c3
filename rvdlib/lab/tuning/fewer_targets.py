"""How far fakes get that do not rate every target: within the budget, and outside the protocol.

    python -m rvdlib.lab.tuning.fewer_targets

The protocol has every target in every fake, and so has every attack of the study. Nothing makes an
attacker do that. Our guess at why it helps him to leave some out, not measured: items that only fakes
rate together make a direction of their own in a latent space, and it takes the fakes away from those
beside whom they are to stand. Here all but some targets are taken out of one attack's fakes, which else stay as they
are: *one each*, in proportion to how many of the users that the attacker sees rated them, or *the two
most rated* in all, the others given up. ``results/search/fewer_targets.csv`` has what each defence
serves of all targets then, beside the same fakes with every target, and the attackers who were searched
against these defences.

What the fakes are made of was found by trial on the seeds of the attack search; these are others. They
are told of one defence whomever they meet: what they reach against others is a transfer.
"""

from collections.abc import Iterator, Mapping, Sequence

import click
import joblib
import numpy as np
import pandas as pd
import scipy.sparse as sp
from tqdm import tqdm

from rvdlib import paths
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario, carry_out, evaluate_cell
from rvdlib.lab.experiment.hyperparameters import attacked_defenses
from rvdlib.lab.experiment.knowing import searched, told
from rvdlib.lab.experiment.poison import kept_poison
from rvdlib.lab.tuning.attack_search import FILLER_SIZE, SEARCH_FILE
from rvdlib.lab.tuning.records import write_trials
from rvdlib.lab.tuning.swap_check import aimed
from rvdlib.strict_yaml import read_yaml
from rvdlib.threads import single_thread

REGIME = "ranking"  # where few neighbours are fakes, and where they stand decides
EVERY, ONE, TWO = "every target", "one target each", "the two most rated targets"
CLEAN = "none"


def one_each(counts: np.ndarray, n_fakes: int) -> np.ndarray:
    """Which target each fake keeps, bool (fakes, targets): in proportion to ``counts``, the visible ratings
    of each, and half a one more; neighbouring fakes, which are often clones of one user, take others."""
    shares = (counts + 0.5) / (counts + 0.5).sum()
    kept, due = np.zeros((n_fakes, len(counts)), dtype=bool), np.zeros(len(counts))
    for fake in kept:
        due += shares
        fake[due.argmax()] = True
        due[due.argmax()] -= 1
    return kept


def most_rated(counts: np.ndarray, n_fakes: int, n_kept: int = 2) -> np.ndarray:
    """The same ``n_kept`` targets in each fake, those of the most visible ratings: bool (fakes, targets)."""
    kept = np.zeros(len(counts), dtype=bool)
    kept[np.argsort(-counts, kind="stable")[:n_kept]] = True
    return np.tile(kept, (n_fakes, 1))


def keeping(profiles: sp.csr_matrix, targets: np.ndarray, kept: np.ndarray) -> sp.csr_matrix:
    """``profiles`` without the targets, ascending, that ``kept``, bool (fakes, targets), does not have."""
    fewer = profiles.copy()
    rows = np.repeat(np.arange(fewer.shape[0]), np.diff(fewer.indptr))
    places = np.searchsorted(targets, fewer.indices).clip(max=len(targets) - 1)
    is_target = targets[places] == fewer.indices
    fewer.data[is_target & ~kept[rows, places]] = 0
    fewer.eliminate_zeros()
    return fewer


def fakes_of(scenario: Scenario) -> dict[str, sp.csr_matrix]:
    """The scenario's fakes, with every target and with fewer."""
    _, threat = aimed(scenario)
    profiles = kept_poison(**scenario.poison).profiles
    counts = np.bincount(threat.visible.indices, minlength=threat.n_items)[threat.targets]
    kept = {ONE: one_each, TWO: most_rated}
    return {EVERY: profiles} | {
        name: keeping(profiles, threat.targets, which(counts, threat.n_fakes))
        for name, which in kept.items()
    }


def measured(
    scenario: Scenario, label: str, defenses: Mapping[str, Mapping], n_users: int | None
) -> list[dict]:
    """Rows of what each defence serves under the scenario's attack; of our own, under each of its fakes."""
    rows, at = [], {"target_set": scenario.target_set, "seed": scenario.seed}
    with single_thread():
        every = fakes_of(scenario) if label == EVERY else {label: None}
        for fakes, profiles in every.items():
            attacked = carry_out(scenario, profiles=profiles)
            for name, form in defenses.items():
                cell = Cell(scenario=scenario, defense=name, n_users=n_users, **form)
                found = evaluate_cell(cell, attacked)["target_hit_ratio"]
                rows.append(at | {"fakes": fakes, "defense": name, "target_hit_ratio": found})
    return rows


def scenarios(search: Mapping, forms: Mapping[str, Mapping]) -> Iterator[tuple[Scenario, str]]:
    """Each scenario and what its fakes are called: nobody's, our own, and those searched against ``forms``."""
    rule, ours = search["rule"], search["fewer_targets"]
    own, told_of = ours["attack"], forms[ours["told_of"]]
    known = {"attack_options": told(REGIME, own["attack"], told_of, own["options"])}
    under = {CLEAN: (CLEAN, {}), EVERY: (own["attack"], known | {FILLER_SIZE: own[FILLER_SIZE]})}
    for name, form in forms.items():
        for at, found in enumerate(searched(REGIME, name, form)):
            if found not in under.values():
                under[f"against {name}" + f" (earlier {at})" * (at > 0)] = found
    for seed in ours["seeds"]:
        for target_set in ours["target_sets"]:
            for label, (attack, known) in under.items():
                size = rule["attack_size"][REGIME]
                of = {"attack": attack, "attack_size": size, "target_set": target_set, **known}
                victim = {"dataset": rule["dataset"], "victim": rule["victim"]}
                yield Scenario(**victim, regime=REGIME, seed=seed, **of), label


def asked(names: Sequence[str], rule: Mapping) -> dict[str, dict]:
    """The forms of these defences as they meet attackers, the undefended victim first."""
    forms = attacked_defenses(REGIME, rule["victim"], rule["dataset"], names)
    return {UNDEFENDED: {}} | {name: forms[name] for name in names}


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one a core.")
def main(jobs):
    paths.require_clone()
    search = read_yaml(SEARCH_FILE)
    ours = search["fewer_targets"]
    forms = asked(ours["defenses"], search["rule"])
    under = [*scenarios(search, forms)]
    tasks = (joblib.delayed(measured)(*each, forms, ours["n_users"]) for each in under)
    run = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    rows = [row for found in tqdm(run, total=len(under), desc="poisoned sets") for row in found]
    write_trials(paths.RESULTS / "search" / "fewer_targets.csv", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
