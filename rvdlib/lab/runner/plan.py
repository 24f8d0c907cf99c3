"""A profile, ``params/<profile>.yml``: which notebooks the study runs, and how large."""

from collections.abc import Iterable
from typing import Any

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.profiles import PROFILES
from rvdlib.lab.runner.notebook_runner import read_notebook
from rvdlib.lab.runner.parameters import check_parameters, declared_parameters
from rvdlib.strict_yaml import read_yaml

Plan = dict[str, dict[str, Any]]


def load_profile(profile: str) -> Plan:
    """Notebook → parameters, in the order of the notebooks' numbers, all of them checked.

    A notebook that declares ``profile`` is given the profile's name.

    Raises:
        StudyError: names the file and the notebook or parameter, and lists what there is.
    """
    if profile not in PROFILES:
        raise StudyError(f"there is no profile {profile!r}: choose one of {', '.join(PROFILES)}")
    if not paths.NOTEBOOKS.is_dir():
        raise StudyError(paths.NEEDS_CLONE)
    path = paths.PARAMS / f"{profile}.yml"
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        raise StudyError(f"{path} is missing: the study runs in a clone of the project") from None
    except ValueError as error:
        raise StudyError(str(error)) from None
    if not isinstance(content, dict) or not content:
        raise StudyError(f"{path} must map notebooks to their parameters")
    known = sorted(notebook.stem for notebook in paths.NOTEBOOKS.glob("*.ipynb"))
    plan = {}
    for name, given in sorted(content.items(), key=str):
        if name not in known:
            raise StudyError(f"{path}: no notebook {name!r}; there is {', '.join(known) or 'none'}")
        if not isinstance(given, dict | None):
            raise StudyError(f"{path}: {name} must map parameters to values, got {given!r}")
        source = paths.NOTEBOOKS / f"{name}.ipynb"
        declared = declared_parameters(read_notebook(source), source.name)
        check_parameters(declared, given or {}, f"{path}: {source.name}")
        own = {"profile": profile} if "profile" in declared else {}
        if (given or {}).get("profile", profile) != profile:
            raise StudyError(f"{path}: {name}: its profile is {profile}, got {given['profile']!r}")
        plan[name] = (given or {}) | own
    return plan


def choose(names: list[str], only: Iterable[str]) -> list[str]:
    """Those of ``names`` that ``only`` names, by name or by number; all if it names none.

    Raises:
        StudyError: for one that is not there.
    """
    wanted = set()
    for choice in only:
        number = choice.lstrip("0") if choice.isdigit() else choice
        found = {n for n in names if choice == n or number == n.split("_")[0].lstrip("0")}
        if not found:
            raise StudyError(f"no notebook {choice!r} in this profile; it has {', '.join(names)}")
        wanted |= found
    return [name for name in names if name in wanted or not wanted]
