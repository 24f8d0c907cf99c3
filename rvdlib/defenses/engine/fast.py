"""The fast engine for iterative RVD: the scores of :class:`~rvdlib.defenses.vicinal.RVD`, sooner.

The plain form copies and moves every parameter of the victim for every user, though hardly any
depends on the vicinity's rows. This form copies those that do, descends on them in compiled code
(:mod:`rvdlib.defenses.engine.kernels` has the mathematics), and takes all others from one descent
on the regulariser alone, the same for every user: their scores are one matrix product for many.

In float64 its scores are the plain form's to 10⁻⁹ stars, unless a descent of hundreds of steps magnifies
roundings. In float32 both round: where a gradient is near 0, Adam turns a rounding into a step of the
learning rate. Of 864 lists of 50 on ML-100K (k = 100 to 600, learning rates of 0.01 and 0.1) none had other
items than in float64, and nine another order; single scores were off by up to 0.15 stars.

Users are spread over as many threads as torch has (``torch.get_num_threads()``). Neither that
number changes a score by a bit, nor who else is served by more than rounding.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rvdlib.defenses.engine import kernels as kernels
from rvdlib.defenses.engine.arrays import block_rows, workspace
from rvdlib.defenses.engine.kernels import Decoder, Descent, Encoder, Ratings, Workspace
from rvdlib.defenses.engine.span import scores_in_span
from rvdlib.defenses.vicinal import RVD
from rvdlib.models import CDAE, MF, NSVD, AutoRec, PlainMF, PlainNSVD
from rvdlib.models.base import Parameters, Victim
from rvdlib.threads import for_blocks

_USERS_AT_ONCE = 8  # in one call of a kernel
_PRODUCT_USERS = 128  # in one product with the catalogue


class EncoderParts(NamedTuple):
    """A victim's encoder: h_v = f(Σ_j x_vj E_j + P_v + c), a_v = α_v + β_v, by its tensors' names.

    x is ``victim.inputs``. Absent parts are None; a name that the victim's regime lacks is absent
    too.
    """

    constants: Callable[[Any], np.ndarray]  # α (users,) of a victim of the class
    profile_factors: str | None = None  # E
    own_factors: str | None = None  # P
    hidden_bias: str | None = None  # c
    user_bias: str | None = None  # β
    sigmoid: bool = False  # whether f is; else the identity


def _mean_rating(victim: Victim) -> np.ndarray:
    return np.full(victim.train.shape[0], 0.0 if victim.ranking else victim.mean_rating)


def _zeros(victim: Victim) -> np.ndarray:
    return np.zeros(victim.train.shape[0])


def _user_means(victim: AutoRec) -> np.ndarray:
    return victim.user_means


# Whose encoder is described here is served.
ENCODERS: dict[type[Victim], EncoderParts] = {
    MF: EncoderParts(_mean_rating, own_factors="user_factors", user_bias="user_bias"),
    NSVD: EncoderParts(_mean_rating, profile_factors="implicit_factors", user_bias="user_bias"),
    AutoRec: EncoderParts(
        _user_means, profile_factors="encoder_factors", hidden_bias="encoder_bias", sigmoid=True
    ),
    CDAE: EncoderParts(
        _user_means,
        profile_factors="encoder_factors",
        own_factors="user_embeddings",
        hidden_bias="encoder_bias",
        sigmoid=True,
    ),
    PlainMF: EncoderParts(_zeros, own_factors="user_factors"),
    PlainNSVD: EncoderParts(_zeros, profile_factors="implicit_factors", user_bias="user_bias"),
}


class FastRVD(RVD):
    """RVD with the same choices and the same scores, compiled.

    Raises:
        ValueError: for a victim whose encoder is not described in ``ENCODERS``.
    """

    def __init__(self, victim: Victim, **choices):
        super().__init__(victim, **choices)
        if type(victim) not in ENCODERS:
            raise ValueError(
                f"the engine does not know how {type(victim).__name__} encodes a user: defend it "
                "by RVD, which takes any victim, or by FunctionalRVD, which takes any torch "
                "module, or describe its encoder in rvdlib.defenses.engine.ENCODERS"
            )
        self._free: dict[int, list[Workspace]] = defaultdict(list)  # by the length of a vicinity
        self._decayed: dict[int, Parameters] = {}

    def score(self, users: np.ndarray) -> np.ndarray:
        """Defended scores (B, items) in stars, in the dtype of the victim's parameters."""
        return self.by_vicinity(self.victim.rows(users), self._score)

    def _score(self, users: np.ndarray, vicinities: np.ndarray) -> np.ndarray:
        vicinities = np.ascontiguousarray(vicinities)
        k, (decoder, encoder, ratings) = vicinities.shape[1], self._arrays
        if not k:
            return self.victim.score_with(self._idle(k), users)
        descent, dtype = self._descent(k), decoder.factors.dtype
        if self.config.scope == "decoder" and self.optimizer == "sgd":
            return self._score_in_span(users, vicinities, descent)
        idle_decoder, idle_encoder = self._parts(self._idle(k))
        n_items, size = decoder.factors.shape
        n_ratings = np.diff(ratings.indptr)[vicinities].sum(axis=1).max(initial=0)
        n_rows = n_items if descent.silent_weight else min(n_items, n_ratings)
        factors, offsets = np.empty((len(users), size), dtype), np.empty(len(users), dtype)
        n_moved = np.empty(len(users), dtype=np.int64)
        moved_items = np.empty((len(users), n_rows), dtype=np.int32)
        moved_scores = np.empty((len(users), n_rows), dtype=dtype)
        scores = np.empty((len(users), n_items), dtype=dtype)

        def fine_tune(block):
            served, rows = users[block], vicinities[block]
            with self._workspace(k, descent) as space:
                kernels.fine_tune(
                    served, rows, decoder, encoder, idle_encoder, ratings, descent,
                    block_rows(size), space, factors[block], offsets[block],
                    n_moved[block], moved_items[block], moved_scores[block],
                )  # fmt: skip

        def decode(block):
            np.matmul(factors[block], idle_decoder.factors.T, out=scores[block])

        def finish(block):
            kernels.finish(
                idle_decoder.bias, offsets[block], n_moved[block], moved_items[block],
                moved_scores[block], dtype.type(self.victim.max_rating), scores[block],
            )  # fmt: skip

        for_blocks(fine_tune, len(users), _USERS_AT_ONCE)
        for_blocks(decode, len(users), _PRODUCT_USERS)
        for_blocks(finish, len(users), _USERS_AT_ONCE)
        return scores

    def _score_in_span(self, users, vicinities, descent: Descent) -> np.ndarray:
        """Scores of plain descent on the decoder."""
        decoder, _, ratings = self._arrays
        latent, offsets = self._encoded
        scores = scores_in_span(
            users,
            vicinities,
            latent=latent,
            offsets=offsets,
            decoder=np.column_stack(decoder),
            ratings=ratings,
            descent=descent,
        )
        scores *= decoder.factors.dtype.type(self.victim.max_rating)
        return scores

    @cached_property
    def _encoded(self) -> tuple[np.ndarray, np.ndarray]:
        """z = (h, 1), or (h, 0) where b does not move, (users, d + 1), and a (users,), float64."""
        offsets, factors = self.victim.encode(
            self.victim.parameters, np.arange(self.victim.train.shape[0])
        )
        last = float("item_bias" not in self.victim.constants)
        latent = np.column_stack([factors.numpy(), np.full(len(factors), last)])
        return latent.astype(np.float64), offsets.numpy().astype(np.float64)

    @contextmanager
    def _workspace(self, k: int, descent: Descent) -> Iterator[Workspace]:
        """Memory for any vicinity of k, used before if there is some: fresh pages take time."""
        try:
            space = self._free[k].pop()
        except IndexError:
            decoder, _, ratings = self._arrays
            most = np.sort(np.diff(ratings.indptr))[-k:].sum()
            n_items, size = decoder.factors.shape
            space = workspace(decoder.factors.dtype, n_items, size, k, most, descent)
        yield space
        self._free[k].append(space)

    def _idle(self, k: int) -> Parameters:
        """The parameters where no rating of a vicinity of k reaches, after the last step."""
        if not self.loss.weight_decay:
            return self.victim.parameters
        if k not in self._decayed:
            self._decayed[k] = self.decayed(k)
        return self._decayed[k]

    @cached_property
    def _arrays(self) -> tuple[Decoder, Encoder, Ratings]:
        """What the kernels read of the victim."""
        victim = self.victim
        decoder, encoder = self._parts(victim.parameters)
        dtype, inputs = decoder.factors.dtype, np.empty(0)
        if len(encoder.profile_factors):
            inputs = victim.inputs.data
        ratings = Ratings(
            victim.train.indptr,
            victim.train.indices,
            targets=victim.train.data.astype(dtype),
            inputs=inputs.astype(dtype),
            silence=victim.unobserved_target(np.arange(victim.train.shape[0]))
            .numpy()
            .astype(dtype),
        )
        return decoder, encoder, ratings

    def _parts(self, parameters: Parameters) -> tuple[Decoder, Encoder]:
        victim, parts = self.victim, ENCODERS[type(self.victim)]
        dtype, size = parameters["item_factors"].numpy().dtype, parameters["item_factors"].shape[1]

        def part(name, *row_shape):
            if name not in parameters:
                return np.empty((0, *row_shape), dtype=dtype)
            return np.ascontiguousarray(parameters[name].numpy()).reshape(-1, *row_shape)

        decoder = Decoder(part("item_factors", size), part("item_bias"))
        encoder = Encoder(
            profile_factors=part(parts.profile_factors, size),
            own_factors=part(parts.own_factors, size),
            hidden_bias=part(parts.hidden_bias, size),
            user_bias=part(parts.user_bias),
            constants=parts.constants(victim).astype(dtype),
            sigmoid=parts.sigmoid,
        )
        return decoder, encoder

    def _descent(self, k: int) -> Descent:
        config, loss = self.config, self.loss
        step = np.arange(1, config.steps + 1)
        rates = np.full((config.steps, 2), config.learning_rate)
        if self.optimizer == "adam":
            rates[:, 0] /= 1 - 0.9**step
            rates[:, 1] = 1 / np.sqrt(1 - 0.999**step)
        omega = float(np.float32(loss.unobserved_weight))  # as the plain form weighs a cell
        per_cell = loss.per_cell and loss.regularizer != "none"
        return Descent(
            encoder_moves=config.scope == "all",
            bias_moves="item_bias" not in self.victim.constants,
            adam=self.optimizer == "adam",
            rates=rates,
            learning_rate=config.learning_rate,
            rated_weight=2 / k,
            silent_weight=2 * omega / k,
            pull=2 * config.proximal_weight / k,
            decay=loss.weight_decay,
            cell_decay=2 * loss.reg / k if per_cell else 0.0,
            silent_users=loss.unobserved_weight * k,
            silent_items=loss.unobserved_weight * self.victim.train.shape[1],
            decoupled=loss.regularizer == "decoupled",
        )
