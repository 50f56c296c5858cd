"""The ledger: one record beside each product of what was done, with what, and how.

A record is one JSON file, written after its product. A product is *current* when it is
there with the recorded hash and nothing that it was made from has changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from webbmosaic.files.products import sha256, write_text

__all__ = [
    "DONE",
    "ENDINGS",
    "FileMark",
    "Record",
    "Result",
    "mark",
    "read_record",
    "versions",
    "why_stale",
    "write_record",
]

DONE = "done"
#: Every way a task ends. Skipped and unusable need no human.
ENDINGS = (DONE, "skipped", "unusable", "failed", "blocked")

#: Packages whose version can change a product.
_PACKAGES = ("webbmosaic", "jwst", "stcal", "stdatamodels", "drizzle", "tweakwcs")


@dataclass(frozen=True)
class FileMark:
    """
    What identifies the content of a file.

    Attributes
    ----------
    path : str
        Absolute.
    size : int
        In bytes.
    mtime_ns : int
        Time of the last change; equal size and time stand for equal content.
    sha256 : str
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str

    def why_changed(self) -> str | None:
        """Say how the file differs from the mark, or `None` where it does not."""
        try:
            now = Path(self.path).stat()
        except FileNotFoundError:
            return f"{Path(self.path).name} is gone"
        if (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns):
            return None
        if now.st_size == self.size and sha256(Path(self.path)) == self.sha256:
            return None
        return f"{Path(self.path).name} has changed"


def mark(path: Path) -> FileMark:
    """Identify the content of a file as it is now."""
    real = path.resolve()
    now = real.stat()
    return FileMark(str(real), now.st_size, now.st_mtime_ns, sha256(real))


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
    settings : dict
        ``{section: {key: value}}`` of every section that matters to this stage.
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
    log : str
    host : str
    """

    stage: str
    owner: str
    outcome: str
    sentence: str = ""
    inputs: list[FileMark] = field(default_factory=list)
    outputs: list[FileMark] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
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
    log: str = ""
    host: str = ""


def versions() -> dict[str, str]:
    """Give the version of every package that can change a product, and our sources'."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return found | {"webbmosaic sources": _sources()}


@cache
def _sources() -> str:
    """Identify the code that decides on pixels: a checkout changes, its version not."""
    package = Path(__file__).parents[1]
    content = hashlib.sha256()
    for folder in ("science", "stages"):
        for path in sorted((package / folder).glob("*.py")):
            content.update(path.read_bytes())
    return content.hexdigest()[:12]


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically."""
    write_text(path, json.dumps(dataclasses.asdict(record), indent=1) + "\n")


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
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        for name in ("inputs", "outputs"):
            fields[name] = [FileMark(**m) for m in fields[name]]
        fields["references"] = {
            k: FileMark(**m) for k, m in fields["references"].items()
        }
        return Record(**fields)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def why_stale(
    record: Record | None,
    inputs: Iterable[Path],
    settings: Mapping[str, Any],
    *,
    context: str,
) -> str | None:
    """
    Say why a task must be run, or `None` where its product is current.

    Parameters
    ----------
    record : Record or None
        Of the last time.
    inputs : iterable of `~pathlib.Path`
        What the task would read now.
    settings : mapping
        ``{section: {key: value}}`` as they are now.
    context : str
        The CRDS context as it is now; empty where the stage uses none.

    Returns
    -------
    reason : str or None
    """
    if record is None:
        return "not done yet"
    if record.outcome in ("failed", "blocked"):
        return f"{record.outcome} last time"
    paths = [str(p.resolve()) for p in inputs]
    if sorted(paths) != sorted(m.path for m in record.inputs):
        return "other inputs than last time"
    if record.settings != dict(settings):
        return f"settings changed ({_first_difference(record.settings, settings)})"
    if record.versions != versions():
        return f"versions changed ({_first_difference(record.versions, versions())})"
    if context and record.context and record.context != context:
        return f"CRDS context changed from {record.context} to {context}"
    marks = (*record.inputs, *record.references.values(), *record.outputs)
    return next((why for m in marks if (why := m.why_changed())), None)


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            return f"{key}.{_first_difference(before, after)}"
        return f"{key}: {before} to {after}"
    return "order"
