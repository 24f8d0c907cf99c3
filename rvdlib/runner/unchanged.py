"""Whether two texts say the same, numbers compared as numbers.

Processors round differently, so what a study writes may differ in the last digits though nothing
has changed. It is always held against what is kept, a committed file or executed notebook, and not
against the run before: small changes cannot add up unseen, and whatever is taken for unchanged is
within one tolerance of what anybody reads.
"""

import math
import re
from decimal import Decimal
from itertools import zip_longest

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

    Raises:
        ValueError: if the tolerance is not a number of at least 0.
    """
    if not (tolerance >= 0 and math.isfinite(tolerance)):
        raise ValueError(f"tolerance must be a number of at least 0, got {tolerance!r}")
    if old == new:
        return ""
    before, after = _parts(old), _parts(new)
    for part, other in zip_longest(before, after, fillvalue=""):
        if not _same(part, other, Decimal(str(tolerance))):
            return _became(part, other)
    return ""


def _parts(text: str) -> list[str | re.Match]:
    """Numbers, and the texts between them: the first, third, ... part is text."""
    parts, end = [], 0
    for match in _NUMBER.finditer(text):
        parts += [_plain(text[end : match.start()]), match]
        end = match.end()
    return [*parts, _plain(text[end:])]


def _plain(text: str) -> str:
    return re.sub(r"[ \t]+", " ", text)


def _same(old: str | re.Match, new: str | re.Match, tolerance: Decimal) -> bool:
    if isinstance(old, str) or isinstance(new, str):
        return old == new
    if _is_whole(old) and _is_whole(new):
        return _value(old) == _value(new)
    before, after = _value(old), _value(new)
    return abs(before - after) <= tolerance * max(1, abs(before), abs(after))


def _value(match: re.Match) -> Decimal:
    value = Decimal(match["number"].replace(",", "").replace("−", "-"))
    return value / 100 if _is_percentage(match) else value


def _is_percentage(match: re.Match) -> bool:
    return match["percent"] is not None


def _is_whole(match: re.Match) -> bool:
    return not _is_percentage(match) and not re.search(r"[.eE]", match["number"])


def _became(old: str | re.Match, new: str | re.Match, most: int = 40) -> str:
    if isinstance(old, str) and isinstance(new, str):
        pairs = enumerate(zip(old, new, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)))
        start = max(0, place - most // 2)
        return f"{old[start : start + most]!r} became {new[start : start + most]!r}"
    shown = [each[:most] if isinstance(each, str) else each["number"] for each in (old, new)]
    return f"{shown[0] or 'nothing'} became {shown[1] or 'nothing'}"
