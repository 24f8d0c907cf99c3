"""What README shows of the results: what was found in short, verdicts, and tables.

``python -m rvdlib.lab.runner.readme`` writes them between README's markers, and every test of every
claim to ``results/CLAIMS.md``, from the executed notebooks and tables of the paper profile where it
has them, else of the quick one.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.hyperparameters import searched_on
from rvdlib.lab.runner.in_short import attacked_table, elsewhere_table, in_short
from rvdlib.lab.runner.ledger import RULE
from rvdlib.lab.runner.shown import length_of, table, trials, with_reach
from rvdlib.lab.runner.verdicts import claims_table, found, markdown, summary

README = paths.PROJECT / "README.md"
CLAIMS = "results/CLAIMS.md"  # beside it
COMPARED = (
    "RVD",
    "closed form",
    "closed form, hardened",
    "closed form and quorum",
    "count",
    "least support",
    "popularity",
    "unobserved weight",
)  # on every data set


def advice_table(advice: pd.DataFrame, times: pd.DataFrame) -> str:
    """Which defence to take, what it costs, and what stands beside it; Markdown.

    Args:
        advice: 10's ``10_advice.csv``.
        times: 14's ``14_timings_rivals.csv``; of data sets that it has not, times are not shown.
    """
    of = times.set_index(["dataset", "regime", "defense"])[["training", "serving"]]
    found = []
    for row in advice.itertuples():
        key = (row.dataset, row.regime, row.defense)
        cost = (
            [f"{float(f'{value:.2g}'):g} ×" for value in of.loc[key]]
            if key in of.index
            else ["–", "–"]
        )
        found.append(
            [
                f"{row.dataset}, {row.regime}",
                "no defence" if row.defense == "none" else row.defense,
                row.says,
                f"{row.target_hit_ratio:.3f}",
                f"{row.ndcg:.3f}",
                _hit(row._asdict()),
                "–" if pd.isna(row.rmse_change) else f"{row.rmse_change:+.0%}",
                *cost,
            ]
        )
    names = "THR@50, worst attacker | NDCG@50 | HR@50 | RMSE | training | serving"
    return markdown(f"| | defence | | {names} |", 3, found)


def lift_tables(remains: pd.DataFrame, accurate: pd.DataFrame) -> str:
    """What some defences leave of the paper's attacks on each data set, and their HR@50; Markdown.

    Args:
        remains: 11's ``11_lift_left.csv``.
        accurate: its ``11_accuracy.csv``; means over victims are shown.
    """
    papers = remains[remains["kind"] == "the paper's"]
    left, hits = [], []
    for (dataset, regime), rows in papers.groupby(["dataset", "regime"], sort=False):
        here = accurate[(accurate["dataset"] == dataset) & (accurate["regime"] == regime)]
        own = here.pivot_table(index="defense", columns="metric", values="value")
        title, found = f"{dataset}, {regime}", rows.set_index("defense")
        there = [name if name in found.index else None for name in COMPARED]
        shares = [_left(found.loc[name]) if name else "–" for name in there]
        left.append([title, f"{here['n'].max()}", *shares])
        hits.append([title, *(_hit(own.loc[name]) if name else "–" for name in ("none", *there))])
    names = " | ".join(COMPARED)
    first = markdown(f"| share of the lift that is left | seeds | {names} |", 1, left)
    return f"{first}\n\n{markdown(f'| HR@50 under attack | undefended | {names} |', 1, hits)}"


def _left(row: pd.Series) -> str:
    """``0.55 ± 0.06``: of the lift."""
    return with_reach(row["value"], row["low"], row["high"], 2) if row["n"] else "no lift"


def _hit(own: Mapping[str, float]) -> str:
    """``0.072``; of short lists their length, too."""
    return f"{own['hit_ratio']:.3f}{length_of(own['list_length'])}"


def generated() -> dict[str, str]:
    """Marker → what stands between it and its end."""
    main = [*map(table, ("11_lift_left", "11_accuracy"))]
    attacked = [*map(table, ("07_held", "07_fewer_targets"))]
    advice, times, elsewhere = map(table, ("10_advice", "14_timings_rivals", "07_elsewhere"))
    return {
        "short": in_short(
            found(), *attacked, *main, advice, elsewhere, trials("carried_over"), searched_on()
        ),
        "attacked": attacked_table(*attacked),
        "elsewhere": elsewhere_table(elsewhere),
        "summary": summary(),
        "datasets": lift_tables(*main),
        "advice": advice_table(advice, times),
    }


def between(text: str, marker: str) -> str:
    """What stands there now."""
    return _parts(text, marker)[2]


def every_test() -> str:
    """``results/CLAIMS.md``: the rule, and each claim's verdict by notebook, data set and regime."""
    about = "One rule judges every claim, of the paper's method; [claims.yml](../params/claims.yml) has them."
    table = claims_table(link=lambda profile, name: f"[{name[:2]}]({profile}/{name}.ipynb)")
    return f"# Claims and questions, test by test\n\n{about}\n\n{RULE}\n\n{table}\n"


def update(path: Path = README) -> None:
    """Write all of :func:`generated` into README, and :func:`every_test` beside the results."""
    text = path.read_text()
    for marker, content in generated().items():
        before, begin, _, *after = _parts(text, marker)
        text = "".join([before, begin, content, *after])
    paths.write_atomically(path, text)
    paths.write_atomically(path.parent / CLAIMS, every_test())


def _parts(text: str, marker: str) -> list[str]:
    """What stands before a marker, the marker, what it holds, its end, and what comes after."""
    pattern = rf"(<!-- {marker}: [^\n]*-->\n)(.*?)(\n<!-- end of {marker} -->)"
    parts = re.split(pattern, text, maxsplit=1, flags=re.DOTALL)
    if len(parts) == 1:
        raise StudyError(
            f"README has no line <!-- {marker}: ... --> with <!-- end of {marker} --> after it"
        )
    return parts


if __name__ == "__main__":
    try:
        update()
    except StudyError as error:
        raise SystemExit(f"Error: {error}") from None
