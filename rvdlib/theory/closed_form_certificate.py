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
) -> np.ndarray:
    """The most by which f members of a vicinity can move a score of the closed form, up or down:

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

    Args:
        n_bad: f.
        variance: v. With ``residual``, ρ, in the regression's unit of ratings, as the result. Numbers,
            or arrays that go together.
        length: Z, at least ‖(h, 1)‖ of any member; ``proximal_weight``, λ, is read with it only.

    Raises:
        ValueError: for negative numbers or NaN.
    """
    n_bad, variance, residual = (np.asarray(each, float) for each in (n_bad, variance, residual))
    for name, given in (("n_bad", n_bad), ("variance", variance), ("residual", residual)):
        if not (given >= 0).all():
            raise ValueError(f"{name} must be 0 or more, got {given}")
    if not (length >= 1 and 0 < proximal_weight < np.inf):
        raise ValueError(
            "length must be at least 1, that of (0, 1), and proximal_weight above 0 and finite, got "
            f"{length} and {proximal_weight}"
        )
    t = np.minimum(1, length * np.sqrt(np.maximum(n_bad, 1) / proximal_weight))
    return t / (1 + t**2) * np.sqrt(n_bad * variance) * residual
