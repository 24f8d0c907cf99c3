"""VicinityAttack: hubs are hubs, cover covers, clones stay near their sources, the loss falls."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.attacks import craft, poison
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import assemble
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.attacks.vicinal_objective import Defense, VicinalObjective
from rvdlib.attacks.vicinity import beside, cover, hubs, nearest
from rvdlib.data import leave_one_out, round_to_levels, synthetic_ratings
from rvdlib.defenses import ClosedFormRVD
from rvdlib.defenses.regression import VicinalRegression
from rvdlib.evaluation import evaluate
from rvdlib.models import MF
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model

TARGETS = np.array([3, 40])
N_VISIBLE, N_FAKES, N_FILLERS = 90, 15, 12
REGIMES = pytest.mark.parametrize("omega", [0.0, 0.1], ids=["rating", "ranking"])


@pytest.fixture(scope="module")
def split():
    ratings = synthetic_ratings(150, 60, 3000, rng=stream(0, "ratings"))
    return leave_one_out(ratings, stream(0, "split"))


@pytest.fixture(scope="module")
def threat(split):
    return build_threat_model(
        split,
        TARGETS,
        stream(0, "threat"),
        attack_size=N_FAKES / 150,
        filler_size=N_FILLERS,
        visible_share=N_VISIBLE / 150,
    )


def train(threat, omega):
    return Surrogate.train(
        threat,
        stream(0, "surrogate"),
        embedding_size=4,
        unobserved_weight=omega,
        reg=0.04,
        sweeps=20,
    )


def train_like_the_attack(threat):
    """What :func:`vicinity` trains first, from the stream that it is given."""
    options = {"embedding_size": 16, "unobserved_weight": 0.0, "reg": 0.04, "sweeps": 20}
    return Surrogate.train(threat, stream(0), **options)


# Sources


@st.composite
def neighbor_lists(draw):
    n_users = draw(st.integers(2, 9))
    k = draw(st.integers(1, n_users - 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    others = [np.delete(np.arange(n_users), u) for u in range(n_users)]
    return np.array([rng.permutation(other)[:k] for other in others])


@st.composite
def choices(draw):
    """Lists (users, k), some of the users, and how many to choose."""
    lists = draw(neighbor_lists())
    users = draw(st.sets(st.integers(0, len(lists) - 1), min_size=1))
    return lists, np.array(sorted(users)), draw(st.integers(0, 12))


@given(choices())
def test_hubs_are_those_who_stand_in_most_lists_by_count(choice):
    lists, users, n = choice
    counts = [sum(user in row for row in lists.tolist()) for user in range(len(lists))]
    ranked = sorted(users.tolist(), key=lambda user: (-counts[user], user))
    assert hubs(lists, users, n).tolist() == ranked[:n]


@given(choices())
def test_cover_takes_each_time_the_clone_that_enters_most_lists_without_a_fake(choice):
    lists, users, n = choice
    everybody = set(range(len(lists)))
    holders = [
        {u for u, row in enumerate(lists.tolist()) if user in row} | {user} for user in everybody
    ]
    expected, entered = [], set()
    for _ in users:
        entered = set() if entered == everybody else entered
        free = sorted(set(users.tolist()) - set(expected))
        expected.append(max(free, key=lambda user: len(holders[user] - entered)))
        entered = entered | holders[expected[-1]]
    assert cover(lists, users, n).tolist() == expected[:n]


def test_target_users_come_first_then_their_nearest_in_turn_each_once():
    lists = np.array([[3, 1], [2, 0], [1, 3], [0, 2]])
    assert beside(lists, np.array([2, 0])).tolist() == [2, 0, 1, 3]
    assert beside(lists, np.array([1])).tolist() == [1, 2, 0]


def test_target_users_are_cloned_in_place_of_hubs(threat):
    """The clones of two users, until both and their nearest have served."""
    profiles = craft(
        "vicinity", threat, stream(0), target_users=[7, 30], k=1, lowered=0.0
    ).toarray()
    visible = threat.visible.toarray()
    surrogate = train_like_the_attack(threat)
    nearest_of = Defense(1, "euclidean", "none", 0.1, 1.0, 50).neighbors(surrogate)[:, 0]
    order = list(dict.fromkeys([7, 30, nearest_of[7], nearest_of[30]]))
    for fake, source in enumerate(np.resize(order, N_FAKES)):
        items = np.setdiff1d(np.flatnonzero(profiles[fake]), TARGETS)
        rated = visible[source, items] > 0
        assert np.array_equal(profiles[fake, items[rated]], visible[source, items[rated]])
        own = np.setdiff1d(np.flatnonzero(visible[source]), TARGETS)
        assert rated.sum() == min(N_FILLERS, len(own))


def sources_of(profiles, threat):
    """Which visible user each unlowered profile is a part of."""
    visible, profiles = threat.visible.toarray(), profiles.toarray()
    profiles[:, TARGETS] = 0
    parts = ((profiles[:, None] == 0) | (profiles[:, None] == visible)).all(axis=2)
    assert np.array_equal(parts.sum(axis=1), np.ones(len(profiles)))
    return parts.argmax(axis=1)


def test_random_sources_are_different_long_enough_users_that_the_stream_alone_decides(threat):
    def chosen(seed, **options):
        options = {"sources": "random", "lowered": 0.0, **options}
        return sources_of(craft("vicinity", threat, stream(seed), **options), threat)

    here = chosen(0)
    assert len(set(here.tolist())) == N_FAKES
    dense = threat.visible.toarray()
    dense[:, TARGETS] = 0
    assert ((dense[here] > 0).sum(axis=1) >= N_FILLERS).all()
    assert set(here.tolist()) != set(chosen(1).tolist())
    for belief in ({"k": 3}, {"distance": "cosine"}, {"hubness_reduction": "mutual"}):
        assert np.array_equal(chosen(0, **belief), here), "they know of no neighbourhood"


def test_random_sources_serve_again_when_all_have_served(threat):
    few = ThreatModel(threat.visible[:4], TARGETS, 10, 3, threat.levels)
    options = {"sources": "random", "lowered": 0.0, "k": 2}
    here = sources_of(craft("vicinity", few, stream(0), **options), few)
    assert sorted(here[:4].tolist()) == [0, 1, 2, 3]
    assert np.array_equal(here, np.resize(here[:4], 10))


def test_neighbours_are_the_nearest_in_the_surrogate(threat):
    """By brute force over all pairs of visible users."""
    surrogate = train(threat, 0.0)
    points = surrogate.users[:, 1:-1].astype(float)
    for k in (3, 20):
        distances = np.linalg.norm(points[:, None] - points, axis=-1)
        np.fill_diagonal(distances, np.inf)
        lists = np.argsort(distances, axis=1, kind="stable")[:, :k]
        defense = Defense(k, "euclidean", "none", 0.1, 1.0, 50)
        assert np.array_equal(defense.neighbors(surrogate), lists)


# Clones


@pytest.mark.parametrize("fillers", ["nearest", "random"])
@pytest.mark.parametrize("lowered", [0.0, 0.5])
def test_a_clone_holds_ratings_of_one_visible_user_lowered(threat, fillers, lowered):
    profiles = craft("vicinity", threat, stream(0), fillers=fillers, lowered=lowered).toarray()
    visible = threat.visible.toarray()
    drop = lowered * (threat.levels[-1] - threat.levels[0])
    lowest = round_to_levels(visible - drop, threat.levels)
    for profile in profiles:
        items = np.setdiff1d(np.flatnonzero(profile), TARGETS)
        same = (visible[:, items] > 0) & (lowest[:, items] == profile[items])
        assert same.all(axis=1).any()


def ridge(surrogate, items, ratings, n_ratings):
    """A user's (b, p) by normal equations over all items, cell by cell."""
    factors, bias = surrogate.items[:, :-1], surrogate.items[:, -1]
    weights = np.full(len(factors), surrogate.unobserved_weight)
    goals = np.zeros(len(factors))
    weights[items], goals[items] = 1, ratings - surrogate.baseline
    cells = n_ratings + surrogate.unobserved_weight * len(factors)
    matrix = factors.T @ (weights[:, None] * factors)
    matrix += surrogate.reg * cells * np.eye(factors.shape[1])
    return np.linalg.solve(matrix, factors.T @ (weights * (goals - bias)))


@REGIMES
def test_nearest_fillers_are_each_the_best_given_those_before(threat, omega):
    surrogate = train(threat, omega)
    row = threat.visible[7].toarray()[0]
    row[TARGETS] = 0
    items = np.flatnonzero(row)
    assert len(items) > N_FILLERS
    chosen = nearest(threat, surrogate, 7, items, row[items])
    assert len(set(chosen.tolist())) == N_FILLERS

    def distance(positions):
        rated = np.concatenate([items[positions], TARGETS])
        values = np.concatenate([row[items[positions]] / threat.max_rating, [1, 1]])
        # The regulariser is that of the finished profile.
        placed = ridge(surrogate, rated, values, N_FILLERS + 2)
        return np.linalg.norm(placed[1:] - surrogate.users[7, 1:-1])

    for size in range(N_FILLERS):
        before = chosen[:size].tolist()
        others = set(range(len(items))) - set(before)
        best = min(distance([*before, other]) for other in others)
        assert np.isclose(distance(chosen[: size + 1]), best, rtol=1e-9)


def test_clones_of_one_source_differ(threat):
    profiles = craft("vicinity", threat, stream(0), target_users=[7], k=1)
    assert len(np.unique(profiles.toarray(), axis=0)) == N_FAKES


def test_short_sources_are_filled_up_at_the_visible_mean():
    visible = sp.csr_matrix(np.array([[5, 0, 0, 0], [2, 4, 0, 1]], dtype=np.float32))
    threat = ThreatModel(visible, np.array([0]), 1, 3, np.arange(1, 6, dtype=np.float32))
    profiles = craft("vicinity", threat, stream(0), target_users=[0], k=1, lowered=0.0)
    assert profiles.toarray()[0].tolist() == [5, 4, 3, 1]


# The objective


def attacked(threat, omega, k=5):
    """An objective, and a surrogate trained on fakes that clone some users."""
    defense = Defense(k, "euclidean", "none", 0.1, 1.0, 10)
    dense = threat.visible.toarray()
    dense[:, TARGETS] = 0
    users = np.flatnonzero((dense > 0).sum(axis=1) >= N_FILLERS)[:6]
    items = np.stack([np.flatnonzero(dense[user])[:N_FILLERS] for user in users])
    small = ThreatModel(threat.visible, TARGETS, 6, N_FILLERS, threat.levels)
    fakes = assemble(small, items, np.take_along_axis(dense[users], items, axis=1))
    surrogate = train(threat, omega).refit(fakes, 20)
    objective = VicinalObjective(threat, defense)
    assert (defense.neighbors(surrogate) >= N_VISIBLE).any(), "no fake is a neighbour"
    return objective, surrogate, fakes, items


@REGIMES
def test_scores_and_thresholds_are_those_of_the_defence(threat, omega):
    """A victim whose parameters are those of the surrogate, defended by ClosedFormRVD."""
    objective, surrogate, _, _ = attacked(threat, omega)
    if omega:  # there the victim has no user bias
        users = surrogate.users.copy()
        users[:, 0] = 0
        surrogate = replace(surrogate, users=users)
    victim = MF(embedding_size=4, unobserved_weight=omega)
    victim.parameters = {
        name: torch.from_numpy(values.astype(np.float32))
        for name, values in {
            "user_factors": surrogate.users[:, 1:-1],
            "user_bias": surrogate.users[:, 0],
            "item_factors": surrogate.items[:, 1:-1],
            "item_bias": surrogate.items[:, -1],
        }.items()
    }
    victim.mean_rating, victim.levels = surrogate.baseline, threat.levels
    victim.train = surrogate.ratings.astype(np.float32)
    victim.train.data += np.float32(surrogate.baseline)
    defended = ClosedFormRVD(victim, k=5, unobserved_weight=0.1, proximal_weight=1.0)

    everybody = np.arange(N_VISIBLE)
    neighbors = objective.defense.neighbors(surrogate)
    assert np.array_equal(defended.vicinity(everybody), neighbors)
    scores = defended.score(everybody) / threat.max_rating - surrogate.baseline
    users, items = torch.from_numpy(surrogate.users), torch.from_numpy(surrogate.items)
    ours = objective.scores(surrogate, users, items, neighbors, torch.from_numpy(everybody))
    assert np.allclose(ours, scores[:, TARGETS], atol=2e-6)
    scores[threat.visible.nonzero()] = -np.inf
    scores[:, TARGETS] = -np.inf
    thresholds = objective.thresholds(surrogate, neighbors)
    assert np.allclose(thresholds, np.sort(scores, axis=1)[:, -10], atol=2e-6)


def test_silence_means_zero_in_the_ranking_regime_whatever_the_users_bias(threat):
    objective, surrogate, _, _ = attacked(threat, 0.1)
    neighbors, everybody = objective.defense.neighbors(surrogate), np.arange(N_VISIBLE)
    assert np.abs(surrogate.users[:, 0]).max() > 0.01
    scores = VicinalRegression(
        user_factors=surrogate.users[:, 1:-1],
        offsets=surrogate.users[:, 0],
        item_factors=surrogate.items[:, 1:-1],
        item_bias=surrogate.items[:, -1],
        ratings=surrogate.ratings,
        unobserved_target=np.zeros(len(surrogate.users)),
        unobserved_weight=0.1,
        proximal_weight=1.0,
    ).score(everybody, neighbors)
    users, items = torch.from_numpy(surrogate.users), torch.from_numpy(surrogate.items)
    ours = objective.scores(surrogate, users, items, neighbors, torch.from_numpy(everybody))
    assert np.allclose(ours, scores[:, TARGETS], atol=1e-9)
    scores[threat.visible.nonzero()] = scores[:, TARGETS] = -np.inf
    expected = np.sort(scores, axis=1)[:, -10]
    assert np.allclose(objective.thresholds(surrogate, neighbors), expected, atol=1e-9)


def test_the_loss_counts_users_who_have_not_rated_the_target(threat):
    objective, surrogate, _, _ = attacked(threat, 0.0)
    neighbors = objective.defense.neighbors(surrogate)
    users, items = torch.from_numpy(surrogate.users), torch.from_numpy(surrogate.items)
    scores = objective.scores(surrogate, users, items, neighbors, torch.arange(N_VISIBLE)).numpy()
    unrated = threat.visible[:, TARGETS].toarray() == 0
    assert not unrated.all()
    margins = scores - objective.thresholds(surrogate, neighbors)[:, None]
    value, _, _ = objective.value_and_gradient(surrogate)
    assert np.isclose(value, np.log1p(np.exp(-margins[unrated] / 0.05)).mean())


@REGIMES
def test_blocks_of_users_change_nothing(threat, omega, monkeypatch):
    objective, surrogate, _, _ = attacked(threat, omega)
    whole = objective.value_and_gradient(surrogate)
    monkeypatch.setattr("rvdlib.attacks.vicinal_objective._BLOCK_USERS", 7)
    for ours, expected in zip(objective.value_and_gradient(surrogate), whole, strict=True):
        assert np.allclose(ours, expected, rtol=1e-9, atol=1e-14)


@pytest.fixture
def hold(monkeypatch):
    """Who is a neighbour, and τ, are constants in the gradient: so must they be where it is measured."""

    def stand(objective, surrogate):
        neighbors = objective.defense.neighbors(surrogate)
        thresholds = objective.thresholds(surrogate, neighbors)
        monkeypatch.setattr(Defense, "neighbors", lambda *_: neighbors)
        monkeypatch.setattr(objective, "thresholds", lambda *_: thresholds)

    return stand


@REGIMES
def test_its_gradient_by_the_factors_is_that_of_finite_differences(threat, omega, hold):
    objective, surrogate, _, _ = attacked(threat, omega)
    hold(objective, surrogate)
    _, *gradients = objective.value_and_gradient(surrogate)
    rng, step = np.random.default_rng(0), 1e-6
    for name, gradient, trained in [
        ("users", gradients[0], slice(None, -1)),
        ("items", gradients[1], slice(1, None)),
    ]:
        direction = np.zeros_like(gradient)
        direction[:, trained] = rng.standard_normal(direction[:, trained].shape)
        there, back = (
            replace(surrogate, **{name: getattr(surrogate, name) + sign * step * direction})
            for sign in (1, -1)
        )
        rise = objective.value_and_gradient(there)[0] - objective.value_and_gradient(back)[0]
        assert np.isclose((gradient * direction).sum(), rise / (2 * step), rtol=1e-5)


@REGIMES
def test_its_gradient_by_the_ratings_is_that_of_training_again(threat, omega, hold):
    objective, surrogate, fakes, items = attacked(threat, omega)
    surrogate = surrogate.refit(fakes, 300)
    hold(objective, surrogate)
    _, *gradients = objective.value_and_gradient(surrogate)
    gradient = np.take_along_axis(surrogate.rating_gradient(*gradients, 300), items, axis=1)

    direction = np.random.default_rng(0).standard_normal(items.shape)
    moved = np.zeros(fakes.shape)
    np.put_along_axis(moved, items, threat.max_rating * direction, axis=1)
    step = 1e-6
    there, back = (
        objective.value_and_gradient(
            surrogate.refit(sp.csr_matrix(fakes.toarray() + sign * step * moved), 300)
        )[0]
        for sign in (1, -1)
    )
    assert np.isclose((gradient * direction).sum(), (there - back) / (2 * step), rtol=1e-5)


# The attack

QUICK = {"embedding_size": 4, "k": 5, "list_length": 10}


@REGIMES
def test_the_loss_falls_and_the_best_step_is_kept(threat, omega):
    options = {**QUICK, "unobserved_weight": omega}
    history = History()
    last = craft("vicinity", threat, stream(0), gradient_steps=12, history=history, **options)
    assert len(history.objectives) == 13
    best = int(np.argmin(history.objectives))
    assert best > 0
    for steps in {best - 1, best, min(best + 1, 12)}:
        ended = craft("vicinity", threat, stream(0), gradient_steps=steps, **options)
        assert ((ended != last).nnz == 0) == (steps >= best)
        assert np.array_equal(ended.indices, last.indices), "fillers are chosen before the descent"


@pytest.mark.parametrize("losses", [[1, 2, 3, 4], [4, 2, 1, 3], [3, 4, 2, 1], [2, 1, 4, 3]])
def test_the_step_of_least_loss_is_returned_wherever_it_stands(threat, losses, monkeypatch):
    tried, refit, real = [], Surrogate.refit, VicinalObjective.value_and_gradient

    def watched(surrogate, fakes, sweeps):
        tried.append(fakes.toarray())
        return refit(surrogate, fakes, sweeps)

    def scripted(objective, surrogate):
        return (losses[len(tried) - 1], *real(objective, surrogate)[1:])

    monkeypatch.setattr(Surrogate, "refit", watched)
    monkeypatch.setattr(VicinalObjective, "value_and_gradient", scripted)
    history = History()
    options = {**QUICK, "gradient_steps": 3, "step_size": 0.3, "history": history}
    fakes = craft("vicinity", threat, stream(0), **options).toarray()
    assert history.objectives == losses
    same = [np.array_equal(fakes, each) for each in tried]
    assert same == [loss == 1 for loss in losses]


def test_permuted_targets_do_not_promote_the_real_ones(split, threat):
    """What was made for these items lifts them, and not others that were named in their place."""
    lifts = {}
    small = {"embedding_size": 6, "epochs": 15}
    for name, targets in {"real": TARGETS, "permuted": np.array([11, 27])}.items():
        made_for = ThreatModel(threat.visible, targets, N_FAKES, N_FILLERS, threat.levels)
        fakes = craft("vicinity", made_for, stream(0), gradient_steps=3, **QUICK)
        victim = MF(**small).fit(poison(split, fakes), split.validation, threat.levels, stream(0))
        defended = ClosedFormRVD(victim, k=10)
        lifts[name] = evaluate(defended, split, TARGETS, k=10).target_hit_ratio
    clean = MF(**small).fit(split.train, split.validation, threat.levels, stream(0))
    before = evaluate(ClosedFormRVD(clean, k=10), split, TARGETS, k=10).target_hit_ratio
    assert lifts["real"] > before + 0.2
    assert lifts["permuted"] < before + 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": "target_users"}, "sources must be one of hubs, cover, random"),
        ({"fillers": "all"}, "fillers must be one of nearest, random"),
        ({"distance": "manhattan"}, "distance must be one of"),
        ({"target_users": []}, "target_users must be one visible user or more, got none"),
        ({"target_users": [90]}, "target_users must be row numbers from 0 to 89, got 90"),
        ({"target_users": [-1]}, "target_users must be row numbers from 0 to 89, got -1"),
        (
            {"target_users": [0.5]},
            "target_users must be row numbers, integers from 0 to 89, got 0.5",
        ),
    ],
)
def test_bad_options_are_refused(threat, options, message):
    with pytest.raises(ValueError, match=message):
        craft("vicinity", threat, stream(0), **options)


BELIEFS = [
    (distance, reduction)
    for distance in ("euclidean", "cosine", "inner_product", "profile_overlap")
    for reduction in ("none", "mutual", "local_scaling")
    if (distance, reduction) != ("inner_product", "local_scaling")
]


@pytest.mark.parametrize(("distance", "reduction"), BELIEFS)
def test_every_kind_of_neighbour_can_be_assumed_and_its_best_step_is_kept(
    threat, distance, reduction
):
    options = {**QUICK, "distance": distance, "hubness_reduction": reduction}
    history = History()
    last = craft("vicinity", threat, stream(0), gradient_steps=4, history=history, **options)
    assert len(history.objectives) == 5
    best = int(np.argmin(history.objectives))
    ended = craft("vicinity", threat, stream(0), gradient_steps=best, **options)
    assert (ended != last).nnz == 0


def test_every_kind_of_neighbour_is_another_loss_and_other_sources(threat):
    losses, fakes = set(), set()
    for distance, reduction in BELIEFS:
        options = {**QUICK, "distance": distance, "hubness_reduction": reduction}
        history = History()
        craft("vicinity", threat, stream(0), gradient_steps=1, history=history, **options)
        losses.add(history.objectives[0])
        fakes.add(craft("vicinity", threat, stream(0), **options).toarray().tobytes())
    assert len(losses) == len(fakes) == len(BELIEFS)


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("k", 6),
        ("list_length", 11),
        ("vicinal_weight", 0.2),
        ("proximal_weight", 2.0),
        ("step_size", 0.1),
        ("sources", "hubs"),
        ("sources", "random"),
        ("target_users", [7, 30]),
        ("fillers", "random"),
        ("lowered", 0.25),
        ("embedding_size", 5),
        ("unobserved_weight", 0.1),
        ("reg", 0.05),
        ("sweeps", 6),
    ],
)
def test_every_option_matters(threat, option, other):
    found = []
    for options in (QUICK, {**QUICK, option: other}):
        history = History()
        craft("vicinity", threat, stream(0), gradient_steps=2, history=history, **options)
        found.append(history.objectives)
    assert found[0] != found[1]
