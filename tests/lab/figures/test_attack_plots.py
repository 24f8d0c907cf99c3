"""What the figures of 06 and 07 draw; how they look is for eyes."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.lab.figures import attack_plots

ATTACKS = ["none", "random", "clone"]


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_effects_have_a_panel_a_setting_on_one_scale_and_the_control_beside_each_attack():
    summary = pd.DataFrame(
        {
            "regime": regime,
            "target_set": "random",
            "victim": victim,
            "attack": attack,
            "crafted_for": crafted_for,
            "mean": scale * n,
            "low": 0.5 * scale * n,
            "high": 1.5 * scale * n,
        }
        for regime, scale in (("rating", 0.3), ("ranking", 0.003))
        for victim in ("MF", "AutoRec")
        for crafted_for, attacks in (("targets", [*ATTACKS, "pga"]), ("others", ["pga"]))
        for n, attack in enumerate(attacks, start=1)
    )
    figure = attack_plots.attack_effects(summary)
    assert len(figure.axes) == 2
    assert labels(figure.axes[0]) == ["random", "clone", "PGA"]
    for axes, scale in zip(figure.axes, (0.3, 0.003), strict=True):
        own, swapped, *other_victim = (container.lines[0] for container in axes.containers)
        assert own.get_xdata() == pytest.approx([2 * scale, 3 * scale, 4 * scale])
        assert swapped.get_xdata() == pytest.approx([scale])
        assert swapped.get_markerfacecolor() == "white"
        assert other_victim[0].get_color() != own.get_color() == swapped.get_color()
        assert axes.get_xlim() == (-0.03, 1.03), "a small number is drawn small"
    assert len(figure.legends[0].get_texts()) == 4


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
    assert labels(stacked) == ["real users", "random", "clone"]
    low, high = stacked.containers
    assert [bar.get_width() for bar in low] == pytest.approx([0.3] * 3)
    assert [bar.get_x() + bar.get_width() for bar in high] == pytest.approx([1] * 3)
    segments = popularity.containers[0].lines[2][0].get_segments()
    assert [segment[:, 0].tolist() for segment in segments] == [pytest.approx([0.1, 0.12])] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2"]


def test_where_fakes_lie_is_drawn_by_attack_filled_for_the_papers_with_the_share_of_all():
    shares = {"none": np.nan, "random": 0.2, "clone": 0.9}
    summary = pd.DataFrame(
        {
            "regime": regime,
            "target_set": "random",
            "victim": "MF",
            "attack": attack,
            "crafted_for": crafted_for,
            "metric": metric,
            "mean": share * scale,
            "low": share * scale,
            "high": share * scale,
        }
        for regime in ("rating", "ranking")
        for crafted_for in ("targets", "others")
        for metric, scale in (("fakes_near_fakes", 1), ("fake_neighbor_share", 0.1))
        for attack, share in shares.items()
    )
    figure = attack_plots.neighbourhoods(summary, ["random"], 0.25)
    assert len(figure.axes) == 4
    for place, axes in enumerate(figure.axes):
        papers, others = (container.lines[0] for container in axes.containers)
        scale = 0.1 if place % 2 else 1
        assert (papers.get_xdata(), others.get_xdata()) == ([0.2 * scale], [0.9 * scale])
        assert others.get_markerfacecolor() == "white" != papers.get_markerfacecolor()
        assert axes.lines[0].get_xdata() == [0.2, 0.2]  # a quarter as many fakes as real users
    assert labels(figure.axes[0]) == ["random", "clone"]


def test_a_defence_shows_each_attacker_and_the_worst_a_panel_a_regime():
    keys = {"target_set": "random", "victim": "MF"}
    under = {"none": {"clone": 0.5, "vicinity": 0.9}, "quorum": {"clone": 0.2, "vicinity": 0.1}}
    table = pd.DataFrame(
        {"regime": regime, **keys, "defense": defense, "attacker": attacker, "mean": value}
        for regime in ("rating", "ranking")
        for defense, by_attacker in under.items()
        for attacker, value in {"none": 0.0, **by_attacker}.items()
    )
    held = pd.DataFrame(
        {"regime": regime, **keys, "defense": defense, "metric": metric, "mean": value}
        for regime in ("rating", "ranking")
        for defense, worst in (("none", 0.9), ("quorum", 0.2))
        for metric, value in {
            "target_hit_ratio_clean": 0.0,
            "target_hit_ratio": worst,
            "hit_ratio": 0.25,
        }.items()
    )
    figure = attack_plots.under_attackers(table, held)
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_yticklabels()] == ["undefended", "quorum"]
        each, clean, worst = axes.lines[:3]
        assert each.get_xdata().tolist() == [0.5, 0.9]
        assert (clean.get_xdata(), worst.get_xdata()) == ([0.0], [0.9])
        assert axes.texts[0].get_text() == "0.25"
