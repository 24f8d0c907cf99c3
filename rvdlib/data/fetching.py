"""Getting one file over the network, or out of an archive: in memory, bounded in size and time."""

import io
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

import pooch

SIZE_CAP = 64 * 2**20  # bytes, packed or unpacked; the largest published file has 24 MiB
CONNECT_SECONDS, READ_SECONDS, PIP_SECONDS = 5, 10, 60


class Unusable(Exception):
    """A source that cannot serve a file, and why."""


class _CappedBuffer(io.BytesIO):
    def write(self, chunk, /) -> int:
        if self.tell() + len(chunk) > SIZE_CAP:
            raise Unusable(f"it has more than {SIZE_CAP >> 20} MiB")
        return super().write(chunk)


def download(address: str) -> bytes:
    """The file at an http(s) address."""
    buffer = _CappedBuffer()
    downloader = pooch.HTTPDownloader(chunk_size=2**16, timeout=(CONNECT_SECONDS, READ_SECONDS))
    try:
        downloader(address, buffer, pooch=None)
    except OSError as error:  # the base class of everything that requests raises
        reason = str(error).rpartition("Caused by ")[2]
        raise Unusable(brief(f"{type(error).__name__}: {reason}")) from error
    return buffer.getvalue()


def download_wheel(requirement: str) -> bytes:
    """One wheel, as pip and the user's own settings find it; nothing is installed or run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps"]
        command += ["--only-binary=:all:", f"--dest={folder}", "--quiet", "--no-input"]
        command += ["--retries=0", f"--timeout={CONNECT_SECONDS}", "--disable-pip-version-check"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Unusable(f"pip gave no answer within {PIP_SECONDS} s") from error
        except subprocess.CalledProcessError as error:
            raise Unusable(brief(error.stderr.strip().rpartition("\n")[2])) from error
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.read_bytes()


def unpack(archive: bytes, member: str) -> bytes:
    """One member of a zip archive. The archive's own paths are never followed."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files, files.open(member) as file:
            return read_capped(file)
    except KeyError:
        raise Unusable(f"the archive has no {member}") from None
    # RuntimeError: an encrypted member, or (NotImplementedError) an exotic compression.
    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error) as error:
        raise Unusable(f"the archive cannot be read: {error}") from error


def read_capped(file: io.BufferedIOBase | IO[bytes]) -> bytes:
    """All of a stream that may be compressed, if that is not too much."""
    content = file.read(SIZE_CAP + 1)
    if len(content) > SIZE_CAP:
        raise Unusable(f"it unpacks to more than {SIZE_CAP >> 20} MiB")
    return content


def brief(text: str) -> str:
    """One line of a message that may be long."""
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:199] + "…"
