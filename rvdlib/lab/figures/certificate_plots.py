"""Figure of what a quorum with an in-degree cap promises."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import BLUE, COLUMN_WIDTH


def certificates(report: dict) -> Figure:
    """The bound on THR by real raters, a line for each number of fakes; and whose lists survive.

    ``report`` as from :func:`rvdlib.lab.study.certified.certify_dataset`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(1.4 * COLUMN_WIDTH, 3.6))
    bounds, n_users = pd.DataFrame(report["bounds"]), report["n_users"]
    fakes = sorted(bounds["m"].unique())
    for m, colour in zip(fakes, sns.color_palette("flare", len(fakes)), strict=True):
        line = bounds[bounds["m"] == m]
        label = f"{m:,} fakes ({m / n_users:.1%})"
        left.plot(line["honest_raters"], line["thr_bound"], "o-", ms=3, color=colour, label=label)
    left.set_xscale("symlog", linthresh=1)
    left.set_xlim(left=0)
    left.xaxis.set_major_formatter("{x:,.0f}")
    left.set_ylim(0, 1.05)
    left.set_xlabel("real raters of the target")
    left.set_ylabel("bound on THR")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    shares = [count / n_users for count in report["survives"]]
    right.step(range(len(shares)), shares, where="mid", color=BLUE)
    right.set_ylim(0, 1.05)
    right.set_xlabel("bad neighbours f")
    right.set_ylabel("users whose first ten survive f")
    figure.suptitle(
        f"{report['dataset']}: {report['quorum']} of {report['k']} neighbours, nobody in more than "
        f"{report['max_in_degree']} vicinities",
        fontsize="medium",
    )
    return figure
