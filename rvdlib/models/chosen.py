"""What was chosen for the victims: ``params/victims.yml``."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rvdlib import paths
from rvdlib.arguments import check_one_of, did_you_mean
from rvdlib.data.catalogue import CATALOGUE
from rvdlib.models import VICTIMS
from rvdlib.strict_yaml import InvalidYaml, read_yaml

VICTIMS_FILE = paths.PARAMS / "victims.yml"


@functools.cache
def chosen_hyperparameters(file: Path = VICTIMS_FILE) -> dict[str, dict[str, dict[str, dict]]]:
    """Data set → regime → victim → hyper-parameters; a data set is of the catalogue, or a file's name.

    Raises:
        InvalidYaml: names the file, the key that is misspelt and what may stand there.
    """
    chosen = read_yaml(file)
    for dataset, regimes in _entries(chosen, str(file)):
        if not Path(str(dataset)).suffix:
            _check(f"{file}: a data set", dataset, CATALOGUE)
        for regime, victims in _entries(regimes, f"{file}: {dataset}"):
            _check(f"{file}: {dataset}: a regime", regime, ("rating", "ranking"))
            for name, given in _entries(victims, place := f"{file}: {dataset}, {regime}"):
                _check(f"{place}: a victim", name, VICTIMS)
                _check_choices(name, given, f"{place}, {name}")
    return chosen


def _check_choices(victim: str, given: Any, place: str) -> None:
    try:
        VICTIMS[victim](**dict(_entries(given, place)))
    except ValidationError as error:
        first, known = error.errors()[0], VICTIMS[victim].Config.model_fields
        key, said = str(first["loc"][0]), f"{first['msg']}, got {first['input']!r}"
        if first["type"] == "extra_forbidden":
            said = f"it has no such key, but {', '.join(known)}{did_you_mean(key, known)}"
        raise InvalidYaml(f"{place}, {key}: {said}") from None


def _entries(given: Any, place: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise InvalidYaml(f"{place} must map names to what they stand for, got {given!r}")
    return given.items()


def _check(what: str, given: str, known: Iterable[str]) -> None:
    try:
        check_one_of(what, given, known)
    except ValueError as error:
        raise InvalidYaml(str(error)) from None
