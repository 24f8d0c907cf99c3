"""Long values that many rows share, kept once beside them: ``@`` and ten digits of their SHA-256.

One JSON file, one value a line: hyper-parameters, choices and options of attacks; layouts of rows;
fingerprints, their digests of source files factored out; what was verified.
"""

import functools
import hashlib
import json
from collections import ChainMap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.fingerprint import Fingerprint
from rvdlib.lab.experiment.plain_values import REFERENCE, from_text, to_text

DIGITS = 10
LONG = 12  # characters of a mapping that is worth a reference


class References:
    """Reference → value, as read from a file; what is added is there when it is written."""

    def __init__(self, path: Path):
        self.path = path
        read = _latest(path)
        self._values = ChainMap({}, read.values)
        self._restored = read.fingerprints
        self._known: dict[tuple, str] = {}  # a fingerprint's parts → its reference

    def add(self, value: Any) -> str:
        """The reference of an encoded value."""
        reference = REFERENCE + _digits(value)
        if self._values.setdefault(reference, value) != value:
            raise StudyError(f"{self.path}: two values have the reference {reference}")
        return reference

    def get(self, reference: str) -> Any:
        """
        Raises:
            StudyError: if it is not in the file.
        """
        try:
            return self._values[reference]
        except KeyError:
            raise StudyError(f"{self.path} has no {reference}: {RESTORE}") from None

    def shorten(self, encoded: Any) -> str:
        """The text of a value in a row: a reference, if it is a long mapping or holds one."""
        text = to_text(encoded)
        long = len(text) > LONG and "{" in text and not isinstance(encoded, str)
        return self.add(encoded) if long else text

    def expand(self, text: str) -> Any:
        """The encoded value that :meth:`shorten` wrote."""
        return self.get(text) if text.startswith(REFERENCE) else from_text(text)

    def add_fingerprint(self, fingerprint: Fingerprint) -> str:
        """Its folders are named by references to their sources, these to pairs of file and digest."""
        parts = tuple((name, *sorted(part.items())) for name, part in fingerprint.items())
        if parts not in self._known:
            folders: dict[str, list[str]] = {}
            for source, digest in sorted(fingerprint["code"].items()):
                folders.setdefault(str(Path(source).parent), []).append(self.add([source, digest]))
            sources = [self.add(" ".join(each)) for each in folders.values()]
            rest = {name: self.add(part) for name, part in fingerprint.items() if name != "code"}
            self._known[parts] = self.add({"code": " ".join(sources), **rest})
        return self._known[parts]

    def fingerprint(self, reference: str) -> Fingerprint:
        """The fingerprint that :meth:`add_fingerprint` was given; many rows share it: do not change it."""
        if reference not in self._restored:
            value = self.get(reference)
            code = dict(sorted(self._sources(value["code"])))
            rest = {name: self.get(part) for name, part in value.items() if name != "code"}
            self._restored[reference] = {"code": code, **rest}
        return self._restored[reference]

    def _sources(self, references: str) -> Iterator[list[str]]:
        for found in map(self.get, references.split()):
            if isinstance(found, str):
                yield from self._sources(found)
            else:
                yield found

    def write(self, used: set[str] | None = None) -> None:
        """Keep what is in ``used`` and what that names, or everything."""
        kept = self._values if used is None else self._reached(used)
        lines = [f'"{name}": {_line(kept[name])}' for name in sorted(kept)]
        content = "{\n" + ",\n".join(lines) + "\n}\n"
        if not self.path.is_file() or self.path.read_text() != content:
            paths.write_atomically(self.path, content)

    def _reached(self, used: set[str]) -> dict[str, Any]:
        found, queue = {}, [*used]
        while queue:
            name = queue.pop()
            if name not in found:
                found[name] = self.get(name)
                queue += [each for each in _texts(found[name]) if each in self._values]
        return found


RESTORE = "take the folder from git again (git checkout), or remove this folder, and its rows are computed anew"


def _digits(value: Any) -> str:
    return hashlib.sha256(_line(value).encode()).hexdigest()[:DIGITS]


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _texts(value: Any):
    if isinstance(value, str):
        yield from value.split()
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


class _Read(NamedTuple):
    values: dict[str, Any]
    fingerprints: dict[str, Fingerprint]  # that were restored from them


def _latest(path: Path) -> _Read:
    try:
        status = path.stat()
        return _read(path, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        return _Read({}, {})


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> _Read:
    try:
        values = json.loads(path.read_bytes())
        wrong = [name for name, value in values.items() if name != REFERENCE + _digits(value)]
    except (ValueError, AttributeError, RecursionError) as error:
        raise StudyError(f"{path} is damaged ({error}): {RESTORE}") from None
    if wrong:
        raise StudyError(f"{path}: the value of {wrong[0]} was altered: {RESTORE}")
    return _Read(values, {})
