"""The theory held against users: what is measured of a vicinity, and what the tables make of it."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.data import leave_one_out, load_dataset
from rvdlib.defenses import RVD
from rvdlib.lab.experiment import cells
from rvdlib.lab.figures import unlearning_plots
from rvdlib.lab.runner.ledger import FAILS, HOLDS
from rvdlib.lab.study import effects, unlearning, unlearning_tables
from rvdlib.lab.study.unlearning import DATA, OUTCOMES, QUANTITIES, WHERE, WHOLE, Measured
from rvdlib.models.base import DECODER
from rvdlib.seeding import stream
from rvdlib.theory.unlearning import BY_ITEM, OURS, PAPER, PAPER_CLEAN, QUADRATIC
from tests.lab.conftest import small_victims

SETTINGS = {
    "rating": {"attacks": ["random"], "target_set": "unpopular"},
    "ranking": {"attacks": ["clone"], "target_set": "random"},
}


SMALL = {"embedding_size": 4, "epochs": 2, "reg": 0.02}


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        small_victims(patch, **SMALL)
        sizes = {"k": 6, "n_users": 4, "epochs": [1, 50], "served_after": 10}
        sizes |= {"path_users": 1, "path_epochs": 2}
        return unlearning.measure("ml-100k", ["MF"], SETTINGS, [0], **sizes)


def test_every_user_loss_form_and_epoch_has_a_row_and_none_exceeds_a_theorem(measured):
    counted = measured.bounds.groupby(["regime", "loss", "form"]).size()
    assert set(counted) == {4 * 3}  # users and epochs, that of serving among them
    assert set(counted["rating"][WHOLE].index) == {PAPER, PAPER_CLEAN, OURS, BY_ITEM}
    assert set(counted["rating"][DATA].index) == {PAPER, OURS, QUADRATIC}
    assert set(measured.bounds["epochs"]) == {1, 10, 50}
    broken = unlearning_tables.violations(measured.bounds)
    assert len(broken) == 2 * 2 * 4 * 3
    assert broken["exceeded"].sum() == 0
    assert broken["C9"].notna().sum() == broken["C10"].notna().sum() == len(broken) / 2


def test_users_have_what_the_theory_speaks_of_and_what_matters_to_them(measured):
    users = measured.users
    assert len(users) == 2 * 2 * 4
    assert users[[*WHERE, "loss", "user"]].duplicated().sum() == 0
    assert users["strength"].between(0, 1).all()
    np.testing.assert_allclose(users["distance"], (1 - users["strength"]) * users["start"])
    assert users["octaves_down"].notna().all()
    assert users["hits_removed"].between(-1, 1).all()
    assert len(measured.paths) == 2
    assert measured.paths["promised"].between(0, 1).all()


def test_a_users_targets_fall_as_far_as_with_plain_descent(measured, monkeypatch):
    """RVD's own loop, by the same step, on the same rows: the independent way to the same ranks."""
    row = measured.users[(measured.users["regime"] == "ranking")].iloc[0]
    assert row["loss"] == WHOLE

    small_victims(monkeypatch, **SMALL)
    (scenario,) = effects.scenarios("ml-100k", ["MF"], ["ranking"], ["clone"], ["random"], [0])
    attacked = cells.carry_out(scenario)
    victim, users = attacked.victim, np.array([row["user"]])
    rows = RVD(victim, k=6).vicinity(users)[0]
    least, most = unlearning.VicinalRidge.of(victim, rows).curvature
    step = 2 / (least[most > 0].min() + most.max())
    plain = RVD(victim, k=6, scope="decoder", optimizer="sgd", learning_rate=step, steps=10)
    tuned = plain.fine_tune(rows)
    assert any(not tuned[name].equal(victim.parameters[name]) for name in DECODER)
    seen = attacked.split.train[users]
    before, after = (
        unlearning.metrics.ranks(scores, seen, attacked.targets)[0]
        for scores in (victim.score(users), victim.score_with(tuned, users))
    )
    listed = np.isfinite(before)
    expected = np.log2(after[listed] / before[listed]).mean()
    assert row["octaves_down"] == pytest.approx(expected, abs=0.05)  # ranks of float32 scores


def test_the_same_split_and_sample_are_those_of_the_study(measured):
    split = leave_one_out(load_dataset("ml-100k"), stream(0, "split"))
    sample = cells.sample_users(split.train.shape[0], 4, 0)
    for _, here in measured.users.groupby(["regime", "loss"]):
        assert here["user"].tolist() == sample.tolist()


def bounds(**changes):
    row = dict.fromkeys(WHERE, "x") | {"regime": "rating", "victim": "MF", "seed": 0}
    row |= {"loss": WHOLE, "form": OURS, "epochs": 10, "user": 1, "n_fakes": 0}
    return row | {"measured": 1.0, "bound": 10.0, "exceeded": False, "start": 2.0} | changes


def test_looseness_is_the_median_over_users_of_orders_of_magnitude():
    rows = [bounds(user=1), bounds(user=2, bound=100.0), bounds(user=3, bound=1e6, n_fakes=2)]
    rows += [bounds(user=4, start=0.0), bounds(user=5, measured=1e-12, bound=1e-3)]
    loose = unlearning_tables.looseness(pd.DataFrame(rows)).set_index("metric")["mean"]
    assert loose["orders"] == pytest.approx(
        2
    )  # of users 1 to 3: the others have nothing to measure
    assert loose["left"] == pytest.approx(0.5)
    assert loose["bounded"] == pytest.approx((5 + 50) / 2)
    assert (loose["exceeded"], loose["exceeded_with_fakes"]) == (0, 0)


def test_a_reading_that_is_no_theorem_breaks_no_claim():
    rows = [bounds(seed=seed, user=u) for seed in (0, 1, 2) for u in (1, 2)]
    rows += [{**row, "loss": DATA} for row in rows]
    rows += [{**row, "form": PAPER_CLEAN, "exceeded": True, "n_fakes": 1} for row in rows]
    paths = pd.DataFrame(
        [
            {"regime": "rating", "victim": "MF", "seed": seed, "promised": promised}
            for seed, promised in enumerate((0.3, 0.31, 0.29))
        ]
    )
    judged = unlearning_tables.verdicts(Measured(pd.DataFrame(rows), pd.DataFrame(), paths))
    assert judged.set_index("id")["verdict"].to_dict() == dict.fromkeys(("C9", "C10", "C16"), HOLDS)


def test_a_perfect_predictor_is_seen_and_a_constant_one_is_not_counted():
    known = {"regime": "rating", "target_set": "unpopular", "victim": "MF", "attack": "clone"}
    users = pd.DataFrame(
        [
            known | {"seed": seed, "loss": loss, "user": u, "strength": u, "octaves_down": u**3}
            for seed in (0, 1)
            for loss in (WHOLE, DATA)
            for u in range(5)
        ]
    ).assign(
        start=1.0,
        distance=1.0,
        bound=lambda rows: -rows["user"],
        strength_targets=np.nan,
        hits_removed=0,
    )
    found = unlearning_tables.correlations(users)
    assert len(found) == 2 * 2 * len(QUANTITIES) * len(OUTCOMES)
    rho = unlearning_tables.prediction(found).set_index(["loss", "quantity", "outcome"])
    assert rho.loc[(WHOLE, "strength", "octaves_down"), "mean"] == pytest.approx(1)
    assert rho.loc[(DATA, "bound", "octaves_down"), "mean"] == pytest.approx(-1)
    for quantity, outcome in (("distance", "octaves_down"), ("strength", "hits_removed")):
        assert np.isnan(rho.loc[(WHOLE, quantity, outcome), "mean"])
        assert rho.loc[(WHOLE, quantity, outcome), "n"] == 0


def test_there_are_three_sentences_and_their_numbers_are_those_of_the_tables(measured):
    found = unlearning_tables.correlations(measured.users)
    _, _, *sentences = unlearning_tables.answer(measured, found, 10).splitlines()
    assert len(sentences) == 3
    assert "0 of 48 cases" in sentences[0]
    loose = unlearning_tables.looseness(measured.bounds)
    table = unlearning_tables.table(loose, 10)
    left = table.xs(OURS, level="form").xs(WHOLE, level="loss")["measured / start"].mean()
    assert f"{left:.0%} of the distance" in sentences[1]
    assert "in 0 of 4 cases" in sentences[2]  # one seed has no interval
    assert all("nan" not in sentence for sentence in sentences)


def test_one_case_refutes_a_theorem_however_rare():
    rows = [bounds(seed=seed, user=u) for seed in (0, 1, 2) for u in range(50)]
    rows += [{**row, "loss": DATA} for row in rows]
    rows[0]["exceeded"] = True
    paths = pd.DataFrame([{"regime": "rating", "victim": "MF", "seed": 0, "promised": 0.3}])
    measured = Measured(bounds=pd.DataFrame(rows), users=pd.DataFrame(), paths=paths)
    judged = unlearning_tables.verdicts(measured).set_index("id")["overall"]
    assert judged[["C9", "C10"]].tolist() == [FAILS, HOLDS]


def test_the_figure_has_a_panel_a_regime_and_two_lines_a_victim(measured):
    loose = unlearning_tables.looseness(measured.bounds)
    drawn = loose[(loose["form"] == OURS) & (loose["loss"] == WHOLE)]
    figure = unlearning_plots.distance_left(drawn, 10)
    assert [axes.get_title() for axes in figure.axes] == ["rating regime", "ranking regime"]
    for axes in figure.axes:
        curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert {line.get_linestyle() for line in curves} == {"-", "--"}
        solid, dashed = (line.get_ydata() for line in curves)
        assert (solid <= dashed * (1 + 1e-9)).all()
