"""Run tasks on this machine: a few workers, each doing one task at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from webbmosaic.files.ledger import DONE, Record, read_record
from webbmosaic.run.tasks import Task, execute, failed_record, reason_to_run

__all__ = ["Ending", "run_tasks"]

#: Threads inside a worker would fight with the other workers for the same cores.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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


def run_tasks(
    tasks: Iterable[Task],
    *,
    processes: int = 1,
    redo: bool = False,
    report: Callable[[Ending], None] = lambda _ending: None,
) -> list[Ending]:
    """
    Run tasks, each when what it needs is there, several at once.

    Parameters
    ----------
    tasks : iterable of Task
    processes : int, optional
        How many tasks may run at once; fewer where memory would not do.
    redo : bool, optional
        Run also what is current.
    report : callable, optional
        Called with each `Ending` as it comes.

    Returns
    -------
    endings : list of Ending
        One for each task, in the order in which they ended.
    """
    by_key = {task.key: task for task in tasks}
    needs = {
        key: [n for n in (*task.needs, *task.takes) if n in by_key]
        for key, task in by_key.items()
    }
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    state = _State(by_key, redo=redo, report=report)
    with _Pool(processes) as pool:
        waiting: list[Task] = []
        while sorter.is_active():
            # What follows from work just done comes first: mosaics early, and the
            # files it reads still in the machine's memory.
            waiting = [state.prepared(by_key[k]) for k in sorter.get_ready()] + waiting
            waiting = [t for t in waiting if not state.settled(t)]
            while waiting and pool.has_room(waiting[0]):
                pool.start(waiting.pop(0))
            if pool.busy:
                for task, record in pool.collect():
                    state.end(task, record, ran=True)
            sorter.done(*state.take_ended())
    return state.endings


class _State:
    """What has ended, and what follows from it for the tasks to come."""

    def __init__(
        self,
        by_key: dict[str, Task],
        *,
        redo: bool,
        report: Callable[[Ending], None],
    ) -> None:
        self.by_key, self.redo, self.report = by_key, redo, report
        self.endings: list[Ending] = []
        self.outcomes: dict[str, Record] = {}
        self._new: list[str] = []

    def prepared(self, task: Task) -> Task:
        """Leave out the inputs that could not be made, where others do."""
        missing = {
            path
            for key, _ in self._stopped(task.takes)
            for path in self.by_key[key].outputs
        }
        kept = tuple(path for path in task.inputs if path not in missing)
        return dataclasses.replace(task, inputs=kept)

    def _stopped(self, keys: Iterable[str]) -> list[tuple[str, Record]]:
        """Give those of some tasks that ended without a product."""
        return [
            (key, self.outcomes[key])
            for key in keys
            if key in self.outcomes and self.outcomes[key].outcome != DONE
        ]

    def settled(self, task: Task) -> bool:
        """End a task that need not or cannot run; say whether it has ended."""
        if task.key in self.outcomes:
            return True
        stopped = self._stopped(task.needs)
        if not task.inputs:
            stopped += self._stopped(task.takes)
        if stopped:
            outcome, sentence = _follows(task, stopped)
            self.end(task, failed_record(task, outcome, sentence), ran=True)
        elif not self.redo and reason_to_run(task) is None:
            record = read_record(task.record)
            if record is not None:
                self.end(task, record, ran=False)
        return task.key in self.outcomes

    def end(self, task: Task, record: Record, *, ran: bool) -> None:
        """Note how a task ended."""
        self.outcomes[task.key] = record
        self._new.append(task.key)
        ending = Ending(task, record, ran)
        self.endings.append(ending)
        self.report(ending)

    def take_ended(self) -> list[str]:
        """Give the keys of the tasks that ended since the last call."""
        ended, self._new = self._new, []
        return ended


def _follows(task: Task, stopped: list[tuple[str, Record]]) -> tuple[str, str]:
    """What becomes of a task whose needs ended other than done."""
    need, record = next(
        (s for s in stopped if s[1].outcome in ("failed", "blocked")), stopped[0]
    )
    stage = need.partition(":")[0]
    quiet = record.outcome in ("skipped", "unusable")
    outcome = record.outcome if quiet else "blocked"
    return (
        outcome,
        f"{task.owner}: {stage} ended as {record.outcome}: {record.sentence}",
    )


class _Pool:
    """Workers that are forked once, reused, and replaced when they die."""

    def __init__(self, processes: int) -> None:
        self.processes = max(1, processes)
        self.free: list[_Worker] = []
        self.busy: dict[Connection, _Worker] = {}
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["webbmosaic.run.warm"])
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in (*self.free, *self.busy.values()):
            worker.process.terminate()
            worker.process.join()
            worker.pipe.close()

    def has_room(self, task: Task) -> bool:
        """Whether a core and the memory for a task are free."""
        if not self.busy:
            return True
        promised = sum(w.task.memory_mb for w in self.busy.values() if w.task)
        enough = promised + task.memory_mb <= 0.9 * _memory_mb()
        return enough and len(self.busy) < self.processes

    def start(self, task: Task) -> None:
        """Hand a task to a worker."""
        worker = self.free.pop() if self.free else _Worker.forked(self.context)
        worker.task = task
        worker.pipe.send(task)
        self.busy[worker.pipe] = worker

    def collect(self) -> list[tuple[Task, Record]]:
        """Wait until at least one task has ended."""
        ended = []
        for ready in wait(list(self.busy)):
            assert isinstance(ready, Connection)
            worker = self.busy.pop(ready)
            assert worker.task is not None
            task, worker.task = worker.task, None
            try:
                ended.append((task, ready.recv()))
                self.free.append(worker)
            except EOFError:
                ended.append((task, _died(task, worker)))
        return ended


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None

    @classmethod
    def forked(cls, context: multiprocessing.context.ForkServerContext) -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)


def _work(pipe: Connection) -> None:
    """Do tasks until the parent is gone; then stop at once, even within a task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    warmed: set[str] = set()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            task = pipe.recv()
            pipe.send(execute(task))
            if task.stage not in warmed:
                # What the first task of a stage has loaded for good (rules of CRDS,
                # schemas) need not be walked by the collector at each step of the next.
                warmed.add(task.stage)
                gc.collect()
                gc.freeze()


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _died(task: Task, worker: _Worker) -> Record:
    worker.process.join()
    worker.pipe.close()
    code = worker.process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    sentence = (
        f"{task.owner}: the process of {task.stage} died ({how}), perhaps for lack of"
        f" memory. Try a smaller -j"
    )
    return failed_record(task, "failed", sentence)


def _memory_mb() -> float:
    """Memory that this process may use: the machine's, or its cgroup's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(total, int(text) / 2**20) if text.isdigit() else total
