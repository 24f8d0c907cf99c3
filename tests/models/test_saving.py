"""A saved victim comes back to the bit, and nothing else comes back at all."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import scipy.sparse as sp
import torch

from rvdlib.defenses import ClosedFormRVD, FastRVD
from rvdlib.models import MF, VICTIMS, AutoRec, Victim
from rvdlib.models.saving import _seal

USERS = np.array([0, 7, 62, 3])
# Where it matters what is in the file, and not whose it is.
of_one = pytest.mark.parametrize("kind", [("CDAE", "ranking")], indirect=True, ids="-".join)


@pytest.fixture
def path(victim, tmp_path):
    path = tmp_path / "victim.safetensors"
    victim.save(path)
    return path


def opened(path):
    """Header entry and tensors."""
    with safetensors.safe_open(path, framework="np") as file:
        about = json.loads(file.metadata()["rvdlib"])
        return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def written(path, about, arrays, sealed=True):
    about = {name: value for name, value in about.items() if value is not None}
    if sealed:
        about.pop("sha256", None)
        about["sha256"] = _seal(about, arrays)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    path.write_bytes(safetensors.numpy.save(arrays, {"rvdlib": json.dumps(about)}))


@pytest.mark.parametrize("how", ["its class", "any victim"])
def test_it_scores_as_before_to_the_bit_and_can_be_defended(victim, path, how):
    loaded = (Victim if how == "any victim" else type(victim)).load(path)
    assert type(loaded) is type(victim)
    assert loaded.config == victim.config
    assert vars(loaded).keys() == vars(victim).keys()
    everyone = np.arange(victim.train.shape[0])
    assert np.array_equal(loaded.score(everyone), victim.score(everyone))
    assert np.array_equal(loaded.user_factors(), victim.user_factors())
    assert (loaded.train != victim.train).nnz == 0
    assert np.array_equal(loaded.levels, victim.levels)
    assert loaded.mean_rating == victim.mean_rating
    assert loaded.validation_error == victim.validation_error
    for defend in (ClosedFormRVD, FastRVD):
        expected = defend(victim, k=3).score(USERS)
        assert np.array_equal(defend(loaded, k=3).score(USERS), expected)


@of_one
def test_it_scores_the_same_in_another_process(victim, path):
    code = "import sys, numpy as np; from rvdlib.models import Victim; "
    code += "sys.stdout.buffer.write(Victim.load(sys.argv[1]).score(np.arange(63)).tobytes())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, env=environment
    ).stdout
    assert found == victim.score(np.arange(63)).tobytes()


def test_the_same_victim_gives_the_same_bytes_and_another_precision_is_kept(victim, path, tmp_path):
    again = tmp_path / "again.safetensors"
    Victim.load(path).save(again)
    assert again.read_bytes() == path.read_bytes()
    double = Victim.load(path)
    double.parameters = {name: value.double() for name, value in double.parameters.items()}
    double.save(again)
    loaded = Victim.load(again).parameters
    assert {value.dtype for value in loaded.values()} == {torch.float64}


def test_parameter_shapes_are_those_of_training(victim):
    found = {name: tuple(value.shape) for name, value in victim.parameters.items()}
    assert victim.parameter_shapes() == found


def test_of_another_class_it_is_refused_by_name(victim, path):
    for other in VICTIMS.values():
        if not isinstance(victim, other):
            message = rf"its victim must be one of .*got '{victim.name}'"
            with pytest.raises(ValueError, match=message):
                other.load(path)


@of_one
def test_every_cut_and_every_flipped_byte_is_refused_by_the_files_name(victim, path):
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"victim\.safetensors: "):
            Victim.load(path)
    for place in (*range(16), *rng.integers(len(content), size=150)):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"victim\.safetensors: "):
            Victim.load(path)
    path.write_bytes(content + b"0")
    with pytest.raises(ValueError, match=r"victim\.safetensors: "):
        Victim.load(path)


# The victim is whole again under its new hash: only what it says is wrong.
FORGED = {
    "newer": (
        {"format": 99, "rvdlib_version": "9.1"},
        {},
        "format 99, written by rvdlib 9.1; .*new",
    ),
    "no format": ({"format": None}, {}, "has no format"),
    "format is true": ({"format": True}, {}, "has no format"),
    "no victim": ({"victim": None}, {}, "its header has no victim"),
    "unknown victim": ({"victim": "Nobody"}, {}, "its victim must be one of .*got 'Nobody'"),
    "a module": ({"victim": "os.system"}, {}, "its victim must be one of"),
    "victim is a list": ({"victim": ["MF"]}, {}, "its victim must be one of"),
    "unknown choice": ({"config": {"command": "ls"}}, {}, "command"),
    "config is a text": ({"config": "ls"}, {}, "safetensors: "),
    "another size": (
        {"config": {"embedding_size": 5}},
        {},
        r"must be floats, \(.*5.*\), as parameter_shapes, got",
    ),
    "huge size": ({"config": {"embedding_size": 10**12}}, {}, "must be floats"),
    "other users": ({"shape": [62, 40]}, {}, "train.indptr must be of 62 users, got 63"),
    "other items": ({"shape": [63, 41]}, {}, "must be floats"),
    "fewer items": ({"shape": [63, 3]}, {}, "safetensors: "),
    "negative items": ({"shape": [63, -1]}, {}, "safetensors: "),
    "huge items": ({"shape": [63, 10**15]}, {}, "must be floats"),
    "one number": ({"shape": 63}, {}, "safetensors: "),
    "NaN mean": ({"mean_rating": float("nan")}, {}, "mean_rating is not finite"),
    "mean is a text": ({"mean_rating": "3"}, {}, "safetensors: "),
    "mean is a list": ({"mean_rating": [1.0, 2.0]}, {}, "mean_rating must be a number"),
    "error is true": ({"validation_error": True}, {}, "validation_error must be a number"),
    "doubled": ({}, {"item_bias": lambda a: np.r_[a, a]}, r"item_bias must be floats, \(40,\)"),
    "flat": ({}, {"item_factors": lambda a: a.ravel()}, "item_factors must be floats"),
    "whole": ({}, {"item_factors": lambda a: a.astype(np.int32)}, "floats, .* got int32"),
    "NaN": ({}, {"item_factors": lambda a: a * np.nan}, "item_factors is not finite"),
    "absent": ({}, {"item_bias": lambda a: None}, "item_bias must be floats, .* got none"),
    "one more": ({}, {"../../evil": lambda a: np.ones(3)}, "evil must be .*no such tensor"),
    "bad rows": ({}, {"train.indices": lambda a: a + 40}, "safetensors: "),
    "negative rows": ({}, {"train.indices": lambda a: a - 40}, "safetensors: "),
    "unsorted rows": ({}, {"train.indices": lambda a: 0 * a}, "sorted, no cell twice"),
    "floating rows": ({}, {"train.indices": lambda a: a.astype("f4")}, "train.indices must be one"),
    "long ends": ({}, {"train.indptr": lambda a: 2 * a}, "safetensors: "),
    "falling ends": ({}, {"train.indptr": lambda a: a[::-1]}, "safetensors: "),
    "infinite rows": ({}, {"train.data": lambda a: a / 0}, "train.data is not finite"),
    "no rows": ({}, {"train.data": lambda a: None}, "train.data must be one row of numbers"),
    "no levels": ({}, {"levels": lambda a: a[:0]}, "levels must be above 0 and ascending"),
    "falling levels": ({}, {"levels": lambda a: a[::-1]}, "levels must be above 0 and ascending"),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@of_one
@pytest.mark.parametrize("case", FORGED)
def test_what_does_not_fit_together_is_one_clear_error(victim, path, case):
    headers, changes, message = FORGED[case]
    about, arrays = opened(path)
    config = headers.get("config")
    about |= headers | ({"config": about["config"] | config} if isinstance(config, dict) else {})
    for name, change in changes.items():
        key = name if name.startswith(("train", "levels", "..")) else f"parameters.{name}"
        arrays[key] = change(arrays.get(key))
    arrays = {name: array for name, array in arrays.items() if array is not None}
    written(path, about, arrays)
    with pytest.raises(ValueError, match=message) as error:
        Victim.load(path)
    assert str(error.value).startswith(f"{path}: ")


def test_other_files_are_no_victims(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.numpy.save({"weights": np.ones(3)}))
    with pytest.raises(ValueError, match=r"other.safetensors: no victim of rvdlib"):
        Victim.load(path)
    for entry in ("[", "[]", "3", "{}", "[" * 100_000):
        path.write_bytes(safetensors.numpy.save({"weights": np.ones(3)}, {"rvdlib": entry}))
        with pytest.raises(ValueError, match=r"other.safetensors: "):
            Victim.load(path)
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")  # a header larger than any memory
    with pytest.raises(ValueError, match=r"other.safetensors: "):
        Victim.load(path)
    with pytest.raises(ValueError, match=r"absent.safetensors: .*No such file"):
        Victim.load(tmp_path / "absent.safetensors")
    with pytest.raises(ValueError, match="Is a directory"):
        Victim.load(tmp_path)


def test_what_cannot_be_saved_is_refused_and_leaves_the_old_file(fit, tmp_path):
    path = tmp_path / "victim.safetensors"
    victim = fit("MF", "rating")
    victim.save(path)
    before = path.read_bytes()

    class Nameless(MF):
        pass

    class Forgetful(MF):
        name = "forgetful"

    class Wider(MF):
        name = "wider"

    def like(kind, **more):
        other = kind(**victim.config.model_dump())
        vars(other).update(vars(victim) | more)
        return other

    extra = victim.parameters | {"extra": torch.ones(2)}
    twice = sp.csr_matrix((np.ones(2, "f4"), [1, 1], [0] + 63 * [2]), shape=(63, 40))
    infinite = victim.parameters | {"user_bias": torch.full((63,), torch.inf)}
    for other, message in (
        (MF(), "this MF is not trained"),
        (like(Nameless), "give Nameless a name of its own"),
        (like(Forgetful, temperature=3), "Forgetful keeps temperature, which would be lost"),
        (like(Wider, parameters=extra), "parameters.extra must be .* as parameter_shapes"),
        (like(MF, train=twice), "no cell twice"),
        (like(MF, parameters=infinite), "parameters.user_bias is not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            other.save(path)
    for name in ("victim.npz", "victim", "victim.safetensors.json"):
        with pytest.raises(ValueError, match=r"needs a name that ends in \.safetensors"):
            victim.save(tmp_path / name)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
    like(Wider).save(path)
    assert type(MF.load(path)) is Wider
    with pytest.raises(ValueError, match="its victim must be one of AutoRec, CDAE, got 'wider'"):
        AutoRec.load(path)
