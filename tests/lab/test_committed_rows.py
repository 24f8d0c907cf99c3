"""The rows in the repository are sound, and a handful of each data set is what is computed now."""

import pytest

from rvdlib import paths
from rvdlib.data import load_dataset
from rvdlib.data.layout import DataError
from rvdlib.lab.experiment.cells import Cell, batch
from rvdlib.lab.experiment.committed import PROFILES, store_of
from rvdlib.lab.runner.gather import optimises
from rvdlib.lab.runner.verify import verify

HANDFUL = 2
FOLDERS = sorted(
    folder
    for profile in PROFILES
    for folder in (paths.PROJECT / "results" / profile / "cells").glob("*/")
)


@pytest.mark.skipif(not FOLDERS, reason="no rows are committed")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "-".join(folder.parts[-3::2]))
def test_the_cheapest_rows_are_what_is_computed_now(folder):
    store = store_of(folder.parts[-3], paths.PROJECT / "results")
    rows = [kept for kept in store.all() if "chain" in kept.spec]
    own = [kept for kept in rows if kept.spec["scenario"]["dataset"] == folder.name]
    cheap = sorted(own, key=lambda kept: (optimises(kept.spec), kept.cost.get("seconds", 1e9)))
    try:
        load_dataset(folder.name)
    except DataError as error:
        pytest.skip(str(error))
    cells = [
        Cell(**{name: value for name, value in kept.spec.items() if name != "hyperparameters"})
        for kept in cheap[:HANDFUL]
    ]
    asked = batch(cells)
    only = {"datasets": [folder.name], "allow_unasked": True}
    found = verify(store, [asked], HANDFUL, jobs=1, **only)
    assert sum(found.checked.values()) == len(cells) == HANDFUL
