"""Whatever the order of updates and requests was: a fresh defender of the same ratings says the same."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rvdlib.serving import (
    RealTimeDefender,
    TooFewUsers,
    UnknownUser,
    load,
    matching,
    save,
    searches,
    snapshot,
)
from rvdlib.serving.cache import Cache
from tests.serving.conftest import FORM, FORMS, ratings, victim

USERS, ITEMS = st.integers(0, 44), st.integers(0, 29)
STARS = st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0])
SCALED = {"k": 5, "hubness_reduction": "local_scaling"}


def closed_form_and(method, choices, **own):
    first = {"method": "closed_form", "choices": {"k": 5} | own}
    return {"chain": [first, {"method": method, "choices": choices}]}


PROFILES = SCALED | {"quorum": 1, "max_in_degree": 6, "distance": "profile_overlap"}
COSINE = {"k": 5, "quorum": 1, "max_in_degree": 5, "distance": "cosine"}
INNER = {"method": "closed_form", "choices": {"k": 5, "distance": "inner_product"}}
MADE = {
    "MF, scaled, 6 vicinities of profiles": (
        "MF",
        "ranking",
        closed_form_and("quorum", PROFILES, **SCALED),
    ),
    "MF, scaled cosine, 5 vicinities": (
        "MF",
        "rating",
        closed_form_and(
            "quorum", COSINE | {"hubness_reduction": "none"}, **SCALED, distance="cosine"
        ),
    ),
    "MF, inner product": ("MF", "ranking", INNER),
    "MF, mutual, least support": (
        "MF",
        "ranking",
        closed_form_and("least_support", {"min_ratings": 9}, hubness_reduction="mutual"),
    ),
    "MF, hardened": ("MF", "ranking", FORM),
    "MF, hardened, rating regime": ("MF", "rating", FORM),
    "NSVD, closed form": ("NSVD", "rating", FORMS["closed form"]),
    "AutoRec, count": ("AutoRec", "rating", FORMS["count of profiles"]),
    "CDAE, closed form": ("CDAE", "ranking", FORMS["closed form"]),
    "MF, RVD": ("MF", "rating", FORMS["RVD"]),
}


def table(matrix) -> dict:
    coo = matrix.tocoo()
    found = {user: {} for user in range(matrix.shape[0])}
    for user, item, stars in zip(
        *map(np.ndarray.tolist, (coo.row, coo.col, coo.data)), strict=True
    ):
        found[user][item] = stars
    return found


@pytest.fixture(autouse=True, scope="module")
def _few_candidates():
    """As among many users: no list of candidates holds everybody, and few changes are few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "LISTED", 6)
        patch.setattr(searches, "MOST", 2)
        patch.setattr(matching, "MOST", 2)
        yield


class Serving(RuleBasedStateMachine):
    @initialize(made=st.sampled_from(sorted(MADE)))
    def begin(self, made):
        name, regime, self.form = MADE[made]
        self.victim, self.newcomers = victim(name, regime), name != "CDAE"
        self.defender, self.version = RealTimeDefender(self.victim, ratings(), form=self.form), 0
        self.first = table(ratings().matrix)
        self.now = {user: dict(row) for user, row in self.first.items()}

    @rule(given=st.lists(st.tuples(USERS, ITEMS, STARS), min_size=1, max_size=6))
    def rate(self, given):
        if not self.newcomers:
            given = [each for each in given if each[0] < 40]
        self.version += bool(given)
        assert self.defender.update(given) == self.version
        for user, item, stars in given:
            self.now.setdefault(user, {})[item] = stars

    @rule(users=st.sets(USERS, max_size=3))
    def remove(self, users):
        gone = users & self.now.keys()
        if users - gone:
            with pytest.raises(UnknownUser):
                self.defender.update(remove=users)
        left = [row for user, row in self.now.items() if user not in gone and row]
        if len(left) <= 5:
            with pytest.raises(TooFewUsers):
                self.defender.update(remove=gone)
            return
        self.version += bool(gone)
        assert self.defender.update(remove=gone) == self.version
        for user in gone:
            del self.now[user]

    @rule(user=USERS, n=st.integers(1, 30))
    def ask(self, user, n):
        if user not in self.now:
            with pytest.raises(UnknownUser):
                self.defender.recommend(user, n)
            return
        answer = self.defender.recommend(user, n, evidence=True)
        assert answer.version == self.version
        assert not set(answer.items) & self.now[user].keys()
        assert set(answer.evidence.neighbors) <= self.now.keys() - {user}

    @invariant()
    def the_ratings_are_those_that_came(self):
        state = self.defender.state
        ids = [state.id_of(row) for row in range(state.n_users)]
        own = table(state.arrays.train)
        assert {ids[row]: rated for row, rated in own.items()} == self.now
        assert [state.row_of(user) for user in ids] == list(range(len(ids)))

    def teardown(self):
        if not hasattr(self, "now"):
            return
        fresh = RealTimeDefender(self.victim, ratings(), form=self.form)
        # One removal and one update in the order of ids: nothing of the way here.
        shrunk = {u for u, row in self.first.items() if row.keys() - self.now.get(u, {}).keys()}
        came = [
            (user, item, stars)
            for user, row in sorted(self.now.items(), reverse=True)
            for item, stars in row.items()
            if user in shrunk or self.first.get(user, {}).get(item) != stars
        ]
        fresh.update(came, remove=shrunk)
        users = sorted(self.now)
        for one, other in zip(
            *(d.recommend(users, 30, evidence=True) for d in (self.defender, fresh)), strict=True
        ):
            assert (one.user, one.items, one.evidence) == (other.user, other.items, other.evidence)
            assert one.scores == other.scores
        np.testing.assert_array_equal(
            self.defender.state.arrays.factors, fresh.state.arrays.factors
        )

    @invariant()
    def everybody_gets_what_a_new_version_gives(self):
        """Asked for after every step, so that what is kept has a chance to be out of date."""
        made = snapshot.make(self.defender.state, self.defender.form, Cache(0))
        for user in sorted(self.now):
            row = self.defender.state.row_of(user)
            for kind, recommender in (("defended", made.serving), ("undefended", made.undefended)):
                kept = self.defender._list(self.defender._snapshot, kind, row, 12)
                for one, other in zip(kept, made.best(recommender, row, 12), strict=True):
                    np.testing.assert_array_equal(one, other)


TestServing = Serving.TestCase
TestServing.settings = settings(
    max_examples=12,
    phases=[Phase.generate],  # to shrink a failure takes minutes
    stateful_step_count=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    ("name", "regime"),
    [("NSVD", "ranking"), ("PlainNSVD", "ranking"), ("AutoRec", "rating"), ("AutoRec", "ranking")],
)
def test_an_encoder_makes_the_vector_that_training_had_for_the_same_ratings(name, regime):
    trained = victim(name, regime)
    defender = RealTimeDefender(trained, form={"chain": []})
    for row in (3, 11):
        rated = table(trained.train * np.float32(5))[row]
        defender.update([(100 + row, item, stars) for item, stars in rated.items()])
        both = np.array([defender.state.row_of(row), defender.state.row_of(100 + row)])
        np.testing.assert_allclose(*defender.state.arrays.score(both), atol=1e-5)


@pytest.mark.parametrize("name", ["MF", "PlainMF"])
@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_folding_mf_in_is_ridge_regression_on_the_items(name, regime):
    trained, ranking = victim(name, regime), regime == "ranking"
    defender = RealTimeDefender(trained, form={"chain": []})
    defender.update([(100, 2, 4.0), (100, 9, 1.0)])
    w, b = (trained.parameters[n].numpy().astype(float) for n in ("item_factors", "item_bias"))
    omega, reg = trained.loss.unobserved_weight, trained.loss.reg
    weight, y = np.full(30, omega), np.zeros(30)
    weight[[2, 9]], y[[2, 9]] = 1, [0.8, 0.2]
    biased, mean = name == "MF" and not ranking, 0.0
    if biased:
        w, mean = np.column_stack([w, np.ones(30)]), trained.mean_rating
    system = (w.T * weight) @ w + reg * (2 + omega * 30) * np.eye(w.shape[1])
    solved = np.linalg.solve(system, (w.T * weight) @ (y - b - mean))
    row = defender.state.row_of(100)
    found = defender.state.arrays.factors[row]
    np.testing.assert_allclose(found, solved[:6], rtol=2e-3, atol=1e-4)
    expected = 5 * (mean + (solved[6] if biased else 0.0))
    assert defender.state.arrays.offsets[row] == pytest.approx(expected, abs=1e-3)


def test_folding_nsvd_in_takes_the_damped_mean_of_what_the_encoder_leaves():
    trained = victim("NSVD", "rating")
    defender = RealTimeDefender(trained, form={"chain": []})
    defender.update([(100, 2, 4.0), (100, 9, 1.0)])
    row = defender.state.row_of(100)
    arrays = defender.state.arrays
    own = {name: tensor.numpy() for name, tensor in trained.parameters.items()}
    h = own["implicit_factors"][[2, 9]].sum(0) / np.sqrt(2)
    np.testing.assert_allclose(arrays.factors[row], h, rtol=1e-5)
    left = (
        np.array([0.8, 0.2])
        - trained.mean_rating
        - own["item_bias"][[2, 9]]
        - own["item_factors"][[2, 9]] @ h
    )
    assert arrays.offsets[row] == pytest.approx(
        5 * (trained.mean_rating + left.sum() / 7), abs=1e-5
    )


@pytest.mark.parametrize("made", sorted(MADE))
def test_what_was_saved_serves_and_changes_as_before(made, tmp_path):
    name, regime, form = MADE[made]
    before = RealTimeDefender(victim(name, regime), ratings(), form=form)
    before.update([(3, 2, 5.0), (8, 29, 1.0)], remove=[5])
    save(before, tmp_path / "d.safetensors")
    after = load(tmp_path / "d.safetensors")
    for _ in range(2):
        users = [u for u in range(40) if u != 5]
        for one, other in zip(
            *(d.recommend(users, 9, evidence=True) for d in (before, after)), strict=True
        ):
            assert (one.items, one.scores, one.evidence) == (
                other.items,
                other.scores,
                other.evidence,
            )
        for defender in (before, after):
            defender.update([(7, 1, 2.0), (3, 4, 1.0)] + [(77, 0, 3.0)] * (name != "CDAE"))
