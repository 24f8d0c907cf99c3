"""Quotes in text files: what they enclose is read whole, what they would swallow is refused."""

import csv
import io
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rvdlib.data import DataError, read_ratings

SEPARATORS = {"r.csv": ",", "r.tsv": "\t"}
ENDS = ["\n", "\r\n", "\r"]
ANY_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def rows(n=30):
    return [[f"u{k // 10}", f"a{k % 10}", str(k % 5 + 1), "fine"] for k in range(n)]


def written(table, path, end="\n"):
    """A file with these fields as they stand, quotes and all."""
    separator = SEPARATORS[path.name]
    lines = [separator.join(row) for row in [["user", "item", "rating", "review"], *table]]
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


@pytest.mark.parametrize(("name", "end"), [("r.csv", "\n"), ("r.tsv", "\r\n"), ("r.csv", "\r")])
@pytest.mark.parametrize("last", ['"{}', '{}"', '"{}"'])
@pytest.mark.parametrize("column", [0, 1, 2, 3])
@pytest.mark.parametrize("distance", [1, 20])
def test_a_quote_that_swallows_rows_is_refused_by_the_line_where_it_opens(
    tmp_path, name, end, last, column, distance
):
    table = rows()
    table[5][column] = '"' + table[5][column]
    table[5 + distance][column] = last.format(table[5 + distance][column])
    with pytest.raises(DataError, match=f"{name}, line 7: .*quote.*--no-quotes"):
        read_ratings(written(table, tmp_path / name, end))


@pytest.mark.parametrize("name", SEPARATORS)
@pytest.mark.parametrize("column", [0, 1, 2, 3])
@pytest.mark.parametrize("row", [0, 15, 29])
def test_a_quote_that_nothing_closes_is_refused_by_its_line(tmp_path, name, column, row):
    table = rows()
    table[row][column] = '"' + table[row][column]
    with pytest.raises(DataError, match=f"line {row + 2}: a quote opens here, and none closes it"):
        read_ratings(written(table, tmp_path / name))


def test_a_quote_in_the_header_swallows_no_rows(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('user,item,rating,"note\n1,2,3,x\n4,5,6,y"\n7,8,9,z\n')
    with pytest.raises(DataError, match="line 1: a quote opens here and ends in line 3"):
        read_ratings(path)


@pytest.mark.parametrize(
    "review",
    [
        "good\nand long",
        "well, it is, 5, or so\nor not, 1, 2, 3",
        "\n\n",
        'he said "no"\n"never"',
        "a\n,\nb",
        "x" * 300_000 + "\n" + "y" * 300_000,
    ],
)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", [2, 3])
def test_a_review_of_several_lines_is_one_field(tmp_path, review, end, place):
    path = tmp_path / "r.csv"
    table = [["user", "item", "rating"], ["1", "2", "3"], ["1", "3", "4"], ["2", "2", "5"]]
    for row, text in zip(table, ["review", review, "plain", review], strict=True):
        row.insert(place, text.replace("\n", end))
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator=end).writerows(table)
    ratings = read_ratings(path)
    assert ratings.matrix.toarray().tolist() == [[3, 4], [5, 0]]


def test_reviews_of_several_lines_are_read_wherever_a_block_ends(tmp_path):
    path = tmp_path / "r.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "review", "rating"])
        for k in range(20_000):
            writer.writerow([k // 10, k % 10, f"one, two\n{'x' * (k % 211)}\n\nend", k % 5 + 1])
    assert read_ratings(path).n_ratings == 20_000


@pytest.mark.parametrize("name", SEPARATORS)
@pytest.mark.parametrize("review", ['"Great" film', 'a "great" film', '5"', '"a" "b"', '""x'])
def test_quotes_within_a_line_of_a_column_that_is_not_read_do_not_matter(tmp_path, name, review):
    table = rows()
    table[3][3] = review
    assert read_ratings(written(table, tmp_path / name)).n_ratings == 30


def test_text_beside_a_quoted_part_of_an_id_is_refused_until_it_is_said_what_it_means(tmp_path):
    table = rows()
    table[3][1] = '"Great" film'
    path = written(table, tmp_path / "r.tsv")
    with pytest.raises(DataError, match=r"line 5: text follows the closing quote.*--no-quotes"):
        read_ratings(path)
    assert '"Great" film' in read_ratings(path, quotes=False).item_ids


def test_the_owner_may_say_that_quotes_are_ordinary_or_that_they_are_right(tmp_path):
    table = rows()
    table[5][3], table[7][3] = '"fine', 'fine"'
    path = written(table, tmp_path / "r.csv")
    with pytest.raises(DataError, match=r"line 7: .* line 8 reads as a row of its own"):
        read_ratings(path)
    assert read_ratings(path, quotes=False).n_ratings == 30
    assert read_ratings(path, quotes=True).n_ratings == 28


def test_a_field_of_any_length_is_read_and_no_limit_is_left_behind(tmp_path):
    limit = csv.field_size_limit()
    for quote in ("", '"'):
        table = rows()
        table[3][3] = f"{quote}{'x' * 17_000_000}{quote}"
        assert read_ratings(written(table, tmp_path / "r.csv")).n_ratings == 30
    assert csv.field_size_limit() == limit


@given(
    st.lists(st.text('ab ,\n\r"5', max_size=12), min_size=1, max_size=12),
    st.sampled_from([",", "\t", ";"]),
)
@ANY_FILE
def test_what_the_csv_module_writes_is_read_back_or_refused_by_line(tmp_path, reviews, separator):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(["user", "item", "rating", "review"])
    writer.writerows([f"u{n}", f"i{n}", 3, review] for n, review in enumerate(reviews))
    path = tmp_path / "r.csv"
    path.write_bytes(text.getvalue().encode())
    try:
        ratings = read_ratings(path)
    except DataError as error:
        assert re.search(r"line \d+: a quote opens here.* reads as a row", str(error))  # noqa: PT017
        ratings = read_ratings(path, quotes=True)
    assert ratings.n_ratings == len(reviews)


@given(st.sets(st.tuples(st.integers(0, 19), st.integers(0, 3), st.booleans()), max_size=4))
@ANY_FILE
def test_stray_quotes_lose_no_row(tmp_path, quotes):
    table = rows(20)
    for row, column, before in quotes:
        text = table[row][column]
        table[row][column] = f'"{text}' if before else f'{text}"'
    try:
        ratings = read_ratings(written(table, tmp_path / "r.csv"))
    except DataError as error:
        assert re.search(r"line \d+", str(error))  # noqa: PT017
    else:
        assert ratings.n_ratings == 20
