"""How an attacker who knows a defence chooses his attack: by trying on the defence itself.

    python -m rvdlib.lab.tuning.attack_search
    python -m rvdlib.lab.tuning.attack_search --against quorum --regime ranking

He has other splits of the same data, other targets and other fakes, on seeds that no table uses, and
the defended recommender: there he measures what he reaches, with no gradient that a defence could
mask. First come attacks that know nothing of any defence, with their own defaults; then some are drawn
at random, the same against every defence; then the best so far is changed in one option at a time, and
kept where it reaches more; at last he tries what was found against each other defence. What he looks for
is the target hit ratio, mean over seeds; among equals, fakes in more vicinities. Attacks that take
neighbours into account are told the defence's own (:mod:`rvdlib.lab.experiment.knowing`).

*all of them* is one attack for the mean over all defences: an attacker who does not know which he
faces, and is told of none. Space and rule are in ``params/attack_search.yml``, every trial in
``results/search/attackers.csv``, what was chosen in ``params/attackers.yml``. A search is one draw: what
the one before had chosen goes to ``params/earlier_attackers.yml``, and attacks on. A search against
some defences alone also tries at last what is on record, of earlier searches too, and leaves what is
on record of others.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from types import MappingProxyType

import click
import numpy as np
import pandas as pd
from tqdm import tqdm

from rvdlib import paths
from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario, run_cells
from rvdlib.lab.experiment.hyperparameters import (
    ALL,
    ATTACKERS_FILE,
    EARLIER_FILE,
    REGIMES,
    WHERE_ASKED,
    attacked_defenses,
)
from rvdlib.lab.experiment.knowing import told
from rvdlib.lab.tuning.records import one_line, rounded, write_chosen, write_trials
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml

SEARCH_FILE = paths.PARAMS / "attack_search.yml"
LOG_FILE = paths.RESULTS / "search" / "attackers.csv"
FILLER_SIZE = "filler_size"  # of the budget, not an option of an attack
_PLACED = 0.01  # what the share of fakes among neighbours counts beside the target hit ratio
Attempt = dict  # attack, options, filler_size


def draw(search: dict, rng: np.random.Generator) -> Attempt:
    """One attack, in proportion to its number of options, each of them at random."""
    spaces = {name: space or {} for name, space in search["attacks"].items()}
    # The more options, the more there is to try.
    weights = np.array([1 + len(space) for space in spaces.values()])
    attack = str(rng.choice(list(spaces), p=weights / weights.sum()))
    space = spaces[attack]
    options = {name: _one_of(values, rng) for name, values in space.items()}
    return {"attack": attack, "options": options, FILLER_SIZE: _one_of(search[FILLER_SIZE], rng)}


def mutate(search: dict, best: Attempt, rng: np.random.Generator) -> Attempt:
    """The same with one option changed; now and then another attack altogether."""
    space = {FILLER_SIZE: search[FILLER_SIZE], **(search["attacks"][best["attack"]] or {})}
    dials = [name for name, values in space.items() if len(values) > 1]
    if not dials or rng.random() < search["rule"]["another"]:
        return draw(search, rng)
    name, now = str(rng.choice(dials)), {**best["options"], FILLER_SIZE: best[FILLER_SIZE]}
    changed = now | {name: _one_of([each for each in space[name] if each != now.get(name)], rng)}
    return {"attack": best["attack"], FILLER_SIZE: changed.pop(FILLER_SIZE), "options": changed}


def _one_of(values: Sequence, rng: np.random.Generator):
    return values[int(rng.integers(len(values)))]


def cells_of(
    search: dict, regime: str, attempt: Attempt, name: str, form: Mapping, known: Mapping
) -> list[Cell]:
    """One attack on one defence, a cell a seed; ``known``: what the attacker takes the defence for."""
    rule = search["rule"]
    options = told(regime, attempt["attack"], known, attempt["options"])
    return [
        Cell(
            scenario=Scenario(
                dataset=rule["dataset"],
                victim=rule["victim"],
                regime=regime,
                attack=attempt["attack"],
                attack_size=rule["attack_size"][regime],
                attack_options=options,
                filler_size=attempt[FILLER_SIZE],
                target_set=rule["target_set"][regime],
                seed=seed,
            ),
            defense=name,
            n_users=rule["n_users"],
            **form,
        )
        for seed in rule["seeds"]
    ]


def opponents_of(search: dict, regime: str) -> dict[str, dict]:
    """Defence → its form, of all that are searched against; first, with an empty one, of none."""
    rule = search["rule"]
    known = attacked_defenses(regime, rule["victim"], rule["dataset"], WHERE_ASKED)
    spared = {name: form for name, form in known.items() if name not in rule["spared"]}
    return {UNDEFENDED: {}} | spared


def search_all(
    search: dict,
    jobs: int = -1,
    against: Collection[str] = (),
    regimes: Sequence[str] = REGIMES,
    on_record: Mapping = MappingProxyType({}),
) -> pd.DataFrame:
    """Every trial in the order of its ``round``; columns regime, defense, attack, options,
    filler_size, round, target_hit_ratio, fake_neighbor_share (means over seeds).

    Args:
        against: these defences, or :data:`ALL`, alone; each and all if it is empty.
        on_record: regime → attempts of earlier searches, tried at last.
    """
    rule, opponents = search["rule"], {regime: opponents_of(search, regime) for regime in regimes}
    rng = {
        (regime, name): stream(0, "attack search", regime, name)
        for regime in regimes
        for name in (*opponents[regime], ALL)
        if not against or name in against
    }
    drawn = stream(0, "attack search")
    attempts = [{"attack": name, "options": {}, FILLER_SIZE: None} for name in rule["first"]]
    attempts += [draw(search, drawn) for _ in range(rule["draws"])]
    trials = _tried(search, opponents, dict.fromkeys(rng, attempts), 0, jobs)
    for _ in tqdm(range(rule["mutations"]), desc="mutations"):
        best = _best_of_each(trials)
        changed = {key: [mutate(search, best[key], rng[key])] for key in rng}
        found = _tried(search, opponents, changed, trials["round"].max() + 1, jobs)
        trials = pd.concat([trials, found], ignore_index=True)
    best = _best_of_each(trials)
    others = {key: _others(best, *key, on_record) for key in rng}
    if not any(others.values()):
        return trials
    found = _tried(search, opponents, others, trials["round"].max() + 1, jobs)
    return pd.concat([trials, found], ignore_index=True)


def _others(
    best: dict[tuple[str, str], Attempt], regime: str, name: str, on_record: Mapping
) -> list[Attempt]:
    """What is best against other defences of the regime, or on record, each once, but for what is
    best against this one."""
    found = [best[regime, name]]
    there = [attempt for (where, _), attempt in best.items() if where == regime]
    for attempt in [*there, *on_record.get(regime, [])]:
        if attempt not in found:
            found.append(attempt)
    return found[1:]


def _tried(search, opponents, attempts, first, jobs) -> pd.DataFrame:
    """A row a regime, defence and attempt, in rounds from ``first`` on; of :data:`ALL`, means over
    the defences."""
    asked, cells = [], []
    for (regime, name), some in attempts.items():
        defended = {each: form for each, form in opponents[regime].items() if form}
        faced = defended if name == ALL else {name: opponents[regime][name]}
        for at, attempt in enumerate(some, first):
            for each, form in faced.items():
                known = {} if name == ALL else form
                for cell in cells_of(search, regime, attempt, each, form, known):
                    asked.append({"regime": regime, "defense": name, **attempt, "round": at})
                    cells.append(cell)
    measured = ["target_hit_ratio", "fake_neighbor_share"]
    found = pd.DataFrame(asked).join(run_cells(cells, jobs=jobs)[measured])
    means = found.groupby(["regime", "defense", "round"], sort=False)
    table = means[measured].mean().map(rounded)
    first = means[["attack", "options", FILLER_SIZE]].first()
    # ``first`` skips what is None: of the filler size that is the budget's own.
    return first.join(table).reset_index()


def _best_of_each(trials: pd.DataFrame) -> dict[tuple[str, str], Attempt]:
    return {key: _best(here) for key, here in trials.groupby(["regime", "defense"], sort=False)}


def _best(trials: pd.DataFrame) -> Attempt:
    value = trials["target_hit_ratio"] + _PLACED * trials["fake_neighbor_share"].fillna(0)
    row = trials.loc[value.idxmax()]
    size = row[FILLER_SIZE]
    return {
        "attack": row["attack"],
        "options": dict(row["options"]),
        FILLER_SIZE: None if pd.isna(size) else int(size),
    }


def chosen(trials: pd.DataFrame) -> dict:
    """Regime → defence → what its attacker takes."""
    found: dict = {}
    for (regime, name), best in _best_of_each(trials).items():
        found.setdefault(regime, {})[name] = best
    return found


def remembered(new: Mapping, last: Mapping, earlier: Mapping) -> dict:
    """Regime → defence → attackers that are none of the ``new`` ones, the latest first."""
    found: dict = {}
    for regime, names in new.items():
        for name in dict.fromkeys([*names, *last[regime], *earlier[regime]]):
            before = [*filter(None, [last[regime].get(name)]), *earlier[regime].get(name, [])]
            kept = []
            for each in before:
                if each not in [names.get(name), *kept]:
                    kept.append(each)
            if kept:
                found.setdefault(regime, {})[name] = kept
    return found


def check(search: dict) -> None:
    """Refuse options that an attack does not have, and first attacks that are not in the space,
    before anything is tried.

    Raises:
        ValueError: naming the attack and the option.
    """
    for name in search["rule"]["first"]:
        if name not in search["attacks"]:
            raise ValueError(f"first: attack {name!r} is not in the space: add it to attacks")
    for name, space in search["attacks"].items():
        for option, values in (space or {}).items():
            for value in values:
                if value is not None:
                    ATTACKS[name].config({option: value})


@click.command(help=__doc__.split("\n\n")[0])
@click.option(
    "--against",
    multiple=True,
    help="Search against this defence alone, or several; what is on record of others stays.",
)
@click.option("--regime", type=click.Choice(REGIMES), help="This one alone.")
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one a core.")
def main(against, regime, jobs):
    paths.require_clone()
    search, regimes = read_yaml(SEARCH_FILE), [regime] if regime else REGIMES
    check(search)
    order = {each: [*opponents_of(search, each), ALL] for each in REGIMES}
    known = dict.fromkeys(name for each in regimes for name in order[each])
    for name in against:
        if name not in known:
            raise click.UsageError(f"nobody is searched against {name!r}, but {[*known]}")
    last, earlier = read_yaml(ATTACKERS_FILE), read_yaml(EARLIER_FILE)
    on_record = {
        each: [*last[each].values(), *chain.from_iterable(earlier.get(each, {}).values())]
        for each in REGIMES
    }
    trials = search_all(search, jobs, against, regimes, on_record if against else {})
    new, log = chosen(trials), trials.assign(options=trials["options"].map(one_line))
    if against or regime:
        others, done = pd.read_csv(LOG_FILE), {*zip(log["regime"], log["defense"], strict=True)}
        of_others = zip(others["regime"], others["defense"], strict=True)
        log = pd.concat([others[[each not in done for each in of_others]], log])
        new = {each: last[each] | new.get(each, {}) for each in REGIMES}
    new = {
        each: {name: new[each][name] for name in order[each] if name in new[each]}
        for each in REGIMES
    }
    log[FILLER_SIZE] = log[FILLER_SIZE].astype("Int64")
    write_trials(LOG_FILE, log)
    made = "rvdlib.lab.tuning.attack_search: see params/attack_search.yml"
    write_chosen(EARLIER_FILE, remembered(new, last, earlier), made)
    write_chosen(ATTACKERS_FILE, new, made)


if __name__ == "__main__":
    main()
