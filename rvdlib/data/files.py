"""The bytes of a text file, unpacked, and what kind of text it is by its name."""

import gzip
import zipfile
from pathlib import Path

from rvdlib.data.layout import DataError

KINDS = (".csv", ".tsv", ".txt", ".dat", ".data", ".inter")


def unpacked(path: Path, any_name: bool = False) -> tuple[bytes, str]:
    """Content and suffix of a text file, of what is in a ``.gz``, or of a ``.zip``'s one member.

    Raises:
        DataError: for a name that tells no kind of text, unless ``any_name`` will do; for a zip
            archive without or with several members, or with a password.
        OSError, EOFError, zlib.error, zipfile.BadZipFile: for what cannot be read.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a file in it")
    packing = path.suffix.lower()
    names = [path.stem if packing in (".gz", ".zip") else path.name]
    if packing == ".zip":
        content, member = _only_member(path)
        names.insert(0, member)
    suffixes = [Path(name).suffix.lower() for name in names]
    suffix = next((suffix for suffix in suffixes if suffix in KINDS), "")
    if not suffix and not any_name:
        raise DataError(
            f"{path}: the name must end in {', '.join(KINDS)} or .parquet; text may be packed, "
            "with .gz or .zip behind. Or say what separates the fields with separator (--separator)"
        )
    if packing == ".gz":
        with gzip.open(path) as file:
            return file.read(), suffix
    return content if packing == ".zip" else path.read_bytes(), suffix


def _only_member(path: Path) -> tuple[bytes, str]:
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        if len(members) != 1:
            names = [member.filename for member in members[:10]]
            raise DataError(
                f"{path} holds {len(members)} files where one is needed: unpack it, and name the "
                f"one with the ratings, of {names}"
            )
        try:
            return archive.read(members[0]), members[0].filename
        except RuntimeError as error:  # a password, or (NotImplementedError) a rare compression
            raise DataError(f"{path} cannot be unpacked: {error}") from error
