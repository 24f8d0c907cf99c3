"""The paper's tables on all its data sets: which cells, and what of them is there.

Attackers are of three kinds: the paper's seven, stronger ones that know no defence, and for some
defences the one whom the last search found, who meets that defence and the undefended victim alone.
Searches were made for MF on ML-100K (:mod:`rvdlib.lab.tuning.attack_search`); elsewhere their
attackers are carried over.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, finished_cells, run_cells
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED, attacked_defenses
from rvdlib.lab.experiment.knowing import searched
from rvdlib.lab.study import effects, sweeps
from rvdlib.lab.study.adaptive import AGAINST, BOTH, HARDENED, LIMITED, RETRAINED
from rvdlib.lab.study.claims import PAPER_ATTACKS
from rvdlib.lab.study.effects import CLOSED_FORM, RVD, crossed, scenarios

# The order of the tables.
DEFENSES = [RVD, RVD_HARDENED, CLOSED_FORM, HARDENED, BOTH, LIMITED]
DEFENSES += ["least support", "popularity", RETRAINED]
PAPERS, STRONGER, KNOWING = "the paper's", "stronger", "knows the defence"
SETTING = ["dataset", "regime", "target_set"]
# Columns of a table of cells where there is none.
NEEDED = list(dict.fromkeys([*effects.IDENTITY, *effects.LISTED, *effects.METRICS, "list_length"]))


def cells(
    datasets: Mapping[str, Mapping], target_sets: Mapping[str, str]
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called.

    ``datasets``: data set → what :class:`rvdlib.lab.study.parameter_types.Slice` holds.
    """
    return [
        (cell, label)
        for dataset, part in datasets.items()
        for regime, victims in part["victims"].items()
        for victim in victims
        for forms in [_forms(dataset, regime, victim, part)]
        for label, attack, known, faced in _attackers(regime, part, forms)
        for of in [(dataset, [victim], [regime], [attack], [target_sets[regime]], part["seeds"])]
        for met in [[(name, forms[name]) for name in faced]]
        for cell in crossed(scenarios(*of, **known), met, part["n_users"])
    ]


def gathered(cells: Sequence[Cell], compute: bool, **columns: Sequence) -> pd.DataFrame:
    """The rows of the cells, indexed by place, with ``columns`` beside them, a value a cell.

    Args:
        compute: False: take those that are on record, and compute none.
    """
    rows = run_cells(cells) if compute else finished_cells(cells)
    rows = rows.reindex(columns=rows.columns if len(rows) else NEEDED)
    return rows.assign(**{name: [all_[n] for n in rows.index] for name, all_ in columns.items()})


def turned_cells(turned: Mapping[str, Mapping]) -> list[tuple[Cell, str, float]]:
    """The dials *k* and steps turned on each data set; each cell with its dial and the value.

    ``turned``: data set → what :class:`rvdlib.lab.study.parameter_types.Turned` holds.
    """
    return [
        each
        for dataset, part in turned.items()
        for each in sweeps.sweep_cells(
            dataset,
            part["victims"],
            part["settings"],
            part["seeds"],
            part["n_users"],
            {"k": part["k"], "steps": part["steps"]},
        )
    ]


def dials(rows: pd.DataFrame, turned: Mapping[str, Mapping]) -> pd.DataFrame:
    """Those of the turned cells' ``rows`` that can be judged: of a seed, every value of a dial.

    ``rows``: with the columns ``swept`` (the dial) and ``value``.
    """
    by = ["dataset", "regime", "victim", "seed"]
    values = {name: len(part["k"]) + len(part["steps"]) for name, part in turned.items()}
    there = rows.groupby(by)["value"].transform("size")
    return rows[there == rows["dataset"].map(values)]


def _forms(dataset: str, regime: str, victim: str, part: Mapping) -> dict[str, dict]:
    known = attacked_defenses(regime, victim, dataset, part["against"])
    names = [name for name in DEFENSES if name in known]
    if victim not in part["retrained"] and RETRAINED in names:
        names.remove(RETRAINED)
    return {UNDEFENDED: {}} | {name: known[name] for name in names}


def _attackers(regime, part, forms) -> Iterator[tuple[str, str, dict, list[str]]]:
    """What an attacker is called, his attack, what he knows, and whom he faces."""
    for attack in part["attacks"]:
        yield attack, attack, {}, [*forms]
    for name in part["against"]:
        if name in forms and (found := searched(regime, name, forms[name])):
            yield AGAINST + name, *found[0], [UNDEFENDED, name]


def kind(attacker: str) -> str:
    """What an attacker is: one of the three; empty where nobody attacks."""
    if attacker == "none":
        return ""
    if attacker.startswith(AGAINST):
        return KNOWING
    return PAPERS if attacker in PAPER_ATTACKS else STRONGER


def coverage(planned: Sequence[tuple[Cell, str]], found: Sequence[int]) -> pd.DataFrame:
    """What of the plan is on record.

    Args:
        found: places, in ``planned``, of the cells that are.

    Returns:
        A row for each data set, regime, number of users evaluated, seed and kind of attack:
        ``planned``, ``computed``.
    """
    there = set(found)
    rows = [
        {
            **cell.scenario.model_dump(include={"dataset", "regime", "seed"}),
            "users": cell.n_users or "all",
            "kind": kind(label) or "not attacked",
            "planned": 1,
            "computed": int(place in there),
        }
        for place, (cell, label) in enumerate(planned)
    ]
    by = ["dataset", "regime", "users", "seed", "kind"]
    return pd.DataFrame(rows).groupby(by, sort=False).sum().reset_index()


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a lift, with it: ``rows`` of finished cells, with the column ``attacker``.

    Those are left out whose defence was not finished without an attack, or whose attack was not
    finished undefended. ``attack`` is then what the attacker is called.
    """
    rows = rows.assign(attack=rows["attacker"], kind=rows["attacker"].map(kind))
    where = [*SETTING, "victim", "seed"]
    clean = rows[rows["attack"] == "none"]
    bare = rows[rows["defense"] == UNDEFENDED]
    kept = (
        _among(rows, clean, [*where, "defense"])
        & _among(rows, bare, [*where, "attack"])
        & _among(rows, clean[clean["defense"] == UNDEFENDED], where)
    )
    rows = rows[kept].reset_index(drop=True)
    return effects.with_lift(rows) if len(rows) else rows.assign(lift=[])


def _among(rows: pd.DataFrame, others: pd.DataFrame, by: list[str]) -> np.ndarray:
    keys = [pd.MultiIndex.from_frame(frame[by]) for frame in (rows, others)]
    return keys[0].isin(keys[1])


def whole(rows: pd.DataFrame, covered: pd.DataFrame) -> pd.DataFrame:
    """The rows of seeds of which a kind of attack is complete, with all that nobody attacked.

    What is averaged over victims and attacks has the same ones in every seed then.
    """
    by = ["dataset", "regime", "seed"]
    complete = covered[covered["planned"] == covered["computed"]]
    clean = complete[complete["kind"] == "not attacked"]
    complete = complete[_among(complete, clean, by)]
    named = rows.assign(kind=rows["kind"].replace("", "not attacked"))
    return rows[_among(named, complete, [*by, "kind"])]
