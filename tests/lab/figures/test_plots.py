"""What the figures draw; how they look is for eyes."""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rvdlib import paths
from rvdlib.lab.figures import data_plots, effect_plots
from rvdlib.lab.figures import style as plots

DATASETS = ["ml-100k", "filmtrust", "yelp", "ml-1m"]


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    return tmp_path


def tails_and_targets(datasets):
    tails = pd.concat(
        pd.DataFrame(
            {"dataset": name, "catalogue_share": [0.5, 1.0], "rating_share": [0.5 + n / 10, 1.0]}
        )
        for n, name in enumerate(datasets)
    )
    targets = pd.DataFrame(
        [
            (dataset, target_set, ratings)
            for dataset in datasets
            for target_set, ratings in (("unpopular", 1), ("unpopular", 5), ("random", 80))
        ],
        columns=["dataset", "target_set", "train_ratings"],
    )
    return tails, targets


def qualities(datasets):
    systems = [
        ("rating", "MF", "victim", "rmse_holdout", 0.9),
        ("rating", "MF", "victim", "hit_ratio", 0.1),
        ("rating", "biases", "reference", "rmse_holdout", 0.94),
        ("rating", "biases", "reference", "hit_ratio", 0.15),
        ("ranking", "MF", "victim", "rmse_holdout", math.nan),
        ("ranking", "MF", "victim", "hit_ratio", 0.6),
        ("ranking", "ALS", "peer", "rmse_holdout", math.nan),
        ("ranking", "ALS", "peer", "hit_ratio", 0.62),
    ]
    rows = pd.DataFrame(
        [(dataset, *row) for dataset, row in itertools.product(datasets, systems)],
        columns=["dataset", "regime", "system", "kind", "metric", "mean"],
    ).assign(low=lambda rows: rows["mean"] - 0.01, high=lambda rows: rows["mean"] + 0.02)
    bounds = rows[rows["system"] == "MF"].assign(bound=rows["mean"] + 0.5)
    return rows, bounds


def test_saving_writes_pdf_and_png_the_same_bytes_for_the_same_figure(figures):
    for name in ("one", "two"):
        plots.save(data_plots.long_tail(*tails_and_targets(DATASETS[:2])), "tiny", name)
    assert sorted(path.name for path in (figures / "tiny").iterdir()) == [
        "one.pdf",
        "one.png",
        "two.pdf",
        "two.png",
    ]
    for kind, start in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        one, two = (figures / "tiny" / f"{name}.{kind}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes().startswith(start)


def test_a_figure_that_looks_the_same_keeps_its_bytes(figures):
    def saved(y):
        figure, axes = plt.subplots()
        axes.plot([0, 1, 2], [0, y, 1], "o")
        plots.save(figure, "tiny", "figure")
        return [(figures / "tiny" / f"figure.{kind}").read_bytes() for kind in ("pdf", "png")]

    first = saved(0.5)
    assert saved(0.5001) == first
    assert all(new != old for new, old in zip(saved(0.6), first, strict=True))
    assert saved(0.5) == first


@pytest.mark.parametrize("damage", [None, b"", b"no image"])
def test_a_figure_that_is_missing_or_damaged_is_written_anew(figures, damage):
    files = [figures / "tiny" / f"figure.{kind}" for kind in ("pdf", "png")]
    plots.save(plt.figure(), "tiny", "figure")
    whole = [file.read_bytes() for file in files]
    files[0].unlink() if damage is None else files[1].write_bytes(damage)
    plots.save(plt.figure(), "tiny", "figure")
    assert [file.read_bytes() for file in files] == whole
    assert plt.get_fignums() == []


@pytest.mark.parametrize("datasets", [DATASETS[:1], DATASETS])
def test_the_long_tail_has_one_line_a_data_set_and_every_target(datasets):
    tails, targets = tails_and_targets(datasets)
    figure = data_plots.long_tail(tails, targets)
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.lines if line.get_label() in datasets}
    assert list(lines) == datasets
    assert len({line.get_color() for line in lines.values()}) == len(datasets)
    for name, tail in tails.groupby("dataset"):
        assert lines[name].get_ydata() == pytest.approx(100 * tail["rating_share"])
    drawn = np.concatenate([dots.get_offsets()[:, 0] for dots in right.collections])
    assert sorted(drawn) == sorted(targets["train_ratings"])
    labels = [label.get_text() for label in right.get_yticklabels()]
    assert labels == [f"{d}, {kind}" for d in datasets for kind in ("unpopular", "random")]


@pytest.mark.parametrize("datasets", [DATASETS[:1], DATASETS])
def test_each_recommender_stands_on_its_line_in_the_panel_of_its_regime(datasets):
    rows, bounds = qualities(datasets)
    figure = data_plots.victim_quality(rows, bounds)
    assert len(figure.axes) == 2 * len(datasets)
    rating, ranking = figure.axes[:2]
    assert [label.get_text() for label in rating.get_yticklabels()] == ["MF", "biases"]
    assert [label.get_text() for label in ranking.get_yticklabels()] == ["MF", "ALS"]

    def drawn(axes):
        return {
            tuple(point)
            for container in axes.containers
            for point in np.round(container.lines[0].get_xydata(), 6)
        }

    assert drawn(rating) == {(0.9, 0), (0.94, 1)}
    assert drawn(ranking) == {(0.6, 0), (0.62, 1), (0.1, 0)}  # the last: trained for ratings
    (asked,) = (dots for dots in ranking.collections if dots.get_label() == "asked for")
    assert np.round(asked.get_offsets(), 6).tolist() == [[1.1, 0]]


def test_intervals_reach_from_low_to_high_and_vanish_where_there_is_one_seed():
    rows, bounds = qualities(DATASETS[:1])

    def reaches(rows):
        figure = data_plots.victim_quality(rows, bounds)
        (bars,) = figure.axes[0].containers[0].lines[2]
        return np.round(bars.get_segments()[0][:, 0], 6).tolist()

    assert reaches(rows) == [0.89, 0.92]
    assert reaches(rows.assign(low=math.nan, high=math.nan)) == [0.9, 0.9]


SETTINGS = [("rating", "unpopular"), ("ranking", "random")]


def levels_and_changes(defenses=("RVD", "closed form", "somebody's")):
    levels = [
        (*setting, victim, system, 0.0 if system == "not attacked" else 0.5 + place / 10)
        for setting in SETTINGS
        for victim in ("MF", "CDAE")
        for place, system in enumerate(("not attacked", "none", *defenses))
    ]
    changes = [
        (*setting, victim, defense, -0.1, -0.3, 0.1)
        for setting in SETTINGS
        for victim in ("MF", "CDAE")
        for defense in defenses
    ]
    where = ["regime", "target_set", "victim"]
    return (
        pd.DataFrame(levels, columns=[*where, "system", "mean"]),
        pd.DataFrame(changes, columns=[*where, "defense", "mean", "low", "high"]),
    )


def legend_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_target_hit_ratios_are_levels_without_bars_and_paired_changes_with_them():
    figure = effect_plots.target_hit_ratios(*levels_and_changes())
    assert len(figure.axes) == 2 * len(SETTINGS)
    assert legend_of(figure) == ["not attacked", "undefended", "RVD", "closed form", "somebody's"]
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        assert all(not container.has_xerr for container in left.containers)
        assert {c.get_label() for c in right.containers} == {"RVD", "closed form", "somebody's"}
        for container in right.containers:
            for bar in container.lines[2][0].get_segments():
                assert bar[:, 0] == pytest.approx([-0.3, 0.1])


@pytest.mark.parametrize("n_defenses", [1, 2, 6])
def test_no_two_texts_of_a_figure_lie_on_each_other_in_the_width_of_a_column(n_defenses):
    defenses = [f"a defence {n}" for n in range(n_defenses)]
    levels, changes = levels_and_changes(defenses)
    gains = pd.concat(changes.assign(metric=m) for m in ("hit_ratio", "ndcg", "rmse"))
    for figure in (
        effect_plots.target_hit_ratios(levels, changes),
        effect_plots.accuracy_changes(gains[gains["target_set"].isin(["unpopular", "random"])]),
    ):
        assert figure.get_size_inches()[0] <= 3.35
        figure.canvas.draw()
        page = figure.bbox
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        for axes in figure.axes:
            if axes.get_visible():
                ticks = [t for t in axes.get_xticklabels() if t.get_text()]
                low, high = axes.get_xlim()
                boxes = [
                    text.get_window_extent()
                    for text, place in zip(ticks, axes.get_xticks(), strict=True)
                    if low <= place <= high
                ]
                pairs = itertools.pairwise(sorted(boxes, key=lambda box: box.x0))
                assert all(one.x1 < other.x0 for one, other in pairs)
