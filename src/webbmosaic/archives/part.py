"""The unfinished file: what is on disk, what of it can be trusted, and who writes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from webbmosaic.archives.reading import parse_json
from webbmosaic.errors import ArchiveError, StorageError
from webbmosaic.files.products import write_text

__all__ = ["Part", "Source", "Stopped", "TryAgainError", "part_path", "whole_fits"]

#: Bytes of a part's end that prove, byte for byte, that the rest belongs to it.
_PROOF = 65_536


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The user, or the failure of another file, stopped this download."""


class TryAgainError(Exception):
    """One try failed, another may not."""

    def __init__(
        self,
        reason: str,
        *,
        wait: float = 0.0,
        spoiled: bool = False,
        alive: bool = False,
        slow: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait = wait
        self.spoiled = spoiled
        self.slow = slow
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
    sha1 : str
        40 hexadecimal digits, as the archive lists them; empty where it lists none.
    """

    url: str
    name: str
    size: int | None = None
    sha1: str = ""


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
    """
    The unfinished file: what is on disk, its hash, and where it came from.

    Attributes
    ----------
    source : Source
    expected : int or None
        Bytes, as far as they are known.
    length, furthest : int
        Bytes that are there, and the most that ever were.
    validator : str
        What the server says of this edition of the file.
    waited : bool
        Whether another process had to be waited for, which may have finished it.
    """

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
        self.waited = False
        self._forget()
        self._finished = False

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._path.parent

    def _forget(self) -> None:
        self._hash, self._sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)

    @classmethod
    @contextmanager
    def open(
        cls,
        target: Path,
        source: Source,
        *,
        patience: float,
        stop: threading.Event,
        waiting: Callable[[], None],
    ) -> Iterator[Part]:
        """Open or make the part, alone; keep it when anything goes wrong."""
        path = part_path(target)
        with _disk(source.name):
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = _lock(path)
            waited = stream is None
            if stream is None:
                waiting()
                stream = _lock_later(path, source.name, patience, stop)
        part = cls(stream, target, source)
        part.waited = waited
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
        length, digest, validator = self._known()
        if 0 < length <= os.fstat(self._stream.fileno()).st_size:
            with _disk(self.source.name):
                self._rehash(length)
        if length and self._hash.hexdigest() == digest:
            self.length = self.furthest = length
            self.validator = validator
            self._cut(length)
        else:
            self.restart()

    def _known(self) -> tuple[int, str, str]:
        """Read the journal; a length of 0 where it vouches for nothing."""
        if not self._journal.is_file():
            return 0, "", ""
        try:
            known = parse_json(self._journal.read_bytes())
            length, digest = int(known["length"]), known["sha256"]
            same = known["url"] == self.source.url and known["size"] == self.source.size
            return (length if same else 0), digest, str(known["validator"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return 0, "", ""

    def _rehash(self, length: int) -> None:
        self._stream.seek(0)
        left = length
        while left > 0 and (block := self._stream.read(min(left, 1 << 20))):
            self._add(block)
            left -= len(block)

    def _add(self, block: bytes) -> None:
        self._hash.update(block)
        if self.source.sha1:
            self._sha1.update(block)

    def _cut(self, length: int) -> None:
        with _disk(self.source.name):
            self._stream.truncate(length)
            self._stream.seek(length)

    def restart(self) -> None:
        """Throw away what is there."""
        self._cut(0)
        self.length = 0
        self.validator = ""
        self._forget()

    def end(self) -> bytes:
        """
        Give the last bytes, to be asked for again and compared.

        Returns
        -------
        end : bytes
            Nothing where the server itself proves that the file is the same, by a
            strong ETag; else 64 kB, of files below 33 MB a five-hundredth, so that many
            cuts cost little.
        """
        if self.validator.startswith('"'):
            return b""
        size = self.expected or self.length
        count = min(_PROOF, max(size // 500, 1024), self.length)
        with _disk(self.source.name):
            self._stream.seek(self.length - count)
            end = self._stream.read(count)
            self._stream.seek(self.length)
        return end

    def write(self, block: bytes) -> None:
        """Add what arrived, and note now and then that it can be trusted."""
        with _disk(self.source.name):
            self._stream.write(block)
        self._add(block)
        self.length += len(block)
        self.furthest = max(self.furthest, self.length)
        if time.monotonic() > self._saved + 1.0:
            self._save()

    def _save(self) -> None:
        """Write the journal, or remove it with an empty part."""
        if self._finished:
            return
        if self.length == 0:
            self.remove()
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
        with _disk(self.source.name):
            self._stream.flush()
            write_text(self._journal, text)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Leave nothing: the file is there, or there is nothing of it."""
        with _disk(self.source.name):
            self._journal.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        self._finished = True

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
        sha1 = self._sha1.hexdigest()
        if self.source.sha1 and sha1 != self.source.sha1:
            return f"what arrived has sha1 {sha1}, the archive says {self.source.sha1}"
        # Where there is a hash it says more than the layout.
        fits = self._target.suffix == ".fits" and not self.source.sha1
        if fits and not whole_fits(self._path):
            return "what arrived is no whole FITS file"
        return ""


def part_path(target: Path) -> Path:
    """Name the unfinished file of a target."""
    return target.with_name(target.name + ".part")


def _lock(path: Path) -> BinaryIO | None:
    """Open a part; None where another process writes it. The lock ends with it."""
    while True:
        stream = os.fdopen(_own_file(path), "r+b")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return None
        except OSError:
            return stream  # a disk without locks
        # Another process may have finished and renamed it in between.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), path.lstat()):
                return stream
        stream.close()


def _own_file(path: Path) -> int:
    """Open a file that is one: writing to a link would write to what it points to."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    for _ in range(3):
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
        else:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
                return descriptor
            os.close(descriptor)
        path.unlink(missing_ok=True)
    raise OSError(errno.ELOOP, "somebody puts links in its place", str(path))


def _lock_later(
    path: Path, name: str, patience: float, stop: threading.Event
) -> BinaryIO:
    """Wait for the process that writes a part, as long as it gets on with it."""
    seen, since = None, time.monotonic()
    while (stream := _lock(path)) is None:
        if stop.wait(0.2):
            raise Stopped
        now = _size(path)
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() > since + patience:
            msg = f"{name} is being downloaded by another process, which does not go on"
            raise ArchiveError(msg)
    return stream


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


@contextmanager
def _disk(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{name} cannot be written ({error.strerror}). Run again afterwards"
        raise StorageError(msg) from error
