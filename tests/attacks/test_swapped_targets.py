"""What the gain of an attack consists of, on ML-100K: hardly of fillers made for its targets.

Every fake rates all targets at the top, and the targets are meant for everybody, so which fillers
serve best hardly depends on which items the targets are.
"""

from dataclasses import replace

import numpy as np
import pytest

from rvdlib import attacks
from rvdlib.attacks import ATTACKS
from rvdlib.attacks.pga import Objective as MeanPrediction
from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment import poison
from rvdlib.lab.experiment.hyperparameters import attack_options, victim_hyperparameters
from rvdlib.models import MF
from rvdlib.seeding import stream

AIM = {"seed": 0, "attack_size": 0.03, "target_set": "random"}


@pytest.fixture(scope="module")
def crafted(ml100k):
    """A function (attack, crafted for) → frozen fakes; each is made once."""
    made = {}

    def craft(name, crafted_for="targets"):
        if (name, crafted_for) not in made:
            aimed = {"options": attack_options("rating", name), "crafted_for": crafted_for, **AIM}
            made[name, crafted_for] = poison.freeze(name, ml100k, **aimed)
        return made[name, crafted_for]

    return craft


@pytest.fixture(scope="module")
def target_hit_ratio(ml100k):
    split, threat, _ = poison.aim("random", ml100k, **AIM)

    measured = {}

    def measure(fakes=None):
        if id(fakes) not in measured:  # of fakes that the fixture above keeps
            measured[id(fakes)] = trained(fakes)
        return measured[id(fakes)]

    def trained(fakes):
        train = split.train if fakes is None else attacks.poison(split, fakes)
        victim = MF(**victim_hyperparameters("ml-100k", "rating", "MF"))
        victim.fit(train, split.validation, ml100k.levels, stream(0, "model", "MF"))
        return evaluate(victim, split, threat.targets).target_hit_ratio

    return measure


@pytest.mark.parametrize("name", ["pga", "vicinity"])  # the study's control has all of them
def test_the_targets_rise_as_much_by_fillers_crafted_for_others(name, crafted, target_hit_ratio):
    clean, own, swapped, low = (
        target_hit_ratio(fakes)
        for fakes in (None, crafted(name), crafted(name, "others"), crafted("low_clone"))
    )
    assert own > clean + 0.3
    assert swapped == pytest.approx(own, abs=0.07)
    assert own < low + 0.07, "low ratings as such do as much"


def test_the_objective_is_reached_as_well_by_fillers_crafted_for_others(crafted, ml100k):
    """In the attack's own surrogate, trained anew: its code climbs, and the control has climbed, too."""
    _, threat, rng = poison.aim("pga", ml100k, **AIM)
    start = attacks.craft("random", threat, rng)
    config = ATTACKS["pga"].config(attack_options("rating", "pga"))
    clean = config.train(threat, stream(0, "surrogate"), 20)

    def loss(fakes):
        return -MeanPrediction(threat, clean, 0.0).value(clean.refit(fakes, 20))

    before, own, swapped = (
        loss(fakes) for fakes in (start, crafted("pga").profiles, crafted("pga", "others").profiles)
    )
    assert own < before
    assert before - swapped > 0.75 * (before - own)


def test_the_networks_of_aush_see_no_target(ml100k):
    """With the same selected items, the fakes for two sets of targets that no template has rated."""
    _, threat, _ = poison.aim("aush", ml100k, **AIM)
    rated = np.unique(threat.visible.indices)
    unseen = np.setdiff1d(np.arange(threat.n_items), rated)
    here, there = unseen[:5], unseen[5:10]
    ours, theirs = (
        attacks.craft(
            "aush", replace(threat, targets=each), stream(0), selected=rated[:3].tolist(), epochs=1
        )
        for each in (here, there)
    )
    assert (poison.exchanged(theirs, there, here) != ours).nnz == 0
