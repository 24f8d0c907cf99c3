"""``rvd attack``: the frozen fakes are the study's, and say what made them."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import rvdlib
from rvdlib import attacks
from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.cli import main
from rvdlib.data import leave_one_out, load_dataset
from rvdlib.lab.experiment import cells, poison
from rvdlib.lab.experiment.hyperparameters import attack_options
from rvdlib.lab.experiment.poison import freeze
from rvdlib.threat_model import draw_targets

RATINGS = "user,item,rating\n" + "".join(
    f"{u},{(7 * u + 3 * i) % 23},{1 + (u * i) % 5}\n" for u in range(40) for i in range(8)
)


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(RATINGS)
    return str(path)


def attack(*arguments):
    return CliRunner().invoke(main, ["attack", *map(str, arguments)])


@pytest.mark.parametrize("name", ["clone", "average"])
def test_the_frozen_fakes_are_those_that_the_study_trains_on(dataset, name):
    scenario = cells.Scenario(
        dataset=dataset,
        victim="MF",
        regime="ranking",
        attack=name,
        attack_size=0.1,
        target_set="random",
        seed=2,
    )
    studied = cells.carry_out(scenario)
    poison = freeze(name, dataset, attack_size=0.1, target_set="random", seed=2)
    n_real = studied.split.train.shape[0]
    fakes = studied.victim.train[n_real:] * studied.victim.max_rating
    assert np.allclose(poison.profiles.toarray(), fakes.toarray(), rtol=0, atol=1e-6)
    assert poison.profiles.shape[0] == 4
    assert np.array_equal(poison.targets, studied.targets)


def test_the_file_says_all_that_made_it_and_makes_it_again(dataset, tmp_path):
    out = tmp_path / "fakes.npz"
    targets = freeze("random", dataset, seed=1, attack_size=0.1, target_set="random").targets
    selected = np.setdiff1d(np.arange(23), targets)[:2].tolist()
    result = attack(
        *("aush", "--dataset", dataset, "--out", out, "--seed", 1, "--attack-size", 0.1),
        *("--filler-size", 4, "--visible-share", 0.5, "--target-set", "random"),
        *("--option", "epochs=3", "--option", f"selected={selected}"),
        *("--option", "zero_share=0.25", "--option", "reg=1e-4"),
    )
    assert result.exit_code == 0, result.output
    poison, ratings = FrozenPoison.load(out), load_dataset(dataset)
    objectives = poison.origin.pop("objectives")
    assert len(objectives) == 3
    assert poison.origin == {
        "attack": "aush",
        "options": {"epochs": 3, "selected": selected, "zero_share": 0.25, "reg": 1e-4},
        "dataset": ratings.name,
        "dataset_sha256": ratings.sha256,
        "seed": 1,
        "attack_size": 0.1,
        "filler_size": 4,
        "visible_share": 0.5,
        "target_set": "random",
        "crafted_for": "targets",
        "rvdlib_version": rvdlib.__version__,
    }
    assert poison.item_ids.tolist() == [str(item) for item in range(23)]
    assert result.output.splitlines() == [
        f"{out}: 4 aush profiles of 4 fillers, targets {poison.targets.tolist()}"
    ]
    made = {"attack", "dataset", "dataset_sha256", "rvdlib_version"}
    chosen = {key: value for key, value in poison.origin.items() if key not in made}
    again = freeze("aush", dataset, **chosen)
    assert (again.profiles != poison.profiles).nnz == 0


def test_of_a_scale_that_was_shifted_the_file_says_by_how_much(tmp_path):
    path, out = tmp_path / "shifted.csv", tmp_path / "fakes.npz"
    lines = [line.split(",") for line in RATINGS.splitlines()]
    rows = [f"{user},{item},{float(stars) - 3:g}" for user, item, stars in lines[1:]]
    path.write_text("\n".join([",".join(lines[0]), *rows]))
    result = attack(
        *("random", "--dataset", path, "--out", out),
        *("--attack-size", 0.1, "--target-set", "random"),
    )
    assert result.exit_code == 0, result.output
    own = {float(stars) - 3 for *_, stars in lines[1:]}
    shift = FrozenPoison.load(out).origin["shifted_by"]
    assert set(FrozenPoison.load(out).levels.tolist()) == {each + shift for each in own}
    assert f"stars are the file's own, and {shift:g} more" in result.output


@pytest.mark.parametrize("regime", [None, "rating", "ranking"])
@pytest.mark.parametrize("name", ["revadv", "mixinf"])
def test_options_are_the_regimes_and_then_those_given(dataset, tmp_path, regime, name):
    out = tmp_path / "fakes.npz"
    given = {"sweeps": 1, "embedding_size": 2, "reg": 0.5}
    told = [part for key, value in given.items() for part in ("--option", f"{key}={value}")]
    told += ["--regime", regime] if regime else []
    aimed = {"attack_size": 0.1, "target_set": "random"}
    result = attack(
        *(name, "--dataset", dataset, "--out", out),
        *("--attack-size", aimed["attack_size"], "--target-set", aimed["target_set"], *told),
    )
    assert result.exit_code == 0, result.output
    written = FrozenPoison.load(out)
    expected = attack_options(regime or "rating", name) | given
    assert written.origin["options"] == expected
    again = freeze(name, dataset, options=expected, **aimed)
    assert (written.profiles != again.profiles).nnz == 0
    assert attack_options("rating", name) != attack_options("ranking", name)


def test_items_are_named_as_in_the_data_whatever_their_columns(tmp_path):
    names = [f"item {(5 * i) % 23}" for i in range(23)]
    lines = [line.split(",") for line in RATINGS.splitlines()]
    path = tmp_path / "named.csv"
    rows = [f"{user},{names[int(item)]},{stars}" for user, item, stars in lines[1:]]
    path.write_text("\n".join([",".join(lines[0]), *rows]))
    poison = freeze("clone", str(path), attack_size=0.1, target_set="random")
    assert poison.item_ids.tolist() == sorted(names)


def test_kept_poison_is_crafted_once_and_again_if_it_was_aimed_or_made_otherwise(
    dataset, monkeypatch
):
    how = {"dataset": dataset, "attack_size": 0.1, "target_set": "random", "seed": 5}
    fresh = freeze("pga", options={"steps": 2}, **how)
    first = poison.kept_poison("pga", options={"steps": 2}, **how)
    monkeypatch.setattr(poison, "_made", None)
    again = poison.kept_poison("pga", options={"steps": 2}, **how)
    assert (fresh.profiles != again.profiles).nnz == 0
    assert again.origin == first.origin == fresh.origin | {"seconds": first.origin["seconds"]}
    changes = (
        {"options": {"steps": 3}},
        {"seed": 6},
        {"filler_size": 4},
        {"crafted_for": "others"},
    )
    for changed in changes:
        with pytest.raises(TypeError):
            poison.kept_poison("pga", **{"options": {"steps": 2}, **how, **changed})
    monkeypatch.setattr(poison, "cell_fingerprint", lambda *_: {"code": "another"})
    with pytest.raises(TypeError):
        poison.kept_poison("pga", options={"steps": 2}, **how)


def test_where_users_rate_nearly_all_there_is_a_fake_rates_all_other_items(tmp_path):
    rows = [f"{u},{i},{1 + (u + i) % 5}" for u in range(20) for i in range(12) if u != i]
    (tmp_path / "dense.csv").write_text("\n".join(["user,item,rating", *rows]))
    given = ["--dataset", tmp_path / "dense.csv", "--target-set", "random", "--attack-size", 0.1]
    result = attack("random", *given, "--out", tmp_path / "f.npz")
    assert result.exit_code == 0, result.output
    assert "2 random profiles of 7 fillers" in result.output
    assert (FrozenPoison.load(tmp_path / "f.npz").profiles.getnnz(axis=1) == 12).all()


BAD = {
    "nosuch": (["nosuch"], "attack must be one of random, "),
    "nearly": (["Clon"], "got 'Clon'; did you mean 'clone'?"),
    "option": (["clone", "--option", "size=3"], "has no option 'size', it takes none"),
    "twice": (["aush", "--option", "epochs=3", "--option", "epochs=4"], "epochs is given twice"),
    "decimal": (["aush", "--option", "epochs=1e1"], "epochs must be a whole number, got 10.0"),
    "draw": (["from_file", "--option", "path=f", "--option", "draw=1"], "draw must be true or"),
    "form": (["clone", "--option", "size"], "--option must be KEY=VALUE, got 'size'"),
    "value": (["aush", "--option", "reg=many"], "reg must be a number, got 'many'"),
    "yaml": (["aush", "--option", "epochs=[1"], "--option epochs=[1 is not valid YAML: line 1"),
    "range": (["aush", "--option", "epochs=0"], "epochs must be at least 1, got 0"),
    "no path": (["from_file"], "attack 'from_file' needs the option 'path'"),
    "history": (["aush", "--option", "history=1"], "history is no option"),
    "targets": (["clone", "--target-set", "cold"], "target_set must be one of"),
    "fillers": (["clone", "--filler-size", "900"], "filler_size must be between 0 and"),
    "data": (["clone", "--dataset", "absent.csv"], "absent.csv"),
    "name": (["clone", "--out", "fakes.csv"], "frozen profiles need a name that ends in .npz"),
    "folder": (["clone", "--out", "/proc/none/f.npz"], "/proc/none/f.npz cannot be written"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_and_exit_code_2(case, dataset, tmp_path):
    (name, *options), message = BAD[case]
    given = ["--dataset", dataset, "--out", tmp_path / "fakes.npz", "--target-set", "random"]
    result = attack(name, *given, "--attack-size", 0.1, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "fakes.npz").exists()


@pytest.mark.parametrize("option", ["--attack-size", "--visible-share"])
def test_shares_are_given_as_in_an_audit(option, dataset, tmp_path):
    given = ["clone", "--dataset", dataset, "--target-set", "random", "--attack-size", 0.1]
    for share, name in (("50%", "one.npz"), ("0.5", "other.npz")):
        assert attack(*given, "--out", tmp_path / name, option, share).exit_code == 0
    one, other = (FrozenPoison.load(tmp_path / name).profiles for name in ("one.npz", "other.npz"))
    assert (one != other).nnz == 0
    for share in ("0", "2", "many"):
        result = attack(*given, "--out", tmp_path / "none.npz", option, share)
        assert result.exit_code == 2
        assert f"'{share}' is no share above 0 and at most 1" in result.output
    assert not (tmp_path / "none.npz").exists()


def test_a_tilde_is_the_home_folder_and_never_a_folder_of_that_name(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    options = ["--target-set", "random", "--attack-size", 0.1]
    result = attack("clone", "--dataset", dataset, "--out", "~/fakes.npz", *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "home" / "fakes.npz").is_file()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("out", ["fakes.csv", "there.npz", "a/file.txt/fakes.npz", "/proc/f.npz"])
def test_where_nothing_can_be_written_nothing_is_crafted(dataset, tmp_path, out, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file.txt").touch()
    (tmp_path / "there.npz").mkdir()
    monkeypatch.setattr(poison, "_made", None)
    before = sorted(tmp_path.rglob("*"))
    result = attack("random", "--dataset", dataset, "--out", tmp_path / out)
    assert result.exit_code == 2
    assert out in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_made_to_find_out_whether_they_can_be_are_gone_where_crafting_fails(
    dataset, tmp_path
):
    out = tmp_path / "new" / "newer" / "fakes.npz"
    told = ["random", "--dataset", dataset, "--out", out, "--target-set", "random"]
    assert attack(*told, "--filler-size", 900).exit_code == 2
    assert not (tmp_path / "new").exists()
    result = attack(*told, "--attack-size", 0.1)
    assert result.exit_code == 0, result.output
    assert out.exists()


def test_the_version_is_the_packages():
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"rvd, version {rvdlib.__version__}\n"


# The swapped-target control


def test_the_control_promotes_the_targets_with_fakes_crafted_for_others(dataset):
    how = {"attack_size": 0.1, "target_set": "random", "filler_size": 4, "seed": 3}
    control = freeze("clone", dataset, crafted_for="others", **how)
    split, threat, rng = poison.aim("clone", dataset, **how)
    drawn_by = poison.stream(3, "targets", "random", "others")
    others = poison.other_targets(split, threat.targets, "random", drawn_by)
    assert not set(others) & set(threat.targets)
    made = attacks.craft("clone", replace(threat, targets=others), rng).toarray()
    expected = made.copy()
    expected[:, threat.targets], expected[:, others] = made[:, others], made[:, threat.targets]
    assert np.array_equal(control.profiles.toarray(), expected)
    assert np.array_equal(control.targets, threat.targets)
    assert control.origin["crafted_for"] == "others"
    assert (freeze("clone", dataset, **how).profiles != control.profiles).nnz > 0


@pytest.mark.parametrize("target_set", ["unpopular", "middling", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_other_targets_are_of_the_same_kind_and_no_targets(ml100k, target_set, seed):
    split = leave_one_out(ml100k, poison.stream(seed, "split"))
    targets = draw_targets(split, target_set, poison.stream(seed, "targets"))
    others = poison.other_targets(split, targets, target_set, poison.stream(seed, "others"))
    assert len(set(others)) == len(targets)
    assert not set(others) & set(targets)
    counts = np.bincount(split.train.indices, minlength=split.train.shape[1])
    if target_set == "unpopular":
        assert set(counts[others]) <= {1, 2, 3, 4, 5}
    assert (counts[others] > 0).all()


@given(st.data())
def test_an_exchange_moves_two_sets_of_columns_and_twice_is_none(data):
    columns = data.draw(st.permutations(range(9)))
    n = data.draw(st.integers(0, 4))
    items, others = np.array(columns[:n], dtype=int), np.array(columns[n : 2 * n], dtype=int)
    dense = np.arange(27, dtype=np.float32).reshape(3, 9) % 5
    profiles = sp.csr_matrix(dense)
    moved = poison.exchanged(profiles, items, others)
    assert moved.has_sorted_indices
    assert np.array_equal(moved[:, items].toarray(), dense[:, others])
    assert np.array_equal(moved[:, others].toarray(), dense[:, items])
    rest = columns[2 * n :]
    assert np.array_equal(moved[:, rest].toarray(), dense[:, rest])
    assert (poison.exchanged(moved, items, others) != profiles).nnz == 0


def test_the_control_is_for_targets_or_others_and_nothing_else(dataset):
    with pytest.raises(ValueError, match="crafted_for must be one of targets, others, got 'own'"):
        freeze("clone", dataset, crafted_for="own")
