"""What the figures of 09 and 10 draw of defences; how they look is for eyes."""

import numpy as np
import pandas as pd

from rvdlib.lab.figures import breakdown_plots, rivals_plots
from rvdlib.lab.figures.style import LOOKS


def test_every_defence_is_told_apart_without_colour():
    looks = set(LOOKS.values())
    assert LOOKS["none"] == LOOKS["undefended"]
    assert len({marker for marker, _ in looks}) == len(looks) == len(LOOKS) - 1


def test_who_is_far_behind_stands_at_the_edge_with_his_value():
    ndcg = {"popularity": 0.1, "none": 0.20, "RVD": 0.21, "VAT": 0.205, "retrained": 0.22}
    means = pd.DataFrame({"ndcg": pd.Series(ndcg), "kind": "alone"})
    means["target_hit_ratio"] = [0.1, 0.9, 0.5, 0.8, 0.0]
    means.loc["retrained", "kind"] = "told who is fake"
    for least, words in ((0.1, ["← 0.100"]), (0.19, [])):
        means.loc["popularity", "ndcg"] = least
        (axes,) = rivals_plots.pareto({("a", "ranking"): means}).axes
        drawn = {each.get_label(): each.get_offsets()[0] for each in axes.collections}
        assert drawn["popularity"][0] == (axes.get_xlim()[0] if words else least)
        assert [text.get_text() for text in axes.texts] == words
        assert np.allclose(drawn["told who is fake"], (0.22, 0.0))
        (line,) = axes.lines
        assert line.get_xdata().tolist() == [drawn["popularity"][0], 0.21]


def grown(cases, labels):
    sizes = (0.01, 0.03, 0.1)
    rows = [(*case, label, size, 5 * size) for case in cases for label in labels for size in sizes]
    found = pd.DataFrame(rows, columns=["dataset", "regime", "label", "attack_size", "mean"])
    return found.assign(low=found["mean"] - 0.01, high=found["mean"] + 0.01)


def test_growth_has_a_panel_for_what_was_measured_and_marks_side_by_side():
    cases = [("a", "rating"), ("a", "ranking"), ("b", "ranking")]
    labels = ["undefended", "closed form", "quorum 3 of 30", "quorum 6 of 30"]
    for some in (cases, cases[:2], cases[:1]):
        figure = breakdown_plots.growth(grown(some, labels))
        panels = [axes for axes in figure.axes if axes.axison]
        assert [axes.get_title() for axes in panels] == [", ".join(case) for case in some]
        legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
        (legend,) = (each for each in legends if each)
        assert [text.get_text() for text in legend.get_texts()] == ["no defence", *labels[1:]]
        for axes in panels:
            assert np.allclose(axes.get_xticks() ** 2, [1, 3, 10])
            assert len({x for line in axes.lines for x in line.get_xdata()}) == 12
            *_, one, other = axes.lines
            assert one.get_marker() == other.get_marker() == LOOKS["quorum"][0]
            assert one.get_linestyle() != other.get_linestyle()
