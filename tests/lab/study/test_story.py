"""The story of one user: whom it is about, what the lists show, and where the neighbours are."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from rvdlib.lab.experiment.cells import Attacked, Scenario
from rvdlib.lab.study import story
from rvdlib.neighbors import NeighborSearch

FORMS = {
    "RVD": {"method": "rvd", "choices": {"k": 3, "steps": 1}},
    "no step": {"method": "rvd", "choices": {"k": 3, "steps": 0}},
}


@pytest.fixture(scope="module")
def scenario(dataset):
    attack = {"attack": "average", "attack_size": 0.2, "target_set": "unpopular"}
    return Scenario(dataset=dataset, victim="MF", regime="rating", **attack)


@pytest.fixture(scope="module")
def one(scenario):
    return story.tell(scenario)


def targets_in_top(attacked, clean, length=10):
    """How many targets each real user has among the first, by a plain sort."""
    train = clean.split.train
    scores = attacked.victim.score(np.arange(train.shape[0])).astype(float)
    scores[train.nonzero()] = -np.inf
    first = np.argsort(-scores, axis=1, kind="stable")[:, :length]
    return np.isin(first, attacked.targets).sum(axis=1)


def test_it_is_about_the_first_user_in_whom_the_attack_gains_most(one):
    before = targets_in_top(one.clean, one.clean)
    after = targets_in_top(one.attacked, one.clean)
    gained = [new if not old else 0 for new, old in zip(after, before, strict=True)]
    assert max(gained) > 0
    assert one.user == gained.index(max(gained))


def test_who_had_a_target_before_the_attack_is_passed_over(scenario, one, monkeypatch):
    split, targets = one.clean.split, np.array([100, 101])
    unrated = ~(split.train[:, targets].toarray() > 0).any(axis=1)
    before, one, both, too = np.flatnonzero(unrated)[:4]
    scores = {"none": np.zeros(split.train.shape), "average": np.zeros(split.train.shape)}
    scores["none"][before, 100] = 1
    for user, shown in ((before, [100, 101]), (one, [100]), (both, [100, 101]), (too, [100, 101])):
        scores["average"][user, shown] = 1

    def carry_out(scenario):
        victim = SimpleNamespace(score=lambda users: scores[scenario.attack][users])
        return Attacked(split, targets, victim)

    monkeypatch.setattr(story, "carry_out", carry_out)
    assert story.tell(scenario).user == both


@pytest.mark.parametrize("harmless", [{"attack": "none"}, {"attack_size": 0.0}])
def test_an_attack_that_reaches_nobody_has_no_story(scenario, harmless):
    with pytest.raises(ValueError, match="no target into anybody's first ten"):
        story.tell(scenario.model_copy(update=harmless))


def test_the_lists_mark_the_targets_and_leave_out_what_the_user_rated(one, monkeypatch):
    monkeypatch.setattr(story, "chosen_defenses", lambda regime, victim, dataset: FORMS)
    lists = one.lists()
    assert lists.columns.tolist() == ["not attacked", "attacked", *FORMS]
    assert lists.index.tolist() == list(range(1, 11))
    assert not lists["not attacked"].str.startswith("▲").any()
    marked = lists["attacked"].str.startswith("▲").sum()
    assert marked == targets_in_top(one.attacked, one.clean)[one.user]
    assert lists["no step"].tolist() == lists["attacked"].tolist()

    split = one.clean.split
    rated = set(split.train[one.user].indices)
    index = {str(raw): item for item, raw in enumerate(split.ratings.item_ids)}
    counts = split.train.getnnz(axis=0)
    for shown in lists.to_numpy().ravel():
        mark, raw, count = re.fullmatch(r"(▲ )?item (\S+) \((\d+)\)", shown).groups()
        item = index[raw]
        assert item not in rated
        assert (mark is not None) == (item in one.attacked.targets)
        assert int(count) == counts[item]


def test_the_map_shows_everybody_and_the_user_s_neighbours(one):
    people = one.map(k=8)
    n_real = one.clean.split.train.shape[0]
    assert len(people) == n_real + 24
    assert people.loc[people["kind"] == "served"].index.tolist() == [one.user]
    neighbours = people.index[people["kind"].isin(["neighbour", "fake neighbour"])]
    nearest = NeighborSearch(one.attacked.victim.user_factors(), 8)(np.array([one.user]))[0]
    assert set(neighbours) == set(nearest)
    assert people["kind"].str.startswith("fake").tolist() == [False] * n_real + [True] * 24
    assert np.isfinite(people[["x", "y"]]).all().all()
    factors = one.attacked.victim.user_factors().astype(float)
    assert (people["radius"] ** 2).mean() == pytest.approx(factors.var(axis=0).sum(), rel=1e-5)
    fake = (people["kind"] == "fake neighbour").sum()
    assert f"; {fake} of this user's 8 nearest neighbours are fake" in story.reading(people)
