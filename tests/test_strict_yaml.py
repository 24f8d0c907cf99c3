"""YAML: what stands in a file twice, or cannot be read, is said with file and line."""

import pytest

from rvdlib import paths
from rvdlib.strict_yaml import parse_yaml, read_yaml

TWICE = {
    "top": ("a: 1\nb: 2\na: 3\n", 3, "'a'"),
    "nested": ("x:\n  a: 1\n  b: {c: 1}\n  a: 2\n", 4, "'a'"),
    "in one line": ("x: {k: 1, k: 2}\n", 1, "'k'"),
    "in a list": ("- {k: 1}\n- k: 2\n  k: 3\n", 3, "'k'"),
    "the same value": ("a: 1\na: 1\n", 2, "'a'"),
    "quoted": ("a: 1\n'a': 2\n", 2, "'a'"),
    "a number": ("1: a\n0x1: b\n", 2, "1"),
    "true": ("true: a\nyes: b\n", 2, "True"),
    "merged twice": ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", 4, "'<<'"),
}


@pytest.mark.parametrize(("text", "line", "key"), TWICE.values(), ids=TWICE)
def test_a_key_that_stands_twice_is_refused_with_file_line_and_key(tmp_path, text, line, key):
    file = tmp_path / "p.yml"
    file.write_text(text)
    message = rf"p\.yml is not valid YAML: line {line}: the key {key} stands in line \d already"
    with pytest.raises(ValueError, match=message):
        read_yaml(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: {a: 2}\n", {"a": 1, "b": {"a": 2}}),
        ("1: a\n'1': b\n", {1: "a", "1": "b"}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}\n", {"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 2}}),
        (
            "c: &c {k: 1}\nx: {b: &b {<<: *c, k: 2}}\na: {<<: *b, k: 3}\n",
            {"c": {"k": 1}, "x": {"b": {"k": 2}}, "a": {"k": 3}},
        ),
        ("", None),
    ],
)
def test_what_is_no_repetition_is_read(text, expected):
    assert parse_yaml(text) == expected


@pytest.mark.parametrize(
    "content",
    [b"a: [", b"a: \xff", b"a: 2023-13-45", b"!!python/name:os.system x", b"a: 1\n b: 2", b"\0"],
)
def test_what_is_no_yaml_is_refused_by_name(tmp_path, content):
    file = tmp_path / "p.yml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.yml is not"):
        read_yaml(file)


def test_every_file_of_the_project_is_read_in_this_way():
    for file in paths.PARAMS.glob("*.yml"):
        assert read_yaml(file)
    for module in (paths.PROJECT / "rvdlib").rglob("*.py"):
        if module.name != "strict_yaml.py":
            assert "safe_load" not in module.read_text(), module
