"""What is remembered of downloads: size, hash, address and time of each file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from webbmosaic.archives.reading import parse_json

__all__ = ["LAYOUT", "Record", "append", "journal", "read_records"]

#: Where downloads lie below the folder given, as astroquery and the portal have it.
LAYOUT = Path("mastDownload", "JWST")


@dataclass(frozen=True)
class Record:
    """
    What is remembered of a download, one line each in ``downloads.jsonl``.

    Attributes
    ----------
    path : str
        Relative to ``mastDownload/JWST``.
    size : int
        Bytes.
    sha256 : str
        64 hexadecimal digits.
    modified : int
        Modification time, nanoseconds: a file with another one is looked at again.
    url, fetched : str
        From where (empty: fetched by another program), and when (ISO 8601, UTC).
    """

    path: str
    size: int
    sha256: str
    modified: int
    url: str
    fetched: str


def read_records(folder: Path) -> dict[str, Record]:
    """
    Read what was downloaded into a folder.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The download folder.

    Returns
    -------
    records : dict
        Path relative to ``mastDownload/JWST`` -> the newest Record. Lines that are
        none are passed over, and so is a journal that cannot be read: without records
        files are looked at again, which costs time only.
    """
    try:
        lines = journal(folder).read_bytes().splitlines()
    except OSError:
        return {}
    records = (_record(line) for line in lines)
    return {record.path: record for record in records if record}


def _record(line: bytes) -> Record | None:
    try:
        record = Record(**parse_json(line))
    except (ValueError, TypeError):
        return None
    kinds = {"path": str, "size": int, "sha256": str, "modified": int}
    good = all(isinstance(getattr(record, k), kind) for k, kind in kinds.items())
    return record if good else None


def journal(folder: Path) -> Path:
    """Name the file of records of a download folder."""
    return folder / LAYOUT / "downloads.jsonl"


def append(path: Path, line: str) -> None:
    """
    Add a line to a file, but not to what a link points to.

    Parameters
    ----------
    path : `~pathlib.Path`
    line : str

    Raises
    ------
    OSError
        If it cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8") as out:
        out.write(line)
