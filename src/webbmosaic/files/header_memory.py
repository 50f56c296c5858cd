"""Headers of exposures, remembered: a second look at 13,000 of them takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from webbmosaic.errors import InputError, StorageError
from webbmosaic.files.headers import NEEDED_KEYWORDS, Header, scan_headers
from webbmosaic.files.products import atomic

__all__ = ["HeaderMemory"]

#: What planning and tables read of a header.
_KEPT = frozenset(
    (
        *NEEDED_KEYWORDS,
        *("EXP_TYPE", "PUPIL", "EXPSTART", "EXPEND", "NINTS", "PROGRAM", "OBSERVTN"),
        *("TARGPROP", "TARGNAME", "TARG_RA", "TARG_DEC", "VISIT", "VISITGRP", "SEQ_ID"),
        *("ACT_ID", "EXPOSURE", "CHANNEL", "MODULE", "BAND"),
    )
)


@dataclass(frozen=True)
class _Known:
    stamp: tuple[int, int, int]
    header: Header


class HeaderMemory:
    """
    Headers that were read before, by path, size and both times of a file.

    Parameters
    ----------
    path : `~pathlib.Path`
        Where they are kept. Losing it costs time only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, _Known] = {}
        try:
            self._known = msgspec.json.decode(path.read_bytes(), type=dict[str, _Known])
        except (OSError, msgspec.DecodeError):
            self._known = {}

    def scan(
        self, paths: Iterable[Path]
    ) -> tuple[dict[Path, Header], dict[Path, InputError]]:
        """
        Read the headers of many exposures, whatever is wrong with some of them.

        Parameters
        ----------
        paths : iterable of `~pathlib.Path`

        Returns
        -------
        headers : dict of path to header
            The usable files, with the keywords that planning needs.
        problems : dict of path to InputError
            The others.
        """
        paths = list(paths)
        stamps = {path: _stamp(path) for path in paths}
        new = [p for p in paths if not self._knows(p, stamps[p])]
        found, problems = scan_headers(new)
        for path, header in found.items():
            kept = {k: v for k, v in header.items() if k in _KEPT}
            stamp = stamps[path]
            if stamp is not None:
                self._known[str(path)] = _Known(stamp, kept)
        if found:
            self._save()
        headers = {p: self._known[str(p)].header for p in paths if p not in problems}
        return headers, problems

    def _knows(self, path: Path, stamp: tuple[int, int, int] | None) -> bool:
        known = self._known.get(str(path))
        return known is not None and known.stamp == stamp

    def _save(self) -> None:
        try:
            with atomic(self._path) as temporary:
                temporary.write_bytes(msgspec.json.encode(self._known))
        except (OSError, StorageError):
            return  # it is only faster with it


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        now = os.stat(path)  # noqa: PTH116 - many of them
    except OSError:
        return None
    return now.st_size, now.st_mtime_ns, now.st_ctime_ns
