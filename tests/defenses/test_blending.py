"""Blending with the vicinity's mean score: conformance, and the mean by hand."""

import numpy as np
import pytest
from conformance import ANY_VICTIM, KINDS, USERS, DefenseConformance, trained
from pydantic import ValidationError

from rvdlib.defenses import Blending


class TestBlending(DefenseConformance):
    kinds = ANY_VICTIM
    tolerance = 1e-5

    def defend(self, victim):
        return Blending(victim, k=5, weight=1)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_score_is_the_mean_of_the_neighbours_scores_and_the_user_s_own(kind):
    victim = trained(*kind)
    blended = Blending(victim, k=4, weight=0.25, include_user=True)
    expected = [
        0.75 * victim.score([user])[0] + 0.25 * victim.score(rows).mean(axis=0)
        for user, rows in zip(USERS, blended.vicinity(USERS), strict=True)
    ]
    assert blended.score(USERS) == pytest.approx(np.array(expected), abs=1e-4)


def test_without_weight_or_without_neighbours_it_is_the_victim():
    victim = trained("AutoRec", "rating")
    for choices in ({"weight": 0}, {"neighbors": "none"}):
        assert Blending(victim, **choices).score(USERS) == pytest.approx(
            victim.score(USERS), abs=1e-5
        )


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_out_of_range_is_refused(weight):
    with pytest.raises(ValidationError, match="weight"):
        Blending(trained("MF", "rating"), weight=weight)
