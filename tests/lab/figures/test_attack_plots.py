"""What the figures of 06 and 07 draw; how they look is for eyes."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rvdlib.lab.figures import attack_plots
from rvdlib.lab.figures import style as plots

matplotlib.use("agg")
ATTACKS = ["none", "random", "clone"]


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        plots.set_style()
        yield
    plt.close("all")


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_effects_have_a_panel_a_setting_and_a_colour_a_victim():
    summary = pd.DataFrame(
        {
            "regime": regime,
            "target_set": "random",
            "victim": victim,
            "attack": attack,
            "mean": 0.1 * n,
            "low": 0.1 * n - 0.05,
            "high": 0.1 * n + 0.02,
        }
        for regime in ("rating", "ranking")
        for victim in ("MF", "AutoRec")
        for n, attack in enumerate(ATTACKS)
    )
    figure = attack_plots.attack_effects(summary)
    assert len(figure.axes) == 2
    for axes in figure.axes:
        drawn = [container.lines[0] for container in axes.containers]
        assert len({line.get_color() for line in drawn}) == len(drawn) == 2
        assert drawn[0].get_ydata() == pytest.approx([0, 0.1, 0.2])
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > 0.22


def test_profiles_are_stacked_to_one_and_reach_from_least_to_most():
    looks = pd.DataFrame(
        {
            "attack": attack,
            "rating_shares": [[0.2, 0.8], [0.4, 0.6]][seed],
            "filler_popularity": 0.1 + 0.02 * seed,
            "similarity": 0.5,
            "detection_auc": np.nan if attack == "none" else 0.9,
        }
        for attack in ATTACKS
        for seed in (0, 1)
    )
    stacked, popularity, *_ = (
        figure := attack_plots.attack_profiles(looks, np.array([1.0, 2.0]))
    ).axes
    assert labels(stacked) == ATTACKS
    low, high = stacked.containers
    assert [bar.get_width() for bar in low] == pytest.approx([0.3] * 3)
    assert [bar.get_x() + bar.get_width() for bar in high] == pytest.approx([1] * 3)
    segments = popularity.containers[0].lines[2][0].get_segments()
    assert [segment[:, 0].tolist() for segment in segments] == [pytest.approx([0.1, 0.12])] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2"]


def test_maps_show_everybody_a_row_a_victim_and_a_column_an_attack():
    people = pd.DataFrame({"x": range(5), "y": range(5), "kind": ["user"] * 3 + ["fake"] * 2})
    keys = [(victim, attack) for victim in ("MF", "CDAE") for attack in ATTACKS[1:]]
    maps = [people.assign(victim=victim, attack=attack) for victim, attack in keys]
    figure = attack_plots.latent_maps(pd.concat(maps))
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert [len(drawn.get_offsets()) for drawn in axes.collections] == [3, 2]


def test_cures_stand_in_one_order_with_two_panels_a_regime():
    table = pd.DataFrame(
        {
            "regime": regime,
            "defense": defense,
            "thr": 0.5,
            "thr_low": 0.4,
            "thr_high": 0.7,
            "change": -0.05,
            "change_low": -0.06,
            "change_high": -0.01,
        }
        for regime in ("rating", "ranking")
        for defense in ("none", "cosine")
    )
    figure = attack_plots.cures(table)
    assert len(figure.axes) == 4
    assert labels(figure.axes[0]) == ["undefended", "cosine"]
    bounds = [axes.containers[0].lines[2][0].get_segments()[0][:, 0] for axes in figure.axes[:2]]
    assert bounds[0] == pytest.approx([0.4, 0.7])
    assert bounds[1] == pytest.approx([-6, -1])
    assert figure.axes[0].get_xlim()[1] > 0.7
