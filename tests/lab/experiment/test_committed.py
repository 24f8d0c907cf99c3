"""The repository's rows: equal to those saved, tidy, and nothing damaged is taken for sound."""

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment import committed
from rvdlib.lab.experiment.committed import CommittedStore
from rvdlib.lab.experiment.lines import Kept, checksum_of, key_of
from rvdlib.lab.experiment.plain_values import decode, encode
from rvdlib.lab.experiment.store import CellStore

FINGERPRINT = {
    "data": {"ml-100k": "d1"},
    "code": {"rvdlib/models/mf.py": "c1", "rvdlib/metrics.py": "c2"},
    "versions": {"numpy": "2.4.5"},
}
CHOICES = {"k": 30, "proximal_weight": 1.0}


def spec(seed=0, **given):
    scenario = {"dataset": "ml-100k", "victim": "MF", "attack": "none", "seed": seed, **given}
    return {"scenario": scenario, "defense": "RVD", "chain": [CHOICES], "n_users": None}


def row(seed=0):
    known = {"dataset": "ml-100k", "victim": "MF", "attack": "none", "seed": seed}
    return {**known, "defense": "RVD", "n_users": 943, "choices": CHOICES, "hit_ratio": 0.1 + 0.2}


def kept(seed=0, **changes):
    content = Kept(spec(seed), row(seed), {"seconds": 1.5, "peak_mib": 300}, FINGERPRINT)
    return content._replace(**changes)


@pytest.fixture
def store(tmp_path):
    return CommittedStore(tmp_path / "cells")


floats = st.floats() | st.floats(width=32).map(np.float32)
words = st.sampled_from(
    ["", "nan", "inf", "1", "1.0", "true", "null", "@", "@abc", "a,b", '"', "é\n"]
)
scalars = st.none() | st.booleans() | st.integers() | floats | st.text() | words
plain = st.text().filter(lambda key: key not in ("$float", "row.") and "row." not in key)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3)
)
names = st.sampled_from(["dataset", "seed", "seconds", "key", "checksum", "layout", "b", "n_users"])
entries = st.dictionaries(names, values)


@settings(max_examples=150, deadline=None)
@given(entries, entries)
def test_rows_come_back_bit_for_bit(tmp_path_factory, more, measured):
    store = CommittedStore(tmp_path_factory.mktemp("cells"))
    wanted = {**spec(), "more": more}
    own = Kept(encode(wanted), encode(measured), {"seconds": 0.25}, FINGERPRINT)
    store.write([own])
    assert store.kept(wanted) == own
    (found,) = store.lookup(wanted, FINGERPRINT).rows
    assert list(found) == list(measured)
    assert repr(encode(found)) == repr(encode(measured))
    assert repr(decode(encode(found))) == repr(found)


def test_a_lines_columns_read_as_numbers_and_words(store):
    store.write([kept(seed) for seed in (0, 0)])
    (line,) = csv.DictReader(store.path(spec()).read_text().splitlines())
    shown = {name: line[name] for name in ("dataset", "seed", "n_users", "row.n_users", "seconds")}
    assert shown == {
        "dataset": "ml-100k",
        "seed": "0",
        "n_users": "null",
        "row.n_users": "943",
        "seconds": "1.5",
    }
    assert float(line["hit_ratio"]) == 0.1 + 0.2


def test_the_same_rows_give_the_same_bytes_in_whatever_order_they_come_and_whatever_was_there(
    tmp_path,
):
    rows = [kept(), *(Kept(spec(0, attack=name), row(), {}, FINGERPRINT) for name in "ABC")]
    # Each with a column of its own; the first line, which decides where they stand, is dropped.
    rows += [Kept(spec(0, **{name: 1}), row(), {}, FINGERPRINT) for name in "DEFGHIJK"]
    first = min(rows, key=lambda each: key_of(each.spec))
    folders = [tmp_path / name for name in "xy"]
    CommittedStore(folders[0]).write(rows)
    CommittedStore(folders[0]).write(without=[key_of(first.spec)])
    for each in rows[::-1]:
        CommittedStore(folders[1]).write([each] if each is not first else [])
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in folders]
    assert files[0] == files[1]
    assert len(files[0]) == 2


def test_each_victim_has_a_file_of_its_own(store):
    store.write([kept(), kept(spec=spec(0, victim="NSVD"))])
    names = [path.name for path in store.folder.glob("*/*.csv")]
    assert sorted(names) == ["cells-any-MF-0.csv", "cells-any-NSVD-0.csv"]
    assert store.lookup(spec(0, victim="NSVD"), FINGERPRINT).rows == [row()]


def test_other_versions_count_as_the_same_and_other_code_or_data_do_not(store):
    store.write([kept()])
    newer = FINGERPRINT | {"versions": {"numpy": "2.4.6", "numpy kernels": "Zen"}}
    assert store.lookup(spec(), newer).rows == [row()]
    assert store.lookup(spec(1), newer) == (None, "new")
    for section, name in (("code", "rvdlib/metrics.py"), ("data", "ml-100k")):
        changed = FINGERPRINT | {section: FINGERPRINT[section] | {name: "x"}}
        assert store.lookup(spec(), changed) == (None, f"{section} changed: {name}")


def test_rows_share_a_fingerprint_until_their_file_is_written_anew(store):
    store.write([kept(), kept(1)])
    one, other = (store.kept(spec(seed)).fingerprint for seed in range(2))
    assert one is other
    newer = FINGERPRINT | {"data": {"ml-100k": "d2"}}
    store.write([kept(1, computed_with=newer)])
    assert store.kept(spec(1)).fingerprint == newer
    assert store.kept(spec(0)).fingerprint == one == FINGERPRINT


def test_a_row_is_replaced_dropped_and_its_references_with_it(store):
    store.write([kept(), kept(1, cost={})])
    before = store.folder.joinpath("references.json").read_text()
    store.write(
        [kept(row=encode(row() | {"hit_ratio": math.nan}) | {"choices": {"k": 999_999_999}})]
    )
    assert {math.isnan(decode(each.row)["hit_ratio"]) for each in store.all()} == {True, False}
    lines = store.path(spec(1)).read_text().splitlines()
    store.write(without=[lines[1].split(",")[0]])
    assert not store.path(spec(1)).exists()
    assert len([*store.all()]) == 1
    store.write([kept(), kept(1, cost={})])
    assert store.folder.joinpath("references.json").read_text() == before


def test_no_altered_character_goes_unnoticed(store):
    store.write([kept()])
    path = store.path(spec())
    content = path.read_text()
    for place in range(len(content)):
        other = "1" if content[place] != "1" else "2"
        path.write_text(content[:place] + other + content[place + 1 :])
        with pytest.raises(StudyError, match=r"git checkout"):
            [*CommittedStore(store.folder).all()]


@pytest.mark.parametrize("length", [0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_short_is_noticed(store, length):
    store.write([kept(), Kept(spec(0, attack="B"), row(), {}, FINGERPRINT)])
    path = store.path(spec())
    content = path.read_text()
    path.write_text(content[: int(length * len(content))])
    with pytest.raises(StudyError, match=rf"{path.name}.*git checkout"):
        [*store.all()]


def test_an_altered_row_whose_checksum_was_adapted_still_needs_its_references(store):
    store.write([kept()])
    path = store.path(spec())
    header, line = csv.reader(path.read_text().splitlines())
    fields = dict(zip(header, line, strict=True)) | {"choices": "@0000000000"}
    fields["checksum"] = checksum_of({name: text for name, text in fields.items() if text})
    path.write_text(",".join(header) + "\n" + ",".join(fields.values()) + "\n")
    with pytest.raises(StudyError, match=r"references\.json has no @0000000000"):
        store.lookup(spec(), FINGERPRINT)


def test_a_row_under_the_key_of_another_is_noticed(store):
    store.write([kept(), Kept(spec(0, attack="B"), row(), {}, FINGERPRINT)])
    path = store.path(spec())
    header, *lines = csv.reader(path.read_text().splitlines())
    first, second = (dict(zip(header, line, strict=True)) for line in lines)
    first["key"] = second["key"]
    first["checksum"] = checksum_of({name: text for name, text in first.items() if text})
    path.write_text(",".join(header) + "\n" + ",".join(first.values()) + "\n")
    with pytest.raises(StudyError, match=rf"{path.name}: the row of {first['key']} was altered"):
        [*store.all()]


@pytest.mark.parametrize("how", ["all", "kept"])
@pytest.mark.parametrize("before", [True, False])
def test_a_row_that_is_replaced_while_it_is_read_is_the_new_one(store, monkeypatch, before, how):
    store.write([kept()])
    newer = kept(row=row() | {"choices": {"k": 31, "proximal_weight": 2.0}})
    read, waiting = committed.References, [newer]

    def written_meanwhile(path):
        references = None if before else read(path)
        if waiting:
            store.write([waiting.pop()])
        return references or read(path)

    monkeypatch.setattr(committed, "References", written_meanwhile)
    found = [*store.all()] if how == "all" else [store.kept(spec())]
    assert waiting == []
    assert [each.row for each in found] in ([newer.row], [kept().row][: not before])


def test_an_altered_reference_is_named(store):
    store.write([kept()])
    path = store.folder / "references.json"
    path.write_text(path.read_text().replace('"k":30', '"k":31'))
    with pytest.raises(StudyError, match=r"references.json: the value of @\w+ was altered"):
        store.lookup(spec(), FINGERPRINT)
    path.write_text("{")
    with pytest.raises(StudyError, match=r"references.json is damaged"):
        store.lookup(spec(), FINGERPRINT)


def test_a_cell_is_looked_for_in_the_cache_then_among_the_committed(tmp_path, store, monkeypatch):
    store.write([kept()])
    cache = CellStore(tmp_path / "cache", [store])
    assert cache.lookup(spec(), FINGERPRINT).rows == [row()]
    cache.save(spec(), FINGERPRINT, [{"of": "the cache"}])
    assert cache.lookup(spec(), FINGERPRINT).rows == [{"of": "the cache"}]
    elsewhere = FINGERPRINT | {"versions": {"numpy": "9"}}  # or another processor
    assert cache.lookup(spec(), elsewhere).rows == [{"of": "the cache"}]
    monkeypatch.setenv("RVD_RECOMPUTE", "1")
    alone = CellStore(tmp_path / "cache", [store])
    assert alone.lookup(spec(), elsewhere) == (None, "numpy 2.4.5 -> 9")


def test_why_a_committed_row_does_not_count_is_told(tmp_path, store):
    store.write([kept()])
    changed = FINGERPRINT | {"code": {"rvdlib/metrics.py": "c2"}}
    cache = CellStore(tmp_path / "cache", [store])
    assert cache.lookup(spec(), changed) == (None, "code changed: rvdlib/models/mf.py")


def test_references_are_one_value_a_line_and_strict_json(store):
    store.write([kept()])
    text = store.folder.joinpath("references.json").read_text()
    assert len(text.splitlines()) == len(json.loads(text)) + 2
