"""What every victim in the registry must keep, in both regimes."""

import random

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from pydantic import ValidationError

from rvdlib.data import HeldOut, leave_one_out, random_holdout, synthetic_ratings
from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.models import VICTIMS
from rvdlib.models.biases import Biases
from rvdlib.models.fitting import EarlyStopping
from rvdlib.models.reference import BeatenByReferenceWarning, Popularity
from rvdlib.seeding import stream

USERS = np.array([3, 62, 0, 7, 3])  # out of order, repeated, a fake, one without ratings


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].numpy().tobytes() == second[name].numpy().tobytes(), name


def test_shapes_and_types(victim, small):
    n_users, n_items = small.train.shape
    offset, factors = victim.encode(victim.parameters, USERS)
    assert offset.shape == (5,)
    assert factors.shape == (5, 4)
    assert victim.parameters["item_factors"].shape == (n_items, 4)
    assert victim.parameters["item_bias"].shape == (n_items,)
    for value in (*victim.parameters.values(), offset, factors):
        assert value.dtype == torch.float32
        assert not value.requires_grad
    for scores in (victim.score(USERS), victim.score_with(victim.parameters, USERS)):
        assert isinstance(scores, np.ndarray)
        assert scores.dtype == np.float32
        assert scores.shape == (5, n_items)
    assert victim.user_factors().shape == (n_users, 4)
    assert victim.user_factors().dtype == np.float32
    assert np.array_equal(victim.user_factors(USERS), factors.numpy())
    assert victim.score(np.array([], dtype=int)).shape == (0, n_items)


def test_a_score_is_offset_plus_latent_times_decoder_row_plus_bias(victim, small):
    everyone = np.arange(small.train.shape[0])
    offset, factors = (each.double() for each in victim.encode(victim.parameters, everyone))
    weights, bias = (victim.parameters[name].double() for name in ("item_factors", "item_bias"))
    expected = offset[:, None] + factors @ weights.T + bias
    assert victim.forward(victim.parameters, everyone).numpy() == pytest.approx(
        expected.numpy(), abs=1e-5
    )
    assert victim.score(everyone) == pytest.approx(5 * expected.numpy(), abs=1e-5)


def test_scores_follow_every_parameter(victim, small):
    """Fine-tuning moves a copy of ``parameters``: what does not follow would stay undefended."""
    everyone, rng = np.arange(small.train.shape[0]), np.random.default_rng(0)
    for name, value in victim.parameters.items():
        moved = {**victim.parameters, name: value + torch.from_numpy(rng.random(value.shape))}
        moved[name] = moved[name].float()
        assert np.abs(victim.score_with(moved, everyone) - victim.score(everyone)).max() > 1e-3


def test_scores_are_finite_for_users_items_and_fakes_alike(victim, small):
    assert np.isfinite(victim.score(np.arange(small.train.shape[0]))).all()


def test_an_unknown_user_or_item_is_predicted_near_the_scale(victim, small):
    scores = victim.score(np.arange(small.train.shape[0]))
    if victim.name in ("PlainMF", "PlainNSVD") and not victim.ranking:
        # Without a mean to fall back on, nothing known is nothing predicted.
        assert np.abs(scores[small.lonely_user]).mean() < np.abs(scores).mean()
    elif victim.ranking:
        assert np.abs(scores[small.lonely_user]).max() < 5
        # All its cells are zeros, so it may not stand out.
        others = np.delete(scores, small.lonely_item, axis=1)
        assert scores[:, small.lonely_item].mean() < others.mean()
    else:
        mean = small.train.data.mean()
        assert np.abs(scores[small.lonely_user] - mean).max() < 1.5
        assert np.abs(scores[:, small.lonely_item] - scores.mean(axis=1)).max() < 2.5


def test_scores_do_not_depend_on_who_else_is_scored(victim, small):
    everyone = np.arange(small.train.shape[0])
    together = victim.score(everyone)
    alone = np.vstack([victim.score(np.array([user])) for user in everyone])
    assert together == pytest.approx(alone, abs=1e-5)
    assert victim.score(USERS) == pytest.approx(together[USERS], abs=1e-5)


def test_same_seed_same_bits_other_seed_other_parameters(kind, victim, fit):
    assert_same_bits(fit(*kind).parameters, victim.parameters)
    other = fit(*kind, seed=1).parameters
    assert not torch.equal(other["item_factors"], victim.parameters["item_factors"])


def test_training_and_scoring_draw_from_no_global_generator(kind, fit):
    def states():
        numpy_state = np.random.get_state()  # noqa: NPY002 - to see that nobody uses it
        return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

    before = states()
    fit(*kind).score(USERS)
    assert states() == before


def test_fitting_leaves_its_inputs_alone(kind, small):
    name, regime = kind
    train = small.train.copy()  # writable: a change must be caught, not stopped
    validation = HeldOut(*(column.copy() for column in small.validation))
    victim = VICTIMS[name](
        unobserved_weight=0.2 * (regime == "ranking"), embedding_size=4, epochs=2, reg=0.01
    )
    assert victim.fit(train, validation, small.levels, stream(0, "model")) is victim
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(train, part), getattr(small.train, part))
        assert not np.shares_memory(getattr(train, part), getattr(victim.train, part))
    for column, original in zip(validation, small.validation, strict=True):
        assert np.array_equal(column, original)


def test_scoring_leaves_the_victim_alone(victim):
    before = {name: value.clone() for name, value in victim.parameters.items()}
    train = victim.train.copy()
    victim.score(USERS)
    victim.objective(USERS)(victim.parameters)
    assert_same_bits(victim.parameters, before)
    assert (victim.train != train).nnz == 0


def test_returned_scores_are_the_callers_own(victim):
    first = victim.score(USERS)
    expected = first.copy()
    first[:] = np.nan
    assert np.array_equal(victim.score(USERS), expected)


def test_early_stopping_returns_the_best_epoch_not_the_last(kind, fit, monkeypatch):
    seen, error = [], EarlyStopping._error

    def spy(self, parameters):
        copies = {name: value.detach().clone() for name, value in parameters.items()}
        seen.append((error(self, parameters), copies))
        return seen[-1][0]

    monkeypatch.setattr(EarlyStopping, "_error", spy)
    victim = fit(*kind, epochs=500, patience=3, learning_rate=0.02)
    errors = [each for each, _ in seen]
    best = int(np.argmin(errors))
    assert best == len(errors) - 4, "three more epochs, none of them better"
    assert victim.validation_error == errors[best]
    assert_same_bits(victim.parameters, seen[best][1])
    assert not torch.equal(victim.parameters["item_factors"], seen[-1][1]["item_factors"])


@pytest.mark.parametrize("name", VICTIMS)
@pytest.mark.parametrize(
    ("hyperparameter", "value"),
    [
        ("embeding_size", 8),
        ("embedding_size", 0),
        ("unobserved_weight", -0.1),
        ("unobserved_weight", 1.5),
        ("unobserved_weight", float("nan")),
        ("epochs", 0),
        ("patience", 0),
        ("learning_rate", 0),
        ("reg", -1),
        ("initial_std", 0),
    ],
)
def test_unknown_or_impossible_hyperparameters_are_refused_by_name(name, hyperparameter, value):
    with pytest.raises(ValidationError, match=hyperparameter):
        VICTIMS[name](**{hyperparameter: value})


@pytest.mark.parametrize("name", ["NSVD", "AutoRec", "CDAE", "PlainNSVD"])
@pytest.mark.parametrize("share", [-0.1, 1, 1.5])
def test_a_profile_cannot_be_hidden_whole(name, share):
    with pytest.raises(ValidationError, match="input_dropout"):
        VICTIMS[name](input_dropout=share)


def test_nothing_to_learn_from_is_refused(kind, small):
    name, regime = kind
    nothing = HeldOut(*(column[:0] for column in small.validation))
    empty = sp.csr_matrix(small.train.shape, dtype=np.float32)
    for train, validation, culprit in (
        (empty, small.validation, "train"),
        (small.train, nothing, "validation"),
    ):
        victim = VICTIMS[name](unobserved_weight=0.2 * (regime == "ranking"))
        with pytest.raises(ValueError, match=f"^{culprit} holds no rating"):
            victim.fit(train, validation, small.levels, stream(0, "model"))


@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize("name", VICTIMS)
def test_a_diverged_training_is_an_error(name, regime, fit):
    if (
        name in ("MF", "PlainMF") and regime == "ranking"
    ):  # least squares has no step size to diverge by
        assert np.isfinite(fit(name, regime, learning_rate=1e20).score(USERS)).all()
    else:
        with pytest.raises(ValueError, match="diverged"):
            fit(name, regime, learning_rate=1e20)


@pytest.mark.parametrize("levels", [[1], [0.5, 1, 7.5]])
def test_any_scale_is_divided_by_its_top(kind, levels):
    """The same tastes on another scale: the same victim, in other stars."""
    name, regime = kind
    ratings = synthetic_ratings(30, 20, 240, rng=stream(1, "ratings"))
    split = random_holdout(ratings, stream(0, "split"), validation_share=0.1)
    hyperparameters = {
        "embedding_size": 3,
        "epochs": 2,
        "reg": 0.01,
        "unobserved_weight": 0.2 * (regime == "ranking"),
    }
    scores = []
    for top in (5, levels[-1]):
        scale = np.float32(top / 5)
        validation = split.validation._replace(stars=split.validation.stars * scale)
        victim = VICTIMS[name](**hyperparameters).fit(
            split.train * scale, validation, ratings.levels * scale, stream(0, "model")
        )
        assert victim.train.data.max() == pytest.approx(1)
        scores.append(victim.score(np.arange(30)) / scale)
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize("name", VICTIMS)
def test_a_victim_that_has_not_learned_warns_of_it_with_both_numbers(name, regime, real_split):
    if (name, regime) == ("PlainMF", "ranking"):
        pytest.skip("one sweep of least squares is enough to rank by popularity")
    untrained = {"epochs": 1, "learning_rate": 1e-9, "initial_std": 1, "reg": 1e6 * (name == "MF")}
    victim = VICTIMS[name](unobserved_weight=0.2 * (regime == "ranking"), **untrained)
    arguments = real_split.train, real_split.validation, real_split.ratings.levels
    reference = "biases: RMSE" if regime == "rating" else "popularity: NDCG@50"
    told = (
        rf"^{name} is beaten on validation by {reference} \d\.\d+ against \d\.\d+; train it longer"
    )
    with pytest.warns(BeatenByReferenceWarning, match=told) as caught:
        victim.fit(*arguments, stream(0, "model"))
    assert caught[0].filename == __file__


def test_a_victim_is_compared_with_the_reference_on_the_same_validation(kind, victim, small):
    train, (users, items, stars) = small.train, small.validation
    found = victim.compare(small.validation)
    if victim.ranking:
        scores = Popularity().fit(train).score(users)
        scores[train[users].nonzero()] = -np.inf
        own = scores[np.arange(len(users)), items][:, None]
        before = np.arange(scores.shape[1]) < items[:, None]  # equals stand in the items' order
        ranks = 1 + ((scores > own) | ((scores == own) & before)).sum(axis=1)
        expected = -np.mean(np.where(ranks <= 50, 1 / np.log2(ranks + 1), 0))
        assert found.reference == "popularity"
    else:
        scores = Biases().fit(train).score(users)[np.arange(len(users)), items]
        expected = np.sqrt(np.mean((np.clip(scores, 1, 5) - stars) ** 2))
        assert found.reference == "biases"
    assert found.victim == kind[0]
    assert found.reference_error == pytest.approx(expected, abs=1e-5)
    assert found.error == victim.validation_error
    for error, beaten in ((expected - 0.01, False), (expected + 0.01, True)):
        assert found._replace(error=error).beaten is beaten


EPOCHS = {"MF": 3, "NSVD": 6, "AutoRec": 20, "CDAE": 20, "PlainMF": 20, "PlainNSVD": 20}


@pytest.fixture(scope="module")
def real_split(ml100k):
    return leave_one_out(ml100k, stream(0, "split"))


def _fit_real(name, regime, split):
    chosen = {**victim_hyperparameters("ml-100k", regime, name), "epochs": EPOCHS[name]}
    return VICTIMS[name](**chosen).fit(
        split.train, split.validation, split.ratings.levels, stream(0, "model")
    )


@pytest.mark.parametrize("name", list(VICTIMS)[::2])
def test_on_real_data_a_few_epochs_rank_better_than_popularity(name, real_split):
    popularity = evaluate(Popularity().fit(real_split.train), real_split, [])
    victim = evaluate(_fit_real(name, "ranking", real_split), real_split, [])
    assert victim.hit_ratio > popularity.hit_ratio + 0.1
    assert victim.ndcg > popularity.ndcg + 0.05


@pytest.mark.parametrize("name", list(VICTIMS)[1::2])
def test_on_real_data_a_few_epochs_predict_better_than_the_means(name, real_split):
    train, test = real_split.train, real_split.test
    sums, counts = np.asarray(train.sum(axis=0)).ravel(), np.diff(train.tocsc().indptr)
    item_means = np.where(counts, sums / np.maximum(counts, 1), train.data.mean())
    by_item = np.sqrt(np.mean((item_means[test.items] - test.stars) ** 2))
    assert 0.95 < by_item < 1.1
    victim = evaluate(_fit_real(name, "rating", real_split), real_split, [])
    assert victim.rmse < by_item - 0.03
