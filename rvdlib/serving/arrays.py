"""A linear recommender at one moment: all that a request reads, and nobody writes to.

    s_ui = a_u + h_u · w_i + b_i,    in stars

It has what defences ask of a trained victim, so each of them serves it as it would the victim that
these arrays are of.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.arguments import as_indices, check_csr
from rvdlib.models import Loss, Victim
from rvdlib.serving.change import Change
from rvdlib.serving.errors import UnusableModel
from rvdlib.threads import single_thread


@dataclass(frozen=True, eq=False)
class Arrays:
    """Everybody's vectors, the decoder, and the ratings that neighbours are heard with.

    Attributes:
        factors: (users, d) h, float32; ``offsets`` (users,) a.
        silence: (users,) y⁰, what an unobserved cell is taken to be.
        decoder: (items, d + 2) float32, the columns of w, then b, then ones.
        train: (users, items) CSR of stars; what is stored has been seen by the user.
        biased: whether the decoder has a b that training moved.
        loss: of the victim, for a defence that counts its regulariser.

    Raises:
        UnusableModel: for shapes that do not fit, or a NaN or an infinity; it names the array.
    """

    factors: np.ndarray
    offsets: np.ndarray
    silence: np.ndarray
    decoder: np.ndarray
    train: sp.csr_matrix
    biased: bool = True
    loss: Loss = field(default_factory=lambda: Loss(0.0, 0.0))
    max_rating: ClassVar[float] = 1.0  # arrays are in stars
    predicts_stars: ClassVar[bool] = True
    name: ClassVar[str] = "arrays"

    def __post_init__(self):
        check_csr("train", self.train)
        n_users, n_items = self.train.shape
        size = self.factors.shape[-1]
        expected = {
            "factors": (n_users, size),
            "offsets": (n_users,),
            "silence": (n_users,),
            "decoder": (n_items, size + 2),
        }
        for name, shape in expected.items():
            found = getattr(self, name)
            if found.shape != shape or found.dtype != np.float32:
                raise UnusableModel(
                    f"{name} must be float32 of the shape {shape}, got {found.dtype} {found.shape}"
                )

    @classmethod
    def of(cls, victim: Victim, train: sp.csr_matrix | None = None) -> Self:
        """Those of a trained victim; ``train``: stars, by default those that it was trained on."""
        stars, everyone = np.float32(victim.max_rating), np.arange(victim.train.shape[0])
        train = victim.train * stars if train is None else train
        with torch.no_grad():
            offsets, factors = victim.encode(victim.parameters, everyone)
            silence = victim.unobserved_target(everyone)
        weights, bias = (victim.parameters[name].numpy() for name in ("item_factors", "item_bias"))
        return cls.from_parts(
            factors.numpy(),
            stars * offsets.numpy(),
            stars * weights,
            stars * bias,
            train,
            silence=stars * silence.numpy(),
            biased="item_bias" not in victim.constants,
            loss=victim.loss,
        )

    @classmethod
    def from_parts(
        cls,
        user_factors: np.ndarray,
        offsets: np.ndarray,
        item_factors: np.ndarray,
        item_bias: np.ndarray,
        train: sp.csr_matrix,
        *,
        silence: np.ndarray | None = None,
        **rest,
    ) -> Self:
        """From anybody's linear model, in the unit of ``train``; ``silence`` is 0 unless said."""
        offsets = np.asarray(offsets, dtype=np.float32)
        silence = np.zeros_like(offsets) if silence is None else silence
        columns = [item_factors, item_bias, np.ones(len(item_factors))]
        found = cls(
            np.ascontiguousarray(user_factors, dtype=np.float32),
            offsets,
            np.asarray(silence, dtype=np.float32),
            np.column_stack(columns).astype(np.float32),
            sp.csr_matrix(train, dtype=np.float32),
            **rest,
        )
        found.check_finite()
        return found

    def check_finite(self) -> None:
        for name in ("factors", "offsets", "silence", "decoder"):
            if not np.isfinite(getattr(self, name)).all():
                raise UnusableModel(f"{name} hold a NaN or an infinity: the model has diverged")
        if not np.isfinite(self.train.data).all():
            raise UnusableModel("the ratings hold a NaN or an infinity")

    def levels_beside(self, ratings: sp.csr_matrix) -> np.ndarray | None:
        """None where ``ratings`` are those of ``train``; else the least and the greatest value here.

        Raises:
            UnusableModel: unless both are of the same users, items and cells; it names the difference.
        """
        own, given = (sp.csr_matrix(each, copy=True) for each in (self.train, ratings))
        if own.shape != given.shape:
            raise UnusableModel(
                f"the arrays are of {own.shape} users and items, the ratings of {given.shape}"
            )
        rated = [
            sp.csr_matrix((np.ones(m.nnz), m.indices, m.indptr), m.shape) for m in (own, given)
        ]
        difference = (rated[0] - rated[1]).tocoo()
        difference.eliminate_zeros()
        if difference.nnz:
            row, column, sign = difference.row[0], difference.col[0], difference.data[0]
            has, lacks = ("arrays", "ratings") if sign > 0 else ("ratings", "arrays")
            raise UnusableModel(
                f"the {has} have a rating of user {row} (by row) for item {column} (by column), the "
                f"{lacks} have none: give the ratings that the arrays are of"
            )
        own.sort_indices()
        given.sort_indices()
        if not own.nnz or np.array_equal(own.data, given.data.astype(own.dtype)):
            return None
        return np.array([own.data.min(), own.data.max()], dtype=np.float32)

    def with_rows(self, **changed) -> Self:
        """The same decoder, and other users; what is derived of the decoder is kept."""
        other = replace(self, **changed)
        vars(other)["_across"] = self._across
        return other

    def only(self, rows: np.ndarray) -> Self:
        """Those of some users alone."""
        own = {name: getattr(self, name)[rows] for name in ("factors", "offsets", "silence")}
        return self.with_rows(**own, train=self.train[rows])

    def after(self, change: Change, came: Self) -> Self:
        """Everybody's; ``came``: of those who came or have changed."""
        made = change.spliced(self, came, ("factors", "offsets", "silence"))
        return made.with_rows(train=change.csr(self.train, came.train))

    @cached_property
    def _across(self) -> np.ndarray:
        """(d + 2, items), contiguous: a user's scores are read in the order of memory."""
        return np.ascontiguousarray(self.decoder.T)

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items) in stars, float32."""
        users = self.rows(users)
        ones = np.ones(len(users), dtype=np.float32)
        return np.column_stack([self.factors[users], ones, self.offsets[users]]) @ self._across

    # What defences ask of a victim.

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        decoder = torch.from_numpy(self.decoder)
        return {"item_factors": decoder[:, :-2], "item_bias": decoder[:, -2]}

    @property
    def constants(self) -> frozenset[str]:
        return frozenset() if self.biased else frozenset({"item_bias"})

    def rows(self, users: np.ndarray) -> np.ndarray:
        return as_indices("users", users, len(self.factors))

    def user_factors(self, users: np.ndarray | None = None) -> np.ndarray:
        return self.factors if users is None else self.factors[self.rows(users)]

    def encode(self, parameters, users: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        users = self.rows(users)
        return torch.from_numpy(self.offsets[users]), torch.from_numpy(self.factors[users])

    def unobserved_target(self, users: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.silence[self.rows(users)])


class Module:
    """A torch module without a defence."""

    def __init__(self, module: torch.nn.Module):
        self._module = module

    @single_thread()
    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), as its ``forward`` gives them."""
        with torch.no_grad():
            return self._module(torch.from_numpy(users)).cpu().numpy()


def arrays_of(train: sp.csr_matrix) -> Arrays:
    """Who there is and what they have rated; vectors and decoder are a torch module's own affair."""
    of_users, of_items = map(np.zeros, train.shape)
    return Arrays.from_parts(of_users[:, None], of_users, of_items[:, None], of_items, train)
