"""Processes that do tasks: forked once, reused, watched, and replaced when they die."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import psutil

from webbmosaic.files.ledger import Record
from webbmosaic.files.products import sweep
from webbmosaic.run.estimates import machine_memory_mb
from webbmosaic.run.tasks import Task, execute

__all__ = ["Ended", "Pool"]

#: Threads inside a worker would fight with the other workers for the same cores.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

#: How often memory and time are looked at, in s.
_LOOK = 0.5


@dataclass(frozen=True)
class Ended:
    """
    How a worker ended a task.

    Attributes
    ----------
    task : Task
    record : Record or None
        `None` where the worker died or was killed.
    how : str
        Then, how: ``memory``, ``time``, or the signal or exit status.
    peak_mb : float
        Its memory, as far as it was seen.
    """

    task: Task
    record: Record | None
    how: str = ""
    peak_mb: float = 0.0


class Pool:
    """
    Workers on this machine.

    Parameters
    ----------
    processes : int
        Cores to use.
    memory_mb : float, optional
        Memory that all may use together; 0: nine tenths of what the machine or its
        cgroup has.
    time_limit : float, optional
        Time after which a task counts as hung, in s; 0: twenty times what was
        expected, and at least half an hour.
    """

    def __init__(
        self, processes: int, *, memory_mb: float = 0, time_limit: float = 0
    ) -> None:
        self.processes = max(1, processes)
        self.memory_mb = memory_mb or 0.9 * machine_memory_mb()
        self.time_limit = time_limit
        self.free: list[_Worker] = []
        self.busy: dict[Connection, _Worker] = {}
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["webbmosaic.run.warm"])
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")

    def __enter__(self) -> Pool:
        # Ctrl-C reaches every process of a terminal; only this one shall hear it.
        before = signal.getsignal(signal.SIGINT)
        in_main = threading.current_thread() is threading.main_thread()
        if in_main:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            if in_main:
                signal.signal(signal.SIGINT, before)
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in (*self.free, *self.busy.values()):
            worker.kill()
        for worker in self.busy.values():
            worker.sweep()

    def has_room(self, task: Task) -> bool:
        """Whether the cores and the memory for a task are free."""
        if not self.busy:
            return True
        running = [w.task for w in self.busy.values() if w.task is not None]
        cores = sum(t.cores for t in running) + task.cores
        promised = sum(t.memory_mb for t in running) + task.memory_mb
        return cores <= self.processes and promised <= self.memory_mb

    def start(self, task: Task) -> None:
        """Hand a task to a worker; one that died while idle is replaced."""
        while self.free:
            worker = self.free.pop()
            if worker.take(task):
                self.busy[worker.pipe] = worker
                return
            worker.kill()
        worker = _Worker.forked(self.context)
        worker.take(task)  # where it died already, collect tells
        self.busy[worker.pipe] = worker

    def collect(self) -> list[Ended]:
        """Wait until at least one task has ended, and watch the others."""
        ended: list[Ended] = []
        while not ended:
            for ready in wait(list(self.busy), timeout=_LOOK):
                assert isinstance(ready, Connection)
                ended.append(self._received(self.busy.pop(ready)))
            if not ended:
                ended += self._watched()
        return ended

    def _received(self, worker: _Worker) -> Ended:
        task, worker.task = worker.task, None
        assert task is not None
        try:
            record = worker.pipe.recv()
        except (EOFError, OSError):
            how = worker.died()
            worker.task = task
            worker.sweep()
            return Ended(task, None, how, worker.peak_mb)
        self.free.append(worker)
        return Ended(task, record)

    def _watched(self) -> list[Ended]:
        """Kill what takes too long, and the greediest where memory runs out."""
        for worker in self.busy.values():
            worker.look()
        late = [w for w in self.busy.values() if w.seconds > self._limit(w)]
        ended = [self._killed(worker, "time") for worker in late]
        if sum(w.memory_mb for w in self.busy.values()) > self.memory_mb:
            greediest = max(self.busy.values(), key=_Worker.excess)
            ended.append(self._killed(greediest, "memory"))
        return ended

    def _limit(self, worker: _Worker) -> float:
        expected = worker.task.seconds if worker.task else 0.0
        return self.time_limit or max(1800.0, 20 * expected)

    def _killed(self, worker: _Worker, how: str) -> Ended:
        del self.busy[worker.pipe]
        task = worker.task
        assert task is not None
        worker.kill()
        worker.sweep()
        return Ended(task, None, how, worker.peak_mb)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    started: float = 0.0
    memory_mb: float = 0.0
    peak_mb: float = 0.0

    @classmethod
    def forked(cls, context: multiprocessing.context.ForkServerContext) -> _Worker:
        ours, theirs = context.Pipe()
        # Not a daemon: the ramp fit may want processes of its own.
        process = context.Process(target=_work, args=(theirs,), daemon=False)
        process.start()
        theirs.close()
        return cls(process, ours)

    def take(self, task: Task) -> bool:
        """Send a task; say whether the worker was there to take it."""
        self.task, self.started = task, time.monotonic()
        self.memory_mb = self.peak_mb = 0.0
        try:
            self.pipe.send(task)
        except OSError:
            return False
        return True

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def excess(self) -> float:
        """Memory beyond what was expected."""
        expected = self.task.memory_mb if self.task else 0.0
        return self.memory_mb - expected

    def look(self) -> None:
        """Measure the memory of the worker and all its children."""
        total = 0.0
        with contextlib.suppress(psutil.Error):
            here = psutil.Process(self.process.pid)
            for one in (here, *here.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += one.memory_full_info().uss / 2**20
        self.memory_mb = total
        self.peak_mb = max(self.peak_mb, total)

    def kill(self) -> None:
        """End the process and its children, whatever they do."""
        tree = []
        with contextlib.suppress(psutil.Error):
            here = psutil.Process(self.process.pid)
            tree = [*here.children(recursive=True), here]
        for one in tree:
            with contextlib.suppress(psutil.Error):
                one.kill()
        self.process.join()
        self.pipe.close()

    def died(self) -> str:
        """Say how the process ended."""
        self.process.join()
        self.pipe.close()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"

    def sweep(self) -> None:
        """Remove the temporary files of a task that was cut short."""
        paths = (*self.task.outputs, self.task.record) if self.task else ()
        for folder in {path.parent for path in paths}:
            sweep(folder)


def _work(pipe: Connection) -> None:
    """Do tasks until the parent is gone; then stop at once, even within a task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    warmed: set[str] = set()
    with contextlib.suppress(EOFError, OSError):
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
