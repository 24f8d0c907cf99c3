"""The types of the notebooks' parameters: what is refused before a cell runs, and what is not."""

import pytest

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.cells import Scenario, craftable
from rvdlib.lab.runner.parameters import check_parameters
from rvdlib.lab.study import parameter_types as types
from rvdlib.models import VICTIMS

GRID = {"k": [1], "proximal_weight": [0.1], "unobserved_weight": [0.0]}
SETTING = {"attack": "random", "target_set": "middling"}


def fits(kind, value):
    try:
        check_parameters({"p": kind}, {"p": value})
    except StudyError:
        return False
    return True


def test_whatever_a_scenario_takes_is_a_value_and_nothing_else():
    for victim in VICTIMS:
        for attack in craftable():
            Scenario(dataset="ml-100k", victim=victim, regime="rating", attack=attack)
            assert fits(types.Victim, victim)
            assert fits(types.Attack, attack)
    for kind, field in (
        (types.Victim, "victim"),
        (types.Attack, "attack"),
        (types.Regime, "regime"),
        (types.TargetSet, "target_set"),
    ):
        given = {"dataset": "ml-100k", "victim": "MF", "regime": "rating", field: "of no name"}
        with pytest.raises(ValueError, match="of no name"):
            Scenario(**given)
        assert not fits(kind, "of no name")
    assert types.Regime == Scenario.model_fields["regime"].annotation
    assert types.TargetSet == Scenario.model_fields["target_set"].annotation


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (types.Profile, ["scratch", "my-run_2"], ["", "../quick", "a/b", ".", " "]),
        (types.DataSet, ["ml-100k", "filmtrust"], ["ml-100m", "FilmTrust", "", "x" * 300, "."]),
        (types.File, ["../results/peers.csv"], ["../results/none.csv", "..", ""]),
        (types.Seed, [0, 7], [-1, 0.5, True, "0"]),
        (types.Count, [1], [0, 1.0]),
        (types.Whole, [0], [-1]),
        (types.Weight, [0, 0.1], [-0.1, float("nan"), float("inf")]),
        (types.Rate, [0.1, 2], [0, float("nan")]),
        (types.Share, [0.03, 1], [0, 1.1, float("nan")]),
        (types.Sample, [None, 1], [0, "all"]),
        (types.Size, [[5, 5]], [[], [5], [5, 0], [1, 2, 3]]),
        (types.Searched, ["none", "RVD", "all of them"], ["clone", "", None]),
        (types.Fakes, ["random", "vicinity"], ["none", "from_file", "x"]),
        (types.Votes, [{"k": 30, "quorum": 6}], [{"k": 30}, {"k": 30, "quorum": 0}]),
        (types.AttacksAndNone, [["none", "pga"]], [[], ["pga"], ["none", "none"], ["none", "x"]]),
        (
            types.AttacksWithControls,
            [["none", "random", "low_clone"]],
            [["none"], ["none", "random"], ["none", "low_clone"]],
        ),
        (types.CountsFromOne, [[1, 3]], [[], [3], [0, 1]]),
        (types.WholesFromZero, [[0, 3]], [[], [3], [-1, 0]]),
        (types.Setting, [SETTING], [{}, SETTING | {"attack": "x"}, SETTING | {"more": 1}]),
        (types.ClosedFormGrid, [GRID], [{}, GRID | {"k": []}, GRID | {"k": [0]}]),
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(kind, good, bad):
    assert [fits(kind, value) for value in good] == [True] * len(good)
    assert [fits(kind, value) for value in bad] == [False] * len(bad)


def test_a_ratings_file_is_a_data_set_seen_from_here_or_from_the_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "here.csv").touch()
    (tmp_path / "notebooks" / "there.csv").touch()
    names = ["here.csv", "there.csv", str(tmp_path / "here.csv"), "nowhere.csv"]
    assert [fits(types.DataSet, name) for name in names] == [True, True, True, False]


def test_a_data_set_by_another_spelling_would_get_other_hyper_parameters():
    with pytest.raises(StudyError, match="'p' should be spelt 'filmtrust', got 'FilmTrust'"):
        check_parameters({"p": types.DataSet}, {"p": "FilmTrust"})
