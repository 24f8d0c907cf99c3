"""DP: fillers are what the poison model predicts highest, and differ from fake to fake."""

from dataclasses import replace

import numpy as np
import pytest

from rvdlib.attacks import ATTACKS, craft
from rvdlib.attacks.dp import poisoned, select
from rvdlib.attacks.history import History
from rvdlib.attacks.mixinf import objective
from rvdlib.attacks.profiles import assemble, item_moments
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model

TARGETS = np.array([3, 40])
N_FAKES, N_FILLERS = 15, 12
REGIMES = pytest.mark.parametrize("omega", [0.0, 0.1], ids=["rating", "ranking"])


@pytest.fixture(scope="module")
def threat(split):
    return build_threat_model(
        split,
        TARGETS,
        stream(0, "threat"),
        attack_size=N_FAKES / 150,
        filler_size=N_FILLERS,
        visible_share=0.6,
    )


def train(threat, omega, sweeps=20):
    options = {"embedding_size": 16, "unobserved_weight": omega, "reg": 0.04, "sweeps": sweeps}
    return Surrogate.train(threat, stream(0), **options)


def bare(threat, n=1):
    """Fakes that have rated the targets alone."""
    return assemble(replace(threat, n_fakes=n), np.empty((n, 0), int), np.empty((n, 0)))


@REGIMES
def test_without_poison_training_the_first_fake_rates_what_is_predicted_for_it(threat, omega):
    one = replace(threat, n_fakes=1)
    profile = craft("dp", one, stream(0), rounds=0, unobserved_weight=omega, decay=1.0)
    surrogate = train(threat, omega).rounded().refit(bare(threat), 5)
    predicted = surrogate.users[-1] @ surrogate.items.T
    predicted[TARGETS] = -np.inf
    expected = [*np.argsort(-predicted)[:N_FILLERS], *TARGETS]
    assert profile.indices.tolist() == sorted(expected)


@REGIMES
def test_poison_training_brings_the_targets_into_the_lists(threat, omega):
    config = ATTACKS["dp"].config({"unobserved_weight": omega, "rounds": 5})
    fakes = bare(threat, 3)
    surrogate = train(threat, omega).refit(fakes, 20)
    before = objective(surrogate, threat, 10)[0]
    trained = objective(surrogate.refit(fakes, 5), threat, 10)[0]
    after = objective(poisoned(surrogate, fakes, threat, config), threat, 10)[0]
    assert after < min(before, trained)
    untouched = poisoned(surrogate, fakes, threat, config.model_copy(update={"rounds": 0}))
    assert untouched is surrogate


@REGIMES
def test_the_objective_falls_from_fake_to_fake(threat, omega):
    history = History()
    craft("dp", threat, stream(0), history=history, unobserved_weight=omega)
    assert len(history.objectives) == N_FAKES + 1
    assert history.objectives[-1] < 0.8 * history.objectives[0]


def test_the_targets_rise_further_than_by_random_fillers_in_the_rating_regime(threat):
    """Where unobserved cells count, variety does more on data as small as these."""
    clean, fakes = train(threat, 0.0), craft("dp", threat, stream(0))
    of_dp, of_average = (
        objective(clean.refit(each, 20), threat, 10)[0]
        for each in (fakes, craft("average", threat, stream(0)))
    )
    assert of_dp < of_average


def test_an_item_that_was_selected_has_less_chance_until_all_had_their_turn():
    scores, chances = np.array([1.0, 0.9, 0.5, 0.0]), np.ones(4)
    assert select(scores, chances, 2, 0.5).tolist() == [0, 1]
    assert chances.tolist() == [0.5, 0.5, 1, 1]
    # Chance times score: 0.5, 0.45, 0.5, 0; ties to the lower item.
    assert select(scores, chances, 2, 0.5).tolist() == [0, 2]
    assert chances.tolist() == [0.25, 0.5, 0.5, 1]
    assert select(scores, chances, 4, 0.5).tolist() == [1, 0, 2, 3]
    assert chances.tolist() == [1] * 4, "all had their turn"


def test_scores_are_stretched_so_that_it_does_not_matter_where_their_zero_is():
    for shift in (-7.0, 0.0, 7.0):
        chances = np.array([0.5, 1, 1])
        assert select(np.array([3.0, 2.0, 1.0]) + shift, chances, 1, 0.9).tolist() == [0]
        assert select(np.array([3.0, 2.5, 1.0]) + shift, chances, 1, 0.9).tolist() == [1]
    assert select(np.full(3, 2.0), np.array([0.9, 1, 1]), 2, 0.9).tolist() == [1, 2]
    assert select(np.empty(0), np.empty(0), 0, 0.9).tolist() == []


def test_fillers_are_rated_by_the_items_own_moments(threat):
    """Mean residual over all ratings of all fakes, in standard deviations."""
    dense = craft("dp", threat, stream(0)).toarray()
    dense[:, TARGETS] = 0
    means, deviations = item_moments(threat)
    fakes, items = np.nonzero(dense)
    residuals = (dense[fakes, items] - means[items]) / deviations[items]
    assert abs(residuals.mean()) < 0.2
    assert residuals.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("rounds", 0),
        ("step_size", 2.0),
        ("decay", 0.5),
        ("list_length", 30),
        ("fakes_at_once", 5),
        ("sweeps", 1),
        ("embedding_size", 5),
        ("unobserved_weight", 0.1),
        ("reg", 0.1),
    ],
)
def test_every_option_matters(threat, option, other):
    here, there = (craft("dp", threat, stream(0), **given) for given in ({}, {option: other}))
    assert (here != there).nnz > 0
