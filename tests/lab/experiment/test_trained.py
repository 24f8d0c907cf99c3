"""Nothing is measured on a victim that has not learned, on any seed."""

from itertools import cycle

import pytest
import yaml

from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment import cells, hyperparameters, quality
from rvdlib.lab.experiment.cells import Cell, Scenario, carry_out, run_cells
from rvdlib.lab.experiment.store import CellStore
from rvdlib.models import VICTIMS

UNTRAINED = {"epochs": 1, "learning_rate": 1e-9, "initial_std": 1, "reg": 1e6}
REFERENCE = {"rating": "biases: RMSE", "ranking": "popularity: NDCG@50"}
# PlainMF in the rating regime: one sweep of least squares is enough to rank by popularity.
KINDS = list(zip(VICTIMS, cycle(REFERENCE), strict=False))


@pytest.fixture
def untrained(monkeypatch):
    def hyperparameters(dataset, regime, victim):
        return UNTRAINED | {"unobserved_weight": 0.1 if regime == "ranking" else 0.0}

    for module in (cells, quality):
        monkeypatch.setattr(module, "victim_hyperparameters", hyperparameters)


@pytest.mark.parametrize(("victim", "regime"), KINDS)
def test_an_untrained_victim_is_an_error_that_says_whose_and_by_how_much(
    untrained, tmp_path, victim, regime
):
    told = (
        rf"^ml-100k, {regime} regime, seed 3: {victim} is beaten on validation by "
        rf"{REFERENCE[regime]} \d\.\d+ against \d\.\d+\. .*--victim {victim} --regime {regime}"
    )
    cell = Cell(scenario=Scenario(dataset="ml-100k", victim=victim, regime=regime, seed=3))
    with pytest.raises(StudyError, match=told):
        run_cells([cell], store=CellStore(tmp_path), jobs=1)
    if victim != "MF":
        return
    trial = quality.Trial(dataset="ml-100k", system=victim, regime=regime, seed=3)
    with pytest.raises(StudyError, match=told):
        quality.run_trials([trial], store=CellStore(tmp_path), jobs=1)
    assert not list(tmp_path.rglob("*.json")), "a row was kept"


def test_what_is_allowed_by_name_goes_on_and_its_rows_say_so(untrained, tmp_path, monkeypatch):
    allowed = tmp_path / "allowed.yml"
    allowed.write_text(yaml.safe_dump({"may_be_beaten": {"ml-100k": {"rating": ["MF"]}}}))
    monkeypatch.setattr(hyperparameters, "DEMANDS_FILE", allowed)
    scenario = Scenario(dataset="ml-100k", victim="MF", regime="rating")
    rows = run_cells([Cell(scenario=scenario)], store=CellStore(tmp_path), jobs=1)
    assert rows["beaten_by"].tolist() == ["biases"]
    for other in ({"victim": "NSVD"}, {"regime": "ranking"}):
        with pytest.raises(StudyError):
            carry_out(scenario.model_copy(update=other))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_an_attacked_victim_may_be_beaten_and_its_rows_say_so(untrained, tmp_path, regime):
    scenario = Scenario(dataset="ml-100k", victim="MF", regime=regime, attack="random")
    rows = run_cells([Cell(scenario=scenario)], store=CellStore(tmp_path), jobs=1)
    assert rows["beaten_by"].tolist() == [REFERENCE[regime].split(":")[0]]


@pytest.mark.filterwarnings("error")
def test_of_somebody_s_own_ratings_nothing_is_promised(untrained, dataset):
    own = Scenario(dataset=dataset, victim="MF", regime="rating")
    assert carry_out(own).beaten_by == "biases"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("victim", "regime"), [("PlainMF", "rating"), ("PlainNSVD", "ranking")])
def test_a_committed_choice_beats_the_simplest_recommender(victim, regime):
    """Of the others 02_victims says so."""
    assert carry_out(Scenario(dataset="ml-100k", victim=victim, regime=regime)).beaten_by == ""


def test_every_exception_is_one_of_a_victim_that_there_is():
    allowed = yaml.safe_load(hyperparameters.DEMANDS_FILE.read_text())["may_be_beaten"]
    chosen = yaml.safe_load(hyperparameters.VICTIMS_FILE.read_text())
    for dataset, regimes in allowed.items():
        for regime, victims in regimes.items():
            assert set(victims) <= chosen[dataset][regime].keys()
