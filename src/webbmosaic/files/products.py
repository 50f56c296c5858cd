"""Writing files so that being stopped is harmless."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webbmosaic.errors import StorageError

__all__ = ["atomic", "sha256", "write_text"]


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
        If the disk is full or cannot be written.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        # astropy tells a full disk by an OSError of its own, without a number.
        full = error.errno is None and str(error).startswith("Not enough space")
        if full or error.errno in _DISK_PROBLEMS:
            why = error.strerror or "disk full"
            msg = f"{path}: cannot be written ({why}). Make room, and run it again"
            raise StorageError(msg) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


_DISK_PROBLEMS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
