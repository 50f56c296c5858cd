"""Tasks that look at all exposures of a detector: persistence and bad pixels.

Their flags are inputs of stage 2, beside the count-rate image.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from webbmosaic.datasets import IMAGING_EXPOSURES, Workspace
from webbmosaic.files.timeline import earlier_exposures, exposure_span
from webbmosaic.run.exposures import Exposure
from webbmosaic.run.tasks import Task
from webbmosaic.settings import Settings

__all__ = ["add_flag_tasks"]


def add_flag_tasks(
    workspace: Workspace,
    tasks: list[Task],
    everyone: list[Exposure],
    settings: Settings,
) -> list[Task]:
    """
    Put the tasks of persistence and bad pixels between stages 1 and 2.

    Parameters
    ----------
    workspace : Workspace
    tasks : list of Task
        Of stages 1 and 2.
    everyone : list of Exposure
        All exposures of the work folder.
    settings : Settings
        Not yet narrowed.

    Returns
    -------
    tasks : list of Task
        With the new ones; stage 2 takes their flags.
    """
    planned = {task.owner for task in tasks if task.stage == "stage1"}
    usable = [
        e
        for e in everyone
        if e.header.get("EXP_TYPE") in IMAGING_EXPOSURES
        and (str(e.dataset) in planned or workspace.rate(e.dataset).exists())
    ]
    known = {str(e.dataset): e for e in usable}
    flagged: list[Task] = []
    frames: dict[tuple[str, str], Task] = {}
    for task in tasks:
        exposure = known.get(task.owner)
        if task.stage != "stage2" or exposure is None:
            flagged.append(task)
            continue
        makers = []
        if task.settings.persistence.enabled:
            makers.append(_persistence(workspace, exposure, usable, task.settings))
            flagged.append(makers[0])
        if task.settings.badpixels.enabled:
            key = (exposure.dataset.detector, exposure.frame)
            if key not in frames:
                frames[key] = _badpixels(workspace, exposure, usable, settings)
                flagged.append(frames[key])
            makers.append(frames[key])
        flagged.append(_taking(task, makers))
    return flagged


def _taking(task: Task, makers: list[Task]) -> Task:
    """Let a task of stage 2 take the flags that others make."""
    return dataclasses.replace(
        task,
        inputs=(*task.inputs, *(m.outputs[0] for m in makers)),
        takes=tuple(m.key for m in makers),
    )


def _persistence(
    workspace: Workspace, exposure: Exposure, usable: list[Exposure], settings: Settings
) -> Task:
    name = str(exposure.dataset)
    spans = {
        str(e.dataset): exposure_span(e.header, str(e.dataset))
        for e in usable
        if e.dataset.detector == exposure.dataset.detector
    }
    earlier = earlier_exposures(spans, name, settings.persistence.window)
    rates = {str(e.dataset): workspace.rate(e.dataset) for e in usable}
    return Task(
        stage="persistence",
        owner=name,
        inputs=(rates[name], *(rates[other] for other in earlier)),
        outputs=(workspace.persistence(exposure.dataset),),
        record=workspace.record(exposure.dataset, "persistence"),
        log=workspace.log(exposure.dataset, "persistence"),
        settings=settings,
        needs=(f"stage1:{name}",),
        takes=tuple(f"stage1:{other}" for other in earlier),
        memory_mb=500,
    )


def _badpixels(
    workspace: Workspace, exposure: Exposure, usable: list[Exposure], settings: Settings
) -> Task:
    detector, frame = exposure.dataset.detector, exposure.frame
    members = [e for e in usable if e.dataset.detector == detector and e.frame == frame]
    output = workspace.bad_pixels(detector, frame)
    owner = output.name.removesuffix("_badpixels.fits")
    home: Path = output.parent
    return Task(
        stage="badpixels",
        owner=owner,
        inputs=tuple(workspace.rate(e.dataset) for e in members),
        outputs=(output,),
        record=home / "state" / f"{owner}.json",
        log=home / "logs" / f"{owner}.log",
        settings=settings.for_exposure(
            instrument=exposure.dataset.instrument, detector=detector
        ),
        takes=tuple(f"stage1:{e.dataset}" for e in members),
        memory_mb=500 + exposure.pixels * len(members) * 1.2e-5,
    )
