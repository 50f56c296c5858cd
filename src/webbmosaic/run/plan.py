"""Which tasks there are: what each stage would read and write, for whom."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from webbmosaic.datasets import (
    IMAGING_EXPOSURES,
    Group,
    Workspace,
)
from webbmosaic.run.estimates import (
    exposure_cost,
    far_away,
    machine_memory_mb,
    mosaic_cost,
)
from webbmosaic.run.exposures import Exposure, ExtraInputs
from webbmosaic.run.flags import add_flag_tasks
from webbmosaic.run.tasks import Task
from webbmosaic.settings import Grouping, Settings
from webbmosaic.settings_used import files_read

__all__ = [
    "Exposure",
    "group_exposures",
    "plan",
    "plan_mosaic",
    "why_excluded",
]


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
    exposures: Sequence[Exposure],
    settings: Settings,
    *,
    stages: Iterable[str],
    extra_inputs: ExtraInputs = lambda _settings, _dataset, _filter: {},
) -> list[Task]:
    """
    List the tasks of some stages, and those that these depend on.

    Parameters
    ----------
    workspace : Workspace
    exposures : sequence of Exposure
        All of the work folder: persistence, bad pixels and mosaics look at all of a
        detector or group, not only at those that are asked for.
    settings : Settings
        Not yet narrowed.
    stages : iterable of str
        Of ``stage1``, ``stage2`` and ``stage3``.
    extra_inputs : callable, optional
        ``(settings, dataset, filter) -> {section: paths}`` of the masks and templates
        that decide what stage 1 makes of an exposure.

    Returns
    -------
    tasks : list of Task
        What one needs comes before it. Only those that are asked for are to be run.
    """
    stages = set(stages)
    narrowed = _narrower(settings)
    tasks: list[Task] = []
    for exposure in exposures:
        if exposure.cal is None and (exposure.asked or stages != {"stage1"}):
            here = narrowed(*exposure.narrow.values())
            extra = extra_inputs(here, exposure.dataset, exposure.filter_name)
            tasks += _exposure_tasks(workspace, exposure, here, extra, stages)
    if stages & {"stage2", "stage3"}:
        tasks = add_flag_tasks(workspace, tasks, exposures, settings, stages)
    if "stage3" in stages:
        tasks += _mosaic_tasks(workspace, exposures, settings)
    return tasks


def _narrower(settings: Settings) -> Any:
    """Narrow settings once for each instrument, filter and detector."""

    @cache
    def narrowed(instrument: str, filter_name: str, detector: str) -> Settings:
        return settings.for_exposure(
            instrument=instrument, filter_name=filter_name, detector=detector
        )

    return narrowed


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


def _may_be_combined(exposure: Exposure) -> bool:
    kind = exposure.header.get("EXP_TYPE")
    return bool(exposure.filter_name) and kind in IMAGING_EXPOSURES


def _exposure_tasks(
    workspace: Workspace,
    exposure: Exposure,
    settings: Settings,
    extra: Mapping[str, tuple[Path, ...]],
    stages: set[str],
) -> list[Task]:
    dataset = exposure.dataset
    uncal, rate, cal = (
        getattr(workspace, name)(dataset) for name in ("uncal", "rate", "cal")
    )
    files = {"stage1": (uncal, rate), "stage2": (rate, cal)}
    costs = exposure_cost(exposure, settings)
    tasks = []
    for stage, (read, written) in files.items():
        if stage == "stage2" and stages == {"stage1"}:
            continue
        idle = tuple(s for s, paths in extra.items() if not paths)
        task = Task(
            stage=stage,
            owner=str(dataset),
            root=workspace.root,
            inputs=(read,),
            outputs=(written,),
            record=workspace.record(dataset, stage),
            log=workspace.log(dataset, stage),
            settings=settings,
            narrow=exposure.narrow,
            idle=idle if stage == "stage1" else (),
            needs=(f"stage1:{dataset}",) if stage == "stage2" else (),
            asked=exposure.asked and stage in stages,
            **costs[stage],  # type: ignore[arg-type]
        )
        given = [p for paths in extra.values() for p in paths]
        tasks.append(_reading(task, given if stage == "stage1" else []))
    return tasks


def _reading(task: Task, more: Sequence[Path] = ()) -> Task:
    """Add the files that settings name."""
    named = [Path(text) for text in files_read(task.settings, task.sections)]
    files = dict.fromkeys([*more, *named])
    return dataclasses.replace(task, files=tuple(files)) if files else task


def _mosaic_tasks(
    workspace: Workspace, exposures: Sequence[Exposure], settings: Settings
) -> list[Task]:
    """Group first, then keep the groups that have an exposure asked for."""
    usable = [
        e
        for e in exposures
        if _may_be_combined(e) and why_excluded(e, settings.grouping) is None
    ]
    tasks = []
    for group, members in group_exposures(usable, settings.grouping).items():
        if not any(m.asked for m in members):
            continue
        task = plan_mosaic(
            [m.cal or workspace.cal(m.dataset) for m in members],
            workspace.mosaic(group),
            members,
            settings,
        )
        tasks.append(
            dataclasses.replace(
                task,
                root=workspace.root,
                record=workspace.record(group, "stage3"),
                log=workspace.log(group, "stage3"),
            )
        )
    return tasks


def plan_mosaic(
    cals: Sequence[Path], i2d: Path, members: Sequence[Exposure], settings: Settings
) -> Task:
    """
    Make the task of one mosaic.

    Parameters
    ----------
    cals : sequence of `~pathlib.Path`
    i2d : `~pathlib.Path`
        The mosaic to make; the record and log go beside it.
    members : sequence of Exposure
        The exposures of ``cals``.
    settings : Settings
        Not yet narrowed.

    Returns
    -------
    task : Task
        Without the exposures whose pointing, far from all others, would make the mosaic
        too large for this machine; its notes name them.
    """
    owner = i2d.name.removesuffix(".fits").removesuffix("_i2d")
    narrow = _in_common(members)
    shared = settings.for_exposure(**narrow)
    limit = 0.9 * machine_memory_mb()
    away = far_away(members, shared, limit)
    size = mosaic_cost(members, shared)["memory_mb"] / 1000 if away else 0.0
    kept = [(c, m) for c, m in zip(cals, members, strict=True) if m.dataset not in away]
    cost = mosaic_cost([m for _, m in kept], shared)
    return _reading(
        Task(
            stage="stage3",
            owner=owner,
            root=i2d.parent,
            inputs=tuple(cal for cal, _ in kept),
            outputs=(i2d,),
            record=i2d.parent / "state" / f"{owner}.json",
            log=i2d.parent / "logs" / f"{owner}.log",
            settings=shared,
            narrow=narrow,
            takes=tuple(f"stage2:{m.dataset}" for _, m in kept if m.cal is None),
            memory_mb=cost["memory_mb"],
            seconds=cost["seconds"],
            notes=tuple(
                f"{dataset} is left out: it lies {distance:.1f} degrees from the"
                f" others, and the mosaic would take {size:.1f} GB. Look at its RA_REF"
                " and DEC_REF"
                for dataset, distance in away.items()
            ),
        ),
        _beside([cal for cal, _ in kept]),
    )


def _beside(cals: Sequence[Path]) -> list[Path]:
    """List what alignment reads beside the exposures, where it is there."""
    tables = []
    for cal in cals:
        tables.append(cal.with_name(f"{cal.stem}_cat_for_tweakreg.csv"))
        stem = cal.stem.removesuffix("_cal")
        tables.append(cal.with_name(f"{stem}_alignment.json"))
    return [path for path in tables if path.is_file()]


def _in_common(members: Sequence[Exposure]) -> dict[str, str]:
    """Say by what settings are narrowed to a group: what its members have in common."""
    filters = {m.filter_name for m in members}
    return {
        "instrument": members[0].dataset.instrument,
        "filter_name": filters.pop() if len(filters) == 1 else "",
        "detector": "",
    }
