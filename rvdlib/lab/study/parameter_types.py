"""Types of the notebooks' parameters: what may stand in each, so that nothing else reaches a cell.

A list has at least one item, and none twice, wherever it stands in a value
(:data:`rvdlib.lab.runner.parameters.Some`); of a mapping, what may be empty is a type of its own here.
"""

import os
from collections.abc import Collection
from functools import partial
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rvdlib import paths
from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.remedies import REMEDIES
from rvdlib.data.catalogue import CATALOGUE
from rvdlib.lab.experiment.cells import UNDEFENDED, craftable
from rvdlib.lab.experiment.hyperparameters import combinations, searched_attackers
from rvdlib.lab.runner.parameters import Some, each_once
from rvdlib.models import VICTIMS


def _data_set(name: str) -> str:
    if name in CATALOGUE or os.path.isfile(name) or os.path.isfile(paths.NOTEBOOKS / name):
        return name
    if name.lower() in CATALOGUE:  # hyper-parameters are looked up by name
        raise ValueError(f"should be spelt {name.lower()!r}")
    raise ValueError(f"should be a ratings file or one of {', '.join(CATALOGUE)}")


def _file(name: str) -> str:
    if not os.path.isfile(paths.NOTEBOOKS / name):
        raise ValueError(f"should be a file, as seen from {paths.NOTEBOOKS}")
    return name


def _with(items: Collection, given: Collection) -> Collection:
    if missing := [item for item in items if item not in given]:
        raise ValueError(f"should hold {' and '.join(map(repr, missing))}")
    return given


_Item = TypeVar("_Item")
Each = Annotated[list[_Item], AfterValidator(each_once)]  # may be empty
Profile = Annotated[str, Field(pattern=r"^\w[\w-]*$")]
File = Annotated[str, AfterValidator(_file)]
DataSet = Annotated[str, AfterValidator(_data_set)]
Published = Literal[*CATALOGUE]
Victim = Literal[*VICTIMS]
Attack = Literal[*craftable()]
Fakes = Literal[*(name for name in craftable() if name != "none")]
Regime = Literal["rating", "ranking"]
Scaled = Literal["euclidean", "cosine", "profile_overlap"]  # distances that local scaling takes
Remedy = Literal[*REMEDIES]
Auditor = Literal[*KNOWLEDGE]
Searched = Literal[*dict.fromkeys([*searched_attackers("rating"), *searched_attackers("ranking")])]
Trained = Literal[
    *dict.fromkeys(each for r in ("rating", "ranking") for each, _ in combinations(r).values())
]
TargetSet = Literal["unpopular", "middling", "random"]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Sample = Annotated[int | None, Field(ge=1)]
Size = Annotated[list[Count], Field(min_length=2, max_length=2)]  # users, items

# What a reading compares with must be there.
AttacksAndNone = Annotated[Some[Attack], AfterValidator(partial(_with, ["none"]))]
AttacksWithControls = Annotated[
    Some[Attack], AfterValidator(partial(_with, ["none", "random", "low_clone"]))
]
CountsFromOne = Annotated[Some[Count], AfterValidator(partial(_with, [1]))]
WholesFromZero = Annotated[Some[Whole], AfterValidator(partial(_with, [0]))]


class Options(BaseModel):
    """A mapping with these keys and no others; the notebooks say of each what it is for."""

    model_config = ConfigDict(extra="forbid")


class Setting(Options):
    attack: Attack
    target_set: TargetSet


class Faced(Options):
    attacks: AttacksAndNone
    against: Each[Searched]  # the defences whose searched attacker they meet
    seeds: Some[Seed]
    n_users: Sample


class Slice(Faced):
    victims: dict[Regime, Some[Victim]]
    retrained: Each[Victim]  # who are trained with an unobserved weight, too


class Compared(Faced):
    """Which rivals are compared on a data set: of those before or in training, which; all others are."""

    regimes: Some[Regime]
    trained: Some[Trained]
    chained: Some[Trained]  # of these, whom RVD and its other forms follow

    @model_validator(mode="after")
    def _can_be_compared(self) -> "Compared":
        if missing := set(self.chained) - set(self.trained):
            raise ValueError(
                f"trained should hold {' and '.join(sorted(map(repr, missing)))} of chained"
            )
        if UNDEFENDED not in self.against and self.attacks == ["none"]:
            raise ValueError(
                f"should have an attacker whom all meet: another in attacks, or {UNDEFENDED!r} in against"
            )
        return self


class Others(Options):
    """Victims beside the one in focus, whom those attack who know nothing of a defence."""

    dataset: DataSet
    victims: dict[Regime, Some[Victim]]
    attacks: AttacksAndNone
    trained: Some[Trained]
    seeds: Some[Seed]
    n_users: Sample


class Turned(Options):
    victims: Some[Victim]
    settings: dict[Regime, Setting]
    k: CountsFromOne
    steps: WholesFromZero
    seeds: Some[Seed]
    n_users: Sample


class Votes(Options):
    k: Count
    quorum: Count


class ClosedForm(Options):
    k: Count
    proximal_weight: Rate
    unobserved_weight: Weight


class Iterative(Options):
    k: Count
    steps: Whole
    learning_rate: Rate


class ClosedFormGrid(Options):
    k: Some[Count]
    proximal_weight: Some[Rate]
    unobserved_weight: Some[Weight]


class IterativeGrid(Options):
    k: Some[Count]
    steps: Some[Whole]
    learning_rate: Some[Rate]


class Dials(Options):
    k: Some[Count]
    steps: Some[Whole]


class Base(Options):
    closed_form: ClosedForm
    iterative: Iterative


class TimedUsers(Options):
    """How many users each group of timed forms serves."""

    many: Count
    few: Count


class Descent(Options):
    k: Count
    unobserved_weight: Weight
    learning_rate: Rate


class Crowded(Options):
    victim: Victim
    k: Count


class Attacked(Options):
    attacks: Some[Attack]
    target_set: TargetSet


class Parts(Options):
    victims: Some[Victim]
    settings: dict[Regime, Attacked]
    n_users: Sample
    norm_users: Count
    choices: Iterative
    unobserved_weight: Annotated[float, Field(gt=0, le=1)]


class Elsewhere(Options):
    """Where else the attackers of 07 are let loose on its defences."""

    dataset: DataSet
    victims: Some[Victim]
    target_sets: dict[Regime, Some[TargetSet]]
    attacks: AttacksWithControls | None = None  # in place of the notebook's own
    against: Each[Searched]  # the defences that are asked, whose searched attackers they meet
    seeds: Some[Seed]
    n_users: Sample
