"""What is certified on a data set: bounds from counts, and survival counted another way."""

import numpy as np
import pytest
import torch

from rvdlib.data import Ratings, leave_one_out, synthetic_ratings
from rvdlib.lab.study import certified
from rvdlib.lab.study.certified import FIRST, as_text, certify_dataset
from rvdlib.models import MF
from rvdlib.neighbors.agreement import NeighborsByChanceWarning
from rvdlib.seeding import stream
from rvdlib.theory.certificate import thr_bound

K, QUORUM, CAP = 8, 3, 10
N_USERS = 60
KEYS = ["dataset", "k", "quorum", "max_in_degree", "distance", "regime"]
KEYS += ["n_users", "bounds", "survives"]
KEYS += ["neighbor_agreement", "neighbor_agreement_by_chance"]


class Noise(MF):
    """Users' latent vectors say nothing of them."""

    def _fit(self, validation, rng):
        parameters, error = super()._fit(validation, rng)
        noise = rng.standard_normal(tuple(parameters["user_factors"].shape), dtype=np.float32)
        return parameters | {"user_factors": torch.from_numpy(noise)}, error


@pytest.fixture(autouse=True)
def small(monkeypatch):
    small = {"embedding_size": 8, "epochs": 100, "unobserved_weight": 0.1}
    monkeypatch.setattr(certified, "victim_hyperparameters", lambda *names: small)


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(N_USERS, 40, 900, rng=stream(0, "ratings"))


@pytest.fixture
def trained(monkeypatch):
    """The victims that were trained, and their vicinities."""
    found, agreement = [], certified.agreement_with_retraining

    def kept(table, victim, *others):
        found.append((victim, table))
        return agreement(table, victim, *others)

    monkeypatch.setattr(certified, "agreement_with_retraining", kept)
    return found


def certify(ratings, **change):
    return certify_dataset(ratings, **{"k": K, "quorum": QUORUM, "max_in_degree": CAP} | change)


def test_bounds_are_those_of_the_theory_for_every_number_of_fakes_and_raters(ratings):
    report = certify(ratings)
    assert list(report) == KEYS
    assert report["dataset"] == ratings.name
    assert [report[name] for name in KEYS[1:5]] == [K, QUORUM, CAP, "euclidean"]
    assert [report[name] for name in KEYS[5:7]] == ["ranking", N_USERS]
    assert {row["m"] for row in report["bounds"]} == {1, 3, 6, 12, 18}
    assert {row["honest_raters"] for row in report["bounds"]} == {0, 1, 2, 5, 10, 20, 50}
    for row in report["bounds"]:
        assert list(row) == ["m", "honest_raters", "thr_bound"]
        limits = {"quorum": QUORUM, "max_in_degree": CAP, "n_users": N_USERS}
        assert row["thr_bound"] == thr_bound(row["honest_raters"], row["m"], **limits)


def test_survival_is_what_counting_user_by_user_finds(ratings, trained):
    report = certify(ratings)
    ((victim, table),) = trained
    assert np.bincount(table[table >= 0]).max() == CAP
    seen = victim.train.toarray() > 0
    split = leave_one_out(ratings, stream(0, "split"))
    assert (seen == (split.train.toarray() > 0)).all()
    scores = victim.score(np.arange(N_USERS))
    survived = []
    for u in range(N_USERS):
        counts = seen[table[u]].sum(axis=0)
        served = [i for i in np.argsort(-scores[u], kind="stable") if counts[i] >= QUORUM]
        first = [i for i in served if not seen[u, i]][:FIRST]
        survived.append(min((counts[i] - QUORUM for i in first), default=-1))
    expected = [sum(s >= f for s in survived) for f in range(K - QUORUM + 1)]
    assert report["survives"] == expected
    assert expected[0] > expected[1] > 0


def test_a_second_training_agrees_with_the_first_and_nobody_is_warned(ratings):
    """Warnings are errors here."""
    report = certify(ratings)
    assert report["neighbor_agreement"] > 0.3
    assert 0.05 < report["neighbor_agreement_by_chance"] < 0.15  # k / (2n − k) = 0.071 without hubs


def test_where_latent_vectors_are_noise_the_user_is_warned_and_told_what_to_do(
    ratings, monkeypatch
):
    monkeypatch.setattr(certified, "MF", Noise)
    with pytest.warns(NeighborsByChanceWarning, match=r"by chance by 0\.0.*Do not use RVD"):
        report = certify(ratings)
    found = report["neighbor_agreement"], report["neighbor_agreement_by_chance"]
    assert found[0] == pytest.approx(found[1], abs=0.03)
    assert f"agree between two trainings by {found[0]:.3f} (mean Jaccard index), by chance by " in (
        as_text(report)
    )


def test_users_who_are_served_nothing_survive_nothing(ratings):
    assert certify(ratings, k=3, quorum=3)["survives"][0] < N_USERS
    assert len(certify(ratings, k=3, quorum=3)["survives"]) == 1


def test_neighbours_by_profile_overlap_need_no_second_training(ratings, trained):
    report = certify(ratings, distance="profile_overlap")
    assert not trained
    assert report["neighbor_agreement"] is report["neighbor_agreement_by_chance"] is None
    assert as_text(report).endswith("depend on no training.")


def test_the_victim_has_the_choices_of_the_regime_that_is_asked_for(ratings, monkeypatch):
    asked, chosen = [], certified.victim_hyperparameters
    monkeypatch.setattr(
        certified, "victim_hyperparameters", lambda *of: asked.append(of) or chosen(*of)
    )
    report = certify(ratings, regime="rating", distance="profile_overlap")
    assert (report["regime"], asked) == ("rating", [(ratings.name, "rating", "MF")])
    with pytest.raises(ValueError, match="regime"):
        certify(ratings, regime="both")


def test_the_victim_is_trained_in_the_ranking_regime_and_the_seed_decides(ratings, trained):
    first, again, other = (certify(ratings, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first["survives"] != other["survives"]
    assert all(isinstance(victim, MF) and victim.ranking for victim, _ in trained)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": N_USERS}, "k must be between 1 and 59 .the other users., got 60"),
        ({"quorum": K + 1}, "quorum must be at most k = 8, got 9"),
        ({"quorum": 0}, "quorum should be greater than or equal to 1, got 0"),
        ({"max_in_degree": K - 1}, "max_in_degree must be at least k = 8, .* got 7"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_training(ratings, trained, change, message):
    with pytest.raises(ValueError, match=message):
        certify(ratings, **change)
    assert trained == []


def test_one_user_has_no_neighbours():
    alone = Ratings.from_triples(["u"] * 6, list("abcdef"), [1.0] * 6, name="alone")
    with pytest.raises(ValueError, match="alone has one user only"):
        certify(alone, k=1, quorum=1)


def test_the_text_shows_every_bound_and_ends_where_nobody_survives(ratings):
    report = certify(ratings)
    report["survives"] = [60, 12, 0, 0, 0, 0]
    text = as_text(report)
    for row in report["bounds"]:
        assert f"{row['thr_bound']:8.3f}" in text
    assert text.splitlines()[-5:-1] == [
        "   0       60   100.0%",
        "   1       12    20.0%",
        "   2        0     0.0%",
        "",
    ]
