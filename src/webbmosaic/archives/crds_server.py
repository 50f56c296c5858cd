"""Fetch rules and reference files from a CRDS server, one by one, and check them.

crds does the talking. What is added: retries that can succeed (crds leaves a bad
download under its final name and then takes it for the file), a time limit on every
wait, and a check of the files that are in the cache, which crds trusts for ever.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError

from webbmosaic.archives.lock import Hashes
from webbmosaic.archives.references import environment
from webbmosaic.archives.rules import load_mapping, named_mappings
from webbmosaic.archives.transport import check_address
from webbmosaic.errors import ArchiveError, StorageError

__all__ = ["DEFAULT_URL", "Server", "connect", "rule_files"]

DEFAULT_URL = "https://jwst-crds.stsci.edu"

#: Seconds without a byte after which a try is given up.
_TIMEOUT = 60.0
#: Pauses between tries, in seconds.
_PAUSES = (1.0, 3.0, 9.0)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Server:
    """
    A CRDS server that answers.

    Attributes
    ----------
    url : str
    files : mapping of str to mapping
        What it holds: file name to its ``size`` and ``sha1sum``.
    bad_files : frozenset of str
        Files that it calls scientifically invalid.
    """

    url: str
    files: Mapping[str, Mapping[str, Any]]
    bad_files: frozenset[str]

    def context(self, requested: str = "") -> str:
        """
        Give the name of a context.

        Parameters
        ----------
        requested : str
            A name, ``latest``, ``build``, ``jwst-edit`` or a date such as
            ``jwst-2025-01-31``; by default what the server recommends for the installed
            version of jwst.

        Returns
        -------
        context : str
            ``jwst_NNNN.pmap``.

        Raises
        ------
        ArchiveError
            If the server knows no such context.
        """
        import crds
        from crds.core.exceptions import CrdsError

        if requested.endswith(".pmap"):
            return requested
        try:
            with _talking_to(self.url):
                return str(crds.get_context_name("jwst", requested or None))
        except (CrdsError, AssertionError, OSError, KeyError) as error:
            msg = f"{self.url} gives no context for '{requested or 'default'}': {error}"
            raise ArchiveError(msg) from error

    def size(self, name: str) -> int:
        """Give the size of a file in bytes; 0 where the server does not know it."""
        return int(self.files[name]["size"]) if name in self.files else 0

    def why_wrong(self, path: Path, hashes: Hashes) -> str:
        """
        Compare a file of the cache with the server's size and sha1.

        Parameters
        ----------
        path : `~pathlib.Path`
        hashes : Hashes

        Returns
        -------
        why : str
            Empty where it is right, or the server does not know it.
        """
        if path.name not in self.files:
            return ""
        size, expected = path.stat().st_size, self.size(path.name)
        if size != expected:
            return f"has {size} bytes, the server says {expected}"
        sha1 = str(self.files[path.name].get("sha1sum", "none"))
        if sha1 in ("", "none"):
            return ""
        found = hashes.digest(path, "sha1")
        return "" if found == sha1 else f"has sha1 {found}, the server says {sha1}"

    def fetch(self, name: str, path: Path, hashes: Hashes) -> bool:
        """
        Make sure that the cache has a file, and the right one.

        Parameters
        ----------
        name : str
            A rule or reference file.
        path : `~pathlib.Path`
            Its place in the cache.
        hashes : Hashes

        Returns
        -------
        fetched : bool
            Whether it had to be fetched.

        Raises
        ------
        ArchiveError
            If the server does not know the file, or every try failed.
        StorageError
            If the cache cannot be written.
        """
        if path.exists() and not self.why_wrong(path, hashes):
            return False
        if not _NAME.fullmatch(name) or name not in self.files:
            msg = f"{self.url} does not know the file {name}. Try: another context"
            raise ArchiveError(msg)
        self._make_room(path)
        with _talking_to(self.url):
            _patiently(lambda: self._download(name, path, hashes), name, _PAUSES)
        return True

    def _make_room(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        except OSError as error:
            msg = f"{path}: the CRDS cache cannot be written ({error.strerror})"
            raise StorageError(msg) from error

    def _download(self, name: str, path: Path, hashes: Hashes) -> None:
        from crds.client import api

        instrument = {"META.INSTRUMENT.NAME": path.parent.name}
        why = "was not fetched to its end"
        try:
            api.FileCacher("jwst.pmap", parameters=instrument).get_local_files([name])
            why = self.why_wrong(path, hashes)
        finally:
            if why:
                path.unlink(missing_ok=True)
        if why:
            msg = f"{name} as fetched from {self.url} {why}"
            raise ArchiveError(msg)

    def fetch_rules(self, context: str, instruments: set[str], hashes: Hashes) -> int:
        """
        Fetch the rules of some instruments in one context.

        Parameters
        ----------
        context : str
            ``jwst_NNNN.pmap``.
        instruments : set of str
            Values of INSTRUME.
        hashes : Hashes

        Returns
        -------
        fetched : int
            How many files were not in the cache.

        Raises
        ------
        ArchiveError
            If the server does not know a file, or it cannot be fetched.
        """
        fetched = 0
        for level in _levels(context, instruments):
            for name in level:
                fetched += self.fetch(name, _rule_path(name), hashes)
        return fetched


def _rule_path(name: str) -> Path:
    import crds

    return Path(crds.locate_mapping(name, "jwst"))


def _levels(context: str, instruments: set[str]) -> Iterator[list[str]]:
    """Give context, instruments and kinds, each when those before are in the cache."""
    yield [context]
    imaps = named_mappings(load_mapping(context))
    chosen = [imaps[i.lower()] for i in sorted(instruments) if i.lower() in imaps]
    yield chosen
    yield [r for name in chosen for r in named_mappings(load_mapping(name)).values()]


def rule_files(context: str, instruments: set[str]) -> dict[str, Path]:
    """
    List the rules that crds reads for some instruments.

    Parameters
    ----------
    context : str
        ``jwst_NNNN.pmap``, in the cache.
    instruments : set of str
        Values of INSTRUME.

    Returns
    -------
    files : dict of name to `~pathlib.Path`

    Raises
    ------
    ReferenceFileError
        If the context or an instrument's rules are not in the cache, or damaged.
    """
    names = [name for level in _levels(context, instruments) for name in level]
    return {name: _rule_path(name) for name in names}


def connect(url: str = "") -> Server:
    """
    Ask a CRDS server what it holds, and keep its configuration in the cache.

    Parameters
    ----------
    url : str
        ``CRDS_SERVER_URL`` by default, else the archive's own server.

    Returns
    -------
    server : Server

    Raises
    ------
    ArchiveError
        If it does not answer, or not as a CRDS server for JWST.
    """
    from crds.client import api
    from crds.core import heavy_client, utils
    from crds.core.exceptions import CrdsError

    utils.clear_function_caches()  # another server or cache may have been asked before
    pauses = _PAUSES if url or "CRDS_SERVER_URL" in os.environ else _PAUSES[:1]
    url = check_address(url or os.environ.get("CRDS_SERVER_URL") or DEFAULT_URL)
    try:
        with _talking_to(url):
            info = _patiently(api.get_server_info, "its configuration", pauses)
            files = api.get_download_metadata()
            heavy_client.cache_server_info(heavy_client.get_config_info("jwst"), "jwst")
    except (
        *(CrdsError, ArchiveError, OSError),
        *(KeyError, AttributeError, TypeError, ValueError),
    ) as error:
        msg = f"the CRDS server {url} does not answer as it should: {error}"
        raise ArchiveError(msg) from error
    return Server(url, files, frozenset(info.get("bad_files_list", ())))


@contextmanager
def _talking_to(url: str) -> Iterator[None]:
    """Let crds speak to one server, quietly, with time limits, and write its cache."""
    from crds.client import api
    from crds.core import log

    ours = {
        "CRDS_SERVER_URL": url,
        "CRDS_OBSERVATORY": "jwst",
        "CRDS_CLIENT_TIMEOUT_SECONDS": str(int(_TIMEOUT)),
        "CRDS_CLIENT_RETRY_COUNT": "1",
        **dict.fromkeys(("CRDS_READONLY_CACHE", "CRDS_MODE", "CRDS_CONTEXT")),
    }
    verbosity, timeout = log.set_verbose(-3), socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    api.set_crds_server(url)
    try:
        with environment(ours):
            yield
    finally:
        log.set_verbose(verbosity)
        socket.setdefaulttimeout(timeout)


def _close_reply(error: BaseException | None) -> None:
    """Close the reply that crds leaves open when a server answers with an error."""
    while error is not None:
        if isinstance(error, HTTPError):
            error.close()
        error = error.__cause__


def _patiently(
    action: Callable[[], _Result], what: str, pauses: tuple[float, ...]
) -> _Result:
    """Try again after failures that may pass."""
    from crds.core.exceptions import CrdsError

    for pause in (*pauses, None):
        try:
            return action()
        except (CrdsError, ArchiveError, OSError) as error:
            _close_reply(error)
            if pause is None or "HTTP Error 4" in str(error):
                msg = f"{what} cannot be fetched: {error}"
                raise ArchiveError(msg) from error
            time.sleep(pause)
    raise AssertionError
