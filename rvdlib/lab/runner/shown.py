"""How results are shown: what a notebook answers, a number with its reach, the headline's columns."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.profiles import COMMITTED
from rvdlib.lab.runner.ledger import read_table

ANSWER = "**Answer.**"  # what a notebook's answer begins with
COLUMNS = {
    "target_hit_ratio_clean": "THR@50, not attacked",
    "target_hit_ratio": "THR@50, attacked",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "rmse": "RMSE",
    "catalogue_share": "catalogue served",
}
SETTING = ["regime", "target_set"]
FULL = 49.5  # items: a list is shorter where some of its users' 50 places are empty


def headline_table(headline: pd.DataFrame) -> pd.DataFrame:
    """The headline as a reader sees it: a row a system, means of three decimals."""
    wide = headline.pivot(index=[*SETTING, "defense"], columns="metric", values="mean")
    order = headline[[*SETTING, "defense"]].drop_duplicates().itertuples(index=False, name=None)
    wide = wide.loc[list(order), list(COLUMNS)].rename(columns=COLUMNS)
    wide = wide.map(lambda value: "–" if pd.isna(value) else f"{value:.3f}").reset_index()
    wide = wide.rename(columns={"target_set": "targets", "defense": "defence"}).rename_axis(
        columns=None
    )
    return wide.replace({"defence": {"none": "no defence"}})


def with_reach(value: float, low: float, high: float, decimals: int = 3) -> str:
    """``0.123 ± 0.012``; the value alone where it has no interval."""
    about = "" if pd.isna(low) else f" ± {(high - low) / 2:.{decimals}f}"
    return f"{value:.{decimals}f}{about}"


def length_of(items: float) -> str:
    """`` (30 items)`` of a list that is shorter than it may be, of another nothing."""
    short = f"{items:.0f} item{'' if f'{items:.0f}' == '1' else 's'}"
    return f" ({short})" if items < FULL else ""


def trials(search: str) -> pd.DataFrame:
    """Every trial of a search, as it comes with the project, wherever results are written."""
    return read_table(paths.PROJECT / "results" / "search" / f"{search}.csv")


def table(name: str) -> pd.DataFrame:
    """A table of the paper profile if it has it, else of the quick one.

    Raises:
        StudyError: if neither has.
    """
    files = [paths.RESULTS / profile / f"{name}.csv" for profile in COMMITTED]
    for file in files:
        if file.is_file():
            return read_table(file)
    raise StudyError(f"there is neither {files[0]} nor {files[1]}: run rvd study first")


def executed(profiles: Sequence[str], number: str = "[0-9]") -> dict[str, Path]:
    """Notebook → its executed copy, of the first profile that has one."""
    found: dict[str, Path] = {}
    for profile in profiles:
        for path in sorted((paths.RESULTS / profile).glob(f"{number}*.ipynb")):
            if not path.stem.endswith(".failed"):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def answer(number: str, profiles: Sequence[str] = COMMITTED) -> str:
    """What the executed notebook of this number opens with; – where none was executed."""
    for path in executed(profiles, f"{number}_").values():
        cells = json.loads(path.read_text())["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        for text in ("".join(o.get("data", {}).get("text/markdown", "")) for o in outputs):
            if text.startswith(ANSWER):
                return text.removeprefix(ANSWER).strip()
    return "–"
