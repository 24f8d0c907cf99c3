"""One look for every figure, legible at column width and to colour-blind eyes; tables are shown whole."""

import io
from collections.abc import Collection, Iterable, Mapping
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rvdlib import paths
from rvdlib.lab.runner.unchanged import same_picture

COLUMN_WIDTH = 6.4  # inches

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#7F7F7F"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
# The mark and colour of a defence, the same in every figure: a colour a family, a mark its own.
LOOKS: dict[str, tuple[str | tuple, str]] = {
    **dict.fromkeys(("none", "undefended"), ("*", "black")),
    "RVD": ("o", RED),
    "RVD, hardened": ("p", RED),
    "closed form": ("s", BLUE),
    "closed form, hardened": (">", BLUE),
    "closed form, bounded": ("d", BLUE),
    "quorum": ("v", SKY),
    "closed form and quorum": ("^", SKY),
    "count": ("<", GREEN),
    "user-kNN": ("X", GREEN),
    "least support": ("h", GREEN),
    "popularity": ("P", ORANGE),
    "unobserved weight": ("D", PURPLE),
    "PCA detection": ((4, 1, 0), PURPLE),
    "profile detection": ((6, 1, 0), PURPLE),
}
# What a file would say of when and by what it was made: nothing, so that it is the same.
UNDATED: dict[str, dict] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}


def set_style() -> None:
    """Fonts, grid and resolution of figures, and no table cut short; call it before the first of them."""
    for length in ("max_rows", "max_columns", "max_colwidth"):
        pd.set_option(f"display.{length}", None)
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
    """Write ``figures/<profile>/<name>`` as PDF and PNG, the same bytes for the same figure.

    What looks as it did before (:func:`rvdlib.lab.runner.unchanged.same_picture`, nothing moved by more
    than a hundredth of an inch) stays as it was, to the byte.
    """
    stem = paths.FIGURES / profile / name
    files = {stem.with_name(f"{name}.{kind}"): drawn(figure, kind) for kind in UNDATED}
    plt.close(figure)
    pdf, png = files
    reach = round(plt.rcParams["savefig.dpi"] / 100)
    if pdf.is_file() and png.is_file() and same_picture(png.read_bytes(), files[png], reach):
        files = {path: path.read_bytes() for path in files}
    for path, content in files.items():
        paths.write_atomically(path, content)


def drawn(figure: Figure, kind: str) -> bytes:
    """The figure as ``pdf`` or ``png``, the same bytes whenever it is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=UNDATED[kind])
    return buffer.getvalue()


REGIME_TITLES = {"rating": "rating regime", "ranking": "ranking regime"}


def colours(names: Iterable[str], fixed: Mapping[str, str]) -> dict[str, str]:
    """Name → colour, in the order given: the fixed one, or the next of the palette that is free."""
    names = list(dict.fromkeys(names))
    others = [name for name in names if name not in fixed]
    free = [colour for colour in PALETTE if colour not in fixed.values()]
    if len(others) > len(free):
        free = [to_hex(colour) for colour in sns.husl_palette(len(others))]
    return {**fixed, **dict(zip(others, free, strict=False))}


DOT = {"fmt": "o", "markersize": 3.5, "elinewidth": 1.2}  # a mean with its interval


def reach(rows: pd.DataFrame, mean: str = "mean", low: str = "low", high: str = "high"):
    """(2, rows): how far intervals reach below and above; 0 where there is none."""
    return np.nan_to_num(np.abs(rows[[low, high]].to_numpy().T - rows[mean].to_numpy()))


def dataset_panels(
    datasets: Collection[str], regimes: Collection[str], size: tuple[float, float]
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A row a data set, a column a regime, all on one scale; the panels by both names."""
    shape, shared = (len(datasets), len(regimes)), {"sharex": True, "sharey": True}
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, **shared)
    panels = dict(zip(product(datasets, regimes), axes.flat, strict=True))
    for names, panel in panels.items():
        panel.set_title(", ".join(names), fontsize="medium")
    return figure, panels


def shared_legend(figure: Figure, axes: Axes, columns: int = 4, **look) -> None:
    """One legend above all panels, as :func:`shown_in` has them."""
    handles, labels = shown_in(figure, axes)
    ncols = min(len(labels), columns)
    figure.legend(handles, labels, loc="outside upper center", ncols=ncols, **look)


def shown_in(figure: Figure, axes: Axes) -> tuple[list, list[str]]:
    """Handles and labels of whatever any panel shows; ``axes`` has the say in the order."""
    shown = {}
    for panel in (axes, *figure.axes):
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    return [*shown.values()], [*shown]
