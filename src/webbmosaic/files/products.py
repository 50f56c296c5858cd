"""Writing files so that being stopped is harmless."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        If the disk is full or cannot be written, or a part of the path is no folder.
    """
    # Nobody can guess the name, and so nobody can put a link there.
    temporary = path.with_name(f".{secrets.token_hex(6)}-{path.name}")
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


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def _said(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Say what is wrong with the disk; of a writer's errors only those that are it."""
    try:
        yield
    except OSError as error:
        # astropy tells a full disk by an OSError of its own, without a number.
        full = error.errno in _FULL or str(error).startswith("Not enough space")
        refused = error.filename is None and error.errno in _REFUSED
        ours = temporary is None or error.filename == str(temporary)
        if not (full or refused or ours):
            raise
        why = error.strerror or "disk full"
        advice = "Make room" if full else "Choose another folder"
        msg = f"{path}: cannot be written ({why}). {advice}, and run it again"
        raise StorageError(msg) from error


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
