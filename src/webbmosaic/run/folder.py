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

from webbmosaic.datasets import (
    ALL,
    IMAGING_EXPOSURES,
    Dataset,
    Wanted,
    Workspace,
    effective_filter,
)
from webbmosaic.errors import UsageError
from webbmosaic.files.headers import read_header, scan_headers
from webbmosaic.files.ledger import Record, read_record
from webbmosaic.files.products import write_text
from webbmosaic.run.exposures import Exposure, ExtraInputs
from webbmosaic.run.plan import group_exposures, is_exposure, plan, plan_mosaic
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


_EXPOSURE = ("program", "obs_num", "visit_num", "visit_group", "seq_id", "act_id",
             "exposure")  # fmt: skip
_SHARED = ("program", "obs_num", "visit_num", "target_name", "instrument", "filter")


def find_exposures(
    workspace: Workspace, names: Iterable[str], *, first: str
) -> list[Exposure]:
    """
    Find the exposures to reduce.

    Parameters
    ----------
    workspace : Workspace
    names : iterable of str
        Dataset names, their folders, or ``_cal.fits`` files from anywhere; none means
        all in the work folder.
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
    given = [_given(name) for name in names]
    found = given or [(dataset, None) for dataset in workspace.datasets()]
    if not found:
        msg = (
            f"{workspace.root}: holds no dataset. Try: webbmosaic prepare SOURCE -C"
            f" {workspace.root}"
        )
        raise UsageError(msg)
    sources = {
        dataset: cal or _nearest(workspace, dataset, first) for dataset, cal in found
    }
    headers, _ = scan_headers([p for p in sources.values() if p is not None])
    return [
        Exposure(dataset, headers.get(sources[dataset] or Path(), {}), cal)
        for dataset, cal in found
    ]


def _given(name: str) -> tuple[Dataset, Path | None]:
    path = Path(name)
    is_cal = name.endswith("_cal.fits")
    if is_cal and not path.is_file():
        msg = f"{path}: no such file"
        raise UsageError(msg)
    return Dataset.parse(path.name), path if is_cal else None


def _nearest(workspace: Workspace, dataset: Dataset, first: str) -> Path | None:
    """Find the product from which the header is read."""
    if not workspace.folder(dataset).is_dir():
        msg = f"{dataset}: has no folder in {workspace.root}"
        raise UsageError(msg)
    kinds = (workspace.uncal, workspace.rate, workspace.cal)
    order = {"stage1": (0, 1, 2), "stage2": (1, 2, 0), "stage3": (2, 1, 0)}[first]
    candidates = (kinds[index](dataset) for index in order)
    return next((p for p in candidates if p.exists()), None)


def folder_tasks(
    workspace: Workspace,
    names: Iterable[str],
    settings: Settings,
    *,
    stages: tuple[str, ...],
    context: str,
    wanted: Wanted = ALL,
    extra_inputs: ExtraInputs = lambda _settings, _dataset, _filter: (),
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
    wanted : Wanted, optional
    extra_inputs : callable, optional
        As for `~webbmosaic.run.plan.plan`.

    Returns
    -------
    tasks : list of Task

    Raises
    ------
    UsageError
        If nothing is selected.
    """
    names = list(names)
    found = find_exposures(workspace, names, first=stages[0])
    exposures = [e for e in found if wanted.why_not(e.dataset, e.filter_name) is None]
    if not exposures:
        msg = f"{workspace.root}: none of {len(found)} exposures is of this selection"
        raise UsageError(msg)
    everyone = found if not names else []
    if names and "stage2" in stages:
        everyone = find_exposures(workspace, (), first=stages[0])
    tasks = plan(
        workspace,
        exposures,
        settings,
        stages=stages,
        everyone=everyone,
        extra_inputs=extra_inputs,
    )
    return [replace(task, context=context) for task in tasks]


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
    cals = list(cals) if settings.alignment.enforce_order else sorted(cals)
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

    The one has a row for each mosaic, the other one for each exposure of them; paths
    are relative to the folder of the tables.

    Parameters
    ----------
    workspace : Workspace
    tasks : iterable of Task
        Those of stage 3 are listed, where their mosaic exists.
    """
    mosaics = {
        task.outputs[0]: [
            p for p in task.inputs if p.exists() and is_exposure(p, task.settings)
        ]
        for task in tasks
        if task.stage == "stage3" and task.outputs[0].exists()
    }
    if not mosaics:
        return
    cals = sorted({p for members in mosaics.values() for p in members})
    headers, _ = scan_headers(cals)
    home = workspace.mosaics.resolve()

    def relative(path: Path) -> str:
        return os.path.relpath(path.resolve(), home)

    rows = [
        {**_row(headers[p]), "file_path": relative(p)} for p in cals if p in headers
    ]
    base = workspace.mosaics / "mosaic_info_table"
    write_text(base.with_suffix(".csv"), _as_csv(rows))
    products = [
        {
            **_product_row(path.parent, [headers[p] for p in members if p in headers]),
            "path": relative(path),
        }
        for path, members in mosaics.items()
    ]
    write_text(workspace.mosaics / "list_obs.csv", _as_csv(products))
    write_text(base.with_suffix(".txt"), _as_text(rows))
    listing = {relative(k): [relative(p) for p in v] for k, v in mosaics.items()}
    write_text(base.with_suffix(".json"), json.dumps(listing, indent=1) + "\n")
    write_text(base.with_suffix(".out"), "".join(f"{path}\n" for path in listing))


def _row(header: Any) -> dict[str, str]:
    row = {name: str(header.get(key, "")) for name, key in _COLUMNS.items()}
    row["filter"] = effective_filter(row["filter"], row["pupil"])
    return row


def _product_row(home: Path, headers: list[Any]) -> dict[str, str]:
    """Describe a mosaic: what is in it, how well it is aligned, how deep it is."""
    record = read_record(home / "state" / "stage3.json")
    numbers = record.numbers if record else {}
    rows = [_row(header) for header in headers]
    # Detectors that were read together are one exposure.
    times = {
        tuple(row[k] for k in _EXPOSURE): float(header.get("EFFEXPTM", 0))
        for row, header in zip(rows, headers, strict=True)
    }
    islands = numbers.get("astrometry") or [{}]
    largest = max(islands, key=lambda island: len(island.get("exposures", ())))
    offset = largest.get("offset_mas") or ("", "")
    known = {
        "catalogue_matches": largest.get("catalogue_matches"),
        "offset_east_mas": offset[0],
        "offset_north_mas": offset[1],
        "offset_error_mas": largest.get("offset_error_mas"),
        "catalogue_rms_mas": largest.get("catalogue_rms_mas"),
        "exposures_rms_mas": largest.get("rms_mas"),
        "depth_abmag": numbers.get("depth_abmag"),
    }
    return {
        "name": home.name,
        **{k: "+".join(sorted({row[k] for row in rows})) for k in _SHARED},
        "members": str(len(headers)),
        "exposure_time": f"{sum(times.values()):.3f}",
        "pixel_scale": str(numbers.get("pixel_scale", "")),
        "islands": str(len(islands)),
        **{k: "" if v is None else str(v) for k, v in known.items()},
    }


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
        for stage in ("stage1", "persistence", "stage2"):
            record = read_record(workspace.record(dataset, stage))
            records.append((stage, str(dataset), record))
    records += [
        ("badpixels", path.stem, read_record(path))
        for path in sorted(workspace.flags.glob("state/*.json"))
    ]
    for group in workspace.groups():
        record = read_record(workspace.record(group, "stage3"))
        records.append(("stage3", group, record))
    return records


def link_legacy_names(workspace: Workspace, tasks: Iterable[Task]) -> None:
    """
    Link the names that the predecessor and its walk-through give to mosaics.

    Parameters
    ----------
    workspace : Workspace
    tasks : iterable of Task
        Of stage 3: ``{obsnum}_{instrument}_{filter}`` is linked to each group's folder,
        and ``calibrated3_mosaics`` to the folder of all.
    """
    for task in tasks:
        home = task.outputs[0].parent
        _, _, rest = task.owner.partition("_obs")
        observation, _, tail = rest.partition("_")
        kind = "_".join(tail.split("_")[-2:])
        if home.is_dir() and observation:
            _link(home.parent / f"{observation}_{kind}", home.name)
    if workspace.mosaics.is_dir() and workspace.mosaics_name == "calibrated3_mosaic":
        _link(workspace.root / "calibrated3_mosaics", workspace.mosaics.name)


def _link(link: Path, target: str) -> None:
    if not link.exists() and not link.is_symlink():
        link.symlink_to(target)
