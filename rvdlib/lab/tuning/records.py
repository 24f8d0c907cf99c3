"""How the searches keep what they tried and what they chose."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml

from rvdlib import paths


def rounded(value: float) -> float:
    """To the digits that a log keeps: these decide, so that a log implies what was chosen."""
    return float(f"{value:.5g}")


def one_line(options: Mapping) -> str:
    """Options as YAML on one line, for a cell of a csv."""
    return yaml.safe_dump(options, default_flow_style=True, width=1e9).strip()


def write_trials(path: Path, trials: pd.DataFrame) -> None:
    paths.write_atomically(path, trials.to_csv(index=False, float_format="%.5g"))


def write_chosen(path: Path, chosen: Mapping, made: str) -> None:
    """YAML under a comment that says how it was made."""
    text = yaml.safe_dump(chosen, sort_keys=False)
    paths.write_atomically(path, f"# Written by {made}.\n{text}")
