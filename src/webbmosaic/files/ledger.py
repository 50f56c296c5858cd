"""The ledger: one record beside each product of what was done, with what, and how.

A record is one JSON file, written after its product. A product is *current* when it is
there with the recorded hash and nothing that reaches its pixels has changed. A failure
never erases the record of a product that still stands: it is kept beside it, in
``state/failed``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from webbmosaic.errors import StorageError
from webbmosaic.files.products import update_text, write_text

__all__ = [
    "DONE",
    "ENDINGS",
    "GOOD",
    "FileMark",
    "Record",
    "Result",
    "failure_beside",
    "forget_failure",
    "keep",
    "last_record",
    "note_times",
    "read_record",
    "versions",
    "write_record",
]

DONE = "done"
#: Endings that stay true until something changes. Skipped and unusable need no human.
GOOD = (DONE, "skipped", "unusable")
#: Every way a task ends.
ENDINGS = (*GOOD, "failed", "blocked")

#: Packages whose version can change a product.
_PACKAGES = (
    *("webbmosaic", "jwst", "stcal", "stdatamodels", "stpipe", "drizzle", "tweakwcs"),
    *("gwcs", "numpy", "scipy", "astropy", "photutils"),
)


@dataclass(frozen=True)
class FileMark:
    """
    What identifies the content of a file.

    Attributes
    ----------
    path : str
        Relative to the work folder, or for a reference to the CRDS cache, where it is
        in there; else absolute.
    size : int
        In bytes.
    mtime_ns, ctime_ns : int
        Times of the last change of content and of status. While size and both times are
        the same, the content is not looked at again.
    sha256 : str
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    ctime_ns: int = 0


@dataclass(frozen=True)
class Result:
    """
    What a stage hands back.

    Attributes
    ----------
    numbers : dict
        What was measured, for the report: plain numbers, texts and lists of them.
    references : dict
        Reference type -> file name, of every CRDS reference used.
    context : str
        The CRDS context.
    outputs : tuple of `~pathlib.Path`
        Files written besides those asked for.
    notes : tuple of str
        Sentences for the user that are no failure.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    context: str = ""
    outputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """
    What was done, with what, and how it ended.

    Attributes
    ----------
    stage, owner : str
        Such as ``stage1`` and a dataset or group name.
    outcome : str
        One of `ENDINGS`.
    sentence : str
        Why, unless it is done.
    inputs, outputs : list of FileMark
    files : list of FileMark
        Further files whose content decides: masks, templates, catalogues.
    settings : dict
        ``{section: {key: value}}`` of what reaches the pixels.
    overrides : dict
        ``section.key`` -> value, of settings from the command line.
    versions : dict
        Package -> version.
    context : str
        The CRDS context.
    references : dict
        Reference type -> `FileMark` of the file.
    numbers : dict
        What was measured.
    notes : list of str
    started, finished : str
        ISO 8601, UTC.
    seconds, cpu_seconds : float
    peak_memory_mb : float
    predicted_mb : float
        What was expected.
    over_memory : bool
        Whether it was stopped for want of memory.
    cleaned : bool
        Whether the outputs were removed knowingly; they are made again when needed.
    log : str
    host : str
    job : str
        Of the scheduler, where there was one.
    """

    stage: str
    owner: str
    outcome: str
    sentence: str = ""
    inputs: list[FileMark] = field(default_factory=list)
    outputs: list[FileMark] = field(default_factory=list)
    files: list[FileMark] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    context: str = ""
    references: dict[str, FileMark] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    started: str = ""
    finished: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    predicted_mb: float = 0.0
    over_memory: bool = False
    cleaned: bool = False
    log: str = ""
    host: str = ""
    job: str = ""


@cache
def versions() -> dict[str, str]:
    """Give the version of every package that can change a product, and our sources'."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return found | {"webbmosaic sources": _sources()}


def _sources() -> str:
    """Identify the code that decides on pixels: a checkout changes, its version not."""
    package = Path(__file__).parents[1]
    content = hashlib.sha256()
    for folder in ("science", "stages"):
        for path in sorted((package / folder).rglob("*.py")):
            content.update(path.read_bytes())
    return content.hexdigest()[:12]


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically."""
    write_text(path, _as_json(record))


def _as_json(record: Record) -> str:
    return msgspec.json.format(msgspec.json.encode(record), indent=1).decode() + "\n"


_decode = msgspec.json.Decoder(Record).decode


def read_record(path: Path) -> Record | None:
    """
    Read a record.

    Parameters
    ----------
    path : `~pathlib.Path`

    Returns
    -------
    record : Record or None
        `None` where there is no record, or none that can be understood: the work is
        then done again.

    Raises
    ------
    StorageError
        If there is one and it may not be read.
    """
    try:
        # Plain os calls: a programme has tens of thousands of records.
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
            return _decode(stream.readall())
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    except OSError as error:
        why = error.strerror
        msg = f"{path}: cannot be read ({why}). Try: chmod u+rw {path}, or remove it"
        raise StorageError(msg) from error


def failure_beside(path: Path) -> Path:
    """Name the record of a failure that came after the success recorded in ``path``."""
    return path.parent / "failed" / path.name


def last_record(path: Path) -> Record | None:
    """
    Read how a task ended last, be it a success or a failure after one.

    Parameters
    ----------
    path : `~pathlib.Path`
        Of its record.

    Returns
    -------
    record : Record or None
    """
    return read_record(failure_beside(path)) or read_record(path)


def keep(path: Path, record: Record) -> None:
    """
    Record how a task ended, and never a failure in place of a success.

    Parameters
    ----------
    path : `~pathlib.Path`
        Of its record.
    record : Record

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    beside = failure_beside(path)
    if record.outcome in GOOD:
        write_record(path, record)
        forget_failure(path)
        return
    before = read_record(path)
    stands = before is not None and before.outcome in GOOD
    write_record(beside if stands else path, record)


def forget_failure(path: Path) -> None:
    """Remove the record of a failure that is over, where there is one."""
    beside = failure_beside(path)
    try:
        beside.unlink(missing_ok=True)
        if beside.parent.is_dir() and not any(beside.parent.iterdir()):
            beside.parent.rmdir()
    except OSError:
        return  # of a folder that only others may write to; status tells it as it is


def note_times(path: Path, record: Record) -> None:
    """Write a record again with new times of its files, if that may be done."""
    try:
        update_text(path, _as_json(record))
    except StorageError:
        return  # it costs time at the next run, and nothing else
