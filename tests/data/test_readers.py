"""A user's own file: what is read, what is refused, and whether the message helps."""

import gzip
import tracemalloc
import warnings
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rvdlib.data import DataError, leave_one_out, load_dataset, read_ratings
from rvdlib.data.readers import MISSING, ShiftedScale, canonical_bytes
from rvdlib.seeding import stream

HEADER = "user,item,rating\n"
ANY_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "ratings.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def triples(ratings):
    matrix = ratings.matrix.tocoo()
    users, items = ratings.user_ids[matrix.row], ratings.item_ids[matrix.col]
    return list(zip(users.tolist(), items.tolist(), matrix.data.tolist(), strict=True))


# --- what is read


def test_reads_csv_with_ids_as_integers_sorted_as_numbers(write):
    ratings = read_ratings(write(HEADER + "10,7,3.5\n9,8,4\n9,7,1\n"))
    assert triples(ratings) == [(9, 7, 1.0), (9, 8, 4.0), (10, 7, 3.5)]
    assert ratings.levels.tolist() == [1.0, 3.5, 4.0]
    assert ratings.name == "ratings.csv"


@pytest.mark.parametrize(
    "header",
    [
        "user,item,rating",
        "userId,movieId,rating",
        "user_id,item_id,stars",
        "User ID,Item-Id,Score",
        "user_id:token,item_id:token,rating:float",
        '"user","item","rating"',
        " user , item , rating ",
    ],
)
def test_usual_column_names_are_found(write, header):
    assert triples(read_ratings(write(f"{header}\n1,2,3\n"))) == [(1, 2, 3.0)]


def test_named_columns_win_and_the_others_are_not_looked_at(write):
    path = write("who\twhat\thow\trating\n1\t2\t4\tbad\n", "r.tsv")
    ratings = read_ratings(path, user_column="who", item_column="what", rating_column="how")
    assert triples(ratings) == [(1, 2, 4.0)]


def test_every_format_gives_the_same_ratings_and_hash(write, tmp_path):
    frame = pd.DataFrame(
        {"user": [3, 1, 1], "when": ["x", "y", "z"], "item": [5, 6, 5], "rating": [0.5, 4.0, 3.0]}
    )
    csv, tsv = frame.to_csv(index=False), frame.to_csv(index=False, sep="\t")
    frame.to_parquet(tmp_path / "r.parquet")
    files = [
        write(csv, "r.csv"),
        write(tsv, "r.tsv"),
        write(gzip.compress(csv.encode()), "r.csv.gz"),
        write(gzip.compress(tsv.encode()), "r.tsv.gz"),
        tmp_path / "r.parquet",
        write(csv.replace("\n", "\r\n"), "crlf.csv"),
        write("\ufeff" + csv, "bom.csv"),
        write(csv.replace("\n", "\n\n"), "blank_lines.csv"),
        write(csv.rstrip("\n"), "no_last_newline.CSV"),
        write(frame[::-1].to_csv(index=False), "other_order.csv"),
    ]
    read = [read_ratings(file) for file in files]
    assert all(triples(r) == [(1, 5, 3.0), (1, 6, 4.0), (3, 5, 0.5)] for r in read)
    assert len({r.sha256 for r in read}) == 1
    assert canonical_bytes(read[0]) == b"1\t5\t3\n1\t6\t4\n3\t5\t0.5\n"


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["-3", "10", "9"], [-3, 9, 10]),
        ([str(10**18), "1", "0"], [0, 1, 10**18]),
        ([str(10**30), "1", "2"], ["1", "1000000000000000000000000000000", "2"]),
        (["007", "7", "8"], ["007", "7", "8"]),
        (["ann", "Бо", "李"], ["ann", "Бо", "李"]),
        (["1", "b", "2"], ["1", "2", "b"]),
        (["nanna", "nullo", "Na"], ["Na", "nanna", "nullo"]),
    ],
)
def test_ids_may_be_negative_huge_or_text(write, ids, expected):
    rows = "".join(f"{u},{i},3\n" for u, i in zip(ids, ids[::-1], strict=True))
    ratings = read_ratings(write(HEADER + rows))
    assert ratings.user_ids.tolist() == ratings.item_ids.tolist() == expected
    assert ratings.matrix.shape == (3, 3)


def test_memory_follows_the_rows_and_not_the_largest_id(write):
    rows = "".join(f"{10**18 + u},{u % 7},{1 + u % 5}\n" for u in range(1000))
    path = write(HEADER + rows + f"{-(10**18)},long{'x' * 100_000},1\n")
    tracemalloc.start()
    read_ratings(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_scale_with_many_values_is_taken_to_be_continuous(write):
    values = np.linspace(1, 20, 333)
    rows = "".join(f"{i},{i},{v}\n" for i, v in enumerate(values))
    ratings = read_ratings(write(HEADER + rows))
    assert (ratings.levels[0], ratings.levels[-1]) == (1, 20)
    assert len(ratings.levels) == 1001
    assert np.allclose(np.diff(ratings.levels), 0.019, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "shifted"),
    [
        ([0, 1], [1, 2]),
        ([-10, -5, 0, 5, 10], [5, 10, 15, 20, 25]),
        ([-3, -2], [1, 2]),
        ([0, 0], [1, 1]),
        ([-1.5, -1.0, 2], [0.5, 1, 4]),
    ],
)
def test_a_rating_of_zero_or_less_never_becomes_no_rating(write, scale, shifted):
    rows = "".join(f"{i},{i},{value}\n" for i, value in enumerate(scale))
    with pytest.warns(
        ShiftedScale, match=r"ratings\.csv: ratings from .* are shifted up"
    ) as warned:
        ratings = read_ratings(write(HEADER + rows))
    assert np.array_equal(np.float32(scale) + warned[0].message.shift, shifted)
    assert [value for _, _, value in triples(ratings)] == shifted
    assert ratings.levels.tolist() == sorted(set(shifted))
    assert ratings.n_ratings == len(scale) == (ratings.matrix.toarray() > 0).sum()


def test_a_continuous_scale_below_zero_is_shifted_above_it(write):
    values = stream(0, "test").uniform(-10, 10, 500).round(2)
    rows = "".join(f"{i},{i},{value}\n" for i, value in enumerate(values))
    with pytest.warns(UserWarning, match="shifted up"):
        ratings = read_ratings(write(HEADER + rows))
    stars = ratings.matrix.data
    assert stars.min() > 0
    assert np.allclose(np.diff(stars), np.diff(values), atol=1e-4)
    assert np.isclose(ratings.levels[-1], stars.max())


def test_of_repeated_pairs_the_last_counts_and_the_warning_says_so(write):
    path = write(HEADER + "1,1,5\n\n2,1,4\n2,1,4\n2,1,3\n")
    with pytest.warns(UserWarning, match=r"ratings\.csv: 2 ratings \(the first in line 4\).* last"):
        ratings = read_ratings(path)
    assert triples(ratings) == [(1, 1, 5.0), (2, 1, 3.0)]


def test_one_user_and_constant_ratings_are_read(write):
    ratings = read_ratings(write(HEADER + "".join(f"ann,{i},4\n" for i in range(6))))
    assert ratings.matrix.shape == (1, 6)
    assert ratings.levels.tolist() == [4.0]
    assert len(leave_one_out(ratings, stream(0, "split")).test.users) == 1


@given(
    st.dictionaries(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
                lambda text: text not in MISSING
            ),
            st.integers(-(2**63), 2**63 - 1),
        ),
        st.floats(0.015625, 1e6, width=32),
        min_size=1,
        max_size=30,
    )
)
@ANY_FILE
def test_whatever_is_written_is_read_back(tmp_path, pairs):
    frame = pd.DataFrame([(*pair, stars) for pair, stars in pairs.items()])
    frame.columns = ["user", "item", "rating"]
    frame.to_csv(tmp_path / "r.csv", index=False)
    ratings = read_ratings(tmp_path / "r.csv")
    if isinstance(ratings.user_ids[0], str):
        frame["user"] = frame["user"].astype(str)
    else:
        frame["user"] = frame["user"].astype("int64")
    expected = {
        (u, i): stars
        for (u, i), stars in zip(
            frame[["user", "item"]].itertuples(index=False, name=None), frame["rating"], strict=True
        )
    }
    assert {(u, i): stars for u, i, stars in triples(ratings)} == expected


# --- what is refused

JUNK = stream(0, "junk").bytes(5000)
PACKED = gzip.compress((HEADER + "1,2,3\n1,3,4\n").encode(), mtime=0)
FAULTY = {
    "no rating column": (
        "r.csv",
        "user,item,mark\n1,2,3\n",
        r"r\.csv, first line: the rating column is not among",
    ),
    "two user columns": (
        "r.csv",
        "user,userId,item,rating\n1,1,1,1\n",
        "the user column could be any of",
    ),
    "text as a rating": ("r.csv", HEADER + "1,2,3\n1,3,good\n", r"r\.csv, line 3: .*'good'"),
    "NaN": ("r.csv", HEADER + "1,2,3\n\n1,3,NaN\n", r"r\.csv, line 4: .*'NaN' is not a finite"),
    "infinity": ("r.csv", HEADER + "1,2,inf\n", r"r\.csv, line 2: .*'inf' is not a finite"),
    "no rating": ("r.csv", HEADER + "1,2,\n", r"r\.csv, line 2: .*'' is not a finite"),
    "a comma": (
        "r.tsv",
        "user\titem\trating\n1\t2\t3\n1\t3\t1,250\n",
        r"r\.tsv, line 3: the rating '1,250' has a comma: say decimal=',' \(--decimal ,\)",
    ),
    "too large": ("r.csv", HEADER + "1,2,1e300\n", r"r\.csv, line 2: .*1e300 is too large"),
    "no user": ("r.csv", HEADER + "1,2,3\n ,2,3\n", r"r\.csv, line 3: the user is missing"),
    "no item": ("r.csv", HEADER + "1,,3\n", r"r\.csv, line 2: the item is missing"),
    "too few fields": ("r.csv", HEADER + "1,2,3\n1,2\n", r"r\.csv, line 3: 2 fields .* has 3"),
    "too many fields": ("r.csv", HEADER + "1,2,3,4\n", r"r\.csv, line 2: 4 fields .* has 3"),
    "empty": ("r.csv", "", r"r\.csv is empty"),
    "only a BOM": ("r.csv", "\ufeff", r"r\.csv is empty"),
    "empty gzip": ("r.csv.gz", gzip.compress(b""), r"r\.csv\.gz is empty"),
    "only a header": ("r.csv", HEADER, r"r\.csv names its columns but holds no ratings"),
    "a web page": ("r.csv", "\n<!DOCTYPE html><html>...</html>", r"r\.csv is a web page"),
    "binary": ("r.csv", JUNK, r"r\.csv is not UTF-8 text"),
    "UTF-16": ("r.csv", (HEADER + "1,2,3\n").encode("utf-16"), r"r\.csv is not UTF-8 text"),
    "a NUL far down": (
        "r.csv",
        HEADER + "1,2,3\n" * 2000 + "1\0,2,3\n",
        r"r\.csv is not UTF-8 text but .* line 2002 holds the byte 0",
    ),
    "a scale that cannot be shifted": (
        "r.csv",
        HEADER + "1,2,3\n1,3,-3e38\n",
        r"r\.csv, line 3: the rating -3e38 is too large",
    ),
    "a Latin-1 header": (
        "r.csv",
        "us\u00e9r,item,rating\n1,2,3\n".encode("latin-1"),
        r"r\.csv, first line is not UTF-8; save it as UTF-8",
    ),
    "Latin-1": ("r.csv", HEADER.encode() + b"1,2,3\nZo\xeb,2,3\n", r"r\.csv, line 3 is not UTF-8"),
    "not gzip": ("r.csv.gz", HEADER, r"r\.csv\.gz cannot be read: .*gzip"),
    "truncated gzip": ("r.csv.gz", PACKED[:-8], r"r\.csv\.gz cannot be read"),
    "damaged gzip": ("r.csv.gz", PACKED[:-8] + b"8 bytes!", r"r\.csv\.gz cannot be read: CRC"),
    "not parquet": ("r.parquet", JUNK, r"r\.parquet cannot be read"),
    "empty parquet": ("r.parquet", b"", r"r\.parquet cannot be read"),
    "another kind": ("r.xlsx", JUNK, r"r\.xlsx: the name must end in \.csv"),
    "only gz": ("r.gz", JUNK, "the name must end in"),
    "a quote without end": (
        "r.csv",
        HEADER + '1,2,3\n"1,2,3\n1,3,3\n',
        r"r\.csv, line 3: a quote opens here, and none closes it",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_file_is_refused_with_file_and_line(write, name, content, message):
    path = write(content, name)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(path)
    assert str(path) in str(caught.value)


def test_the_message_for_a_missing_column_names_the_remedy(write):
    with pytest.raises(DataError, match=r"'u', 'item'.*user_column \(--user-column\)"):
        read_ratings(write("u,item,rating\n1,2,3\n"))
    with pytest.raises(DataError, match=r"the column 'v' is not among \['u', 'item', 'rating'\]"):
        read_ratings(write("u,item,rating\n1,2,3\n"), user_column="v")
    with pytest.raises(DataError, match="a column each"):
        read_ratings(write("u,item,rating\n1,2,3\n"), user_column="item")


@pytest.mark.parametrize(
    ("rating", "message"),
    [
        (pa.array([1.0, float("nan")]), "row 2: the rating 'nan'"),
        (pa.array([1.0, None]), "row 2: the rating ''"),
        (pa.array(["4", "four"]), "row 2: the rating 'four'"),
        (pa.array([True, False]), "row 1: the rating 'true'"),
        (pa.array([[1.0], [2.0]]), "the column 'rating' cannot be read"),
        (pa.array([{"stars": 1}, {"stars": 2}]), "the column 'rating' cannot be read"),
    ],
)
def test_a_faulty_parquet_column_is_refused_with_its_row(tmp_path, rating, message):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"user": [1, 2], "item": ["a", "b"], "rating": rating}), path)
    with pytest.raises(DataError, match=message):
        read_ratings(path)


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("column", ["user", "item"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "quoted", "parquet", "frame"])
def test_a_missing_id_never_becomes_an_id(tmp_path, missing, column, kind):
    frame = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": [1, 2]})
    frame.loc[1, column] = missing
    path, separator = tmp_path / "r.csv", ","
    if kind == "frame":
        path = frame
    elif kind == "parquet":
        path = tmp_path / "r.parquet"
        frame.to_parquet(path)
    else:
        if kind == "tsv":
            path, separator = tmp_path / "r.tsv", "\t"
        frame.to_csv(path, index=False, sep=separator, quoting=1 if kind == "quoted" else 0)
    place = "row 2" if kind in ("parquet", "frame") else "line 3"
    with pytest.raises(DataError, match=f"{place}: the {column} is missing"):
        load_dataset(path)


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1.0, float("nan")]),
        pa.array([1.0, float("inf")]),
        pa.array([1, None]),
        pa.array(["a", None]),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([b"a", None]),
        pa.array([None, None], pa.null()),
    ],
)
def test_a_typed_column_without_an_id_is_refused(tmp_path, ids):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"user": ids, "item": [1, 2], "rating": [1, 2]}), path)
    with pytest.raises(DataError, match=r"row [12]: the user is missing"):
        read_ratings(path)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([b"ann", b"bo"], ["ann", "bo"]),
        ([b"a", b"a "], ["a", "a "]),
        (["a", " a"], [" a", "a"]),
        ([1e15, 2.0], [2, 10**15]),
        (pd.Categorical(["9", "7"]), [7, 9]),
        ([UUID(int=2**127 + 1), UUID(int=65)], [str(UUID(int=65)), str(UUID(int=2**127 + 1))]),
    ],
)
def test_typed_ids_are_taken_as_they_are(tmp_path, ids, expected):
    frame = pd.DataFrame({"user": ids, "item": [1, 2], "rating": [1, 2]})
    frame.to_parquet(tmp_path / "r.parquet")
    for source in (tmp_path / "r.parquet", frame):
        assert load_dataset(source).user_ids.tolist() == expected


def test_a_frame_is_a_data_set_too(write):
    frame = pd.DataFrame({"who": ["b", "a"], "item": [1, 2], 7: [3.5, 4]}, index=[9, 9])
    ratings = load_dataset(frame, user_column="who", rating_column=7)
    assert triples(ratings) == [("a", 2, 4.0), ("b", 1, 3.5)]
    assert ratings.sha256 == read_ratings(write("user,item,rating\na,2,4\nb,1,3.5\n")).sha256
    assert load_dataset(ratings) is ratings


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        *(
            (
                pd.DataFrame({"user": pd.Series(ids), "item": [1, 2, 3], "rating": [1, 2, 3]}),
                "the DataFrame: the column 'user' cannot be read",
            )
            for ids in (
                [[1], [2], [3]],
                [{"a": 1}] * 3,
                [(1, 2), (3, 4), (5, 6)],
                [1j, 2j, 3j],
                [b"\xff\xfe", b"ab", b"c"],
                pd.interval_range(0, 3),
                [2**70, 1, 2],
                pd.Series(["a\udcff", "b", "c"], dtype=object),
                pd.Series([1, 2.5, True], dtype=object),
                pd.Series([0, 1, True], dtype=object),
            )
        ),
        (pd.DataFrame({"user": [1], "item": [2], "mark": [3]}), "DataFrame: the rating column is"),
        (pd.DataFrame({"user": [1], "item": [2], "rating": ["x"]}), "row 1: the rating 'x'"),
        (
            pd.DataFrame({"user": [1, "a"], "item": [1, 2], "rating": [1, 2]}),
            "not all of one plain type",
        ),
        (pd.DataFrame({"user": [], "item": [], "rating": []}), "holds no ratings"),
        (pd.DataFrame(), "the user column is not among"),
    ],
)
def test_a_faulty_frame_is_refused_with_its_row(frame, message):
    with pytest.raises(DataError, match=message):
        load_dataset(frame)


@pytest.mark.parametrize("source", [0, None, 1.5, ["r.csv"], b"r.csv"])
def test_what_is_no_data_set_is_refused(source):
    with pytest.raises(DataError, match="a data set is a name, a file, a DataFrame or Ratings"):
        load_dataset(source)


@pytest.mark.parametrize("name", ["r.csv", "r"])
def test_a_folder_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"{name} is a folder: name a file in it"):
        load_dataset(tmp_path / name)


@given(st.binary(max_size=300), st.sampled_from(["r.csv", "r.tsv", "r.csv.gz", "r.parquet"]))
@ANY_FILE
def test_random_bytes_end_in_a_data_error_or_ratings(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(HEADER.encode() + content if len(content) % 2 else content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            ratings = read_ratings(path)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert ratings.n_ratings > 0
            assert (ratings.matrix.data > 0).all()
