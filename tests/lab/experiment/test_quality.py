import numpy as np
import pandas as pd
import pytest

from rvdlib import evaluation
from rvdlib.data import leave_one_out, random_holdout
from rvdlib.lab.experiment import quality
from rvdlib.lab.experiment.quality import Trial, judge, run_trials, trials
from rvdlib.lab.experiment.store import CellStore
from rvdlib.models.biases import Biases
from rvdlib.models.reference import Popularity
from rvdlib.seeding import stream

POPULARITY = Trial(dataset="ml-100k", system="popularity", regime="ranking", seed=0)


def pairs(split):
    rows = np.repeat(np.arange(split.train.shape[0]), np.diff(split.train.indptr))
    return set(zip(rows.tolist(), split.train.indices.tolist(), strict=True))


def test_every_victim_is_tried_in_both_regimes_and_every_reference_in_its_own():
    wanted = trials(["a", "b"], ["MF", "CDAE"], [0, 7])
    assert len(set(wanted)) == len(wanted) == 2 * 2 * (2 * 2 + 3)
    systems = {(trial.system, trial.regime) for trial in wanted}
    assert systems == {
        *((victim, regime) for victim in ("MF", "CDAE") for regime in ("rating", "ranking")),
        ("biases", "rating"),
        ("EASE", "ranking"),
        ("popularity", "ranking"),
    }


def test_in_the_rating_regime_each_split_trains_a_model_of_its_own_that_never_saw_the_test(ml100k):
    splits = []

    def fit(split):
        splits.append(split)
        return Biases().fit(split.train)

    judged = judge(fit, ml100k, "rating", seed=4)
    one_out = leave_one_out(ml100k, stream(4, "split"))
    holdout = random_holdout(ml100k, stream(4, "split"))
    assert [split.train.nnz for split in splits] == [one_out.train.nnz, holdout.train.nnz]
    for split in splits:
        tested = set(zip(split.test.users.tolist(), split.test.items.tolist(), strict=True))
        assert not pairs(split) & tested
    ranked = evaluation.evaluate(Biases().fit(one_out.train), one_out, [])
    error = evaluation.rmse(Biases().fit(holdout.train), holdout.test, ml100k.levels)
    assert (judged["hit_ratio"], judged["ndcg"]) == (ranked.hit_ratio, ranked.ndcg)
    assert (judged["rmse"], judged["rmse_holdout"]) == (ranked.rmse, error)
    assert judged["rmse"] != judged["rmse_holdout"]


def test_in_the_ranking_regime_one_model_is_trained_and_no_holdout_is_claimed(ml100k):
    fits = []

    def fit(split):
        fits.append(split)
        return Popularity().fit(split.train)

    judged = judge(fit, ml100k, "ranking", seed=0)
    assert len(fits) == 1
    assert np.isnan(judged["rmse_holdout"])
    assert 0.27 < judged["hit_ratio"] < 0.34


def test_a_trial_is_carried_out_once_and_again_when_its_hyper_parameters_change(
    tmp_path, monkeypatch
):
    judged = []

    def count(*arguments):
        judged.append(arguments)
        return {"hit_ratio": len(judged)}

    monkeypatch.setattr(quality, "judge", count)
    store = CellStore(tmp_path)
    trial = Trial(dataset="ml-100k", system="MF", regime="rating", seed=0)
    first = run_trials([trial, POPULARITY, trial], store=store, jobs=1)
    assert len(judged) == 2
    assert first["hit_ratio"].tolist() == [1, 2, 1]
    pd.testing.assert_frame_equal(run_trials([trial, POPULARITY, trial], store=store), first)
    assert len(judged) == 2
    monkeypatch.setattr(quality, "victim_hyperparameters", lambda *names: {"epochs": 1})
    again = run_trials([trial, POPULARITY], store=store, jobs=1)
    assert again["hit_ratio"].tolist() == [3, 2]


def test_the_chosen_victims_are_as_good_as_they_should_be_in_both_regimes(tmp_path):
    wanted = [
        Trial(dataset="ml-100k", system="MF", regime=r, seed=0) for r in ("rating", "ranking")
    ]
    found = run_trials(wanted, store=CellStore(tmp_path), jobs=1)
    assert found["rmse_holdout"][0] < 0.92
    assert found["hit_ratio"][1] > 0.56
    assert (found["train_seconds"] > 0).all()
    assert found["peak_mib"].between(100, 4096).all()


def test_an_unknown_system_is_refused(tmp_path):
    trial = Trial(dataset="ml-100k", system="BPR", regime="ranking", seed=0)
    with pytest.raises(ValueError, match="has no BPR under ml-100k, ranking"):
        run_trials([trial], store=CellStore(tmp_path), jobs=1)
