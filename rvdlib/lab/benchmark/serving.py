"""A victim served in every form, and the clock that is held to it.

To serve is to score users against the whole catalogue, find their neighbours if the form has any,
and pick the first 50 items (:func:`rvdlib.evaluation.recommend`). What is done once, before the
first user comes, is preparation: everybody encoded, the neighbour search made ready, code compiled.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import scipy.sparse as sp

from rvdlib.data import Ratings
from rvdlib.defenses import RVD, ClosedFormRVD, FastRVD, FunctionalRVD, Quorum, VictimModule
from rvdlib.evaluation import Recommender, recommend
from rvdlib.lab.experiment.progress import progress
from rvdlib.models import Victim
from rvdlib.models.base import DECODER
from rvdlib.neighbors import DISTANCES, NeighborSearch, hubness_skewness
from rvdlib.serving import Arrays

LIST_LENGTH = 50
Clock = Callable[[], float]
Seconds = dict[str, np.ndarray]


def both_clocks() -> np.ndarray:
    """Seconds of the clock, and of the processor in this thread."""
    return np.array([time.perf_counter(), time.thread_time()])


def prepared(victim: Victim, **choices) -> ClosedFormRVD:
    """The closed form with everybody's neighbours found once, before anybody is served."""
    defended = ClosedFormRVD(victim, **choices)
    defended.search = defended.search(np.arange(victim.train.shape[0])).__getitem__
    return defended


def choices(
    closed_form: Mapping[str, float], iterative: Mapping[str, float]
) -> dict[str, dict[str, float | str]]:
    """Form → what it is built with.

    ``closed_form``: the decoder fitted to the vicinity's ratings and silence, at once;
    ``closed_form_prepared`` has everybody's neighbours beforehand, as it has everybody's factors.
    ``quorum``: of its k neighbours, a fifth must have rated an item, in the order of ``undefended``;
    who they are, nobody in more than k vicinities, is found beforehand.
    ``plain_loop``: the paper's, every parameter down the training loss of the vicinity; ``engine`` and
    ``functional`` are the same compiled, and as torch.func does it for anybody's module.
    ``plain_decoder_loop``: as many steps down the loss whose minimum the closed form is, but for λ.
    """
    heard = {name: closed_form[name] for name in ("k", "unobserved_weight")}
    return {
        "closed_form": dict(closed_form),
        "undefended": {},
        "closed_form_prepared": dict(closed_form),
        "quorum": {"k": closed_form["k"], "quorum": max(1, closed_form["k"] // 5)},
        "engine": dict(iterative),
        "functional": dict(iterative),
        "plain_loop": dict(iterative),
        "plain_decoder_loop": {**iterative, **heard, "scope": "decoder", "regularizer": "none"},
    }


def forms(
    victim: Victim, closed_form: Mapping[str, float], iterative: Mapping[str, float]
) -> dict[str, Callable[[], Recommender]]:
    """Form → how it is built, with the choices that :func:`choices` makes of these."""
    build = {
        "closed_form": ClosedFormRVD,
        "undefended": Arrays.of,
        "closed_form_prepared": prepared,
        "quorum": lambda victim, **chosen: Quorum(Arrays.of(victim), **chosen),
        "engine": FastRVD,
        "functional": _functional,
        "plain_loop": RVD,
        "plain_decoder_loop": RVD,
    }
    made = choices(closed_form, iterative)
    return {name: partial(build[name], victim, **made[name]) for name in made}


def check_neighbors(ratings: Ratings, k: int) -> None:
    """``ValueError`` if there are no k other users: before anything is trained."""
    others = ratings.n_users - 1
    if not others:
        raise ValueError(f"{ratings.name} has one user only: there are no neighbours")
    if not 1 <= k <= others:
        raise ValueError(f"k must be between 1 and {others} (the other users), got {k}")


def again(users: np.ndarray, visits: int) -> np.ndarray:
    """``users`` over and over, each as often as any other, until there are ``visits``."""
    return np.tile(users, -(-visits // len(users)))


def _functional(
    victim: Victim, *, scope: str = "all", unobserved_weight: float | None = None, **choices
) -> FunctionalRVD:
    """What :class:`RVD` with these choices is, as torch.func does it."""
    inside = "none" if choices.get("regularizer") == "none" else "coupled"
    module = VictimModule(victim, unobserved_weight, inside)
    module.to(victim.parameters["item_factors"].dtype)
    decoder = [name for name in DECODER if name not in victim.constants]
    own = {
        "optimizer": victim.loss.optimizer,
        "weight_decay": module.weight_decay,
        "parameters": decoder if scope == "decoder" else None,
    }
    return FunctionalRVD(module, victim.train.shape[0], **own | choices)


def prepare(
    build: Callable[[], Recommender], seen: sp.csr_matrix, clock: Clock = time.perf_counter
) -> tuple[Recommender, float]:
    """The form, ready to serve, and the seconds until it was: built, and one user served."""
    start = clock()
    recommender = build()
    lists(recommender, np.arange(1), seen)
    return recommender, clock() - start


def lists(
    recommender: Recommender, users: np.ndarray, seen: sp.csr_matrix, *, block_size: int = 512
) -> np.ndarray:
    """The first 50 items of each of ``users``; the first of all, of a smaller catalogue.

    ``block_size`` of them are scored at once.
    """
    k = min(LIST_LENGTH, seen.shape[1])
    return recommend(recommender, users, seen, k=k, block_size=block_size)


def in_turn(
    work: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Clock | Callable[[], np.ndarray] = time.perf_counter,
    description: str = "measuring",
) -> Seconds:
    """Name → seconds (rounds,), or (rounds, clocks). Round by round, all in turn, every other backwards.

    What slows the machine down for a while then slows down every one of them, and the ratio within
    a round stands.
    """
    seconds: dict[str, list] = {name: [] for name in work}
    turns = [
        (number, name)
        for number in range(rounds)
        for name in (list(work) if number % 2 == 0 else reversed(work))
    ]
    for _, name in progress(turns, total=len(turns), description=description):
        start = clock()
        work[name]()
        seconds[name].append(clock() - start)
    return {name: np.array(taken) for name, taken in seconds.items()}


def each_in_turn(serve: Callable[[object], object], users: Sequence) -> Callable[[], object]:
    """``serve`` with one of ``users`` after the other, at each call the next."""
    coming = iter(users)
    return lambda: serve(next(coming))


def hubs(victim: Victim, k: int) -> dict[str, float]:
    """Distance → skewness of how many users' k neighbours one is among.

    See :func:`rvdlib.neighbors.hubness_skewness`.
    """
    everyone, factors = np.arange(victim.train.shape[0]), victim.user_factors()
    found = {}
    for distance in DISTANCES:
        neighbors = NeighborSearch(factors, k, distance, ratings=victim.train)(everyone)
        found[distance] = hubness_skewness(neighbors, len(everyone))
    return found
