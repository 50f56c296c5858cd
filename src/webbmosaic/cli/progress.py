"""Running tasks with a bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from webbmosaic.datasets import Workspace
    from webbmosaic.run.judge import Verdict
    from webbmosaic.run.local import Ending, Limits
    from webbmosaic.run.tasks import Task

__all__ = ["run_and_show", "run_one", "show_outlook"]

#: So many names are told of what has the same reason.
_NAMED = 3


def run_and_show(
    tasks: list[Task],
    workspace: Workspace,
    *,
    limits: Limits,
    redo: bool,
    dry_run: bool,
    check: Callable[[Sequence[Task]], None] = lambda _tasks: None,
) -> bool:
    """
    Run tasks, or say what would be done.

    Parameters
    ----------
    tasks : list of Task
    workspace : Workspace
    limits : Limits
    redo, dry_run : bool
    check : callable, optional
        Given the tasks that must run, before any record is touched.

    Returns
    -------
    good : bool
        `False` where a task failed or was blocked.
    """
    from webbmosaic.run.guard import only_run, sweep_folder
    from webbmosaic.run.judge import RUN, Judge, outlook

    judge = Judge(tasks, workspace.root, redo=redo)
    verdicts = outlook(judge, tasks)
    if dry_run:
        show_outlook(verdicts)
        return True
    to_run = [v.task for v in verdicts if v.outcome == RUN]
    if all(v.outcome == "current" for v in verdicts):
        for verdict in verdicts:
            judge.settle(verdict)
        return _nothing_to_do(verdicts)
    check(to_run)
    with only_run(workspace):
        sweep_folder(workspace)
        return _run(tasks, workspace.root, verdicts, limits=limits, redo=redo)


def run_one(task: Task, *, redo: bool, dry_run: bool) -> bool:
    """
    Run one task by itself, or say what would be done.

    Parameters
    ----------
    task : Task
    redo, dry_run : bool

    Returns
    -------
    good : bool
    """
    from webbmosaic.run.judge import RUN, Judge, outlook
    from webbmosaic.run.local import Limits

    verdicts = outlook(Judge([task], task.root, redo=redo), [task])
    if dry_run:
        show_outlook(verdicts)
        return True
    if verdicts[0].outcome == "current":
        return _nothing_to_do(verdicts)
    if verdicts[0].outcome != RUN:
        click.echo(f"{task.stage}  {task.owner}  {verdicts[0].reason}")
        return False
    return _run([task], task.root, verdicts, limits=Limits(), redo=redo)


def _run(
    tasks: list[Task],
    root: Path,
    verdicts: Sequence[Verdict],
    *,
    limits: Limits,
    redo: bool,
) -> bool:
    from webbmosaic.run.local import run_tasks

    work = [v.task for v in verdicts if v.outcome != "current"]
    kind = _Bar if sys.stdout.isatty() else _Lines
    show = kind(work, cores=limits.processes)
    try:
        with show:
            endings = run_tasks(
                tasks,
                root,
                limits=limits,
                redo=redo,
                report=show.report,
                started=show.started,
            )
    except KeyboardInterrupt:
        click.echo(
            f"Stopped: {show.ended} of {len(work)} tasks have ended, and nothing of"
            " them is lost. Go on with the same command",
            err=True,
        )
        raise
    _summarise(endings)
    return all(e.record.outcome not in ("failed", "blocked") for e in endings)


def _nothing_to_do(verdicts: Sequence[Verdict]) -> bool:
    click.echo(f"nothing to do: all {len(verdicts)} products are current")
    return True


def show_outlook(verdicts: Iterable[Verdict]) -> None:
    """
    Say what would be done, by stage and reason.

    Parameters
    ----------
    verdicts : iterable of Verdict
    """
    from webbmosaic.run.tasks import STAGE_ORDER

    stages: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        stages[verdict.task.stage].append(verdict)
    if all(v.outcome == "current" for some in stages.values() for v in some):
        _nothing_to_do([v for some in stages.values() for v in some])
        return
    for stage in STAGE_ORDER:
        some = stages.get(stage, [])
        to_do = [v for v in some if v.outcome != "current"]
        if not some:
            continue
        if not to_do:
            click.echo(f"{stage}: {len(some)} current")
            continue
        click.echo(f"{stage}: {len(to_do)} of {len(some)} tasks to run")
        for line in _grouped(to_do):
            click.echo(f"  {line}")


def _grouped(verdicts: Iterable[Verdict]) -> list[str]:
    """Give one line for each reason, with the names it holds for."""
    owners: dict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        owner, reason = verdict.task.owner, verdict.reason
        reason = reason.removeprefix(f"{owner}: ").replace(owner, "it")
        if reason.startswith("because ") and " of " in reason:
            stage = reason.removeprefix("because ").partition(" of ")[0]
            reason = f"because {stage} of an exposure is remade"
        owners[_without_names(reason, owner)].append(owner)
    return [f"{_listed(names)}: {reason}" for reason, names in owners.items()]


def _without_names(reason: str, owner: str) -> str:
    return reason.replace(owner, "it")


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{len(names)} ({names[0]}, ...)"


def _sentence(ending: Ending) -> str:
    record = ending.record
    what = f"{record.stage}  {record.owner}  {record.outcome}"
    if record.sentence:
        return f"{what}: {record.sentence}"
    took = f"  {record.seconds:.1f} s" if ending.ran else ""
    return "\n".join([f"{what}{took}", *(f"  note: {note}" for note in record.notes)])


class _Lines:
    """One plain line with the time for each task that was run."""

    def __init__(self, work: Sequence[Task], *, cores: int) -> None:
        self.total, self.ended, self.failures = len(work), 0, 0
        self.left = {task.key: task.seconds for task in work}
        self.expected = sum(self.left.values())
        self.cores = max(1, cores)
        self.running: dict[str, str] = {}
        self.start = time.monotonic()

    def __enter__(self) -> _Lines:
        click.echo(f"{self.total} tasks to run")
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def started(self, task: Task) -> None:
        """Note a task that has started."""
        self.running[task.key] = f"{task.stage} {task.owner}"

    def report(self, ending: Ending) -> None:
        """Print how a task ended, unless it was current."""
        if not ending.ran:
            return
        self.note(ending)
        now = time.strftime("%H:%M:%S")
        click.echo(f"{now} [{self.ended}/{self.total}] {_sentence(ending)}")

    def note(self, ending: Ending) -> None:
        """Count a task that has ended."""
        self.ended += 1
        self.running.pop(ending.task.key, None)
        self.left.pop(ending.task.key, None)
        self.failures += ending.record.outcome in ("failed", "blocked")

    @property
    def seconds_left(self) -> float:
        """Time left, by what was expected and how it went so far."""
        left = sum(self.left.values())
        done = self.expected - left
        if done <= 0:
            return left / self.cores
        return left * (time.monotonic() - self.start) / done


class _Bar(_Lines):
    """A bar that counts tasks; only what a human should read stands above it."""

    def __init__(self, work: Sequence[Task], *, cores: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        super().__init__(work, cores=cores)
        self.progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self.bar = self.progress.add_task("starting", total=self.total)

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.progress.stop()

    def started(self, task: Task) -> None:
        """Show what is running."""
        super().started(task)
        self._describe()

    def report(self, ending: Ending) -> None:
        """Advance the bar; print what needs to be read."""
        if not ending.ran:
            return
        self.note(ending)
        self.progress.advance(self.bar)
        self._describe()
        record = ending.record
        if record.outcome != "done" or record.notes:
            self.progress.console.print(_sentence(ending), markup=False)

    def _describe(self) -> None:
        minutes = self.seconds_left / 60
        running = list(self.running.values())
        more = f" and {len(running) - 1} more" if running[1:] else ""
        failed = f"{self.failures} failed, " if self.failures else ""
        what = f"; {running[0]}{more}" if running else ""
        said = f"{failed}about {minutes:.0f} min left{what}"
        self.progress.update(self.bar, description=said)


def _summarise(endings: list[Ending]) -> None:
    by_stage: dict[str, Counter[str]] = {}
    for ending in endings:
        outcome = ending.record.outcome if ending.ran else "current"
        by_stage.setdefault(ending.record.stage, Counter())[outcome] += 1
    for stage, outcomes in sorted(by_stage.items()):
        counts = ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items()))
        click.echo(f"{stage}: {counts}")
