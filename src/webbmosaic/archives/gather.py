"""From the headers of a work folder to a complete cache and its lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from webbmosaic.archives.crds_server import POLICY, Server, rule_files
from webbmosaic.archives.lock import Hashes, Lock, changed, read_lock, stamp, write_lock
from webbmosaic.archives.references import locate_reference, unfit_reason
from webbmosaic.archives.rules import Choice, rules
from webbmosaic.archives.transfer import UnreachableError
from webbmosaic.datasets import INSTRUMENTS, Workspace
from webbmosaic.errors import (
    ArchiveError,
    ReferenceFileError,
    StorageError,
    WebbmosaicError,
)
from webbmosaic.files.headers import Header

__all__ = [
    "Need",
    "Resolution",
    "cached_context",
    "check_lock",
    "fetch_all",
    "lock_all",
    "resolve",
    "wrong_files",
]

Progress = Callable[[str, int], None]
#: Files in a row that found no server, after which it is taken to be down.
_DOWN = 3


@dataclass(frozen=True)
class Need:
    """
    One reference file and who needs it.

    Attributes
    ----------
    name, kind : str
        The file's name, and ``flat``, ``pars-jumpstep``, ...
    path : `~pathlib.Path`
        Its place in the cache.
    datasets : tuple of str
        The exposures.
    """

    name: str
    kind: str
    path: Path
    datasets: tuple[str, ...]

    @property
    def who(self) -> str:
        """The exposures in a few words."""
        return some_of(self.datasets)


def some_of(datasets: tuple[str, ...] | list[str]) -> str:
    """Name the first of some exposures and count the others."""
    others = len(datasets) - 1
    return datasets[0] + (f" and {others} more" if others else "")


@dataclass(frozen=True)
class Resolution:
    """
    What the exposures of a work folder need in one context.

    Attributes
    ----------
    context : str
    instruments : frozenset of str
    configurations : int
        How many different sets of references there are.
    choices : mapping of str to Choice
        For each dataset.
    needs : mapping of str to Need
        For each file name.
    problems : tuple of str
        What steps need and no rule provides; a sentence each, with the exposures.
    """

    context: str
    instruments: frozenset[str]
    configurations: int
    choices: Mapping[str, Choice]
    needs: Mapping[str, Need]
    problems: tuple[str, ...]


def resolve(headers: Mapping[str, Header], context: str) -> Resolution:
    """
    Find the references of many exposures, asking the rules once per configuration.

    Parameters
    ----------
    headers : mapping of dataset name to header
    context : str
        Its rules must be in the cache.

    Returns
    -------
    resolution : Resolution

    Raises
    ------
    ReferenceFileError
        If rules are missing or damaged.
    """
    members: dict[int, list[str]] = {}
    choices: dict[str, Choice] = {}
    for dataset, header in headers.items():
        choice = rules(context, str(header["INSTRUME"])).choose(header)
        choices[dataset] = choice
        members.setdefault(id(choice), []).append(dataset)
    alike = [(headers[d[0]], choices[d[0]], d) for d in members.values()]
    return Resolution(
        context,
        frozenset(str(header["INSTRUME"]) for header, *_ in alike),
        len(alike),
        choices,
        _needs(alike),
        _problems(alike, context),
    )


_Alike = list[tuple[Header, Choice, list[str]]]


def _needs(alike: _Alike) -> dict[str, Need]:
    users: dict[tuple[str, str, str], list[str]] = {}
    for header, choice, datasets in alike:
        for kind, name in choice.files.items():
            key = (name, kind, str(header["INSTRUME"]))
            users.setdefault(key, []).extend(datasets)
    return {
        name: Need(name, kind, locate_reference(name, instrument), tuple(datasets))
        for (name, kind, instrument), datasets in sorted(users.items())
    }


def _problems(alike: _Alike, context: str) -> tuple[str, ...]:
    affected: dict[str, list[str]] = {}
    for header, choice, datasets in alike:
        for kind, why in choice.unfit.items():
            reason = unfit_reason(kind, why, header, context)
            affected.setdefault(reason, []).extend(datasets)
    return tuple(f"{some_of(who)}: {why}" for why, who in affected.items())


def cached_context(folder: Path) -> str:
    """
    Take the only context of a cache.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The CRDS cache.

    Returns
    -------
    context : str

    Raises
    ------
    ReferenceFileError
        If it has none, or several: a guess could change results.
    """
    found = sorted(p.name for p in (folder / "mappings" / "jwst").glob("*.pmap"))
    if len(found) == 1:
        return found[0]
    msg = (
        f"the CRDS cache {folder} has {len(found)} contexts"
        f" ({', '.join(found[-5:]) or 'none'}) and no server was asked. Try: --context"
        " jwst_NNNN.pmap, or without --offline"
    )
    raise ReferenceFileError(msg)


def wrong_files(
    resolution: Resolution, server: Server | None, hashes: Hashes
) -> dict[str, str]:
    """
    List the reference files that are not in the cache, or not right.

    Parameters
    ----------
    resolution : Resolution
    server : Server or None
        Whose sizes and sha1 are to be compared; None: files must only be there.
    hashes : Hashes

    Returns
    -------
    wrong : dict
        File name to what is wrong with it.
    """
    wrong = {}
    for name, need in resolution.needs.items():
        if not need.path.is_file():
            wrong[name] = f"is not in the CRDS cache ({need.path})"
        elif not server and not os.access(need.path, os.R_OK):
            wrong[name] = f"cannot be read ({need.path})"
        elif server and (why := server.why_wrong(need.path, hashes)):
            wrong[name] = why
    return wrong


def fetch_all(
    resolution: Resolution,
    names: Mapping[str, str],
    server: Server,
    *,
    hashes: Hashes,
    progress: Progress,
) -> dict[str, str]:
    """
    Fetch reference files, going on after failures.

    Parameters
    ----------
    resolution : Resolution
    names : mapping of file name to anything
        As `wrong_files` gives it.
    server : Server
    hashes : Hashes
    progress : callable
        Told the name and size of each file when it is there.

    Returns
    -------
    failed : dict
        File name to the sentence why, with the exposures that need it.

    Raises
    ------
    StorageError
        If the disk has not enough room for all, before anything is fetched.
    """
    needs = [resolution.needs[name] for name in names]
    _check_room(needs, sum(server.size(name) for name in names))
    failed = {}
    down = 0
    for need in needs:
        try:
            if down >= _DOWN:
                msg = f"{need.name}: not fetched, because {server.url} is down"
                raise ArchiveError(msg)
            # A server that was in vain waited for is not waited for again.
            policy = replace(POLICY, tries=1) if down else POLICY
            server.fetch(need.name, need.path, hashes, policy)
            down = 0
            progress(need.name, server.size(need.name))
        except StorageError:
            raise
        except WebbmosaicError as error:
            down += isinstance(error, UnreachableError)
            failed[need.name] = f"{error} (the '{need.kind}' reference of {need.who})"
    return failed


def _check_room(needs: list[Need], total: int) -> None:
    if not needs:
        return
    folder = next(p for p in needs[0].path.parents if p.exists())
    free = shutil.disk_usage(folder).free
    if total > free:
        msg = (
            f"{folder}: {total / 1e9:.2f} GB are to be fetched and {free / 1e9:.2f} GB"
            " are free. Try: CRDS_PATH on a larger disk"
        )
        raise StorageError(msg)


def lock_all(
    workspace: Workspace, resolution: Resolution, server: str, hashes: Hashes
) -> Lock:
    """
    Write the lock of a work folder: every file that is there and needed.

    Parameters
    ----------
    workspace : Workspace
    resolution : Resolution
    server : str
        Whose sizes and sha1 were compared; empty: none.
    hashes : Hashes

    Returns
    -------
    lock : Lock
        Files locked earlier in the same context stay in it.

    Raises
    ------
    ReferenceFileError
        If a file differs from what was locked under its name; nothing is written then.
    """
    earlier = read_lock(workspace.lock) or Lock("", "")
    needs = resolution.needs.values()
    needed = {n.name: n.path for n in needs if _readable(n.path)}
    mappings = rule_files(resolution.context, set(resolution.instruments))
    for name, path in {**needed, **mappings}.items():
        known = earlier.files.get(name)
        if known and (why := changed(path, known, hashes)):
            msg = (
                f"{why}. Try: fetch the file again, or, if the new one is meant, delete"
                f" {workspace.lock}"
            )
            raise ReferenceFileError(msg)
    lock = Lock(
        resolution.context,
        server,
        {name: stamp(path, hashes) for name, path in needed.items()},
        {name: stamp(path, hashes) for name, path in mappings.items()},
    )
    if earlier.context == lock.context:
        lock = replace(
            lock,
            references={**earlier.references, **lock.references},
            mappings={**earlier.mappings, **lock.mappings},
        )
    write_lock(workspace.lock, lock)
    hashes.save()
    return lock


def _readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def check_lock(lock: Lock) -> list[str]:
    """
    Read every locked file again and compare it.

    Parameters
    ----------
    lock : Lock

    Returns
    -------
    differences : list of str
        A sentence for each file that is missing or changed, with both hashes.
    """
    hashes = Hashes(None)
    found = (
        changed(path, lock.files[p], hashes) for p, path in locked_paths(lock).items()
    )
    return [why for why in found if why]


def locked_paths(lock: Lock) -> dict[str, Path]:
    """
    Find the files of a lock in the cache.

    Parameters
    ----------
    lock : Lock

    Returns
    -------
    paths : dict of file name to `~pathlib.Path`
    """
    import crds

    paths = {name: Path(crds.locate_mapping(name, "jwst")) for name in lock.mappings}
    for name in lock.references:
        owners = [i for i in INSTRUMENTS if i.lower() in name.lower()]
        paths[name] = locate_reference(name, owners[0] if owners else INSTRUMENTS[0])
    return paths
