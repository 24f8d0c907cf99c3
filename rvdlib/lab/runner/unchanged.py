"""Whether what a study writes says the same as what is kept: then the kept bytes stay.

Processors round differently, so tables and figures may differ in the last digits though nothing has
changed. What is new is always held against what is kept, a committed file, and not against the run
before: small changes cannot add up unseen, and whatever is taken for unchanged is within one
tolerance of what anybody reads. How wide that is stands here, for tables and notebooks alike.
"""

import csv
import io
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import zip_longest

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

TABLE = 1e-4  # float32 sums differ by less, and nobody reads more
SHOWN = 1e-3  # a notebook shows three decimals, the last of which may be rounded the other way
SHARP, SOFT = 48, 12  # levels of 255 in a figure: a pixel, and a mean over an area
# An attack that optimises takes another path on another processor, and ends about as far.
OPTIMISED = 0.005
TOLERANCES = {
    "15_gradient_flow": 1e-6,  # two forms that agree to this
    "06": OPTIMISED,
    "07": OPTIMISED,
    # The lowest loss that a search finds, and ranks of few users, two of which may change places.
    "08_paths": OPTIMISED,
    "08_prediction": OPTIMISED,
    "08_unlearning": OPTIMISED,
    # Influence unlearning stops after so many conjugate gradients on a Hessian that need not be positive.
    "10": 2 * OPTIMISED,
    "headline": SHOWN,
}
# Columns that follow from what stands beside them, and by leaps: a place on a map of t-SNE, which
# each processor draws another way; hits in whole numbers, whose ratio stands beside them.
FOLLOWERS = {"x", "y", "target_hits"}
# Columns of what was chosen and not measured: equal, however wide the tolerance.
SETTINGS = {
    "attack_options",
    "attack_size",
    "choices",
    "filler_size",
    "proximal_weight",
    "unobserved_weight",
    "visible_share",
}

# Columns that may be as far off anywhere: where two scores are all but equal, the last place of somebody's
# list is another's, and the items served are one or two more or fewer (of 1,682 to 10,477).
WIDER = {"catalogue_share": 0.001}


def tolerance_of(name: str, default: float = TABLE) -> float:
    """What :data:`TOLERANCES` states for a table or notebook, by its name or else its number."""
    return TOLERANCES.get(name, TOLERANCES.get(name.partition("_")[0], default))


# Digits in a word (C12, #1f77b4) or a version (2.4.5) are text; a hyphen after a word is no sign.
_NUMBER = re.compile(
    r"""
    (?P<number>
        (?: (?<![\w.)\]#]) [+\-−] )?  (?<![\w.#])
        (?: \d{1,3} (?:,\d{3})+ | \d+ ) (?:\.\d+)? (?: [eE][+\-−]?\d{1,3} )?
    )
    (?! \.?\d )
    (?P<percent> (?=[ \u00a0\u202f]?%) )?
    """,
    re.VERBOSE,
)


def first_difference(old: str, new: str, tolerance: float) -> str:
    """What differs first between two texts, e.g. ``0.123 became 0.143``; empty if nothing does.

    Numbers are equal within the tolerance: absolute up to 1, relative above; 12 % is 0.12. Whole
    numbers (counts, years, settings) must be equal, unless they are percentages. All else must be
    the same text, but for how many blanks stand in a row, which follows the width of numbers.

    Numbers are read as the study prints them: ``0.5``, ``−0.5``, ``+0.5``, ``1,234.5``, ``1e-05``,
    ``12 %``, and each of those in ``0.123 [0.110, 0.140]``. ``nan``, ``inf`` and ``–`` are text.
    """
    if old == new:
        return ""
    for part, other in zip_longest(_parts(old), _parts(new), fillvalue=""):
        if not _same(part, other, Decimal(str(tolerance))):
            return _became(part, other)
    return ""


def _parts(text: str) -> list[str | re.Match]:
    """Numbers, and the texts between them: the first, third, ... part is text."""
    parts, end = [], 0
    text = re.sub(r"[ \t]+", " ", text)
    for match in _NUMBER.finditer(text):
        parts += [text[end : match.start()], match]
        end = match.end()
    return [*parts, text[end:]]


def _same(old: str | re.Match, new: str | re.Match, tolerance: Decimal) -> bool:
    if isinstance(old, str) or isinstance(new, str):
        return old == new
    if _is_whole(old) and _is_whole(new):
        return _value(old) == _value(new)
    before, after = _value(old), _value(new)
    return abs(before - after) <= tolerance * max(1, abs(before), abs(after))


def _value(match: re.Match) -> Decimal:
    value = Decimal(match["number"].replace(",", "").replace("−", "-"))
    return value if match["percent"] is None else value / 100


def _is_whole(match: re.Match) -> bool:
    """Not of six digits: a csv has so many of every number, and so no point behind 882514."""
    number = match["number"].lstrip("+-−")
    return match["percent"] is None and not re.search(r"[.eE]|^\d{6}$", number)


def _became(old: str | re.Match, new: str | re.Match) -> str:
    if isinstance(old, str) and isinstance(new, str):
        pairs = enumerate(zip(old, new, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)))
        around = slice(max(0, place - 20), max(0, place - 20) + 40)
        return f"{old[around]!r} became {new[around]!r}"
    shown = [each[:40] if isinstance(each, str) else each["number"] for each in (old, new)]
    return f"{shown[0] or 'nothing'} became {shown[1] or 'nothing'}"


def same_table(old: str, new: str, tolerance: float) -> bool:
    """Whether two csv texts say the same, cell by cell.

    :data:`SETTINGS` must be equal. :data:`FOLLOWERS` are not looked at.
    """
    try:
        before, after = (list(csv.reader(io.StringIO(text))) for text in (old, new))
    except csv.Error:
        return False
    names = after[0] if after else []
    if before[:1] != after[:1] or any(len(row) != len(names) for row in before + after):
        return False
    return len(before) == len(after) and all(
        not _difference(names, *rows, tolerance) for rows in zip(before[1:], after[1:], strict=True)
    )


def row_difference(old: Mapping[str, str], new: Mapping[str, str], tolerance: float) -> str:
    """The first column in which two rows of text differ, and how, as :func:`same_table` has it.

    E.g. ``hit_ratio: 0.12 became 0.14``; empty if they say the same.
    """
    if old.keys() != new.keys():
        return f"columns: {', '.join(sorted(old.keys() ^ new.keys()))} are not in both"
    return _difference([*new], [old[name] for name in new], [*new.values()], tolerance)


def _difference(names: list[str], old: list[str], new: list[str], tolerance: float) -> str:
    free = FOLLOWERS
    if dict(zip(names, new, strict=True)).get("metric") in free:
        free = free | {"mean", "low", "high", "n"}
    for name, one, other in zip(names, old, new, strict=True):
        reach = 0 if name in SETTINGS else max(tolerance, WIDER.get(name, 0))
        if name not in free and (difference := first_difference(one, other, reach)):
            return f"{name}: {difference}"
    return ""


def same_picture(old: bytes, new: bytes, reach: int) -> bool:
    """Whether two PNG images show the same, nothing moved by more than ``reach`` pixels.

    Each pixel of the one must be, by :data:`SHARP` of 255 levels, within what the other has around
    it. The same, by :data:`SOFT`, holds of means over 7 by 7 pixels: they hardly depend on where
    between two pixels a line is, and so they tell faint areas, as of intervals. A damaged image is
    the same as none.
    """
    try:
        first, second = (np.asarray(on_white(each), dtype=np.int16) for each in (old, new))
    except (OSError, SyntaxError):  # Pillow's, for what is no image
        return False
    if first.shape != second.shape:
        return False
    means = [uniform_filter(image, (7, 7, 1)) for image in (first, second)]
    return _within(first, second, reach, SHARP) and _within(*means, reach, SOFT)


def _within(first: np.ndarray, second: np.ndarray, reach: int, most: int) -> bool:
    size = (2 * reach + 1, 2 * reach + 1, 1)
    return all(
        (one >= minimum_filter(other, size) - most).all()
        and (one <= maximum_filter(other, size) + most).all()
        for one, other in ((first, second), (second, first))
    )


def on_white(content: bytes) -> Image.Image:
    """A figure as one sees it on a page, in RGB."""
    figure = Image.open(io.BytesIO(content)).convert("RGBA")
    page = Image.new("RGBA", figure.size, "white")
    page.alpha_composite(figure)
    return page.convert("RGB")
