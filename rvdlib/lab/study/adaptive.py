"""The attacker who knows RVD: which cells to run, and what the cures are worth.

At one budget an attacker who knows nothing of the defence (random fakes, clones of random users)
and one who knows its parameters; RVD as the paper has it, closed-form RVD, and cures of it. A cure
is also tried against the attacker who knows the cure.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.exposure import SHARES, TARGET_HIT_RATIOS
from rvdlib.lab.experiment.hyperparameters import attack_options, chosen_defenses
from rvdlib.lab.statistics import ACCURACY, BETTER, paired, summarise, t_interval
from rvdlib.lab.study import tables
from rvdlib.lab.study.claims import OURS
from rvdlib.lab.study.effects import CLOSED_FORM, METRICS, RVD, scenarios

# Choice of the closed form → option of the vicinity attack by which the attacker knows it.
KNOWABLE = {
    "k": "k",
    "distance": "distance",
    "hubness_reduction": "hubness_reduction",
}
KNOWS = "vicinity, knows "


def cells(
    dataset: str,
    victim: str,
    target_sets: Mapping[str, str],
    attacks: Sequence[str],
    guesses: Mapping[str, Mapping],
    cures: Mapping[str, Mapping],
    evasions: Mapping[str, Mapping],
    seeds: Sequence[int],
    n_users: int | None = None,
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called.

    Args:
        target_sets: regime → what is promoted in it.
        attacks: that know nothing of the defence; ``none`` among them.
        guesses: name → choices that the knowing attacker believes in, where they are not the truth:
            that of RVD where he faces RVD, else that of the closed form.
        cures: name → what a cure changes in the choices of closed-form RVD. Each is also attacked
            by whoever knows it: what it changes of :data:`KNOWABLE`, and his evasion of it.
        evasions: cure → what the attacker who knows it does otherwise.
        n_users: size of the sample of users that is evaluated; None: every user.
    """
    found = []
    for regime, target_set in target_sets.items():
        forms = chosen_defenses(regime, victim)
        closed = forms[CLOSED_FORM]
        cured = {name: {**closed["choices"], **cure} for name, cure in cures.items()}
        bare, rvd = {UNDEFENDED: {}}, {RVD: forms[RVD]}
        solved = {CLOSED_FORM: closed}
        solved |= {name: {**closed, "choices": choices} for name, choices in cured.items()}

        def add(seed, attack, label, defenses, options=None, regime=regime, target_set=target_set):
            told = attack_options(regime, attack) | (options or {})
            (scenario,) = scenarios(
                dataset, [victim], [regime], [attack], [target_set], [seed], attack_options=told
            )
            for name, form in defenses.items():
                cell = Cell(scenario=scenario, defense=name, n_users=n_users, **form)
                found.append((cell, label))

        for seed in seeds:
            for attack in attacks:
                add(seed, attack, attack, bare | rvd | solved)
            for name, guess in guesses.items():
                add(seed, "vicinity", name, bare | solved, knows(closed["choices"]) | guess)
                add(seed, "vicinity", name, rvd, knows(forms[RVD]["choices"]) | guess)
            for name, choices in cured.items():
                told = knows(choices) | evasions.get(name, {})
                if told != knows(closed["choices"]):
                    add(seed, "vicinity", KNOWS + name, bare | {name: solved[name]}, told)
    return found


def knows(choices: Mapping) -> dict:
    """What an attacker who knows these choices of RVD tells the vicinity attack."""
    return {option: choices[name] for name, option in KNOWABLE.items() if name in choices}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds; a row a regime, attacker, defence and metric."""
    measured = [*METRICS, "fake_neighbor_share", *SHARES, *TARGET_HIT_RATIOS]
    return summarise(rows, ["regime", "attacker", "defense"], measured)


def by_fakes(summary: pd.DataFrame, defenses: Sequence[str] = (RVD, CLOSED_FORM)) -> pd.DataFrame:
    """What a reader sees of :func:`summary`: by number of fakes among neighbours, ``share: THR``."""
    here = summary[summary["defense"].isin(defenses) & (summary["attacker"] != "none")]
    means = here.set_index(["regime", "defense", "attacker", "metric"])["mean"].unstack(sort=False)
    table = {"fake neighbours": [f"{share:.1%}" for share in means["fake_neighbor_share"]]}
    for n, (share, ratio) in enumerate(zip(SHARES, TARGET_HIT_RATIOS, strict=True)):
        title = f"{n} or more" if n == len(SHARES) - 1 else str(n)
        pairs = zip(means[share], means[ratio], strict=True)
        table[title] = [f"{s:.0%}: {'–' if pd.isna(t) else f'{t:.3f}'}" for s, t in pairs]
    return pd.DataFrame(table, index=means.index)


def cures(rows: pd.DataFrame) -> pd.DataFrame:
    """What each defence holds against the worst attacker, and what it costs in accuracy.

    The worst attacker is chosen for each defence by the mean over these very seeds, which favours
    him: among all attackers that faced it, whoever knows it among them.

    Returns:
        Columns regime, defense, worst (his name); thr, thr_low, thr_high under him; and change,
        change_low, change_high: of the regime's own accuracy when nobody attacks, relative to the
        undefended victim, positive for better.
    """
    found = []
    for (regime, defense), here in rows.groupby(["regime", "defense"], sort=False):
        attacked = here[here["attacker"] != "none"]
        thr = attacked.pivot(index="seed", columns="attacker", values="target_hit_ratio")
        worst = thr.mean().idxmax()
        clean = rows[(rows["regime"] == regime) & (rows["attacker"] == "none")]
        sides = (clean[clean["defense"] == name] for name in (defense, UNDEFENDED))
        change = paired(*sides, ACCURACY[regime], relative=True) * BETTER[ACCURACY[regime]]
        found.append((regime, defense, worst, *t_interval(thr[worst])[:3], *t_interval(change)[:3]))
    names = ["thr", "thr_low", "thr_high", "change", "change_low", "change_high"]
    return pd.DataFrame(found, columns=["regime", "defense", "worst", *names])


def answer(rows: pd.DataFrame, cured: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The answer of 07: each regime under the attacker who knows RVD, then the best cures.

    ``judged``: C15, of RVD and then of each other defence that is to be read; ``cured`` as from :func:`cures`.
    """
    sentences, best = [], []
    for regime, here in rows.groupby("regime", sort=False):
        thr = here.groupby(["defense", "attacker"])["target_hit_ratio"].mean()
        asked = judged[judged["regime"] == regime]
        known, low = (
            " and ".join(f"{thr[name, who]:.3f} under {name}" for name, who in faced)
            for faced in (
                zip(asked["defense"], asked["attack"], strict=True),
                ((name, OURS) for name in asked["defense"]),
            )
        )
        sentences.append(
            f"In the {regime} regime the attacker who knows RVD reaches a THR@50 of {known}; low "
            f"clones, which know nothing of it, reach {low} (C15: {asked['verdict'].iloc[0]})."
        )
        closed = cured[(cured["regime"] == regime) & ~cured["defense"].isin([UNDEFENDED, RVD])]
        cure = closed.loc[closed["thr"].idxmin()]
        best.append(
            f"*{cure['defense']}* in the {regime} regime (THR@50 "
            f"{tables.format_interval(*cure[['thr', 'thr_low', 'thr_high']])} under "
            f"*{cure['worst']}*, accuracy {tables.change(cure['change'])})"
        )
    return tables.answer(
        *sentences,
        f"Of the cures, the lowest under its worst attacker, picked in hindsight: {', '.join(best)}.",
    )
