"""What serving needs beside the library, asked for when it is used."""

import importlib
from types import ModuleType
from typing import Any


def needed(module: str) -> Any:
    """The module of the optional extra; ImportError says how to get it."""
    try:
        found: ModuleType = importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f"serving needs {module}, which is not installed: pip install 'rvdlib[serving]' (in a "
            "clone: pip install -e '.[serving]')"
        ) from None
    return found
