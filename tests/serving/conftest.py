"""Small victims, each trained once, and what serves them."""

import functools
import warnings

import pytest

from rvdlib.data import Ratings, leave_one_out, synthetic_ratings
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream

FORM = {
    "chain": [
        {"method": "closed_form", "choices": {"k": 5}},
        {"method": "quorum", "choices": {"k": 5, "quorum": 2}},
    ]
}
FORMS = {
    "none": {"chain": []},
    "closed form": {"method": "closed_form", "choices": {"k": 5}},
    "hardened": FORM,
    "count of profiles": {"method": "count", "choices": {"k": 5, "distance": "profile_overlap"}},
    "RVD": {"method": "rvd", "choices": {"k": 5, "steps": 3}},
}


@functools.cache
def ratings() -> Ratings:
    return synthetic_ratings(40, 30, 320, rng=stream(0, "ratings"))


@functools.cache
def victim(name: str = "MF", regime: str = "ranking") -> Victim:
    """Trained on all but two ratings of a user."""
    split = leave_one_out(ratings(), stream(0, "split"))
    omega = 0.2 if regime == "ranking" else 0.0
    made = VICTIMS[name](embedding_size=6, epochs=3, unobserved_weight=omega)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made.fit(split.train, split.validation, ratings().levels, stream(0, "model"))


@pytest.fixture(name="ratings")
def ratings_():
    return ratings()
