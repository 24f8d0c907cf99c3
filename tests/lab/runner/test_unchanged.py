import functools
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rvdlib.lab.figures.style import BLUE, GREY
from rvdlib.lab.runner.unchanged import (
    FOLLOWERS,
    OPTIMISED,
    SETTINGS,
    SHOWN,
    TABLE,
    first_difference,
    same_picture,
    same_table,
    tolerance_of,
)

TOLERANCE = 0.01

# How the study prints a value, and how large it is: what the tolerance is relative to above 1.
FORMS = {
    "plain": ("THR@50 is {:.6f}.", 1),
    "negative": ("fell by {:.6f}", -1),
    "signed": ("change {:+.6f}", 1),
    "minus sign": ("change −{:.6f}", 1),
    "interval": ("0.500 [0.400, {:.6f}]", 1),
    "negative interval": ("-0.500 [{:.6f}, 0.400]", -1),
    "cell of a table": ("<td>AutoRec</td>\n<td>{:.6f}</td>", 1),
    "cell of a csv table": ("MF,{:.6f},0.5", 1),
    "thousands": ("no more than {:,.4f} MiB", 4321),
    "exponent": ("step size {:.8e}", 1e5),
    "percent": ("{:.6%} of the users", 0.5),
    "spaced percent": ("accuracy {:.6f} %", 50),
    "arrow": ("0.123 → {:.6f}", 1),
}


def altered(form: str, size: float, by: float) -> tuple[str, str]:
    unit = 100 if form.endswith(" %") else max(1, abs(size))
    value = 0.3 * size
    if abs(value) > 1 and not form.endswith(" %"):
        unit = abs(value)
    return form.format(value), form.format(value + by * unit)


@pytest.mark.parametrize(("form", "size"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("sign", [1, -1])
def test_half_the_tolerance_is_the_same_and_twice_of_it_is_not(form, size, sign):
    assert not first_difference(*altered(form, size, sign * TOLERANCE / 2), TOLERANCE)
    assert first_difference(*altered(form, size, sign * TOLERANCE * 2), TOLERANCE)
    assert first_difference(*altered(form, size, 1e-4), 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.50"),
        ("-0.000", "0.000"),
        ("−0.5", "-0.5"),
        ("1e-05", "0.00001"),
        ("1,234.5", "1234.5"),
        ("a  0.999  b", "a 1.001 b"),  # as pandas aligns a column
        ("MF   0.001", "MF  -0.001"),
        ("0.13 [0.11, 0.14]", "0.13 [0.11, 0.15]"),
        ("12 %", "13 %"),
        ("nan [–, inf]", "nan [–, inf]"),
    ],
)
def test_the_same_however_it_is_written(old, new):
    assert not first_difference(old, new, TOLERANCE)
    assert not first_difference(new, old, TOLERANCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "-0.5"),
        ("0.5", "−0.5"),
        ("+2 %", "-2 %"),
        ("0.5", "nan"),
        ("0.5", ""),
        ("–", "0.000"),
        ("nan", "inf"),
        ("inf", "-inf"),
        ("0.5 %", "0.5"),
        ("k = 10", "k = 11"),
        ("1,000,000 users", "1,000,001 users"),
        ("1000000", "1000001"),
        ("numpy 2.4.5", "numpy 2.4.6"),
        ("claim C12", "claim C13"),
        ("#1f77b4", "#1f77b5"),
        ("2023-09-30", "2023-09-29"),
        ("MF 0.5\nCDAE 0.6", "CDAE 0.6\nMF 0.5"),
        ("0.5 0.6", "0.5"),
        ("0.5", "0.5 0.6"),
        ("0.5, reproduced", "0.5, not reproduced"),
        ("0.13 [0.11, 0.14]", "0.13"),
        ("a 0.5\n", "a 0.5"),
    ],
)
def test_another_text_count_sign_or_order_is_a_difference(old, new):
    assert first_difference(old, new, TOLERANCE)
    assert first_difference(new, old, TOLERANCE)


def test_the_first_difference_is_named():
    old = "<td>0.500</td><td>−0.123</td><td>7</td>"
    new = "<td>0.501</td><td>−0.143</td><td>8</td>"
    assert first_difference(old, new, TOLERANCE) == "−0.123 became −0.143"
    assert first_difference("reproduced", "partly", TOLERANCE) == "'reproduced' became 'partly'"
    assert first_difference("a 0.5 b 0.6", "a 0.5 b ", TOLERANCE) == "0.6 became nothing"
    assert first_difference("a", "a 0.5", TOLERANCE) == "'a' became 'a '"
    long = "all the same to here, and " * 9
    assert first_difference(f"{long}yes", f"{long}no", 0) == (
        "'e same to here, and yes' became 'e same to here, and no'"
    )


NUMBERS = st.floats(-1e6, 1e6).map(lambda value: f"{value:.6g}")
TEXTS = st.lists(
    st.sampled_from(["MF", " ", "\n", "%", "[", ", ", "]", "–", "-", "e", "."]) | NUMBERS
)


@given(TEXTS.map("".join), st.floats(0, 1))
def test_every_text_is_the_same_as_itself_and_more_of_it_is_not(text, tolerance):
    assert not first_difference(text, text, tolerance)
    assert first_difference(text, f"{text} more", tolerance)
    assert first_difference(f"{text} more", text, tolerance)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1), st.data(), st.floats(1e-6, 0.1), st.booleans())
def test_one_number_of_many_decides(values, data, tolerance, beyond):
    place = data.draw(st.integers(0, len(values) - 1))
    values = [round(value, 3) for value in values]
    changed = values.copy()
    changed[place] += (2.5 if beyond else 0.5) * tolerance * max(1, abs(values[place]))
    old, new = (", ".join(f"{value:.12f}" for value in each) for each in (values, changed))
    assert bool(first_difference(old, new, tolerance)) is beyond


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("03_summary", TABLE),
        ("15_gradient_flow", 1e-6),
        ("06_profiles", OPTIMISED),
        ("headline", SHOWN),
        ("scratch", TABLE),
    ],
)
def test_a_tolerance_is_stated_by_name_or_else_by_number(name, tolerance):
    assert tolerance_of(name) == tolerance
    assert tolerance_of(name, 0.5) == (0.5 if tolerance == TABLE else tolerance)


OLD = 'attack,options,n,thr\nnone,"{""k"": 3}",7,0.5\nclone,"a, b",7,\npga,,7,1e-05\n'


@pytest.mark.parametrize(
    "new",
    [
        OLD.replace("0.5", "0.500049"),
        OLD.replace("1e-05", "0"),
        OLD.replace("0.5", "0.49991").replace("1e-05", "-1e-05"),
    ],
)
def test_a_table_is_the_same_within_its_tolerance(new):
    assert same_table(OLD, new, TABLE)
    assert not same_table(OLD, new, TABLE / 100)


@pytest.mark.parametrize(
    "new",
    [
        OLD.replace("0.5", "0.5002"),
        OLD.replace("0.5", ""),
        OLD.replace(",7,0.5", ",8,0.5"),
        OLD.replace("none", "random"),
        OLD.replace("thr", "ndcg"),
        OLD + "aush,,7,0.5\n",
        "\n".join(OLD.splitlines()[:2]) + "\n",
        "\n".join([OLD.splitlines()[0], *OLD.splitlines()[:0:-1]]) + "\n",
        "attack\nnone\n",
        *("", "\0\0", "attack,thr", '"', "<<<<<<< HEAD\n" + OLD, OLD[:-12], OLD + ",,,,,\n"),
    ],
)
def test_another_number_text_row_or_column_or_a_damaged_table_is_another_table(new):
    assert not same_table(OLD, new, TABLE)
    assert not same_table(new, OLD, TABLE)


@pytest.mark.parametrize(
    "new", ["", "attack,thr\n", "attack,ndcg,n\n", "n,thr,attack\n", "attack,thr,n,n\n"]
)
def test_another_heading_is_another_table_even_without_rows(new):
    assert not same_table("attack,thr,n\n", new, TABLE)
    assert not same_table(new, "attack,thr,n\n", TABLE)
    assert same_table(new, new, TABLE)


def test_of_two_columns_of_one_name_both_are_compared():
    assert not same_table("thr,thr\n0.1,0.2\n", "thr,thr\n0.3,0.2\n", TABLE)


@pytest.mark.parametrize("tolerance", [TABLE, OPTIMISED])
@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_what_was_chosen_is_equal_however_wide_the_tolerance(setting, tolerance):
    table = f'attack,{setting},thr\npga,"{{}}",0.5\n'
    assert same_table(table.format("0.03"), table.format("0.030"), tolerance)
    assert not same_table(table.format("0.03"), table.format("0.03001"), tolerance)
    assert not same_table(table.format("k 3, λ 0.01"), table.format("k 3, λ 0.02"), tolerance)


@pytest.mark.parametrize("tolerance", [TABLE, OPTIMISED])
@pytest.mark.parametrize("follower", sorted(FOLLOWERS))
def test_what_follows_from_the_rest_of_a_table_does_not_decide(follower, tolerance):
    wide = f"attack,thr,{follower}\npga,0.5,{{}}\n"
    assert same_table(wide.format(0.1), wide.format(""), tolerance)
    assert not same_table(wide.format(0.1), wide.format(0.1).replace("0.5", "0.6"), tolerance)
    long = f"attack,metric,mean,low,high,n\npga,{follower},{{}}\npga,thr,0.5,,,1\n"
    assert same_table(long.format("0.1,,,1"), long.format("0.3,0.2,0.4,2"), tolerance)
    assert not same_table(long.format("0.1,,,1"), long.format("0.1,,,1")[:-2] + "2\n", tolerance)
    assert not same_table(
        long.format(",,,0"), long.format(",,,0").replace("pga", "aush"), tolerance
    )


@functools.cache  # so in one style, whatever another test has set meanwhile
@plt.style.context("default", after_reset=True)
def drawn(
    y=0.5,
    label="0.3",
    colour="tab:blue",
    transparent=False,
    dpi=200,
    height=2.0,
    band=0.2,
    shade=0.5,
) -> bytes:
    figure, axes = plt.subplots(figsize=(3, height), layout="constrained")
    axes.plot([0, 1, 2], [0.1, y, 0.9], "o-", color=colour)
    places = np.array([0.1, y, 0.9])
    axes.fill_between([0, 1, 2], places - band, places + band, color=BLUE, alpha=0.15, linewidth=0)
    axes.axvspan(0, shade, color=GREY, alpha=0.15, linewidth=0)
    axes.set(xlabel=f"k = {label}", ylim=(0, 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, transparent=transparent)
    plt.close(figure)
    return buffer.getvalue()


@pytest.mark.parametrize("reach", [1, 2])
def test_a_picture_is_the_same_where_nothing_moved_further_than_its_reach(reach):
    dpi = 100 * reach
    half_a_pixel = 0.5 / (2.0 * dpi * 0.77)
    old = drawn(dpi=dpi)
    assert same_picture(old, old, 0)
    assert same_picture(old, drawn(0.5 + half_a_pixel * reach, dpi=dpi), reach)
    assert not same_picture(old, drawn(0.5 + 8 * half_a_pixel * reach, dpi=dpi), reach)


@pytest.mark.parametrize(
    "changed",
    [
        {"label": "0.8"},
        {"label": "0.5"},
        {"label": "–0.3"},
        {"label": ""},
        {"colour": "tab:orange"},
        {"colour": "none"},
        {"height": 2.1},
        {"band": 0},
        {"band": 0.3},
        {"shade": 0},
        {"shade": 0.7},
    ],
)
def test_another_label_colour_or_size_is_another_picture(changed):
    assert not same_picture(drawn(), drawn(**changed), 2)
    assert not same_picture(drawn(**changed), drawn(), 2)


def test_a_picture_is_looked_at_on_white():
    assert same_picture(drawn(), drawn(transparent=True), 0)


def test_a_picture_in_a_palette_is_the_same():
    page = Image.open(io.BytesIO(drawn())).convert("RGB").quantize(256)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    assert same_picture(drawn(), buffer.getvalue(), 0)


@pytest.mark.parametrize("damaged", [b"", b"no image", drawn()[:1000]])
def test_a_damaged_picture_is_the_same_as_none(damaged):
    assert not same_picture(damaged, drawn(), 2)
    assert not same_picture(damaged, damaged, 2)


def test_noise_below_the_threshold_is_no_change():
    noise = np.random.default_rng(0).integers(-4, 5, (50, 50, 3))
    images = [Image.fromarray(np.uint8(128 + n)) for n in (0 * noise, noise)]
    old, new = io.BytesIO(), io.BytesIO()
    for image, buffer in zip(images, (old, new), strict=True):
        image.save(buffer, "PNG")
    assert same_picture(old.getvalue(), new.getvalue(), 0)


@pytest.mark.parametrize(("new", "same"), [("882518", True), ("883514", False)])
def test_a_number_of_six_digits_is_measured_though_no_point_is_left_of_it(new, same):
    assert (first_difference("882514", new, 1e-4) == "") == same
    assert first_difference("88251", "88252", 1e-4)  # a count
