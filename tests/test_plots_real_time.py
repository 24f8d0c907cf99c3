"""What the figures of 05 draw; how they look is for eyes."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rvdlib import plots, plots_real_time

matplotlib.use("agg")
FORMS = ("undefended", "closed_form", "engine", "functional", "plain_loop")


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        plots.set_style()
        yield
    plt.close("all")


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_form_is_a_line_of_its_own_against_each_dial():
    dials = {"k": (3, 100), "steps": (2, 50), "items": (1682, 20_000)}
    times = pd.DataFrame(
        {"dial": dial, "value": value, "form": form, "ms_per_user": (number + 1) * 0.01 * value}
        for number, form in enumerate(FORMS)
        for dial, values in dials.items()
        for value in values
    )
    many = pd.DataFrame(
        {"served": n, "form": form, "seconds": 1e-4 * n * (1 + (form == "closed_form"))}
        for n in (1000, 100_000)
        for form in FORMS[:2]
    )
    figure = plots_real_time.serving(times, many)
    assert len(texts(figure)) == len(FORMS)
    for axes, dial in zip(figure.axes, dials, strict=False):
        assert [line.get_xdata().tolist() for line in axes.lines] == [list(dials[dial])] * 5
        for number, line in enumerate(axes.lines):
            assert line.get_ydata() == pytest.approx((number + 1) * 0.01 * np.array(dials[dial]))
        assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 5
    k, steps, items, served = figure.axes
    assert [label.get_text() for label in k.get_xticklabels()] == ["3", "100"]
    assert [label.get_text() for label in steps.get_xticklabels()] == ["2", "50"]
    assert items.get_xlim() == (1e3, 1e5)
    assert served.get_xlim() == (1e3, 1e5)
    assert [line.get_ydata().tolist() for line in served.lines] == [[0.1, 10], [0.2, 20]]


@pytest.mark.parametrize("victims", [["MF"], ["MF", "NSVD", "AutoRec", "CDAE"]])
def test_every_choice_is_a_point_and_the_front_a_line_in_the_panel_of_its_victim(victims):
    points = [
        ("none", 0.8, 0.9, False),
        ("closed form", 0.1, 0.95, True),
        ("closed form", 0.3, 0.85, True),
        ("closed form", 0.5, 0.99, False),
        ("paper's form", 0.7, 0.91, True),
    ]
    frame = pd.DataFrame(
        {
            "regime": regime,
            "victim": victim,
            "metric": metric,
            "form": form,
            "thr": thr + n / 100,
            "accuracy": accuracy,
            "front": front,
        }
        for regime, metric in (("rating", "rmse"), ("ranking", "ndcg"))
        for n, victim in enumerate(victims)
        for form, thr, accuracy, front in points
    )
    for name in ("thr", "accuracy"):
        frame[f"{name}_low"], frame[f"{name}_high"] = frame[name] - 0.01, frame[name] + 0.02
    figure = plots_real_time.trade_off(frame)
    assert len(figure.axes) == 2 * len(victims)
    assert len(texts(figure)) == 5
    for number, axes in enumerate(figure.axes):
        up = number % len(victims) / 100
        assert axes.xaxis_inverted() == (number < len(victims))  # RMSE: the right is better
        lines = {line.get_label(): line.get_xydata() for line in axes.lines}
        front = np.array([(0.95, 0.1 + up), (0.85, 0.3 + up)])
        assert lines["closed form, front"] == pytest.approx(front)
        assert lines["paper's form, front"] == pytest.approx(np.array([(0.91, 0.7 + up)]))
        drawn = {c.get_label(): c for c in axes.containers}
        everything = drawn["closed form, every choice"].lines[0].get_xydata()
        assert len(everything) == 3
        assert drawn["undefended"].lines[0].get_xydata() == pytest.approx(
            np.array([(0.9, 0.8 + up)])
        )
        across, along = drawn["undefended"].lines[2]
        assert across.get_segments()[0][:, 0] == pytest.approx([0.89, 0.92])
        assert along.get_segments()[0][:, 1] == pytest.approx([0.79 + up, 0.82 + up])


def test_intervals_vanish_where_there_is_one_seed():
    frame = pd.DataFrame(
        {
            "regime": "rating",
            "victim": "MF",
            "metric": "rmse",
            "form": ["none"],
            "thr": [0.5],
            "accuracy": [0.9],
            "front": [False],
        }
    )
    for name in ("thr_low", "thr_high", "accuracy_low", "accuracy_high"):
        frame[name] = np.nan
    (axes,) = plots_real_time.trade_off(frame).axes
    drawn = {c.get_label(): c for c in axes.containers}["undefended"]
    across, along = drawn.lines[2]
    assert across.get_segments()[0].tolist() == along.get_segments()[0].tolist() == [[0.9, 0.5]] * 2


def test_descent_and_closed_form_come_apart_along_the_steps():
    found = pd.DataFrame(
        {
            "regime": regime,
            "victim": victim,
            "steps": steps,
            "correlation": 1 - steps / 1000,
            "largest_difference": steps / 100,
            "largest_move": steps / 10,
        }
        for regime in ("rating", "ranking")
        for victim in ("MF", "CDAE")
        for steps in (1, 10, 100)
    )
    figure = plots_real_time.gradient_flow(found)
    left, right = figure.axes
    assert texts(figure) == ["MF, rating", "CDAE, rating", "MF, ranking", "CDAE, ranking"]
    assert len({(line.get_color(), line.get_linestyle()) for line in left.lines}) == 4
    for line in left.lines:
        assert line.get_ydata() == pytest.approx([0.001, 0.01, 0.1])
    assert [line.get_ydata().tolist() for line in right.lines] == [
        [0.01, 0.1, 1.0],
        [0.1, 1.0, 10.0],
    ] * 4
