import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.runner.unchanged import first_difference

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

every_form = pytest.mark.parametrize(("form", "size"), FORMS.values(), ids=FORMS)


def altered(form: str, size: float, by: float) -> tuple[str, str]:
    unit = 100 if form.endswith(" %") else max(1, abs(size))
    value = 0.3 * size
    if abs(value) > 1 and not form.endswith(" %"):
        unit = abs(value)
    return form.format(value), form.format(value + by * unit)


@every_form
@pytest.mark.parametrize("sign", [1, -1])
def test_half_the_tolerance_is_the_same_and_twice_of_it_is_not(form, size, sign):
    assert not first_difference(*altered(form, size, sign * TOLERANCE / 2), TOLERANCE)
    assert first_difference(*altered(form, size, sign * TOLERANCE * 2), TOLERANCE)


@every_form
def test_without_tolerance_only_the_same_number_is_the_same(form, size):
    assert not first_difference(*altered(form, size, 0), 0)
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


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_of_at_least_zero(tolerance):
    with pytest.raises(ValueError, match="tolerance must be"):
        first_difference("a", "a", tolerance)


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
