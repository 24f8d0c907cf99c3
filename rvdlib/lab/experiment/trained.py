"""Nothing is measured on a victim that has not learned: the study's check on everyone it trains."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp

from rvdlib.data import Split
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


def fit_checked(
    victim: Victim,
    train: sp.csr_matrix,
    split: Split,
    rng: np.random.Generator,
    *,
    dataset: str,
    seed: int,
    attacked: bool = False,
) -> str:
    """Train, and say what beats the victim on validation: ``biases``, ``popularity`` or nothing.

    Args:
        train: (users, items) CSR stars, those of ``split`` with or without fakes below.
        attacked: an attack may cost a victim its accuracy.

    Raises:
        StudyError: if a victim that is not attacked is beaten, on a data set that the study answers
            for, and ``params/good_victims.yml`` does not allow it.
    """
    with learning_is_not_asked_for():
        victim.fit(train, split.validation, split.ratings.levels, rng)
    found = victim.compare(split.validation)
    regime = "ranking" if victim.ranking else "rating"
    if found.beaten and not attacked and not may_be_beaten(dataset, regime, victim.name):
        raise StudyError(
            f"{dataset}, {regime} regime, seed {seed}: {found}. Nothing measured on it would mean "
            f"anything: choose its hyper-parameters in {VICTIMS_FILE.name} again (python -m "
            f"rvdlib.lab.tuning.victim_search --dataset {dataset} --victim {victim.name} --regime "
            f"{regime}), or name it under may_be_beaten in good_victims.yml, and the tables will say so"
        )
    return found.reference if found.beaten else ""
