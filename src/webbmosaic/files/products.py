"""Writing files so that being stopped is harmless."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from webbmosaic.errors import StorageError

__all__ = [
    "atomic",
    "scratch_folder",
    "sha256",
    "storage_problem",
    "sweep",
    "update_text",
    "write_text",
]

#: What to do about each way in which a disk refuses.
_DISK_PROBLEMS = {
    errno.ENOSPC: "Make room, and run it again",
    errno.EDQUOT: "Make room within your quota, and run it again",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), and run it again",
    errno.EROFS: "Mount it for writing, or work in another folder",
    errno.EACCES: "Ask its owner for permission to write, or work in another folder",
    errno.EPERM: "Ask its owner for permission to write, or work in another folder",
    errno.EEXIST: "Remove the file that stands where a folder is needed",
    errno.EISDIR: "Remove the folder that stands in its place",
    errno.ENOTDIR: "Remove the file that stands where a folder is needed",
    errno.ENOENT: "Make the folder, or choose another one",
    errno.ENAMETOOLONG: "Work in a folder with a shorter path",
}
#: Temporary names: process, machine, and the name that the file will have.
_TEMPORARY = re.compile(r"\.(?P<pid>\d+)-(?:(?P<host>[^-]*)@)?.")
#: What numpy and astropy say, without a number, of a disk that took only a part.
_SHORT_WRITE = re.compile(r"Not enough space|\d+ requested and \d+ written")


def _temporary(path: Path) -> Path:
    host = socket.gethostname().replace("-", "_")[:40]
    # Nobody can guess the last part, and so nobody can put a link there.
    mark = f"{os.getpid()}-{host}@{secrets.token_hex(4)}"
    return path.with_name(f".{mark}-{path.name}")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """
    Write a file under a temporary name and rename it when it is whole.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file to make; its folder is made too.

    Yields
    ------
    temporary : `~pathlib.Path`
        Where to write, on the same disk, with the same suffix. What is there when the
        block ends takes the place of ``path``; after an error it is removed.

    Raises
    ------
    StorageError
        If the disk is full or cannot be written, or a part of the path is no folder.
    """
    temporary = _temporary(path)
    try:
        with _said(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _said(path, temporary):
            yield temporary
        with _said(path):
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):  # which would hide the first error
            temporary.unlink(missing_ok=True)


@contextmanager
def _said(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Say what is wrong with the disk; of a writer's errors only those that are it."""
    try:
        yield
    except OSError as error:
        # A writer may also miss a file that it reads: that is not this disk's fault.
        ours = temporary is None or error.filename in (None, str(temporary))
        problem = storage_problem(path, error) if ours else None
        if problem is None:
            raise
        raise problem from error


def storage_problem(path: Path, error: OSError) -> StorageError | None:
    """
    Say what a disk refuses and what to do, where an error is of this kind.

    Parameters
    ----------
    path : `~pathlib.Path`
        What was to be written.
    error : OSError

    Returns
    -------
    problem : StorageError or None
    """
    code = error.errno
    if code is None and _SHORT_WRITE.search(str(error)):
        # astropy and numpy tell a full disk, a quota or a limit without a number
        advice = "Make room (df, quota, ulimit -f), and run it again"
        return StorageError(f"{path}: cannot be written (disk full). {advice}")
    if code not in _DISK_PROBLEMS:
        return None
    why = error.strerror or os.strerror(code or 0)
    return StorageError(f"{path}: cannot be written ({why}). {_DISK_PROBLEMS[code]}")


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """
    Give a temporary folder that `sweep` knows.

    Parameters
    ----------
    beside : `~pathlib.Path`
        A file; the folder is made where it stands, and removed at the end.

    Yields
    ------
    folder : `~pathlib.Path`
    """
    folder = _temporary(beside)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> int:
    """
    Remove what killed processes left in a folder under temporary names.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Its own entries only.

    Returns
    -------
    count : int
        Files and folders removed. Those of living processes of this machine stay, and
        those of other machines, where a job may still write them.
    """
    removed = 0
    try:
        found = [entry for entry in os.scandir(folder) if entry.name.startswith(".")]
    except OSError:
        return 0
    for entry in found:
        if not _is_left_over(entry.name):
            continue
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
            removed += 1
    return removed


def _is_left_over(name: str) -> bool:
    match = _TEMPORARY.match(name)
    if match is None:
        return name.startswith(".catalogue-")  # of version 0.1
    host = socket.gethostname().replace("-", "_")[:40]
    return match["host"] in (None, host) and not _is_alive(int(match["pid"]))


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # who sweeps writes nothing meanwhile
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def update_text(path: Path, text: str) -> None:
    """Write a text file atomically, unless it holds that text already."""
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_text(path, text)


def sha256(path: Path) -> str:
    """
    Hash a file.

    Parameters
    ----------
    path : `~pathlib.Path`

    Returns
    -------
    digest : str
        64 hexadecimal digits.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
