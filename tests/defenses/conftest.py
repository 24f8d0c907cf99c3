import pytest

from rvdlib.study.parallel import single_thread


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small products gain nothing from more, and on a busy machine wait for each other."""
    with single_thread():
        yield
