"""The plain rivals of RVD: the conformance of any defence, and an oracle each."""

from types import SimpleNamespace

import numpy as np
import pytest
from conformance import (
    ANY_VICTIM,
    LONELY_USER,
    USERS,
    DefenseConformance,
    TrainingConformance,
    poisoned,
    trained,
)
from pydantic import ValidationError

from rvdlib.attacks import craft, poison
from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.defenses import (
    ClosedFormRVD,
    Count,
    LeastSupport,
    MostPopular,
    Quorum,
    RemoveDetected,
    UnobservedWeight,
)
from rvdlib.evaluation import evaluate, recommend
from rvdlib.models import AutoRec
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model, draw_targets


class TestLeastSupport(DefenseConformance):
    kinds = ANY_VICTIM
    tolerance = 1e-5  # the victim's own

    def defend(self, victim):
        return LeastSupport(victim, min_ratings=12)


class TestMostPopular(DefenseConformance):
    kinds = ANY_VICTIM

    def defend(self, victim):
        return MostPopular(victim)


class TestRemoveDetected(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return RemoveDetected(share=0.1)


class TestUnobservedWeight(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return UnobservedWeight(unobserved_weight=0.6)


@pytest.mark.parametrize("least", [0, 1, 12, 1000])
def test_an_item_is_listed_if_so_many_rated_it_fakes_included_and_scored_as_before(least):
    victim, (train, *_) = trained("NSVD", "rating"), poisoned()
    supported = (train.toarray() > 0).sum(axis=0) >= least
    defended = LeastSupport(victim, min_ratings=least)
    assert np.array_equal(defended.score(USERS), victim.score(USERS))
    assert np.array_equal(defended.eligible(USERS), np.tile(supported, (len(USERS), 1)))
    assert supported.all() == (least < 2)
    # Not even where nothing else is left.
    listed = recommend(LeastSupport(victim, min_ratings=least), USERS, train, k=40)
    assert supported[listed[listed >= 0]].all()


def test_what_is_measured_of_least_support_is_that_of_a_score_of_minus_infinity(small):
    split, victim = small
    supported = (split.train.toarray() > 0).sum(axis=0) >= 14
    masked = SimpleNamespace(
        score=lambda users: np.where(supported, victim.score(users), -np.inf), predicts_stars=False
    )
    targets = [0, 7, 30]
    found = evaluate(LeastSupport(victim, min_ratings=14), split, targets, k=20).summary()
    assert found == pytest.approx(evaluate(masked, split, targets, k=20).summary(), nan_ok=True)
    assert found["list_length"] < 20


def test_support_is_also_asked_of_what_another_defence_serves():
    victim = trained("MF", "ranking")
    inner = ClosedFormRVD(victim, k=5)
    assert np.array_equal(LeastSupport(inner, min_ratings=12).score(USERS), inner.score(USERS))


def test_what_two_defences_may_serve_is_what_both_may():
    victim = trained("MF", "ranking")
    support, quorum = LeastSupport(victim, min_ratings=12), Quorum(victim, k=9, quorum=3)
    both = support.eligible(USERS) & quorum.eligible(USERS)
    assert (both != support.eligible(USERS)).any()
    assert (both != quorum.eligible(USERS)).any()
    for outer in (
        LeastSupport(quorum, min_ratings=12),
        Quorum(support, k=9, quorum=3),
        Count(LeastSupport(quorum, min_ratings=12), k=9),
    ):
        assert np.array_equal(outer.eligible(USERS), both)


def test_the_most_popular_are_the_same_for_everybody_whatever_the_victim():
    train, *_ = poisoned()
    counts = (train.toarray() > 0).sum(axis=0)
    for kind in (("MF", "rating"), ("CDAE", "ranking")):
        assert np.array_equal(MostPopular(trained(*kind)).score(USERS), np.tile(counts, (5, 1)))


@pytest.mark.parametrize("rival", [LeastSupport, MostPopular])
def test_what_only_lists_items_has_no_rmse(small, rival):
    split, victim = small
    assert np.isnan(evaluate(rival(victim), split, [], k=5).rmse)


@pytest.fixture
def small():
    split = leave_one_out(synthetic_ratings(60, 45, 700, rng=stream(0)), stream(0, "split"))
    victim = AutoRec(embedding_size=2, epochs=1)
    return split, victim.fit(split.train, split.validation, split.ratings.levels, stream(0))


@pytest.mark.parametrize("name", ["MF", "NSVD", "AutoRec", "CDAE"])
def test_training_with_weight_is_the_victim_of_the_ranking_regime_to_the_bit(name):
    rating, ranking = trained(name, "rating"), trained(name, "ranking")
    others = {"embedding_size": 4, "epochs": 10, "reg": 0.01}
    for choices in ({}, {"hyperparameters": others}):
        defense = UnobservedWeight(unobserved_weight=0.2, **choices)
        untrained = type(rating)(**rating.config.model_dump())
        data = poisoned()
        found = defense.fit(untrained, *data, stream(0, "model"))
        assert found.config == ranking.config
        assert np.array_equal(found.score(USERS), ranking.score(USERS))
        assert not hasattr(untrained, "parameters")


def test_other_hyper_parameters_stand_in_place_of_all_that_the_victim_has():
    victim = trained("AutoRec", "rating")
    assert victim.config.reg != type(victim).Config().reg
    chosen = UnobservedWeight(unobserved_weight=0.3, hyperparameters={"epochs": 1})
    found = chosen.fit(victim, *poisoned(), stream(0))
    assert found.config == AutoRec(unobserved_weight=0.3, epochs=1).config
    with pytest.raises(ValidationError, match="no_such"):
        UnobservedWeight(hyperparameters={"no_such": 1}).fit(victim, *poisoned(), stream(0))


def test_the_most_suspicious_are_removed_whole_and_nobody_else():
    train, _, levels = poisoned()
    kept = RemoveDetected(share=0.11).clean(train, levels, stream(0))
    before, after = np.diff(train.indptr), np.diff(kept.indptr)
    gone = np.flatnonzero(after < before)
    # Of 64 users, one of whom has no rating: 6.93, not 7.04.
    assert len(gone) == int(0.11 * (before > 0).sum()) == 6
    assert (after[gone] == 0).all()
    assert np.array_equal(np.delete(kept.toarray(), gone, 0), np.delete(train.toarray(), gone, 0))
    assert LONELY_USER not in gone  # has nothing that could be removed


def test_nobody_s_copy_is_kept_because_of_where_it_stands():
    """Profiles that are alike are equally suspicious: all of them go, or none."""
    train, _, levels = poisoned()
    for share in (0.02, 0.05, 0.1, 0.2, 0.4):
        after = np.diff(RemoveDetected(share=share).clean(train, levels, stream(0)).indptr)
        assert (after == 0).sum() - 1 <= int(share * 63)
    assert (RemoveDetected(share=0).clean(train, levels, stream(0)) != train).nnz == 0


def test_random_fakes_are_removed_from_real_data(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    threat = build_threat_model(
        split, draw_targets(split, "unpopular", stream(0, "targets")), stream(0, "threat")
    )
    train = poison(split, craft("random", threat, stream(0, "random")))
    kept = RemoveDetected(share=0.1).clean(train, ml100k.levels, stream(0))
    gone = np.diff(kept.indptr) == 0
    n_real = split.train.shape[0]
    assert gone[n_real:].mean() > 0.5 > 5 * gone[:n_real].mean() / 2


@pytest.mark.parametrize("share", [-0.1, 1.0, "many"])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValidationError, match="share"):
        RemoveDetected(share=share)


@pytest.mark.parametrize("weight", [0, 1.5])
def test_a_weight_out_of_range_is_refused(weight):
    with pytest.raises(ValidationError, match="unobserved_weight"):
        UnobservedWeight(unobserved_weight=weight)


def test_a_least_support_below_nothing_is_refused():
    with pytest.raises(ValidationError, match="min_ratings"):
        LeastSupport(trained("MF", "rating"), min_ratings=-1)
