"""Makes nbval compare numbers as numbers, within what ``rvdlib.lab.runner.unchanged`` states for the
notebook, and all else to the letter (``pytest -p tests.nbval_within --nbval``)."""

import os

from nbval.plugin import IPyNbCell

from rvdlib import paths
from rvdlib.lab.runner.unchanged import SHOWN, first_difference, tolerance_of


class Within(str):
    """A text that equals others which say the same."""

    def __new__(cls, text: str, tolerance: float):
        self = super().__new__(cls, text)
        self.tolerance = tolerance
        return self

    def __eq__(self, other):
        return not first_difference(str(self), str(other), self.tolerance)

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__


def pytest_configure():
    """Kernels start in the notebooks' folder, where a relative variable would mean another one."""
    os.environ.update(paths.as_variables())


def pytest_itemcollected(item):
    """nbval compares what ``sanitize`` returns of either side."""
    if isinstance(item, IPyNbCell):
        sanitized, tolerance = item.sanitize, tolerance_of(item.path.stem, SHOWN)

        def sanitize(output):
            clean = sanitized(output)
            return Within(clean, tolerance) if isinstance(clean, str) else clean

        item.sanitize = sanitize
