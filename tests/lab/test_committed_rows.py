"""The rows in the repository are sound, and a handful of each data set is what is computed now."""

import math

import pytest

from rvdlib import paths
from rvdlib.data import load_dataset
from rvdlib.data.layout import DataError
from rvdlib.lab.experiment.cells import Cell, batch
from rvdlib.lab.experiment.committed import COMMITTED, store_of
from rvdlib.lab.experiment.lines import flat
from rvdlib.lab.experiment.plain_values import decode
from rvdlib.lab.runner.gather import optimises
from rvdlib.lab.runner.verify import verify

HANDFUL = 2
FOLDERS = sorted(
    folder
    for profile in COMMITTED
    for folder in (paths.PROJECT / "results" / profile / "cells").glob("*/")
)


def cost(kept):
    return optimises(kept.spec), kept.cost.get("seconds", 1e9)


@pytest.mark.skipif(not FOLDERS, reason="no rows are committed")
@pytest.mark.parametrize("profile", COMMITTED)
def test_no_certificate_is_broken_in_any_attacked_row_of_any_notebook(profile):
    """Of every real user: more than 4,000 rows under a quorum in the paper's store."""
    found = [
        decode(kept.row).get("certificate_violations", math.nan)
        for kept in store_of(profile, paths.PROJECT / "results").all()
        if dict(flat(kept.spec)).get("attack", "none") != "none"
    ]
    found = [each for each in found if not math.isnan(each)]
    assert len(found) > {"paper": 4000, "quick": 50}[profile]
    assert not any(found)


@pytest.mark.skipif(not FOLDERS, reason="no rows are committed")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "-".join(folder.parts[-3::2]))
def test_the_cheapest_rows_are_what_is_computed_now(folder, monkeypatch):
    store = store_of(folder.parts[-3], paths.PROJECT / "results")
    monkeypatch.setattr(store, "_files", lambda: sorted(folder.glob("*.csv")))
    kept = [*store.all()]
    monkeypatch.setattr(store, "all", lambda: kept)  # read, and their checksums checked, once
    own = [each for each in kept if {"scenario", "chain"} <= each.spec.keys()]
    assert {each.spec["scenario"]["dataset"] for each in own} == {folder.name}
    first = min(own, key=cost).spec["scenario"]  # one victim is trained
    cheap = sorted(own, key=lambda each: (each.spec["scenario"] != first, cost(each)))
    try:
        load_dataset(folder.name)
    except DataError as error:
        pytest.skip(str(error))
    cells = [
        Cell(**{name: value for name, value in each.spec.items() if name != "hyperparameters"})
        for each in cheap[:HANDFUL]
    ]
    found = verify(store, [batch(cells)], HANDFUL, seed=0, jobs=1, allow_unasked=True)
    assert sum(found.checked.values()) == len(cells) == HANDFUL
