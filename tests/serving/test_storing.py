"""What was saved is loaded as it was, shared between processes; anything else is refused, not run."""

import json
import mmap
import os
import pickle

import numpy as np
import pytest
import safetensors.numpy

from rvdlib.serving import RealTimeDefender, UnusableModel, load, save
from tests.serving.conftest import FORM, ratings, victim


@pytest.fixture
def path(tmp_path):
    save(RealTimeDefender(victim(), ratings(), form=FORM), tmp_path / "d.safetensors")
    return tmp_path / "d.safetensors"


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def spoilt(content: bytes, trace: str) -> dict[str, bytes]:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = json.loads(header["__metadata__"]["rvdlib_defender"])
    tensors = safetensors.numpy.load(content)

    def written(tensors=tensors, **changed):
        entry = json.dumps(about | changed, sort_keys=True)
        return safetensors.numpy.save(dict(tensors), {"rvdlib_defender": entry})

    return {
        "truncated": content[: len(content) // 2],
        "without an end": content[:-1],
        "empty": b"",
        "a byte": content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        "a huge header": (2**62).to_bytes(8, "little") + content[8:],
        "a header beyond": (len(content) + 1).to_bytes(8, "little") + content[8:],
        "a pickle": pickle.dumps(Malicious(trace)),
        "a victim's": b"",
        "another's": safetensors.numpy.save({"x": np.ones(3, np.float32)}),
        "newer": written(format=3),
        "older": written(format=1),
        "no format": written(format="1"),
        "another form": written(form={"method": "quorum", "choices": {"k": 5, "quorum": 1}}),
        "another victim": written(victim={"name": "os.system"}),
        "a NaN": written({**tensors, "factors": tensors["factors"] * np.nan}),
        "a type": written({**tensors, "levels": tensors["levels"].astype(np.float16)}),
        "a tensor less": written({n: t for n, t in tensors.items() if n != "decoder"}),
    }


def test_a_faulty_file_is_refused_by_name_and_nothing_in_it_is_run(path):
    trace = str(path.parent / "executed")
    files = spoilt(path.read_bytes(), trace)
    victim().save(path.parent / "v.safetensors")
    files["a victim's"] = (path.parent / "v.safetensors").read_bytes()
    for name, content in files.items():
        path.write_bytes(content)
        with pytest.raises(UnusableModel, match=r"d\.safetensors: ") as caught:
            load(path)
        assert len(str(caught.value)) < 400, name
    assert not os.path.exists(trace)
    pickle.loads(files["a pickle"])
    assert os.path.exists(trace), "the trap works"
    with pytest.raises(UnusableModel, match="No such file"):
        load(path.parent / "absent.safetensors")
    with pytest.raises(UnusableModel, match=r"ends in \.safetensors"):
        save(RealTimeDefender(victim(), form=FORM), path.parent / "d.bin")


def test_a_file_that_is_replaced_while_it_is_read_is_the_one_or_the_other(path, monkeypatch):
    other, replaced = RealTimeDefender(victim(), ratings(), form=FORM), []
    other.update([(3, 1, 5.0)])
    save(other, path.with_name("other.safetensors"))

    def mapped(*given, real=mmap.mmap, **named):
        if not replaced:
            replaced.append(os.replace(path.with_name("other.safetensors"), path))
        return real(*given, **named)

    monkeypatch.setattr(mmap, "mmap", mapped)
    first, second = load(path), load(path)
    assert replaced
    assert first.state.arrays.train.nnz != second.state.arrays.train.nnz


def test_the_same_defender_gives_the_same_bytes_and_its_arrays_are_mapped(path):
    loaded = load(path)
    save(loaded, path.parent / "e.safetensors")
    assert path.read_bytes() == (path.parent / "e.safetensors").read_bytes()
    arrays = loaded.state.arrays
    for array in (arrays.factors, arrays.decoder, arrays.train.data):
        while isinstance(array.base, np.ndarray):
            array = array.base
        assert isinstance(array.base, memoryview)
        assert isinstance(array.base.obj, mmap.mmap)
    decoder = arrays.decoder
    loaded.update([(0, 1, 5.0)])
    assert loaded.state.arrays.decoder is decoder  # what no update changes stays shared
