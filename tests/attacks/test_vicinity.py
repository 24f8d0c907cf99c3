"""VicinityAttack: hubs are hubs, cover covers, clones stay near their sources."""

import hashlib

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.attacks import craft
from rvdlib.attacks.sources import allotted, beside, cover, hubs
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.attacks.vicinity import nearest, neighbors_in
from rvdlib.data import round_to_levels
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model

TARGETS = np.array([3, 40])
N_VISIBLE, N_FAKES, N_FILLERS = 90, 15, 12
REGIMES = pytest.mark.parametrize("omega", [0.0, 0.1], ids=["rating", "ranking"])


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


@st.composite
def contests(draw):
    """Choices, the raters of one or two targets, and a quorum."""
    lists, users, n = draw(choices())
    targets = draw(st.integers(1, 2))
    rated = np.random.default_rng(draw(st.integers(0, 2**32))).random((len(lists), targets)) < 0.3
    return lists, users, n, rated, draw(st.integers(1, 4))


@given(contests())
def test_allotted_fakes_win_each_time_the_most_pairs_for_each(contest):
    lists, users, n, rated, quorum = contest
    holders = {user: {user} | {u for u, row in enumerate(lists) if user in row} for user in users}
    pairs = {
        (u, t): quorum - rated[lists[u], t].sum()
        for u, t in np.argwhere(~rated)
        if any(u in held for held in holders.values())
    }
    expected = []
    while len(expected) < n and pairs:
        if max(pairs.values()) <= 0:
            pairs = dict.fromkeys(pairs, 1)
        best, most = None, 0
        for size in range(1, n - len(expected) + 1):
            for user in users:
                won = sum(u in holders[user] and 0 < need <= size for (u, _), need in pairs.items())
                if won / size > most:
                    best, most = (user, size), won / size
        if best is None:
            break
        expected += [best[0]] * best[1]
        for u, t in pairs:
            pairs[u, t] -= best[1] * (u in holders[best[0]])
    expected += hubs(lists, users, n - len(expected)).tolist()
    assert allotted(lists, users, n, rated, quorum).tolist() == expected


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
    nearest_of = neighbors_in(surrogate, 1)[:, 0]
    order = list(dict.fromkeys([7, 30, nearest_of[7], nearest_of[30]]))
    for fake, source in enumerate(np.resize(order, N_FAKES)):
        items = np.setdiff1d(np.flatnonzero(profiles[fake]), TARGETS)
        rated = visible[source, items] > 0
        assert np.array_equal(profiles[fake, items[rated]], visible[source, items[rated]])
        own = np.setdiff1d(np.flatnonzero(visible[source]), TARGETS)
        assert rated.sum() == min(N_FILLERS, len(own))


def test_neighbours_are_the_nearest_in_the_surrogate(threat):
    """By brute force over all pairs of visible users."""
    surrogate = train(threat, 0.0)
    points = surrogate.users[:, 1:-1].astype(float)
    for k in (3, 20):
        distances = np.linalg.norm(points[:, None] - points, axis=-1)
        np.fill_diagonal(distances, np.inf)
        lists = np.argsort(distances, axis=1, kind="stable")[:, :k]
        assert np.array_equal(neighbors_in(surrogate, k), lists)


def test_where_the_attacker_knows_of_a_limit_nobody_is_in_more_lists(threat):
    surrogate, users = train(threat, 0.0), np.arange(N_VISIBLE)
    free, limited = (neighbors_in(surrogate, 5, max_in_degree=most) for most in (None, 7))
    others = limited[limited != users[:, None]]  # who fill up short lists are their owners
    assert np.bincount(free.ravel()).max() > 7 >= np.bincount(others).max()
    assert len(others) > 0.95 * limited.size
    # As few places as are needed, where there are fewer than that.
    tight = (neighbors_in(surrogate, 5, max_in_degree=most) for most in (1, 5))
    assert np.array_equal(*tight)


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


@pytest.mark.parametrize("sources", ["hubs", "cover", "target_users"])
def test_each_source_has_its_copies_none_like_another(threat, sources):
    """Five each of the first three."""
    visible = threat.visible.toarray()
    others = np.delete(np.arange(threat.n_items), TARGETS)
    enough = np.flatnonzero((visible[:, others] > 0).sum(axis=1) >= N_FILLERS + 4)
    neighbors = neighbors_in(train_like_the_attack(threat), 5)
    ranked = {"hubs": hubs, "cover": cover}.get(sources, lambda *_: enough[:3])
    order = ranked(neighbors, enough, 3)
    chosen = {"sources": sources} if ranked in (hubs, cover) else {"target_users": order.tolist()}
    options = {"lowered": 0.0, "k": 5, "fillers": "random", "copies": 5, **chosen}
    profiles = craft("vicinity", threat, stream(0), **options).toarray()
    assert len(np.unique(profiles, axis=0)) == N_FAKES
    for source, profile in zip(np.repeat(order, 5), profiles, strict=True):
        items = np.setdiff1d(np.flatnonzero(profile), TARGETS)
        assert np.array_equal(visible[source, items], profile[items])


def test_with_copies_a_source_has_ratings_to_choose_from():
    """Users 0 and 1 rated as many items as there are fillers: their clones would all be the same."""
    visible = np.zeros((3, 8), dtype=np.float32)
    visible[:2, 1:4], visible[2, 1:6] = 3, 4
    levels = np.arange(1, 6, dtype=np.float32)
    threat = ThreatModel(sp.csr_matrix(visible), np.array([0]), 3, 3, levels)
    for sources in ("hubs", "cover", "allotted"):
        options = {"sources": sources, "k": 2, "lowered": 0.0, "copies": 3}
        profiles = craft("vicinity", threat, stream(0), **options).toarray()
        assert (profiles[:, 1:] == 4).sum(axis=1).tolist() == [3, 3, 3]


def test_a_quorum_is_reached_where_a_fake_at_every_source_would_reach_it_nowhere(threat):
    """Lists that hold three fakes or more, counted in the surrogate that the attack trains."""
    three, one = (
        craft("vicinity", threat, stream(0), k=10, copies=copies).toarray() for copies in (3, 1)
    )

    def reached(profiles):
        surrogate = train_like_the_attack(threat).refit(sp.csr_matrix(profiles), 5)
        return ((neighbors_in(surrogate, 10) >= N_VISIBLE).sum(axis=1) >= 3).sum()

    assert reached(three) > reached(one)


# Of the attack before it had copies.
BEFORE = [
    ({}, "50f81affa5b82da7"),
    ({"sources": "hubs"}, "63e1e75419d3b22c"),
    ({"target_users": [7, 30], "k": 1}, "46b4da311ef8e457"),
    (
        {"distance": "profile_overlap", "hubness_reduction": "local_scaling", "fillers": "random"},
        "6218265dc69348d5",
    ),
    (
        {"unobserved_weight": 0.15, "reg": 0.014, "sources": "hubs", "lowered": 1.0},
        "05b04042503cccd4",
    ),
]


@pytest.mark.parametrize(("options", "digest"), BEFORE)
def test_with_one_copy_the_fakes_are_what_they_were(threat, options, digest):
    profiles = craft("vicinity", threat, stream(0), copies=1, **options).toarray()
    assert hashlib.sha256(profiles.astype("<f4").tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(("lowered", "stars"), [(0.0, [5, 4, 3, 1]), (0.5, [5, 2, 1, 1])])
def test_short_sources_are_filled_up_at_the_visible_mean_lowered_as_well(lowered, stars):
    visible = sp.csr_matrix(np.array([[5, 0, 0, 0], [2, 4, 0, 1]], dtype=np.float32))
    threat = ThreatModel(visible, np.array([0]), 1, 3, np.arange(1, 6, dtype=np.float32))
    profiles = craft("vicinity", threat, stream(0), target_users=[0], k=1, lowered=lowered)
    assert profiles.toarray()[0].tolist() == stars


def test_the_targets_are_no_fillers_that_a_source_has():
    """User 0 rated two items beside the target and would have to be filled up; users 1 and 2 not."""
    visible = np.array([[1, 2, 2, 0, 0], [0, 3, 3, 3, 0], [0, 4, 4, 4, 0]], dtype=np.float32)
    levels = np.arange(1, 6, dtype=np.float32)
    threat = ThreatModel(sp.csr_matrix(visible), np.array([0]), 2, 3, levels)
    for sources in ("hubs", "cover"):
        options = {"sources": sources, "k": 2, "lowered": 0.0}
        profiles = craft("vicinity", threat, stream(0), **options).toarray()
        assert sorted(profiles.tolist()) == [[5, 3, 3, 3, 0], [5, 4, 4, 4, 0]]


# The attack

QUICK = {"embedding_size": 4, "k": 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": "target_users"}, "sources must be one of hubs, cover, allotted, got"),
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


def test_every_kind_of_neighbour_is_another_choice_of_sources(threat):
    fakes = set()
    for distance, reduction in BELIEFS:
        options = {**QUICK, "distance": distance, "hubness_reduction": reduction}
        fakes.add(craft("vicinity", threat, stream(0), **options).toarray().tobytes())
    assert len(fakes) == len(BELIEFS)


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("k", 6),
        ("max_in_degree", 5),
        ("sources", "hubs"),
        ("target_users", [7, 30]),
        ("copies", 3),
        ("fillers", "random"),
        ("lowered", 0.25),
        ("embedding_size", 5),
        ("unobserved_weight", 0.1),
        ("reg", 0.1),
        ("sweeps", 2),
    ],
)
def test_every_option_matters(threat, option, other):
    here, there = (
        craft("vicinity", threat, stream(0), **options)
        for options in (QUICK, {**QUICK, option: other})
    )
    assert (here != there).nnz > 0
