"""Frozen profiles come back as they were, and nothing else does."""

import json
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import craft
from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.threat_model import ThreatModel

LEVELS = np.arange(1, 6, dtype=np.float32)
PROFILES = np.array([[0, 5, 3, 0, 1, 0], [2, 5, 0, 0, 0, 4], [0, 5, 1, 1, 0, 0]], dtype=np.float32)
ITEM_IDS = np.array(["50", "7", "é", "B00X", "a b", "1682"])
ORIGIN = {"attack": "random", "options": {"b": 1, "a": [0.1]}, "seed": 3, "objectives": [2.0, 1.5]}


def poison_of(profiles=PROFILES, item_ids=ITEM_IDS, targets=(1,), levels=LEVELS, origin=ORIGIN):
    profiles = sp.csr_matrix(np.asarray(profiles, dtype=np.float32))
    return FrozenPoison(profiles, item_ids, np.array(targets), levels, origin)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "fakes.npz"
    poison_of().save(path)
    return path


def test_what_is_saved_comes_back(path):
    loaded = FrozenPoison.load(path)
    assert np.array_equal(loaded.profiles.toarray(), PROFILES)
    assert loaded.profiles.dtype == np.float32
    assert loaded.item_ids.tolist() == ITEM_IDS.tolist()
    assert loaded.targets.tolist() == [1]
    assert loaded.levels.tolist() == LEVELS.tolist()
    assert loaded.origin == ORIGIN


@pytest.mark.parametrize("profiles", [np.zeros((0, 6)), np.array([[0, 5, 0, 0, 0, 0]])])
def test_no_fakes_and_no_fillers_are_kept_too(tmp_path, profiles):
    poison_of(profiles).save(tmp_path / "fakes.npz")
    assert np.array_equal(FrozenPoison.load(tmp_path / "fakes.npz").profiles.toarray(), profiles)


def test_scipy_and_the_attack_from_file_read_it_too(path):
    assert np.array_equal(sp.load_npz(path).toarray(), PROFILES)
    visible = sp.csr_matrix(np.ones((2, 6), dtype=np.float32))
    threat = ThreatModel(visible, np.array([1]), 3, 2, LEVELS)
    read = craft("from_file", threat, np.random.default_rng(0), path=path)
    assert np.array_equal(read.toarray(), PROFILES)


def test_the_same_poison_gives_the_same_bytes_whatever_the_order_of_its_origin(path, tmp_path):
    poison_of(origin=dict(reversed(ORIGIN.items()))).save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    poison_of(item_ids=ITEM_IDS.astype(">U40")).save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_nothing_in_it_is_pickled(path):
    with np.load(path, allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays} <= set("iufUS")


def rewritten(path, **changes):
    """The file with some arrays replaced, or left out where None, under the old hash."""
    with np.load(path) as arrays:
        kept = {**arrays, **changes}
    np.savez(path, **{name: value for name, value in kept.items() if value is not None})
    return path


CHANGES = {
    "data": np.array([5, 3, 2, 2, 5, 4, 5, 1, 1], dtype="<f4"),
    "indices": np.array([1, 2, 5, 0, 1, 5, 1, 2, 3], dtype="<i4"),
    "indptr": np.array([0, 3, 6, 6], dtype="<i4"),
    "shape": np.array([3, 7]),
    "item_ids": ITEM_IDS[::-1],
    "targets": np.array([2]),
    "levels": np.arange(1, 7, dtype="<f4"),
    "origin": np.array(json.dumps(ORIGIN | {"seed": 4})),
    "sha256": np.array("0" * 64),
    "another": np.zeros(1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_array_is_refused_by_both_readers(path, name):
    rewritten(path, **{name: CHANGES[name]})
    with pytest.raises(ValueError, match=r"fakes\.npz: was changed .* SHA-256 does not fit"):
        FrozenPoison.load(path)
    visible = sp.csr_matrix(np.ones((2, 6), dtype=np.float32))
    threat = ThreatModel(visible, np.array([1]), 3, 2, LEVELS)
    with pytest.raises(ValueError, match="SHA-256 does not fit"):
        craft("from_file", threat, np.random.default_rng(0), path=path)


def test_the_same_numbers_in_another_shape_or_type_are_a_change(path):
    rewritten(path, levels=LEVELS.astype("<f8"))
    with pytest.raises(ValueError, match="SHA-256"):
        FrozenPoison.load(path)


@pytest.mark.parametrize("name", ["sha256", "targets", "item_ids"])
def test_somebody_elses_profiles_are_not_frozen_poison(path, name):
    rewritten(path, **{name: None} | ({} if name == "sha256" else {"sha256": None}))
    with pytest.raises(ValueError, match=rf"no frozen profiles, it has no sha256|no {name}"):
        FrozenPoison.load(path)


def test_a_damaged_or_missing_file_is_refused_by_name(path, tmp_path):
    content = path.read_bytes()
    for cut in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"fakes\.npz: "):
            FrozenPoison.load(path)
    with pytest.raises(ValueError, match=r"absent\.npz: .*No such file"):
        FrozenPoison.load(tmp_path / "absent.npz")


def test_an_unreadable_origin_is_refused(path):
    from rvdlib.attacks.from_file import seal

    with np.load(path) as arrays:
        changed = {**arrays, "origin": np.array("{")}
    np.savez(path, **changed | {"sha256": np.array(seal(changed))})
    with pytest.raises(ValueError, match=r"fakes\.npz: "):
        FrozenPoison.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profiles": [[0, 5, 3, 0, 1, 0], [2, 5, 0, 0, 0, 0]]}, "profile 1 has 1 filler ratings"),
        ({"item_ids": ITEM_IDS[:5]}, "item_ids must be 6 different texts"),
        ({"item_ids": ITEM_IDS[[0, 1, 2, 3, 4, 0]]}, "item_ids must be 6 different texts"),
        ({"item_ids": np.arange(6)}, "item_ids must be 6 different texts, got int64"),
        ({"item_ids": ITEM_IDS.astype(object)}, "item_ids must be 6 different texts, got object"),
        ({"item_ids": ITEM_IDS[None]}, "item_ids must be 6 different texts"),
        ({"targets": [0]}, "does not have all targets"),
        ({"targets": [6]}, "targets must be item indices below 6"),
        ({"levels": LEVELS[:4]}, "is outside 1 to 4"),
        ({"origin": {"rng": object()}}, "origin must be what JSON can hold"),
        ({"origin": {"objectives": [float("nan")]}}, "origin must be what JSON can hold"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        poison_of(**changes)


def test_only_an_npz_is_written_and_whole_or_not_at_all(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"fakes\.npy: frozen profiles need a name .*\.npz"):
        poison_of().save(tmp_path / "fakes.npy")
    path = tmp_path / "folder" / "fakes.npz"
    poison_of().save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        poison_of(origin={}).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["fakes.npz"]


def test_the_file_is_a_plain_archive_of_arrays(path):
    with zipfile.ZipFile(path) as archive:
        assert {name.removesuffix(".npy") for name in archive.namelist()} == {
            *("data", "indices", "indptr", "shape", "format"),
            *("item_ids", "targets", "levels", "origin", "sha256"),
        }
