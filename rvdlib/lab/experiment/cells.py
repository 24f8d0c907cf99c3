"""From a scenario to rows of ``cells.csv``: split, attack, train, and evaluate each defence.

A cell is one scenario under one defence. Cells are independent, so they run in parallel, one
thread each, and give the same numbers however many run at once.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rvdlib import attacks, metrics
from rvdlib.data import Split, leave_one_out, load_dataset
from rvdlib.defenses import DEFENSES
from rvdlib.evaluation import Recommender, evaluate
from rvdlib.lab.experiment.exposure import exposure, plain_vicinity
from rvdlib.lab.experiment.fingerprint import Fingerprint, cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import attack_options, victim_hyperparameters
from rvdlib.lab.experiment.parallel import Task, rows_of
from rvdlib.lab.experiment.poison import kept_poison
from rvdlib.lab.experiment.store import CellStore
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream
from rvdlib.threat_model import draw_targets

UNDEFENDED = "none"
# Profiles from a file are somebody's own: a scenario has no place to name the file.
CRAFTABLE = ("none", *(name for name in attacks.ATTACKS if name != "from_file"))


def _known(registry: Iterable[str], name: str) -> str:
    if name not in registry:
        raise ValueError(f"{name!r} is not one of {', '.join(registry)}")
    return name


class Scenario(BaseModel):
    """One trained victim: what it is trained on, how it was attacked, and what the attacker knew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    victim: Annotated[str, AfterValidator(partial(_known, VICTIMS))]
    regime: Literal["rating", "ranking"]
    attack: Annotated[str, AfterValidator(partial(_known, CRAFTABLE))] = "none"
    attack_size: float = Field(0.03, ge=0, le=1)
    attack_options: dict = Field(
        default_factory=lambda known: attack_options(known["regime"], known["attack"]),
        description="of the attack; as params/attacks.yml has them unless said",
    )
    visible_share: float = Field(0.4, gt=0, le=1, description="of the users, to the attacker")
    filler_size: int | None = Field(None, ge=0, description="None: the mean profile size")
    target_set: Literal["unpopular", "middling", "random"] = "unpopular"
    seed: int = Field(0, ge=0)
    evaluated_on: Literal["test", "validation"] = "test"

    @property
    def poison(self) -> dict:
        """All that identifies the fake profiles, as :func:`kept_poison` takes it."""
        known = {
            "dataset",
            "attack",
            "attack_size",
            "visible_share",
            "filler_size",
            "target_set",
            "seed",
        }
        return {**self.model_dump(include=known), "options": self.attack_options}


class Cell(BaseModel):
    """A scenario under one defence, evaluated on every user or on a fixed random sample."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: Scenario
    defense: str = Field(UNDEFENDED, description="what tables call it")
    method: Annotated[str, AfterValidator(partial(_known, DEFENSES))] | None = None
    choices: dict = Field({}, description="of the method, see rvdlib.defenses")
    n_users: int | None = Field(None, ge=1, description="size of the sample; None: every user")

    def recommender(self, victim: Victim) -> Recommender:
        """The victim, defended as this cell says."""
        return DEFENSES[self.method](victim, **self.choices) if self.method else victim


@dataclass(frozen=True, eq=False)
class Attacked:
    """A scenario carried out."""

    split: Split
    targets: np.ndarray
    victim: Victim


def carry_out(scenario: Scenario, split: Split | None = None) -> Attacked:
    """Split, draw the targets, poison the training data, train the victim.

    Whoever has read a data set already, as a file with its own columns, gives its ``split``; for
    scenarios without an attack.
    """
    seed = scenario.seed
    split = split or _split(scenario.dataset, seed, scenario.evaluated_on)
    targets = draw_targets(split, scenario.target_set, stream(seed, "targets", scenario.target_set))
    train = split.train
    if scenario.attack != "none":
        made = kept_poison(**scenario.poison)
        train = attacks.poison(split, made.profiles)
    chosen = victim_hyperparameters(scenario.dataset, scenario.regime, scenario.victim)
    victim = VICTIMS[scenario.victim](**chosen).fit(
        train, split.validation, split.ratings.levels, stream(seed, "model", scenario.victim)
    )
    return Attacked(split, targets, victim)


def sample_users(n_real: int, n_users: int | None, seed: int) -> np.ndarray:
    """Rows of the real users to evaluate: all, or the same random sample in every cell of a seed."""
    if n_users is None or n_users >= n_real:
        return np.arange(n_real)
    return np.sort(stream(seed, "users").choice(n_real, n_users, replace=False))


def evaluate_cell(cell: Cell, attacked: Attacked) -> dict:
    """One row: the scenario, the defence, and what was measured.

    Where fakes stand is said of the defence's neighbours, undefended of the ten nearest.
    """
    scenario, split = cell.scenario, attacked.split
    n_real = split.train.shape[0]
    users = sample_users(n_real, cell.n_users, scenario.seed)
    recommender = cell.recommender(attacked.victim)
    evaluation = evaluate(recommender, split, attacked.targets, users=users)
    vicinity = recommender.vicinity if cell.method else plain_vicinity(attacked.victim)
    fakes = np.arange(n_real, attacked.victim.train.shape[0])
    return {
        **scenario.model_dump(),
        "defense": cell.defense,
        "choices": cell.choices,
        **evaluation.summary(),
        "n_users": len(users),
        **evaluation.target_counts,
        **exposure(vicinity(users) >= n_real, evaluation),
        "fakes_near_fakes": metrics.mean((vicinity(fakes) >= n_real).astype(float)),
    }


def run_cells(
    cells: Sequence[Cell], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row a cell, in the order given; cells on record are not computed again.

    Args:
        store: where finished cells are kept and looked for first.
        jobs: poisoned training sets worked on at once, one thread each; -1: as many as
            ``RVD_JOBS`` says, or else as there are cores.
    """
    tasks = [
        Task(cell, _spec(cell), _fingerprint(cell.scenario.dataset), str(cell.scenario.poison))
        for cell in cells
    ]
    return pd.DataFrame(rows_of(tasks, _rows_of_one_poison, store, jobs, "poisoned sets"))


def _rows_of_one_poison(cells: list[Cell]) -> Iterator[dict]:
    for scenario, its_cells in itertools.groupby(cells, lambda cell: cell.scenario):
        attacked = carry_out(scenario)
        yield from (evaluate_cell(cell, attacked) for cell in its_cells)


def _spec(cell: Cell) -> dict:
    """All that identifies a cell: the victim's hyper-parameters too."""
    scenario = cell.scenario
    chosen = victim_hyperparameters(scenario.dataset, scenario.regime, scenario.victim)
    return {**cell.model_dump(mode="json"), "hyperparameters": chosen}


@functools.cache
def _fingerprint(dataset: str) -> Fingerprint:
    return cell_fingerprint("lab/experiment/cells.py", {dataset: load_dataset(dataset).sha256})


@functools.lru_cache(maxsize=4)
def _split(dataset: str, seed: int, evaluated_on: str) -> Split:
    split = leave_one_out(load_dataset(dataset), stream(seed, "split"))
    return split if evaluated_on == "test" else replace(split, test=split.validation)
