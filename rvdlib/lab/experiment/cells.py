"""From a scenario to rows of ``cells.csv``: split, attack, train, and evaluate each defence.

A cell is one scenario under one defence, or a chain of them. Cells run in parallel, and give the same
numbers however many at once; those that differ at inference alone share one trained victim.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rvdlib import attacks
from rvdlib.data import Split
from rvdlib.defenses import DEFENSES, Chain, Defense, defense
from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment.certified import violations
from rvdlib.lab.experiment.exposure import fake_share, vicinity_of
from rvdlib.lab.experiment.fingerprint import Fingerprint, cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import attack_options, victim_hyperparameters
from rvdlib.lab.experiment.parallel import Batch, Shared, Task, rows_of
from rvdlib.lab.experiment.poison import kept_poison
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.experiment.trained import beaten_by, learning_is_not_asked_for
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream
from rvdlib.threat_model import draw_targets

UNDEFENDED = "none"


def craftable() -> list[str]:
    """The attacks of a scenario, which has no place to name somebody's own file of profiles."""
    return ["none", *(name for name in attacks.ATTACKS if name != "from_file")]


def _known(registry: Iterable[str], name: str) -> str:
    if name not in registry:
        raise ValueError(f"{name!r} is not one of {', '.join(registry)}")
    return name


def _craftable(name: str) -> str:
    return _known(craftable(), name)


class Scenario(BaseModel):
    """One trained victim: what it is trained on, how it was attacked, and what the attacker knew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    victim: Annotated[str, AfterValidator(partial(_known, VICTIMS))]
    regime: Literal["rating", "ranking"]
    attack: Annotated[str, AfterValidator(_craftable)] = "none"
    attack_size: float = Field(0.03, ge=0, le=1)
    attack_options: dict = Field(
        default_factory=lambda known: attack_options(known["regime"], known["attack"]),
        description="of the attack; as params/attacks.yml has them unless said",
    )
    visible_share: float = Field(0.4, gt=0, le=1, description="of the users, to the attacker")
    filler_size: int | None = Field(None, ge=0, description="None: the mean profile size")
    crafted_for: Literal["targets", "others"] = Field(
        "targets", description="others: the swapped-target control (rvdlib.lab.experiment.poison)"
    )
    target_set: Literal["unpopular", "middling", "random"] = "unpopular"
    seed: int = Field(0, ge=0)
    evaluated_on: Literal["test", "validation"] = Field(
        "test", description="validation: to choose by, on items that no table tests on"
    )

    @property
    def poison(self) -> dict:
        """All that identifies the fake profiles, as :func:`kept_poison` takes it."""
        known = {
            "dataset",
            "attack",
            "attack_size",
            "visible_share",
            "filler_size",
            "crafted_for",
            "target_set",
            "seed",
        }
        return {**self.model_dump(include=known), "options": self.attack_options}


class Step(BaseModel):
    """One defence of a chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Annotated[str, AfterValidator(partial(_known, DEFENSES))]
    choices: dict = Field({}, description="of the method, see rvdlib.defenses")

    def defense(self) -> Defense:
        return defense(DEFENSES[self.method], **self.choices)


class Cell(BaseModel):
    """A scenario under a chain of defences, evaluated on every user or on a fixed random sample.

    ``method=..., choices=...`` is short for a chain of this one, which is checked before training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: Scenario
    defense: str = Field(UNDEFENDED, description="what tables call it")
    chain: tuple[Step, ...] = Field((), description="in the order in which they are applied")
    n_users: int | None = Field(None, ge=1, description="size of the sample; None: every user")

    @model_validator(mode="before")
    @classmethod
    def _one_step(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "chain" in given or given.get("method") is None:
            return given
        given = dict(given)
        step = {name: given.pop(name) for name in ("method", "choices") if name in given}
        return {**given, "chain": [step]}

    @model_validator(mode="after")
    def _fits_together(self) -> "Cell":
        self.defended_by()
        return self

    @property
    def method(self) -> str | None:
        """``remove_detected + closed_form``; None where there is no defence."""
        return " + ".join(step.method for step in self.chain) or None

    @property
    def choices(self) -> dict:
        """Of the one defence; of several, those of each by its method."""
        if len(self.chain) == 1:
            return self.chain[0].choices
        return {step.method: step.choices for step in self.chain}

    @property
    def training(self) -> tuple[Step, ...]:
        """The part of the chain that acts before or in training."""
        return tuple(step for step in self.chain if step.defense().trains)

    def defended_by(self) -> Chain:
        return Chain(*(step.defense() for step in self.chain))


@dataclass(frozen=True, eq=False)
class Attacked:
    """A scenario carried out."""

    split: Split
    targets: np.ndarray
    victim: Victim
    beaten_by: str = ""  # biases or popularity, where they do better on validation


def carry_out(
    scenario: Scenario,
    training: Sequence[Step] = (),
    split: Split | None = None,
    profiles: sp.csr_matrix | None = None,
) -> Attacked:
    """Split, draw the targets, poison the training data, train the victim.

    ``training``: defences that act before or in training. ``split``: of a file with columns of its own,
    without an attack. ``profiles``: (m, items) fakes in place of those that the attack crafts.
    """
    seed = scenario.seed
    split = split or _split(scenario.dataset, seed, scenario.evaluated_on)
    targets = draw_targets(split, scenario.target_set, stream(seed, "targets", scenario.target_set))
    train, levels = split.train, split.ratings.levels
    if scenario.attack != "none":
        profiles = kept_poison(**scenario.poison).profiles if profiles is None else profiles
        train = attacks.poison(split, profiles)
    chosen = victim_hyperparameters(scenario.dataset, scenario.regime, scenario.victim)
    chain = Chain(*(step.defense() for step in training))
    train = chain.clean(train, levels, stream(seed, "clean"))
    victim, rng = VICTIMS[scenario.victim](**chosen), stream(seed, "model", scenario.victim)
    with learning_is_not_asked_for():
        victim = chain.fit(victim, train, split.validation, levels, rng)
    reference = beaten_by(
        victim,
        split.validation,
        dataset=scenario.dataset,
        seed=seed,
        excused=scenario.attack != "none" or bool(training),
    )
    return Attacked(split, targets, victim, reference)


def sample_users(n_real: int, n_users: int | None, seed: int) -> np.ndarray:
    """Rows of the real users to evaluate: all, or the same random sample in every cell of a seed."""
    if n_users is None or n_users >= n_real:
        return np.arange(n_real)
    return np.sort(stream(seed, "users").choice(n_real, n_users, replace=False))


def evaluate_cell(cell: Cell, attacked: Attacked) -> dict:
    """One row: the scenario, the defence, and what was measured.

    Where fakes stand is said of the defence's neighbours, NaN where it has none, and of the ten nearest
    without a defence. ``certificate_violations``: of a quorum, over all real users; NaN without one.
    """
    scenario, split = cell.scenario, attacked.split
    n_real = split.train.shape[0]
    users = sample_users(n_real, cell.n_users, scenario.seed)
    recommender = cell.defended_by().wrap(attacked.victim)
    evaluation = evaluate(recommender, split, attacked.targets, users=users)
    vicinity, fakes = vicinity_of(recommender), np.arange(n_real, attacked.victim.train.shape[0])
    return {
        **scenario.model_dump(),
        "defense": cell.defense,
        "method": cell.method or UNDEFENDED,
        "choices": cell.choices,
        **evaluation.summary(),
        "beaten_by": attacked.beaten_by,
        "n_users": len(users),
        **evaluation.target_counts,
        "fake_neighbor_share": fake_share(vicinity(users), n_real),
        "fakes_near_fakes": fake_share(vicinity(fakes), n_real),
        "certificate_violations": violations(recommender, evaluation, n_real),
    }


def run_cells(
    cells: Sequence[Cell], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row a cell, in the order given; cells on record are not computed again.

    ``store`` and ``jobs``: see :func:`rvdlib.lab.experiment.parallel.rows_of`.
    """
    order = _order(cells)
    tasks, compute, unit = batch([cells[n] for n in order])
    rows = rows_of(tasks, compute, store, jobs, unit)
    return pd.DataFrame(rows, index=order).sort_index()


def batch(cells: Sequence[Cell]) -> Batch:
    """What :func:`run_cells` computes; those that share a victim one after the other."""
    tasks = [
        Task(cells[n], _spec(cells[n]), _fingerprint(cells[n]), str(cells[n].scenario.poison))
        for n in _order(cells)
    ]
    return Batch(tasks, _rows_of_one_poison, "poisoned sets")


def _order(cells: Sequence[Cell]) -> list[int]:
    shared: dict[str, int] = {}  # what is trained → the first cell that it is trained for
    return sorted(
        range(len(cells)),
        key=lambda place: shared.setdefault(repr(_trained_for(cells[place])), place),
    )


def finished_cells(cells: Sequence[Cell], *, store: CellStore | None = None) -> pd.DataFrame:
    """The rows of the cells that are on record, and nothing is computed.

    Indexed by their places in ``cells``.
    """
    store = store or CellStore()
    found = {n: store.lookup(_spec(cell), _fingerprint(cell)).rows for n, cell in enumerate(cells)}
    rows = {n: rows[0] for n, rows in found.items() if rows is not None}
    return pd.DataFrame([*rows.values()], index=pd.Index([*rows], dtype=int))


def _trained_for(cell: Cell) -> tuple[Scenario, tuple[Step, ...]]:
    return cell.scenario, cell.training


def _rows_of_one_poison(cells: list[Cell]) -> Iterator[dict | Shared]:
    for trained, group in itertools.groupby(cells, _trained_for):
        its_cells = [*group]
        attacked = carry_out(*trained)
        yield Shared(len(its_cells))
        yield from (evaluate_cell(cell, attacked) for cell in its_cells)


def _spec(cell: Cell) -> dict:
    """All that identifies a cell: the victim's hyper-parameters too."""
    scenario = cell.scenario
    chosen = victim_hyperparameters(scenario.dataset, scenario.regime, scenario.victim)
    return {**cell.model_dump(mode="json"), "hyperparameters": chosen}


def _fingerprint(cell: Cell) -> Fingerprint:
    scenario = cell.scenario
    used = [VICTIMS[scenario.victim], *(DEFENSES[step.method] for step in cell.chain)]
    used += [attacks.ATTACKS[scenario.attack].function] if scenario.attack != "none" else []
    return cell_fingerprint("lab/experiment/cells.py", scenario.dataset, used)


_split = functools.lru_cache(maxsize=4)(split_of_seed)
