"""What there is to do in a work folder, and the tables of what was made."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from webbmosaic.archives.headers import read_header, scan_headers
from webbmosaic.datasets import (
    IMAGING_EXPOSURES,
    Dataset,
    Workspace,
    effective_filter,
)
from webbmosaic.errors import UsageError
from webbmosaic.files.ledger import Record, read_record
from webbmosaic.files.products import write_text
from webbmosaic.run.plan import Exposure, group_exposures, plan, plan_mosaic
from webbmosaic.run.tasks import Task
from webbmosaic.settings import Grouping, Settings

__all__ = [
    "find_exposures",
    "folder_records",
    "folder_tasks",
    "mosaic_task",
    "write_tables",
]

_COLUMNS = {
    "program": "PROGRAM",
    "obs_num": "OBSERVTN",
    "target_group": "TARGPROP",
    "target_name": "TARGNAME",
    "target_RA": "TARG_RA",
    "target_Dec": "TARG_DEC",
    "instrument": "INSTRUME",
    "visit_num": "VISIT",
    "visit_group": "VISITGRP",
    "seq_id": "SEQ_ID",
    "act_id": "ACT_ID",
    "exposure": "EXPOSURE",
    "filter": "FILTER",
    "pupil": "PUPIL",
}


def find_exposures(
    workspace: Workspace, names: Iterable[str], *, first: str
) -> list[Exposure]:
    """
    Find the exposures to reduce.

    Parameters
    ----------
    workspace : Workspace
    names : iterable of str
        Dataset names, or their folders; none means all in the work folder.
    first : str
        The first stage to be run: headers are read from what it reads, or, where that
        is not there (yet), from the nearest product.

    Returns
    -------
    exposures : list of Exposure

    Raises
    ------
    UsageError
        If a name is no dataset, has no folder, or there is none at all.
    """
    names = list(names)
    datasets = [Dataset.parse(Path(n).name) for n in names] or workspace.datasets()
    for dataset in datasets:
        if not workspace.folder(dataset).is_dir():
            msg = f"{dataset}: has no folder in {workspace.root}"
            raise UsageError(msg)
    if not datasets:
        msg = (
            f"{workspace.root}: holds no dataset. Try: webbmosaic prepare SOURCE -C"
            f" {workspace.root}"
        )
        raise UsageError(msg)
    kinds = (workspace.uncal, workspace.rate, workspace.cal)
    order = {"stage1": (0, 1, 2), "stage2": (1, 2, 0), "stage3": (2, 1, 0)}[first]
    sources = {}
    for dataset in datasets:
        candidates = (kinds[index](dataset) for index in order)
        sources[dataset] = next((p for p in candidates if p.exists()), None)
    headers, _ = scan_headers([p for p in sources.values() if p is not None])
    return [
        Exposure(dataset, headers.get(path, {}) if path else {})
        for dataset, path in sources.items()
    ]


def folder_tasks(
    workspace: Workspace,
    names: Iterable[str],
    settings: Settings,
    *,
    stages: tuple[str, ...],
    context: str,
) -> list[Task]:
    """
    List the tasks of some stages for a work folder.

    Parameters
    ----------
    workspace : Workspace
    names : iterable of str
        Dataset names; none means all.
    settings : Settings
    stages : tuple of str
    context : str
        The CRDS context.

    Returns
    -------
    tasks : list of Task
    """
    exposures = find_exposures(workspace, names, first=stages[0])
    return plan(workspace, exposures, settings, stages=stages, context=context)


def mosaic_task(
    cals: Iterable[Path],
    output: Path,
    settings: Settings,
    *,
    extra_types: tuple[str, ...] = (),
) -> Task:
    """
    Make the task of one mosaic of any calibrated exposures.

    Parameters
    ----------
    cals : iterable of `~pathlib.Path`
    output : `~pathlib.Path`
        A FITS file to make, or a folder for it.
    settings : Settings
    extra_types : tuple of str, optional
        Exposure types that are accepted besides those of imaging.

    Returns
    -------
    task : Task

    Raises
    ------
    InputError
        If a file is broken.
    UsageError
        If a file is no image of an exposure type that is accepted.
    """
    accepted = (*IMAGING_EXPOSURES, *(t.upper() for t in extra_types))
    cals = sorted(cals)
    members = []
    for path in cals:
        header = read_header(path)
        if header.get("EXP_TYPE") not in accepted:
            kind = header.get("EXP_TYPE")
            msg = f"{path}: EXP_TYPE is {kind}; accept it with --exp-type {kind}"
            raise UsageError(msg)
        members.append(Exposure(Dataset.parse(path.name), header))
    if not output.name.endswith(".fits"):
        group = next(iter(group_exposures(members, Grouping(combine_programs=True))))
        output = output / f"{group}_i2d.fits"
    context = os.environ.get("CRDS_CONTEXT", "")
    return replace(plan_mosaic(cals, output, members, settings), context=context)


def write_tables(workspace: Workspace, tasks: Iterable[Task]) -> None:
    """
    Write ``list_obs.csv`` and ``mosaic_info_table.*`` of the mosaics there are.

    Parameters
    ----------
    workspace : Workspace
    tasks : iterable of Task
        Those of stage 3 are listed, where their mosaic exists.
    """
    mosaics = {
        task.outputs[0]: [p for p in task.inputs if p.exists()]
        for task in tasks
        if task.stage == "stage3" and task.outputs[0].exists()
    }
    if not mosaics:
        return
    cals = sorted({p for members in mosaics.values() for p in members})
    headers, _ = scan_headers(cals)
    rows = [_row(headers[p], p) for p in cals if p in headers]
    base = workspace.mosaics / "mosaic_info_table"
    write_text(base.with_suffix(".csv"), _as_csv(rows))
    write_text(workspace.mosaics / "list_obs.csv", _as_csv(rows))
    write_text(base.with_suffix(".txt"), _as_text(rows))
    listing = {str(k): [str(p.resolve()) for p in v] for k, v in mosaics.items()}
    write_text(base.with_suffix(".json"), json.dumps(listing, indent=1) + "\n")
    write_text(base.with_suffix(".out"), "".join(f"{path}\n" for path in mosaics))


def _row(header: Any, path: Path) -> dict[str, str]:
    row = {name: str(header.get(key, "")) for name, key in _COLUMNS.items()}
    row["filter"] = effective_filter(row["filter"], row["pupil"])
    return {**row, "file_path": str(path)}


def _as_csv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _as_text(rows: list[dict[str, str]]) -> str:
    """Columns of fixed width, the names behind a #, blanks quoted."""
    cells = [list(rows[0]), *([_quoted(v) for v in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells
    ]
    return "\n".join([f"# {lines[0]}", *(f"  {line}" for line in lines[1:])]) + "\n"


def _quoted(value: str) -> str:
    return f'"{value}"' if not value or " " in value else value


def folder_records(workspace: Workspace) -> list[tuple[str, str, Record | None]]:
    """
    List what is known of every stage of every dataset and group of a work folder.

    Parameters
    ----------
    workspace : Workspace

    Returns
    -------
    records : list of tuple
        Stage, owner, and its record, or `None` where it was not tried yet.
    """
    records: list[tuple[str, str, Record | None]] = []
    for dataset in workspace.datasets():
        for stage in ("stage1", "stage2"):
            record = read_record(workspace.record(dataset, stage))
            records.append((stage, str(dataset), record))
    for group in workspace.groups():
        record = read_record(workspace.record(group, "stage3"))
        records.append(("stage3", group, record))
    return records
