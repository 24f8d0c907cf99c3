"""What ``rvd attack --help`` says of an attack's options, as its ``Config`` has them."""

import json
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

_KINDS = {int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most"}


def option_rows(fields: dict[str, FieldInfo]) -> list[tuple[str, str]]:
    """``name=default``, the default as in YAML and ``...`` where one must be given; and what it is."""
    rows = []
    for name, field in fields.items():
        default = "..." if field.is_required() else _as_yaml(field.default)
        limits = f" [{', '.join(kind)}]" if (kind := _limits(field)) else ""
        rows.append((f"{name}={default}", f"{field.description}{limits}"))
    return rows


def _limits(field: FieldInfo) -> list[str]:
    if get_origin(field.annotation) is Literal:
        return ["one of " + ", ".join(get_args(field.annotation))]
    kind = [_KINDS[field.annotation]] if field.annotation in _KINDS else []
    return kind + [
        f"{words} {getattr(bound, name):g}"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(bound, name)
    ]


def _as_yaml(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
