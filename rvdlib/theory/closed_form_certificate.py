"""Certificate of the closed form: how far members of a vicinity can move a score."""

import numpy as np
from numpy.typing import ArrayLike


def score_shift(
    n_bad: ArrayLike,
    variance: ArrayLike,
    residual: ArrayLike,
    *,
    length: float = np.inf,
    proximal_weight: float = 1.0,
    moved: ArrayLike = 0.0,
) -> np.ndarray:
    """The most by which f members of a vicinity can move a score of the closed form (with one group):

        |s(S ∪ F) − s(S)| ≤ t / (1 + t²) · √(f v) · ρ,    t = min(1, Z √(f/λ))

    and t / (1 + t²) is at most ½. S are the other members, with any ratings. F are the f: with any
    ratings, anywhere among the latent vectors, all alike if they like. Of S alone are

    - v = z_u · M⁻¹ z_u, M = λI + Σ_S c_v z_v z_vᵀ, z = (h, 1): the posterior variance of the score,
      at most ‖z_u‖² / λ;
    - ρ, the most that a rating of F, or its silence, can be off what S's decoder row w + Δ_S says of
      it: |y − a − z · (w + Δ_S)| ≤ Y + Z ‖w + Δ_S‖, if |y − a| ≤ Y and ‖z‖ ≤ Z.

    It is about a model that is trained: decoder row w, and the latent vectors and offsets of S and u,
    are as they are; weights c are in [0, 1]. A vicinity of k that takes in f loses f others: the
    attacked score is within this of the score by the k − f that stay.

    Proof. Δ_S minimises F_S(Δ) = Σ_S c_v (e_v − z_v · Δ)² + λ‖Δ‖², a quadratic of Hessian 2M. Let
    A = M^(−½) Z_Fᵀ C^½, (d + 1, f), and r = C^½ (e_F − Z_F Δ_S). With F in, the normal equations are
    M^½ (I + AAᵀ) M^½ (Δ − Δ_S) = M^½ A r, so Δ − Δ_S = M^(−½) (I + AAᵀ)⁻¹ A r, and the score moves
    by (M^(−½) z_u) · (I + AAᵀ)⁻¹ A r: at most √v ‖(I + AAᵀ)⁻¹ A‖ ‖r‖. Where A has the singular value
    σ, (I + AAᵀ)⁻¹ A has σ/(1 + σ²), which grows up to ½ at σ = 1 and falls behind it. σ² is at most
    trace AᵀA = Σ_F c z · M⁻¹ z ≤ f Z²/λ; and ‖r‖² ≤ f ρ².

    Tight where f v = 1: f members at the user's own place, z = z_u and c = 1, off by ρ, move the score
    by f v ρ / (1 + f v) = ½ √(f v) ρ.

    With a ``rating_bound`` β the score is that of the same regression on bounded ratings: r' is r, or
    β off what is expected, x = ω y⁰ + (1 − ω) s̃, where r is further off (s̃: the scores if all were
    silent, :mod:`rvdlib.defenses.regression`). Δ_S, and ρ of F as it stands among S, are of r' then,
    and with ω = 0, where x is the trained victim's score, ρ ≤ β + Z ‖Δ_S‖ whatever F rate. For ω of 0
    or 1 that is all. Between, F move what is expected of others, and so their r':

        |s(S ∪ F) − s(S)| ≤ t / (1 + t²) · √(f v) · ρ + √v · ‖r'_S(S ∪ F) − r'_S(S)‖

    over those of S who rated the item, and |r'_o(S ∪ F) − r'_o(S)| is at most 1 − ω times what F move
    s̃_o: this bound for o, of silent members, with ω f for f, all weights being ω.

    Proof. With r'_S as without F, the first term bounds the shift, as above. The rest is linear in the
    change of r': at most |M_N^(−½) z_u| ‖M_N^(−½) Z_Oᵀ‖ ‖r'_S(S ∪ F) − r'_S(S)‖, M_N of S ∪ F, and O who
    rated. M_N ⪰ M and M_N ⪰ Z_Oᵀ Z_O, so that the factors are at most √v and 1. r' is x + clip(r − x),
    of slope 0 or 1 in x, and only s̃ moves in x.

    Args:
        n_bad: f, or the sum of their weights c.
        variance: v. With ``residual``, ρ, in the regression's unit of ratings, as the result. Numbers,
            or arrays that go together.
        length: Z, at least ‖(h, 1)‖ of any member; ``proximal_weight``, λ, is read with it only.
        moved: the most that F move the bounded ratings of S, ‖r'_S(S ∪ F) − r'_S(S)‖; needed with a
            ``rating_bound`` and ω between 0 and 1, where the bound is broken without it.

    Raises:
        ValueError: for negative numbers or NaN.
    """
    given = {"n_bad": n_bad, "variance": variance, "residual": residual, "moved": moved}
    given = {name: np.asarray(each, float) for name, each in given.items()}
    for name, each in given.items():
        if not (each >= 0).all():
            raise ValueError(f"{name} must be 0 or more, got {each}")
    n_bad, variance, residual, moved = given.values()
    if not (length >= 1 and 0 < proximal_weight < np.inf):
        raise ValueError(
            "length must be at least 1, that of (0, 1), and proximal_weight above 0 and finite, got "
            f"{length} and {proximal_weight}"
        )
    t = np.minimum(1, length * np.sqrt(np.where(n_bad > 0, n_bad, 1) / proximal_weight))
    return t / (1 + t**2) * np.sqrt(n_bad * variance) * residual + np.sqrt(variance) * moved
