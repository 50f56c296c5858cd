"""Running tasks with a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from webbmosaic.run.local import Ending
    from webbmosaic.run.tasks import Task

__all__ = ["run_and_show"]


def run_and_show(
    tasks: list[Task], *, processes: int, redo: bool, dry_run: bool
) -> bool:
    """
    Run tasks, or say what would be done.

    Parameters
    ----------
    tasks : list of Task
    processes : int
    redo, dry_run : bool

    Returns
    -------
    good : bool
        `False` where a task failed or was blocked.
    """
    from webbmosaic.run.local import run_tasks

    if dry_run:
        _show_plan(tasks, redo=redo)
        return True
    show = _Lines(len(tasks)) if not sys.stdout.isatty() else _Bar(len(tasks))
    with show:
        endings = run_tasks(tasks, processes=processes, redo=redo, report=show.report)
    _summarise(endings)
    return all(e.record.outcome not in ("failed", "blocked") for e in endings)


def _show_plan(tasks: list[Task], *, redo: bool) -> None:
    from webbmosaic.run.tasks import reason_to_run

    for task in tasks:
        reason = "asked for" if redo else reason_to_run(task)
        click.echo(f"{task.stage}  {task.owner}  {reason or 'current'}")


def _sentence(ending: Ending) -> str:
    record = ending.record
    what = f"{record.stage}  {record.owner}  {record.outcome}"
    if record.sentence:
        return f"{what}: {record.sentence}"
    took = f"  {record.seconds:.1f} s" if ending.ran else ""
    return "\n".join([f"{what}{took}", *(f"  note: {note}" for note in record.notes)])


class _Lines:
    """One plain line for each task that was run."""

    def __init__(self, total: int) -> None:
        self.total, self.ended = total, 0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def report(self, ending: Ending) -> None:
        """Print how a task ended, unless it was current."""
        self.ended += 1
        if ending.ran:
            click.echo(f"[{self.ended}/{self.total}] {_sentence(ending)}")


class _Bar(_Lines):
    """A bar that counts tasks; only what a human should read stands above it."""

    def __init__(self, total: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        super().__init__(total)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.bar = self.progress.add_task("reducing", total=total)

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.progress.stop()

    def report(self, ending: Ending) -> None:
        """Advance the bar; print what needs to be read."""
        self.progress.advance(self.bar)
        record = ending.record
        if ending.ran and (record.outcome != "done" or record.notes):
            self.progress.console.print(_sentence(ending), markup=False)


def _summarise(endings: list[Ending]) -> None:
    by_stage: dict[str, Counter[str]] = {}
    for ending in endings:
        outcome = ending.record.outcome if ending.ran else "current"
        by_stage.setdefault(ending.record.stage, Counter())[outcome] += 1
    if all(not ending.ran for ending in endings):
        click.echo(f"nothing to do: all {len(endings)} products are current")
        return
    for stage, outcomes in sorted(by_stage.items()):
        counts = ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items()))
        click.echo(f"{stage}: {counts}")
