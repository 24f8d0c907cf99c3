"""Random streams: named, repeatable, and the only thing that is drawn from."""

import numpy as np
import pytest

from rvdlib.attacks import craft
from rvdlib.data import leave_one_out, random_holdout, synthetic_ratings
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model, draw_targets

RATINGS = synthetic_ratings(30, 20, 200, rng=stream(0, "ratings"))
SPLIT = leave_one_out(RATINGS, stream(0, "split"))
THREAT = build_threat_model(SPLIT, [1, 2], stream(0, "visible"), attack_size=0.1)

DRAWING = {
    "leave_one_out": lambda rng: leave_one_out(RATINGS, rng),
    "random_holdout": lambda rng: random_holdout(RATINGS, rng),
    "synthetic_ratings": lambda rng: synthetic_ratings(30, 20, 200, rng=rng),
    "draw_targets": lambda rng: draw_targets(SPLIT, "random", rng),
    "build_threat_model": lambda rng: build_threat_model(SPLIT, [1], rng, attack_size=0.1),
    "craft": lambda rng: craft("clone", THREAT, rng),
    **{
        f"{name}.fit": lambda rng, victim=victim: victim(epochs=1).fit(
            SPLIT.train, SPLIT.validation, RATINGS.levels, rng
        )
        for name, victim in VICTIMS.items()
    },
}


@pytest.mark.parametrize("draws", DRAWING.values(), ids=DRAWING)
@pytest.mark.parametrize("rng", [0, None, np.random, np.random.RandomState(0)])
def test_only_a_generator_is_drawn_from(draws, rng):
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator, such as"):
        draws(rng)


@pytest.mark.parametrize("seed", [-1, 1.0, "0", None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed must be a non-negative integer, got"):
        stream(seed, "split")


def test_a_stream_depends_on_seed_and_names_alone():
    drawn = [stream(*of).integers(2**32) for of in [(0, "a"), (np.int64(0), "a"), (0, "b"), (1,)]]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
