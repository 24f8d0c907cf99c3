"""The environment of the kernels and of what they load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rvdlib import paths
from rvdlib.writable import known_home, own_temporary, writing_problem


@contextmanager
def variables(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the time being, for this process and its children."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


@contextmanager
def writable_home() -> Iterator[None]:
    """For the time being, this process and its children have a home that can be written.

    It is a temporary one, kept between runs, where there is no HOME and the system does not know
    the user, or where it cannot be written. Downloads are still looked for where they were.
    """
    home = known_home()
    if home and not writing_problem(home):
        yield
        return
    folder = own_temporary() / "home"
    folder.mkdir(exist_ok=True)
    with variables({"HOME": str(folder), "RVD_CACHE_DIR": str(paths.user_cache())}):
        yield
