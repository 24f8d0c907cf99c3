"""The search for the victims' hyper-parameters: on validation data alone, and the best is kept."""

from dataclasses import replace

import pandas as pd
import pytest
import yaml

from rvdlib.data import HeldOut, leave_one_out, synthetic_ratings
from rvdlib.lab.experiment.hyperparameters import VICTIMS_FILE, victim_hyperparameters
from rvdlib.lab.experiment.splits import TABLE_SEEDS
from rvdlib.lab.tuning import victim_search
from rvdlib.models import VICTIMS
from rvdlib.models.chosen import chosen_hyperparameters
from rvdlib.seeding import stream
from rvdlib.strict_yaml import InvalidYaml

TINY = {"embedding_size": 4, "epochs": 2}


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(60, 40, 700, rng=stream(0, "ratings"))


@pytest.fixture
def folder(tmp_path, monkeypatch, ratings):
    """Logs and choices go here, and whatever data set is named is a small one."""
    monkeypatch.setattr(victim_search, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(victim_search, "VICTIMS_FILE", tmp_path / "victims.yml")
    monkeypatch.setattr(victim_search, "load_dataset", lambda name: ratings)
    return tmp_path


def log(folder, dataset, *trials):
    """Write (regime, victim, error, epochs) as the trials of one data set."""
    rows = [
        {
            "dataset": dataset,
            "regime": regime,
            "victim": victim,
            "validation_error": error,
            "train_seconds": 1.0,
            "hyperparameters": f"{{epochs: {epochs}, reg: 1.0e-05}}",
        }
        for regime, victim, error, epochs in trials
    ]
    (folder / "logs").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "logs" / f"{dataset}.csv", index=False)


def test_the_best_of_each_victim_regime_and_data_set_is_written(folder):
    # Errors are RMSE or −NDCG: less is better. Row numbers repeat from file to file.
    log(
        folder,
        "ml-100k",
        ("rating", "MF", 0.95, 1),
        ("rating", "MF", 0.92, 2),
        ("rating", "MF", 0.93, 3),
        ("ranking", "MF", -0.2, 4),
        ("ranking", "MF", -0.1, 5),
        ("rating", "CDAE", 0.99, 6),
    )
    log(folder, "yelp", ("rating", "MF", 1.2, 7), ("rating", "MF", 1.3, 8), ("rating", "MF", 1, 9))
    victim_search.write_best()
    chosen = yaml.safe_load((folder / "victims.yml").read_text())
    epochs = {
        (dataset, regime, victim): hyperparameters
        for dataset, regimes in chosen.items()
        for regime, victims in regimes.items()
        for victim, hyperparameters in victims.items()
    }
    assert epochs == {
        ("ml-100k", "rating", "MF"): {"epochs": 2, "reg": 1e-5},
        ("ml-100k", "ranking", "MF"): {"epochs": 4, "reg": 1e-5},
        ("ml-100k", "rating", "CDAE"): {"epochs": 6, "reg": 1e-5},
        ("yelp", "rating", "MF"): {"epochs": 9, "reg": 1e-5},
    }


def test_the_committed_choices_are_what_the_committed_trials_imply(monkeypatch, tmp_path):
    monkeypatch.setattr(victim_search, "VICTIMS_FILE", tmp_path / "victims.yml")
    victim_search.write_best()
    assert (tmp_path / "victims.yml").read_text() == VICTIMS_FILE.read_text()


@pytest.mark.parametrize("dataset", ["ml-100k", "ml-1m", "filmtrust", "yelp"])
@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_every_victim_has_hyperparameters_that_it_takes_and_that_make_its_regime(
    dataset, regime, victim
):
    chosen = victim_hyperparameters(dataset, regime, victim)
    assert VICTIMS[victim](**chosen).ranking is (regime == "ranking")


def test_a_file_of_one_s_own_takes_those_of_movielens():
    assert victim_hyperparameters("own.csv", "rating", "MF") == victim_hyperparameters(
        "ml-100k", "rating", "MF"
    )


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("ml-100k:", "ml100k:", "a data set must be one of .*'ml100k'; did you mean 'ml-100k'"),
        ("filmtrust:", "filmtrus:", "a data set must be one of .*; did you mean 'filmtrust'"),
        ("  ranking:", "  rankin:", "filmtrust: a regime must .*; did you mean 'ranking'"),
        ("    NSVD:", "    NVSD:", "filmtrust, ranking: a victim .*; did you mean 'NSVD'"),
        ("epochs:", "epoch:", "filmtrust, ranking, AutoRec, epoch: .*; did you mean 'epochs'"),
        (
            "epochs: 100",
            "epochs: many",
            "filmtrust, ranking, AutoRec, epochs: .* valid integer.*, got 'many'",
        ),
        (
            "epochs: 100",
            "100: epochs",
            "filmtrust, ranking, AutoRec must map .*, got {.*100: 'epochs'",
        ),
    ],
)
def test_what_is_misspelt_in_the_file_of_choices_is_named(tmp_path, right, wrong, message):
    text = VICTIMS_FILE.read_text()
    file = tmp_path / "victims.yml"
    file.write_text(text.replace(right, wrong, 1))
    with pytest.raises(InvalidYaml, match=rf"victims\.yml: {message}"):
        chosen_hyperparameters(file)


def test_a_victim_without_choices_is_named_with_the_file():
    with pytest.raises(InvalidYaml, match=r"victims\.yml has no MV under ml-100k, .*: add it"):
        victim_hyperparameters("filmtrust", "rating", "MV")


def test_nobody_can_spoil_the_hyperparameters_for_the_next():
    victim_hyperparameters("ml-100k", "rating", "MF")["epochs"] = -1
    assert victim_hyperparameters("ml-100k", "rating", "MF")["epochs"] > 0


@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_a_trial_never_reads_the_test_ratings_of_its_own_split(folder, monkeypatch, regime):
    split = victim_search.leave_one_out

    class Forbidden:
        def __getattr__(self, name):
            pytest.fail(f"the test ratings' {name} was read")

        def __iter__(self):
            pytest.fail("the test ratings were read")

    monkeypatch.setattr(victim_search, "without_test_ratings", lambda ratings: ratings)
    unseen = victim_search._trial("any", regime, "AutoRec", TINY, splits=1)
    monkeypatch.setattr(
        victim_search, "leave_one_out", lambda *args: replace(split(*args), test=Forbidden())
    )
    seen = victim_search._trial("any", regime, "AutoRec", TINY, splits=1)
    assert seen["validation_error"] == unseen["validation_error"]


@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_a_trial_is_judged_by_the_validation_ratings(folder, monkeypatch, regime):
    before = victim_search._trial("any", regime, "AutoRec", TINY, splits=1)
    split = victim_search.leave_one_out

    def upside_down(*args):
        found = split(*args)
        users, items, stars = found.validation
        return replace(found, validation=HeldOut(users, (items + 1) % 40, 6 - stars))

    monkeypatch.setattr(victim_search, "leave_one_out", upside_down)
    after = victim_search._trial("any", regime, "AutoRec", TINY, splits=1)
    assert before["validation_error"] != after["validation_error"]


def test_a_trial_is_a_mean_over_seeds_of_its_own(folder, monkeypatch):
    seeds = []

    def noting(seed, *names):
        seeds.append(seed)
        return stream(seed, *names)

    monkeypatch.setattr(victim_search, "stream", noting)
    one, two = (victim_search._trial("any", "rating", "MF", TINY, splits=n) for n in (1, 2))
    assert set(seeds) == {victim_search.FIRST_SEED, victim_search.FIRST_SEED + 1}
    assert one["validation_error"] != two["validation_error"]


def test_the_search_can_be_run_again_finds_the_same_and_adds_no_trial_twice(folder):
    options = ["--dataset", "any", "--victim", "MF", "--regime", "rating", "--trials", "2"]
    options += ["--splits", "1", "--jobs", "1", "--epochs", "2"]
    halves = []
    for _ in range(2):
        victim_search.main(options, standalone_mode=False)
        halves.append(pd.read_csv(folder / "logs" / "any.csv").drop(columns="train_seconds"))
    first, trials = halves
    assert len(trials) == 2
    pd.testing.assert_frame_equal(first, trials)
    best = trials.loc[trials["validation_error"].idxmin(), "hyperparameters"]
    chosen = yaml.safe_load((folder / "victims.yml").read_text())
    assert chosen == {"any": {"rating": {"MF": yaml.safe_load(best)}}}


@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_a_trial_never_sees_a_rating_that_a_table_tests_on(folder, monkeypatch, ratings, regime):
    seen, model = [], VICTIMS["MF"]

    def noting(self, train, validation, *rest):
        seen.append(set(zip(*train.nonzero(), strict=True)))
        seen.append(set(zip(*validation[:2], strict=True)))
        return fit(self, train, validation, *rest)

    fit = model.fit
    monkeypatch.setattr(model, "fit", noting)
    victim_search._trial("any", regime, "MF", TINY, splits=2)
    assert len(seen) == 4
    for seed in TABLE_SEEDS:
        test = leave_one_out(ratings, stream(seed, "split")).test
        tested = set(zip(test.users.tolist(), test.items.tolist(), strict=True))
        assert tested
        assert not tested & set().union(*seen)
