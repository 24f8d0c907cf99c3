"""What every attack in the registry must keep, on real data and on the most awkward small data."""

import functools
import inspect
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.attacks import ATTACKS, craft
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import assemble, filler_candidates
from rvdlib.data import HeldOut, Ratings, Split, leave_one_out
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model, draw_targets

# Budget, scale and blindness do not depend on how long an attack optimises.
QUICK = {
    "aush": {"epochs": 2},
    "mixinf": {"sweeps": 2, "embedding_size": 2},
    "pga": {"steps": 2, "embedding_size": 2},
    "u_tna": {"steps": 1, "embedding_size": 2},
    "s_tna": {"steps": 1, "embedding_size": 2},
    "revadv": {"steps": 2, "embedding_size": 2},
    "dp": {"embedding_size": 2, "rounds": 1, "sweeps": 1, "fakes_at_once": 20},
    "vicinity": {"embedding_size": 2},
    "centroid": {"embedding_size": 2},
    "light_hubs": {"embedding_size": 2},
}
CRAFTED = {}  # attack → its fakes
ONE_PROFILE = "light_group"  # of the items rated alone, however; drawn are ties alone
SCALES = [[1, 2, 3, 4, 5], [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4], [2, 7, 9.5], [1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("profiles")


@pytest.fixture(params=ATTACKS)
def attack(request, folder):
    """A function (threat model, seed) -> profiles, the attack's own needs met."""

    def run(threat, seed=0):
        options = QUICK.get(request.param, {})
        if request.param == "from_file":
            options = {"path": _profiles_file(threat, folder), "draw": True}
        return craft(request.param, threat, stream(seed, "attack"), **options)

    return run


@pytest.fixture
def usual(attack, request, ml100k):
    """The attacker of real data with the protocol's budget, and the fakes: crafted once."""
    name, threat = request.node.callspec.params["attack"], _real_threat(ml100k)
    if name not in CRAFTED:
        CRAFTED[name] = attack(threat)
    return threat, CRAFTED[name].copy()


def _profiles_file(threat, folder):
    """Somebody else's profiles, twice as many as the budget, so that there is a choice."""
    rng = np.random.default_rng(99)
    doubled = ThreatModel(
        threat.visible, threat.targets, 2 * threat.n_fakes, threat.filler_size, threat.levels
    )
    candidates = filler_candidates(threat)
    fillers = np.argsort(rng.random((doubled.n_fakes, len(candidates))), axis=1)
    fillers = candidates[fillers[:, : threat.filler_size]]
    path = folder / "profiles.npz"
    sp.save_npz(path, assemble(doubled, fillers, rng.choice(threat.levels, fillers.shape)))
    return path


@st.composite
def threats(draw):
    """Small and awkward: one visible user, empty rows, unrated items, F = 0, F = all, m = 0."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    levels = np.array(draw(st.sampled_from(SCALES)), dtype=np.float32)
    cells = st.none() | st.sampled_from(levels.tolist())
    rows = draw(
        st.lists(
            st.lists(cells, min_size=n_items, max_size=n_items), min_size=n_users, max_size=n_users
        )
    )
    triples = [
        (user, item, stars)
        for user, row in enumerate(rows)
        for item, stars in enumerate(row)
        if stars is not None
    ]
    users, items, stars = np.array(triples, dtype=float).reshape(-1, 3).T
    visible = sp.csr_matrix(
        (stars.astype(np.float32), (users.astype(int), items.astype(int))), shape=(n_users, n_items)
    )
    targets = draw(st.sets(st.integers(0, n_items - 1), min_size=1, max_size=min(3, n_items)))
    room = n_items - len(targets)
    filler_size = draw(st.sampled_from([0, room]) | st.integers(0, room))
    return ThreatModel(
        visible, np.array(sorted(targets)), draw(st.integers(0, 5)), filler_size, levels
    )


def assert_budget_kept(threat, profiles):
    assert sp.issparse(profiles)
    assert profiles.format == "csr"
    assert profiles.dtype == np.float32
    assert profiles.shape == (threat.n_fakes, threat.n_items)
    for row in range(threat.n_fakes):
        here = slice(profiles.indptr[row], profiles.indptr[row + 1])
        rated = dict(zip(profiles.indices[here].tolist(), profiles.data[here], strict=True))
        assert list(rated) == sorted(rated)
        assert len(rated) == here.stop - here.start, "an item is rated twice"
        targets = set(threat.targets.tolist())
        assert targets <= set(rated)
        assert {rated[item] for item in targets} == {threat.levels[-1]}
        assert len(set(rated) - targets) == threat.filler_size
        assert set(rated.values()) <= set(threat.levels)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ATTACKS)
def test_budget_and_scale_are_kept_on_awkward_data(name, data, folder):
    threat = data.draw(threats())
    options = QUICK.get(name, {})
    if name == "from_file":
        options = {"path": _profiles_file(threat, folder), "draw": True}
    assert_budget_kept(threat, craft(name, threat, stream(0, "attack"), **options))


@pytest.mark.parametrize(("attack_size", "filler_size"), [(0.03, 0), (0.01, 1), (0.01, 1677)])
def test_budget_and_scale_are_kept_on_real_data(attack, ml100k, attack_size, filler_size):
    threat = _real_threat(ml100k, attack_size=attack_size, filler_size=filler_size)
    assert_budget_kept(threat, attack(threat))


def test_fakes_are_of_the_budget_and_not_all_alike_and_of_another_seed_others(
    attack, usual, request
):
    threat, profiles = usual
    assert_budget_kept(threat, profiles)
    different = len(np.unique(profiles.toarray(), axis=0))
    if request.node.callspec.params["attack"] == ONE_PROFILE:
        assert different == 1
        return
    assert different == profiles.shape[0]
    assert (profiles != attack(threat, 1)).nnz > 0


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_inputs_alone(attack, usual):
    threat, expected = usual
    # Writable on purpose: an attack that changes its input must be caught, not stopped.
    mine = replace(
        threat,
        visible=threat.visible.copy(),
        targets=threat.targets.copy(),
        levels=threat.levels.copy(),
    )
    profiles = attack(mine)
    for part in ("data", "indices", "indptr"):
        assert getattr(profiles, part).tobytes() == getattr(expected, part).tobytes()
        assert np.array_equal(getattr(mine.visible, part), getattr(threat.visible, part))
        assert not np.shares_memory(getattr(profiles, part), getattr(mine.visible, part))
    assert np.array_equal(mine.levels, threat.levels)
    assert np.array_equal(mine.targets, threat.targets)


def _otherwise_unseen(split: Split, visible: np.ndarray) -> Split:
    """Other rows of all users but ``visible``, other held-out ratings of all; as many of each."""
    rng, (n_users, n_items) = np.random.default_rng(5), split.train.shape
    hidden = np.setdiff1d(np.arange(n_users), visible)
    train = split.train.toarray()
    train[hidden] = train[hidden][:, rng.permutation(n_items)]
    train[hidden] = np.where(train[hidden] > 0, 6 - train[hidden], 0)
    free = np.argsort((train > 0) + rng.random(train.shape), axis=1)
    whole, held_out = train.copy(), []
    for place, (users, _, stars) in enumerate([split.validation, split.test]):
        held_out.append(HeldOut(users, free[users, place], 6 - stars))
        whole[users, free[users, place]] = 6 - stars
    names = {"name": "another", "sha256": "", "source": ""}
    ratings = replace(split.ratings, matrix=sp.csr_matrix(whole), **names)
    return Split(ratings, sp.csr_matrix(train), *held_out)


def test_what_the_attacker_does_not_see_changes_nothing(attack, usual, ml100k):
    threat, here = usual
    split = _split(ml100k)
    n_users = split.train.shape[0]
    visible = stream(0, "threat").choice(n_users, round(0.4 * n_users), replace=False)
    changed = _otherwise_unseen(split, visible)
    there = build_threat_model(changed, threat.targets, stream(0, "threat"))
    assert (here != attack(there)).nnz == 0

    for ours, other in ((split.validation, changed.validation), (split.test, changed.test)):
        assert np.mean(ours.items != other.items) > 0.9
    assert (split.train != changed.train).nnz > split.train.nnz / 2
    assert changed.ratings.matrix.nnz == ml100k.matrix.nnz, "the mean profile size is public"


def test_what_the_attacker_sees_matters(attack, usual, request):
    if request.node.callspec.params["attack"] == "from_file":
        return
    threat, here = usual
    changed = threat.visible.copy()
    changed.data = 6 - changed.data
    if request.node.callspec.params["attack"] == ONE_PROFILE:
        changed = changed[:, ::-1].sorted_indices()
    assert (here != attack(replace(threat, visible=changed))).nnz > 0


def test_targets_are_the_given_ones_wherever_they_stand(attack, ml100k):
    targets = np.array([1681, 700, 1500])
    threat = build_threat_model(_split(ml100k), targets, stream(0, "attack"), attack_size=0.01)
    profiles = attack(threat).toarray()
    assert (profiles[:, targets] == 5).all()
    assert not (profiles[:, :5] == 5).all(axis=0).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_takes_a_threat_model_a_stream_its_options_and_its_history_only(name):
    taken = inspect.signature(ATTACKS[name].function).parameters.values()
    threat, rng, config, *history = (each.annotation for each in taken)
    assert (threat, rng) == (ThreatModel, np.random.Generator)
    assert issubclass(ATTACKS[name].Config, config)
    assert history == [History] * ATTACKS[name].optimises


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "from_file"])
def test_a_history_changes_nothing_and_holds_the_steps_of_those_that_optimise(name, ml100k):
    threat, history = _real_threat(ml100k, attack_size=0.01), History()
    watched, alone = (
        craft(name, threat, stream(0, "attack"), **more, **QUICK.get(name, {}))
        for more in ({"history": history}, {})
    )
    assert (watched != alone).nnz == 0
    assert (len(history.objectives) > 1) == ATTACKS[name].optimises


def test_names_and_labels_are_unique_and_every_recipe_is_a_sentence():
    assert list(ATTACKS) == [each.name for each in ATTACKS.values()]
    assert len({each.label for each in ATTACKS.values()}) == len(ATTACKS)
    for each in ATTACKS.values():
        assert each.summary.endswith("."), each.name


@functools.cache
def _split(ratings: Ratings) -> Split:
    return leave_one_out(ratings, stream(0, "split"))


def _real_threat(ratings: Ratings, **options) -> ThreatModel:
    split = _split(ratings)
    targets = draw_targets(split, "unpopular", stream(0, "targets"))
    return build_threat_model(split, targets, stream(0, "threat"), **options)
