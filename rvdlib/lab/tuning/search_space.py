"""What a search of :mod:`rvdlib.lab.tuning.defense_search` may try: grids, draws, and steps around the best."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import product

from rvdlib.seeding import stream


def grids(form: dict) -> list[dict[str, list]]:
    """Choice → the values that are drawn; a form may have several grids."""
    return form["choices"] if isinstance(form["choices"], list) else [form["choices"]]


def within(form: dict, most: int) -> dict:
    """The form, without more neighbours than a data set has users to offer."""
    fit = deepcopy(form)
    for values in (*grids(fit), fit.get("beyond", {})):
        if "k" in values:
            values["k"] = [k for k in values["k"] if k <= most]
    return fit


def candidates(form: dict) -> list[dict]:
    """Every combination of a form's choices, of each of its grids; or ``trials`` of them at random."""
    every = [
        dict(zip(grid, values, strict=True))
        for grid in grids(form)
        for values in product(*grid.values())
    ]
    if "trials" not in form:
        return every
    chosen = stream(0, "defense search").choice(len(every), form["trials"], replace=False)
    return [every[at] for at in sorted(chosen)]


def lattice(form: dict, choices: Mapping) -> dict[str, list]:
    """Choice → what it may be, in order: the grid of these choices, and what lies ``beyond`` it."""
    beyond = form.get("beyond", {})
    for grid in grids(form):
        values = {name: [*grid[name], *beyond.get(name, [])] for name in grid}
        if grid.keys() == choices.keys() and all(choices[name] in values[name] for name in grid):
            return {name: sorted(those) for name, those in values.items()}
    raise ValueError(f"no grid has {dict(choices)}")


def around(form: dict, choices: dict) -> list[dict]:
    """What lies one step from these choices: one of them a value lower or higher."""
    found = []
    for name, values in lattice(form, choices).items():
        at = values.index(choices[name])
        found += [{**choices, name: value} for value in values[max(at - 1, 0) : at + 2]]
    return [each for each in found if each != choices]
