"""Tasks that look at all exposures of a detector: persistence and bad pixels.

Their flags are inputs of stage 2, beside the count-rate image.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from webbmosaic.datasets import IMAGING_EXPOSURES, Workspace
from webbmosaic.errors import InputError
from webbmosaic.files.timeline import exposure_span
from webbmosaic.run.exposures import Exposure
from webbmosaic.run.tasks import Task
from webbmosaic.settings import Settings

__all__ = ["add_flag_tasks"]


def add_flag_tasks(
    workspace: Workspace,
    tasks: list[Task],
    everyone: Sequence[Exposure],
    settings: Settings,
    stages: set[str],
) -> list[Task]:
    """
    Put the tasks of persistence and bad pixels between stages 1 and 2.

    Parameters
    ----------
    workspace : Workspace
    tasks : list of Task
        Of stages 1 and 2.
    everyone : sequence of Exposure
        All exposures of the work folder.
    settings : Settings
        Not yet narrowed.
    stages : set of str
        Those that are asked for.

    Returns
    -------
    tasks : list of Task
        With the new ones; stage 2 takes their flags.
    """
    maker = _Maker(workspace, everyone, settings, planned="stage1" in stages)
    flagged: list[Task] = []
    frames: dict[tuple[str, str], int] = {}
    for task in tasks:
        exposure = maker.known.get(task.owner)
        if task.stage != "stage2" or exposure is None:
            flagged.append(task)
            continue
        makers = []
        if task.settings.persistence.enabled and task.owner in maker.spans:
            makers.append(maker.persistence(exposure, task))
            flagged.append(makers[0])
        if task.settings.badpixels.enabled:
            key = (exposure.dataset.detector, exposure.frame)
            if key not in frames:
                frames[key] = len(flagged)
                flagged.append(maker.badpixels(exposure))
            place = frames[key]
            if task.asked and not flagged[place].asked:
                flagged[place] = dataclasses.replace(flagged[place], asked=True)
            makers.append(flagged[place])
        flagged.append(_taking(task, makers))
    return flagged


def _taking(task: Task, makers: list[Task]) -> Task:
    """Let a task of stage 2 take the flags that others make."""
    return dataclasses.replace(
        task,
        inputs=(*task.inputs, *(m.outputs[0] for m in makers)),
        takes=tuple(m.key for m in makers),
    )


class _Maker:
    """Knows when the exposures of each detector were taken, sorted once."""

    def __init__(
        self,
        workspace: Workspace,
        everyone: Sequence[Exposure],
        settings: Settings,
        *,
        planned: bool,
    ) -> None:
        self.workspace, self.settings = workspace, settings
        self.known = {
            str(e.dataset): e
            for e in everyone
            if e.header.get("EXP_TYPE") in IMAGING_EXPOSURES
            and (planned or workspace.rate(e.dataset).exists())
        }

    @cached_property
    def spans(self) -> dict[str, tuple[float, float]]:
        """Start and end of each exposure, where its header tells them."""
        spans = {}
        for name, exposure in self.known.items():
            try:
                spans[name] = exposure_span(exposure.header, name)
            except (InputError, ValueError):
                continue  # stage 1 of that exposure says what is wrong
        return spans

    @cached_property
    def _ends(self) -> dict[str, list[tuple[float, str]]]:
        ends = defaultdict(list)
        for name, (_, end) in self.spans.items():
            ends[self.known[name].dataset.detector].append((end, name))
        return {detector: sorted(some) for detector, some in ends.items()}

    @cached_property
    def _frames(self) -> dict[tuple[str, str], list[Exposure]]:
        frames = defaultdict(list)
        for exposure in self.known.values():
            frames[exposure.dataset.detector, exposure.frame].append(exposure)
        return frames

    def _earlier(self, exposure: Exposure, window: float) -> list[str]:
        """List the exposures whose persistence may reach this one, by time."""
        name, ends = str(exposure.dataset), self._ends[exposure.dataset.detector]
        start = self.spans[name][0]
        first = bisect_left(ends, (start - window, ""))
        last = bisect_right(ends, (start, "~"))
        return [other for _, other in ends[first:last] if other != name]

    def persistence(self, exposure: Exposure, stage2: Task) -> Task:
        """Make the task for one exposure."""
        name, workspace = str(exposure.dataset), self.workspace
        earlier = self._earlier(exposure, stage2.settings.persistence.window)
        others = (workspace.rate(self.known[other].dataset) for other in earlier)
        return Task(
            stage="persistence",
            owner=name,
            root=workspace.root,
            inputs=(workspace.rate(exposure.dataset), *others),
            outputs=(workspace.persistence(exposure.dataset),),
            record=workspace.record(exposure.dataset, "persistence"),
            log=workspace.log(exposure.dataset, "persistence"),
            settings=stage2.settings,
            narrow=stage2.narrow,
            needs=(f"stage1:{name}",),
            takes=tuple(f"stage1:{other}" for other in earlier),
            memory_mb=500,
            seconds=1 + exposure.pixels * (1 + len(earlier)) * 1e-7,
            asked=stage2.asked,
        )

    def badpixels(self, exposure: Exposure) -> Task:
        """Make the task for one detector and frame."""
        detector, frame = exposure.dataset.detector, exposure.frame
        members = self._frames[detector, frame]
        output = self.workspace.bad_pixels(detector, frame)
        owner = output.name.removesuffix("_badpixels.fits")
        home: Path = output.parent
        narrow = {
            "instrument": exposure.dataset.instrument,
            "filter_name": "",
            "detector": detector,
        }
        return Task(
            stage="badpixels",
            owner=owner,
            root=self.workspace.root,
            inputs=tuple(self.workspace.rate(e.dataset) for e in members),
            outputs=(output,),
            record=home / "state" / f"{owner}.json",
            log=home / "logs" / f"{owner}.log",
            settings=self.settings.for_exposure(**narrow),
            narrow=narrow,
            takes=tuple(f"stage1:{e.dataset}" for e in members),
            memory_mb=500 + exposure.pixels * len(members) * 1.2e-5,
            seconds=2 + exposure.pixels * len(members) * 2e-7,
            asked=False,
        )
