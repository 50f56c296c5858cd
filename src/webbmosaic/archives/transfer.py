"""Fetching one file so that nothing short of the whole file ever gets its name."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import requests
import urllib3

from webbmosaic.archives.answers import no_answer, passes, pause_asked
from webbmosaic.archives.part import Part, Source, Stopped, TryAgainError, whole_fits
from webbmosaic.archives.reading import whole_number
from webbmosaic.archives.threads import in_words
from webbmosaic.archives.transport import WORTH_A_WORD, Tell
from webbmosaic.errors import ArchiveError, AuthorizationError, WebbmosaicError

__all__ = ["Policy", "Stopped", "UnreachableError", "fetch"]

_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
#: What requests and http.client let through when an answer is unlike any other.
_ODD = (ValueError, LookupError, TypeError, AttributeError, HTTPException)
_BUSY = (202, 408, 425, 429, 500, 502, 503, 504)


class UnreachableError(ArchiveError):
    """The archive did not answer, however often it was asked."""


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
    spoiled : int
        Files that are not the one listed after which no other is asked for.
    obedience : float
        Seconds of a pause that the archive may ask for; else the file is given up.
    slowest : float
        Bytes a second, over ``timeout[1]``; with fewer a try is given up.
    patience : float
        Seconds to wait for another process that has the file and does not go on.
    """

    tries: int = 6
    pause: float = 0.5
    longest: float = 30.0
    timeout: tuple[float, float] = (15.0, 60.0)
    spoiled: int = 2
    obedience: float = 300.0
    slowest: float = 200.0
    patience: float = 600.0


Tick = Callable[[str, int], None]


def _silent(name: str, length: int) -> None:
    """Nobody watches."""


def _quiet(sentence: str) -> None:
    """Nobody listens."""


def fetch(
    source: Source,
    target: Path,
    *,
    session: requests.Session,
    policy: Policy,
    tick: Tick = _silent,
    tell: Tell = _quiet,
    stop: threading.Event | None = None,
) -> str:
    """
    Fetch a file, going on where an earlier try or run was cut.

    Parameters
    ----------
    source : Source
        What.
    target : `~pathlib.Path`
        Where to. Until it is whole it is called ``.part``, and a ``.part.json`` knows
        how much of it can be trusted.
    session : `~requests.Session`
        A guarded one, without retries of its own.
    policy : Policy
        How often to try.
    tick : callable, optional
        Called with the name and the bytes so far.
    tell : callable, optional
        Called with a sentence where something is waited for.
    stop : `threading.Event`, optional
        Set it to stop; what is there is kept for the next run.

    Returns
    -------
    digest : str
        The sha256 of the file. Where another process was at it, the file is its.

    Raises
    ------
    AuthorizationError, UnreachableError, ArchiveError
        If the file is for others, if no answer comes, or none that is whole and right.
    StorageError
        If the disk is full or cannot be written.
    Stopped
        If ``stop`` was set.
    """
    stop = stop or threading.Event()

    def waiting() -> None:
        tell(f"{source.name}: waiting for another process that fetches it")

    with Part.open(
        target, source, patience=policy.patience, stop=stop, waiting=waiting
    ) as part:
        if part.waited and (digest := _finished(source, target)):
            part.remove()
            return digest
        return _persistently(part, session, policy, tick=tick, tell=tell, stop=stop)


def _finished(source: Source, target: Path) -> str:
    """Give the sha256 of what another process has fetched; empty: it is not right."""
    try:
        if source.size not in (None, target.stat().st_size):
            return ""
        with target.open("rb") as stream:
            sha1 = hashlib.file_digest(stream, "sha1").hexdigest()
            stream.seek(0)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        whole = target.suffix != ".fits" or whole_fits(target)
    except OSError:
        return ""
    good = sha1 == source.sha1 if source.sha1 else whole
    return sha256 if good else ""


def _persistently(
    part: Part,
    session: requests.Session,
    policy: Policy,
    *,
    tick: Tick,
    tell: Tell,
    stop: threading.Event,
) -> str:
    """Try until it is there, or until there is no sense in it."""
    name = part.source.name
    fruitless, spoiled = 0.0, 0
    while True:
        before, since = part.furthest, time.monotonic()
        try:
            _stream(part, session, policy, tick=tick, stop=stop)
            return part.finish()
        except TryAgainError as error:
            won = part.furthest > before and not error.slow
            fruitless = 0.0 if won else fruitless + error.weight
            spoiled += error.spoiled
            _despair(name, error, fruitless, spoiled, policy)
            pause = _pause(policy, fruitless, error.wait)
            if pause > max(WORTH_A_WORD, policy.longest):
                tell(f"{name}: {error}, waiting {in_words(pause)}")
            elif time.monotonic() > since + WORTH_A_WORD and not won:
                tell(f"{name}: {error}, trying again")
            if stop.wait(pause):
                raise Stopped from error
        except (WebbmosaicError, Stopped):
            raise
        except _ODD as error:
            msg = f"{name}: the answer is not understood ({type(error).__name__})"
            raise ArchiveError(f"{msg}: {error}") from error


def _despair(
    name: str, error: TryAgainError, fruitless: float, spoiled: int, policy: Policy
) -> None:
    """Give a file up where another try makes no sense."""
    if spoiled >= policy.spoiled:
        raise ArchiveError(f"{name}: {error}, {_times(spoiled)}") from error
    if fruitless >= policy.tries:
        msg = f"{name}: {error}, again and again. Run again later"
        raise UnreachableError(msg) from error
    if error.wait > policy.obedience:
        msg = f"{name}: {error} for {in_words(error.wait)}. Run again then"
        raise UnreachableError(msg) from error


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _pause(policy: Policy, fruitless: float, asked: float) -> float:
    growing = policy.pause * 2.0 ** (fruitless - 1) if fruitless else 0.0
    spread = random.uniform(0.75, 1.25)
    return max(min(growing * spread, policy.longest), asked)


def _stream(
    part: Part,
    session: requests.Session,
    policy: Policy,
    *,
    tick: Tick,
    stop: threading.Event,
) -> None:
    """Ask once for what is missing and take what comes."""
    if part.expected is not None and part.length == part.expected:
        return
    headers = {"Accept-Encoding": "identity"}
    proof = part.end()
    if part.length:
        headers["Range"] = f"bytes={part.length - len(proof)}-"
        if part.validator:
            headers["If-Range"] = part.validator
    alive = False
    try:
        with session.get(part.source.url, headers=headers, stream=True) as response:
            _accept(response, part, part.length - len(proof))
            alive = True
            _take(response, part, proof, policy, tick=tick, stop=stop)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if alive:
            raise TryAgainError(_cut(part), alive=True) from error
        if not passes(error):
            msg = f"{part.source.name}: {no_answer(error)}"
            for_all = isinstance(error, requests.exceptions.SSLError)
            raise (UnreachableError if for_all else ArchiveError)(msg) from error
        raise TryAgainError(no_answer(error)) from error
    if part.expected is not None and part.length < part.expected:
        raise TryAgainError(_cut(part), alive=True)


def _take(
    response: requests.Response,
    part: Part,
    proof: bytes,
    policy: Policy,
    *,
    tick: Tick,
    stop: threading.Event,
) -> None:
    """Write what comes: after its ``proof``, not too slowly, and no byte too many."""
    proof = proof if part.length else b""
    since, came = time.monotonic(), 0
    while block := response.raw.read1(_room(part, len(proof))):
        if stop.is_set():
            raise Stopped
        came += len(block)
        if proof:
            count = min(len(block), len(proof))
            if block[:count] != proof[:count]:
                part.restart()
                msg = "the archive has replaced the file since its beginning was taken"
                raise TryAgainError(msg)
            proof, block = proof[count:], block[count:]
        if part.expected is not None and part.length + len(block) > part.expected:
            expected = part.expected
            part.restart()
            msg = f"the archive lists {expected} bytes but sends more"
            raise TryAgainError(msg, spoiled=True)
        part.write(block)
        tick(part.source.name, part.length)
        passed = time.monotonic() - since
        if passed > policy.timeout[1]:
            if came < policy.slowest * passed:
                raise TryAgainError("the archive sends hardly anything", slow=True)
            since, came = time.monotonic(), 0


def _room(part: Part, proof: int) -> int:
    """Say how much to read: one byte too many is enough to see that there are."""
    if part.expected is None:
        return _CHUNK
    return min(_CHUNK, part.expected - part.length + proof + 1)


def _cut(part: Part) -> str:
    return f"the connection was cut at {part.length} of {part.expected} bytes"


def _accept(response: requests.Response, part: Part, start: int) -> None:
    """Agree with the server on which bytes come, before the first is taken."""
    status = response.status_code
    if status == requests.codes.partial_content:
        _accept_rest(response, part, start)
    elif status == requests.codes.ok:
        part.restart()
        length = response.headers.get("Content-Length", "")
        _agree_on_size(part, whole_number(length))
    else:
        raise _refusal(response, part)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        part.restart()
        msg = "the archive sends it compressed, unasked"
        raise TryAgainError(msg, spoiled=True)
    part.validator = _validator(response)


def _accept_rest(response: requests.Response, part: Part, start: int) -> None:
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    total = int(match[3]) if match and match[3] != "*" else None
    fits = match is not None and int(match[1]) == start
    changed = part.validator and _validator(response) not in ("", part.validator)
    if not part.length or not fits or changed:
        part.restart()
        msg = "the archive does not go on where the download was cut"
        raise TryAgainError(msg)
    _agree_on_size(part, total)


def _agree_on_size(part: Part, size: int | None) -> None:
    if part.source.size is None:
        part.expected = size
        free = shutil.disk_usage(part.folder).free
        if size is not None and size - part.length > free:
            msg = f"{size / 1e9:.2f} GB are announced, more than the disk has free"
            raise ArchiveError(f"{part.source.name}: {msg}")
    elif size is not None and size != part.source.size:
        part.restart()
        msg = f"the archive lists {part.source.size} bytes but sends {size}"
        raise TryAgainError(msg, spoiled=True)


def _validator(response: requests.Response) -> str:
    """What proves that the rest belongs to the same file (RFC 9110, section 13.1.5)."""
    tag = response.headers.get("ETag")
    if tag is None:
        return str(response.headers.get("Last-Modified", ""))
    return "" if tag.startswith("W/") else str(tag)


def _refusal(response: requests.Response, part: Part) -> Exception:
    status, name = response.status_code, part.source.name
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return AuthorizationError(f"{name}: {_authorization(response)}")
    if status in _BUSY:
        wait = pause_asked(response.headers.get("Retry-After", ""))
        return TryAgainError(f"the archive is busy (HTTP {status})", wait=wait)
    if status == requests.codes.requested_range_not_satisfiable:
        part.restart()
        return TryAgainError("the archive does not go on where the download was cut")
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
