import contextlib
import csv
import pickle
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.attacks import craft
from rvdlib.threat_model import ThreatModel

LEVELS = np.arange(1, 6, dtype=np.float32)
GOOD = np.array([[0, 5, 3, 0, 1, 0], [2, 5, 0, 0, 0, 4], [0, 5, 1, 1, 0, 0]], dtype=np.float32)


def threat_of(n_fakes=3, levels=LEVELS):
    visible = sp.csr_matrix(np.ones((2, 6), dtype=np.float32))
    return ThreatModel(visible, np.array([1]), n_fakes, 2, levels)


def load(path, threat=None, **options):
    return craft("from_file", threat or threat_of(), np.random.default_rng(0), path=path, **options)


def write_csv(path, matrix=GOOD):
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["user", "item", "rating"])
        for user, item in zip(*np.nonzero(matrix), strict=True):
            writer.writerow([f"fake-{user}", item, matrix[user, item]])


WRITERS = {
    "dense.npy": lambda path: np.save(path, GOOD.astype(np.int64)),
    "dense.npz": lambda path: np.savez_compressed(path, profiles=GOOD.astype(np.float64)),
    "sparse.npz": lambda path: sp.save_npz(path, sp.csr_matrix(GOOD)),
    "sparse_array.npz": lambda path: sp.save_npz(path, sp.csr_array(GOOD)),
    "triples.csv": write_csv,
    "TRIPLES.CSV": write_csv,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_profiles(tmp_path, name):
    WRITERS[name](tmp_path / name)
    profiles = load(tmp_path / name)
    assert np.array_equal(profiles.toarray(), GOOD)
    assert profiles.dtype == np.float32
    assert profiles.has_sorted_indices


def test_csv_may_have_a_byte_order_mark_windows_lines_blank_lines_and_other_column_order(tmp_path):
    path = tmp_path / "fakes.csv"
    rows = ["rating,user,item"] + [
        f"{GOOD[u, i]},{u},{i}" for u, i in zip(*np.nonzero(GOOD), strict=True)
    ]
    path.write_bytes(("\ufeff" + "\r\n\r\n".join(rows) + "\r\n").encode())
    assert np.array_equal(load(path).toarray(), GOOD)


def test_drawing_takes_m_different_profiles_by_the_stream(tmp_path):
    path = tmp_path / "fakes.npy"
    np.save(path, GOOD)
    drawn = [
        craft("from_file", threat_of(2), np.random.default_rng(seed), path=path, draw=True)
        for seed in range(20)
    ]
    assert all(len(np.unique(profiles.toarray(), axis=0)) == 2 for profiles in drawn)
    assert len({profiles.toarray().tobytes() for profiles in drawn}) > 1


def changed(cell, value, dtype=np.float64):
    matrix = GOOD.astype(dtype)
    matrix[cell] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (GOOD[:, :5], "profiles have 5 items, the data 6"),
        (GOOD[0], r"expected a \(profiles, items\) array"),
        (GOOD[:2], "holds 2 profiles, the budget is 3"),
        (np.vstack([GOOD, GOOD]), r"holds 6 profiles, the budget is 3 \(draw=True"),
        (changed((1, 0), np.nan), "profile 1, item 0: rating nan is not finite"),
        (changed((1, 0), -np.inf), "profile 1, item 0: rating -inf is not finite"),
        (changed((1, 0), 6), "profile 1, item 0: rating 6 is outside 1 to 5"),
        (changed((1, 0), 1e300), "rating 1e[+]300 is outside"),
        (changed((1, 0), -1), "rating -1 is outside"),
        (changed((1, 0), 2.5), "rating 2.5 is not one of the scale"),
        (changed((2, 1), 4), r"profile 2 does not have all targets \(\[1\]\) at the top rating 5"),
        (changed((2, 1), 0), "profile 2 does not have all targets"),
        (changed((0, 0), 1), "profile 0 has 3 filler ratings, the budget is exactly 2"),
        (changed((0, 2), 0), "profile 0 has 1 filler ratings"),
        (GOOD.astype(bool), "expected numbers, got the type bool"),
        (GOOD.astype(str), "expected numbers, got the type <U"),
        (GOOD.astype(complex), "expected numbers, got the type complex"),
        (np.zeros((0, 6)), "holds 0 profiles"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_bad_matrix_is_refused_by_file_and_problem(tmp_path, matrix, message, suffix):
    path = tmp_path / f"fakes{suffix}"
    np.save(path, matrix) if suffix == ".npy" else np.savez(path, profiles=matrix)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


def test_undrawn_profiles_are_checked_too(tmp_path):
    np.save(tmp_path / "fakes.npy", changed((2, 2), 9))
    with pytest.raises(ValueError, match="profile 2, item 2"):
        load(tmp_path / "fakes.npy", threat_of(1), draw=True)


class Payload:
    """Shows whether somebody unpickled it."""

    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled",))


def test_pickles_are_never_run(tmp_path):
    array = np.array([[Payload()]], dtype=object)
    np.save(tmp_path / "object.npy", array, allow_pickle=True)
    np.savez(tmp_path / "object.npz", profiles=array)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Payload()))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Payload()))
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=path.name):
            load(path)


def csr_parts(**changes):
    matrix = sp.csr_matrix(GOOD)
    parts = {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.array(matrix.shape),
        "format": np.array(b"csr"),
    }
    return {name: value for name, value in (parts | changes).items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": sp.csr_matrix(GOOD).indices + 4},
        {"indices": sp.csr_matrix(GOOD).indices - 1},
        {"indices": np.ones(9, dtype=np.int32)},
        {"indices": sp.csr_matrix(GOOD).indices + 0.0},
        {"indptr": sp.csr_matrix(GOOD).indptr + 0.5},
        {"indptr": np.array([0, 7, 3, 9])},
        {"indptr": np.array([0, 3, 6, 900])},
        {"indptr": np.array([0, 3, 9])},
        {"shape": np.array([3, 10**12])},
        {"shape": np.array([3])},
        {"shape": None},
        {"format": np.array(b"csc")},
        {"format": None},
        {"data": np.array(["5"] * 9)},
        {"data": np.ones((9, 1))},
    ],
)
def test_a_broken_sparse_matrix_is_refused(tmp_path, changes):
    path = tmp_path / "fakes.npz"
    np.savez(path, **csr_parts(**changes))
    with pytest.raises(ValueError, match=r"fakes\.npz: "):
        load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the columns user, item, rating"),
        ("user,item\n1,1\n", "line 1: expected the columns"),
        ("<!DOCTYPE html>\n<html></html>\n", "line 1: expected the columns"),
        ("user,item,rating\n", "holds 0 profiles"),
        ("user,item,rating\na,1,5\na,2,good\n", "line 3: could not convert string to float"),
        ("user,item,rating\na,one,5\n", "line 2: item must be a whole number, got"),
        ("user,item,rating\na,1.5,5\n", "line 2: item must be a whole number, got"),
        ("user,item,rating\na,6,5\n", "line 2: item must be from 0 to 5, got 6"),
        ("user,item,rating\n\na,-1,5\n", "line 3: item must be from 0 to 5, got -1"),
        ("user,item,rating\na,9" + "9" * 30 + ",5\n", "line 2: item must be from 0 to 5"),
        ("user,item,rating\na,1\n", "line 2: 2 fields where the header has 3"),
        ("user,item,rating\na,1,5,6\n", "line 2: 4 fields where the header has 3"),
        ("user,item,rating\na,1,1_0\n", "line 2: rating must be a number, got '1_0'"),
        ("user,item,rating\na,1,\u0665\n", "line 2: rating must be a number"),
        ('user,item,rating\na,1,5\n"a,2,5\na,3,5\n', "line 4: unexpected end of data"),
        ('user,item,rating\na,1,5\n"a,2,5\nb"x,3,5\n', "line 4: .* expected after"),
        ("user,item,rating\na,1,5\na,1,4\n", "rates an item twice"),
        ("user,item,rating\na,1,5\na,2,0\na,3,1\n", "rating 0 is outside 1 to 5"),
        ("user,item,rating\na,1,nan\na,2,1\na,3,1\n", "is not finite"),
    ],
)
def test_a_bad_csv_is_refused_by_file_and_line(tmp_path, text, message):
    path = tmp_path / "fakes.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load(path, threat_of(1))
    assert str(path) in str(error.value)


def test_files_that_are_missing_of_another_kind_or_too_large_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"absent\.npy: .*No such file"):
        load(tmp_path / "absent.npy")
    with pytest.raises(ValueError, match=r"fakes\.pkl: profiles must be a \.npy, \.npz, \.csv"):
        load(tmp_path / "fakes.pkl")
    monkeypatch.setattr("rvdlib.attacks.archives.MAX_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("profiles.npy", bytes(1_000_000))
    with pytest.raises(ValueError, match=r"bomb\.npz: unpacks to 1,000,000 bytes"):
        load(tmp_path / "bomb.npz")


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    np.save(tmp_path / "fakes.npy", GOOD)
    content = (tmp_path / "fakes.npy").read_bytes()
    (tmp_path / "fakes.npy").write_bytes(
        content.replace(b"(3, 6), }            ", b"(30000000000000, 6), }")[:128] + content[128:]
    )
    with pytest.raises(ValueError, match=r"fakes\.npy: "):
        load(tmp_path / "fakes.npy")


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=200),
    suffix=st.sampled_from([".npy", ".npz", ".csv"]),
    like=st.sampled_from([*WRITERS, None]),
    cut=st.integers(0, 2000),
)
def test_damaged_files_raise_nothing_but_value_errors(tmp_path_factory, content, suffix, like, cut):
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"fakes{suffix}"
    if like:
        WRITERS[like](folder / like)
        path = folder / like
        content = path.read_bytes()[:cut] + content + path.read_bytes()[cut + len(content) :]
    path.write_bytes(content)
    with contextlib.suppress(ValueError):
        assert load(path).shape == (3, 6)
