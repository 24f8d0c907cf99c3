"""Every attack by name, and the way from a name to a poisoned training set.

An attack is a function of a :class:`~rvdlib.threat_model.ThreatModel`, a random generator and its
own keyword options, and of nothing else. It returns m profiles, (m, items) CSR of stars: all
targets at the top rating and exactly F fillers, all on the rating scale.
"""

import inspect
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import check_one_of, did_you_mean
from rvdlib.attacks.aush import aush
from rvdlib.attacks.clone import clone, low_clone
from rvdlib.attacks.from_file import from_file
from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.attacks.heuristic import average, bandwagon, random, segment
from rvdlib.attacks.mixinf import mixinf
from rvdlib.attacks.pga import pga
from rvdlib.attacks.profiles import check_profiles
from rvdlib.attacks.revadv import revadv
from rvdlib.attacks.tna import tna
from rvdlib.attacks.vicinity import vicinity
from rvdlib.data import Split
from rvdlib.seeding import check_generator
from rvdlib.threads import single_thread
from rvdlib.threat_model import ThreatModel

Attack = Callable[..., sp.csr_matrix]

ATTACKS: dict[str, Attack] = {
    "random": random,
    "average": average,
    "bandwagon": bandwagon,
    "segment": segment,
    "clone": clone,
    "low_clone": low_clone,
    "aush": aush,
    "mixinf": mixinf,
    "pga": pga,
    "u_tna": tna,
    "s_tna": partial(tna, influential_share=0.4),
    "revadv": revadv,
    "vicinity": vicinity,
    "from_file": from_file,
}


@single_thread()
def craft(
    name: str, threat_model: ThreatModel, rng: np.random.Generator, /, **options
) -> sp.csr_matrix:
    """The fake profiles of the attack called ``name``: (m, items) CSR of stars, float32, sorted.

    Raises:
        ValueError: for an unknown attack or option, one that is needed and not given, or an attack that breaks its budget.
    """
    check_generator(rng)
    check_one_of("attack", name, ATTACKS)
    known = dict(list(inspect.signature(ATTACKS[name]).parameters.items())[2:])
    for option in options:
        if option not in known:
            has = f"its options are {', '.join(known)}" if known else "it takes none"
            raise ValueError(
                f"attack {name!r} has no option {option!r}, {has}{did_you_mean(option, known)}"
            )
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"attack {name!r} needs the option {option!r}")
    profiles = ATTACKS[name](threat_model, rng, **options)
    if profiles.shape[0] != threat_model.n_fakes:
        raise ValueError(
            f"attack {name!r} made {profiles.shape[0]} profiles, "
            f"the budget is {threat_model.n_fakes}"
        )
    check_profiles(threat_model, profiles)
    return profiles


def poison(split: Split, fakes: sp.csr_matrix | FrozenPoison) -> sp.csr_matrix:
    """What the victim is trained on: (users + fakes, items), real training rows first.

    Raises:
        ValueError: if the fakes are about another number of items, or were frozen for another data
            set.
    """
    if isinstance(fakes, FrozenPoison):
        fakes = fakes.profiles_for(split.ratings)
    if fakes.shape[1] != split.train.shape[1]:
        raise ValueError(f"fakes have {fakes.shape[1]} items, the data {split.train.shape[1]}")
    poisoned = sp.vstack([split.train, fakes], format="csr", dtype=np.float32)
    poisoned.sort_indices()
    return poisoned
