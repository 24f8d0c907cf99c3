"""The paper's theory of unlearning: what descent on a vicinity is bound to forget, and how far.

**Setting.** F_S(θ) = (1/k) Σ_{v∈S} ℓ_v(θ) is the loss on the vicinity S of a user, k rows, each ℓ_v with
its part of the regulariser (:mod:`rvdlib.theory.ridge`). k_f of the rows, the set B, are malicious;
S_c are the others. Descent has F_S alone, θ_{t+1} = θ_t − η∇F_S(θ_t), from the trained θ_0 = θ̂. What is
hoped for is θ*_c, a minimiser of F_c = F_{S_c}; what descent tends to is θ*_S. In between stands θ*_o,
a minimiser of the loss on all training rows (the old data). Distances are Euclidean. F_c says
nothing about an item that no row of S_c depends on; any row of the decoder is optimal there, and
distances to θ*_c leave such items out.

**Theorem 1 (strongly convex).** Let F_S be m-strongly convex and M-smooth, η = 2/(m + M), and
γ = (M − m)/(M + m). Then

    (a) ‖θ_T − θ*_S‖ ≤ γ^T ‖θ_0 − θ*_S‖
    (b) ‖θ_T − θ*_S‖ ≤ γ^T (‖θ̂ − θ*_o‖ + ‖θ*_o − θ*_S‖)                       the paper's form, as we guess it
    (c) ‖θ_T − θ*_c‖ ≤ γ^T ‖θ_0 − θ*_S‖ + k_f G / (m_c (k − k_f))                     our form

with m_c the strong convexity of F_c and G the longest ∇ℓ_v(θ*_S) of a malicious row.

*Proof.* For quadratics, (a) is θ_T − θ*_S = (I − ηH)^T (θ_0 − θ*_S), where the eigenvalues 1 − ηλ,
m ≤ λ ≤ M, lie in [−γ, γ]; in general it is Nesterov 2004, Theorem 2.1.15. (b) is (a) and the triangle
inequality; θ*_o may be any point. For (c), k∇F_S = (k − k_f)∇F_c + Σ_{v∈B} ∇ℓ_v, and ∇F_S(θ*_S) = 0, so
‖∇F_c(θ*_S)‖ = ‖Σ_B ∇ℓ_v(θ*_S)‖ / (k − k_f) ≤ k_f G / (k − k_f). Strong convexity of F_c gives
m_c ‖θ*_S − θ*_c‖ ≤ ‖∇F_c(θ*_S)‖. Add ‖θ_T − θ*_S‖. ∎

Form (b) *read for the clean vicinity*, γ^T (‖θ̂ − θ*_o‖ + ‖θ*_o − θ*_c‖) for ‖θ_T − θ*_c‖, is a theorem
only where k_f = 0: it goes to 0 with T, and descent does not come to θ*_c. We measure how often it
fails. The user side being frozen, constants are exact, and each item has its own:

    (d) ‖θ_T − θ*_c‖² ≤ Σ_i (ρ_i^T ‖θ_0 − θ*_S‖_i + ‖∇F_c(θ*_S)‖_i / m_ci)²,  ρ_i = max(|1 − ηm_i|, |1 − ηM_i|)

by the same proof item by item. Items that F_S does not depend on do not move, and do not count in m.

**Theorem 2 (convex).** Let F_S be convex and M-smooth, η = 1/M, R = ‖θ_0 − θ*_S‖. Then

    (a) F_S(θ_T) − F_S(θ*_S) ≤ M R² / 2T
    (b) F_S(θ_T) − F_S(θ*_S) ≤ M (‖θ̂ − θ*_o‖ + ‖θ*_o − θ*_S‖)² / 2T                     the paper's form, as we guess it
    (c) F_c(θ_T) − F_c(θ*_c) ≤ k/(k − k_f) · M R² / 2T + Σ_{v∈B} ℓ_v(θ*_c) / (k − k_f)         our form
    (d) F_S(θ_T) − F_S(θ*_S) ≤ M R² / (2 (2T + 1)) · (2T/(2T + 1))^2T              F_S quadratic

*Proof.* (a): the descent lemma, F_S(θ_{t+1}) ≤ F_S(θ_t) − ‖∇F_S(θ_t)‖²/2M, and convexity give
F_S(θ_{t+1}) − F_S(θ*_S) ≤ (M/2)(‖θ_t − θ*_S‖² − ‖θ_{t+1} − θ*_S‖²); sum over t, and F_S falls. (b): triangle
inequality. (c): (k − k_f) F_c = k F_S − Σ_B ℓ_v, so (k − k_f)(F_c(θ_T) − F_c(θ*_c)) = k (F_S(θ_T) − F_S(θ*_c)) +
Σ_B (ℓ_v(θ*_c) − ℓ_v(θ_T)); F_S(θ*_c) ≥ F_S(θ*_S), ℓ_v ≥ 0, and (a). (d): the excess is
½ Σ λ (1 − λ/M)^2T x² over eigendirections, and s (1 − s)^2T is largest at s = 1/(2T + 1); it is 2e
times tighter than (a) for many epochs, and reached. ∎

**Theorem 3 (Polyak-Łojasiewicz).** Let ‖∇F‖² ≥ 2μ (F − F*) at θ_0 … θ_{T−1}, F's curvature along each step
be at most M, and η ≤ 1/M. Then F(θ_T) − F* ≤ (1 − μη)^T (F(θ_0) − F*). *Proof.* By the descent lemma
F(θ_{t+1}) ≤ F(θ_t) − (η/2) ‖∇F(θ_t)‖² ≤ F(θ_t) − μη (F(θ_t) − F*). ∎ With all parameters moving there is no
proof of μ, M or F*: :mod:`rvdlib.theory.path` measures them along the path, after the fact.

**What none of this says.** ‖θ_T − θ*_c‖ sums over the whole catalogue; whom a user is served depends on
the order of scores. Where no honest neighbour rated an attacked item and ω = 0, F_c is silent about
it without a regulariser: it is unlearned by definition, and stays where the fakes put it.

(a): Nesterov, *Introductory Lectures on Convex Optimization* (2004); for unlearning by descent Neel,
Roth and Sharifi-Malvajerdi, "Descent-to-Delete" (2021). Theorem 3: Polyak (1963); Karimi, Nutini and
Schmidt (2016). (b) is our guess at the paper's form, whose statements were not at hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rvdlib.theory.ridge import VicinalRidge

# Names of the forms, as tables have them.
PAPER, PAPER_CLEAN, OURS, BY_ITEM, QUADRATIC = (
    "the paper's form, as we guess it",
    "the paper's form, as we guess it, read for the clean vicinity",
    "our form",
    "our form, item by item",
    "quadratic form",
)
THEOREMS = (PAPER, OURS, BY_ITEM, QUADRATIC)  # what must hold; PAPER_CLEAN need not
_ROUNDING = 1e-8  # of the start: a measured length below this is rounding


@dataclass(frozen=True, eq=False)
class Unlearning:
    """What was measured of one vicinity, and what bounds it.

    Attributes:
        epochs: (E,) T.
        measured: form → (E,) the distance, or the excess of the loss, that this form bounds.
        bound: form → (E,) its bound.
        start: what is measured of the clean vicinity, before the first step.
        path: (E, items, p) the decoder after each of ``epochs``.
        clean: F_c.
    """

    epochs: np.ndarray
    measured: dict[str, np.ndarray]
    bound: dict[str, np.ndarray]
    start: float
    path: np.ndarray
    clean: VicinalRidge

    def exceeded(self, form: str) -> np.ndarray:
        """(E,) whether what was measured lies above this bound, by more than rounding."""
        return self.measured[form] > self.bound[form] * (1 + 1e-9) + _ROUNDING * self.start


def contraction(m: float, M: float) -> float:
    """γ of one step by 2/(m + M)."""
    return (M - m) / (M + m)


def strongly_convex(
    loss: VicinalRidge,
    fakes: np.ndarray,
    start: np.ndarray,
    trained: np.ndarray,
    epochs: Sequence[int],
    step: float | None = None,
) -> Unlearning:
    """Theorem 1 on one vicinity: distances to θ*_S and θ*_c, and their bounds.

    Args:
        loss: F_S, with a regulariser wherever it depends on an item.
        fakes: (k,) mask of the malicious rows; not all.
        start: (items, p) θ_0.
        trained: (items, p) θ*_o.
        epochs: T, at least 1 each.
        step: η of the descent that is measured; 2/(m + M), which the bounds are for, unless said.

    Raises:
        ValueError: if F_S or F_c is not strongly convex, or every row is malicious.
    """
    clean, n_fakes = _clean(loss, fakes), int(np.sum(fakes))
    least, most = loss.curvature
    least_clean, most_clean = clean.curvature
    live, heard = most > 0, most_clean > 0
    if not (least[live] > 0).all() or not (least_clean[heard] > 0).all() or not heard.any():
        raise ValueError(
            "the loss is not strongly convex: it needs a regularizer, or take convex()"
        )
    m, M = least[live].min(), most[live].max()
    eta, gamma, T = 2 / (m + M), contraction(m, M), np.asarray(epochs)
    end = loss.optimum(start)
    end_clean = clean.optimum(end)
    path = loss.descend(start, eta if step is None else step, epochs)
    rest = _lengths(clean.gradient(end))[heard]
    rho = np.maximum(abs(1 - eta * least), abs(1 - eta * most))
    by_item = rho[heard] ** T[:, None] * _lengths(start - end)[heard] + rest / least_clean[heard]
    G, shift = 0.0, 0.0
    if n_fakes:
        rows = np.flatnonzero(fakes)
        G = max(_norm(loss.take([row]).gradient(end)[heard]) for row in rows)
        shift = n_fakes * G / (least_clean[heard].min() * (len(fakes) - n_fakes))

    def by_paper(goal, items):
        return gamma**T * (_norm((start - trained)[items]) + _norm((trained - goal)[items]))

    own = np.array([_norm(decoder - end) for decoder in path])
    ours = np.array([_norm((decoder - end_clean)[heard]) for decoder in path])
    return Unlearning(
        epochs=T,
        measured={PAPER: own, PAPER_CLEAN: ours, OURS: ours, BY_ITEM: ours},
        bound={
            PAPER: by_paper(end, live),
            PAPER_CLEAN: by_paper(end_clean, heard),
            OURS: gamma**T * _norm(start - end) + shift,
            BY_ITEM: np.sqrt((by_item**2).sum(axis=1)),
        },
        start=_norm((start - end_clean)[heard]),
        path=path,
        clean=clean,
    )


def convex(
    loss: VicinalRidge,
    fakes: np.ndarray,
    start: np.ndarray,
    trained: np.ndarray,
    epochs: Sequence[int],
    step: float | None = None,
) -> Unlearning:
    """Theorem 2 on one vicinity: the excess of F_S and of F_c, and their bounds.

    Arguments as for :func:`strongly_convex`; no regulariser is needed, and η is 1/M.

    Raises:
        ValueError: if every row is malicious, or the loss depends on no item.
    """
    clean, n_fakes, k = _clean(loss, fakes), int(np.sum(fakes)), len(fakes)
    M, T = loss.curvature[1].max(), np.asarray(epochs)
    if not M > 0:
        raise ValueError("the loss depends on no item: nobody in the vicinity rated anything")
    end = loss.optimum(start)
    end_clean = clean.optimum(end)
    path = loss.descend(start, 1 / M if step is None else step, epochs)
    own = np.array([_excess(loss, decoder, end) for decoder in path])
    ours = np.array([_excess(clean, decoder, end_clean) for decoder in path])
    radius = _norm(start - end)
    plain = M * radius**2 / (2 * T)
    apart = _norm(start - trained) + _norm(trained - end)
    kept = loss.row_losses(end_clean)[np.asarray(fakes, dtype=bool)].sum()
    return Unlearning(
        epochs=T,
        measured={PAPER: own, OURS: ours, QUADRATIC: own},
        bound={
            PAPER: M * apart**2 / (2 * T),
            OURS: (k * plain + kept) / (k - n_fakes),
            QUADRATIC: M * radius**2 / (2 * (2 * T + 1)) * (2 * T / (2 * T + 1)) ** (2 * T),
        },
        start=_excess(clean, start, end_clean),
        path=path,
        clean=clean,
    )


def distances(clean: VicinalRidge, decoder: np.ndarray) -> np.ndarray:
    """(items,): how far each row of a decoder is from the nearest minimiser of the clean vicinity's
    loss; 0 where that loss does not depend on it."""
    return _lengths(decoder - clean.optimum(decoder))


def _clean(loss: VicinalRidge, fakes: np.ndarray) -> VicinalRidge:
    fakes = np.asarray(fakes, dtype=bool)
    if fakes.shape != (len(loss.latent),) or fakes.all():
        raise ValueError(f"fakes must mask some of {len(loss.latent)} rows, not all, got {fakes}")
    return loss.take(~fakes) if fakes.any() else loss


def _excess(loss: VicinalRidge, decoder: np.ndarray, end: np.ndarray) -> float:
    """F(θ) − F(θ*) = ½ (θ − θ*) · ∇F(θ), exact for a quadratic, without a difference of large sums."""
    return float(((decoder - end) * loss.gradient(decoder)).sum() / 2)


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1)


def _norm(rows: np.ndarray) -> float:
    return float(np.linalg.norm(rows))
