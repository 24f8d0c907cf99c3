"""Frozen profiles come back as they were, and nothing else does."""

import json
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import FrozenPoison, craft, poison
from rvdlib.attacks.frozen import texts
from rvdlib.data import Ratings, Split, leave_one_out
from rvdlib.sealing import seal
from rvdlib.seeding import stream
from rvdlib.threat_model import Catalogue, ThreatModel, build_threat_model

LEVELS = np.arange(1, 6, dtype=np.float32)
PROFILES = np.array([[0, 5, 3, 0, 1, 0], [2, 5, 0, 0, 0, 4], [0, 5, 1, 1, 0, 0]], dtype=np.float32)
ITEM_IDS = texts(["50", "7", "é", "B00X", "a b", "1682"])
ORIGIN = {"attack": "random", "options": {"b": 1, "a": [0.1]}, "seed": 3, "objectives": [2.0, 1.5]}


def poison_of(profiles=PROFILES, item_ids=ITEM_IDS, targets=(1,), levels=LEVELS, origin=ORIGIN):
    profiles = sp.csr_matrix(np.asarray(profiles, dtype=np.float32))
    return FrozenPoison(profiles, item_ids, np.array(targets), levels, origin)


def threat_of(catalogue, targets=(1,)):
    visible = sp.csr_matrix(np.ones((2, 6), dtype=np.float32))
    return ThreatModel(visible, np.array(targets), 3, 2, LEVELS, catalogue)


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
    threat = threat_of(Catalogue("any", "", ITEM_IDS))
    read = craft("from_file", threat, np.random.default_rng(0), path=path)
    assert np.array_equal(read.toarray(), PROFILES)


def test_the_same_poison_gives_the_same_bytes_whatever_the_order_of_its_origin(path, tmp_path):
    poison_of(origin=dict(reversed(ORIGIN.items()))).save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    poison_of(item_ids=ITEM_IDS.astype(">U40").astype(object)).save(tmp_path / "again.npz")
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
    "item_ids": np.array(ITEM_IDS[::-1].tolist()),
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
    threat = threat_of(Catalogue("any", "", ITEM_IDS))
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
        ({"item_ids": np.arange(6)}, "item_ids must be 6 different texts, got 0 among 6"),
        ({"item_ids": np.array([*"abcde", 6], dtype=object)}, "6 different texts, got 5 among 6"),
        ({"item_ids": ITEM_IDS[None]}, "item_ids must be 6 different texts"),
        ({"targets": [0]}, "does not have all targets"),
        ({"targets": [6]}, "targets must be item indices from 0 to 5, got 6"),
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


@pytest.mark.parametrize("long_id", ["x" * 2_000_000, "\U0001f600" * 50_000, "a\0", "\ud800", ""])
def test_one_strange_id_among_many_is_kept_and_takes_no_more_than_its_own_room(tmp_path, long_id):
    ids = texts([long_id, *range(3000)])
    profiles = np.zeros((2, 3001))
    profiles[:, 1] = 5
    poison_of(profiles, item_ids=ids).save(tmp_path / "fakes.npz")
    assert FrozenPoison.load(tmp_path / "fakes.npz").item_ids.tolist() == ids.tolist()
    assert (tmp_path / "fakes.npz").stat().st_size < 200_000


def test_item_ids_as_an_array_of_texts_are_read_too(path):
    with np.load(path) as arrays:
        older = {**arrays, "item_ids": np.array(ITEM_IDS.tolist())}
    np.savez(path, **older | {"sha256": np.array(seal(older))})
    assert FrozenPoison.load(path).item_ids.tolist() == ITEM_IDS.tolist()


@pytest.mark.parametrize("ids", ["{}", '"50"', "3", "[1, 2", '["50", "50", "a", "b", "c", "d"]'])
def test_item_ids_that_are_no_list_of_names_are_refused(path, ids):
    with np.load(path) as arrays:
        changed = {**arrays, "item_ids": np.array(ids)}
    np.savez(path, **changed | {"sha256": np.array(seal(changed))})
    with pytest.raises(ValueError, match=r"fakes\.npz: "):
        FrozenPoison.load(path)


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("rvdlib.attacks.frozen.MAX_BYTES", 10_100)
    with pytest.raises(ValueError, match=r"fakes\.npz would unpack to [0-9,]+ bytes, more than"):
        poison_of().save(tmp_path / "fakes.npz")
    assert list(tmp_path.iterdir()) == []


OWN = {"dataset": "own.csv", "dataset_sha256": "a" * 64}
REORDERED = ITEM_IDS[[3, 1, 0, 5, 4, 2]]
SAME = {
    "the same": ("own.csv", "a" * 64, ITEM_IDS),
    "renamed": ("copy.csv", "a" * 64, ITEM_IDS),
    "reordered": ("own.csv", "a" * 64, REORDERED),
    "reordered, more items": ("own.csv", "a" * 64, texts(["new", *REORDERED, "newer"])),
    "unknown hash": ("own.csv", "", ITEM_IDS),
    "unknown hash, reordered": ("own.csv", "", REORDERED),
}
OTHER = {
    "another hash": ("own.csv", "b" * 64, ITEM_IDS),
    "another name": ("other.csv", "b" * 64, ITEM_IDS),
    "another name, unknown hash": ("other.csv", "", ITEM_IDS),
    "another hash, reordered": ("own.csv", "b" * 64, REORDERED),
}


def stars_by_item(profiles, ids):
    """One dict a profile: what it rates, by name."""
    return [
        dict(zip(ids[row.indices].tolist(), row.data.tolist(), strict=True)) for row in profiles
    ]


@pytest.mark.parametrize("case", SAME)
def test_profiles_are_about_the_same_items_whatever_the_columns(case):
    data = Catalogue(*SAME[case])
    moved = poison_of(origin=ORIGIN | OWN).profiles_for(data)
    assert moved.shape == (3, len(data.item_ids))
    assert moved.has_canonical_format
    assert moved.dtype == np.float32
    expected = stars_by_item(sp.csr_matrix(PROFILES), ITEM_IDS)
    assert stars_by_item(moved, data.item_ids) == expected


@pytest.mark.parametrize("case", OTHER)
def test_another_data_set_is_refused_naming_both_and_taken_by_id_if_asked_for(case):
    data, frozen = Catalogue(*OTHER[case]), poison_of(origin=ORIGIN | OWN)
    named = rf"frozen for 'own.csv' \(SHA-256 aaaaaaaaaaaa\), not for '{data.name}' .*by_id=True"
    with pytest.raises(ValueError, match=named):
        frozen.profiles_for(data)
    moved = frozen.profiles_for(data, by_id=True)
    expected = stars_by_item(sp.csr_matrix(PROFILES), ITEM_IDS)
    assert stars_by_item(moved, data.item_ids) == expected


@pytest.mark.parametrize("by_id", [False, True])
def test_a_data_set_without_an_item_that_is_rated_is_refused(by_id):
    frozen = poison_of(origin=ORIGIN | OWN)
    lacking = Catalogue("own.csv", "a" * 64, texts(["50", "7", "other", "B00X", "a b", "1682"]))
    with pytest.raises(ValueError, match=r"rates the item 'é' of 'own.csv' .*which 'own.csv'"):
        frozen.profiles_for(lacking, by_id=by_id)
    few = poison_of(PROFILES[1:], origin=ORIGIN | OWN)  # nobody rates "a b"
    enough = Catalogue("own.csv", "a" * 64, texts(["50", "7", "é", "B00X", "other", "1682"]))
    assert (few.profiles_for(enough) != few.profiles).nnz == 0


def test_without_an_origin_the_ids_decide():
    frozen = poison_of(origin={})
    assert frozen.profiles_for(Catalogue("any", "c" * 64, ITEM_IDS)) is frozen.profiles
    with pytest.raises(ValueError, match=r"frozen for None \(SHA-256 unknown\), not for 'any'"):
        frozen.profiles_for(Catalogue("any", "c" * 64, REORDERED))


def test_the_attack_from_file_holds_them_to_the_attackers_data_set(tmp_path):
    path = tmp_path / "fakes.npz"
    poison_of(origin=ORIGIN | OWN).save(path)

    def load(catalogue, targets=(1,), **options):
        threat, rng = threat_of(catalogue, targets), np.random.default_rng(0)
        return craft("from_file", threat, rng, path=path, **options)

    assert np.array_equal(load(Catalogue("own.csv", "a" * 64, ITEM_IDS)).toarray(), PROFILES)
    reordered = load(Catalogue("own.csv", "a" * 64, ITEM_IDS[::-1]), targets=(4,))
    assert np.array_equal(reordered.toarray(), PROFILES[:, ::-1])
    other = Catalogue("other.csv", "b" * 64, ITEM_IDS[::-1])
    with pytest.raises(ValueError, match=r"fakes\.npz: was frozen for 'own.csv' .*'other.csv'"):
        load(other, targets=(4,))
    assert np.array_equal(load(other, targets=(4,), by_id=True).toarray(), PROFILES[:, ::-1])
    with pytest.raises(ValueError, match=r"fakes\.npz: .*threat model does not say which"):
        load(None)
    for wrong in ("no", 1, None):
        with pytest.raises(ValueError, match="by_id must be true or false"):
            load(other, by_id=wrong)


def split_of(names, name):
    pairs = [(user, item) for user in range(8) for item in names]
    users, items = zip(*pairs, strict=True)
    stars = 1 + np.arange(len(pairs)) % 5
    ratings = Ratings.from_triples(users, items, stars, name=name, levels=LEVELS, sha256=name * 9)
    return leave_one_out(ratings, stream(0, "split"))


def test_a_split_is_poisoned_by_what_was_frozen_for_it_and_by_nothing_else():
    split: Split = split_of(["a", "b", "c", "d", "e", "f"], "own")
    threat = build_threat_model(split, [2], stream(0), attack_size=0.5, filler_size=2)
    profiles = craft("random", threat, stream(1))
    known = {"dataset": "own", "dataset_sha256": split.ratings.sha256}
    ids = texts(split.ratings.item_ids)
    frozen = FrozenPoison(profiles, ids, threat.targets, threat.levels, known)
    assert (poison(split, frozen) != poison(split, profiles)).nnz == 0
    with pytest.raises(ValueError, match=r"frozen for 'own' .*, not for 'other'"):
        poison(split_of(["a", "b", "c", "d", "e", "f"], "other"), frozen)
    assert threat.catalogue == ("own", split.ratings.sha256, split.ratings.item_ids)
