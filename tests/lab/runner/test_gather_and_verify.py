"""Finished rows become committed rows; a sample of them is computed again."""

import csv
import re

import pytest
from click.testing import CliRunner

from rvdlib import paths
from rvdlib.cli import main
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.committed import store_of
from rvdlib.lab.experiment.lines import checksum_of, key_of
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.plain_values import encode
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.runner import verify as module
from rvdlib.lab.runner.gather import disagreement, gather, tolerance
from rvdlib.lab.runner.unchanged import OPTIMISED, TABLE
from rvdlib.lab.runner.verify import verify

CODE = {"rvdlib/metrics.py": "c1"}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "CELL_STORE", tmp_path / "cells")
    monkeypatch.setattr(paths, "VERIFIED", tmp_path / "verified")


def task(seed, attack="random", code=CODE, data="d1", versions="1", method="closed_form", **of):
    scenario = {"dataset": "ml-100k", "attack": attack, "regime": "rating", "seed": seed} | of
    spec = {"scenario": scenario, "chain": [{"method": method}], "n_users": None}
    made_with = {"data": {"ml-100k": data}, "code": code, "versions": {"numpy": versions}}
    return Task((seed, attack), spec, made_with, seed)


def compute(items, shift=0.0):
    for seed, attack in items:
        known = {"dataset": "ml-100k", "attack": attack, "seed": seed}
        yield {**known, "hit_ratio": 0.25 + seed / 100 + shift, "n_users": 943}


def computed(tasks, how=compute):
    rows_of(tasks, how, CellStore(), 1, "rows")
    return tasks


def shifted(shift):
    return lambda items: compute(items, shift)


def committed(profile="paper"):
    return {decoded.row["seed"]: decoded for decoded in store_of(profile).all()}


def test_finished_rows_are_gathered_with_their_cost_and_unfinished_ones_are_not():
    tasks = [task(seed) for seed in range(3)]
    computed(tasks[:2])
    assert gather("paper", tasks) == (2, 0)
    found = committed()
    assert found.keys() == {0, 1}
    assert found[0].cost.keys() == {"seconds", "peak_mib"}
    assert found[1].row["hit_ratio"] == 0.26
    assert gather("paper", tasks) == (0, 0)


def test_rows_that_nobody_uses_are_dropped_once_all_that_are_used_are_known():
    gather("paper", computed([task(0), task(1)]))
    assert gather("paper", [task(0)]) == (0, 0)
    assert gather("paper", [task(0)], complete=True) == (0, 1)
    assert committed().keys() == {0}


def test_the_quick_store_holds_only_what_the_paper_store_does_not():
    tasks = computed([task(0), task(1)])
    gather("quick", tasks)
    assert committed("quick").keys() == {0, 1}
    gather("paper", tasks[:1])
    assert gather("quick", tasks) == (0, 1)
    assert committed("quick").keys() == {1}


def test_stale_rows_wait_until_they_are_replaced():
    gather("paper", computed([task(0), task(1)]))
    newer = [task(seed, code={"rvdlib/metrics.py": "c2"}) for seed in range(2)]
    assert gather("paper", newer, complete=True) == (0, 0)
    computed(newer[:1], shifted(0.5))
    assert gather("paper", newer, complete=True) == (1, 0)
    assert {seed: kept.row["hit_ratio"] for seed, kept in committed().items()} == {0: 0.75, 1: 0.26}


@pytest.mark.parametrize(("shift", "replaced"), [(1e-9, 0), (0.01, 1)])
def test_a_row_computed_anew_replaces_one_that_says_something_else(monkeypatch, shift, replaced):
    gather("paper", computed([task(0)]))
    monkeypatch.setenv("RVD_RECOMPUTE", "1")
    before = store_of("paper").path(task(0).spec).read_bytes()
    elsewhere = computed([task(0, versions="2")], shifted(shift))
    assert gather("paper", elsewhere) == (replaced, 0)
    assert (store_of("paper").path(task(0).spec).read_bytes() == before) is (not replaced)


def in_agreement(tasks, sample=3, how=compute, **given):
    return verify(store_of("paper"), [Batch(tasks, how, "rows")], sample, jobs=1, **given)


def test_a_sample_agrees_and_nothing_changes():
    tasks = computed([task(seed, attack) for seed in range(4) for attack in ("random", "pga")])
    gather("paper", tasks)
    found = in_agreement(tasks, sample=5)
    assert {str(kind): count for kind, count in found.checked.items()}.keys() == {
        "ml-100k, rating, closed_form",
        "ml-100k, rating, closed_form, an attack that optimises",
    }
    assert sorted(found.checked.values()) == [2, 3]
    assert (found.carried, found.left, found.unasked, found.other_data) == ({}, {}, 0, 0)


def test_rows_that_no_notebook_asks_for_are_named_unless_they_are_allowed():
    tasks = computed([task(seed) for seed in range(3)])
    gather("paper", tasks)
    key = key_of(encode(tasks[2].spec))
    with pytest.raises(
        StudyError, match=rf"no notebook.*\n.*cells-rating-2.csv, key {key}, ml-100k"
    ):
        in_agreement(tasks[:2])
    assert in_agreement(tasks[:2], allow_unasked=True).unasked == 1


def test_to_check_nothing_is_an_error():
    tasks = computed([task(0)])
    with pytest.raises(StudyError, match="nothing was checked"):
        in_agreement(tasks)
    gather("paper", tasks)
    with pytest.raises(StudyError, match="no rows of yelpp; it has rows of ml-100k"):
        in_agreement(tasks, datasets=["ml-100k", "yelpp"])
    with pytest.raises(StudyError, match=r"nothing was checked: .*\(1 are not asked for"):
        in_agreement([], allow_unasked=True)


def test_rows_of_changed_code_are_carried_over_where_a_sample_of_their_kind_agrees():
    kinds = [{"method": "rvd"}, {"method": "quorum"}]
    old = [task(seed, **kind) for seed in range(5) for kind in kinds]
    gather("paper", computed(old))
    new = [
        each._replace(fingerprint=task(0, code={"rvdlib/x.py": "c2"}).fingerprint) for each in old
    ]
    few = in_agreement(new, sample=2)
    assert ([*few.checked.values()], few.carried, few.enough) == ([2], {}, 6)
    assert [*few.left.values()] == [5, 5]
    found = in_agreement(new, sample=4, how=shifted(1e-9))
    assert sorted(found.checked.values()) == [1, 3]
    assert [[*each.values()] for each in (found.carried, found.left)] == [[5], [5]]
    carried = [kept for kept in store_of("paper").all() if kept.carried_to]
    assert len(carried) == 5
    for kept in carried:
        assert (kept.computed_with, kept.carried_to) == (old[0].fingerprint, new[0].fingerprint)
        assert kept.verified_by["seed"] == found.seed
        assert len(kept.verified_by["sample"]) == 3
        assert set(kept.verified_by["sample"]) < {key_of(encode(each.spec)) for each in new}
    asked = [store_of("paper").lookup(each.spec, each.fingerprint).rows for each in new]
    assert sum(rows is not None for rows in asked) == 5
    assert in_agreement(new, sample=4).left == {}
    assert all(kept.carried_to for kept in store_of("paper").all())


@pytest.mark.parametrize("seed", range(3))
def test_kinds_whose_code_has_changed_come_first_and_a_sample_of_what_they_need_leaves_none(seed):
    others = [task(n, victim=f"V{n}") for n in range(4)]
    old = [task(n, method="quorum") for n in range(5)]
    gather("paper", computed([*others, *old]))
    newer = task(0, code={"rvdlib/x.py": "c2"}).fingerprint
    new = [*others, *(each._replace(fingerprint=newer) for each in old)]
    few = in_agreement(new, sample=1, seed=seed)
    assert (few.enough, [*few.left.values()]) == (3, [5])
    found = in_agreement(new, sample=few.enough, seed=seed)
    assert ([*found.carried.values()], found.left) == ([5], {})


def test_rows_of_another_victim_regime_or_defence_stand_for_none_of_these():
    differing = [{}, {"victim": "MF"}, {"regime": "ranking"}, {"method": "quorum"}]
    old = [task(seed, **of) for seed, of in enumerate(differing)]
    cell = task(len(old))
    spec = {"what": "thirds", **cell.spec["scenario"], "chain": cell.spec["chain"]}
    old.append(cell._replace(spec=spec))  # rows about a cell
    gather("paper", computed(old))
    newer = task(0, code={"rvdlib/x.py": "c2"}).fingerprint
    found = in_agreement([each._replace(fingerprint=newer) for each in old], sample=1)
    assert ([*found.carried.values()], [*found.left.values()]) == ([1], [1, 1, 1, 1])


def test_where_one_disagrees_it_is_named_and_nothing_is_carried_over():
    gather("paper", computed([task(seed) for seed in range(3)]))
    new = [task(seed, code={"rvdlib/x.py": "c2"}) for seed in range(3)]
    before = [*store_of("paper").all()]
    with pytest.raises(
        StudyError, match=r"cells-rating-\d.csv, key \w{16}, .*hit_ratio: 0.2\d bec"
    ):
        in_agreement(new, sample=1, how=shifted(0.001))
    assert [*store_of("paper").all()] == before


def test_what_was_computed_when_one_disagreed_is_not_computed_again_and_after_that_it_is(
    monkeypatch,
):
    asked = []

    def noting(items):
        asked.extend(items)
        return compute(items, 0.001)

    tasks = computed([task(seed) for seed in range(3)])
    gather("paper", tasks)
    for _ in range(2):
        with pytest.raises(StudyError, match="hit_ratio"):
            in_agreement(tasks, sample=3, how=noting)
    assert len(asked) == 3
    monkeypatch.setattr("rvdlib.lab.runner.gather.TABLE", 0.01)
    in_agreement(tasks, sample=3, how=noting)
    assert len(asked) == 3
    in_agreement(tasks, sample=3, how=noting)
    assert len(asked) == 6
    newer = [task(seed, versions="2") for seed in range(3)]
    with pytest.raises(StudyError, match="hit_ratio"):
        in_agreement(tasks, sample=3, how=shifted(0.1))
    in_agreement(newer, sample=3, how=noting)
    assert len(asked) == 9
    assert not [*paths.VERIFIED.iterdir()]


def test_what_another_run_computed_is_left_where_one_without_a_disagreement_ends():
    first, second = tasks = computed([task(0), task(1, attack="clone")])
    gather("paper", tasks)
    with pytest.raises(StudyError, match="hit_ratio"):
        in_agreement([first], sample=1, how=shifted(0.1), allow_unasked=True)
    in_agreement([second], sample=1, allow_unasked=True)
    assert [path.name for path in paths.VERIFIED.iterdir()] == [CellStore().path(first.spec).name]


def test_the_rows_of_all_batches_that_disagree_are_named():
    tasks = computed([task(seed) for seed in range(4)])
    gather("paper", tasks)
    parts = [Batch(part, shifted(0.1), "rows") for part in (tasks[:2], tasks[2:])]
    with pytest.raises(StudyError) as raised:
        verify(store_of("paper"), parts, 4, jobs=1)
    assert [f"cells-rating-{n}.csv" in str(raised.value) for n in range(4)] == [True] * 4


def test_an_attack_that_optimises_may_end_a_little_elsewhere():
    gather("paper", computed([task(0, "pga")]))
    assert sum(in_agreement([task(0, "pga")], how=shifted(0.001)).checked.values()) == 1
    with pytest.raises(StudyError, match="hit_ratio"):
        in_agreement([task(0, "pga")], how=shifted(0.05))


def test_what_magnifies_last_digits_may_be_a_little_off_and_other_kinds_may_not():
    spec = task(0).spec["scenario"]
    found = {what: tolerance({"what": what, **spec}) for what in ("unlearning", "paths", "thirds")}
    assert found == {"unlearning": OPTIMISED, "paths": OPTIMISED, "thirds": TABLE}
    assert tolerance(task(0, method="adversarial_training").spec) == OPTIMISED
    assert TABLE < tolerance(task(0, method="rvd").spec) < OPTIMISED
    assert tolerance(task(0, method="closed_form").spec) == TABLE
    assert tolerance(task(0, "pga").spec) == OPTIMISED < tolerance(task(0, "aush").spec) < 0.05


def test_an_item_more_or_less_at_the_end_of_a_list_is_the_same_row_and_several_are_not():
    spec, row = task(0).spec, {"catalogue_share": 0.5152, "ndcg": 0.5152}
    assert not disagreement(row, row | {"catalogue_share": 0.5147}, spec)
    assert "catalogue_share" in disagreement(row, row | {"catalogue_share": 0.5127}, spec)
    assert "ndcg" in disagreement(row, row | {"ndcg": 0.5147}, spec)


def test_options_are_the_same_in_any_order_and_no_others_are():
    spec, options = task(0).spec, {"told": {"k": 3, "quorum": 2}}
    row, other_order = (
        {"attack_options": each} for each in (options, {"told": {"quorum": 2, "k": 3}})
    )
    assert not disagreement(row, other_order, spec)
    assert "attack_options" in disagreement(row, {"attack_options": {"told": {"k": 3}}}, spec)


def test_a_training_that_draws_its_own_fakes_may_be_another_draw_and_no_other_training():
    drawn = task(0, method="adversarial_poisoning_training")
    row = {"hit_ratio": 0.25, "fakes_near_fakes": 0.1, "n_users": 943}
    other_draw = row | {"hit_ratio": 0.29, "fakes_near_fakes": 0.7}
    assert not disagreement(row, other_draw, drawn.spec)
    assert "hit_ratio" in disagreement(row, row | {"hit_ratio": 0.4}, drawn.spec)
    assert "n_users" in disagreement(row, row | {"n_users": 900}, drawn.spec)
    assert "hit_ratio" in disagreement(row, other_draw, task(0, method="huber_loss").spec)
    assert "fakes_near" in disagreement(row, row | {"fakes_near_fakes": 0.7}, task(0).spec)


def test_rows_of_other_data_are_never_carried_over():
    gather("paper", computed([task(0)]))
    with pytest.raises(StudyError, match=r"nothing was checked: .* 1 are of other data"):
        in_agreement([task(0, data="d2")])
    assert not any(kept.carried_to for kept in store_of("paper").all())


def test_a_row_altered_with_its_checksum_is_found_by_computing_it():
    gather("paper", computed([task(0)]))
    path = store_of("paper").path(task(0).spec)
    header, line = csv.reader(path.read_text().splitlines())
    fields = dict(zip(header, line, strict=True)) | {"hit_ratio": "0.3"}

    def altered(fields):
        with open(path, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, fields.values()])

    altered(fields)
    with pytest.raises(StudyError, match=r"cells-rating-0.csv, line 2 was altered: .*git checkout"):
        in_agreement([task(0)])
    altered(
        fields | {"checksum": checksum_of({name: text for name, text in fields.items() if text})}
    )
    with pytest.raises(StudyError, match=r"hit_ratio: 0.3 became 0.25"):
        in_agreement([task(0)])


def test_the_seed_decides_which_rows_and_follows_from_the_store_unless_said(monkeypatch):
    tasks = computed([task(seed) for seed in range(20)])
    gather("paper", tasks[:1])
    first = store_of("paper").seed()
    assert in_agreement(tasks[:1]).seed == first == store_of("paper").seed()
    gather("paper", tasks)
    assert store_of("paper").seed() != first
    drawn = []
    monkeypatch.setattr(module, "_compared", lambda *of: drawn.append(frozenset(of[2])) or [])
    for seed in (0, 0, 1):
        in_agreement(tasks, sample=5, seed=seed)
    assert drawn[0] == drawn[1] != drawn[2]
    assert {len(each) for each in drawn} == {5}


def test_the_command_says_what_it_found_and_fails_where_rows_disagree(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "STUDY_RECORDS", tmp_path / "study")
    tasks, how = computed([task(0)]), [compute]
    gather("paper", tasks)
    monkeypatch.setattr("rvdlib.lab.runner.plan.load_profile", lambda name: {"03": {}})
    monkeypatch.setattr(
        "rvdlib.lab.study.planned.batches", lambda *of: [Batch(tasks, how[0], "rows")]
    )
    done = CliRunner().invoke(main, ["verify", "--jobs", "1"], env={"RVD_JOBS": ""})
    assert done.exit_code == 0, done.output
    assert re.search(r"   1 agree    ml-100k, rating, closed_form\n1 rows agree", done.output)
    mistyped = CliRunner().invoke(main, ["verify", "--dataset", "ml-100"])
    assert (mistyped.exit_code, "no rows of ml-100; it" in mistyped.output) == (1, True)
    how[0] = shifted(1.0)
    done = CliRunner().invoke(main, ["verify", "--jobs", "1"], env={"RVD_JOBS": ""})
    assert done.exit_code == 1
    assert "hit_ratio: 0.25 became 1.25" in done.output
