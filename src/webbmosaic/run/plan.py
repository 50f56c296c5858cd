"""Which tasks there are: what each stage would read and write, for whom."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from webbmosaic.datasets import (
    IMAGING_EXPOSURES,
    Group,
    Workspace,
)
from webbmosaic.run.exposures import Exposure, ExtraInputs
from webbmosaic.run.flags import add_flag_tasks
from webbmosaic.run.tasks import Task
from webbmosaic.settings import Alignment, Grouping, Settings

__all__ = [
    "Exposure",
    "group_exposures",
    "is_exposure",
    "plan",
    "plan_mosaic",
    "why_excluded",
]

#: Peak memory of calwebb_detector1 and calwebb_image2, in MB, on top of the packages:
#: measured 2686 MB for 2048 x 2048 x 9 groups and 332 MB for small frames.
_BASE_MB, _MB_PER_PIXEL_GROUP, _MB_PER_PIXEL = 350.0, 6.5e-5, 2.6e-4


def group_exposures(
    exposures: Iterable[Exposure], wanted: Grouping
) -> dict[Group, list[Exposure]]:
    """
    Sort exposures into mosaics.

    Parameters
    ----------
    exposures : iterable of Exposure
    wanted : Grouping

    Returns
    -------
    groups : dict
        Group -> its exposures, both sorted. A group's name follows from its members
        alone.
    """
    sorted_out = defaultdict(list)
    for exposure in exposures:
        sorted_out[_grouping_key(exposure, wanted)].append(exposure)
    groups = {}
    for members in sorted_out.values():
        members.sort(key=lambda e: e.dataset)
        groups[_group_of(members, wanted)] = members
    return dict(sorted(groups.items()))


def _grouping_key(exposure: Exposure, wanted: Grouping) -> tuple[str, ...]:
    d = exposure.dataset
    alone = wanted.combine_observations or wanted.combine_programs
    return (
        d.instrument,
        "" if wanted.combine_filters else exposure.filter_name,
        "" if wanted.combine_programs else d.program,
        "" if alone else d.observation,
        "" if alone or wanted.combine_visits else d.visit,
    )


def _group_of(members: list[Exposure], wanted: Grouping) -> Group:
    def all_of(name: str) -> tuple[str, ...]:
        return tuple(sorted({getattr(m.dataset, name) for m in members}))

    by_visit = not (
        wanted.combine_visits or wanted.combine_observations or wanted.combine_programs
    )
    return Group(
        programs=all_of("program"),
        observations=all_of("observation"),
        visits=all_of("visit") if by_visit else (),
        instrument=members[0].dataset.instrument,
        filters=tuple(sorted({m.filter_name for m in members})),
    )


def plan(
    workspace: Workspace,
    exposures: Iterable[Exposure],
    settings: Settings,
    *,
    stages: Iterable[str],
    everyone: Iterable[Exposure] = (),
    extra_inputs: ExtraInputs = lambda _settings, _dataset, _filter: (),
) -> list[Task]:
    """
    List the tasks of some stages.

    Parameters
    ----------
    workspace : Workspace
    exposures : iterable of Exposure
    settings : Settings
        Not yet narrowed.
    stages : iterable of str
        Of ``stage1``, ``stage2`` and ``stage3``.
    everyone : iterable of Exposure, optional
        All exposures of the work folder: persistence and bad pixels are found in all
        of a detector, not only in those that are asked for.
    extra_inputs : callable, optional
        ``(settings, dataset, filter) -> paths`` of the masks and templates that decide
        what stage 1 makes of an exposure.

    Returns
    -------
    tasks : list of Task
        What one needs comes before it.
    """
    exposures, stages = list(exposures), set(stages)
    tasks: list[Task] = []
    for exposure in exposures:
        tasks += _exposure_tasks(workspace, exposure, settings, stages)
    if "stage1" in stages:
        tasks = [_with_extra(t, exposures, extra_inputs) for t in tasks]
    if "stage2" in stages:
        others = {e.dataset: e for e in (*everyone, *exposures)}
        tasks = add_flag_tasks(workspace, tasks, list(others.values()), settings)
    if "stage3" in stages:
        usable = [
            e
            for e in exposures
            if _may_be_combined(e) and why_excluded(e, settings.grouping) is None
        ]
        for group, members in group_exposures(usable, settings.grouping).items():
            cals = [m.cal or workspace.cal(m.dataset) for m in members]
            task = plan_mosaic(cals, workspace.mosaic(group), members, settings)
            tasks.append(
                dataclasses.replace(
                    task,
                    record=workspace.record(group, "stage3"),
                    log=workspace.log(group, "stage3"),
                    takes=tuple(f"stage2:{m.dataset}" for m in members),
                )
            )
    return tasks


def why_excluded(exposure: Exposure, wanted: Grouping) -> str | None:
    """
    Say why the user keeps an exposure out of mosaics, or `None` where not.

    Parameters
    ----------
    exposure : Exposure
    wanted : Grouping
        ``exclude`` has names and wildcards, with reasons.

    Returns
    -------
    reason : str or None
    """
    for entry in wanted.exclude:
        pattern, _, reason = entry.partition(":")
        if fnmatchcase(str(exposure.dataset), pattern.strip()):
            return reason.strip() or f"grouping.exclude has {pattern.strip()}"
    return None


def _with_extra(
    task: Task, exposures: list[Exposure], extra_inputs: ExtraInputs
) -> Task:
    if task.stage != "stage1":
        return task
    exposure = next(e for e in exposures if str(e.dataset) == task.owner)
    extra = extra_inputs(task.settings, exposure.dataset, exposure.filter_name)
    return dataclasses.replace(task, inputs=(*task.inputs, *extra))


def _may_be_combined(exposure: Exposure) -> bool:
    kind = exposure.header.get("EXP_TYPE")
    return bool(exposure.filter_name) and kind in IMAGING_EXPOSURES


def _exposure_tasks(
    workspace: Workspace, exposure: Exposure, settings: Settings, stages: set[str]
) -> list[Task]:
    dataset, narrowed = exposure.dataset, exposure.settings(settings)
    uncal, rate, cal = (
        getattr(workspace, name)(dataset) for name in ("uncal", "rate", "cal")
    )
    groups = float(exposure.header.get("NGROUPS", 10))
    ramp = groups * float(exposure.header.get("NINTS", 1))
    memory = {
        "stage1": _BASE_MB + exposure.pixels * ramp * _MB_PER_PIXEL_GROUP,
        "stage2": _BASE_MB + exposure.pixels * _MB_PER_PIXEL,
    }
    files = {"stage1": (uncal, rate), "stage2": (rate, cal)}
    return [
        Task(
            stage=stage,
            owner=str(dataset),
            inputs=(read,),
            outputs=(written,),
            record=workspace.record(dataset, stage),
            log=workspace.log(dataset, stage),
            settings=narrowed,
            needs=(f"stage1:{dataset}",) if stage == "stage2" else (),
            memory_mb=memory[stage],
        )
        for stage, (read, written) in files.items()
        if stage in stages
    ]


def plan_mosaic(
    cals: list[Path], i2d: Path, members: list[Exposure], settings: Settings
) -> Task:
    """
    Make the task of one mosaic.

    Parameters
    ----------
    cals : list of `~pathlib.Path`
    i2d : `~pathlib.Path`
        The mosaic to make; the record and log go beside it.
    members : list of Exposure
        The exposures of ``cals``.
    settings : Settings
        Not yet narrowed.

    Returns
    -------
    task : Task
    """
    owner = i2d.name.removesuffix(".fits").removesuffix("_i2d")
    pixels = sum(m.pixels for m in members)
    narrowed = _shared_settings(members, settings)
    return Task(
        stage="stage3",
        owner=owner,
        inputs=(*cals, *_beside(cals, narrowed.alignment)),
        outputs=(i2d,),
        record=i2d.parent / "state" / "stage3.json",
        log=i2d.parent / "logs" / "stage3.log",
        settings=narrowed,
        memory_mb=_BASE_MB + pixels * 8e-5,
    )


def _beside(cals: list[Path], wanted: Alignment) -> list[Path]:
    """List what alignment reads besides the exposures, where it is there."""
    tables = [Path(path) for path in (wanted.abs_refcat, wanted.offsets) if path]
    for cal in cals:
        tables.append(cal.with_name(f"{cal.stem}_cat_for_tweakreg.csv"))
        stem = cal.stem.removesuffix("_cal")
        tables.append(cal.with_name(f"{stem}_alignment.json"))
    return [path for path in tables if path.is_file()]


def is_exposure(path: Path, settings: Settings) -> bool:
    """Tell an exposure of a mosaic from the tables that alignment reads."""
    return path.suffix == ".fits" and str(path) != settings.alignment.abs_refcat


def _shared_settings(members: list[Exposure], settings: Settings) -> Settings:
    """Narrow to what the members have in common."""
    filters = {m.filter_name for m in members}
    return settings.for_exposure(
        instrument=members[0].dataset.instrument,
        filter_name=filters.pop() if len(filters) == 1 else "",
    )
