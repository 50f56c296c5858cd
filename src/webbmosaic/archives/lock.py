"""crds.lock: the context and reference files that may be used, with their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from webbmosaic import __version__
from webbmosaic.archives.reading import parse_json
from webbmosaic.errors import ReferenceFileError, StorageError
from webbmosaic.files.products import write_text

__all__ = ["FileStamp", "Hashes", "Lock", "changed", "read_lock", "stamp", "write_lock"]

_FORMAT = 1
_CONTEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\.pmap")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileStamp:
    """
    What a file was when it was locked.

    Attributes
    ----------
    size : int
        In bytes.
    sha256 : str
        64 hexadecimal digits.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class Lock:
    """
    The references that a work folder may use.

    Attributes
    ----------
    context : str
        The CRDS context, such as ``jwst_1293.pmap``.
    server : str
        The server that sizes and sha1 were compared with; empty: none, the cache alone.
    references, mappings : mapping of file name to FileStamp
    """

    context: str
    server: str
    references: Mapping[str, FileStamp] = field(default_factory=dict)
    mappings: Mapping[str, FileStamp] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, FileStamp]:
        """Mappings and references together."""
        return {**self.mappings, **self.references}


def write_lock(path: Path, lock: Lock) -> None:
    """
    Write a lock, atomically and sorted, so that two of them compare line by line.

    Parameters
    ----------
    path : `~pathlib.Path`
    lock : Lock

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    content: dict[str, object] = {
        "format": _FORMAT,
        "context": lock.context,
        "server": lock.server,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": f"webbmosaic {__version__}",
    }
    for section in ("references", "mappings"):
        stamps = sorted(getattr(lock, section).items())
        content[section] = {name: asdict(stamp) for name, stamp in stamps}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_lock(path: Path) -> Lock | None:
    """
    Read a lock.

    Parameters
    ----------
    path : `~pathlib.Path`

    Returns
    -------
    lock : Lock or None
        None where there is no file.

    Raises
    ------
    ReferenceFileError
        If the file is not a lock.
    """
    try:
        return _lock_of(parse_json(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}). Try: make it readable"
        raise ReferenceFileError(msg) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"{path}: is not a lock of reference files ({error!r}). Try: restore it, or"
            " delete it and run webbmosaic references"
        )
        raise ReferenceFileError(msg) from error


def _lock_of(content: Any) -> Lock:
    """Read a lock, and believe nothing in it that is not what it should be."""
    if content["format"] != _FORMAT:
        msg = f"format {content['format']}"
        raise ValueError(msg)
    context, server = content["context"], content["server"]
    if not isinstance(context, str) or not _CONTEXT.fullmatch(context):
        msg = f"context {context}"
        raise ValueError(msg)
    if not isinstance(server, str):
        msg = f"server {server}"
        raise TypeError(msg)
    references = {name: _stamp(name, s) for name, s in content["references"].items()}
    mappings = {name: _stamp(name, s) for name, s in content["mappings"].items()}
    return Lock(context, server, references, mappings)


def _stamp(name: str, content: Any) -> FileStamp:
    stamp = FileStamp(**content)
    size_is_one = type(stamp.size) is int and stamp.size >= 0
    hash_is_one = isinstance(stamp.sha256, str) and _SHA256.fullmatch(stamp.sha256)
    if not (_NAME.fullmatch(name) and size_is_one and hash_is_one):
        msg = f"file {name}: {content}"
        raise ValueError(msg)
    return stamp


class Hashes:
    """
    Hashes of big files, computed again only when a file was touched.

    A file counts as untouched while size, modification and change time are the same.

    Parameters
    ----------
    memory : `~pathlib.Path` or None
        Where known hashes are kept between processes; None: they are not. Losing it
        costs time only.
    """

    def __init__(self, memory: Path | None) -> None:
        self._memory = memory
        self._known: dict[str, dict[str, str]] = {}
        self._news = False
        if memory:
            with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
                known = parse_json(memory.read_bytes()).items()
                self._known = {
                    name: {str(key): str(value) for key, value in hashes.items()}
                    for name, hashes in known
                }

    def digest(self, path: Path, algorithm: str = "sha256") -> str:
        """
        Hash a file, or remember its hash.

        Parameters
        ----------
        path : `~pathlib.Path`
        algorithm : str
            ``sha256``, or ``sha1`` as CRDS servers tell it.

        Returns
        -------
        digest : str
            Hexadecimal digits.
        """
        status = path.stat()
        stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        known = self._known.get(str(path), {})
        if known.get("stamp") != stamp:
            known = self._known[str(path)] = {"stamp": stamp}
        if algorithm not in known:
            with path.open("rb") as stream:
                known[algorithm] = hashlib.file_digest(stream, algorithm).hexdigest()
            self._news = True
        return known[algorithm]

    def save(self) -> None:
        """Keep what is new for the next process, where that is possible."""
        if self._memory and self._news:
            with contextlib.suppress(StorageError):
                write_text(self._memory, json.dumps(self._known, indent=0) + "\n")
            self._news = False


def stamp(path: Path, hashes: Hashes) -> FileStamp:
    """Give the size and sha256 of a file."""
    return FileStamp(path.stat().st_size, hashes.digest(path))


def changed(path: Path, locked: FileStamp, hashes: Hashes) -> str:
    """
    Compare a file with the lock.

    Parameters
    ----------
    path : `~pathlib.Path`
    locked : FileStamp
    hashes : Hashes

    Returns
    -------
    difference : str
        What is wrong, with both sizes or both hashes; empty: nothing.
    """
    try:
        if not path.is_file():
            return f"{path.name} is missing, it should be {path}"
        return _difference(path, locked, hashes)
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror}), it is {path}"


def _difference(path: Path, locked: FileStamp, hashes: Hashes) -> str:
    size = path.stat().st_size
    if size != locked.size:
        return f"{path.name} has {size} bytes, but {locked.size} when it was locked"
    digest = hashes.digest(path)
    if digest != locked.sha256:
        return (
            f"{path.name} has sha256 {digest}, but {locked.sha256} when it was locked"
        )
    return ""
