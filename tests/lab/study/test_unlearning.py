"""The theory held against users: what is measured of a vicinity, and what the tables make of it."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from rvdlib import metrics
from rvdlib.data import leave_one_out, load_dataset
from rvdlib.defenses import RVD
from rvdlib.lab.experiment import cells
from rvdlib.lab.experiment import descents as rows
from rvdlib.lab.experiment.committed import CommittedStore
from rvdlib.lab.experiment.descents import (
    DATA,
    FORMS,
    LOOSENESS,
    OUTCOMES,
    QUANTITIES,
    WHERE,
    WHOLE,
    Descent,
    WholePath,
    column,
)
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.figures import unlearning_plots
from rvdlib.lab.runner.ledger import FAILS, HOLDS
from rvdlib.lab.study import effects
from rvdlib.lab.study import unlearning as study
from rvdlib.lab.study.unlearning import Measured
from rvdlib.models.base import DECODER
from rvdlib.seeding import stream
from rvdlib.theory.path import Path
from rvdlib.theory.ridge import VicinalRidge
from rvdlib.theory.unlearning import BY_ITEM, OURS, PAPER, PAPER_CLEAN, QUADRATIC
from tests.lab.conftest import small_victims

SETTINGS = {
    "rating": {"attacks": ["random"], "target_set": "unpopular"},
    "ranking": {"attacks": ["clone"], "target_set": "random"},
}


SMALL = {"embedding_size": 4, "epochs": 2, "reg": 0.02}
SIZES = {"k": 6, "n_users": 4, "epochs": [1, 50], "served_after": 10}
SIZES |= {"path_users": 1, "path_epochs": 2}


@pytest.fixture(scope="module")
def wanted():
    return study.descents("ml-100k", ["MF"], SETTINGS, [0], **SIZES)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return CellStore(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def measured(wanted, kept):
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        patch.setattr(study, "run", lambda wanted: rows.run(wanted, store=kept, jobs=1))
        return study.measure(wanted)


def small(patch):
    small_victims(patch, **SMALL)
    patch.setattr(rows, "victim_hyperparameters", cells.victim_hyperparameters)


def test_every_loss_form_and_epoch_has_a_row_and_none_exceeds_a_theorem(measured):
    counted = measured.bounds.groupby(["regime", "loss", "form"]).size()
    assert set(counted) == {3}  # epochs, that of serving among them
    assert set(counted["rating"][WHOLE].index) == {PAPER, PAPER_CLEAN, OURS, BY_ITEM}
    assert set(counted["rating"][DATA].index) == {PAPER, OURS, QUADRATIC}
    assert set(measured.bounds["epochs"]) == {1, 10, 50}
    assert measured.bounds["left"].notna().all()
    assert measured.losses["cases"].tolist() == [4 * 3] * 4
    assert measured.losses["violated"].tolist() == [0] * 4
    broken = study.violated_shares(measured.losses)
    assert broken["C9"].notna().sum() == broken["C10"].notna().sum() == len(broken) / 2
    assert len(measured.rho) == 4 * len(QUANTITIES) * len(OUTCOMES)
    assert measured.rho["rho"].dropna().between(-1, 1).all()
    assert measured.rho["rho"].notna().any()
    assert len(measured.paths) == 2
    assert measured.paths["promised"].between(0, 1).all()


def test_a_row_has_each_form_of_a_bound_after_each_number_of_epochs(wanted, monkeypatch):
    small(monkeypatch)
    for asked, row in zip(wanted[:2], rows._rows(wanted[:2]), strict=True):
        found = {name for name in row if name.startswith("left | ")}
        assert found == {column("left", *of) for of in product(FORMS[asked.loss], (1, 10, 50))}


def test_a_descent_serves_after_an_epoch_that_it_is_held_against(wanted):
    with pytest.raises(ValueError, match="served_after must be one of epochs"):
        Descent(**wanted[0].model_dump() | {"served_after": 7})


def test_each_place_of_the_sample_is_another_user(wanted, monkeypatch):
    small(monkeypatch)
    asked = next(each for each in wanted if isinstance(each, WholePath))
    served = []
    monkeypatch.setattr(
        rows.RVD, "vicinity", lambda self, users: served.append(*users) or np.array([[0, 1]])
    )
    monkeypatch.setattr(rows.path, "measure", lambda *given: rows_of_path())
    places = [asked.model_copy(update={"place": place}) for place in range(4)]
    assert [row["fell"] for row in rows._rows(places)] == [0.75] * 4
    n_users = load_dataset("ml-100k").matrix.shape[0]
    assert sorted(served) == sorted(cells.sample_users(n_users, 4, 0))


def rows_of_path():
    return Path(np.array([4.0, 1.0]), mu=0.1, step=0.1, curvature=(0.0, 1.0))


def test_what_is_on_record_is_not_descended_again(wanted, kept, measured, monkeypatch):
    small(monkeypatch)
    monkeypatch.setattr(rows, "carry_out", None)
    again = rows.run(wanted, store=kept, jobs=1)
    assert again["violated"].dropna().tolist() == measured.losses["violated"].tolist()


def test_rows_are_kept_by_data_set_regime_victim_and_seed(wanted, tmp_path, monkeypatch):
    small(monkeypatch)
    store = CommittedStore(tmp_path)
    places = {store.path(task.spec).relative_to(tmp_path) for task in rows.batch(wanted).tasks}
    assert {str(place) for place in places} == {
        f"ml-100k/{what}-{regime}-MF-0.csv"
        for what in ("unlearning", "paths")
        for regime in SETTINGS
    }


def served(wanted, monkeypatch):
    """What :func:`rows._served` found: a row a user and descent."""
    found, plain = [], rows._served

    def kept(attacked, user, *given):
        found.append({"user": user} | plain(attacked, user, *given))
        return found[-1]

    monkeypatch.setattr(rows, "_served", kept)
    small(monkeypatch)
    users = []
    for descent in (each for each in wanted if isinstance(each, Descent)):
        found.clear()
        (row,) = rows._rows([descent])
        assert row["users"] == len(found) == 4
        of = {name: row[name] for name in (*WHERE, "loss")}
        users += [of | each for each in found]
    return pd.DataFrame(users)


def test_users_have_what_the_theory_speaks_of_and_what_matters_to_them(wanted, monkeypatch):
    users = served(wanted, monkeypatch)
    assert len(users) == 2 * 2 * 4
    assert users[[*WHERE, "loss", "user"]].duplicated().sum() == 0
    assert users["strength"].between(0, 1).all()
    np.testing.assert_allclose(users["distance"], (1 - users["strength"]) * users["start"])
    assert users["octaves_down"].notna().all()
    assert users["hits_removed"].between(-1, 1).all()
    split = leave_one_out(load_dataset("ml-100k"), stream(0, "split"))
    sample = cells.sample_users(split.train.shape[0], 4, 0)
    for _, here in users.groupby(["regime", "loss"]):
        assert here["user"].tolist() == sample.tolist()


def test_a_users_targets_fall_as_far_as_with_plain_descent(wanted, monkeypatch):
    """RVD's own loop, by the same step, on the same rows: the independent way to the same ranks."""
    found = served(wanted, monkeypatch)
    of = found[found["regime"] == "ranking"].iloc[0]
    assert of["loss"] == WHOLE
    user = of["user"]
    (scenario,) = effects.scenarios("ml-100k", ["MF"], ["ranking"], ["clone"], ["random"], [0])
    attacked = cells.carry_out(scenario)
    victim, users = attacked.victim, np.array([user])
    nearest = RVD(victim, k=6).vicinity(users)[0]
    least, most = VicinalRidge.of(victim, nearest).curvature
    step = 2 / (least[most > 0].min() + most.max())
    plain = RVD(victim, k=6, scope="decoder", optimizer="sgd", learning_rate=step, steps=10)
    tuned = plain.fine_tune(nearest)
    assert any(not tuned[name].equal(victim.parameters[name]) for name in DECODER)
    seen = attacked.split.train[users]
    before, after = (
        metrics.ranks(scores, seen, attacked.targets)[0]
        for scores in (victim.score(users), victim.score_with(tuned, users))
    )
    listed = np.isfinite(before)
    expected = np.log2(after[listed] / before[listed]).mean()
    assert of["octaves_down"] == pytest.approx(expected, abs=0.05)  # ranks of float32 scores


def bounds(**changes):
    row = {"form": OURS, "epochs": 10, "user": 1, "n_fakes": 0}
    return row | {"measured": 1.0, "bound": 10.0, "exceeded": False, "start": 2.0} | changes


def test_looseness_is_the_median_over_users_of_orders_of_magnitude():
    of = [bounds(user=1), bounds(user=2, bound=100.0), bounds(user=3, bound=1e6, n_fakes=2)]
    of += [bounds(user=4, start=0.0), bounds(user=5, measured=1e-12, bound=1e-3)]
    found = rows.looseness(pd.DataFrame(of))
    loose = {measure: found[column(measure, OURS, 10)] for measure in LOOSENESS}
    # Of users 1 to 3: the others have nothing to measure.
    assert loose["orders"] == pytest.approx(2)
    assert loose["left"] == pytest.approx(0.5)
    assert loose["bounded"] == pytest.approx((5 + 50) / 2)
    assert (loose["exceeded"], loose["exceeded_with_fakes"]) == (0, 0)


def test_a_reading_that_is_no_theorem_is_no_violation():
    of = pd.DataFrame(
        [bounds(), bounds(form=PAPER_CLEAN, exceeded=True), bounds(form=PAPER), bounds(epochs=1)]
    )
    assert rows.violations(of).tolist() == [False, False]
    of.loc[2, "exceeded"] = True
    assert rows.violations(of).sum() == 1


def test_a_user_without_a_real_neighbour_is_left_out(wanted, monkeypatch):
    small(monkeypatch)
    some = rows.RVD.vicinity

    def fakes_alone(self, users):
        found = some(self, users)
        found[0] = np.arange(self.victim.train.shape[0] - 6, self.victim.train.shape[0])
        return found

    monkeypatch.setattr(rows.RVD, "vicinity", fakes_alone)
    row = next(rows._rows([wanted[0]]))
    assert (row["users"], row["cases"]) == (3, 3 * 3)
    monkeypatch.setattr(rows.RVD, "vicinity", lambda *given: fakes_alone(*given)[[0] * 4])
    row = next(rows._rows([wanted[0]]))
    assert (row["users"], row["cases"], row["violated"]) == (0, 0, 0)
    assert np.isnan(row[column("strength", "octaves_down")])


def losses(**changes):
    row = dict.fromkeys(WHERE, "x") | {"regime": "rating", "victim": "MF", "seed": 0}
    return row | {"loss": WHOLE, "cases": 100, "violated": 0} | changes


def judged(of, promised):
    paths = pd.DataFrame(
        [
            {"regime": "rating", "victim": "MF", "seed": seed, "promised": share}
            for seed, share in enumerate(promised)
        ]
    )
    nothing = pd.DataFrame()
    return study.verdicts(Measured(pd.DataFrame(of), nothing, nothing, paths)).set_index("id")


def test_theorems_without_a_violation_hold():
    of = [losses(seed=seed, loss=loss) for seed in (0, 1, 2) for loss in (WHOLE, DATA)]
    found = judged(of, (0.3, 0.31, 0.29))["verdict"]
    assert found.to_dict() == dict.fromkeys(("C9", "C10", "C16"), HOLDS)


def test_one_case_refutes_a_theorem_however_rare():
    of = [losses(seed=seed, loss=loss) for seed in (0, 1, 2) for loss in (WHOLE, DATA)]
    of[0]["violated"] = 1
    found = judged(of, [0.3])["overall"]
    assert found[["C9", "C10"]].tolist() == [FAILS, HOLDS]


def test_a_perfect_predictor_is_seen_and_a_constant_one_has_no_correlation():
    users = pd.DataFrame({"strength": range(5), "octaves_down": [u**3 for u in range(5)]})
    users = users.assign(start=1.0, distance=1.0, bound=-users["strength"])
    users = users.assign(strength_targets=np.nan, hits_removed=0)
    found = rows.correlations(users)
    assert len(found) == len(QUANTITIES) * len(OUTCOMES)
    assert found[column("strength", "octaves_down")] == pytest.approx(1)
    assert found[column("bound", "octaves_down")] == pytest.approx(-1)
    for one, other in (("distance", "octaves_down"), ("strength", "hits_removed")):
        assert np.isnan(found[column(one, other)])


def test_a_mean_over_fewer_than_half_of_the_seeds_is_not_shown():
    known = dict.fromkeys(WHERE, "x") | {"loss": WHOLE, "outcome": "octaves_down"}
    of = [
        known | {"quantity": quantity, "seed": seed, "rho": 0.5 if seed < some else np.nan}
        for quantity, some in (("strength", 2), ("bound", 1))
        for seed in range(4)
    ]
    found = study.prediction(pd.DataFrame(of)).set_index("quantity")
    assert found.loc["strength", ["mean", "n"]].tolist() == [0.5, 2]
    assert found.loc["bound", ["mean", "low", "high"]].isna().all()
    assert found.loc["bound", "n"] == 1


def test_attacks_of_a_seed_are_averaged_before_seeds_are():
    known = {"regime": "rating", "victim": "MF", "loss": WHOLE, "form": OURS, "epochs": 1}
    of = [
        known | dict.fromkeys(LOOSENESS, 0.0) | {"seed": seed, "left": left}
        for seed, left in ((0, 0.2), (0, 0.4), (1, 0.6))
    ]
    found = study.over_seeds(pd.DataFrame(of)).set_index("metric").loc["left"]
    assert (found["mean"], found["n"]) == (pytest.approx((0.3 + 0.6) / 2), 2)


def test_users_with_fakes_count_alike_whatever_victim_they_are_of(measured):
    bounds = measured.bounds.assign(exceeded_with_fakes=np.nan, users_with_fakes=0)
    last = (bounds["form"] == PAPER_CLEAN) & (bounds["epochs"] == 50)
    bounds.loc[last, "exceeded_with_fakes"] = [1.0, 0.0]
    bounds.loc[last, "users_with_fakes"] = [1, 3]
    said = study.answer(measured._replace(bounds=bounds), 10)
    assert "fails for 25% of users with a fake among their neighbours, 50 epochs on" in said


def test_there_are_five_sentences_and_their_numbers_are_those_of_the_tables(measured):
    _, _, *sentences = study.answer(measured, 10).splitlines()
    assert len(sentences) == 5
    assert "0 of 48 cases" in sentences[0]
    loose = study.over_seeds(measured.bounds)
    table = study.table(loose, 10)
    left = table.xs(OURS, level="form").xs(WHOLE, level="loss")["measured / start"].mean()
    assert f"{left:.0%} of the distance" in sentences[1]
    promised = measured.paths["promised"].median()
    assert f"promise {promised:.0%} of the fall" in sentences[2]
    for sentence in sentences[3:]:
        assert "in 0 of 4 cases: 0 of them with the data term alone" in sentence  # one seed
    assert all("nan" not in sentence for sentence in sentences)


def test_the_figure_has_a_panel_a_regime_and_two_lines_a_victim(measured):
    loose = study.over_seeds(measured.bounds)
    drawn = loose[(loose["form"] == OURS) & (loose["loss"] == WHOLE)]
    figure = unlearning_plots.distance_left(drawn, 10)
    assert [axes.get_title() for axes in figure.axes] == ["rating regime", "ranking regime"]
    for axes in figure.axes:
        curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert {line.get_linestyle() for line in curves} == {"-", "--"}
        solid, dashed = (line.get_ydata() for line in curves)
        assert (solid <= dashed * (1 + 1e-9)).all()
