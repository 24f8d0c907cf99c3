"""The parts of RVD's loss: which cells, what fine-tuning leaves of the targets' rows, the table."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.figures import forgetting_plots
from rvdlib.lab.study import forgetting
from rvdlib.models import VICTIMS

SETTINGS = {
    "rating": {"attacks": ["random", "clone"], "target_set": "unpopular"},
    "ranking": {"attacks": ["clone"], "target_set": "random"},
}
CHOICES = {"k": 10, "steps": 3, "learning_rate": 0.01}


def test_every_part_is_a_choice_of_rvd_and_all_else_is_the_same():
    cells = forgetting.cells("ml-100k", ["MF", "CDAE"], SETTINGS, [0, 1], 40, CHOICES, 0.1)
    rating, ranking = (forgetting.parts(regime, 0.1) for regime in ("rating", "ranking"))
    assert rating.items() <= ranking.items()
    assert ranking.keys() - rating.keys() == {"ω = 0"}  # that is the whole loss where ω is 0
    assert len(cells) == 2 * 2 * (2 * (1 + len(rating)) + 1 + len(ranking))
    assert len({cell.model_dump_json() for cell in cells}) == len(cells)
    found = {(c.scenario.regime, c.scenario.attack, c.scenario.target_set) for c in cells}
    assert found == {
        ("rating", "random", "unpopular"),
        ("rating", "clone", "unpopular"),
        ("ranking", "clone", "random"),
    }
    for cell in cells:
        assert cell.n_users == 40
        if cell.defense == UNDEFENDED:
            assert cell.method is None
            continue
        defense = cell.defended_by().wrap(VICTIMS[cell.scenario.victim]())
        chosen = {**CHOICES, **ranking[cell.defense]}
        assert {name: getattr(defense.config, name) for name in chosen} == chosen


@pytest.fixture(scope="module")
def norms():
    few = {"rating": {"attacks": ["random"], "target_set": "unpopular"}}
    return forgetting.row_norms("ml-100k", ["AutoRec"], few, [0], 1, CHOICES, 0.1)


def test_what_no_neighbour_rated_gets_shorter_and_neither_the_data_nor_sgd_does_that(norms):
    length = norms.set_index("defense")[forgetting.NORM]
    assert list(length.index) == [UNDEFENDED, *forgetting.parts("rating", 0.1)]
    trained = length[UNDEFENDED]
    assert length["decay alone"] <= length[forgetting.WHOLE] < 0.6 * trained
    for part in ("data term", "L2 decoupled", "L2 by SGD"):
        assert length[part] == pytest.approx(trained, rel=0.1)


def test_the_table_has_a_column_a_part_and_the_figure_a_panel_a_victim(norms):
    rows = norms.drop(columns=forgetting.NORM)
    rows = rows.assign(**dict.fromkeys(forgetting.METRICS, 0.25))
    summary = forgetting.summary(rows, norms)
    table = forgetting.table(summary)
    assert table["metric"].tolist() == ["target_hit_ratio", "rmse", forgetting.NORM]
    assert (table.loc[0, list(forgetting.parts("rating", 0.1))] == 0.25).all()
    assert list(table.columns[4:]) == [UNDEFENDED, *forgetting.parts("rating", 0.1)]
    both = pd.concat([summary, summary.assign(victim="MF")])
    figure = forgetting_plots.parts_of_the_loss(both)
    assert np.shape(figure.axes) == (4,)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[:2]] == ["AutoRec", "MF"]
    assert forgetting.reading(both).count("under the whole loss") == 2
    assert "- **MF, rating regime.** THR@50 is 0.250 undefended, 0.250 under" in forgetting.reading(
        both
    )
