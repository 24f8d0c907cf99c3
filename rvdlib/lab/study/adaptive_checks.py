"""How hard the attackers of 07 tried: what evaluations of defences at test time are held to."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from rvdlib.defenses.quorum import Quorum
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.experiment.hyperparameters import ALL
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.lab.statistics import Interval, paired, t_interval
from rvdlib.lab.study import tables
from rvdlib.lab.study.adaptive import (
    AGAINST,
    LIMITED,
    QUORUM,
    RANDOM,
    SETTING,
    UNLIMITED,
    under_worst,
)
from rvdlib.lab.study.claims import OURS
from rvdlib.lab.tuning.swap_check import CONTROL, FAKES, SEARCHED
from rvdlib.seeding import stream
from rvdlib.theory.certificate import thr_bound
from rvdlib.threat_model import draw_targets

ATTACK = ["attack", "attack_options", "filler_size"]
EXCHANGED = ["exchanged", "defense", "start"]
GAINED = "THR@50 gained"


def searches() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every trial of the attack search, and the check by exchanged fillers, as they are kept."""
    return tables.trials("attackers"), tables.trials("swaps")


def checklist(
    rows: pd.DataFrame,
    trials: pd.DataFrame,
    swaps: pd.DataFrame,
    allowed: Mapping[str, Interval],
) -> pd.DataFrame:
    """What evaluations of defences at test time are held to, each with its figure.

    The list follows Croce et al. 2022 and Carlini et al. 2019. Intervals are over seeds unless said.
    ``trials`` and ``swaps`` as from :func:`searches`, ``allowed`` as from the function of this name.

    Returns:
        Columns regime, item, metric, mean, low, high, n.
    """
    found = []
    for regime, here in rows.groupby("regime", sort=False):
        searched = here[(AGAINST + here["defense"]).isin(here["attacker"])]
        own = searched[searched["attacker"] == AGAINST + searched["defense"]]
        own = own[~own["defense"].isin([UNDEFENDED, RANDOM])]
        gains = {
            name: paired(each, _facing(searched, each, AGAINST + UNDEFENDED), "target_hit_ratio")
            for name, each in own.groupby("defense", sort=False)
        }
        least = min(gains, key=lambda name: gains[name].mean())
        worst = under_worst(here)
        at_worst, at_own = (
            each.groupby("defense")["target_hit_ratio"].mean() for each in (worst, own)
        )
        beaten = (at_worst[at_own.index] > at_own).sum()
        log, swapped = (table[table["regime"] == regime] for table in (trials, swaps))
        once = ~here[[*SETTING, *ATTACK, "defense", "seed"]].astype(str).duplicated()
        checked = here[once & (here["attack"] != "none")]["certificate_violations"].dropna()
        late, kinds = _late(log), log.groupby("defense")["attack"].nunique()
        transfer, clones = (
            _gain(own, _facing(searched, own, name)) for name in (AGAINST + UNDEFENDED, OURS)
        )
        mean = "THR@50, mean over defences"
        items = [
            ("knowing the defence, less transfer from the undefended victim", mean, transfer),
            (f"the same where it gains least ({least})", "THR@50", t_interval(gains[least])),
            # Which the search against the undefended victim may have found.
            *([("knowing the defence, less low clones", mean, clones)] if clones != transfer else []),
            ("knowing the defence, less one attack on all", mean,
             _gain(own, _facing(searched, own, AGAINST + ALL))),
            (f"defences whose own attacker another one beats, of {len(gains)}", "defences",
             Interval(beaten, np.nan, np.nan, len(gains))),
            (f"kinds of attack that a search drew, the fewest, of {log['attack'].nunique()}", "kinds",
             Interval(kinds.min(), np.nan, np.nan, len(kinds))),
            (f"the last quarter of the search, where it gained most ({late.idxmax()})", GAINED,
             Interval(late.max(), np.nan, np.nan, len(late))),
            *_exchanges(swapped),
            ("no limit on vicinities (user-kNN less count, each under its worst)", "THR@50",
             _gain(*(worst[worst["defense"] == name] for name in (UNLIMITED, LIMITED)))),
            ("certificates of the quorum, distinct attacked cells", "violations",
             Interval(checked.sum(), np.nan, np.nan, len(checked))),
            *([("what the quorum's certificate of exposure allows", "THR@50 at most",
                allowed[regime])] if regime in allowed else []),
        ]  # fmt: skip
        found += [(regime, item, metric, *interval) for item, metric, interval in items]
    return pd.DataFrame(found, columns=["regime", "item", "metric", *Interval._fields])


def _facing(rows: pd.DataFrame, own: pd.DataFrame, attacker: str) -> pd.DataFrame:
    """The rows of the same defences under another attacker."""
    return rows[(rows["attacker"] == attacker) & rows["defense"].isin(own["defense"])]


def _gain(own: pd.DataFrame, other: pd.DataFrame) -> Interval:
    return t_interval(paired(own, other, "target_hit_ratio"))


def _exchanges(swaps: pd.DataFrame) -> Iterator[tuple[str, str, Interval]]:
    """What exchanges gained from each start, and how far mixtures of others' fakes get from random ones,
    beside the attacker who was searched against the defence. Two seeds have no interval worth giving."""

    def mean(of: pd.Series) -> Interval:
        return t_interval(of) if len(of) > 2 else Interval(of.mean(), np.nan, np.nan, len(of))

    runs = {key: each.set_index("seed") for key, each in swaps.groupby(EXCHANGED, sort=False)}
    for (what, name, start), each in runs.items():
        item = f"{what} exchanged on the attacked system ({name}, from {start})"
        yield item, GAINED, mean(each["after"] - each["before"])
    for name in swaps["defense"].unique():
        mixed, his = (runs[FAKES, name, start] for start in (CONTROL, SEARCHED))
        item = f"fakes exchanged from random ones, less the attacker searched against it ({name})"
        yield item, "THR@50", mean(mixed["after"] - his["before"])


def _late(log: pd.DataFrame) -> pd.Series:
    """Defence → what the best of its search gained in the last quarter of its rounds."""
    late = log.groupby("defense")["round"].transform("max") * 3 / 4
    best = log.groupby("defense")["target_hit_ratio"].max()
    return best - log[log["round"] <= late].groupby("defense")["target_hit_ratio"].max()


def allowed(rows: pd.DataFrame) -> dict[str, Interval]:
    """Regime → the bound on THR@50 that nobody exceeds who attacks the quorum: mean over its targets.

    Of :func:`rvdlib.theory.certificate.thr_bound`, from how many real users rated each target. At 1 it
    says nothing.
    """
    attacked = rows[(rows["defense"] == QUORUM) & (rows["attack"] != "none")]
    bounds = []
    for _, row in attacked.drop_duplicates(["dataset", *SETTING, "seed"]).iterrows():
        split, named = split_of_seed(row["dataset"], row["seed"]), row["target_set"]
        targets = draw_targets(split, named, stream(row["seed"], "targets", named))
        config, n_users = Quorum.Config(**row["choices"]), split.train.shape[0]
        bound = thr_bound(
            np.bincount(split.train.indices, minlength=split.train.shape[1])[targets],
            math.floor(round(row["attack_size"] * n_users, 9)),
            quorum=config.quorum,
            max_in_degree=config.max_in_degree,
            n_users=n_users,
        )
        bounds.append((row["regime"], row["seed"], bound.mean()))
    table = pd.DataFrame(bounds, columns=["regime", "seed", "bound"])
    by_seed = table.groupby(["regime", "seed"])["bound"].mean()
    return {regime: t_interval(each) for regime, each in by_seed.groupby("regime")}
