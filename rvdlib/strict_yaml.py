"""The one way in which YAML is read: safely, and no key twice, for the last would win silently."""

from pathlib import Path
from typing import Any

import yaml


class InvalidYaml(ValueError):
    """What is no YAML, or says what it may not; the message names the place."""


def read_yaml(file: Path) -> Any:
    """What a YAML file holds.

    Raises:
        InvalidYaml: names file and line (and the key, where one stands twice in a mapping).
        OSError: if the file cannot be read.
    """
    try:
        return parse_yaml(file.read_bytes().decode(), str(file))
    except UnicodeDecodeError as error:
        raise InvalidYaml(f"{file} is not UTF-8 text: {error}") from error


def parse_yaml(text: str, name: str = "YAML") -> Any:
    """What YAML text says; messages call it ``name``.

    Raises:
        InvalidYaml: as of :func:`read_yaml`.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        problem = error.problem or error.context
        raise InvalidYaml(f"{name} is not valid YAML: {place}{problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2023-13-45
        raise InvalidYaml(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        lines = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # no key of a Python mapping: refused when it is built
            value = key.value if key.tag.endswith(":merge") else self.construct_object(key)
            line = key.start_mark.line + 1
            if value in lines:
                raise yaml.composer.ComposerError(
                    problem=f"the key {value!r} stands in line {lines[value]} already",
                    problem_mark=key.start_mark,
                )
            lines[value] = line
        return node
