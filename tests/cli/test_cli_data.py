"""``rvd data show``: facts for good data; for bad, one message and exit code 2."""

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from rvdlib.cli import main
from rvdlib.data import leave_one_out
from rvdlib.seeding import stream

HEADER = "user,item,rating\n"
GOOD = HEADER + "".join(f"{u},{i},{1 + (u + i) % 5}\n" for u in range(4) for i in range(3 + u))


def show(*arguments):
    return CliRunner().invoke(main, ["data", "show", *map(str, arguments)])


def facts(output):
    return {line[:18].rstrip(): line[19:] for line in output.splitlines()}


def test_shows_what_is_in_a_published_data_set(ml100k):
    result = show("ML-100K")
    assert result.exit_code == 0, result.output
    shown = facts(result.stdout)
    split = leave_one_out(ml100k, stream(0, "split"))
    cold = ml100k.n_items - len(np.unique(split.train.indices))
    assert shown["name"] == "ml-100k"
    assert shown["users"] == "943"
    assert shown["items"] == "1,682"
    assert shown["ratings"] == "100,000"
    assert shown["density"] == "6.305%"
    assert shown["scale"] == "1 to 5 by 1"
    assert shown["mean profile size"] == "106"
    assert shown["ratings per user"] == "median 65, quartiles 33 and 148, range 20 to 737"
    assert shown["SHA-256"] == ml100k.sha256
    assert shown["leave-one-out"] == (
        "users evaluated: 943; users with fewer than 5 ratings, whole in training: 0; "
        f"items without a training rating: {cold}"
    )


def test_shows_a_file_with_columns_of_any_name(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(GOOD.replace("user,item,rating", "who,what,mark"))
    result = show(path, "--user-column=who", "--item-column=what", "--rating-column=mark")
    assert result.exit_code == 0, result.output
    shown = facts(result.stdout)
    assert (shown["users"], shown["items"], shown["ratings"]) == ("4", "6", "18")
    assert shown["source"] == str(path)
    assert "users evaluated: 2; users with fewer than 5 ratings" in shown["leave-one-out"]


@pytest.mark.parametrize(
    ("scale", "shown"),
    [
        ([0.5, 1, 1.5], "0.5 to 1.5 by 0.5"),
        ([1, 2, 5], "1, 2, 5"),
        ([3], "3 alone: rankings can be learnt and measured, RMSE cannot"),
        (np.linspace(1, 9, 150), "1 to 9 in 1,001 levels"),
    ],
)
def test_shows_the_scale(tmp_path, scale, shown):
    path = tmp_path / "r.csv"
    rows = (f"1,{i},{scale[i % len(scale)]}\n" for i in range(max(5, len(scale))))
    path.write_text(HEADER + "".join(rows))
    assert facts(show(path).stdout)["scale"] == shown


def test_a_file_too_small_to_split_shows_its_facts_and_why(tmp_path):
    path = tmp_path / "small.csv"
    path.write_text(HEADER + "1,1,1\n1,2,2\n2,1,1\n")
    result = show(path)
    assert result.exit_code == 0, result.output
    shown = facts(result.stdout)
    assert (shown["users"], shown["items"], shown["ratings"]) == ("2", "2", "3")
    assert shown["leave-one-out"].startswith("not possible: small.csv: no user has 5 ratings or")


def test_warnings_go_to_stderr_and_do_not_fail(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(GOOD + "3,0,5\n")
    result = show(path)
    assert result.exit_code == 0
    assert result.stderr.startswith(
        f"Warning: {path}: 1 ratings (the first in line 14) are repeated"
    )
    assert "Warning" not in result.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "1,2,three\n", "line 2: the rating 'three'"),
        ("a,b,c\n1,2,3\n", "the user column is not among ['a', 'b', 'c']"),
    ],
)
def test_a_bad_file_ends_with_one_message_and_exit_code_2(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    result = show(path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "bad.csv" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_python_m_rvdlib_is_rvd():
    command = [sys.executable, "-m", "rvdlib", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("Usage: rvd [OPTIONS] COMMAND")
    assert result.stderr == ""
