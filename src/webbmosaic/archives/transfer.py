"""Fetching one file so that nothing short of the whole file ever gets its name."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from webbmosaic.archives.part import Part, Source, TryAgainError
from webbmosaic.errors import ArchiveError, AuthorizationError

__all__ = ["Policy", "Stopped", "UnreachableError", "fetch"]

_CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_BUSY = (202, 408, 425, 429, 500, 502, 503, 504)


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The user, or the failure of another file, stopped this download."""


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
        Where to. Until it is whole it is called ``.part``, and a ``.part.json`` knows
        how much of it can be trusted.
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
    AuthorizationError, UnreachableError, ArchiveError
        If the file is for others, if no answer comes, or none that is whole and right.
    StorageError
        If the disk is full or cannot be written.
    Stopped
        If ``stop`` was set.
    """
    stop = stop or threading.Event()
    with Part.open(target, source) as part:
        fruitless, spoiled = 0.0, 0
        while True:
            before = part.furthest
            try:
                _stream(part, session, tick=tick or _silent, stop=stop)
                return part.finish()
            except TryAgainError as error:
                fruitless = 0.0 if part.furthest > before else fruitless + error.weight
                spoiled += error.spoiled
                if spoiled > 1:
                    raise ArchiveError(f"{source.name}: {error}, twice") from error
                if fruitless >= policy.tries:
                    msg = f"{source.name}: {error}, again and again. Run again later"
                    raise UnreachableError(msg) from error
                if stop.wait(_pause(policy, fruitless, error.wait)):
                    raise Stopped from error


def _silent(name: str, length: int) -> None:
    """Nobody watches."""


def _pause(policy: Policy, fruitless: float, asked: float) -> float:
    growing = policy.pause * 2.0 ** (fruitless - 1) if fruitless else 0.0
    spread = random.uniform(0.75, 1.25)
    return max(min(growing * spread, policy.longest), min(asked, 300.0))


def _stream(
    part: Part, session: requests.Session, *, tick: Tick, stop: threading.Event
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
        raise TryAgainError(reason, alive=alive) from error
    if part.expected is not None and part.length < part.expected:
        raise TryAgainError(_cut(part), alive=True)


def _cut(part: Part) -> str:
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


def _accept(response: requests.Response, part: Part) -> None:
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
        raise TryAgainError(msg, spoiled=True)
    part.validator = _validator(response)


def _accept_rest(response: requests.Response, part: Part) -> None:
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    total = int(match[3]) if match and match[3] != "*" else None
    fits = match is not None and int(match[1]) == part.length
    changed = part.validator and _validator(response) not in ("", part.validator)
    if not part.length or not fits or changed:
        part.restart()
        msg = "the archive does not go on where the download was cut"
        raise TryAgainError(msg)
    _agree_on_size(part, total)


def _agree_on_size(part: Part, size: int | None) -> None:
    if part.source.size is None:
        part.expected = size
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
        asked = response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else 0.0
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
