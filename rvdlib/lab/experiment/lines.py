"""A finished row as a line of text, column by column, and back, bit for bit."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rvdlib.lab.experiment.fingerprint import Fingerprint
from rvdlib.lab.experiment.plain_values import REFERENCE, digest, to_text
from rvdlib.lab.experiment.references import References

KEY, LAYOUT, CHECKSUM = "key", "layout", "checksum"
COST = ("seconds", "peak_mib")
WITH, CARRIED, VERIFIED = "computed_with", "carried_to", "verified_by"
LAST = (*COST, LAYOUT, WITH, CARRIED, VERIFIED, CHECKSUM)  # columns that end a line
KEY_DIGITS, CHECK_DIGITS = 16, 12

Line = dict[str, str]  # column → text, empty ones left out


class Kept(NamedTuple):
    """A row with all that is known of it, encoded."""

    spec: dict[str, Any]
    row: dict[str, Any]
    cost: dict[str, float]
    computed_with: Fingerprint
    carried_to: Fingerprint | None = None
    verified_by: dict[str, Any] | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        """Under which it counts."""
        return self.carried_to or self.computed_with


def key_of(encoded: Mapping[str, Any]) -> str:
    """Of an encoded specification."""
    return digest(encoded)[:KEY_DIGITS]


def flat(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Columns of a specification; the fields of its first entry, if that is a mapping, are some."""
    nested = _nested(spec)
    for name, value in spec.items():
        yield from value.items() if name == nested else [(name, value)]


def line_of(kept: Kept, references: References) -> Line:
    """What of the row is in the specification is written once.

    A name that says another thing in the two has another column, ``row.NAME``.
    """
    specified = {name: to_text(value) for name, value in flat(kept.spec)}
    nested, columns = _nested(kept.spec), {}
    for name, value in kept.row.items():
        taken = name in LAST or name == KEY
        if specified.get(name, to_text(value)) != to_text(value) or taken:
            columns[name] = f"row.{name}"
        else:
            columns[name] = name
    layout = {
        "nested": [nested, [*kept.spec[nested]]] if nested else [],
        "spec": [name for name in kept.spec if name != nested],
        "row": [*columns.values()],
    }
    line = {KEY: key_of(kept.spec)}
    line |= {name: references.shorten(value) for name, value in flat(kept.spec)}
    line |= {columns[name]: references.shorten(value) for name, value in kept.row.items()}
    line[LAYOUT] = references.add(layout)
    line |= {name: to_text(kept.cost[name]) for name in COST if name in kept.cost}
    line[WITH] = references.add_fingerprint(kept.computed_with)
    if kept.carried_to:
        line[CARRIED] = references.add_fingerprint(kept.carried_to)
        line[VERIFIED] = references.add(kept.verified_by)
    return line | {CHECKSUM: checksum_of(line)}


def restored(line: Line, references: References) -> Kept:
    """What :func:`line_of` was given; the line's checksum is right.

    Raises:
        StudyError: if a value that it refers to is missing.
    """
    layout = references.get(line[LAYOUT])
    values = {name: references.expand(text) for name, text in line.items() if name not in LAST}
    spec = {}
    if layout["nested"]:
        name, fields = layout["nested"]
        spec[name] = {field: values[field] for field in fields}
    spec |= {name: values[name] for name in layout["spec"]}
    return Kept(
        spec,
        {name.removeprefix("row."): values[name] for name in layout["row"]},
        {name: json.loads(line[name]) for name in COST if name in line},
        references.fingerprint(line[WITH]),
        references.fingerprint(line[CARRIED]) if CARRIED in line else None,
        references.get(line[VERIFIED]) if VERIFIED in line else None,
    )


def columns_of(line: Line, references: References) -> list[str]:
    """Those before :data:`LAST`, in the order of :func:`line_of`, whatever file the line was read from."""
    layout = references.get(line[LAYOUT])
    fields = layout["nested"][1] if layout["nested"] else []
    return [KEY, *fields, *layout["spec"], *layout["row"]]


def references_in(line: Line) -> set[str]:
    """The references that a line holds."""
    return {text for text in line.values() if text.startswith(REFERENCE)}


def checksum_of(line: Line) -> str:
    """Of all columns but that of the checksum."""
    content = sorted((name, text) for name, text in line.items() if name != CHECKSUM)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:CHECK_DIGITS]


def _nested(spec: Mapping[str, Any]) -> str:
    first = next(iter(spec))
    return first if isinstance(spec[first], dict) else ""
