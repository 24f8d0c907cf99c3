"""Fake users of the study: aimed at a data set, crafted, and frozen into a file.

**The swapped-target control.** Fakes crafted for *others*, as many items drawn like the targets and
none of them a target, and then the columns of both exchanged: the fakes promote the targets with
fillers that were chosen for other items. What an attack does less with them is owed to its fillers
being made for its targets; what is left, to how its fakes look.
"""

import hashlib
import inspect
import json
import time
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

import rvdlib
from rvdlib import attacks, paths
from rvdlib.arguments import check_one_of
from rvdlib.attacks.frozen import FrozenPoison, texts
from rvdlib.attacks.history import History
from rvdlib.data import Ratings, Split
from rvdlib.lab.experiment.fingerprint import cell_fingerprint
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model, draw_targets


def aim(
    attack: str,
    dataset: str | Ratings,
    *,
    seed: int = 0,
    attack_size: float = 0.03,
    filler_size: int | None = None,
    visible_share: float = 0.4,
    target_set: str = "unpopular",
) -> tuple[Split, ThreatModel, np.random.Generator]:
    """The split, what the attacker knows and may do, and his random stream: those of the study.

    Whom he sees does not depend on his attack, so that attacks are compared on the same users.

    Raises:
        ValueError: for an unknown attack, data set or target set, or a value out of range.
    """
    check_one_of("attack", attack, attacks.ATTACKS)
    split = split_of_seed(dataset, seed)
    targets = draw_targets(split, target_set, stream(seed, "targets", target_set))
    threat = build_threat_model(
        split,
        targets,
        stream(seed, "visible"),
        attack_size=attack_size,
        filler_size=filler_size,
        visible_share=visible_share,
    )
    return split, threat, stream(seed, "attack", attack)


def craft(
    attack: str, threat: ThreatModel, rng: np.random.Generator, options: dict
) -> tuple[sp.csr_matrix, History]:
    """The profiles (m, items), and the history of an attack that optimises; else an empty one.

    Raises:
        ValueError: for an unknown option, or one of a wrong type or out of range.
    """
    if "history" in options:
        raise ValueError("history is no option: the objective is recorded anyway")
    history = History()
    return attacks.craft(attack, threat, rng, **options, history=history), history


def freeze(
    attack: str,
    dataset: str | Ratings,
    *,
    options: dict | None = None,
    crafted_for: str = "targets",
    **aimed,
) -> FrozenPoison:
    """Craft ``attack`` on ``dataset``: split, targets and attack from the streams of the study.

    Args:
        options: of the attack.
        crafted_for: ``targets``, or ``others``: the swapped-target control.
        aimed: see :func:`aim`.

    Raises:
        ValueError: for an unknown attack, data set, target set or option, or a value out of range.
    """
    return _made(attack, dataset, options or {}, crafted_for, aimed)[0]


def kept_poison(
    attack: str, dataset: str, *, options: dict, crafted_for: str = "targets", **aimed
) -> FrozenPoison:
    """What :func:`freeze` makes, from ``.cache/poison`` if the same code has made it before.

    The origin has also ``seconds``, the CPU time of crafting.
    """
    how = {"attack": attack, "dataset": dataset, "options": options, **aimed}
    how["crafted_for"] = crafted_for
    used = [attacks.ATTACKS[attack].function]
    made_by = cell_fingerprint("lab/experiment/poison.py", dataset, used)
    key = hashlib.sha256(json.dumps([how, made_by], sort_keys=True).encode()).hexdigest()
    path = paths.POISON_STORE / f"{key}.npz"
    if path.is_file():
        return FrozenPoison.load(path)
    made, seconds = _made(attack, dataset, options, crafted_for, aimed)
    made = replace(made, origin={**made.origin, "seconds": seconds})
    made.save(path)
    return made


def _made(
    attack: str, dataset: str | Ratings, options: dict, crafted_for: str, aimed: dict
) -> tuple[FrozenPoison, float]:
    check_one_of("crafted_for", crafted_for, ("targets", "others"))
    split, threat, rng = aim(attack, dataset, **aimed)
    defaults = inspect.signature(aim).parameters
    knowledge = {name: aimed.get(name, defaults[name].default) for name in list(defaults)[2:]}
    crafting = threat
    if crafted_for == "others":
        drawn_by = stream(knowledge["seed"], "targets", knowledge["target_set"], "others")
        others = other_targets(split, threat.targets, knowledge["target_set"], drawn_by)
        crafting = replace(threat, targets=others)
    start = time.process_time()
    profiles, history = craft(attack, crafting, rng, options)
    seconds = time.process_time() - start
    profiles = exchanged(profiles, crafting.targets, threat.targets)
    origin = {
        "attack": attack,
        "options": dict(options),
        "dataset": split.ratings.name,
        "dataset_sha256": split.ratings.sha256,
        **knowledge,
        "filler_size": threat.filler_size,
        "crafted_for": crafted_for,
        "rvdlib_version": rvdlib.__version__,
        "objectives": history.objectives,
    }
    item_ids = split.ratings.item_ids.tolist()
    return FrozenPoison(profiles, texts(item_ids), threat.targets, threat.levels, origin), seconds


def other_targets(
    split: Split, targets: np.ndarray, target_set: str, rng: np.random.Generator
) -> np.ndarray:
    """As many items as ``targets``, drawn from the same ``target_set`` and none of them a target."""
    drawn = draw_targets(split, target_set, rng, n_targets=2 * len(targets))
    return np.sort(rng.choice(np.setdiff1d(drawn, targets), len(targets), replace=False))


def exchanged(profiles: sp.csr_matrix, items: np.ndarray, others: np.ndarray) -> sp.csr_matrix:
    """``profiles`` (m, items) with the columns of ``items`` and ``others`` exchanged, in order."""
    order = np.arange(profiles.shape[1])
    order[items], order[others] = others, items
    return profiles[:, order].sorted_indices()
