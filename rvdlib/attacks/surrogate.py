"""What an attacker trains in the victim's place: matrix factorisation by alternating least squares.

    ŝ_ui = m + x_u · y_i,    x_u = (b_u, p_u, 1),    y_i = (1, q_i, b_i)

minimises, over the rated cells R and with weight ω (``unobserved_weight``) over the others,

    L = ½ Σ_R (r_ui − ŝ_ui)² + ½ ω Σ_{not R} ŝ_ui² + ½ reg [Σ_u n_u ‖b_u, p_u‖² + Σ_i n_i ‖q_i, b_i‖²]

on ratings divided by the top of the scale. n_u = |R_u| + ω · items and n_i = |R_i| + ω · users: only
if the regulariser grows so with the row is a stationary point of L one of the victim's training as
well (:mod:`rvdlib.models.mf`), which descends rating by rating if ω = 0. m is what an unobserved
cell is taken to be: the mean visible rating if ω = 0, zero if ω > 0.

How does an objective J of the trained factors move with a fake's rating? The factors are
stationary, ∇L = 0, so by the implicit function theorem, with H = ∇²L,

    dJ/dr_ui = a_u · y_i + x_u · a_i,    H a = ∇J

where a_u and a_i belong to x_u and y_i. Both blocks on H's diagonal consist of one small matrix a
row, the normal matrices A of the row's ridge regression, so that a is found the way the factors
were: alternately, a_i = A_i⁻¹ (∇_i J − (H a)_i without block) for all items, then all users. After n
such sweeps a is the exact gradient through n sweeps of training. One sweep is the formulas of Li et
al. 2016 in a chain, ∂y_i/∂r_ui = A_i⁻¹ x_u and ∂x_u/∂r_ui = A_u⁻¹ y_i, real users held fixed; by the
first formula alone, as printed, no filler would move a target. Many sweeps are the whole H⁻¹, which
says more about the last digits of this minimum than about another training of a victim.

Everything is in float64: which filler is best is often a matter of the sixth digit, and the fakes
should be the same on every machine.
"""

from dataclasses import dataclass, replace
from typing import Self

import numba
import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import AttackConfig
from rvdlib.attacks.profiles import global_moments
from rvdlib.models.least_squares import solve_rows
from rvdlib.models.sparse_ops import sampled_values
from rvdlib.threat_model import ThreatModel

# What is trained of a vector; and of the other side's vectors, what it is regressed on.
USER, ITEM = slice(None, -1), slice(1, None)


class SurrogateConfig(AttackConfig):
    """What the options of all attacks with a surrogate begin with."""

    embedding_size: int = Field(16, ge=1, description="factors of the surrogate")
    unobserved_weight: float = Field(
        0.0,
        ge=0,
        le=1,
        description="of unobserved cells in the surrogate; above 0 for victims of the ranking regime",
    )
    reg: float = Field(0.04, gt=0, description="weight of the surrogate's regulariser")

    def train(self, threat: ThreatModel, rng: np.random.Generator, sweeps: int) -> "Surrogate":
        """The surrogate of these options, without fakes."""
        return Surrogate.train(
            threat,
            rng,
            embedding_size=self.embedding_size,
            unobserved_weight=self.unobserved_weight,
            reg=self.reg,
            sweeps=sweeps,
        )


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Trained on the visible users and on fakes. Nothing is changed in place.

    Attributes:
        ratings: (users, items) CSR of stars / top − m; first the ``n_visible`` real users, then the
            fakes.
        users: (users, d + 2) x_u.
        items: (items, d + 2) y_i.
        baseline: m.
    """

    ratings: sp.csr_matrix
    n_visible: int
    users: np.ndarray
    items: np.ndarray
    baseline: float
    max_rating: float
    unobserved_weight: float
    reg: float

    @classmethod
    def train(
        cls,
        threat: ThreatModel,
        rng: np.random.Generator,
        *,
        embedding_size: int,
        unobserved_weight: float,
        reg: float,
        sweeps: int,
    ) -> Self:
        """Without fakes, from small random factors."""
        mean = 0.0 if unobserved_weight else float(global_moments(threat)[0]) / threat.max_rating
        n_visible, n_items = threat.visible.shape
        items = np.zeros((n_items, embedding_size + 2))
        items[:, 0] = 1
        items[:, 1:-1] = 0.1 * rng.standard_normal((n_items, embedding_size))
        empty = sp.csr_matrix((n_visible, n_items))
        surrogate = cls(
            empty,
            n_visible,
            items[:0],
            items,
            mean,
            threat.max_rating,
            float(unobserved_weight),
            float(reg),
        )
        real = surrogate._scaled(threat.visible)
        return replace(surrogate, ratings=real)._sweep(sweeps)

    def refit(self, fakes: sp.csr_matrix, sweeps: int) -> Self:
        """The same with these fakes, (any, items) CSR of stars, from the present factors on."""
        ratings = sp.vstack([self.ratings[: self.n_visible], self._scaled(fakes)], format="csr")
        return replace(self, ratings=ratings)._sweep(sweeps)

    def rounded(self) -> Self:
        """With factors of six decimals, for loops of many refits: what two processors disagree about
        in the last digits would otherwise grow from one to the next."""
        return replace(self, users=self.users.round(6), items=self.items.round(6))

    def scores(self) -> np.ndarray:
        """Predictions (visible users, items) in stars."""
        return self.max_rating * (self.users[: self.n_visible] @ self.items.T + self.baseline)

    def mean_score(self, items: np.ndarray) -> float:
        """Of visible users and these items, in stars."""
        users = self.users[: self.n_visible].mean(axis=0)
        return self.max_rating * float(users @ self.items[items].mean(axis=0) + self.baseline)

    def mean_score_gradient(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """∇ of :meth:`mean_score` by x, (users, d + 2), and by y, (items, d + 2)."""
        by_user, by_item = np.zeros_like(self.users), np.zeros_like(self.items)
        visible = slice(self.n_visible)
        by_user[visible] = self.max_rating * self.items[items].mean(axis=0) / self.n_visible
        by_item[items] = self.max_rating * self.users[visible].mean(axis=0) / len(items)
        return by_user, by_item

    def adjoint(
        self, user_gradient: np.ndarray, item_gradient: np.ndarray, sweeps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """a: (users, d + 2) and (items, d + 2), from ∇J in the same shapes."""
        by_user, by_item = self._residuals, self._residuals.T.tocsr()
        user_matrices = self._normal_matrices(self.ratings, self.items[:, USER])
        item_matrices = self._normal_matrices(by_item, self.users[:, ITEM])
        to_users, to_items = np.zeros_like(self.users), np.zeros_like(self.items)
        for _ in range(sweeps):
            step = np.zeros_like(self.items)
            step[:, ITEM] = _solve(item_matrices, item_gradient[:, ITEM])
            to_items += step
            user_gradient = user_gradient - self._cross(by_user, self.users, self.items, step)
            step = np.zeros_like(self.users)
            step[:, USER] = _solve(user_matrices, user_gradient[:, USER])
            to_users += step
            item_gradient = -self._cross(by_item, self.items, self.users, step)
            user_gradient = 0
        return to_users, to_items

    def rating_gradient(
        self, user_gradient: np.ndarray, item_gradient: np.ndarray, sweeps: int
    ) -> np.ndarray:
        """dJ/dr, (fakes, items), per unit of a rating divided by the top of the scale.

        It is defined for the cells that a fake has rated. For the others it is the same formula:
        what the cell would do, per unit of its residual, if it were rated.
        """
        users, items = self.adjoint(user_gradient, item_gradient, sweeps)
        return users[self.n_visible :] @ self.items.T + self.users[self.n_visible :] @ items.T

    def presence_gradient(
        self, user_gradient: np.ndarray, item_gradient: np.ndarray, sweeps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """g and h, both (fakes, items): how J moves with the weight c of a cell rated y.

        Of loss ½ c (y − ŝ)² + ½ (1 − c) ω ŝ² and with c cells in n_u and n_i, dJ/dc = g y − h. g is
        the :meth:`rating_gradient`; y and ŝ are divided by the top of the scale, less m.
        """
        users, items = self.adjoint(user_gradient, item_gradient, sweeps)
        users, fakes = users[self.n_visible :], self.users[self.n_visible :]
        slope = users @ self.items.T + fakes @ items.T
        shrinking = (users * fakes).sum(1)[:, None] + (items * self.items).sum(1)
        expected = (1 - self.unobserved_weight) * (fakes @ self.items.T)
        return slope, slope * expected + self.reg * shrinking

    def removal_effect(
        self, user_gradient: np.ndarray, item_gradient: np.ndarray, sweeps: int
    ) -> np.ndarray:
        """(users,): to first order, what J gains if a user leaves the training data.

        The user's part L_u of the loss goes, and the item factors follow: a · ∇L_u (Koh and Liang 2017).
        """
        _, a = self.adjoint(user_gradient, item_gradient, sweeps)
        omega, rated = self.unobserved_weight, self.ratings
        products = sampled_values(rated.indptr, rated.indices, self.users, a)
        shrinking = (a * self.items).sum(1)
        cells = self._residuals.data * products + self.reg * shrinking[rated.indices]
        owners = np.repeat(np.arange(rated.shape[0]), np.diff(rated.indptr))
        observed = np.bincount(owners, weights=cells, minlength=rated.shape[0])
        silent = ((self.users @ (self.items.T @ a)) * self.users).sum(1)
        return observed + omega * (silent + self.reg * shrinking.sum())

    def item_matrices(self, items: np.ndarray) -> np.ndarray:
        """The normal matrices A_i of these items, (B, d + 1, d + 1)."""
        chosen = self.ratings[:, items].T.tocsr()
        return self._normal_matrices(chosen, self.users[:, ITEM])

    @property
    def _residuals(self) -> sp.csr_matrix:
        """∂L/∂ŝ at the rated cells, less what ω ŝ gives every cell: (1 − ω) ŝ − r."""
        rated = self.ratings
        scores = sampled_values(rated.indptr, rated.indices, self.users, self.items)
        values = (1 - self.unobserved_weight) * scores - rated.data
        return sp.csr_matrix((values, rated.indices, rated.indptr), shape=rated.shape)

    def _scaled(self, stars: sp.csr_matrix) -> sp.csr_matrix:
        scaled = stars.astype(np.float64)
        scaled.data = scaled.data / self.max_rating - self.baseline
        return scaled

    def _sweep(self, sweeps: int) -> Self:
        """Users, then items, ``sweeps`` times."""
        users = np.zeros((self.ratings.shape[0], self.items.shape[1]))
        users[:, -1] = 1
        items = self.items.copy()
        by_item = self.ratings.T.tocsr()
        for _ in range(sweeps):
            users[:, USER] = self._regress(self.ratings, items[:, USER], items[:, -1])
            items[:, ITEM] = self._regress(by_item, users[:, ITEM], users[:, 0])
        return replace(self, users=users, items=items)

    def _regress(self, ratings, fixed, fixed_bias):
        omega, solved = self.unobserved_weight, np.zeros((ratings.shape[0], fixed.shape[1]))
        # Without a cell there is nothing to regress on: such a row stays zero.
        rows = np.flatnonzero(np.diff(ratings.indptr) + omega > 0)
        chosen = ratings[rows]
        values = np.empty((len(rows), fixed.shape[1]))
        fixed, fixed_bias = np.ascontiguousarray(fixed), np.ascontiguousarray(fixed_bias)
        solve_rows(
            chosen.indptr, chosen.indices, chosen.data, fixed, fixed_bias, omega, self.reg, values
        )
        solved[rows] = values
        return solved

    def _normal_matrices(self, ratings, fixed):
        fixed, omega = np.ascontiguousarray(fixed), self.unobserved_weight
        return _normal_matrices(ratings.indptr, ratings.indices, fixed, omega, self.reg)

    def _cross(self, residuals, own, other, step):
        """The block of H off the diagonal, times a ``step`` of the other side's vectors."""
        omega = self.unobserved_weight
        moved = sampled_values(residuals.indptr, residuals.indices, own, step)
        moved = sp.csr_matrix(
            ((1 - omega) * moved, residuals.indices, residuals.indptr), shape=residuals.shape
        )
        product = moved @ other + residuals @ step
        return product + omega * (own @ (step.T @ other + other.T @ step))


def _solve(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.linalg.solve(matrices, vectors[..., None])[..., 0]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _normal_matrices(indptr, indices, fixed, omega, reg):
    """What :func:`rvdlib.models.least_squares.solve_rows` solves; reg · 1 for a row without a cell."""
    n_columns, size = fixed.shape
    gram = omega * (fixed.T @ fixed)
    matrices = np.empty((len(indptr) - 1, size, size))
    for row in range(len(indptr) - 1):
        first, last = indptr[row], indptr[row + 1]
        chosen = fixed[indices[first:last]]
        matrices[row] = gram + (1 - omega) * (chosen.T @ chosen)
        cells = last - first + omega * n_columns
        for f in range(size):
            matrices[row, f, f] += reg * (cells if cells > 0 else 1.0)
    return matrices
