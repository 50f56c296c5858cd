"""One guarded way to an archive: encrypted, patient, and quiet about the token."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from webbmosaic.archives.answers import passes, pause_asked
from webbmosaic.archives.reading import parse_json
from webbmosaic.archives.threads import in_words
from webbmosaic.errors import ArchiveError, UsageError

__all__ = ["Archive", "Tell", "check_address"]

#: Seconds to connect, and seconds without a byte, after which a try is given up.
TIMEOUT = (15.0, 120.0)
#: Seconds a question may take in all, with repetitions, until it is given up.
PATIENCE = 600.0
#: Bytes of the longest answer that is read into memory. A page of a search has 3 MB.
_LONGEST = 500_000_000
#: Seconds of a pause that are worth a word to the user.
WORTH_A_WORD = 5.0
_TOKEN = re.compile(r"[\x21-\x7e]+")
_BUSY = (429, 500, 502, 503, 504)
#: Takes a sentence for the user.
Tell = Callable[[str], None]


def _quiet(sentence: str) -> None:
    """Tell nobody."""


def check_address(url: str) -> str:
    """
    Refuse an address that would send requests unencrypted over a network.

    Parameters
    ----------
    url : str
        ``https://...``, or ``http://...`` on this very machine (loopback).

    Returns
    -------
    url : str
        The same, without a slash at its end.

    Raises
    ------
    ArchiveError
        If it is neither.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        msg = f"an address is none ({error}): archives are spoken to by https://HOST"
        raise ArchiveError(msg) from error
    safe = parts.scheme == "https" or (
        parts.scheme == "http" and _is_loopback(parts.hostname or "")
    )
    if not safe or not parts.hostname or parts.username is not None:
        shown = f"{parts.scheme}://{parts.hostname}"
        msg = f"{shown} is not used: archives are spoken to by https://HOST only"
        raise ArchiveError(msg)
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


@dataclass(frozen=True)
class Archive:
    """
    An archive's address and the token that it, and nobody else, is shown.

    Attributes
    ----------
    url : str
        Its root, for example ``https://mast.stsci.edu``.
    token : str or None
        For exclusive-access data; never printed.
    tell : callable
        Takes sentences that the user should read while it goes on.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    tell: Tell = field(default=_quiet, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", check_address(self.url))
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            msg = "The token in MAST_API_TOKEN has blanks or odd characters in it"
            raise UsageError(msg)

    @classmethod
    def mast(cls, tell: Tell = _quiet) -> Archive:
        """
        Read the address and token of MAST from the environment.

        Parameters
        ----------
        tell : callable
            As in the class.

        Returns
        -------
        archive : Archive
            At ``WEBBMOSAIC_MAST_URL``, else at the server that astroquery is configured
            for (https://mast.stsci.edu unless changed), with ``MAST_API_TOKEN``.
        """
        url = os.environ.get("WEBBMOSAIC_MAST_URL")
        if not url:
            from astroquery.mast import conf

            url = str(conf.server)
        return cls(url, os.environ.get("MAST_API_TOKEN", "").strip() or None, tell)

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        return urlsplit(self.url).hostname or self.url

    def session(
        self, *, retries: int = 5, timeout: tuple[float, float] = TIMEOUT
    ) -> requests.Session:
        """
        Open a session whose every request, redirected ones too, is guarded.

        Parameters
        ----------
        retries : int
            How often a refused, cut or failed request (429, 5xx) is repeated, with
            growing pauses. 0 leaves that to the caller.
        timeout : tuple of float
            Seconds to connect, and between two bytes.

        Returns
        -------
        session : `~requests.Session`
            Not to be shared by threads.
        """
        session = requests.Session()
        self.guard(session, retries=retries, timeout=timeout)
        return session

    def guard(
        self,
        session: requests.Session,
        *,
        retries: int = 5,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        """Make somebody else's session a guarded one; options as in `session`."""
        adapter = _Guard(self, retries=retries, timeout=timeout)
        session.adapters.clear()
        session.mount("https://", adapter)
        session.mount("http://", adapter)


class _Guard(HTTPAdapter):  # type: ignore[misc]  # requests has no type hints
    """Checks every address, adds the token for its owner, waits, and retries."""

    def __init__(
        self, archive: Archive, *, retries: int, timeout: tuple[float, float]
    ) -> None:
        self._archive = archive
        self._owner = _origin(archive.url)
        self._timeout = timeout
        self._retries = retries
        super().__init__(max_retries=0)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        **others: Any,
    ) -> requests.Response:
        """Send one request; the token goes to its owner only, never elsewhere."""
        check_address(request.url or "")
        signed = self._signed(request)
        if _is_loopback(urlsplit(request.url).hostname or ""):
            others["proxies"] = {}
        others["timeout"] = timeout or self._timeout
        deadline = time.monotonic() + PATIENCE
        busy = failed = working = 0
        while True:
            try:
                response = super().send(signed, stream=True, **others)
                _read(response, all_of_it=not stream)
            except requests.RequestException as error:
                failed += 1
                if failed > self._again(error):
                    raise
                if isinstance(error, requests.Timeout):
                    self._archive.tell(
                        f"{self._archive.host} is silent and is asked again"
                    )
                pause = 0.25 * 2**failed
            else:
                if not stream and _still_working(response):
                    working += 1
                    pause = min(0.125 * 2**working, 10.0)
                elif busy < self._retries and response.status_code in _BUSY:
                    busy += 1
                    pause = max(0.25 * 2**busy, _asked(response))
                else:
                    return response
            self._wait(pause, deadline)

    def _again(self, error: Exception) -> int:
        """Say how often a request is repeated after such failures."""
        silent = isinstance(error, requests.Timeout)
        return min(self._retries, 1 if silent else 3) if passes(error) else 0

    def _wait(self, pause: float, deadline: float) -> None:
        if time.monotonic() + pause > deadline:
            msg = (
                f"{self._archive.host} is busy: it would have to be asked again in"
                f" {in_words(pause)}. Try: again then"
            )
            raise ArchiveError(msg)
        if pause > WORTH_A_WORD:
            self._archive.tell(f"{self._archive.host}: waiting {in_words(pause)}")
        time.sleep(pause)

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._archive.token is None or _origin(request.url or "") != self._owner:
            return request
        # On a copy: a redirect is built from the original, which never has the token.
        signed = request.copy()
        token = self._archive.token
        signed.headers["Authorization"] = f"token {token}"
        cookies = [signed.headers.get("Cookie"), f"mast_token={token}"]
        signed.headers["Cookie"] = "; ".join(c for c in cookies if c)
        return signed


def _asked(response: requests.Response) -> float:
    return pause_asked(response.headers.get("Retry-After", ""))


def _read(response: requests.Response, *, all_of_it: bool) -> None:
    """Read a short answer; of a redirect, which nobody reads, not a byte."""
    body = bytearray()
    if not response.is_redirect:
        if not all_of_it:
            return
        for block in response.iter_content(1 << 16):
            body += block
            if len(body) > _LONGEST:
                response.close()
                msg = f"an answer has more than {_LONGEST / 1e6:.0f} MB: not read"
                raise ArchiveError(msg)
    response.close()
    response._content, response._content_consumed = bytes(body), True


def _still_working(response: requests.Response) -> bool:
    """Tell MAST's 'EXECUTING' (ask again) from an answer."""
    if response.status_code == requests.codes.accepted:
        return True
    if not response.ok or b'"EXECUTING"' not in response.content[:4096]:
        return False
    try:
        answer = parse_json(response.content)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("status") == "EXECUTING"
