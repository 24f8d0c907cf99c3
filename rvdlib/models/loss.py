"""A victim's loss: what training and fine-tuning descend, as one object.

Over the rows S of B users it is

    (1/B) Σ_{v∈S} Σ_i c_vi (y_vi − s_vi)² + Σ_θ D_θ θ²

with c = 1 and y the rating where there is one, c = ω and y = y⁰_v elsewhere. The regulariser's
weights D_θ are of two kinds. The victims that are trained by Adam have ``reg`` times the squared
norm of all parameters, however few rows there are:

    D = reg

The factorisations that are trained by stochastic gradient descent or alternating least squares have
``reg`` times the squared norm of both rows of a cell, for each cell, with the cell's weight
(:attr:`Loss.per_cell`). So a row's D grows with what S says of it, and where S says nothing it is 0:

    users: D_v = (reg/B) (|R(v)| + ω · items)        items: D_i = (reg/B) (|S ∩ raters of i| + ω B)

These are the sums Σ_R [(y − s)² + reg (‖p_u‖² + b_u² + ‖w_i‖² + b_i²)] of Koren et al. 2009 (ω = 0)
and the scaling of Rendle et al. 2022 (ω > 0).
"""

from dataclasses import dataclass, replace
from typing import Literal

Regularizer = Literal["coupled", "decoupled", "none"]
Optimizer = Literal["adam", "sgd"]


@dataclass(frozen=True)
class Loss:
    """The loss of a victim (:attr:`rvdlib.models.Victim.loss`), or a variant of it.

    Attributes:
        unobserved_weight: ω in [0, 1], the weight of an unobserved cell.
        reg: weight of the regulariser.
        per_cell: whether the regulariser counts cells; else it counts every parameter once.
        optimizer: what fine-tuning takes its steps by. MF's own methods have no step on a whole
            vicinity: descent rating by rating takes thousands of small ones, least squares none at
            all, and gradient descent of all ratings at once either diverges or hardly moves. It is
            fine-tuned by Adam, as the others.
        regularizer: ``coupled``: part of the loss, so that Adam scales its gradient as it does that
            of the data. ``decoupled``: θ ← (1 − 2 η D) θ before each step, as in AdamW (Loshchilov
            and Hutter 2019); under SGD the same as ``coupled``. ``none``: the data term alone.
    """

    unobserved_weight: float
    reg: float
    per_cell: bool = False
    optimizer: Optimizer = "adam"
    regularizer: Regularizer = "coupled"

    def variant(
        self, unobserved_weight: float | None = None, regularizer: Regularizer | None = None
    ) -> "Loss":
        """The same loss with another ω or regulariser; None: as it is."""
        omega = self.unobserved_weight if unobserved_weight is None else unobserved_weight
        return replace(self, unobserved_weight=omega, regularizer=regularizer or self.regularizer)

    @property
    def weight_decay(self) -> float:
        """2 reg, which every parameter's gradient gains as a share of the parameter itself.

        0 if the regulariser counts cells, or there is none.
        """
        return 0.0 if self.per_cell or self.regularizer == "none" else 2 * self.reg
