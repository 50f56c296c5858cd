"""One run at a time in a work folder, and no leftovers of runs that were killed."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webbmosaic.datasets import Workspace
from webbmosaic.errors import StorageError, UsageError
from webbmosaic.files.products import storage_problem, sweep

__all__ = ["only_run", "sweep_folder"]


@contextmanager
def only_run(workspace: Workspace) -> Iterator[None]:
    """
    Keep other runs out of a work folder.

    Parameters
    ----------
    workspace : Workspace

    Raises
    ------
    UsageError
        If another run is at work there.
    StorageError
        If the folder cannot be written.

    Notes
    -----
    A POSIX lock, which ends with its process however that ends, and which NFS honours.
    Where a file system knows no locks the run goes on without: files are complete
    whenever they appear, so two runs then do the same work, and harm nothing.
    """
    path = workspace.hidden / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise storage_problem(workspace.root, error) or StorageError(
            f"{path}: cannot be opened ({error.strerror})"
        ) from error
    with stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            stream.seek(0)
            who = stream.read().strip() or "another process"
            msg = (
                f"{workspace.root}: {who} is at work in this folder. Wait for it, or"
                " stop it; what it has finished is kept"
            )
            raise UsageError(msg) from error
        except OSError:
            yield  # a file system without locks
            return
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield


def sweep_folder(workspace: Workspace) -> int:
    """
    Remove what killed runs left under temporary names, in the whole work folder.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    count : int
    """
    folders = [workspace.root, workspace.hidden, workspace.flags]
    folders += [workspace.flags / "state", workspace.mosaics]
    homes = [workspace.folder(dataset) for dataset in workspace.datasets()]
    homes += [workspace.home(group) for group in _children(workspace.mosaics)]
    for home in homes:
        folders.append(home)
        folders += [home / name for name in _children(home)]
        folders.append(home / "state" / "failed")
    return sum(sweep(folder) for folder in folders)


def _children(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
