import sys
from types import SimpleNamespace

import pytest

from rvdlib.lab.experiment import fingerprint
from rvdlib.lab.experiment.fingerprint import (
    MACHINERY,
    PACKAGE,
    READ,
    cell_fingerprint,
    code_digests,
    difference,
    library_versions,
    processor_kernels,
    ratings_digest,
)
from rvdlib.lab.experiment.sources import source_digest


@pytest.fixture
def package(tmp_path):
    """Two states of a package: ``package(mf=...)`` gives the digests of one."""
    states = iter(("before", "after"))

    def digests(without=(), **sources):
        folder = tmp_path / next(states) / "rvdlib"
        for name, source in sources.items():
            path = folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return {"code": code_digests(folder, frozenset(without))}

    return digests


@pytest.mark.parametrize(
    ("old", "new"), [("x = 1", "x = 2"), ("x = 1", "x = 1.0"), ("f(a)", "f(b)")]
)
def test_a_change_of_code_names_its_file(package, old, new):
    before, after = (
        package(models__mf=old, metrics="y = 1"),
        package(models__mf=new, metrics="y = 1"),
    )
    assert difference(before, after) == "code changed: rvdlib/models/mf.py"


def test_files_that_came_and_went_are_named_and_long_lists_cut(package):
    before = package(a="", b="")
    after = package(b="", c="", d="", e="", f="", g="")
    changed = "rvdlib/a.py, rvdlib/c.py, rvdlib/d.py, rvdlib/e.py and 2 more"
    assert difference(before, after) == f"code changed: {changed}"


def with_other_torch(monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "OTHER")


def with_other_numba(monkeypatch):
    monkeypatch.setattr("numba.config.CPU_NAME", "OTHER")


def with_other_mkl(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "OTHER")


def with_other_openblas(monkeypatch):
    libraries = SimpleNamespace(info=lambda: [{"architecture": "OTHER"}])
    controller = SimpleNamespace(select=lambda internal_api: libraries)
    monkeypatch.setattr(fingerprint, "ThreadpoolController", lambda: controller)


@pytest.mark.parametrize(
    ("change", "kernels"),
    [
        (with_other_torch, "torch kernels"),
        (with_other_numba, "numba kernels"),
        (with_other_mkl, "mkl kernels"),
        (with_other_openblas, "numpy kernels"),
    ],
)
def test_what_another_processor_computed_is_computed_again(monkeypatch, change, kernels):
    here = processor_kernels()
    assert library_versions().items() >= here.items()
    change(monkeypatch)
    there = processor_kernels.__wrapped__()
    changed = difference({"versions": here}, {"versions": there})
    assert changed == f"{kernels} {here[kernels]} -> OTHER"


def test_files_left_out_do_not_count(package):
    before = package(without=["study/report.py"], study__report="1")
    assert difference(before, package(without=["study/report.py"], study__report="2")) == ""


def test_a_cell_depends_on_its_ratings_its_code_and_the_versions_of_what_computes(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("user,item,rating\na,x,1\nb,x,3\nb,y,5\n")
    fingerprint = cell_fingerprint("lab/experiment/cells.py", str(path))
    assert len(fingerprint["code"]["rvdlib/metrics.py"]) == 64
    assert not {f"rvdlib/{name}" for name in MACHINERY | READ} & fingerprint["code"].keys()
    assert fingerprint["data"] == {str(path): ratings_digest(str(path))}
    assert fingerprint["versions"].keys() >= {"python", "numpy", "torch", "numba"}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("user,item,rating\nA,X,1\nB,X,3\nB,Y,5\n", False),  # frozen fakes hold raw ids
        ("user;item;rating\na;x;1.0\nb;x;3.0\nb;y;5.0\n", True),  # another file
        ("user,item,rating\na,x,1\nb,x,4\nb,y,5\n", False),
        ("user,item,rating\na,x,1\nb,x,3\na,y,5\n", False),
    ],
)
def test_ratings_count_as_they_are_computed_with(tmp_path, other, same):
    files = [tmp_path / "own.csv", tmp_path / "other.csv"]
    files[0].write_text("user,item,rating\na,x,1\nb,x,3\nb,y,5\n")
    files[1].write_text(other)
    one, two = (ratings_digest(str(file)) for file in files)
    assert (one == two) is same


def test_only_another_release_of_python_not_another_patch_is_a_reason_to_compute_again(monkeypatch):
    def versions(*python):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "version_info", (*python, "final", 0))
            return {"versions": library_versions()}

    assert difference(versions(3, 11, 2), versions(3, 11, 9)) == ""
    assert difference(versions(3, 11, 2), versions(3, 13, 2)) == "python 3.11 -> 3.13"


def test_every_python_gives_a_file_the_same_digest(tmp_path):
    source = """
class Model(Base, name="m"):
    async def f(self, x: int = 1, *y, **z) -> list[str]:
        match x:
            case {"a": [*rest], **others} | None:
                return [f"{x!r:>8} {'a' + 'b'}" for x in y if (n := len(z)) > 1.5e3]
        try:
            lambda: (yield)
        except* ValueError:
            print((), [], b"", ..., None, True, 1, 1.0)
"""
    (tmp_path / "model.py").write_text(source)
    assert (
        source_digest(tmp_path / "model.py")
        == "5d3e34765bc136c1f14f313207fe78459d0eb54a7d9e89a195808a64f0a90746"
    )


def test_what_is_left_out_exists():
    assert [name for name in MACHINERY | READ if not (PACKAGE / name).is_file()] == []
