"""What there is to do in a work folder, and what is known of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from webbmosaic.datasets import (
    ALL,
    IMAGING_EXPOSURES,
    Dataset,
    Wanted,
    Workspace,
)
from webbmosaic.errors import UsageError
from webbmosaic.files.header_memory import HeaderMemory
from webbmosaic.files.headers import read_header
from webbmosaic.run.exposures import Exposure, ExtraInputs
from webbmosaic.run.plan import group_exposures, plan, plan_mosaic
from webbmosaic.run.tasks import Task
from webbmosaic.settings import Grouping, Settings

__all__ = ["find_exposures", "folder_tasks", "mosaic_task"]


def find_exposures(
    workspace: Workspace,
    names: Iterable[str],
    *,
    first: str,
    wanted: Wanted = ALL,
) -> list[Exposure]:
    """
    Find the exposures of a work folder, and say which are asked for.

    Parameters
    ----------
    workspace : Workspace
    names : iterable of str
        Dataset names, their folders, or ``_cal.fits`` files from anywhere; none means
        all in the work folder.
    first : str
        The first stage to be run: headers are read from what it reads, or, where that
        is not there (yet), from the nearest product.
    wanted : Wanted, optional

    Returns
    -------
    exposures : list of Exposure
        All of the work folder, of which those named and wanted are asked for. Where
        ``_cal.fits`` files from elsewhere are named, these alone.

    Raises
    ------
    UsageError
        If a name is no dataset, has no folder, or there is none at all.
    """
    given = [_given(workspace, name) for name in names]
    foreign = [(dataset, cal) for dataset, cal in given if cal is not None]
    here = [] if foreign else workspace.datasets()
    named = {dataset for dataset, cal in given if cal is None}
    missing = sorted(named - {*here})
    if missing and not foreign:
        msg = f"{missing[0]}: has no folder in {workspace.root}"
        raise UsageError(msg)
    found = foreign + [(d, None) for d in (sorted(named) if foreign else here)]
    if not found:
        msg = (
            f"{workspace.root}: holds no dataset. Try: webbmosaic prepare SOURCE -C"
            f" {workspace.root}"
        )
        raise UsageError(msg)
    sources = {
        dataset: cal or _nearest(workspace, dataset, first) for dataset, cal in found
    }
    memory = HeaderMemory(workspace.hidden / "headers.json")
    headers, _ = memory.scan([p for p in sources.values() if p is not None])
    exposures = [
        Exposure(dataset, headers.get(sources[dataset] or Path(), {}), cal)
        for dataset, cal in found
    ]
    return [
        e
        if (not given or e.cal or e.dataset in named)
        and wanted.why_not(e.dataset, e.filter_name) is None
        else replace(e, asked=False)
        for e in exposures
    ]


def _given(workspace: Workspace, name: str) -> tuple[Dataset, Path | None]:
    path = Path(name)
    is_cal = name.endswith("_cal.fits")
    if is_cal and not path.is_file():
        msg = f"{path}: no such file"
        raise UsageError(msg)
    dataset = Dataset.parse(path.name)
    own = workspace.cal(dataset)
    if not is_cal or (own.exists() and own.samefile(path)):
        return dataset, None
    return dataset, path


def _nearest(workspace: Workspace, dataset: Dataset, first: str) -> Path | None:
    """Find the product from which the header is read."""
    kinds = (workspace.uncal, workspace.rate, workspace.cal)
    order = {"stage1": (0, 1, 2), "stage2": (1, 2, 0), "stage3": (2, 1, 0)}[first]
    candidates = (kinds[index](dataset) for index in order)
    return next((p for p in candidates if p.is_file()), None)


def folder_tasks(
    workspace: Workspace,
    names: Iterable[str],
    settings: Settings,
    *,
    stages: tuple[str, ...],
    context: str,
    wanted: Wanted = ALL,
    extra_inputs: ExtraInputs = lambda _settings, _dataset, _filter: {},
    overrides: Mapping[str, str] | None = None,
) -> list[Task]:
    """
    List the tasks of some stages for a work folder, and those that they depend on.

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
    overrides : mapping, optional
        ``section.key`` -> value, of what the command line changes, for the records.

    Returns
    -------
    tasks : list of Task

    Raises
    ------
    UsageError
        If nothing is selected.
    """
    found = find_exposures(workspace, names, first=stages[0], wanted=wanted)
    if not any(e.asked for e in found):
        msg = f"{workspace.root}: none of {len(found)} exposures is of this selection"
        raise UsageError(msg)
    tasks = plan(workspace, found, settings, stages=stages, extra_inputs=extra_inputs)
    said = overrides or {}
    return [replace(task, context=context, overrides=said) for task in tasks]


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
    # The dataset may be of any work folder, or none: its file is what counts.
    members = [replace(m, cal=cal) for m, cal in zip(members, cals, strict=True)]
    return replace(plan_mosaic(cals, output, members, settings), context=context)
