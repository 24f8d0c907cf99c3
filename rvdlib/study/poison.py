"""Frozen poison of the study: the fake users that a scenario would have, in a file."""

import inspect

import rvdlib
from rvdlib import attacks
from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.attacks.history import History
from rvdlib.data import leave_one_out, load_dataset
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model, draw_targets


def freeze(
    attack: str,
    dataset: str,
    *,
    seed: int = 0,
    attack_size: float = 0.03,
    filler_size: int | None = None,
    visible_share: float = 0.4,
    target_set: str = "unpopular",
    options: dict | None = None,
) -> FrozenPoison:
    """Craft ``attack`` on ``dataset``: split, targets and attack from the streams of the study.

    Without ``filler_size``, ``visible_share`` and ``options`` it is what
    :func:`rvdlib.study.cells.carry_out` trains its victims with.

    Raises:
        ValueError: for an unknown attack, data set, target set or option, or a value out of range.
    """
    options = dict(options or {})
    if attack not in attacks.ATTACKS:
        raise ValueError(f"attack must be one of {', '.join(attacks.ATTACKS)}, got {attack!r}")
    history = History()
    watched = {}
    if "history" in inspect.signature(attacks.ATTACKS[attack]).parameters:
        if "history" in options:
            raise ValueError("history is no option: the objective is recorded anyway")
        watched = {"history": history}
    ratings = load_dataset(dataset)
    split = leave_one_out(ratings, stream(seed, "split"))
    targets = draw_targets(split, target_set, stream(seed, "targets", target_set))
    rng = stream(seed, "attack", attack)
    threat = build_threat_model(
        split,
        targets,
        rng,
        attack_size=attack_size,
        filler_size=filler_size,
        visible_share=visible_share,
    )
    try:
        profiles = attacks.craft(attack, threat, rng, **options, **watched)
    except TypeError as error:
        raise ValueError(
            f"an option of {attack!r} is of the wrong type, got {options}: {error}"
        ) from error
    origin = {
        "attack": attack,
        "options": options,
        "dataset": ratings.name,
        "dataset_sha256": ratings.sha256,
        "seed": seed,
        "attack_size": attack_size,
        "filler_size": threat.filler_size,
        "visible_share": visible_share,
        "target_set": target_set,
        "rvdlib_version": rvdlib.__version__,
        "objectives": history.objectives,
    }
    return FrozenPoison(profiles, threat.targets, threat.levels, origin)
