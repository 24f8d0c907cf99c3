"""Rows to axes: one look for every figure, legible at column width and to colour-blind eyes."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from rvdlib import paths

COLUMN_WIDTH = 6.4  # inches

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#7F7F7F"


def set_style() -> None:
    """Fonts, grid and resolution of every figure; call it before the first."""
    sns.set_theme(
        context="paper",
        style="whitegrid",
        font_scale=1.1,
        rc={
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "grid.linewidth": 0.5,
            "legend.frameon": False,
            "savefig.dpi": 200,
        },
    )


def save(figure: Figure, profile: str, name: str) -> None:
    """Write ``figures/<profile>/<name>`` as PDF and PNG, the same bytes for the same figure."""
    folder = paths.FIGURES / profile
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
