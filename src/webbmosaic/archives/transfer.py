"""Fetching one file so that nothing short of the whole file ever gets its name."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests
import urllib3

from webbmosaic.errors import ArchiveError, AuthorizationError, StorageError

__all__ = ["Policy", "Source", "Stopped", "UnreachableError", "fetch", "whole_fits"]

_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_BUSY = (202, 408, 425, 429, 500, 502, 503, 504)


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The user, or the failure of another file, stopped this download."""


class UnreachableError(ArchiveError):
    """The archive did not answer, however often it was asked."""


class _TryAgainError(Exception):
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


@dataclass(frozen=True)
class Policy:
    """
    How stubborn a download is.

    Attributes
    ----------
    tries : int
        Tries in a row that bring nothing new before a file is given up. One that
        the archive answered well before the connection was cut counts a quarter.
    pause : float
        Seconds before the second of them; doubled each time, at most ``longest``.
    longest : float
        Seconds.
    timeout : tuple of float
        Seconds to connect, and between two bytes.
    """

    tries: int = 6
    pause: float = 0.5
    longest: float = 30.0
    timeout: tuple[float, float] = (15.0, 60.0)


Tick = Callable[[str, int], None]


def fetch(
    source: Source,
    target: Path,
    *,
    session: requests.Session,
    policy: Policy,
    tick: Tick | None = None,
    stop: threading.Event | None = None,
) -> str:
    """
    Fetch a file, going on where an earlier try or run was cut.

    Parameters
    ----------
    source : Source
        What.
    target : `~pathlib.Path`
        Where to. Until it is whole it is called ``.part``, with a ``.part.json`` that
        knows how much of it can be trusted.
    session : `~requests.Session`
        A guarded one, without retries of its own.
    policy : Policy
        How often to try.
    tick : callable, optional
        Called with the name and the bytes so far.
    stop : `threading.Event`, optional
        Set it to stop; what is there is kept for the next run.

    Returns
    -------
    digest : str
        The sha256 of the file.

    Raises
    ------
    AuthorizationError
        If the file is for others only.
    UnreachableError
        If the archive does not answer.
    ArchiveError
        If it cannot give the whole and right file.
    StorageError
        If the disk is full or cannot be written.
    Stopped
        If ``stop`` was set.
    """
    stop = stop or threading.Event()
    with _Part.open(target, source) as part:
        fruitless, spoiled = 0.0, 0
        while True:
            before = part.furthest
            try:
                _stream(part, session, tick or _silent, stop)
                return part.finish()
            except _TryAgainError as error:
                fruitless = 0.0 if part.furthest > before else fruitless + error.weight
                spoiled += error.spoiled
                if spoiled > 1:
                    raise ArchiveError(f"{source.name}: {error}, twice") from error
                if fruitless >= policy.tries:
                    msg = f"{source.name}: {error}, again and again. Run again later"
                    raise UnreachableError(msg) from error
                _sleep(stop, _pause(policy, fruitless, error.wait))


def _silent(name: str, length: int) -> None:
    """Nobody watches."""


def _pause(policy: Policy, fruitless: float, asked: float) -> float:
    growing = policy.pause * 2.0 ** (fruitless - 1) if fruitless else 0.0
    spread = random.uniform(0.75, 1.25)
    return max(min(growing * spread, policy.longest), min(asked, 300.0))


def _sleep(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise Stopped


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


class _Part:
    """The unfinished file: what is on disk, its hash, and where it came from."""

    def __init__(self, stream: BinaryIO, target: Path, source: Source) -> None:
        self._stream = stream
        self._target = target
        self._path = _part_path(target)
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
    def open(cls, target: Path, source: Source) -> Iterator[_Part]:
        """Open or make the part, alone; keep it when anything goes wrong."""
        with _disk(source.name):
            target.parent.mkdir(parents=True, exist_ok=True)
            stream = _lock(_part_path(target), source.name)
        part = cls(stream, target, source)
        with stream:
            part._resume()
            try:
                yield part
            finally:
                part._save()

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
            raise _TryAgainError(complaint, spoiled=True)
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


def _part_path(target: Path) -> Path:
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


def _stream(
    part: _Part, session: requests.Session, tick: Tick, stop: threading.Event
) -> None:
    """Ask once for what is missing and take what comes."""
    if part.expected is not None and part.length == part.expected:
        return
    headers = {"Accept-Encoding": "identity"}
    if part.length:
        headers["Range"] = f"bytes={part.length}-"
        if part.validator:
            headers["If-Range"] = part.validator
    alive = False
    try:
        with session.get(part.source.url, headers=headers, stream=True) as response:
            _accept(response, part)
            alive = True
            while block := response.raw.read1(_CHUNK):
                part.write(block)
                tick(part.source.name, part.length)
                if stop.is_set():
                    raise Stopped
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        reason = _cut(part) if alive else _reason(error)
        raise _TryAgainError(reason, alive=alive) from error
    if part.expected is not None and part.length < part.expected:
        raise _TryAgainError(_cut(part), alive=True)


def _cut(part: _Part) -> str:
    return f"the connection was cut at {part.length} of {part.expected} bytes"


def _reason(error: Exception) -> str:
    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError)
    if isinstance(error, timeouts):
        return "the archive does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return "the archive's certificate is not accepted"
    if isinstance(error, requests.TooManyRedirects):
        return "the archive redirects in circles"
    return "the connection was refused or cut"


def _accept(response: requests.Response, part: _Part) -> None:
    """Agree with the server on which bytes come, before the first is taken."""
    status = response.status_code
    if status == requests.codes.partial_content:
        _accept_rest(response, part)
    elif status == requests.codes.ok:
        part.restart()
        length = response.headers.get("Content-Length", "")
        _agree_on_size(part, int(length) if length.isdigit() else None)
    else:
        raise _refusal(response, part)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        part.restart()
        msg = "the archive sends it compressed, unasked"
        raise _TryAgainError(msg, spoiled=True)
    part.validator = _validator(response)


def _accept_rest(response: requests.Response, part: _Part) -> None:
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    total = int(match[3]) if match and match[3] != "*" else None
    fits = match is not None and int(match[1]) == part.length
    changed = part.validator and _validator(response) not in ("", part.validator)
    if not part.length or not fits or changed:
        part.restart()
        msg = "the archive does not go on where the download was cut"
        raise _TryAgainError(msg)
    _agree_on_size(part, total)


def _agree_on_size(part: _Part, size: int | None) -> None:
    if part.source.size is None:
        part.expected = size
    elif size is not None and size != part.source.size:
        part.restart()
        msg = f"the archive lists {part.source.size} bytes but sends {size}"
        raise _TryAgainError(msg)


def _validator(response: requests.Response) -> str:
    """What proves that the rest belongs to the same file (RFC 9110, section 13.1.5)."""
    tag = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag


def _refusal(response: requests.Response, part: _Part) -> Exception:
    status, name = response.status_code, part.source.name
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return AuthorizationError(f"{name}: {_authorization(response)}")
    if status in _BUSY:
        asked = response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else 0.0
        return _TryAgainError(f"the archive is busy (HTTP {status})", wait=wait)
    if status == requests.codes.requested_range_not_satisfiable:
        part.restart()
        return _TryAgainError("the archive does not go on where the download was cut")
    if status in (requests.codes.not_found, requests.codes.gone):
        return ArchiveError(f"{name}: the archive has no such file (HTTP {status})")
    return ArchiveError(f"{name}: the archive refuses it (HTTP {status})")


def _authorization(response: requests.Response) -> str:
    how = "a token of an account with access, made at https://auth.mast.stsci.edu/token"
    if os.environ.get("MAST_API_TOKEN"):
        return (
            f"exclusive-access data, and the token in MAST_API_TOKEN does not open"
            f" them (HTTP {response.status_code}). Set it to {how}"
        )
    return (
        f"exclusive-access data (HTTP {response.status_code}). Set the environment"
        f" variable MAST_API_TOKEN to {how}"
    )
