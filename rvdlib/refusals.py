"""What pydantic refuses, in words of ours."""

from pydantic import ValidationError


def refusal(error: ValidationError) -> str:
    """The first fault, in a sentence: ``quorum must be at most k = 10, got 20``."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # raised by a check of ours, which says it all
        return str(first["ctx"]["error"])
    name, expected = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input ")
    return f"{name} {expected}, got {first['input']!r}"
