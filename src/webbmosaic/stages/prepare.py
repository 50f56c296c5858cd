"""Laying out raw ramps: one folder for each exposure, and the table of visits."""

from __future__ import annotations

import csv
import filecmp
import io
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from webbmosaic.datasets import (
    IMAGING_EXPOSURES,
    Dataset,
    Wanted,
    Workspace,
    effective_filter,
    find_dataset_name,
)
from webbmosaic.errors import InputError, UsageError
from webbmosaic.files.headers import Header, scan_headers
from webbmosaic.files.products import atomic, write_text

__all__ = ["LaidOut", "find_uncals", "lay_out", "write_visit_table"]

#: Compressed ones are found to be told.
_RAMPS = ("*_uncal.fits", "*_uncal.fits.gz")

_COLUMNS = (
    *("group_id", "group_size", "dataset_name", "proposal_id", "obs_num", "visit_num"),
    *("instrument", "filter", "detector", "parallel", "ra_v1", "dec_v1", "pa_v3"),
    *("obs_date", "exposure_time", "s_region"),
)


@dataclass(frozen=True)
class LaidOut:
    """
    What was done with the files found.

    Attributes
    ----------
    laid_out, there : list of Dataset
        New, and already in their place.
    left_out : dict
        File -> reason; no human needs to look.
    problems : dict
        File -> sentence; it is broken.
    """

    laid_out: list[Dataset]
    there: list[Dataset]
    left_out: dict[Path, str]
    problems: dict[Path, str]


def find_uncals(sources: Iterable[Path]) -> list[Path]:
    """
    Find raw ramps in files and folders.

    Parameters
    ----------
    sources : iterable of `~pathlib.Path`
        Files, or folders that are searched to any depth (a MAST download folder).

    Returns
    -------
    paths : list of `~pathlib.Path`
        Sorted.

    Raises
    ------
    UsageError
        If a source does not exist, or there is no ``_uncal.fits`` at all.
    """
    found: set[Path] = set()
    sources = list(sources)
    for source in sources:
        if source.is_dir():
            # Hidden files are what a killed download or simulation left behind.
            ramps = (p for name in _RAMPS for p in source.rglob(name))
            found.update(p for p in ramps if not p.name.startswith("."))
        elif source.exists():
            found.add(source)
        else:
            msg = f"{source}: no such file or folder"
            raise UsageError(msg)
    if not found:
        msg = f"no *_uncal.fits in {', '.join(map(str, sources))}"
        raise UsageError(msg)
    return sorted(found)


def lay_out(
    paths: Iterable[Path],
    workspace: Workspace,
    wanted: Wanted,
    *,
    copy: bool = False,
    dry_run: bool = False,
) -> LaidOut:
    """
    Give each imaging exposure its folder.

    Parameters
    ----------
    paths : iterable of `~pathlib.Path`
        ``_uncal.fits`` files.
    workspace : Workspace
    wanted : Wanted
    copy : bool, optional
        Copy instead of link.
    dry_run : bool, optional
        Only say what would be done.

    Returns
    -------
    result : LaidOut
    """
    result = LaidOut([], [], {}, {})
    named: dict[Path, Dataset] = {}
    for path in paths:
        dataset = find_dataset_name(path.name)
        unfit = _no_plain_file(path)
        if dataset is None:
            result.left_out[path] = "the name is not one of an exposure reduced here"
        elif unfit:
            result.problems[path] = unfit
        else:
            named[path] = dataset
    named = _one_each(named, result)
    headers, problems = scan_headers(named)
    result.problems.update({path: str(error) for path, error in problems.items()})
    for path, header in headers.items():
        dataset = named[path]
        reason = _why_not(wanted, dataset, header)
        if reason is not None:
            result.left_out[path] = reason
        elif _place(path, workspace.uncal(dataset), copy=copy, dry_run=dry_run):
            result.laid_out.append(dataset)
        else:
            result.there.append(dataset)
    return result


def _no_plain_file(path: Path) -> str:
    """Say what a path is, if not a file that can be read as it stands."""
    if path.is_symlink() and not path.exists():
        return f"{path}: is a link to a file that is gone. Try: download it again"
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        return f"{path}: is {kind}, not a file of raw ramps"
    if path.suffix == ".gz":
        return f"{path}: is compressed. Try: gunzip {path}, then prepare again"
    return ""


def _one_each(named: dict[Path, Dataset], result: LaidOut) -> dict[Path, Dataset]:
    """Keep one file of each dataset; two that differ are a problem, whichever wins."""
    files: dict[Dataset, list[Path]] = {}
    for path, dataset in named.items():
        files.setdefault(dataset, []).append(path)
    kept: dict[Path, Dataset] = {}
    for dataset, paths in files.items():
        first, *others = paths
        other = next((p for p in others if not _same_content(first, p)), None)
        if other is not None:
            result.problems[first] = (
                f"{dataset}: two files of it differ: {first} and {other}. Give one of"
                " them"
            )
            continue
        kept[first] = dataset
        result.left_out.update(
            {p: f"there twice, with the same content: {first}" for p in others}
        )
    return kept


def _same_content(one: Path, two: Path) -> bool:
    try:
        return one.samefile(two) or filecmp.cmp(one, two, shallow=False)
    except OSError:
        return False


def _why_not(wanted: Wanted, dataset: Dataset, header: Header) -> str | None:
    """Say why an exposure is left out, or `None` where it is wanted."""
    kind = header.get("EXP_TYPE")
    if kind not in IMAGING_EXPOSURES:
        return f"EXP_TYPE is {kind}, not imaging"
    name = effective_filter(str(header.get("FILTER")), str(header.get("PUPIL")))
    return wanted.why_not(dataset, name)


def _place(source: Path, target: Path, *, copy: bool, dry_run: bool) -> bool:
    """Link or copy a file; say whether anything had to be done."""
    linked = target.is_symlink()
    if target.exists() and not (copy and linked) and _same_content(source, target):
        return False
    if dry_run:
        return True
    if copy:
        with atomic(target) as temporary:
            shutil.copy2(source, temporary)
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
    return True


def write_visit_table(workspace: Workspace) -> int:
    """
    Write the table of all exposures of a work folder, sorted by visit.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    rows : int

    Raises
    ------
    InputError
        If there is no readable exposure.

    Notes
    -----
    Groups are the mosaics of stage 3: program, observation, instrument and filter,
    whichever wheel the filter is in.
    """
    paths = {workspace.uncal(d): d for d in workspace.datasets()}
    headers, _ = scan_headers([p for p in paths if p.exists()])
    if not headers:
        msg = f"{workspace.root}: no readable exposure. Try: webbmosaic prepare"
        raise InputError(msg)
    rows = sorted((_row(paths[p], h) for p, h in headers.items()), key=_order)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_numbered(rows))
    write_text(workspace.visit_table, text.getvalue())
    return len(rows)


def _row(dataset: Dataset, header: Header) -> dict[str, object]:
    name = effective_filter(str(header.get("FILTER")), str(header.get("PUPIL")))
    return {
        "dataset_name": str(dataset),
        "proposal_id": dataset.program,
        "obs_num": dataset.observation,
        "visit_num": dataset.visit,
        "instrument": dataset.instrument,
        "filter": name,
        "detector": dataset.detector,
        "parallel": dataset.sequence,
        "ra_v1": header.get("RA_V1", ""),
        "dec_v1": header.get("DEC_V1", ""),
        "pa_v3": header.get("PA_V3", ""),
        "obs_date": f"{header.get('DATE-OBS')}T{header.get('TIME-OBS')}",
        "exposure_time": header.get("EFFEXPTM", ""),
        "s_region": header.get("S_REGION", ""),
    }


def _order(row: dict[str, object]) -> tuple[str, ...]:
    keys = ("proposal_id", "obs_num", "visit_num", "parallel", "instrument", "filter")
    return tuple(str(row[key]) for key in (*keys, "detector", "dataset_name"))


def _numbered(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    keys = [
        tuple(row[k] for k in ("proposal_id", "obs_num", "instrument", "filter"))
        for row in rows
    ]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys), 1)}
    return [
        {"group_id": numbers[key], "group_size": keys.count(key), **row}
        for key, row in zip(keys, rows, strict=True)
    ]
