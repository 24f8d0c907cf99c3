"""The influence is that of retraining, and the mixtures that have most of it are kept."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import craft, mixinf
from rvdlib.attacks.history import History
from rvdlib.attacks.mixinf import influence, objective, usermix, within_budget
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model

LEVELS = np.arange(1, 6, dtype=np.float32)
QUICK = {"sweeps": 3, "embedding_size": 4}


@pytest.fixture(scope="module")
def threat():
    ratings = synthetic_ratings(100, 40, 1500, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    return build_threat_model(split, np.array([3, 20]), stream(0, "threat"), attack_size=0.1)


@functools.cache
def trained(threat, omega, *, sweeps=150, reg=0.05):
    """A surrogate at its optimum, with one fake of random ratings; the fake's profile."""
    surrogate = Surrogate.train(
        threat,
        stream(0, "surrogate"),
        embedding_size=2,
        unobserved_weight=omega,
        reg=reg,
        sweeps=sweeps,
    )
    probe = craft("random", replace(threat, n_fakes=1), stream(0, "probe")).astype(np.float64)
    return surrogate.refit(probe, sweeps), probe


@pytest.mark.parametrize("omega", [0.0, 0.2])
def test_the_objectives_gradients_are_its_finite_differences(threat, omega):
    surrogate, _ = trained(threat, omega, sweeps=5)
    _, *gradients = objective(surrogate, threat, 10)
    rng, step = np.random.default_rng(0), 1e-6
    for name, gradient in zip(("users", "items"), gradients, strict=True):
        factors = getattr(surrogate, name)
        direction = rng.standard_normal(factors.shape)
        up, down = (
            objective(replace(surrogate, **{name: factors + s * direction}), threat, 10)[0]
            for s in (step, -step)
        )
        expected = (up - down) / (2 * step)
        assert (gradient * direction).sum() == pytest.approx(expected, rel=1e-5)


def test_the_objective_is_the_mean_shortfall_to_each_users_tenth_unrated_item(threat):
    surrogate, _ = trained(threat, 0.2, sweeps=5)
    rated, scores = threat.visible.toarray() > 0, surrogate.scores()
    total = 0.0
    for user, row in enumerate(scores):
        tenth = np.sort(row[~rated[user]])[-10]
        for target in threat.targets:
            if not rated[user, target]:
                total += np.log1p(np.exp(tenth - row[target]))
    assert objective(surrogate, threat, 10)[0] == pytest.approx(total / len(scores))


def test_who_has_no_tenth_unrated_item_does_not_count(threat):
    surrogate, _ = trained(threat, 0.2, sweeps=5)
    n_unrated = threat.n_items - np.diff(threat.visible.indptr)
    assert (n_unrated < 25).any()
    assert (n_unrated >= 25).any()
    dense = threat.visible.toarray()
    _, users, _ = objective(surrogate, threat, 25)
    pulled = (users[:-1] != 0).any(axis=1)
    asked = (dense[:, threat.targets] == 0).any(axis=1)
    np.testing.assert_array_equal(pulled, asked & (n_unrated >= 25))
    assert objective(surrogate, threat, 1000)[0] == 0


def effect_of(threat, surrogate, probe, item, stars):
    """By how much a retrained surrogate has a lower J if the probe rates ``item`` so."""
    changed = probe.tolil()
    changed[0, item] = stars
    return -objective(surrogate.refit(changed.tocsr(), 100), threat, 10)[0]


@pytest.mark.parametrize("omega", [0.0, 0.2])
def test_influence_of_a_rating_is_what_retraining_with_another_does(threat, omega):
    surrogate, probe = trained(threat, omega)
    phi, _ = influence(surrogate, threat, 10, sweeps=150)
    found, step = [], 1e-3
    for item, stars in zip(probe.indices[::2], probe.data[::2], strict=True):
        up, down = (effect_of(threat, surrogate, probe, item, stars + s) for s in (step, -step))
        found.append((up - down) / (2 * step) * threat.max_rating)
    assert np.ptp(found) > 0.2
    assert phi[probe.indices[::2]] == pytest.approx(found, rel=0.01, abs=1e-3)


@pytest.mark.parametrize("omega", [0.0, 0.2])
def test_influence_tells_what_retraining_with_one_more_rating_does(threat, omega):
    """Not to the digit: a whole cell is added, and draws the optimum towards itself."""
    surrogate, probe = trained(threat, omega)
    phi, expected = influence(surrogate, threat, 10, sweeps=150)
    unrated = np.setdiff1d(np.arange(threat.n_items), probe.indices)[::2]
    found = []
    for item in unrated:
        # The regulariser grows with the row whatever the rating: the difference is free of that.
        up, down = (
            effect_of(threat, surrogate, probe, item, expected[item] + s) for s in (0.1, -0.1)
        )
        found.append((up - down) / 0.2 * threat.max_rating)
    assert np.corrcoef(phi[unrated], found)[0, 1] > 0.95
    assert 0.4 < np.polyfit(phi[unrated], found, 1)[0] < 1


@pytest.mark.parametrize("omega", [0.0, 0.2])
def test_the_expected_rating_moves_nothing(threat, omega):
    surrogate, probe = trained(threat, omega, reg=1e-3)
    _, expected = influence(surrogate, threat, 10)
    unrated = np.setdiff1d(np.arange(threat.n_items), probe.indices)[::2]

    def moved(residual):
        changed = probe.tolil()
        for item in unrated:
            changed[0, item] = expected[item] + residual
        # At once: one sweep, from users to items, starts at the factors that there were.
        return np.abs(surrogate.refit(changed.tocsr(), 1).users[-1] - surrogate.users[-1]).max()

    assert moved(0) < 0.05 * moved(1)


def test_usermix_is_one_share_of_two_profiles_rounded():
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((2, 50)) < 0.6, rng.integers(1, 6, (2, 50)), 0)
    mixtures = usermix(rows, 200, LEVELS, rng)
    assert set(np.unique(mixtures)) <= {0, *LEVELS}
    shares = np.linspace(0, 1, 1001)
    pairs = [rows[[0, 1]], rows[[1, 0]], rows[[0, 0]], rows[[1, 1]]]
    for mixture in mixtures:
        exact = [shares[:, None] * a + (1 - shares[:, None]) * b for a, b in pairs]
        # Rounding takes up to half a star, noise 0.05; from 0 to 1 the middle is half as well.
        off = [np.abs(e - mixture).max(axis=1).min() for e in exact]
        assert min(off) <= 0.551


def test_shares_follow_the_beta_distribution():
    """Between a 1 and a 5, a 3 needs a share from 3/8 to 5/8: arcsine law, 16 %; a 1 or 5, 23 %."""
    rows = np.array([[1.0], [5.0]])
    rng = np.random.default_rng(0)
    mixed = usermix(rows, 20_000, LEVELS, rng)
    counts = np.bincount(mixed.ravel().astype(int), minlength=6)[1:] / len(mixed)
    within = np.diff(2 / np.pi * np.arcsin(np.sqrt(np.array([0, 1, 3, 5, 7, 8]) / 8)))
    # Half of the pairs are a profile with itself.
    expected = within / 2 + np.array([0.25, 0, 0, 0, 0.25])
    assert counts == pytest.approx(expected, abs=0.015)


def test_noise_decides_at_the_middle_between_two_ratings():
    rows = np.full((2, 4000), 2.5)
    mixed = usermix(rows, 1, LEVELS, np.random.default_rng(0))
    assert np.mean(mixed == 3) == pytest.approx(0.5, abs=0.04)
    near = usermix(np.full((2, 4000), 2.56), 1, LEVELS, np.random.default_rng(0))
    assert (near == 3).all()
    nearer = usermix(np.full((2, 4000), 2.46), 1, LEVELS, np.random.default_rng(0))
    assert np.mean(nearer == 3) == pytest.approx(0.1, abs=0.03)


def test_the_budget_takes_random_own_ratings_and_fills_up_with_random_means():
    candidates = np.array([[4, 2, 0, 5, 1, 0], [0, 0, 3, 0, 0, 0]], dtype=np.float32)
    means = np.array([1, 2, 3, 4, 5, 5], dtype=np.float32)
    rng, counts = np.random.default_rng(0), np.zeros((2, 6))
    for _ in range(2000):
        chosen, stars = within_budget(candidates, means, 2, rng)
        own = np.take_along_axis(candidates, chosen, axis=1)
        assert (stars == np.where(own > 0, own, means[chosen])).all()
        np.add.at(counts, (np.array([[0], [1]]), chosen), 1)
    # Binomial with n = 2000 and p = 1/2 or 1/5: standard deviations 22 and 18.
    assert counts[0] == pytest.approx([1000, 1000, 0, 1000, 1000, 0], abs=100)
    assert counts[1] == pytest.approx([400, 400, 2000, 400, 400, 400], abs=80)
    assert counts[1, 2] == 2000


@pytest.fixture
def made_up(threat, monkeypatch):
    """Influences and expectations that are known; what was mixed, what was rated within budget."""
    rng = np.random.default_rng(0)
    known = [
        (scale * rng.standard_normal(threat.n_items), rng.uniform(1, 5, threat.n_items))
        for scale in (1, 50, 0.01)
    ]
    given, mixed, probes, competing = iter(known), [], [], []

    def influence(surrogate, *_):
        probe = surrogate.ratings[-1]
        stars = (probe.data + surrogate.baseline) * surrogate.max_rating
        probes.append(dict(zip(probe.indices.tolist(), stars.round(4).tolist(), strict=True)))
        return next(given)

    def usermix(rows, *rest):
        mixed.append(original_usermix(rows, *rest))
        return mixed[-1]

    def within_budget(*arguments):
        competing.append(original_within_budget(*arguments))
        return competing[-1]

    original_usermix, original_within_budget = mixinf.usermix, mixinf.within_budget
    for double in (influence, usermix, within_budget):
        monkeypatch.setattr(mixinf, double.__name__, double)
    return known, mixed, probes, competing


def test_of_each_fakes_candidates_the_one_worth_most_is_kept(threat, made_up):
    known, mixed, _, competing = made_up
    history = History()
    profiles = craft("mixinf", threat, stream(0, "attack"), history=history, **QUICK).toarray()
    others = np.setdiff1d(np.arange(threat.n_items), threat.targets)
    assert [len(batch) for batch in mixed] == [3] + [100] * threat.n_fakes
    for profile, (chosen, stars), shown in zip(
        profiles, competing[1:], history.objectives, strict=True
    ):
        worth = np.zeros(100)
        for phi, expected in known:
            for candidate in range(100):
                items = others[chosen[candidate]]
                residuals = stars[candidate] - expected[items]
                worth[candidate] += phi[items] @ residuals / np.abs(phi).max()
        assert -shown == pytest.approx(worth.max(), rel=1e-4)
        assert worth.max() > worth.mean()
        rated = np.zeros(threat.n_items)
        rated[others[chosen[worth.argmax()]]] = stars[worth.argmax()]
        rated[threat.targets] = 5
        np.testing.assert_array_equal(profile, rated)


def test_probes_keep_the_budget_and_are_parts_of_mixtures(threat, made_up):
    _, mixed, probes, _ = made_up
    craft("mixinf", threat, stream(0, "attack"), **QUICK)
    others = np.setdiff1d(np.arange(threat.n_items), threat.targets)
    assert len(probes) == 3
    for probe, mixture in zip(probes, mixed[0], strict=True):
        assert [probe.pop(target) for target in threat.targets] == [5, 5]
        assert len(probe) == threat.filler_size
        stars_of = dict(zip(others.tolist(), mixture.tolist(), strict=True))
        assert all(stars_of[item] == stars for item, stars in probe.items())


def test_more_candidates_have_more_influence(threat):
    def kept(n_candidates):
        history = History()
        options = {"n_candidates": n_candidates, "history": history, **QUICK}
        craft("mixinf", threat, stream(0, "attack"), **options)
        assert len(history.objectives) == threat.n_fakes
        return -np.array(history.objectives)

    assert kept(50).min() > kept(1).mean()


@pytest.mark.parametrize("omega", [0.0, 0.2])
def test_what_is_kept_helps_the_attacker_more_when_the_surrogate_is_retrained(threat, omega):
    """Each fake alone, as the influence has it, against mixtures that nobody has chosen."""
    surrogate = Surrogate.train(
        threat,
        stream(1, "surrogate"),
        embedding_size=4,
        unobserved_weight=omega,
        reg=0.04,
        sweeps=30,
    )

    def reached(n_candidates):
        options = {"n_candidates": n_candidates, "unobserved_weight": omega, "embedding_size": 4}
        fakes = sp.vstack(
            [craft("mixinf", threat, stream(seed, "attack"), **options) for seed in range(3)]
        )
        return np.mean([objective(surrogate.refit(fake, 30), threat, 10)[0] for fake in fakes])

    without = objective(surrogate, threat, 10)[0]
    assert without - reached(100) > 1.05 * (without - reached(1)) > 0
