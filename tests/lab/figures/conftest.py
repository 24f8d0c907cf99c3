"""The look of the study's figures, and none left open."""

import matplotlib
import matplotlib.pyplot as plt
import pytest

from rvdlib.lab.figures.style import set_style

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        set_style()
        yield
    plt.close("all")
