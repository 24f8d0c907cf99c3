"""Which rows each notebook asks for, known without executing it.

:data:`PLANNED` has a line for each notebook that keeps rows in the store: it calls what the notebook
calls, with the notebook's parameters. A notebook that computes rows of its own alone is not in it.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from rvdlib import paths
from rvdlib.lab.experiment import (
    cells,
    descents,
    oracles,
    paying,
    quality,
    retraining,
    seeded_oracle,
)
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
    elsewhere,
    forgetting,
    main_results,
    rivals,
    rivals_claims,
    sweeps,
    trade_off,
    unlearning,
    who_pays,
)

# How a batch is made, and of what.
Wanted = tuple[Callable[[Sequence[Any]], Batch], list[Any]]


def wanted(name: str, parameters: Mapping[str, Any]) -> list[Wanted]:
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


def batches(name: str, parameters: Mapping[str, Any]) -> list[Batch]:
    """The same as what computes it."""
    return [make(items) for make, items in wanted(name, parameters)]


def _quality(p: SimpleNamespace) -> list[Wanted]:
    return [(quality.batch, quality.trials(p.datasets, p.victims, p.seeds))]


def _effects(p: SimpleNamespace) -> list[Wanted]:
    of = p.dataset, p.victims, p.target_sets, p.attacks, p.seeds, p.n_users
    return [(cells.batch, effects.effect_cells(*of))]


def _sweeps(p: SimpleNamespace) -> list[Wanted]:
    dials = {"k": p.k, "steps": p.steps, "unobserved_weight": p.unobserved_weight}
    of = p.dataset, p.victims, p.settings, p.seeds, p.n_users, dials
    taken = ("victims", "settings", "choices", "unobserved_weight", "n_users")
    lost = forgetting.cells(p.dataset, seeds=p.seeds, **{name: p.parts[name] for name in taken})
    return [(cells.batch, [cell for cell, *_ in sweeps.sweep_cells(*of)]), (cells.batch, lost)]


def _trade_off(p: SimpleNamespace) -> list[Wanted]:
    choices = {trade_off.CLOSED_FORM: p.closed_form, trade_off.RVD: p.paper}
    of = p.dataset, p.victims, p.settings, p.seeds, p.n_users, choices
    return [(cells.batch, trade_off.cells(*of))]


def _attacks(p: SimpleNamespace) -> list[Wanted]:
    of = p.dataset, p.victims, p.regimes, p.target_sets, p.attack_size, p.seeds
    own = attack_effects.scenarios(*of)
    under = [attack_effects.cells(each) for each in (own, controls.scenarios(own))]
    return [*((cells.batch, each) for each in under), (attack_profiles.batch, own)]


def _adaptive(p: SimpleNamespace) -> list[Wanted]:
    of = p.dataset, p.victims, p.target_sets, p.attacks, p.against, p.seeds, p.n_users
    own = adaptive.cells(*of) + elsewhere.cells(p.elsewhere, p.attacks)
    return [(cells.batch, [cell for cell, _ in own])]


def _unlearning(p: SimpleNamespace) -> list[Wanted]:
    names = "k", "n_users", "epochs", "served_after", "path_users", "path_epochs"
    sizes = {name: getattr(p, name) for name in names}
    asked = unlearning.descents(p.dataset, p.victims, p.settings, p.seeds, **sizes)
    return [(descents.batch, asked)]


def _breakdown(p: SimpleNamespace) -> list[Wanted]:
    of = p.victim, p.target_sets, p.seeds
    grown = p.attacks, p.attack_sizes, p.quorums, p.n_users
    grid = p.k, p.quorum_shares, p.distances, p.floors
    asked = breakdown.clean_cells(p.datasets, *of, *grid, p.n_users)
    asked += breakdown.attacked_cells(p.attacked, *of, *grown)
    twice = breakdown.retrainings(p.datasets, p.victim, [*p.target_sets], p.seeds, p.k[0])
    return [(cells.batch, breakdown.once(asked)), (retraining.batch, twice)]


def _rivals(p: SimpleNamespace) -> list[Wanted]:
    own = rivals.cells(p.datasets, p.others, p.target_sets, p.focus)
    sizes = p.growing_attacks, p.attack_sizes
    grown = rivals_claims.growing_cells(p.datasets, p.focus, p.target_sets, *sizes)
    makers = cells.batch, oracles.batch, seeded_oracle.batch
    faced = zip(makers, (own, *rivals.told(own)), strict=True)
    of = p.datasets, p.focus, p.target_sets
    paid = [
        (paying.thirds_batch, who_pays.cells(*of, rivals.PAYING)),
        (paying.removals_batch, who_pays.detected_cells(*of)),
    ]
    met = [(make, [item for item, _ in each]) for make, each in faced]
    return [*met, (cells.batch, grown), *paid]


def _main_results(p: SimpleNamespace) -> list[Wanted]:
    tables = [cell for cell, _ in main_results.cells(p.datasets, p.target_sets)]
    turned = [cell for cell, *_ in main_results.turned_cells(p.turned)]
    return [(cells.batch, tables), (cells.batch, turned)]


def _timings(p: SimpleNamespace) -> list[Wanted]:
    of = p.attacked, p.victims[:1], p.regimes, p.target_sets, p.attack_size, p.seeds
    return [*_quality(p), (attack_profiles.batch, attack_effects.scenarios(*of))]


PLANNED: dict[str, Callable[[SimpleNamespace], list[Wanted]]] = {
    "02_victims": _quality,
    "03_rvd_in_five_minutes": _effects,
    "04_neighbours_and_depth": _sweeps,
    "05_real_time": _trade_off,
    "06_attacks": _attacks,
    "07_adaptive_attack": _adaptive,
    "08_unlearning": _unlearning,
    "09_breakdown": _breakdown,
    "10_rivals": _rivals,
    "11_main_results": _main_results,
    "14_timings": _timings,
}
