"""Whether fakes that a search found can be bettered by exchanges on the attacked system, gradient or not.

    python -m rvdlib.lab.tuning.swap_check

From the best attack of :mod:`rvdlib.lab.tuning.attack_search` on, either fillers are exchanged at
random, or whole fakes for those of the attackers that were searched against the other defences, which
makes mixtures of attacks; the victim is trained anew behind its defence, and what helps is kept. The
attacker sees the whole system here, on the very split and targets that are attacked: more than any
attacker of the study. ``results/search/swaps.csv`` has what it gained: little says that the search has
converged, as far as so few exchanges can tell; much, that a gradient was masked (Carlini et al. 2019).
As much is exchanged in random fakes, where there is something to find: what is found there is what
the check can see.
"""

import math
from collections.abc import Callable, Sequence

import click
import joblib
import numpy as np
import pandas as pd
import scipy.sparse as sp
from tqdm import tqdm

from rvdlib import paths
from rvdlib.attacks.profiles import assemble, filler_candidates
from rvdlib.data import Split
from rvdlib.evaluation import Evaluation, evaluate
from rvdlib.lab.experiment.cells import Cell, Scenario, carry_out, sample_users
from rvdlib.lab.experiment.hyperparameters import REGIMES, attacked_defenses, searched_attackers
from rvdlib.lab.experiment.poison import aim, kept_poison
from rvdlib.lab.tuning.attack_search import FILLER_SIZE, SEARCH_FILE, cells_of
from rvdlib.lab.tuning.records import write_trials
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml
from rvdlib.threads import single_thread
from rvdlib.threat_model import ThreatModel

NOT_AIMED = ("attack", "dataset", "options", "crafted_for")  # of what identifies a poison
ITEMS, STARS, BOTH = range(3)  # what an exchange changes
SEARCHED, CONTROL = "searched fakes", "random fakes"  # from which exchanges start
FILLERS, FAKES = "fillers", "fakes"  # what is exchanged
RANDOM = {"attack": "random", "options": {}}


def swap_fillers(
    profiles: sp.csr_matrix,
    threat: ThreatModel,
    rng: np.random.Generator,
    objective: Callable[[sp.csr_matrix], float],
    steps: int,
    fakes_at_once: int,
) -> tuple[sp.csr_matrix, list[float]]:
    """Profiles that are at least as good, of the same budget: targets, F fillers, scale.

    A step takes random fakes, and of each one a random number of fillers, few as often as many. They
    become other items, or get other stars, or both. Unless the objective rises, all is taken back.

    Args:
        profiles: (fakes, items) CSR of stars, of the threat model's budget.
        objective: of such profiles; higher is better for the attacker. It is asked once for these
            and once a step.

    Returns:
        The profiles, and the best objective so far: at the start, and after each step.
    """
    size, candidates = (threat.n_fakes, threat.filler_size), filler_candidates(threat)
    dense = profiles.toarray()[:, candidates]
    items, stars = candidates[np.nonzero(dense)[1]].reshape(size), dense[dense > 0].reshape(size)

    def changed(state):
        items, stars = (part.copy() for part in state)
        for fake in rng.choice(threat.n_fakes, fakes_at_once, replace=False):
            _exchange(rng, items[fake], stars[fake], candidates, threat.levels)
        return items, stars

    return _climb((items, stars), lambda state: assemble(threat, *state), changed, objective, steps)


def swap_fakes(
    profiles: sp.csr_matrix,
    others: Sequence[sp.csr_matrix],
    rng: np.random.Generator,
    objective: Callable[[sp.csr_matrix], float],
    steps: int,
) -> tuple[sp.csr_matrix, list[float]]:
    """Profiles that are at least as good, some of them of other attacks.

    A step takes a random number of fakes, few as often as many, and puts random ones of one of the
    ``others`` in their place. Unless the objective rises, all is taken back.

    Args:
        profiles: (fakes, items) CSR of stars; ``others``: of the same shape, each of one attack.
        objective, and what is returned: as of :func:`swap_fillers`.
    """
    n_fakes = profiles.shape[0]

    def changed(profiles):
        other, n = others[rng.integers(len(others))], int(n_fakes ** rng.random())
        rows, theirs = (rng.choice(n_fakes, n, replace=False) for _ in range(2))
        taken = np.arange(n_fakes)
        taken[rows] = n_fakes + theirs
        return sp.vstack([profiles, other], format="csr")[taken]

    return _climb(profiles, lambda profiles: profiles, changed, objective, steps)


def _climb(state, profiles_of, changed, objective, steps) -> tuple[sp.csr_matrix, list[float]]:
    """The best profiles of ``steps`` changes, each of the best so far, and the best objective after each."""
    best = profiles_of(state)
    history = [objective(best)]
    if np.isnan(history[0]):
        raise ValueError("the objective is NaN of the profiles at the start")
    for _ in range(steps):
        tried_state = changed(state)
        tried = profiles_of(tried_state)
        value = objective(tried)
        if value > history[-1]:
            state, best = tried_state, tried
        history.append(max(value, history[-1]))
    return best, history


def _exchange(rng, items: np.ndarray, stars: np.ndarray, candidates, levels) -> None:
    """Change some of one fake's fillers (F,), in place."""
    kind, n = rng.integers(3), int(len(items) ** rng.random()) if len(items) else 0
    places = rng.permutation(len(items))[:n]
    if kind != STARS:
        others = rng.permutation(np.setdiff1d(candidates, items))[:n]
        items[places[: len(others)]] = others
    if kind != ITEMS:
        stars[places] = rng.choice(levels, n)


def nearness(evaluation: Evaluation) -> float:
    """How near targets are to the lists, in [0, 1]: 1 / (1 + (rank / K)²), mean over pairs."""
    ranks = evaluation.target_ranks[~evaluation.raters]
    return float(np.mean(1 / (1 + (ranks / evaluation.k) ** 2)))


def aimed(scenario: Scenario) -> tuple[Split, ThreatModel]:
    """The split of a scenario, and what its attacker knows and may do."""
    known = {name: value for name, value in scenario.poison.items() if name not in NOT_AIMED}
    return aim(scenario.attack, scenario.dataset, **known)[:2]


def refine(cell: Cell, start: str, others: Sequence[Cell], steps: int, share: float) -> dict:
    """One cell's fakes, exchanged step by step: a row of the target hit ratio before and after.

    Args:
        start: what the row says of these fakes.
        others: cells of other attacks on the same targets, whose fakes are taken; fillers are exchanged
            where there are none, of this ``share`` of the fakes in a step.
    """
    scenario = cell.scenario
    split, threat = aimed(scenario)
    users = sample_users(split.train.shape[0], cell.n_users, scenario.seed)

    def attacked(profiles) -> Evaluation:
        trained = carry_out(scenario, cell.training, profiles=profiles)
        defended = cell.defended_by().wrap(trained.victim)
        return evaluate(defended, trained.split, trained.targets, users=users)

    with single_thread():
        first = kept_poison(**scenario.poison).profiles
        theirs = [kept_poison(**other.scenario.poison).profiles for other in others]
        rng = stream(scenario.seed, "swaps")

        def objective(profiles):
            return nearness(attacked(profiles))

        if theirs:
            best, history = swap_fakes(first, theirs, rng, objective, steps)
        else:
            at_once = math.ceil(share * first.shape[0])
            best, history = swap_fillers(first, threat, rng, objective, steps, at_once)
        before, after = (attacked(profiles).target_hit_ratio for profiles in (first, best))
    return {
        "regime": scenario.regime,
        "defense": cell.defense,
        "seed": scenario.seed,
        "start": start,
        "exchanged": FAKES if others else FILLERS,
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
    rule, swaps, cells = search["rule"], search["swaps"], []
    for regime in REGIMES:
        forms = attacked_defenses(regime, rule["victim"], rule["dataset"])
        for name in swaps["defenses"]:
            form, found = forms[name], searched_attackers(regime)
            under = {
                each: cells_of(search, regime, found[each], name, form, form) for each in found
            }
            # As many fillers as the searched ones have: an exchange takes a share of them.
            control = RANDOM | {FILLER_SIZE: found[name][FILLER_SIZE]}
            starts = {
                SEARCHED: under.pop(name),
                CONTROL: cells_of(search, regime, control, name, form, form),
            }
            for start, of_seeds in starts.items():
                pools = zip(*under.values(), strict=True)
                for cell, pool in zip(of_seeds, pools, strict=True):
                    cells += [(cell, start, ()), (cell, start, pool)]
    tasks = (joblib.delayed(refine)(*each, swaps["steps"], swaps["share"]) for each in cells)
    run = joblib.Parallel(n_jobs=jobs, return_as="generator")(tasks)
    found = pd.DataFrame(tqdm(run, total=len(cells), desc="fakes"))
    write_trials(paths.RESULTS / "search" / "swaps.csv", found)


if __name__ == "__main__":
    main()
