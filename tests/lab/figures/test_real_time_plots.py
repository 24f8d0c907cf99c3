"""What the figures of 05 draw; how they look is for eyes."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.lab.figures import real_time_plots

FORMS = ("undefended", "closed_form", "engine", "functional", "plain_loop")


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_form_is_a_line_of_medians_with_their_range_against_each_dial():
    dials = {"k": (3, 100), "steps": (2, 50), "items": (1682, 20_000)}
    quick = {"undefended", "closed_form", "engine"}
    times = pd.DataFrame(
        {
            "dial": dial,
            "value": value,
            "group": group,
            "form": form,
            "round": round_,
            # Of few users the quick forms are measured too, and not drawn.
            "ms_per_user": (number + 1) * 0.01 * value * factor
            + (form in quick and group == "few"),
        }
        for number, form in enumerate(FORMS)
        for group in ("many", "few")
        if form in quick or group == "few"
        for dial, values in dials.items()
        for value in values[::-1]
        for round_, factor in enumerate((3, 1, 0.5))
    )
    many = pd.DataFrame(
        {"served": n, "form": form, "seconds": 1e-4 * n * (1 + (form == "closed_form")) * factor}
        for n in (1000, 100_000)
        for form in FORMS[:2]
        for factor in (1, 1.5, 0.5)
    )
    figure = real_time_plots.serving(times, many)
    assert len(texts(figure)) == len(FORMS)
    for axes, dial in zip(figure.axes, dials, strict=False):
        drawn = [container.lines for container in axes.containers]
        assert len(drawn) == len(FORMS)
        assert len({(line.get_color(), line.get_marker()) for line, *_ in drawn}) == len(FORMS)
        for number, (line, _, (bars,)) in enumerate(drawn):
            median = (number + 1) * 0.01 * np.array(dials[dial])
            assert line.get_xdata().tolist() == list(dials[dial])
            assert line.get_ydata() == pytest.approx(median)
            reach = np.array([segment[:, 1] for segment in bars.get_segments()])
            assert reach == pytest.approx(np.outer(median, [0.5, 3]))
    lines = [container.lines[0] for container in figure.axes[3].containers]
    assert [line.get_ydata().tolist() for line in lines] == [[0.1, 10], [0.2, 20]]


def test_every_choice_is_a_point_and_the_front_a_line_in_the_panel_of_its_victim():
    victims = ["MF", "NSVD", "AutoRec", "CDAE"]
    unweighted, weighted = "closed form, ω = 0", "closed form, ω > 0"
    points = [  # form, THR, accuracy, on the front, chosen
        ("none", 0.8, 0.9, False, False),
        (weighted, 0.1, 0.95, True, False),
        (weighted, 0.3, 0.85, True, True),
        (weighted, 0.5, 0.99, False, False),
        (unweighted, 0.75, 0.92, True, False),
        ("RVD", 0.7, 0.91, False, True),
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
            "chosen": chosen,
        }
        for regime, metric in (("rating", "rmse"), ("ranking", "ndcg"))
        for n, victim in enumerate(victims)
        for form, thr, accuracy, front, chosen in points
    )
    for name in ("thr", "accuracy"):
        frame[f"{name}_low"], frame[f"{name}_high"] = frame[name] - 0.01, frame[name] + 0.02
    figure = real_time_plots.trade_off(frame)
    assert len(figure.axes) == 2 * len(victims)
    legend = ["RVD", unweighted, weighted]
    assert texts(figure)[:3] == legend
    for number, axes in enumerate(figure.axes):
        up = number % len(victims) / 100
        assert axes.xaxis_inverted() == (number < len(victims))  # RMSE: the right is better
        every = {line.get_label(): line for line in axes.lines if line.get_label() in legend}
        assert len({(line.get_color(), line.get_marker()) for line in every.values()}) == 3
        for form in legend:
            expected = [(accuracy, thr + up) for f, thr, accuracy, *_ in points if f == form]
            assert every[form].get_xydata() == pytest.approx(np.array(expected))
        joined = [
            line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata())
        ]
        fronts = {line.get_color(): line.get_xydata() for line in joined}
        front = np.array([(0.95, 0.1 + up), (0.85, 0.3 + up)])
        assert fronts[every[weighted].get_color()] == pytest.approx(front)
        chosen = {c.lines[0].get_color(): c.lines for c in axes.containers}
        point, _, (across, along) = chosen[every[weighted].get_color()]
        thr = 0.3 + up
        assert point.get_xydata() == pytest.approx(np.array([(0.85, thr)]))
        assert across.get_segments()[0][:, 0] == pytest.approx((0.84, 0.87))
        assert along.get_segments()[0][:, 1] == pytest.approx((thr - 0.01, thr + 0.02))


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
    figure = real_time_plots.gradient_flow(found)
    left, right = figure.axes
    assert texts(figure) == ["MF, rating", "CDAE, rating", "MF, ranking", "CDAE, ranking"]
    assert len({(line.get_color(), line.get_linestyle()) for line in left.lines}) == 4
    for line in left.lines:
        assert line.get_ydata() == pytest.approx([0.001, 0.01, 0.1])
    assert [line.get_ydata().tolist() for line in right.lines] == [
        [0.01, 0.1, 1.0],
        [0.1, 1.0, 10.0],
    ] * 4
