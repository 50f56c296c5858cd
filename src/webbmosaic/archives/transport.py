"""One guarded way to an archive: encrypted, patient, and quiet about the token."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from webbmosaic.errors import ArchiveError, UsageError

__all__ = ["Archive", "check_address"]

#: Seconds to connect, and seconds without a byte, after which a try is given up.
TIMEOUT = (15.0, 180.0)
#: Seconds an archive may go on answering that it is still working on a request.
PATIENCE = 600.0
_TOKEN = re.compile(r"[\x21-\x7e]+")
_BUSY = (429, 500, 502, 503, 504)


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
    parts = urlsplit(url)
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
    """

    url: str
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", check_address(self.url))
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            msg = "The token in MAST_API_TOKEN has blanks or odd characters in it"
            raise UsageError(msg)

    @classmethod
    def mast(cls) -> Archive:
        """
        Read the address and token of MAST from the environment.

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
        return cls(url, os.environ.get("MAST_API_TOKEN", "").strip() or None)

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
        self._token = archive.token
        self._owner = _origin(archive.url)
        self._timeout = timeout
        again = Retry(
            total=retries,
            connect=min(retries, 3),
            read=min(retries, 2),
            backoff_factor=0.5,
            status_forcelist=_BUSY if retries else (),
            allowed_methods=None,  # the searches are POST, but change nothing
            raise_on_status=False,
        )
        super().__init__(max_retries=again)

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
        deadline = time.monotonic() + PATIENCE
        pause = 0.25
        while True:
            response = super().send(
                signed, stream=stream, timeout=timeout or self._timeout, **others
            )
            if stream or not _still_working(response):
                return response
            if time.monotonic() > deadline:
                msg = "The archive is still working on the request. Try again later"
                raise ArchiveError(msg)
            time.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is None or _origin(request.url or "") != self._owner:
            return request
        # On a copy: a redirect is built from the original, which never has the token.
        signed = request.copy()
        signed.headers["Authorization"] = f"token {self._token}"
        cookies = [signed.headers.get("Cookie"), f"mast_token={self._token}"]
        signed.headers["Cookie"] = "; ".join(c for c in cookies if c)
        return signed


def _still_working(response: requests.Response) -> bool:
    """Tell MAST's 'EXECUTING' (ask again) from an answer."""
    if response.status_code == requests.codes.accepted:
        return True
    if not response.ok or b'"EXECUTING"' not in response.content[:4096]:
        return False
    try:
        answer = response.json()
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("status") == "EXECUTING"
