"""Files as people have them: separators, header lines, packing, decimal marks, no ratings."""

import gzip
import io
import zipfile

import pytest

from rvdlib.data import DataError, load_dataset, read_ratings

ROWS = [("196", "242", "3", "881250949"), ("186", "302", "4", "891717742"), ("22", "377", "1", "8")]
EXPECTED = [(22, 377, 1.0), (186, 302, 4.0), (196, 242, 3.0)]
NAMES = ("userId", "movieId", "rating", "timestamp")


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "r.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def joined(separator, *rows):
    return "".join(separator.join(row) + "\n" for row in rows)


def triples(ratings):
    matrix = ratings.matrix.tocoo()
    users, items = ratings.user_ids[matrix.row], ratings.item_ids[matrix.col]
    return list(zip(users.tolist(), items.tolist(), matrix.data.tolist(), strict=True))


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.txt", "r.dat", "r.data", "r.inter"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "::", " ", "  "])
def test_the_header_line_tells_the_separator(write, name, separator):
    path = write(joined(separator, NAMES, *ROWS), name)
    assert triples(read_ratings(path)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "separator"),
    [("u.data", "\t"), ("ratings.dat", "::"), ("u1.data", " "), ("RATINGS.DAT", "::")],
)
def test_files_of_movielens_are_read_as_they_are(write, name, separator):
    path = write(joined(separator, *ROWS), name)
    assert triples(load_dataset(path)) == EXPECTED
    packed = write(gzip.compress(path.read_bytes()), name + ".gz")
    assert triples(load_dataset(packed)) == EXPECTED


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.txt", "u.data"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "::", " ", ", "])
def test_a_file_without_a_header_line_loses_no_row(write, name, separator):
    path = write(joined(separator, *ROWS), name)
    assert triples(read_ratings(path, header=False)) == EXPECTED
    swapped = read_ratings(path, header=False, user_column="2", item_column=1, rating_column=3)
    assert triples(swapped) == sorted((item, user, stars) for user, item, stars in EXPECTED)


@pytest.mark.parametrize("separator", ["|", "§", "tab", "\\t", "space", ":", "<->", "x"])
def test_any_separator_may_be_named_and_then_any_file(write, separator):
    characters = {"tab": "\t", "\\t": "\t", "space": " "}.get(separator, separator)
    path = write(joined(characters, NAMES, *ROWS), "ratings.list")
    assert triples(read_ratings(path, separator=separator)) == EXPECTED


def test_a_separator_of_two_characters_may_stand_in_quotes(write):
    path = write('a::"x::y"::3\nb::z::4\n', "ratings.dat")
    assert triples(read_ratings(path)) == [("a", "x::y", 3.0), ("b", "z", 4.0)]


@pytest.mark.parametrize(
    ("content", "layout", "message"),
    [
        ("user|item|rating\n1|2|3\n", {}, r"separates the fields with separator \(--separator\)"),
        ("1,2,3\n2,3,4\n", {}, r"header=False \(--no-header\)"),
        ("1;2;3,5;9,5\n1;3;4,5;2,5\n", {"header": False}, r"separated by ',' or ';'; say .*--sep"),
        ("12345\n", {"header": False}, "from 1 to 1"),
        ("1,2,3\n", {"header": False, "user_column": "user"}, "a number from 1 to 3, got 'user'"),
        ("1,2,3\n", {"header": False, "user_column": 4}, "a number from 1 to 3, got '4'"),
        ("1,2,3\n", {"header": False, "user_column": 2}, "a column each"),
        ("user,item,rating\n1,2,3\n", {"separator": ""}, "separator must be"),
        ("user,item,rating\n1,2,3\n", {"separator": "\n"}, "separator must be"),
        ("user,item,rating\n1,2,3\n", {"separator": 5}, "separator must be .* got 5"),
        ("user,item,rating\n1,2,3\n", {"header": "no"}, "header must be True or False, got 'no'"),
        ("user,item,rating\n1,2,3\n", {"quotes": 0}, "quotes must be True or False, got 0"),
        ("user,item,rating\n1,2,3\n", {"implicit": "yes"}, "implicit must be True or False"),
        ("user|item|rating\n1|2|3\n", {}, r"or what separates the fields with .*--separator"),
        ("user,item,rating\n1,2,3\n", {"separator": ";"}, r"what separates the fields with sep"),
        ("user;item;rating\n1;2;1.250\n", {"decimal": ","}, "line 2: the rating '1.250' has a po"),
        ("user;item;rating\n1;2;1.250,5\n", {"decimal": ","}, "rating '1.250,5' has a point"),
        ("user,item,rating\n1,2,3\n", {"decimal": ";"}, r"decimal must be '\.' or ','"),
        ("user,item,rating\n1,2,3\n", {"header": False}, "line 1: the rating 'rating'"),
        ("user,item,rating\n1,2,3\n", {"implicit": True, "rating_column": "rating"}, "one or the"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_its_remedy(write, content, layout, message):
    with pytest.raises(DataError, match=message):
        read_ratings(write(content), **layout)


@pytest.mark.parametrize("first", [("1", "2", "3"), ("ann", "film", "5"), ("a b", "c", "0.5")])
def test_a_row_that_is_named_as_header_is_not_lost(write, first):
    columns = dict(zip(("user_column", "item_column", "rating_column"), first, strict=True))
    path = write(joined("\t", first, ("5", "7", "1"), ("6", "7", "2")), "r.tsv")
    with pytest.raises(DataError, match=r"could name the columns or be a row.*--no-header"):
        read_ratings(path, **columns)
    assert read_ratings(path, **columns, header=True).n_ratings == 2
    assert read_ratings(path, header=False).n_ratings == 3


@pytest.mark.parametrize("first", [("ann", "film"), ("1", "2")])
def test_an_interaction_that_is_named_as_header_is_not_lost(write, first):
    path = write(joined(",", first, ("ann", "other"), ("bo", "film")))
    with pytest.raises(DataError, match="could name the columns or be a row"):
        read_ratings(path, user_column=first[0], item_column=first[1], implicit=True)


@pytest.mark.parametrize("separator", [";", "\t", "::", ","])
def test_a_decimal_comma_is_read_where_it_is_said(write, separator):
    quote = '"' if separator == "," else ""
    rows = [("1", str(n), quote + text + quote) for n, text in enumerate(["3,5", ",5", "1,250"])]
    path = write(joined(separator, NAMES[:3], *rows))
    assert [stars for *_, stars in triples(read_ratings(path, decimal=","))] == [3.5, 0.5, 1.25]
    with pytest.raises(DataError, match=r"line 2: the rating '3,5' has a comma: say decimal"):
        read_ratings(path)


@pytest.mark.parametrize(
    "members",
    [
        {"ratings.csv": "user,item,rating\n1,2,3\n"},
        {"deep/folder/u.data": "1\t2\t3\n"},
        {"a.csv": "user,item,rating\n1,2,3\n", "__MACOSX/a.csv": "x"},
    ],
)
def test_a_zip_archive_with_one_member_is_read(write, members):
    assert triples(read_ratings(write(zipped(**members), "r.zip"))) == [(1, 2, 3.0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(**{"a.csv": "x", "b.csv": "y"}), r"holds 2 files .*\['a\.csv', 'b\.csv'\]"),
        (zipped(), "holds 0 files"),
        (zipped(**{"a.xlsx": "x"}), "the name must end in"),
        (b"no archive", "cannot be read"),
        (zipped(**{"a.csv": "x" * 99})[:-30], "cannot be read"),
    ],
)
def test_another_zip_archive_is_refused(write, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_ratings(write(content, "r.zip"))
    assert "r.zip" in str(caught.value)


@pytest.mark.parametrize("names", [("user", "item"), ("user", "item", "timestamp")])
def test_users_and_items_alone_are_interactions_and_that_is_said(write, names):
    rows = [("1", "2", "9"), ("1", "2", "10"), ("3", "2", "11")]
    path = write(joined(",", names, *(row[: len(names)] for row in rows)))
    with pytest.warns(UserWarning, match=r"r\.csv has no ratings: .* a rating of 1.*RMSE"):
        ratings = read_ratings(path)
    assert triples(ratings) == [(1, 2, 1.0), (3, 2, 1.0)]
    assert ratings.levels.tolist() == [1.0]
    assert read_ratings(path, implicit=True).sha256 == ratings.sha256


def test_ratings_under_another_name_are_not_overlooked(write):
    path = write("user,item,mark\n1,2,5\n")
    with pytest.raises(DataError, match=r"rating_column .*implicit=True \(--implicit\)"):
        read_ratings(path)
    assert triples(read_ratings(path, implicit=True)) == [(1, 2, 1.0)]
