"""Every folder that the study reads or writes."""

import os
from pathlib import Path

import pooch

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = PROJECT / "notebooks"
PARAMS = PROJECT / "params"
RESULTS = PROJECT / "results"
FIGURES = PROJECT / "figures"
CELL_STORE = PROJECT / ".cache" / "cells"


def data_dir() -> Path | None:
    """The folder that ``RVD_DATA_DIR`` names, where data sets are looked for first."""
    value = os.environ.get("RVD_DATA_DIR")
    return Path(value).expanduser() if value else None


def user_cache() -> Path:
    """Where downloads are kept: ``RVD_CACHE_DIR``, or the platform's cache folder."""
    return Path(os.environ.get("RVD_CACHE_DIR") or pooch.os_cache("rvdlib"))
