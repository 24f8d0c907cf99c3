import json
import math
import multiprocessing
import shutil
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.lab.experiment.store import CellStore

SPEC = {"dataset": "ml-100k", "victim": "MF", "k": 30, "seed": 0}
FINGERPRINT = {
    "data": {"ml-100k": "d1"},
    "code": {"rvdlib/models/mf.py": "c1", "rvdlib/metrics.py": "c2"},
    "versions": {"numpy": "2.4.5", "torch": "2.13.0"},
}
ROWS = [{"victim": "MF", "hit_ratio": 0.1 + 0.2, "attack": None, "n": 3}, {"victim": "é"}]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
rows = st.lists(st.dictionaries(st.text().filter(lambda key: key != "$float"), scalars))


def same(left, right):
    """Equal in value and type, with NaN equal to itself."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    return type(left) is type(right) and left == right


@settings(max_examples=50, deadline=None)
@given(rows)
def test_rows_come_back_as_they_were_in_value_type_and_column_order(tmp_path_factory, rows):
    store = CellStore(tmp_path_factory.mktemp("cells"))
    store.save(SPEC, FINGERPRINT, rows)
    found = store.lookup(SPEC, FINGERPRINT)
    assert found.reason == ""
    assert [list(row) for row in found.rows] == [list(row) for row in rows]
    for got, row in zip(found.rows, rows, strict=True):
        assert all(same(got[key], row[key]) for key in row)


def test_a_record_is_strict_json_also_with_nan_and_numpy_scalars(tmp_path):
    store = CellStore(tmp_path)
    row = {"rmse": np.float32("nan"), "lift": -np.inf, "n": np.int64(3), "ok": np.bool_(True)}
    store.save(SPEC, FINGERPRINT, [row])

    def refuse(constant):
        raise AssertionError(constant)

    json.loads(store.path(SPEC).read_text(), parse_constant=refuse)
    (got,) = store.lookup(SPEC, FINGERPRINT).rows
    assert math.isnan(got["rmse"])
    assert (got["lift"], got["n"], got["ok"]) == (-math.inf, 3, True)


@pytest.mark.parametrize("value", [np.zeros(2), object(), {1: 2}, {"$float": "nan"}, 1j])
def test_what_json_has_no_word_for_is_refused_and_nothing_is_written(tmp_path, value):
    store = CellStore(tmp_path)
    with pytest.raises(TypeError):
        store.save(SPEC, FINGERPRINT, [{"value": value}])
    assert list(tmp_path.iterdir()) == []


def test_the_slot_depends_on_every_part_of_the_specification_and_not_on_its_order(tmp_path):
    store = CellStore(tmp_path)
    assert store.path(SPEC) == store.path(dict(reversed(SPEC.items())))
    others = [SPEC | {key: "other"} for key in SPEC] + [SPEC | {"more": None}]
    assert len({store.path(spec) for spec in [SPEC, *others]}) == len(others) + 1


@pytest.mark.parametrize(
    ("section", "change", "reason"),
    [
        ("code", {"rvdlib/models/mf.py": "x"}, "code changed: rvdlib/models/mf.py"),
        ("code", {"rvdlib/new.py": "x"}, "code changed: rvdlib/new.py"),
        ("data", {"ml-100k": "x"}, "data changed: ml-100k"),
        ("versions", {"numpy": "2.4.6"}, "numpy 2.4.5 -> 2.4.6"),
        ("versions", {"numba": "0.68"}, "numba absent -> 0.68"),
    ],
)
def test_a_cell_is_computed_again_for_a_reason(tmp_path, monkeypatch, section, change, reason):
    if section == "versions":  # these count where everything is to be computed here
        monkeypatch.setenv("RVD_RECOMPUTE", "1")
    store = CellStore(tmp_path)
    assert store.lookup(SPEC, FINGERPRINT) == (None, "new")
    store.save(SPEC, FINGERPRINT, ROWS)
    changed = FINGERPRINT | {section: FINGERPRINT[section] | change}
    assert store.lookup(SPEC, changed) == (None, reason)
    assert store.lookup(SPEC, FINGERPRINT) == (ROWS, "")
    store.save(SPEC, changed, ROWS[:1])
    assert store.lookup(SPEC, changed) == (ROWS[:1], "")


def test_a_record_cut_short_anywhere_is_noticed(tmp_path):
    store = CellStore(tmp_path)
    store.save(SPEC, FINGERPRINT, ROWS)
    path = store.path(SPEC)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.warns(UserWarning, match=rf"{path.name}.*damaged"):
            assert store.lookup(SPEC, FINGERPRINT) == (None, "record corrupt")


def test_no_flipped_bit_gives_other_rows(tmp_path):
    store = CellStore(tmp_path)
    store.save(SPEC, FINGERPRINT, ROWS)
    path = store.path(SPEC)
    content = path.read_bytes()
    noticed = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            found = store.lookup(SPEC, FINGERPRINT)
        assert found in [(ROWS, ""), (None, "record corrupt")]
        noticed += found.rows is None
    assert noticed > 0.95 * len(content)  # a blank may become another blank


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_record_that_is_something_else_is_computed_again(tmp_path, content):
    store = CellStore(tmp_path)
    store.path(SPEC).write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        assert store.lookup(SPEC, FINGERPRINT) == (None, "record corrupt")
    store.save(SPEC, FINGERPRINT, ROWS)
    assert store.lookup(SPEC, FINGERPRINT).rows == ROWS


def test_another_cells_record_under_this_ones_name_is_refused(tmp_path):
    store, other = CellStore(tmp_path), SPEC | {"seed": 1}
    store.save(other, FINGERPRINT, ROWS)
    shutil.copy(store.path(other), store.path(SPEC))
    with pytest.warns(UserWarning, match="damaged"):
        assert store.lookup(SPEC, FINGERPRINT).rows is None


def write_often(folder: Path, writer: int) -> int:
    """Save one slot again and again; return how many looks at it found whole rows."""
    store, whole = CellStore(folder), 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(40):
            store.save(SPEC, FINGERPRINT, [{"writer": writer, "n": n} for n in range(200)])
            found = store.lookup(SPEC, FINGERPRINT).rows
            whole += len(found) == 200 and len({row["writer"] for row in found}) == 1
    return whole


def test_processes_that_write_the_same_cell_at_once_never_mix_or_break_it(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        assert list(pool.map(write_often, [tmp_path] * 2, range(2))) == [40, 40]
    assert list(tmp_path.iterdir()) == [CellStore(tmp_path).path(SPEC)]
