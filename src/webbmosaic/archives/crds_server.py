"""Fetch rules and reference files from a CRDS server, one by one, and check them.

crds runs the rules it is given, so they come over a checked channel only: encrypted,
from the server's own host or one that the user names, and with the sha1 that the server
tells. crds asks its questions through this channel, too, and files are fetched by
`webbmosaic.archives.transfer`, as those of MAST are. Files that are in the cache, which
crds trusts for ever, are compared as well.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from webbmosaic.archives.crds_channel import talking_to
from webbmosaic.archives.lock import Hashes
from webbmosaic.archives.part import Source
from webbmosaic.archives.reading import whole_number
from webbmosaic.archives.rules import load_mapping, named_mappings
from webbmosaic.archives.transfer import Policy, fetch
from webbmosaic.archives.transport import Archive, Tell, check_address
from webbmosaic.errors import ArchiveError

__all__ = ["DEFAULT_URL", "Server", "connect", "rule_files"]

DEFAULT_URL = "https://jwst-crds.stsci.edu"

#: How stubborn: pauses of 1, 2 and 4 seconds.
POLICY = Policy(tries=4, pause=1.0, longest=9.0, timeout=(15.0, 30.0), spoiled=3)
#: How often a question is repeated; the default server is not insisted on.
_RETRIES, _RETRIES_BY_DEFAULT = 3, 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SHA1 = re.compile(r"[0-9a-f]{40}")
#: Seconds without a byte after which a temporary file of crds is nobody's.
_ABANDONED = 3.0


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
    places : mapping of str to str
        The addresses below which it has its ``mapping`` and ``reference`` files.
    tell : callable
        Takes sentences for the user.
    """

    url: str
    files: Mapping[str, Mapping[str, Any]]
    bad_files: frozenset[str]
    places: Mapping[str, str]
    tell: Tell

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
            with talking_to(self.url, _RETRIES):
                return str(crds.get_context_name("jwst", requested or None))
        except (CrdsError, AssertionError, OSError, KeyError, ValueError) as error:
            msg = f"{self.url} gives no context for '{requested or 'default'}': {error}"
            raise ArchiveError(msg) from error

    def size(self, name: str) -> int:
        """Give the size of a file in bytes; 0 where the server does not know it."""
        return self._listed(name)[0] or 0

    def _listed(self, name: str) -> tuple[int | None, str]:
        """Give the size and sha1 that the server lists, where they are such."""
        entry = self.files.get(name)
        if not isinstance(entry, Mapping):
            return None, ""
        sha1 = str(entry.get("sha1sum", "")).lower()
        return whole_number(entry.get("size")), sha1 if _SHA1.fullmatch(sha1) else ""

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
        expected, sha1 = self._listed(path.name)
        if expected is None or not sha1:
            return f"cannot be checked: {self.url} lists no size and sha1 of it"
        try:
            size = path.stat().st_size
            found = hashes.digest(path, "sha1") if size == expected else ""
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if size != expected:
            return f"has {size} bytes, the server says {expected}"
        return "" if found == sha1 else f"has sha1 {found}, the server says {sha1}"

    def fetch(
        self, name: str, path: Path, hashes: Hashes, policy: Policy | None = None
    ) -> bool:
        """
        Make sure that the cache has a file, and the right one.

        Parameters
        ----------
        name : str
            A rule or reference file.
        path : `~pathlib.Path`
            Its place in the cache. What is there stays until the right one has come.
        hashes : Hashes
        policy : Policy, optional
            How often to try; by default `POLICY`.

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
        size, sha1 = self._listed(name)
        if size is None or not sha1:
            msg = f"{name}: {self.url} lists no size and sha1, so it is not fetched"
            raise ArchiveError(msg)
        _sweep(path)
        kind = "mapping" if path.name.endswith("map") else "reference"
        source = Source(f"{self.places[kind]}/{quote(name)}", name, size, sha1)
        policy = policy or POLICY
        session = Archive(self.url).session(retries=0, timeout=policy.timeout)
        fetch(source, path, session=session, policy=policy, tell=self.tell)
        return True

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


def _sweep(path: Path) -> None:
    """Remove what a crds that was killed has left of a file."""
    for leftover in path.parent.glob(f".tmp_{path.name}_*"):
        owner = whole_number(leftover.name.rpartition("_")[2])
        with suppress(OSError):
            # One on another machine, whose number says nothing here, goes on writing.
            silent = time.time() - leftover.stat().st_mtime > _ABANDONED
            if owner and silent and not Path(f"/proc/{owner}").exists():
                leftover.unlink()


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


def connect(url: str = "", tell: Tell = lambda _sentence: None) -> Server:
    """
    Ask a CRDS server what it holds, and keep its configuration in the cache.

    Parameters
    ----------
    url : str
        ``CRDS_SERVER_URL`` by default, else the archive's own server.
    tell : callable, optional
        Takes sentences for the user.

    Returns
    -------
    server : Server

    Raises
    ------
    ArchiveError
        If it does not answer, or not as a CRDS server for JWST, or names addresses that
        are not its own.
    """
    from crds.client import api
    from crds.core import heavy_client, utils
    from crds.core.exceptions import CrdsError

    utils.clear_function_caches()  # another server or cache may have been asked before
    named = url or os.environ.get("CRDS_SERVER_URL", "")
    url = check_address(named or DEFAULT_URL)
    try:
        with talking_to(url, _RETRIES if named else _RETRIES_BY_DEFAULT, tell):
            info = api.get_server_info()
            files = dict(api.get_download_metadata())
            kinds = ("mapping", "reference")
            places = {kind: _place(info, kind, url) for kind in kinds}
            bad_files = frozenset(map(str, info.get("bad_files_list") or ()))
            heavy_client.cache_server_info(heavy_client.get_config_info("jwst"), "jwst")
    except (
        *(CrdsError, ArchiveError, OSError, EOFError, RecursionError),
        *(KeyError, AttributeError, TypeError, ValueError),
    ) as error:
        inner = error.__cause__
        why = inner if isinstance(inner, ArchiveError) else error
        msg = f"the CRDS server {url} does not answer as it should: {why}"
        raise ArchiveError(msg) from error
    return Server(url, files, bad_files, places, tell)


def _place(info: Mapping[str, Any], kind: str, server: str) -> str:
    """Give the address of a kind of files: the server's own host, or the user's."""
    variable = f"CRDS_{kind.upper()}_URI"
    named = os.environ.get(variable, "")
    if named.lower() not in ("", "none"):  # crds writes None there when imported
        return check_address(named)
    place = check_address(str(info[f"{kind}_url"]["jwst"]))
    host = urlsplit(place).hostname
    if host != urlsplit(server).hostname:
        msg = (
            f"it has its {kind} files at another host, {host}. If that is right:"
            f" export {variable}={place}"
        )
        raise ArchiveError(msg)
    return place
