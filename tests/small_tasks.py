"""A task in a folder of its own, for tests of what runs tasks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from webbmosaic.run.tasks import Task


def a_task(folder: Path, stage="stage1", owner="a", **changes) -> Task:
    """Make a task; its input is not made."""
    task = Task(
        stage=stage,
        owner=owner,
        inputs=(folder / f"{owner}.in",),
        outputs=(folder / f"{owner}.{stage}",),
        record=folder / "state" / f"{owner}.{stage}.json",
        log=folder / "logs" / f"{owner}.{stage}.log",
        root=folder,
    )
    return dataclasses.replace(task, **changes)
