"""The unfinished file: what is on disk, what of it can be trusted, and who writes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from webbmosaic.errors import ArchiveError, StorageError

__all__ = ["Part", "Source", "TryAgainError", "part_path", "whole_fits"]


class TryAgainError(Exception):
    """One try failed, another may not."""

    def __init__(
        self,
        reason: str,
        *,
        wait: float = 0.0,
        spoiled: bool = False,
        alive: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait = wait
        self.spoiled = spoiled
        self.weight = 0.25 if alive else 1.0


@dataclass(frozen=True)
class Source:
    """
    What to fetch.

    Attributes
    ----------
    url : str
        Where it is.
    name : str
        For messages.
    size : int or None
        Bytes, as the archive lists them.
    """

    url: str
    name: str
    size: int | None = None


def whole_fits(path: Path) -> bool:
    """
    Tell whether a FITS file is complete to the end of its last HDU.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.

    Returns
    -------
    whole : bool
        Whether headers and data of all HDUs are there, and nothing else.
    """
    from astropy.io import fits

    end = path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(9) != b"SIMPLE  =":
            return False
        offset = 0
        while offset < end:
            stream.seek(offset)
            try:
                header = fits.Header.fromfile(stream, endcard=True)
                offset = stream.tell() + header.data_size_padded
            except (OSError, EOFError, ValueError, KeyError, TypeError):
                return False
    return offset == end


class Part:
    """The unfinished file: what is on disk, its hash, and where it came from."""

    def __init__(self, stream: BinaryIO, target: Path, source: Source) -> None:
        self._stream = stream
        self._target = target
        self._path = part_path(target)
        self._journal = self._path.with_name(self._path.name + ".json")
        self._saved = time.monotonic()
        self.source = source
        self.expected = source.size
        self.length = self.furthest = 0
        self.validator = ""
        self._hash = hashlib.sha256()
        self._finished = False

    @classmethod
    @contextmanager
    def open(cls, target: Path, source: Source) -> Iterator[Part]:
        """Open or make the part, alone; keep it when anything goes wrong."""
        with _disk(source.name):
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = _lock(part_path(target), source.name)
        part = cls(stream, target, source)
        try:
            part._resume()
            yield part
        finally:
            part._close()

    def _close(self) -> None:
        """Keep what is there, and let others have it."""
        try:
            self._save()
        finally:
            with _disk(self.source.name):
                self._stream.close()

    def _resume(self) -> None:
        """Trust what the journal can vouch for, byte by byte; nothing else."""
        try:
            known = json.loads(self._journal.read_bytes())
            length, digest = int(known["length"]), known["sha256"]
            same = known["url"] == self.source.url and known["size"] == self.source.size
            validator = str(known["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            same, length = False, 0
        if same and 0 < length <= os.fstat(self._stream.fileno()).st_size:
            self._rehash(length)
        if same and length and self._hash.hexdigest() == digest:
            self.length = self.furthest = length
            self.validator = validator
            self._cut(length)
        else:
            self.restart()

    def _rehash(self, length: int) -> None:
        self._stream.seek(0)
        left = length
        while left > 0 and (block := self._stream.read(min(left, 1 << 20))):
            self._hash.update(block)
            left -= len(block)

    def _cut(self, length: int) -> None:
        with _disk(self.source.name):
            self._stream.truncate(length)
            self._stream.seek(length)

    def restart(self) -> None:
        """Throw away what is there."""
        self._cut(0)
        self.length = 0
        self.validator = ""
        self._hash = hashlib.sha256()

    def write(self, block: bytes) -> None:
        """Add what arrived, and note now and then that it can be trusted."""
        with _disk(self.source.name):
            self._stream.write(block)
        self._hash.update(block)
        self.length += len(block)
        self.furthest = max(self.furthest, self.length)
        if time.monotonic() > self._saved + 1.0:
            self._save()

    def _save(self) -> None:
        """Write the journal, or remove it with an empty part."""
        if self._finished:
            return
        if self.length == 0:
            with _disk(self.source.name):
                self._journal.unlink(missing_ok=True)
                self._path.unlink(missing_ok=True)
            return
        text = json.dumps(
            {
                "url": self.source.url,
                "size": self.source.size,
                "length": self.length,
                "sha256": self._hash.hexdigest(),
                "validator": self.validator,
            }
        )
        temporary = self._journal.with_name(self._journal.name + ".new")
        with _disk(self.source.name):
            self._stream.flush()
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._journal)
        self._saved = time.monotonic()

    def finish(self) -> str:
        """Check the file and give it its name; a spoiled one is thrown away."""
        complaint = self._complaint()
        if complaint:
            self.restart()
            raise TryAgainError(complaint, spoiled=True)
        with _disk(self.source.name):
            os.fsync(self._stream.fileno())
            self._path.replace(self._target)
            self._finished = True
            self._journal.unlink(missing_ok=True)
        return self._hash.hexdigest()

    def _complaint(self) -> str:
        with _disk(self.source.name):
            self._stream.flush()
        if self.expected is not None and self.length != self.expected:
            return f"{self.length} bytes arrived instead of {self.expected}"
        if self._target.suffix == ".fits" and not whole_fits(self._path):
            return "what arrived is no whole FITS file"
        return ""


def part_path(target: Path) -> Path:
    """Name the unfinished file of a target."""
    return target.with_name(target.name + ".part")


def _lock(path: Path, name: str) -> BinaryIO:
    """Open a part that no other process is writing; the lock ends with the stream."""
    while True:
        stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            msg = f"{name} is being downloaded by another process"
            raise ArchiveError(msg) from error
        except OSError:
            return stream  # a disk without locks
        # Another process may have finished and renamed it in between.
        if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
        stream.close()


@contextmanager
def _disk(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{name} cannot be written ({error.strerror}). Run again afterwards"
        raise StorageError(msg) from error
