"""One ledger of all claims, from the tables of the notebooks."""

import json

import pandas as pd
import pytest

from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner import ledger
from rvdlib.lab.runner.ledger import COLUMNS, NOT_MEASURED, PART


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


def test_what_was_measured_on_all_data_sets_has_the_say(folder):
    write(folder / "03_claims.csv", part("C1", dataset="ml-100k"), part("C2", dataset="ml-100k"))
    nothing = {"verdict": NOT_MEASURED, "overall": NOT_MEASURED}
    write(folder / "11_claims.csv", part("C1", dataset="yelp"), part("C2", **nothing))
    found = ledger.assemble("tiny").set_index("id")
    assert found.loc["C1", ["dataset", "notebook"]].tolist() == ["yelp", "11_main_results"]
    assert found.loc["C2", ["dataset", "notebook"]].tolist() == [
        "ml-100k",
        "03_rvd_in_five_minutes",
    ]


def test_but_not_on_one_or_two_seeds_where_the_other_has_more(folder):
    for few, taken in ((2, "03_rvd_in_five_minutes"), (3, "11_main_results")):
        write(folder / "03_claims.csv", part("C1", n_seeds=3))
        write(folder / "11_claims.csv", part("C1", n_seeds=9), part("C1", n_seeds=few))
        assert set(ledger.assemble("tiny").set_index("id").loc[["C1"], "notebook"]) == {taken}
    write(folder / "03_claims.csv", part("C1", n_seeds=1))
    write(folder / "11_claims.csv", part("C1", n_seeds=1))
    assert ledger.assemble("tiny").set_index("id").loc["C1", "notebook"] == "11_main_results"


def test_tables_of_an_older_version_are_named_together(folder):
    for number in ("03", "08"):
        (folder / f"{number}_claims.csv").write_text("claim,measured\n")
    with pytest.raises(StudyError, match=r"03_claims.* and .*08_claims.*--only 03 --only 08"):
        ledger.assemble("tiny")
    assert not (folder / "claims.csv").exists()
