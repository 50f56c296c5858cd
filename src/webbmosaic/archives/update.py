"""The references of a work folder: which context, fetch, check, lock; in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from webbmosaic.archives.crds_server import DEFAULT_URL, Server, connect
from webbmosaic.archives.gather import (
    Progress,
    Resolution,
    cached_context,
    fetch_all,
    lock_all,
    resolve,
    wrong_files,
)
from webbmosaic.archives.lock import Hashes, read_lock
from webbmosaic.archives.references import pinned_context
from webbmosaic.archives.transport import Tell
from webbmosaic.datasets import Workspace
from webbmosaic.errors import ArchiveError, ReferenceFileError
from webbmosaic.files.headers import Header

__all__ = [
    "Update",
    "choose_context",
    "reach_server",
    "resolve_in",
    "update_references",
]


@dataclass(frozen=True)
class Update:
    """
    What was found and done for a work folder.

    Attributes
    ----------
    resolution : Resolution
    server : str
        The server asked; empty: none, the cache alone.
    fetched : mapping of str to int
        The files that were (or, in a dry run, would be) fetched, with their sizes.
    problems : tuple of str
        A sentence each; references that no rule gives, that could not be fetched, or
        that CRDS calls bad.
    """

    resolution: Resolution
    server: str
    fetched: Mapping[str, int]
    problems: tuple[str, ...]


def reach_server(
    *, offline: bool = False, tell: Tell = lambda _sentence: None
) -> tuple[Server | None, str]:
    """
    Connect to the CRDS server that the environment names, else the archive's own.

    Parameters
    ----------
    offline : bool
        Do not.
    tell : callable, optional
        Takes sentences for the user.

    Returns
    -------
    server : Server or None
    note : str
        Why there is none, where that was not asked for.

    Raises
    ------
    ArchiveError
        If a server that ``CRDS_SERVER_URL`` names does not answer.
    """
    named = os.environ.get("CRDS_SERVER_URL", "")
    if offline or "serverless" in named:
        return None, ""
    try:
        return connect(tell=tell), ""
    except ArchiveError as error:
        if named:
            msg = f"{error}. Try: --offline, to work from the cache alone"
            raise ArchiveError(msg) from error
        note = (
            f"{DEFAULT_URL} was not reached, so the files of the cache are used and not"
            " compared with the server's (CRDS_SERVER_URL names another server,"
            " --offline asks none)"
        )
        return None, note


def choose_context(workspace: Workspace, requested: str, server: Server | None) -> str:
    """
    Choose the context to pin.

    Parameters
    ----------
    workspace : Workspace
    requested : str
        As the user gave it; else the lock's, else ``CRDS_CONTEXT``, else the server's
        default, else the only one in the cache.
    server : Server or None

    Returns
    -------
    context : str
        ``jwst_NNNN.pmap``.

    Raises
    ------
    ReferenceFileError
        If ``CRDS_CONTEXT`` contradicts the lock, or there is no server to say what a
        name such as ``latest`` means today.
    ArchiveError
        If the server knows no such context.
    """
    from crds.core import config

    if not requested and read_lock(workspace.lock):
        return pinned_context(workspace)
    wanted = requested or os.environ.get("CRDS_CONTEXT", "")
    if server:
        return server.context(wanted)
    if wanted and not wanted.endswith(".pmap"):
        msg = (
            f"only a CRDS server knows what the context '{wanted}' is today. Try:"
            " --context jwst_NNNN.pmap, or without --offline"
        )
        raise ReferenceFileError(msg)
    return wanted or cached_context(Path(config.get_crds_path()))


def resolve_in(
    context: str, headers: Mapping[str, Header], server: Server | None, hashes: Hashes
) -> Resolution:
    """
    Find the references of many exposures, fetching rules that are missing.

    Parameters
    ----------
    context : str
        ``jwst_NNNN.pmap``.
    headers : mapping of dataset name to header
    server : Server or None
        None: the rules must be in the cache.
    hashes : Hashes

    Returns
    -------
    resolution : Resolution

    Raises
    ------
    ReferenceFileError, ArchiveError
        If rules are missing, damaged or cannot be fetched.
    """
    if server:
        instruments = {str(header["INSTRUME"]) for header in headers.values()}
        server.fetch_rules(context, instruments, hashes)
    return resolve(headers, context)


def update_references(
    workspace: Workspace,
    headers: Mapping[str, Header],
    *,
    context: str,
    server: Server | None,
    dry_run: bool = False,
    progress: Progress,
) -> Update:
    """
    Complete the cache for some exposures and write the lock.

    Parameters
    ----------
    workspace : Workspace
    headers : mapping of dataset name to header
    context : str
        ``jwst_NNNN.pmap``.
    server : Server or None
        None: what the cache has must do.
    dry_run : bool
        Fetch rules at most, and write no lock.
    progress : callable
        Told the name and size of each fetched file.

    Returns
    -------
    update : Update
        With problems, if some references cannot be had; the others are locked.

    Raises
    ------
    ReferenceFileError
        If a file differs from the one locked under its name, or rules are missing.
    ArchiveError
        If rules cannot be fetched.
    StorageError
        If there is no room for what is to be fetched.
    """
    hashes = Hashes(workspace.reference_hashes)
    found = resolve_in(context, headers, server, hashes)
    wrong = wrong_files(found, server, hashes)
    url = server.url if server else ""
    sizes = {name: server.size(name) for name in wrong} if server else {}
    if dry_run:
        return Update(
            found, url, sizes, (*found.problems, *_failures(found, wrong, url))
        )
    if server:
        failed = fetch_all(found, wrong, server, hashes=hashes, progress=progress)
        problems = [*failed.values(), *_bad_files(found, server)]
        sizes = {name: size for name, size in sizes.items() if name not in failed}
    else:
        problems = _failures(found, wrong, url)
    lock_all(workspace, found, url, hashes)
    return Update(found, url, sizes, (*found.problems, *problems))


def _failures(found: Resolution, wrong: Mapping[str, str], server: str) -> list[str]:
    """Without a server, every wrong file is a problem; with one, it can be fetched."""
    if server:
        return []
    advice = "Try: webbmosaic references, on a machine that reaches the CRDS server"
    needs = ((found.needs[name], why) for name, why in wrong.items())
    return [
        f"{need.who}: its '{need.kind}' reference {need.name} {why}. {advice}"
        for need, why in needs
    ]


def _bad_files(found: Resolution, server: Server) -> list[str]:
    return [
        f"{need.who}: its '{need.kind}' reference {name} is called scientifically"
        f" invalid by {server.url}. Try: another context"
        for name, need in found.needs.items()
        if name in server.bad_files
    ]
