"""Every attack by name, and the way from a name to a poisoned training set.

An attack is made of a :class:`~rvdlib.threat_model.ThreatModel`, a random generator and its own
options, and of nothing else. It returns m profiles, (m, items) CSR of stars: all targets at the top
rating and exactly F fillers, all on the rating scale.
"""

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import check_one_of
from rvdlib.attacks.aush import aush
from rvdlib.attacks.base import Attack
from rvdlib.attacks.center import center
from rvdlib.attacks.centroid import centroid
from rvdlib.attacks.clone import clone, low_clone
from rvdlib.attacks.dp import dp
from rvdlib.attacks.from_file import from_file
from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.attacks.heuristic import average, bandwagon, random, segment
from rvdlib.attacks.history import History
from rvdlib.attacks.light_group import light_group
from rvdlib.attacks.light_hubs import light_hubs
from rvdlib.attacks.mixinf import mixinf
from rvdlib.attacks.pga import pga
from rvdlib.attacks.popular_in_cluster import popular_in_cluster
from rvdlib.attacks.power_user import power_user
from rvdlib.attacks.profiles import check_profiles
from rvdlib.attacks.revadv import revadv
from rvdlib.attacks.shrunk_clone import shrunk_clone
from rvdlib.attacks.tna import s_tna, u_tna
from rvdlib.attacks.vicinity import vicinity
from rvdlib.data import Split
from rvdlib.seeding import check_generator
from rvdlib.threads import single_thread
from rvdlib.threat_model import ThreatModel

# Tables and figures have them in this order.
ATTACKS: dict[str, Attack] = {
    each.name: each
    for each in (
        *(random, average, bandwagon, segment, clone, low_clone, power_user),
        *(aush, mixinf, pga, u_tna, s_tna, revadv, dp),
        *(vicinity, center, shrunk_clone, centroid, popular_in_cluster, light_hubs, light_group),
        from_file,
    )
}


@single_thread()
def craft(
    name: str,
    threat_model: ThreatModel,
    rng: np.random.Generator,
    /,
    *,
    history: History | None = None,
    **options,
) -> sp.csr_matrix:
    """The fake profiles of the attack called ``name``: (m, items) CSR of stars, float32, sorted.

    Args:
        history: gets the objective of an attack that optimises, step by step.
        options: of the attack, see its ``Config``.

    Raises:
        ValueError: for an unknown attack or option, one that is needed and not given or out of its
            range, or an attack that breaks its budget.
    """
    check_generator(rng)
    check_one_of("attack", name, ATTACKS)
    profiles = ATTACKS[name].craft(threat_model, rng, history=history, **options)
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
