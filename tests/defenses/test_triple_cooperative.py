"""Three models that label for each other: conformance, and the labels by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
from conformance import KINDS, N_USERS, TrainingConformance, poisoned, trained
from pydantic import ValidationError

from rvdlib.defenses import TripleCooperative
from rvdlib.defenses.triple_cooperative import rounded_scores, unobserved_cells, with_labels
from rvdlib.seeding import stream

USERS = np.arange(N_USERS)


class TestTripleCooperative(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return TripleCooperative(start=2)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_labels_are_what_two_models_round_alike_and_nothing_else(kind):
    victim = trained(*kind)
    shift = victim.parameters["item_factors"] * 1.3
    others = victim.parameters | {"item_factors": shift}
    cells = unobserved_cells(victim.train, 2.0, np.random.default_rng(0))
    one, other = (rounded_scores(victim, each, cells) for each in (victim.parameters, others))
    rows = with_labels(victim, cells, one, other).toarray() * victim.max_rating
    levels = ([0.0] if victim.ranking else []) + victim.levels.tolist()
    expected = victim.train.toarray() * victim.max_rating
    scores = victim.score(USERS), victim.score_with(others, USERS)
    found = 0
    for user, item in zip(*cells.nonzero(), strict=True):
        nearest = [min(levels, key=lambda level: abs(level - s[user, item])) for s in scores]
        agree = nearest[0] == nearest[1]
        expected[user, item] = nearest[0] if agree else 0
        found += agree
    assert found > 0
    assert rows == pytest.approx(expected, abs=1e-5)


def test_two_models_that_are_one_agree_on_all_that_is_offered():
    victim = trained("NSVD", "rating")
    cells = unobserved_cells(victim.train, 1.0, np.random.default_rng(0))
    stars = rounded_scores(victim, victim.parameters, cells)
    assert set(stars) <= set(victim.levels)
    rows = with_labels(victim, cells, stars, stars)
    assert rows.nnz == victim.train.nnz + cells.nnz
    assert with_labels(victim, cells, stars, stars + 1).nnz == victim.train.nnz


def test_cells_that_are_offered_are_unobserved_and_any_of_them():
    train = sp.csr_matrix(np.array([[1, 0, 2], [0, 0, 0], [0, 3, 0]], dtype=np.float32))
    rng, offered = np.random.default_rng(0), np.zeros((3, 3))
    for _ in range(3000):
        offered += unobserved_cells(train, 1.0, rng).toarray()
    assert (offered[train.toarray() > 0] == 0).all()
    assert offered[train.toarray() == 0] / 3000 == pytest.approx(1 - (8 / 9) ** 3, abs=0.03)


def test_each_model_learns_what_the_other_two_agree_on_and_the_first_serves(monkeypatch):
    """A model whose labels were its own would never be corrected."""
    from rvdlib.defenses import triple_cooperative as module

    learnt, asked = [], []
    scored, labelled = module.rounded_scores, module.with_labels

    def scores(victim, parameters, cells):
        asked.append(scored(victim, parameters, cells))
        return asked[-1]

    def labels(victim, cells, one, other):
        learnt.append(
            [
                next(n for n, each in enumerate(asked[-3:]) if each is given)
                for given in (one, other)
            ]
        )
        return labelled(victim, cells, one, other)

    monkeypatch.setattr(module, "rounded_scores", scores)
    monkeypatch.setattr(module, "with_labels", labels)
    victim = trained("MF", "rating")
    TripleCooperative(start=9).fit(victim, *poisoned(), stream(0, "model"))
    assert learnt == [[1, 2], [2, 0], [0, 1]]  # in the tenth epoch, the only one with labels


@pytest.mark.parametrize(("name", "value"), [("cells", 0), ("start", -1)])
def test_a_choice_out_of_range_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        TripleCooperative(**{name: value})
