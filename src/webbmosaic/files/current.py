"""Whether a product is current: there, whole, and made from what it would be made from.

Files count by content, wherever they lie and whenever they were written.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webbmosaic.errors import StorageError
from webbmosaic.files.ledger import DONE, ENDINGS, GOOD, FileMark, Record, versions
from webbmosaic.files.products import sha256
from webbmosaic.settings_used import difference

__all__ = ["Contents", "Wanted", "refreshed", "why_stale"]

#: Files of the CRDS cache are named after their place in it.
_IN_CACHE = "crds:"


@dataclass(frozen=True)
class Wanted:
    """
    What a task would be made with now.

    Attributes
    ----------
    inputs, files, outputs : sequence of `~pathlib.Path`
    settings : mapping
        The fingerprint.
    context : str
        The CRDS context; empty where the stage uses none.
    """

    inputs: Sequence[Path]
    outputs: Sequence[Path] = ()
    files: Sequence[Path] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    context: str = ""


class Contents:
    """
    What files hold; each is looked at once, and hashed only if it was touched.

    Parameters
    ----------
    root : `~pathlib.Path`
        The work folder, to which paths in records are relative.
    full : bool, optional
        Hash every file, whatever its size and times say.
    """

    def __init__(self, root: Path, *, full: bool = False) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - links stay as they are
        self._prefix = f"{self.root}{os.sep}"
        home = os.environ.get("CRDS_PATH") or Path.home() / "crds_cache"
        self._cache = f"{os.path.abspath(home)}{os.sep}"  # noqa: PTH100
        self.full = full
        self._marks: dict[str, FileMark | None] = {}
        self._stats: dict[str, os.stat_result | None] = {}
        #: Marks of files that were touched and hold what they held.
        self.touched: dict[str, FileMark] = {}

    def name(self, path: Path) -> str:
        """Say where a file is, relative to the work folder or the CRDS cache."""
        text = os.path.abspath(path)  # noqa: PTH100 - a link inside is a name inside
        if text.startswith(self._prefix):
            return text[len(self._prefix) :]
        if text.startswith(self._cache):
            return _IN_CACHE + text[len(self._cache) :]
        return text

    def place(self, name: str) -> str:
        """Give the path of a file that a record names."""
        if name.startswith(_IN_CACHE):
            return self._cache + name[len(_IN_CACHE) :]
        return name if os.path.isabs(name) else self._prefix + name  # noqa: PTH117

    def _stat(self, place: str) -> os.stat_result | None:
        if place not in self._stats:
            try:
                self._stats[place] = os.stat(place)  # noqa: PTH116 - many of them
            except OSError:
                self._stats[place] = None
        return self._stats[place]

    def forget(self, paths: Iterable[Path]) -> None:
        """Look again at files that were made anew."""
        for path in paths:
            place = self.place(self.name(path))
            self._stats.pop(place, None)
            self._marks.pop(place, None)

    def is_there(self, name: str) -> bool:
        """Tell whether a file exists."""
        return self._stat(self.place(name)) is not None

    def size(self, name: str) -> int | None:
        """Give the size of a file in bytes; `None` where it does not exist."""
        found = self._stat(self.place(name))
        return None if found is None else found.st_size

    def mark(self, path: Path) -> FileMark:
        """
        Identify the content of a file as it is now.

        Parameters
        ----------
        path : `~pathlib.Path`

        Returns
        -------
        mark : FileMark

        Raises
        ------
        StorageError
            If the file may not be read.
        """
        name = self.name(path)
        now = path.stat()
        try:
            digest = sha256(path)
        except PermissionError as error:
            msg = f"{path}: cannot be read ({error.strerror}). Try: chmod u+r {path}"
            raise StorageError(msg) from error
        return FileMark(
            name, now.st_size, now.st_mtime_ns, digest, ctime_ns=now.st_ctime_ns
        )

    def holds(self, mark: FileMark) -> bool | None:
        """Tell whether a file holds what it held; `None` where it is not there."""
        place = self.place(mark.path)
        now = self._stat(place)
        if now is None:
            return None
        if now.st_size != mark.size:
            return False
        times = (mark.mtime_ns, mark.ctime_ns)
        if not self.full and (now.st_mtime_ns, now.st_ctime_ns) == times:
            return True
        if place not in self._marks:
            self._marks[place] = self._mark_or_none(place)
        found = self._marks[place]
        same = found is not None and found.sha256 == mark.sha256
        if same and found is not None:
            self.touched[mark.path] = dataclasses.replace(found, path=mark.path)
        return same

    def _mark_or_none(self, place: str) -> FileMark | None:
        try:
            return self.mark(Path(place))
        except (OSError, StorageError):
            return None

    def digest(self, path: Path) -> str:
        """Hash a file, once; empty where it cannot be read."""
        place = str(path)
        if place not in self._marks:
            self._marks[place] = self._mark_or_none(place)
        found = self._marks[place]
        return found.sha256 if found is not None else ""


def refreshed(record: Record, contents: Contents) -> Record | None:
    """
    Note the new times of files that were touched and hold what they held.

    Parameters
    ----------
    record : Record
    contents : Contents
        After `why_stale`.

    Returns
    -------
    record : Record or None
        `None` where there is nothing new.
    """
    touched = contents.touched
    known = (*record.inputs, *record.outputs, *record.files)
    if not any(m.path in touched for m in (*known, *record.references.values())):
        return None

    def new(marks: Iterable[FileMark]) -> list[FileMark]:
        return [touched.get(m.path, m) for m in marks]

    return dataclasses.replace(
        record,
        inputs=new(record.inputs),
        outputs=new(record.outputs),
        files=new(record.files),
        references={k: touched.get(m.path, m) for k, m in record.references.items()},
    )


def why_stale(record: Record | None, wanted: Wanted, contents: Contents) -> str | None:
    """
    Say why a task must be run, or `None` where its product is current.

    Parameters
    ----------
    record : Record or None
        Of the last success, or else of the last time.
    wanted : Wanted
        What the product would be made with now.
    contents : Contents

    Returns
    -------
    reason : str or None
        What a product was made from and is not there now is no reason: the product
        stands, and could not be made anyway.
    """
    if record is None:
        return "not done yet"
    if record.outcome not in GOOD:
        known = record.outcome in ENDINGS
        return f"{record.outcome} last time" if known else "its record is of no use"
    if record.versions != versions():
        return f"versions changed ({_first_difference(record.versions, versions())})"
    changed = difference(record.settings, wanted.settings)
    if changed:
        return f"settings changed ({changed})"
    if wanted.context and record.context and record.context != wanted.context:
        return f"CRDS context changed from {record.context} to {wanted.context}"
    return (
        _outputs_differ(record, wanted, contents)
        or _inputs_differ(record, wanted, contents)
        or _files_differ(record, wanted, contents)
        or _changed(record.references.values(), contents)
    )


def _outputs_differ(record: Record, wanted: Wanted, contents: Contents) -> str | None:
    if record.outcome != DONE or record.cleaned:
        return None
    made = {m.path for m in record.outputs}
    for path in wanted.outputs:
        if contents.name(path) not in made:
            return f"{path.name} is not made yet"
    for mark in record.outputs:
        held = contents.holds(mark)
        if not held:
            return f"{_file(mark)} {'is gone' if held is None else 'has changed'}"
    return None


def _inputs_differ(record: Record, wanted: Wanted, contents: Contents) -> str | None:
    before = {m.path: m for m in record.inputs}
    now = {contents.name(p): p for p in wanted.inputs}
    reason = _changed((before[n] for n in now.keys() & before.keys()), contents)
    if reason:
        return reason
    new = [p for n, p in now.items() if n not in before]
    lost = [m for n, m in before.items() if n not in now]
    hashes = Counter(contents.digest(p) for p in new)
    if hashes == Counter(m.sha256 for m in lost):
        return None
    if new and not lost:
        return f"{_names(p.name for p in new)} came new"
    if lost and not new:
        return f"{_names(_file(m) for m in lost)} left out now"
    return "other inputs than last time"


def _files_differ(record: Record, wanted: Wanted, contents: Contents) -> str | None:
    """Compare masks, templates and catalogues by what they hold, wherever they are."""
    before = {m.path: m for m in record.files}
    now = {contents.name(p): p for p in wanted.files}
    if now.keys() == before.keys():
        return _changed(before.values(), contents)
    if Counter(map(contents.digest, now.values())) == Counter(
        m.sha256 for m in record.files
    ):
        return None
    hashes = {m.sha256 for m in record.files}
    new = [p.name for p in now.values() if contents.digest(p) not in hashes]
    return f"{_names(new) if new else 'a mask, template or catalogue'} came or went"


def _changed(marks: Iterable[FileMark], contents: Contents) -> str | None:
    for mark in marks:
        if contents.holds(mark) is False:
            return f"{_file(mark)} has changed"
    return None


def _file(mark: FileMark) -> str:
    return mark.path.rpartition("/")[2]


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - 1} more" if listed[1:] else ""
    return f"{listed[0]}{more}"


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            return f"{key}: {old.get(key)} to {new.get(key)}"
    return "order"
