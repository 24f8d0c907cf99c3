"""PORE's certificate, against every attack on a bagging so small that all can be tried."""

import itertools

import numpy as np
import pytest

from rvdlib.theory.bagging import most_fakes, survives

N_USERS, SAMPLE, ITEMS, VOTED, K = 5, 3, 6, 2, 2
CHOICES = np.array(
    [np.isin(np.arange(ITEMS), pair) for pair in itertools.combinations(range(ITEMS), VOTED)]
)


def clean_votes(rng):
    """(items,) votes for user 0 of the models that drew the user and no fake; half are agreed on."""
    drawn = [d for d in itertools.combinations(range(N_USERS), SAMPLE) if 0 in d]
    favourite = rng.integers(len(CHOICES))
    agreed = rng.random(len(drawn)) < 0.8
    return CHOICES[np.where(agreed, favourite, rng.integers(len(CHOICES), size=len(drawn)))].sum(0)


def test_no_attack_at_all_moves_what_is_certified():
    """One fake: four of the models that drew user 0 drew the fake too, and may vote as it likes."""
    n_models = len(list(itertools.combinations(range(N_USERS), SAMPLE)))
    spoilt = len(
        [d for d in itertools.combinations(range(N_USERS + 1), SAMPLE) if 0 in d and N_USERS in d]
    )
    added = np.array(
        [CHOICES[list(c)].sum(0) for c in itertools.product(range(len(CHOICES)), repeat=spoilt)]
    )
    certified = broken = 0
    for seed in range(40):
        votes = clean_votes(np.random.default_rng(seed))
        after = added + votes
        # Ties go against the item.
        ahead = (after[:, None, :] >= after[:, :, None]).sum(axis=2) - 1
        holds = (ahead < K).all(axis=0)
        p = votes / n_models
        found = survives(p, p, N_USERS, 1, sample=SAMPLE, voted=VOTED, k=K)
        assert not (found & ~holds).any(), votes
        certified += found.sum()
        broken += (~holds).sum()
    assert certified > 10
    assert broken > 100


def test_without_fakes_the_items_of_most_votes_are_certified():
    p = np.array([0.1, 0.4, 0.3, 0.2, 0.0])
    assert survives(p, p, 50, 0, sample=20, voted=1, k=2).tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_more_fakes_never_certify_more():
    p = np.array([0.2, 0.15, 0.05, 0.0, 0.0, 0.0])
    found = [survives(p, p, 100, m, sample=20, voted=2, k=3).sum() for m in range(12)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] == 0


def test_at_the_size_of_the_study_a_sample_of_a_fifth_stands_few_fakes():
    few, small = (most_fakes(943, sample=s, voted=1, k=50) for s in (200, 20))
    assert 0 < few < 0.03 * 943 < small
    p = np.zeros(51)
    p[0] = 200 / 943
    assert survives(p, p, 943, few, sample=200, voted=1, k=50)[0]
    assert not survives(p, p, 943, few + 1, sample=200, voted=1, k=50)[0]


@pytest.mark.parametrize("sample", [0, 6])
def test_a_sample_that_cannot_be_drawn_is_refused(sample):
    with pytest.raises(
        ValueError, match=f"sample must be between 1 and 5, the users, got {sample}"
    ):
        survives([0.1], [0.1], 5, 1, sample=sample, voted=1, k=1)
