"""The generator learns, and S is rated by it within the budget."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rvdlib.attacks import craft
from rvdlib.attacks.aush import GAN, keep, select_items
from rvdlib.attacks.history import History
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel

LEVELS = np.arange(1, 6, dtype=np.float32)
S = np.array([2, 5, 6])


def threat_of(dense, *, targets=(0,), n_fakes=20, filler_size=4, levels=LEVELS):
    visible = sp.csr_matrix(np.array(dense, dtype=np.float32))
    return ThreatModel(visible, np.array(targets), n_fakes, filler_size, levels)


def batch(rng, n_items=12, size=8):
    kept = np.where(rng.random((size, n_items)) < 0.3, rng.integers(1, 6, (size, n_items)), 0)
    kept[:, S] = 0
    own = rng.integers(0, 6, (size, len(S)))
    weight = rng.random((size, len(S))) < 0.6
    return torch.from_numpy(kept.astype(float)), own.astype(float), weight


def test_one_step_moves_every_weight_of_both_networks():
    gan = GAN(12, S, np.random.default_rng(0), rates=(0.01, 0.01), reg=0)
    networks = gan.generator, gan.discriminator
    before = [[value.detach().clone() for value in network] for network in networks]
    gan.step(*batch(np.random.default_rng(1)))
    for old, new in zip(before, networks, strict=True):
        moved = [(a != b).numpy() for a, b in zip(old, new, strict=True)]
        # In the first layer, the weights of the items that nobody in the batch has rated stay.
        assert moved[0].mean() > 0.5
        assert all(values.all() for values in moved[1:])


def output(network, x):
    *hidden, weight, bias = (value.detach().numpy().astype(float) for value in network)
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        x = 1 / (1 + np.exp(-(x @ w + b)))
    return x @ weight + bias


def test_both_networks_descend_the_losses_as_the_docstring_has_them():
    """Gradients of a step that moves nothing, and finite differences of L_D and L_G in NumPy."""
    gan = GAN(12, S, np.random.default_rng(0), rates=(0, 0), reg=0.02)
    with torch.no_grad():  # else its first opinions are too weak to matter to the generator
        for value in gan.discriminator[2:]:
            value *= 10
    kept, own, weight = batch(np.random.default_rng(1))
    x = kept.numpy().astype(float)

    def rate():
        return 5 / (1 + np.exp(-output(gan.generator, x)))

    def believed(ratings):
        whole = x.copy()
        whole[:, S] = ratings
        return 1 / (1 + np.exp(-output(gan.discriminator, whole)))[:, 0]

    def own_loss():
        g = rate()
        return (((g - 5) ** 2).mean(1) + (weight * (g - own) ** 2).sum(1)).mean()

    def generator_loss():
        norm = sum((value.detach().numpy().astype(float) ** 2).sum() for value in gan.generator)
        return -np.log(believed(rate())).mean() + own_loss() + 0.02 * norm

    def discriminator_loss():
        return -(np.log(believed(own)) + np.log(1 - believed(rate()))).mean()

    assert gan.step(kept, own, weight) == pytest.approx(own_loss(), rel=1e-5)
    for network, loss in ((gan.generator, generator_loss), (gan.discriminator, discriminator_loss)):
        for value in network:
            weights, gradient = value.detach().view(-1), value.grad.view(-1)
            steepest = gradient.abs().argmax()
            start, found = weights[steepest].item(), []
            for step in (1e-3, -1e-3):
                weights[steepest] = start + step
                found += [loss(), weights[steepest].item()]
            weights[steepest] = start
            difference = (found[0] - found[2]) / (found[1] - found[3])
            assert gradient[steepest].item() == pytest.approx(difference, rel=1e-3)


def test_the_generators_losses_fall(threat):
    history = History()
    craft("aush", threat, stream(0, "attack"), epochs=60, history=history)
    assert len(history.objectives) == 60
    assert np.mean(history.objectives[-5:]) < 0.6 * history.objectives[0]


def test_the_history_holds_means_over_templates_whatever_the_batches(threat):
    found = []
    for batch_size in (7, 1000):
        rates = {"generator_rate": 0, "discriminator_rate": 0, "zero_share": 0}
        options = {"epochs": 1, "batch_size": batch_size, "history": History()}
        craft("aush", threat, stream(0, "attack"), **rates, **options)
        found += options["history"].objectives
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_what_processors_disagree_about_does_not_grow_from_epoch_to_epoch():
    def trained(noise):
        gan = GAN(12, S, np.random.default_rng(0), rates=(0.01, 1e-4), reg=1e-4)
        draws = np.random.default_rng(1)
        for epoch in range(30):
            gan.step(*batch(np.random.default_rng(epoch)))
            with torch.no_grad():
                for value in gan.generator + gan.discriminator:
                    value *= 1 + noise * torch.from_numpy(draws.standard_normal(value.shape))
            gan.round()
        return gan.generator + gan.discriminator

    exact, disturbed = trained(0), trained(1e-15)
    assert all(torch.equal(a, b) for a, b in zip(exact, disturbed, strict=True))


def test_every_rating_of_a_row_is_kept_as_often_as_any_other():
    rows = sp.csr_matrix(np.array([[0, 1, 2, 3, 4, 5], [5, 0, 0, 1, 0, 1]], dtype=np.float32))
    rng, counts = np.random.default_rng(0), np.zeros((2, 6))
    for _ in range(1000):
        items, stars = keep(rows, 3, rng)
        assert (np.take_along_axis(rows.toarray(), items, axis=1) == stars).all()
        np.add.at(counts, (np.array([[0], [1]]), items), 1)
    # Binomial with n = 1000 and p = 3/5: standard deviation 15.
    assert np.abs(counts[0, 1:] - 600).max() < 60
    assert counts[1].tolist() == [1000, 0, 0, 1000, 0, 1000]


def test_the_generator_learns_to_rate_as_its_template_does():
    """Whoever rates item 1 high rates S high; nothing but item 1 tells them apart."""
    rng = np.random.default_rng(0)
    dense = rng.integers(2, 5, (80, 12))
    dense[:, 0] = 0
    fans = np.arange(80) % 2 == 0
    dense[:, 1] = np.where(fans, 5, 1)
    dense[:, S] = np.where(fans, 5, 2)[:, None]
    threat = threat_of(dense, n_fakes=40, filler_size=11)
    options = {"selected": S.tolist(), "zero_share": 0, "epochs": 200}
    profiles = craft("aush", threat, rng, **options).toarray()
    # Of a 2, the pull of the shilling loss to 5 makes (5/3 + 2) / (1/3 + 1) = 2.75, rounded 3.
    expected = np.where(profiles[:, 1] == 5, 5, 3)
    assert 10 < np.count_nonzero(expected == 5) < 30
    assert (profiles[:, S] == expected[:, None]).mean() > 0.9


@pytest.mark.parametrize(("zero_share", "expected"), [(0.0, 5), (1.0, 1)])
def test_unrated_selected_items_count_as_zeros_as_often_as_asked(zero_share, expected):
    """Nobody rated S: a generator that is not held to zeros rates 5, one that is 5/3/(1/3 + 1)."""
    rng = np.random.default_rng(0)
    dense = rng.integers(2, 5, (60, 12))
    dense[:, [0, *S]] = 0
    options = {"selected": S.tolist(), "zero_share": zero_share, "epochs": 60}
    profiles = craft("aush", threat_of(dense, filler_size=8), rng, **options).toarray()
    assert (profiles[:, S] == expected).all()


def test_selected_items_count_among_the_fillers_and_the_rest_is_one_real_profile(threat):
    selected = select_items(threat, 3, 20)
    profiles = craft("aush", threat, stream(0, "attack"), epochs=2).toarray()
    assert (profiles[:, selected] > 0).all()
    dense = threat.visible.toarray()
    others = np.setdiff1d(np.arange(threat.n_items), [*threat.targets, *selected])
    sources = []
    for profile in profiles:
        kept = others[profile[others] > 0]
        assert len(kept) == threat.filler_size - 3
        sources.append(np.flatnonzero((dense[:, kept] == profile[kept]).all(axis=1)))
    assert [len(users) for users in sources] == [1] * threat.n_fakes
    assert len(np.unique(sources)) == threat.n_fakes
    lengths = np.count_nonzero(np.delete(dense, threat.targets, axis=1), axis=1)
    assert (lengths[np.concatenate(sources)] >= threat.filler_size).all()


def test_a_budget_below_the_selection_keeps_its_first_items(threat):
    few = ThreatModel(threat.visible, threat.targets, 4, 2, threat.levels)
    profiles = craft("aush", few, stream(0, "attack"), selected=[9, 5, 7], epochs=1).toarray()
    assert all(np.flatnonzero(row).tolist() == [3, 5, 9, 40] for row in profiles)


def test_selected_are_the_popular_items_most_often_rated_beside_a_target():
    dense = np.zeros((10, 7))
    dense[:9, 1] = dense[:8, 2] = dense[:7, 3] = dense[:6, 4] = 3
    dense[7:, 0] = 5
    dense[9, 6] = dense[8, 6] = dense[7, 6] = 4  # with the target, but not popular
    # Of the targets' raters, two know item 1, one item 2, none items 3 and 4.
    threat = threat_of(dense)
    assert select_items(threat, 1, 4).tolist() == [1]
    assert select_items(threat, 4, 4).tolist() == [1, 2, 3, 4]
    dense[7:, 4] = 3
    assert select_items(threat_of(dense), 3, 4).tolist() == [4, 1, 2]


def test_without_visible_raters_of_a_target_selected_are_the_most_popular_items():
    dense = np.zeros((6, 6))
    dense[:4, 3] = dense[:3, 5] = dense[:2, 1] = 2
    assert select_items(threat_of(dense), 3, 20).tolist() == [3, 5, 1]


def test_what_users_think_of_the_targets_is_not_read(threat):
    changed = threat.visible.copy()
    of_target = np.isin(changed.indices, threat.targets)
    assert of_target.sum() > 5
    changed.data[of_target] = 6 - changed.data[of_target]
    other = ThreatModel(changed, threat.targets, threat.n_fakes, threat.filler_size, threat.levels)
    ours, theirs = (craft("aush", t, stream(0, "attack"), epochs=3) for t in (threat, other))
    assert (ours != theirs).nnz == 0


def test_a_stretched_scale_stretches_the_profiles(threat):
    wide = ThreatModel(
        threat.visible * np.float32(16),
        threat.targets,
        threat.n_fakes,
        threat.filler_size,
        threat.levels * np.float32(16),
    )
    histories = History(), History()
    ours, theirs = (
        craft("aush", t, stream(0, "attack"), epochs=5, history=history)
        for t, history in zip((threat, wide), histories, strict=True)
    )
    assert (16 * ours != theirs).nnz == 0
    # Rounding hides what the networks read and say, their losses do not.
    assert histories[0].objectives == histories[1].objectives


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selected": [3]}, "no targets"),
        ({"selected": [5, 5]}, "selected repeat: 5 stands there twice"),
        ({"selected": [60]}, "selected must be item indices from 0 to 59, got 60"),
        ({"n_selected": 21}, "between 1 and pool_size"),
    ],
)
def test_options_out_of_range_are_refused(threat, options, message):
    with pytest.raises(ValueError, match=message):
        craft("aush", threat, stream(0, "attack"), **options)
