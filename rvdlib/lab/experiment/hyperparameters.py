"""What was chosen, read from ``params/``: for the victims, the attacks and the defences."""

import functools
from collections.abc import Collection
from pathlib import Path

from rvdlib import paths
from rvdlib.data.catalogue import CATALOGUE
from rvdlib.models.chosen import VICTIMS_FILE, chosen_hyperparameters
from rvdlib.strict_yaml import InvalidYaml, read_yaml

ATTACKS_FILE = paths.PARAMS / "attacks.yml"
DEFENSES_FILE = paths.PARAMS / "defenses.yml"
HARDENED_FILE = paths.PARAMS / "hardened.yml"
RIVALS_FILE = paths.PARAMS / "rivals.yml"
ROBUST_FILE = paths.PARAMS / "robust.yml"
COMBINATIONS_FILE = paths.PARAMS / "combinations.yml"
ATTACKERS_FILE = paths.PARAMS / "attackers.yml"
EARLIER_FILE = paths.PARAMS / "earlier_attackers.yml"  # of searches before it
REGIMES = ("rating", "ranking")
ALL = "all of them"  # whom one searched attacker is up against, who knows none of them
RVD_HARDENED, REWEIGHTED = "RVD, hardened", "edge reweighting"
WHERE_ASKED = (RVD_HARDENED, REWEIGHTED)  # of the hardened defences, those of one notebook or two
DEMANDS_FILE = paths.PARAMS / "good_victims.yml"


def victim_hyperparameters(dataset: str, regime: str, victim: str) -> dict:
    """The chosen hyper-parameters of a victim; where a data set has none for it, ML-100K's.

    Raises:
        InvalidYaml: if neither has any, or the file is faulty.
    """
    for name in (dataset, "ml-100k"):
        if found := chosen_hyperparameters().get(name, {}).get(regime, {}).get(victim):
            return dict(found)
    raise InvalidYaml(
        f"{VICTIMS_FILE} has no {victim} under ml-100k, {regime}, which {dataset} would take: add it"
    )


def may_be_beaten(dataset: str, regime: str, victim: str) -> bool:
    """Whether tables may stand on a victim that biases (rating regime) or popularity beat.

    Of a data set without chosen hyper-parameters the study promises nothing.
    """
    if dataset not in chosen_hyperparameters():
        return True
    return victim in _read(DEMANDS_FILE)["may_be_beaten"].get(dataset, {}).get(regime, [])


def attack_options(regime: str, attack: str) -> dict:
    """What an attack is told about victims of this regime, where its own defaults do not fit."""
    return dict(_read(ATTACKS_FILE)[regime].get(attack, {}))


def own_file(file: Path, dataset: str) -> Path:
    """Where a file of choices, which are ML-100K's, has those of another published data set."""
    name = dataset.lower()
    is_other = name != "ml-100k" and name in CATALOGUE
    return file.with_stem(f"{file.stem}_{name}") if is_other else file


def _searched(file: Path, regime: str, dataset: str) -> dict[str, dict]:
    """Victim → its forms: as chosen on the data set, where that was searched; else on ML-100K."""
    carried, own = _read(file)[regime], own_file(file, dataset)
    if own == file or not own.is_file():
        return carried
    return carried | {
        victim: carried.get(victim, {}) | forms
        for victim, forms in _read(own).get(regime, {}).items()
    }


def searched_on(file: Path = DEFENSES_FILE) -> dict[str, list[str]]:
    """Regime → the published data sets that a file's defences were chosen on; elsewhere they are ML-100K's."""
    files = {dataset: own_file(file, dataset) for dataset in CATALOGUE}
    return {
        regime: [name for name, own in files.items() if own.is_file() and regime in _read(own)]
        for regime in REGIMES
    }


def chosen_defenses(regime: str, victim: str, dataset: str = "ml-100k") -> dict[str, dict]:
    """What tables call a defence → its ``method`` and ``choices``.

    First the forms of RVD, as :mod:`rvdlib.lab.tuning.defense_search` found them on the data set, else
    on ML-100K (their own defaults for a victim that it has not seen), then their plain rivals
    (``params/rivals.yml``). Training with unobserved weight takes the hyper-parameters that the victim
    has in the ranking regime.
    """
    searched = _searched(DEFENSES_FILE, regime, dataset)
    known = next(iter(searched.values()))
    defaults = {name: {"method": form["method"], "choices": {}} for name, form in known.items()}
    chosen = dict(searched.get(victim, defaults))
    for name, rival in _read(RIVALS_FILE)[regime].items():
        choices = dict(rival.get("choices", {}))
        if rival["method"] == "unobserved_weight":
            others = victim_hyperparameters(dataset, "ranking", victim)
            choices |= {"unobserved_weight": others.pop("unobserved_weight")}
            choices |= {"hyperparameters": others}
        chosen[name] = {"method": rival["method"], "choices": choices}
    return chosen


def attacked_defenses(
    regime: str,
    victim: str,
    dataset: str = "ml-100k",
    against: Collection[str] = (),
    own: bool = False,
) -> dict[str, dict]:
    """Every defence that is held against attackers who know it, as :func:`chosen_defenses` has them.

    Those, with the hardened ones in place of what was chosen by hand, the hardened closed form in the
    order of which the quorum serves, and the closed form with random neighbours, whose fakes are as
    many as there are, whoever attacks. Those of :data:`WHERE_ASKED` are among them where they are in
    ``against``, whose attackers are asked for. The hardened ones are as they were chosen for MF, with
    ``own`` as they were for the victim itself, where they were.
    """
    chosen = chosen_defenses(regime, victim, dataset=dataset)
    searched = _searched(HARDENED_FILE, regime, dataset)
    hardened = searched["MF"] | (searched.get(victim, {}) if own else {})
    for name in WHERE_ASKED:
        if name not in against:
            hardened.pop(name, None)
    solved = chosen["closed form"]
    by_chance = {**solved, "choices": {**solved["choices"], "neighbors": "random"}}
    both = {"chain": [hardened["closed form, hardened"], hardened["quorum"]]}
    return chosen | hardened | {"closed form and quorum": both, "random neighbours": by_chance}


def rival_defenses(
    regime: str,
    victim: str,
    dataset: str = "ml-100k",
    trained: Collection[str] | None = None,
    chained: Collection[str] | None = None,
    against: Collection[str] = (),
) -> dict[str, dict]:
    """Every defence that is compared, as :func:`chosen_defenses` has them, and their combinations.

    Those of :func:`attacked_defenses` with the victim's own choices, edge reweighting, RVD with random
    neighbours, what was searched besides (``params/robust.yml``; a victim that it has not seen takes MF's
    choices), and each chain of :func:`combinations`.

    Args:
        trained: of the defences before or in training these alone; None: all.
        chained: of these, the first of a chain; None: all.
        against: as :func:`attacked_defenses` has it.
    """
    searched = _searched(ROBUST_FILE, regime, dataset)
    chosen = attacked_defenses(regime, victim, dataset, [*against, REWEIGHTED], own=True)
    rvd = chosen["RVD"]
    by_chance = {**rvd, "choices": {**rvd["choices"], "neighbors": "random"}}
    chosen |= {"RVD, random neighbours": by_chance} | searched.get(victim, searched["MF"])
    for name in _read(COMBINATIONS_FILE)[regime]:
        if trained is not None and name not in trained:
            del chosen[name]
    chains = {
        name: {"chain": [chosen[part] for part in parts]}
        for name, parts in combinations(regime).items()
        if all(part in chosen for part in parts) and (chained is None or parts[0] in chained)
    }
    return chosen | chains


def combinations(regime: str) -> dict[str, tuple[str, str]]:
    """What tables call a chain → its two defences: one before or in training, one at inference."""
    given = _read(COMBINATIONS_FILE)
    return {
        f"{first} + {then}": (first, then)
        for first in given[regime]
        for then in given["at inference"]
    }


def searched_attackers(regime: str) -> dict[str, dict]:
    """Defence → the ``attack``, ``options`` and ``filler_size`` that its searched attacker takes."""
    return dict(_read(ATTACKERS_FILE)[regime])


def earlier_attackers(regime: str) -> dict[str, list[dict]]:
    """Defence → what its attackers of earlier searches take, the latest first: none is forgotten."""
    return dict(_read(EARLIER_FILE)[regime])


@functools.cache
def _read(file: Path) -> dict:
    return read_yaml(file)
