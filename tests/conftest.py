"""Fixtures that tests of several parts share."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rvdlib import paths
from rvdlib.data import Ratings, load_dataset
from rvdlib.threads import on_threads

# How long an example takes is the machine's affair.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items):
    """The longest file first: whichever process takes it, the others share the rest."""
    items.sort(key=lambda item: item.path.name != "test_by_hand.py")


@pytest.fixture(scope="session")
def ml100k() -> Ratings:
    """MovieLens-100K whole, from whichever source has it."""
    return load_dataset("ml-100k")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small products gain nothing from more, and on a busy machine wait for each other."""
    with on_threads(1):
        yield


@pytest.fixture(scope="session")
def poisons(tmp_path_factory) -> Iterator[Path]:
    """Folders, each of them new and not yet made: nearly no test needs one."""
    folder = tmp_path_factory.mktemp("poisons")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def poison_of_its_own(poisons, monkeypatch):
    """Fakes that a test crafts are kept for that test alone."""
    monkeypatch.setattr(paths, "POISON_STORE", next(poisons))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary folders, this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.fixture
def output(tmp_path, monkeypatch):
    """Where a kernel that starts now writes its tables and figures, whatever the user's IPython."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("RVD_OUTPUT_DIR", str(tmp_path / "output"))
    monkeypatch.delenv("RVD_PROGRESS", raising=False)
    return tmp_path / "output"
