"""Nothing is measured on a victim that has not learned: the study's check on everyone it trains."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rvdlib.data import HeldOut
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.hyperparameters import VICTIMS_FILE, may_be_beaten
from rvdlib.models import Victim
from rvdlib.models.reference import BeatenByReferenceWarning


@contextmanager
def learning_is_not_asked_for() -> Iterator[None]:
    """Victims may be worse than the simplest recommender: who says so, or asks for none, sees to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeatenByReferenceWarning)
        yield


def beaten_by(
    victim: Victim, validation: HeldOut, *, dataset: str, seed: int, excused: bool = False
) -> str:
    """What beats a trained victim on validation: ``biases``, ``popularity`` or nothing.

    Args:
        validation: as the victim was trained with it.
        excused: attacked, or trained as a defence says: either may cost a victim its accuracy.

    Raises:
        StudyError: if a victim that is not excused is beaten, on a data set that the study answers
            for, and ``params/good_victims.yml`` does not allow it.
    """
    found = victim.compare(validation)
    regime = "ranking" if victim.ranking else "rating"
    if found.beaten and not excused and not may_be_beaten(dataset, regime, victim.name):
        raise StudyError(
            f"{dataset}, {regime} regime, seed {seed}: {found}. Nothing measured on it would mean "
            f"anything: choose its hyper-parameters in {VICTIMS_FILE.name} again (python -m "
            f"rvdlib.lab.tuning.victim_search --dataset {dataset} --victim {victim.name} --regime "
            f"{regime}), or name it under may_be_beaten in good_victims.yml, and the tables will say so"
        )
    return found.reference if found.beaten else ""
