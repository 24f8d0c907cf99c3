"""An audit on small data: what it reports, and how it ends whatever happens."""

import csv
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner

from rvdlib.audit import End, ModelError, audit, document, write
from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.clock import Clock, OutOfMinutes
from rvdlib.audit.measuring import MOST_SEEDS, Bench
from rvdlib.audit.remedies import REMEDIES
from rvdlib.audit.report import FILES, as_html
from rvdlib.cli import main
from rvdlib.cli.audit import MOST, _ids, alone_in
from rvdlib.data import Ratings, read_ratings
from rvdlib.defenses.forms import chain_of

MODELS = Path(models.__file__)
KEYS = {
    *("dataset", "users", "items", "ratings", "regime", "model", "budget", "attacks", "remedies"),
    *("recommendation", "sure", "not_tried", "seconds"),
}
ATTACK_KEYS = {"name", "knowledge", "thr", "low", "high"}
REMEDY_KEYS = {
    *("name", "thr", "thr_low", "thr_high", "accuracy_change", "ms_per_user", "coverage")
}


def small(seed: int = 0, n_users: int = 80, n_items: int = 60, text: bool = False) -> Ratings:
    """Four tastes; ids that no report may obey, where ``text``."""
    rng = np.random.default_rng(seed)
    tastes, kinds = rng.integers(4, size=n_users), rng.integers(4, size=n_items)
    popular = rng.gamma(0.6, size=n_items) + 0.02
    users, items, stars = [], [], []
    for user, taste in enumerate(tastes):
        weights = popular * np.where(kinds == taste, 8, 1)
        chosen = rng.choice(n_items, 10, replace=False, p=weights / weights.sum())
        users += [user] * 10
        items += chosen.tolist()
        stars += np.where(kinds[chosen] == taste, 5, 2).tolist()
    hostile = ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "\x1b[31mred", '"><img src=x>']
    named = [hostile[i % 4] + str(i) for i in items] if text else items
    return Ratings.from_triples(
        users, named, stars, name="<b>\x1b]0;own\x07</b>=1+1.csv" if text else "small"
    )


def of(kind: str) -> str:
    return f"{MODELS}:{kind}"


def audited(kind: str = "SVD", **asked):
    asked = {"budget": 0.1, "minutes": None, "repetitions": 3, "list_length": 5} | asked
    return audit(asked.pop("ratings", None) or small(), of(kind), **asked)


@pytest.fixture(scope="module")
def report():
    return document(audited("MeanStars", ratings=small(text=True)), ["rvd", "audit", "a b.csv"])


def test_the_report_has_the_keys_that_others_read(report):
    assert report.keys() >= KEYS
    assert all(row.keys() >= ATTACK_KEYS for row in report["attacks"])
    assert all(row.keys() >= REMEDY_KEYS for row in report["remedies"])
    assert len(report["answer"]) == 3 + (report["recommended"] is not None)
    json.dumps(report, allow_nan=False)


def test_fakes_fool_what_believes_the_stars_of_a_few_and_the_report_says_so(report):
    assert report["verdicts"]["fooled"] == "yes"
    assert set(report["verdicts"]["harmful"]) == set(KNOWLEDGE)
    rows = {row["name"]: row for row in report["remedies"]}
    assert rows["none"]["thr"] > rows["none"]["thr_clean"] + 0.02
    assert report["answer"][0].startswith("Yes")


def test_ratios_are_within_their_intervals_and_between_0_and_1(report):
    for row in report["attacks"]:
        assert 0 <= row["low"] <= row["thr"] <= row["high"] <= 1
    for row in report["remedies"]:
        assert 0 <= row["thr_low"] <= row["thr"] <= row["thr_high"] <= 1
        assert 0 <= row["coverage"] <= 1


def test_what_is_recommended_helps_and_is_a_form_that_can_be_built(report):
    rows = {row["name"]: row for row in report["remedies"]}
    assert report["verdicts"]["remedy"] == "found"
    assert report["sure"] is True
    assert rows[report["recommended"]]["verdict"] == "helps"
    assert rows[report["recommended"]]["accuracy_change"] >= -0.05
    assert chain_of(report["form"]).defenses
    assert f"({report['recommended']})" in report["recommendation"]


SHAPES = {
    "clicks": ("user,item,timestamp", lambda stars, at: at),
    "half stars, text ids": ("user,item,rating", lambda stars, at: stars - 0.5 * (at % 2)),
    "-10 to 10": ("user,item,rating", lambda stars, at: 5 * stars - 15 - at % 3),
}


@pytest.mark.filterwarnings("ignore:.*are shifted up")
@pytest.mark.parametrize("kind", SHAPES)
def test_files_of_any_shape_have_the_same_verdicts_for_three_seeds(kind, tmp_path):
    header, last = SHAPES[kind]
    cells = small(text="text" in kind).matrix.tocoo()
    rows = zip(cells.row, cells.col, cells.data, strict=True)
    name = "film <b>{}" if "text" in kind else "{}"
    lines = [f"{u},{name.format(i)},{last(r, at):g}" for at, (u, i, r) in enumerate(rows)]
    (tmp_path / "r.csv").write_text("\n".join([header, *lines]))
    ratings = read_ratings(tmp_path / "r.csv", time_column="found", implicit=kind == "clicks")
    said, model = [], "SVD" if kind == "clicks" else "MeanStars"  # stars of 1 have no best mean
    for seed in range(3):
        how = {"attacks": ["random", "vicinity"], "remedies": ["quorum"], "repetitions": 8}
        report = document(audited(model, ratings=ratings, seed=seed, **how))
        said.append([report["verdicts"], report["recommendation"], report["sure"]])
    assert said[0] == said[1] == said[2]
    assert said[0][0]["fooled"] == ("no" if kind == "clicks" else "yes")


def test_the_same_seed_gives_the_same_report_but_for_its_timings():
    said = []
    for _ in range(2):
        found = audited("MeanStars", repetitions=2, attacks=["random", "vicinity"])
        found.milliseconds.clear()
        said.append(document(found) | {"seconds": None})
    assert said[0] == said[1]


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.addresses = set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [
            v for n, v in attributes if n in ("src", "href", "srcset", "data", "action")
        ]
        assert not [n for n, _ in attributes if n.startswith("on")]


def test_the_page_loads_nothing_and_obeys_no_title(report):
    html = as_html(report)
    page = _Page()
    page.feed(html)
    assert page.addresses == []
    assert not page.tags & {"script", "img", "link", "iframe", "object", "embed", "b", "base"}
    assert not re.search(r"url\(|@import|https?:", html)
    assert "\x1b" not in html
    assert "\x07" not in html


def test_the_table_holds_no_formula_and_the_files_no_control_character(report, tmp_path):
    paths = write(report | {"attacks": [{**report["attacks"][0], "name": "=1+1\x1b"}]}, tmp_path)
    assert {path.name for path in paths} <= set(FILES)
    for path in paths:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", path.read_text())
    with (tmp_path / "audit.csv").open() as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=1+1\\x1b" in cells
    assert not [cell for cell in cells if cell[:1] in "=+@" and cell]


def test_an_earlier_choice_does_not_stay_beside_a_report_that_recommends_none(report, tmp_path):
    (tmp_path / "defense.yml").write_text("regime: ranking\n")
    write(report | {"form": None}, tmp_path)
    assert not (tmp_path / "defense.yml").exists()


def test_scores_alone_get_the_remedies_that_need_no_arrays():
    found = document(audited("ScoresAlone", repetitions=1))
    names = {row["name"] for row in found["remedies"]}
    assert {"least support", "count", "quorum", "detection"} <= names
    assert not names & {
        "closed form",
        "closed form and quorum",
        "adversarial training",
        "unobserved weight",
    }
    reasons = {each["what"]: each["why"] for each in found["not_tried"]}
    assert "arrays" in reasons["closed form"]


@pytest.mark.parametrize("kind", ["WrongArrays", "MaskedMore", "MaskedSquares", "Masked"])
def test_arrays_that_do_not_give_the_scores_are_not_believed(kind):
    trained = audited(kind, repetitions=1, attacks=["random"], remedies=[]).bench
    reason = trained.fit(trained.split.train, 0).why_not_linear
    assert reason == ("" if kind == "Masked" else "its factors do not give its scores")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("WrongShape", "score.* gave float64 of the shape .*expected"),
        ("NaN", "NaN or inf for user"),
        ("Infinite", "NaN or inf for user"),
        ("OneFactor", r"user_factors of .* 80 rows in 2 dimensions, got the shape \(80,\)"),
        ("Raises", r"fit\(ratings\) of .* raised RuntimeError.*small_models.py, line"),
        ("Exits", r"fit\(ratings\) of .* raised SystemExit: bye .*small_models.py, line"),
        ("Neither", "without fit"),
        ("not_called", "making it"),
        ("no_such", "no function 'no_such'"),
    ],
)
def test_a_model_that_fails_is_named_with_what_it_did(kind, message):
    with pytest.raises(ModelError, match=message):
        audited(kind)


RUDE = """
from __future__ import annotations
from dataclasses import dataclass
from small_models import SVD

@dataclass
class Rude(SVD):
    seed: int = 0

    def fit(self, ratings):
        from beside import line
        print(line)
        super().fit(ratings)
        ratings.data[:] = 0
        for factors in (self.user_factors, self.item_factors):
            factors.setflags(write=False)

    def score(self, users):
        scores = super().score(users).astype("float16")
        users[:] = 0
        scores.setflags(write=False)
        return scores
"""


def test_a_model_may_print_import_late_and_write_to_what_it_is_given(tmp_path):
    (tmp_path / "rude.py").write_text(RUDE)
    (tmp_path / "beside.py").write_text("line = 'epoch 1'\n")
    cells = small().matrix.tocoo()
    rows = zip(cells.row, cells.col, cells.data, strict=True)
    text = "".join(f"{u},{i},{r:g}\n" for u, i, r in rows)
    (tmp_path / "r.csv").write_text("user,item,rating\n" + text)
    given = ["audit", tmp_path / "r.csv", "--model", f"{tmp_path}/rude.py:Rude", "--budget", "10%"]
    given += ["--repetitions", 1, "--out", tmp_path / "out"]
    result = CliRunner().invoke(main, [str(each) for each in given])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out/audit.json").read_text())
    said = [*report["answer"], "", str(tmp_path / "out/index.html")]
    assert result.stdout.splitlines() == said
    assert "epoch 1" in result.stderr
    assert "closed form" in {row["name"] for row in report["remedies"]}


@pytest.mark.parametrize("comes", [KeyboardInterrupt, RuntimeError("out of luck")])
@pytest.mark.parametrize("after", [0, 15, 20])
def test_whatever_ends_it_leaves_a_report_of_what_there_was(after, comes, monkeypatch, tmp_path):
    monkeypatch.setattr(models.Ends, "left", after)
    monkeypatch.setattr(models.Ends, "comes", comes)
    path = tmp_path / "ends.py"
    path.write_text("from small_models import Ends\n")
    how = {"budget": 0.1, "minutes": None, "repetitions": 2, "list_length": 5}
    if after < 20:  # no attack was measured
        with pytest.raises(KeyboardInterrupt if comes is KeyboardInterrupt else ModelError):
            audit(small(), f"{path}:Ends", **how)
        return
    found = audit(small(), f"{path}:Ends", **how)
    assert found.end is (End.INTERRUPTED if comes is KeyboardInterrupt else End.FAILED)
    report = document(found)
    why = "it was interrupted" if comes is KeyboardInterrupt else "it failed: fit(ratings) of "
    assert report["interrupted"].startswith(why)
    assert f"ended early, because {why}" in report["answer"][-1]
    assert "Not complete." in as_html(report)
    assert report["remedies"][0]["thr"] is not None


@pytest.mark.parametrize("attacks", [("random", "low_clone"), ("random", "vicinity")])
def test_without_a_strong_attacker_no_model_is_cleared_and_the_first_sentence_names_who_lacks(
    attacks, monkeypatch
):
    monkeypatch.setattr("rvdlib.audit.verdicts.FOOLED", 2.0)  # nothing lifts a ratio so far
    report = document(audited(attacks=attacks, remedies=[], repetitions=2))
    strong = "vicinity" in attacks
    assert report["verdicts"]["fooled"] == ("no" if strong else "undecided")
    assert ("Nothing needs to be done" in report["recommendation"]) is strong
    assert report["sure"] is strong
    lacks = [name for name in KNOWLEDGE if name not in attacks]
    assert f"not tried: the attacks {', '.join(lacks)}." in report["answer"][0]


def test_minutes_that_are_over_leave_a_report_too(monkeypatch):
    measure, now = Bench.measure, time.monotonic

    def late(*given, **named):
        late.calls += not named.get("validation")
        if late.calls == 8:  # under the second attack
            raise OutOfMinutes
        return measure(*given, **named)

    late.calls = 0
    monkeypatch.setattr(Bench, "measure", late)
    found = audited(remedies=["count", "least support"])
    report = document(found)
    assert (found.end, report["interrupted"]) == (End.OUT_OF_MINUTES, "the minutes were over")
    said = {row["name"] for row in report["attacks"] + report["remedies"]}
    said |= {each["what"].removeprefix("attack ") for each in report["not_tried"]}
    assert {*KNOWLEDGE, *REMEDIES} <= said
    start = now()
    with pytest.raises(KeyboardInterrupt, match="the minutes were over"):
        audited(minutes=1e-4, repetitions=None)
    assert now() - start < 15


def test_sentences_say_no_more_than_was_measured():
    found = audited("MeanStars", repetitions=2, attacks=["random", "vicinity"], remedies=["count"])
    for remedy in ("none", "count"):
        del found.cells[1, "random", remedy]
    report = document(found)
    assert "This rests on 1 to 2 repetitions" in report["answer"][-1]
    assert "--minutes" not in report["recommendation"]
    assert "--repetitions" in report["recommendation"]


CLICKS = "user,item\n" + "".join(f"{u},{i}\n" for u in range(9) for i in range(6))
TIMED = "user,item,time\n" + "".join(f"{u},{i},{i}\n" for u in range(9) for i in range(6))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", (), "is empty"),
        ("user,item,rating\n", (), "holds no ratings"),
        ("user,item,rating\na,b,nan\n", (), "line 2: the rating 'nan'"),
        ("user,item,rating\na,b,5\n", (), "no user has 5 ratings"),
        ("user,item,rating,time\na,b,5,soon\n", (), "line 2: the time 'soon'"),
        (CLICKS, ("--budget", "1%"), "less than one fake"),
        (CLICKS, ("--targets", "77"), "no item"),
        (CLICKS, ("--targets", ","), "no item id"),
        (
            CLICKS,
            ("--targets", "nofile.txt"),
            "--targets nofile.txt: there is no such file, and no",
        ),
        (CLICKS, ("--targets", "no/file"), "--targets no/file: there is no such file, and no"),
        (CLICKS, ("--repetitions", "901"), "not in the range"),
        (CLICKS, ("--regime", "rating"), "every rating is 1, as in implicit data"),
        (CLICKS, ("--model", "MFF"), "did you mean 'MF'"),
        (CLICKS, ("--budget", "x"), "no share"),
        (CLICKS, ("--minutes", "nan"), "not a finite number"),
        (CLICKS, ("--minutes", "1e20"), "not in the range"),
        (CLICKS, ("--list-length", "7"), "list_length is at most 6 (the items)"),
        (TIMED, ("--targets", "0", "--budget", "20%"), "every user has rated the item 0"),
    ],
)
def test_bad_input_is_one_error_and_no_folder(text, options, message, tmp_path):
    (tmp_path / "r.csv").write_text(text)
    out = tmp_path / "out"
    result = CliRunner().invoke(
        main, ["audit", str(tmp_path / "r.csv"), "--out", str(out), *options]
    )
    assert result.exit_code == 2
    assert message in result.output
    assert "\x1b" not in result.output
    assert not out.exists()


def test_nothing_is_tuned_for_the_rating_regime_on_ratings_of_one_level(tmp_path):
    (tmp_path / "r.csv").write_text(CLICKS)
    given = [str(tmp_path / "r.csv"), "--implicit", "--out", str(tmp_path / "out.yml")]
    result = CliRunner().invoke(main, ["tune", *given, "--regime", "rating"])
    assert result.exit_code == 2
    assert "take the ranking regime (--regime ranking)" in result.output
    assert not (tmp_path / "out.yml").exists()


@pytest.mark.parametrize(
    ("mine", "problem"),
    [
        ("report", "index.html cannot be written: Not a directory"),
        ("report/index.html", "index.html is not of an audit"),
        ("report/defense.yml", "defense.yml is not of an audit"),
    ],
)
def test_what_no_audit_wrote_is_not_written_over(mine, problem, tmp_path):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    result = CliRunner().invoke(main, ["audit", "none.csv", "--out", str(tmp_path / "report")])
    assert result.exit_code == 2
    assert problem in result.output
    assert (tmp_path / mine).read_text() == "mine"


def test_two_audits_do_not_write_into_one_folder(tmp_path):
    (tmp_path / "r.csv").write_text(CLICKS)
    command = ["audit", str(tmp_path / "r.csv"), "--out", str(tmp_path / "new" / "report")]
    with alone_in(tmp_path / "new" / "report"):
        result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert f"another audit writes its report to {tmp_path}/new/report" in result.output
    assert not (tmp_path / "new").exists()


def test_times_decide_what_is_tested(tmp_path):
    rng = np.random.default_rng(0)
    rows = "".join(
        f"{u},{i},{rng.integers(10**6)}\n" for u in range(50) for i in rng.choice(40, 8, False)
    )
    path = tmp_path / "r.csv"
    path.write_text("user,item,timestamp\n" + rows)
    ratings = read_ratings(path, time_column="found", implicit=True)
    found = audited(ratings=ratings, repetitions=1)
    train, test = found.bench.split.train, found.bench.split.test
    times = dict(zip(zip(*ratings.matrix.nonzero(), strict=True), ratings.times, strict=True))
    assert document(found)["split"] == "by time"
    for user, item in zip(test.users[:20], test.items[:20], strict=True):
        assert times[user, item] >= max(times[user, other] for other in train[user].indices)


def test_the_ids_of_targets_may_look_like_files(tmp_path):
    assert _ids("a.txt, b/c", ["a.txt", "z"]) == ["a.txt", "b/c"]
    assert _ids("1,2", ["3"]) == ["1", "2"]  # which of them is no item is said later
    (tmp_path / "ids.txt").write_text("1\n\n 2\n")
    assert _ids(str(tmp_path / "ids.txt"), ["3"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("end", "said", "code"),
    [
        (End.COMPLETE, "", 0),
        (End.OUT_OF_MINUTES, "the minutes were over", 0),
        (End.INTERRUPTED, "it had enough", 130),
        (End.FAILED, "out of luck", 2),
    ],
)
def test_the_exit_code_says_how_it_ended_whatever_the_words(end, said, code, tmp_path, monkeypatch):
    found = SimpleNamespace(end=end, interrupted=said)
    monkeypatch.setattr("rvdlib.audit.audit", lambda *given, **named: found)
    monkeypatch.setattr("rvdlib.audit.document", lambda *given: {"answer": ["Yes."]})
    monkeypatch.setattr("rvdlib.audit.write", lambda *given: None)
    (tmp_path / "r.csv").write_text(CLICKS)
    given = ["audit", str(tmp_path / "r.csv"), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(main, given).exit_code == code


def test_no_repetition_has_a_seed_of_the_defender_or_of_another_seed():
    seeds = [
        {Bench.seed_of(SimpleNamespace(seed=seed), each) for each in range(MOST_SEEDS)}
        for seed in range(3)
    ]
    own = {Bench.seed_of(SimpleNamespace(seed=0), each) for each in (-1, -2)}
    assert len(set().union(own, *seeds)) == 2 + 3 * MOST_SEEDS
    assert MOST == MOST_SEEDS
    for repetitions in (0, MOST_SEEDS + 1):
        with pytest.raises(ValueError, match=f"repetitions must be from 1 to {MOST_SEEDS}"):
            audited(repetitions=repetitions)


def test_nothing_is_written_to_a_pipe_while_it_runs(capsys):
    clock = Clock(1, show=True)
    with clock.running():
        clock.says("training once")
    assert capsys.readouterr() == ("", "")


def test_an_audit_without_an_attack_is_refused():
    with pytest.raises(ValueError, match="attacks hold no name"):
        audited(attacks=[])
