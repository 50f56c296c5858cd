"""Tables and links beside the mosaics of a work folder."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from webbmosaic.datasets import Workspace, effective_filter
from webbmosaic.files.current import Contents
from webbmosaic.files.header_memory import HeaderMemory
from webbmosaic.files.ledger import DONE, read_record
from webbmosaic.files.products import update_text
from webbmosaic.run.tasks import Task

__all__ = ["link_legacy_names", "write_tables"]

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
_EXPOSURE = (
    *("program", "obs_num", "visit_num", "visit_group", "seq_id", "act_id"),
    "exposure",
)
_SHARED = ("program", "obs_num", "visit_num", "target_name", "instrument", "filter")


def write_tables(workspace: Workspace) -> None:
    """
    Write ``list_obs.csv`` and ``mosaic_info_table.*`` of all mosaics there are.

    The one has a row for each mosaic, the other one for each exposure of them; paths
    are relative to the folder of the tables.

    Parameters
    ----------
    workspace : Workspace
        Every mosaic that its ledger knows is listed, whatever was selected last; files
        that hold the same already are left alone.
    """
    mosaics = _mosaics(workspace)
    if not mosaics:
        return
    cals = sorted({p for members in mosaics.values() for p in members})
    memory = HeaderMemory(workspace.hidden / "headers.json")
    headers, _ = memory.scan(cals)
    home = workspace.mosaics.resolve()

    def relative(path: Path) -> str:
        return os.path.relpath(path.resolve(), home)

    rows = [
        {**_row(headers[p]), "file_path": relative(p)} for p in cals if p in headers
    ]
    if not rows:
        return
    products = []
    for path, members in mosaics.items():
        record = read_record(workspace.record(path.parent.name, "stage3"))
        numbers = record.numbers if record else {}
        inside = [headers[p] for p in members if p in headers]
        row = _product_row(path.parent.name, numbers, inside)
        products.append({**row, "path": relative(path)})
    base = workspace.mosaics / "mosaic_info_table"
    update_text(base.with_suffix(".csv"), _as_csv(rows))
    update_text(workspace.mosaics / "list_obs.csv", _as_csv(products))
    update_text(base.with_suffix(".txt"), _as_text(rows))
    listing = {relative(k): [relative(p) for p in v] for k, v in mosaics.items()}
    update_text(base.with_suffix(".json"), json.dumps(listing, indent=1) + "\n")
    update_text(base.with_suffix(".out"), "".join(f"{path}\n" for path in listing))


def _mosaics(workspace: Workspace) -> dict[Path, list[Path]]:
    """List each mosaic and the calibrated images that it was made of, and are there."""
    contents = Contents(workspace.root)
    found = {}
    for group in workspace.groups():
        record = read_record(workspace.record(group, "stage3"))
        i2d = workspace.mosaic(group)
        if record is None or record.outcome != DONE or not i2d.is_file():
            continue
        members = [Path(contents.place(mark.path)) for mark in record.inputs]
        found[i2d] = [_shown(path, workspace) for path in members if path.is_file()]
    return found


def _shown(path: Path, workspace: Workspace) -> Path:
    """Name a file as the user named the work folder."""
    root = workspace.root.absolute()
    return workspace.root / path.relative_to(root) if root in path.parents else path


def _row(header: Any) -> dict[str, str]:
    row = {name: str(header.get(key, "")) for name, key in _COLUMNS.items()}
    row["filter"] = effective_filter(row["filter"], row["pupil"])
    return row


def _product_row(
    name: str, numbers: Mapping[str, Any], headers: list[Any]
) -> dict[str, str]:
    """Describe a mosaic: what is in it, how well it is aligned, how deep it is."""
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
        "name": name,
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
