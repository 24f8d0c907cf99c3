"""What the closed form and step-by-step descent have in common: the same gradient flow.

With the users frozen, the vicinal loss of an item's decoder row is, as a function of its move Δ,

    F(Δ) = (1/k) Σ_v c_v (e_v − z_v · Δ)²,    ∇F(Δ) = (2/k) (AΔ − b),    A = Zᵀ C Z,  b = Zᵀ C e

a mean over the k rows of the vicinity, hence the k; of squares, hence the 2. From Δ = 0, T steps of
descent by η are T explicit Euler steps of the flow dΔ/dt = −∇F(Δ); the closed form is one implicit
step, as long as all of them together:

    descent       Δ = Σ_j (1 − (1 − 2ησ_j/k)^T) (a_j · b / σ_j) a_j
    closed form   Δ = (A + λI)⁻¹ b = Σ_j σ_j / (σ_j + λ) (a_j · b / σ_j) a_j,      λ = k / (2ηT)

for the eigenpairs (σ_j, a_j) of A. How far each has gone towards the least-squares fit is 1 − e^−τ
(for small η) and τ / (1 + τ), τ = σ_j/λ: equal to first order where the data say little, both 1
where they say much, and never more than 0.204 apart (at τ = 2.51). Ali, Kolter and Tibshirani
(2019), "A continuous-time view of early stopping for least squares regression", show what follows
for the risk.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rvdlib.defenses import ClosedFormRVD, FastRVD
from rvdlib.lab.experiment.cells import Scenario, carry_out, sample_users
from rvdlib.lab.study import tables
from rvdlib.threads import single_thread


def equivalent(k: int, learning_rate: float, other: float) -> float:
    """λ = k / (2ηT) of the closed form that goes as far as T steps of descent by η, and T of λ."""
    return k / (2 * learning_rate * other)


def agreement(
    dataset: str,
    victims: Sequence[str],
    regimes: Sequence[str],
    *,
    k: int,
    unobserved_weight: float,
    learning_rate: float,
    steps: Sequence[int],
    n_users: int,
) -> pd.DataFrame:
    """Decoder-only descent (SGD, full batch) beside the closed form with the λ of as many steps.

    What is compared is how far each moves the undefended scores of a sample of users, all items.

    Returns:
        Columns regime, victim, steps, proximal_weight; correlation of the two moves; in stars,
        largest_move and rms_move (of descent), largest_difference and rms_difference.
    """
    found = []
    shared = {"k": k, "unobserved_weight": unobserved_weight}
    descent = {"scope": "decoder", "optimizer": "sgd", "learning_rate": learning_rate}
    descent["regularizer"] = "none"
    with single_thread():
        for regime in regimes:
            for name in victims:
                scenario = Scenario(dataset=dataset, victim=name, regime=regime)
                victim = carry_out(scenario).victim
                users = sample_users(victim.train.shape[0], n_users, scenario.seed)
                before = victim.score(users)
                for number in steps:
                    weight = equivalent(k, learning_rate, number)
                    slow = FastRVD(victim, steps=number, **descent, **shared)
                    fast = ClosedFormRVD(victim, proximal_weight=weight, **shared)
                    moves = slow.score(users) - before, fast.score(users) - before
                    found.append((regime, name, number, weight, *_compared(*moves)))
    columns = ["regime", "victim", "steps", "proximal_weight"]
    columns += ["correlation", "largest_move", "rms_move", "largest_difference", "rms_difference"]
    return pd.DataFrame(found, columns=columns)


def answer(found: pd.DataFrame, hubs: pd.DataFrame, k: int, learning_rate: float) -> str:
    """The answer of 13, of rows of :func:`agreement`, made with ``k`` and ``learning_rate``.

    ``hubs``: as :func:`rvdlib.lab.benchmark.latency.hubs_of` has them.
    """
    weakest, most = found.loc[found["correlation"].idxmin()], found["steps"].max()
    last, level = found[found["steps"] == most], hubs.mean().idxmin()
    apart = (last["largest_difference"] / last["largest_move"]).max()
    return tables.answer(
        f"The moves of descent and of the closed form correlate by at least "
        f"{np.floor(1000 * weakest['correlation']) / 1000:.3f} ({weakest['victim']}, "
        f"{weakest['regime']} regime, {weakest['steps']} steps), and after {most} steps they differ by "
        f"at most {100 * apart:.0f} % of the largest move.",
        f"The closed form with λ = 1 goes as far as {equivalent(k, learning_rate, 1):,.0f} steps "
        f"of {learning_rate:g}.",
        f"The number of lists in which a user stands has a skewness of "
        f"{tables.span(hubs['euclidean'], '{:.1f}')} by Euclidean distance, and the least, "
        f"{tables.span(hubs[level], '{:.1f}')}, by {level.replace('_', ' ')}.",
    )


def _compared(slow: np.ndarray, fast: np.ndarray) -> tuple[float, ...]:
    slow, fast = slow.ravel().astype(float), fast.ravel().astype(float)
    sizes = [(np.abs(each).max(), np.sqrt(np.mean(each**2))) for each in (slow, slow - fast)]
    return np.corrcoef(slow, fast)[0, 1], *sizes[0], *sizes[1]
