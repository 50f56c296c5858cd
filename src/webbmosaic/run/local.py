"""Run tasks on this machine: a few workers, each doing one task at a time."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from webbmosaic.files.ledger import Record
from webbmosaic.run.judge import CURRENT, RUN, Judge, Verdict
from webbmosaic.run.tasks import Task, failed_record
from webbmosaic.run.workers import Ended, Pool

__all__ = ["Ending", "Limits", "run_tasks"]

#: So many tasks are looked at for one that fits into the memory that is free.
_LOOK_AHEAD = 20


@dataclass(frozen=True)
class Ending:
    """
    How a task ended.

    Attributes
    ----------
    task : Task
    record : Record
    ran : bool
        `False` where the product was current already.
    """

    task: Task
    record: Record
    ran: bool


@dataclass(frozen=True)
class Limits:
    """
    What tasks may use of this machine.

    Attributes
    ----------
    processes : int
        How many cores.
    memory_mb : float
        Of all tasks together; 0: nine tenths of what there is.
    time_limit : float
        Of each task, in s; 0: twenty times what is expected, at least half an hour.
    """

    processes: int = 1
    memory_mb: float = 0.0
    time_limit: float = 0.0


def run_tasks(
    tasks: Iterable[Task],
    root: Path,
    *,
    limits: Limits = Limits(),
    redo: bool = False,
    report: Callable[[Ending], None] = lambda _ending: None,
    started: Callable[[Task], None] = lambda _task: None,
) -> list[Ending]:
    """
    Run tasks, each when what it needs is there, several at once.

    Parameters
    ----------
    tasks : iterable of Task
        Those that are not asked for are looked at only.
    root : `~pathlib.Path`
        The work folder.
    limits : Limits, optional
    redo : bool, optional
        Run also what is current.
    report : callable, optional
        Called with each `Ending` as it comes.
    started : callable, optional
        Called with each task that starts.

    Returns
    -------
    endings : list of Ending
        One for each task asked for, in the order in which they ended.
    """
    engine = _Engine(list(tasks), root, redo=redo, report=report)
    with Pool(
        limits.processes, memory_mb=limits.memory_mb, time_limit=limits.time_limit
    ) as pool:
        while engine.is_active():
            while (task := engine.next_that(pool.has_room)) is not None:
                started(task)
                pool.start(task)
            if pool.busy:
                for ended in pool.collect():
                    engine.ended(ended, alone=not pool.busy)
    return engine.endings


class _Engine:
    """What is ready, what has ended, and what follows from it."""

    def __init__(
        self,
        tasks: list[Task],
        root: Path,
        *,
        redo: bool,
        report: Callable[[Ending], None],
    ) -> None:
        self.judge = Judge(tasks, root, redo=redo)
        self.by_key, self.report = self.judge.by_key, report
        self.endings: list[Ending] = []
        self.sorter: TopologicalSorter[str] = TopologicalSorter(
            {
                key: [n for n in (*task.needs, *task.takes) if n in self.by_key]
                for key, task in self.by_key.items()
            }
        )
        self.sorter.prepare()
        self.waiting: deque[str] = deque()
        self.fit: deque[Task] = deque()
        self.again: set[str] = set()

    def is_active(self) -> bool:
        """Whether there is anything left to wait for."""
        return bool(self.fit) or self.sorter.is_active()

    def next_that(self, has_room: Callable[[Task], bool]) -> Task | None:
        """Give a task that is ready and for which there is room."""
        while True:
            # What follows from work just done comes first: mosaics early, and the
            # files it reads still in the machine's memory.
            self.waiting.extendleft(reversed(self.sorter.get_ready()))
            for index in range(len(self.fit)):
                if has_room(self.fit[index]):
                    task = self.fit[index]
                    del self.fit[index]
                    return task
            if not self.waiting or len(self.fit) >= _LOOK_AHEAD:
                return None
            self._judge(self.by_key[self.waiting.popleft()])

    def _judge(self, task: Task) -> None:
        verdict = self.judge.verdict(task)
        if not task.asked:
            self.judge.expect(verdict)
            self.sorter.done(task.key)
        elif verdict.outcome == RUN:
            notes = (*verdict.task.notes, *self.judge.stale_notes(verdict.task))
            self.fit.append(dataclasses.replace(verdict.task, notes=notes))
        else:
            self._settle(verdict)

    def _settle(self, verdict: Verdict) -> None:
        """End a task that need not or cannot run."""
        task, record = verdict.task, verdict.record
        if verdict.outcome == CURRENT and record is not None:
            self.judge.settle(verdict)
            self._end(task, record, ran=False)
            return
        if verdict.recorded:
            record = failed_record(task, verdict.outcome, verdict.reason)
        else:
            record = Record(task.stage, task.owner, verdict.outcome, verdict.reason)
        self._end(task, record, ran=True)

    def ended(self, ended: Ended, *, alone: bool) -> None:
        """Take what a worker says; what died for want of memory is tried again."""
        task = ended.task
        if ended.record is not None:
            self._end(task, ended.record, ran=True)
            return
        perhaps_memory = ended.how in ("memory", "SIGKILL")
        if (
            perhaps_memory
            and task.key not in self.again
            and not (alone and ended.how == "memory")
        ):
            self.again.add(task.key)
            more = max(2 * task.memory_mb, 1.5 * ended.peak_mb)
            self.fit.append(dataclasses.replace(task, memory_mb=more))
            return
        record = failed_record(
            task,
            "failed",
            _how_it_died(ended),
            peak_memory_mb=round(ended.peak_mb, 1),
            over_memory=perhaps_memory,
        )
        self._end(task, record, ran=True)

    def _end(self, task: Task, record: Record, *, ran: bool) -> None:
        self.judge.note(task, record, remade=ran)
        ending = Ending(task, record, ran)
        self.endings.append(ending)
        self.sorter.done(task.key)
        self.report(ending)


def _how_it_died(ended: Ended) -> str:
    task, peak = ended.task, ended.peak_mb / 1000
    name = f"{task.owner}: {task.stage}"
    if ended.how == "memory":
        return (
            f"{name} was stopped over memory: peak {peak:.1f} GB,"
            f" {task.memory_mb / 1000:.1f} expected. Try a smaller -j, or a machine"
            " with more"
        )
    if ended.how == "time":
        return f"{name} was stopped, it took too long. See {task.log}, or --time-limit"
    return (
        f"{name} ended without a word ({ended.how}), perhaps for lack of memory. Try a"
        " smaller -j"
    )
