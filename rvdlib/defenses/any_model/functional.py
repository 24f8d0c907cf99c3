"""RVD for anybody's torch model: three methods, and no engine written for it.

The model is a ``torch.nn.Module`` that holds its own data. ``users`` is a LongTensor (B,) of rows:

    latent(users)    (B, d)       where neighbours are looked for
    row_loss(users)  (B,)         ℓ_v, the training loss of each user's row
    forward(users)   (B, items)   scores, in whatever unit

Each served user u has parameters θ_u of their own, which start at the trained θ̂ and descend

    (1/|N|) Σ_{v ∈ N} ℓ_v(θ_u) + (δ/2) ‖θ_u‖² + (λ/|N|) ‖θ_u − θ̂‖²,     N = N_k(u), as in
                                                                        rvdlib.defenses.RVD

δ is the ``weight_decay`` that the model was trained with, as ``torch.optim`` has it: in the gradient,
or ``decoupled``, as in AdamW. Any other regulariser is part of ``row_loss``: whole, if it is one of
all parameters, for the mean over rows leaves it as it is.

The θ_u of a chunk of users are stacked. ``torch.func.functional_call`` makes the model a function
of its parameters, ``torch.func.vmap`` maps it over the stack, and as nobody's loss knows another's
parameters, the gradient of the losses' sum is everybody's own. Adam and SGD work number by number,
so one ``torch.optim`` optimiser of the stack is one for each user.

Where the loss of a few rows depends on few rows of large parameters, as with embeddings, a model
may say so, and only those are copied, fine-tuned and put back for the scores, among the others as
the weight decay alone leaves them. Its fourth method is

    touched(vicinities)   (B, k) users → places, data

``places`` has, by name of a parameter, the rows (B, R) of it that the loss of each vicinity depends
on, none of them twice. ``row_loss`` then finds only these in that parameter, and gets the part of
``data``, a dict of tensors (B, ...), that is a vicinity's, in the place of its ``users``.
:class:`rvdlib.defenses.VictimModule` is an example.

What ``vmap`` cannot map (``.item()``, sparse tensors, compiled code) is served by ``chunk_size=1``,
the same steps one user at a time. :func:`rvdlib.defenses.check_defender` tells. Tensors stay on the
device of the model's parameters; only the CPU is tested.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.func import functional_call, vmap

from rvdlib.arguments import as_indices
from rvdlib.models.loss import Regularizer
from rvdlib.neighbors import NeighborSearch
from rvdlib.threads import single_thread

_CHUNK_NUMBERS = 2**21  # moving parameters of a chunk: more of them leave the cache
_CHUNK_USERS = 64
_CHUNK_VICINITIES = 8  # where a model says what they touch: the longest list is everybody's
_BLOCK = 1024  # users whose latent vectors are computed at once


class FunctionalRVDConfig(BaseModel):
    """:class:`rvdlib.defenses.RVDConfig`, as far as it makes sense for any model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(10, ge=1, description="neighbours")
    steps: int = Field(20, ge=0, description="of the optimiser, each on the whole vicinity")
    learning_rate: float = Field(0.01, gt=0)
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False, description="δ of the training")
    regularizer: Regularizer = Field("coupled", description="how δ enters; none: not at all")
    parameters: tuple[str, ...] | None = Field(
        None, description="those that move, by name or by module; None: whatever requires_grad"
    )
    distance: Literal["euclidean", "cosine", "inner_product"] = "euclidean"
    hubness_reduction: Literal["none", "local_scaling", "mutual"] = "none"
    include_user: bool = Field(False, description="whether u's own row joins the vicinity")
    proximal_weight: float = Field(0.0, ge=0, description="λ, the pull back to the trained model")
    chunk_size: int | None = Field(
        None, ge=1, description="users fine-tuned at once; None: by the size of what moves"
    )


class FunctionalRVD:
    """A torch model defended by RVD: scores users, and never changes the model.

    Neighbours are looked for among rows 0 to ``n_users`` − 1, by the latent vectors that they have
    now: after further training, make another. A chunk takes chunk_size × (4 × the moving parameters,
    or what is touched of them, + what one step on k rows takes) numbers.

    Attributes:
        predicts_stars: what the model's attribute of this name says; False if it has none, and
            :func:`rvdlib.evaluation.evaluate` then gives no RMSE.

    Raises:
        ValueError: for impossible choices, ``parameters`` that the model lacks, or a k that is not
            below ``n_users``.
    """

    def __init__(self, model: torch.nn.Module, n_users: int, **choices):
        self.model = model
        self.predicts_stars = getattr(model, "predicts_stars", False)
        self.config = FunctionalRVDConfig(**choices)
        self.moving = moving_parameters(model, self.config.parameters)
        size = sum(model.get_parameter(name).numel() for name in self.moving)
        fitting = min(_CHUNK_USERS, _CHUNK_NUMBERS // size) or 1
        if hasattr(model, "touched"):
            fitting = _CHUNK_VICINITIES
        self.chunk_size = self.config.chunk_size or fitting
        self._n_users = n_users
        self._idle = self._decayed()
        everyone = torch.arange(n_users, device=self._device)
        with torch.no_grad(), single_thread():
            latent = partial(_Methods(_private(model)), "latent")
            factors = torch.cat([latent(block) for block in everyone.split(_BLOCK)])
        self._neighbors = NeighborSearch(
            factors.cpu().numpy(),
            self.config.k,
            self.config.distance,
            hubness_reduction=self.config.hubness_reduction,
        )

    @single_thread()
    @torch.inference_mode(False)  # whatever the caller's mode: with gradients
    def score(self, users: np.ndarray) -> np.ndarray:
        """Defended scores (B, items), in the unit and dtype of the model's ``forward``.

        Raises:
            ValueError: for users out of range, or if fine-tuning diverges.
        """
        users = as_indices("users", users, self._n_users)
        rows = torch.tensor(self.vicinity(users), device=self._device)
        users = torch.tensor(users, device=self._device)
        if not len(users):
            with torch.no_grad():
                return _private(self.model)(users).cpu().numpy()
        chunks = zip(users.split(self.chunk_size), rows.split(self.chunk_size), strict=True)
        return np.concatenate([self._finite_scores(*chunk).cpu().numpy() for chunk in chunks])

    def vicinity(self, users: np.ndarray) -> np.ndarray:
        """(B, k) rows to fine-tune on, or (B, k + 1) where the user's own row joins them."""
        rows = self._neighbors(users)
        own = np.asarray(users, dtype=rows.dtype)
        return np.column_stack([rows, own]) if self.config.include_user else rows

    def _finite_scores(self, users: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        scores = self._score_chunk(users, rows)
        finite = scores.isfinite().all(1)
        if not finite.all():
            config = self.config
            remedy = f"lower learning_rate (now {config.learning_rate}) or steps ({config.steps})"
            raise ValueError(
                f"the scores of user {users[~finite][0]} are not finite: if the model's own are, "
                f"fine-tuning diverges, so {remedy}"
            )
        return scores

    def _score_chunk(self, users: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        model, places, data = _Methods(_private(self.model)), {}, rows
        trained = {name: value.detach() for name, value in model.named_parameters()}
        moving = [f"model.{name}" for name in self.moving]
        if hasattr(model.model, "touched"):
            places, data = model("touched", rows)
            places = {f"model.{name}": at for name, at in places.items()}
        start = {name: trained[name][at] for name, at in places.items()}
        stack = start | {
            name: start[name].clone() if name in places else _repeated(trained[name], len(users))
            for name in moving
        }
        tensors = [stack[name].requires_grad_() for name in moving]

        def loss(own, data):
            return functional_call(model, {**trained, **own}, ("row_loss", data)).mean()

        each = vmap if self.chunk_size > 1 else _of_one
        optimizer = self._optimizer(tensors)
        for _ in range(self.config.steps):
            optimizer.zero_grad()
            total = each(loss)(stack, data).sum()
            if self.config.proximal_weight:
                pairs = ((stack[name], start.get(name, trained[name])) for name in moving)
                moved = sum(((value - before) ** 2).sum() for value, before in pairs)
                total = total + self.config.proximal_weight / rows.shape[1] * moved
            # Not autograd.grad: fused optimisers rely on the memory layout that backward sees to.
            total.backward()
            optimizer.step()

        def score(n):
            tuned = {name: stack[name][n] for name in moving}
            for name in places.keys() & tuned.keys():
                idle = self._idle[name.removeprefix("model.")]
                tuned[name] = idle.index_copy(0, places[name][n], tuned[name])
            return functional_call(model, {**trained, **tuned}, ("__call__", users[n : n + 1]))

        with torch.no_grad():
            return torch.cat([score(n) for n in range(len(users))])

    def _optimizer(self, tensors: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
        config = self.config
        decay = 0.0 if config.regularizer == "none" else config.weight_decay
        options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": decay, "fused": True}
        if config.optimizer == "sgd":  # where decoupled and coupled are the same
            return torch.optim.SGD(tensors, **options)
        kinds = {"decoupled": torch.optim.AdamW}
        return kinds.get(config.regularizer, torch.optim.Adam)(tensors, **options)

    @single_thread()
    @torch.inference_mode(False)
    def _decayed(self) -> dict[str, torch.Tensor]:
        """What moves, after as many steps down weight decay and pull: untouched rows, for everybody."""
        config, trained = self.config, {}
        for name in self.moving:
            trained[name] = self.model.get_parameter(name).detach().clone()
        if not config.weight_decay or config.regularizer == "none":
            return trained
        n_rows = config.k + config.include_user
        moved = {name: value.clone() for name, value in trained.items()}
        optimizer = self._optimizer(list(moved.values()))
        for _ in range(config.steps):
            for name, value in moved.items():
                pull = 2 * config.proximal_weight / n_rows
                value.grad = pull * (value - trained[name])
            optimizer.step()
        return moved

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def moving_parameters(model: torch.nn.Module, chosen: Sequence[str] | None) -> list[str]:
    """Names of the parameters that fine-tuning moves, in the model's order.

    Raises:
        ValueError: for a choice that names nothing, or if nothing is left to move.
    """
    known = dict(model.named_parameters())
    if chosen is None:
        chosen = [name for name, value in known.items() if value.requires_grad]
    found = {each: {n for n in known if f"{n}.".startswith(f"{each}.")} for each in chosen}
    missing = [each for each, names in found.items() if not names]
    if missing or not found:
        problem = f"got {missing}" if missing else "none is named and none requires a gradient"
        raise ValueError(f"parameters must name some of {', '.join(known)}; {problem}")
    return [name for name in known if name in set().union(*found.values())]


def _repeated(value: torch.Tensor, times: int) -> torch.Tensor:
    return value.expand(times, *value.shape).clone()


class _Methods(torch.nn.Module):
    """Any method of a model by name: ``functional_call`` itself knows one."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, method: str, users: torch.Tensor) -> Any:
        return getattr(self.model, method)(users)


def _private(model: torch.nn.Module) -> torch.nn.Module:
    """The model in evaluation mode, with modules of its own around the same tensors.

    ``functional_call`` swaps the parameters of the module that it is given: with another's threads
    about, that has to be one's own.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def _of_one(function: Callable) -> Callable:
    """What ``vmap`` makes of ``function``, for a stack of one."""

    def first(tensors):
        if isinstance(tensors, dict):
            return {name: first(tensor) for name, tensor in tensors.items()}
        return tensors.squeeze(0)  # whose gradient is a view, where that of [0] is a copy

    def mapped(*arguments):
        return function(*map(first, arguments))[None]

    return mapped
