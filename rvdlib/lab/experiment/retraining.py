"""Whether vicinities mean anything on a data set: the victim is trained a second time.

Where two trainings of two seeds find no more of the same neighbours than chance does, a vicinity is
a random sample of users, and no defence by neighbours should be used
(:mod:`rvdlib.neighbors.agreement`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from rvdlib.data import Split
from rvdlib.defenses.quorum import Quorum
from rvdlib.lab.experiment.cells import Scenario, carry_out
from rvdlib.lab.experiment.fingerprint import cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.experiment.trained import learning_is_not_asked_for
from rvdlib.models import VICTIMS, Victim
from rvdlib.neighbors.agreement import Agreement, neighbor_agreement
from rvdlib.seeding import stream

MODULE = "lab/experiment/retraining.py"


def agreement_with_retraining(
    vicinities: np.ndarray,
    victim: Victim,
    split: Split,
    vicinities_of: Callable[[Victim], np.ndarray],
    seed: int,
) -> Agreement:
    """How far a victim's vicinities agree with those of the same victim, trained once more.

    Args:
        vicinities: (B, k) row numbers, −1 where a list is shorter: ``vicinities_of(victim)``.
        victim: trained on ``split``. It is not changed: another one of its class and
            hyper-parameters is trained, from initial weights of its own.
        vicinities_of: how the vicinities of the same B users are found, given a victim.
        seed: of the second training, which shares no random number with a victim of any seed.
    """
    again = type(victim)(**victim.config.model_dump())
    rng = stream(seed, "model", victim.name, "again")
    with learning_is_not_asked_for():
        again.fit(split.train, split.validation, split.ratings.levels, rng)
    return neighbor_agreement(vicinities, vicinities_of(again))


class Retraining(BaseModel):
    """A victim that nobody attacks, trained twice on the split of a seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    victim: str
    regime: Literal["rating", "ranking"]
    seed: int
    k: int


def run_retrainings(
    wanted: Sequence[Retraining], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row for each, in the order given; what is on record is not trained again.

    Columns besides those of :class:`Retraining`: ``measured``, ``chance``, ``above_chance`` and
    ``by_chance``, the agreement of the vicinities that a quorum counts votes in (latent vectors, local
    scaling, nobody in more than k of them); ``density``, the share of cells that training knows.
    """
    tasks, compute, unit = batch(wanted)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def batch(wanted: Sequence[Retraining]) -> Batch:
    """What :func:`run_retrainings` trains."""
    tasks = [Task(each, _spec(each), _fingerprint(each), each) for each in wanted]
    return Batch(tasks, _rows, "retrainings")


def _rows(retrainings: list[Retraining]) -> Iterator[dict]:
    return map(_row, retrainings)


def _row(retraining: Retraining) -> dict:
    known = retraining.model_dump(include={"dataset", "victim", "regime", "seed"})
    trained = carry_out(Scenario(**known, attack_size=0.0))
    victim, split = trained.victim, trained.split

    def vicinities_of(victim: Victim) -> np.ndarray:
        voters = Quorum(victim, k=retraining.k, quorum=1)
        return voters.vicinity(np.arange(split.train.shape[0]))

    found = agreement_with_retraining(
        vicinities_of(victim), victim, split, vicinities_of, retraining.seed
    )
    return retraining.model_dump() | {
        "measured": found.measured,
        "chance": found.chance,
        "above_chance": found.above_chance,
        "by_chance": found.by_chance,
        "density": split.train.nnz / np.prod(split.train.shape),
    }


def _spec(retraining: Retraining) -> dict:
    """All that identifies it; it must never be taken for an attacked cell."""
    of = retraining.dataset, retraining.regime, retraining.victim
    return {
        "retraining": retraining.model_dump(),
        "hyperparameters": victim_hyperparameters(*of),
    }


def _fingerprint(retraining: Retraining) -> dict:
    return cell_fingerprint(MODULE, retraining.dataset, [VICTIMS[retraining.victim]])
