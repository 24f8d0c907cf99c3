"""How many fakes a data set can take: which cells to run.

A quorum promises more against fakes the more neighbours it asks for, and has fewer items to serve.
With nobody in more than k vicinities, what it promises depends on q/k alone, whatever the distance by
which neighbours are found (:func:`rvdlib.theory.certificate.exposure`); what it costs depends on the
data set and the distance, and is seen without any attack. Then the attack grows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rvdlib.data import load_dataset
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.experiment.knowing import told
from rvdlib.lab.experiment.retraining import Retraining
from rvdlib.lab.study.effects import CLOSED_FORM, crossed, scenarios

POPULARITY, QUORUM, COUNT, FLOOR = "popularity", "quorum", "count", "least support"
LATENT = "euclidean"  # what a quorum's neighbours are found by unless it says otherwise
VOTES = ["k", "quorum", "distance"]
RULE = [*VOTES, "min_ratings"]  # all that a quorum, a count or a floor is made of


def votes(k: int, quorum: int | None = None, distance: str = LATENT) -> dict:
    """Choices of a quorum, or of a count: local scaling, nobody in more than k lists."""
    chosen = {"k": k, "max_in_degree": k, "hubness_reduction": "local_scaling"}
    chosen |= {} if quorum is None else {"quorum": quorum}
    return chosen if distance == LATENT else {**chosen, "distance": distance}


def quorums_of(k: int, shares: Sequence[float]) -> list[int]:
    """The q nearest to each share of k, at least 1, each once and ascending."""
    return sorted({max(1, round(share * k)) for share in shares})


def clean_cells(
    datasets: Sequence[str],
    victim: str,
    target_sets: Mapping[str, str],
    seeds: Sequence[int],
    k: Sequence[int],
    quorum_shares: Sequence[float],
    distances: Sequence[str],
    floors: Sequence[float],
    n_users: int | None = None,
) -> list[Cell]:
    """Nobody attacks: undefended, popularity, a quorum at every share of every k by each distance, and
    floors on the ratings of an item.

    Args:
        target_sets: regime → the target set of its cells, so that they are also those of an attack.
        floors: shares of the users that must have rated an item.
    """
    forms: list[tuple[str, dict]] = [(UNDEFENDED, {}), (POPULARITY, {"method": "popularity"})]
    forms += [
        (QUORUM, {"method": "quorum", "choices": votes(each, q, distance)})
        for distance in distances
        for each in k
        for q in quorums_of(each, quorum_shares)
    ]
    return [
        cell
        for dataset in datasets
        for regime, target_set in target_sets.items()
        for of in [(dataset, [victim], [regime], ["none"], [target_set], seeds)]
        for cell in crossed(scenarios(*of), [*forms, *_floors(dataset, floors)], n_users)
    ]


def _floors(dataset: str, shares: Sequence[float]) -> list[tuple[str, dict]]:
    """So many ratings as these shares of the users give, at least 2: no smaller floor stops anybody."""
    n_users = load_dataset(dataset).n_users
    least = sorted({max(2, round(share * n_users)) for share in shares})
    form = {"method": "least_support"}
    return [(FLOOR, {**form, "choices": {"min_ratings": each}}) for each in least]


def attacked_cells(
    datasets: Sequence[str],
    victim: str,
    target_sets: Mapping[str, str],
    seeds: Sequence[int],
    attacks: Sequence[str],
    attack_sizes: Sequence[float],
    quorums: Sequence[Mapping[str, int]],
    n_users: int | None = None,
) -> list[Cell]:
    """Without an attack, and under each attack at each size: undefended, closed form, quorums, counts.

    Args:
        attacks: those that know the defence are told the choices of the first quorum, as far as they
            have such options.
        quorums: ``k`` and ``quorum`` of each; a count for each k.
    """
    found = []
    for dataset in datasets:
        for regime, target_set in target_sets.items():
            closed = chosen_defenses(regime, victim, dataset=dataset)[CLOSED_FORM]
            forms = [(UNDEFENDED, {}), (CLOSED_FORM, closed)]
            forms += [
                (QUORUM, {"method": "quorum", "choices": votes(each["k"], each["quorum"])})
                for each in quorums
            ]
            forms += [
                (COUNT, {"method": "count", "choices": votes(k)})
                for k in dict.fromkeys(each["k"] for each in quorums)
            ]
            of = dataset, [victim], [regime]
            under = scenarios(*of, ["none"], [target_set], seeds)
            for attack in attacks:
                options = told(regime, attack, forms[2][1])
                for size in attack_sizes:
                    rest = [attack], [target_set], seeds, size
                    under += scenarios(*of, *rest, attack_options=options)
            found += crossed(under, forms, n_users)
    return found


def once(cells: Sequence[Cell]) -> list[Cell]:
    """Each cell once, in order."""
    return list({repr(cell): cell for cell in cells}.values())


def with_rules(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the columns of :data:`RULE`: what a quorum, a count or a floor is made of, NaN elsewhere."""
    made = {QUORUM: {"distance": LATENT}, COUNT: {"distance": LATENT}, "least_support": {}}
    chosen = [
        made[method] | choices if method in made else {}
        for choices, method in zip(rows["choices"], rows["method"], strict=True)
    ]
    read = {name: [each.get(name, np.nan) for each in chosen] for name in RULE}
    return rows.assign(**read)


def retrainings(
    datasets: Sequence[str], victim: str, regimes: Sequence[str], seeds: Sequence[int], k: int
) -> list[Retraining]:
    """Each data set, regime and seed trained twice, to see whether neighbours mean anything."""
    return [
        Retraining(dataset=dataset, victim=victim, regime=regime, seed=seed, k=k)
        for dataset in datasets
        for regime in regimes
        for seed in seeds
    ]
