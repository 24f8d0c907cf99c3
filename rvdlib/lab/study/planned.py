"""Which rows each notebook asks for, known without executing it.

:data:`PLANNED` has a line for each notebook that keeps rows in the store: it calls what the notebook
calls, with the notebook's parameters. A notebook that computes rows of its own alone is not in it.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from rvdlib import paths
from rvdlib.lab.experiment import cells, quality, retraining
from rvdlib.lab.experiment.parallel import Batch
from rvdlib.lab.runner.notebook_runner import read_notebook
from rvdlib.lab.runner.parameters import default_parameters
from rvdlib.lab.study import (
    adaptive,
    attack_effects,
    attack_profiles,
    breakdown,
    controls,
    effects,
    forgetting,
    sweeps,
    trade_off,
)


def batches(name: str, parameters: Mapping[str, Any]) -> list[Batch]:
    """What a notebook asks for; of one that keeps no rows, nothing.

    Args:
        name: of the notebook: ``03_rvd_in_five_minutes``.
        parameters: as a profile has them, in place of the notebook's own.
    """
    if name not in PLANNED:
        return []
    source = paths.NOTEBOOKS / f"{name}.ipynb"
    own = default_parameters(read_notebook(source), source.name)
    return PLANNED[name](SimpleNamespace(**own | parameters))


def _sweeps(p: SimpleNamespace) -> list[Batch]:
    dials = {"k": p.k, "steps": p.steps, "unobserved_weight": p.unobserved_weight}
    swept = sweeps.sweep_cells(p.dataset, p.victims, p.settings, p.seeds, p.n_users, dials, p.plain)
    taken = ("victims", "settings", "choices", "unobserved_weight", "n_users")
    shared = {name: p.parts[name] for name in taken}
    lost = forgetting.cells(p.dataset, seeds=p.seeds, **shared)
    return [cells.batch([cell for cell, *_ in swept]), cells.batch(lost)]


def _attacks(p: SimpleNamespace) -> list[Batch]:
    of = p.dataset, p.victims, p.regimes, p.target_sets, p.attack_size, p.seeds
    own = attack_effects.scenarios(*of)
    wanted = [attack_effects.cells(each) for each in (own, controls.scenarios(own))]
    return [*map(cells.batch, wanted), attack_profiles.batch(own)]


def _adaptive(p: SimpleNamespace) -> list[Batch]:
    known = p.attacks, p.against, p.seeds, p.n_users
    wanted = adaptive.cells(p.dataset, p.victims, p.target_sets, *known)
    return [cells.batch([cell for cell, _ in wanted])]


def _breakdown(p: SimpleNamespace) -> list[Batch]:
    of = p.victim, p.target_sets, p.seeds
    wanted = breakdown.clean_cells(p.datasets, *of, p.k, p.quorum_shares, p.n_users)
    grown = p.attacks, p.attack_sizes, p.quorums, p.n_users
    wanted += breakdown.attacked_cells(p.attacked, *of, *grown)
    twice = breakdown.retrainings(p.datasets, p.victim, [*p.target_sets], p.seeds, p.k[0])
    return [cells.batch(breakdown.once(wanted)), retraining.batch(twice)]


def _timings(p: SimpleNamespace) -> list[Batch]:
    of = p.attacked, p.victims[:1], p.regimes, p.target_sets, p.attack_size, p.seeds
    crafted = attack_profiles.batch(attack_effects.scenarios(*of))
    return [quality.batch(quality.trials(p.datasets, p.victims, p.seeds)), crafted]


def _effects(p: SimpleNamespace) -> list[Batch]:
    of = p.dataset, p.victims, p.target_sets, p.attacks, p.seeds, p.n_users, p.plain
    return [cells.batch(effects.effect_cells(*of))]


def _trade_off(p: SimpleNamespace) -> list[Batch]:
    choices = {trade_off.CLOSED_FORM: p.closed_form, trade_off.RVD: p.paper}
    of = p.dataset, p.victims, p.settings, p.seeds, p.n_users
    return [cells.batch(trade_off.cells(*of, choices))]


PLANNED: dict[str, Callable[[SimpleNamespace], list[Batch]]] = {
    "02_victims": lambda p: [quality.batch(quality.trials(p.datasets, p.victims, p.seeds))],
    "03_rvd_in_five_minutes": _effects,
    "04_neighbours_and_depth": _sweeps,
    "05_real_time": _trade_off,
    "06_attacks": _attacks,
    "07_adaptive_attack": _adaptive,
    "09_breakdown": _breakdown,
    "14_timings": _timings,
}
