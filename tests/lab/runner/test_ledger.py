"""One ledger of all claims, from the tables of the notebooks."""

import json

import pandas as pd
import pytest

from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner import ledger
from rvdlib.lab.runner.ledger import COLUMNS, NOT_FOR_RVD, NOT_MEASURED, PART
from rvdlib.paths import PARAMS
from rvdlib.strict_yaml import read_yaml


def part(name, **others):
    row = dict.fromkeys(PART) | {"id": name, "metric": "m", "value": 0.3, "low": 0.2, "high": 0.4}
    return row | {"n_seeds": 3, "verdict": "reproduced", "overall": "reproduced"} | others


@pytest.fixture
def folder(project):
    path = project / "results" / "tiny"
    path.mkdir()
    return path


def write(path, *parts):
    pd.DataFrame(parts, columns=PART).to_csv(path, index=False)


def test_every_claim_has_what_a_judge_needs_or_no_notebook():
    claims = ledger.claims()
    assert list(claims) == [f"C{n}" for n in range(1, 18)]
    for claim in claims.values():
        judged = claim.threshold is not None, claim.sense is not None, claim.notebook is not None
        assert len(set(judged)) == 1
    assert [name for name, claim in claims.items() if claim.restated] == ["C9", "C10", "C16"]


def test_the_bounds_of_models_that_are_not_convex_are_tried_on_one_user_a_seed_as_their_claim_says():
    assert "one user a seed" in ledger.claims()["C16"].metric
    for profile in ("quick", "paper"):
        assert read_yaml(PARAMS / f"{profile}.yml")["08_unlearning"]["path_users"] == 1


def test_the_notebooks_of_claims_exist():
    from rvdlib.paths import NOTEBOOKS

    names = {claim.notebook for claim in ledger.claims().values()} - {None}
    assert all((NOTEBOOKS / f"{name}.ipynb").is_file() for name in names)


def test_the_ledger_holds_every_claim_whoever_has_run(folder):
    found = ledger.assemble("tiny")
    assert found["id"].tolist() == list(ledger.claims())
    assert set(found["verdict"]) == set(found["overall"]) == {NOT_MEASURED}
    assert set(found["n_seeds"]) == {0}
    assert ledger.read("tiny")["claim"].tolist() == found["claim"].tolist()


def test_parts_are_taken_from_the_notebook_of_the_claim_alone(folder):
    write(folder / "03_claims.csv", part("C1", regime="rating"), part("C1", regime="ranking"))
    write(folder / "04_claims.csv", part("C1", regime="stray"), part("C13", defense="none"))
    found = ledger.assemble("tiny")
    assert found.columns.tolist() == COLUMNS
    assert found.loc[found["id"] == "C1", "regime"].tolist() == ["rating", "ranking"]
    assert len(found) == 18
    row = ledger.read("tiny").set_index("id").loc["C13"]
    assert (row["defense"], row["value"], row["profile"]) == ("none", 0.3, "tiny")
    records = json.loads((folder / "claims.json").read_text())
    assert [record["id"] for record in records] == found["id"].tolist()
    assert records[0].keys() == set(COLUMNS)
    assert (records[0]["value"], records[0]["victim"]) == (0.3, None)


def taken(claim):
    rows = ledger.assemble("tiny").set_index("id").loc[[claim]]
    return [*(rows["dataset"] + " " + rows["notebook"].str[:2])], set(rows["overall"])


def test_two_notebooks_that_measured_a_claim_both_have_a_say(folder):
    no = {"verdict": "not reproduced", "overall": "not reproduced"}
    nothing = {"verdict": NOT_MEASURED, "overall": NOT_MEASURED, "n_seeds": 0}
    write(
        folder / "03_claims.csv",
        *(part(claim, dataset="ml-100k", n_seeds=10) for claim in ("C1", "C2")),
    )
    write(
        folder / "11_claims.csv",
        part("C1", dataset="ml-100k", **no),
        part("C1", dataset="yelp", **no),
        part("C2", dataset="yelp", **nothing),
    )
    assert taken("C1") == (["ml-100k 11", "yelp 11", "ml-100k 03"], {"mixed"})
    assert taken("C2") == (["ml-100k 03"], {"reproduced"})


def test_one_or_two_seeds_of_a_part_have_no_say_beside_three_of_all(folder):
    write(folder / "03_claims.csv", part("C1", dataset="ml-100k", n_seeds=2))
    few = [part("C1", dataset="yelp", n_seeds=n) for n in (9, 1)]
    write(folder / "11_claims.csv", *few)
    assert taken("C1")[0] == ["yelp 11", "yelp 11", "ml-100k 03"]
    write(folder / "11_claims.csv", *few, part("C1", dataset="filmtrust"))
    assert taken("C1")[0] == ["filmtrust 11"]


def test_what_another_method_shows_is_no_verdict_on_the_papers(folder):
    write(folder / "12_claims.csv", part("C17", defense="closed form"), part("C6"))
    found = ledger.assemble("tiny").set_index("id")
    assert found.loc["C17", ["verdict", "overall"]].tolist() == ["reproduced", NOT_FOR_RVD]
    assert found.loc["C6", "overall"] == "reproduced"


def test_tables_of_an_older_version_are_named_together(folder):
    for number in ("03", "08"):
        (folder / f"{number}_claims.csv").write_text("claim,measured\n")
    with pytest.raises(StudyError, match=r"03_claims.* and .*08_claims.*--only 03 --only 08"):
        ledger.assemble("tiny")
    assert not (folder / "claims.csv").exists()


def test_a_regime_of_few_seeds_does_not_take_the_other_one_with_it(project):
    """Verdicts are of regimes: what one seed says in one leaves three seeds of the other alone."""
    (project / "results" / "paper").mkdir()
    row = dict.fromkeys(ledger.PART) | {"id": "C2", "dataset": "ml-1m", "verdict": "undecided"}
    parts = [row | {"regime": "rating", "n_seeds": 3}, row | {"regime": "ranking", "n_seeds": 1}]
    parts += [row | {"regime": "ranking", "n_seeds": 3, "dataset": "ml-100k"}]
    pd.DataFrame(parts).to_csv(project / "results" / "paper" / "11_claims.csv", index=False)
    found = ledger.assemble("paper")
    kept = found[found["id"] == "C2"][["dataset", "regime"]].to_numpy().tolist()
    assert kept == [["ml-1m", "rating"], ["ml-100k", "ranking"]]
