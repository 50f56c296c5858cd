"""A task: one stage of one dataset or group. Here everything is caught, once."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webbmosaic.errors import NothingToDo, UnusableDataError, WebbmosaicError
from webbmosaic.files import ledger
from webbmosaic.files.ledger import FileMark, Record, Result
from webbmosaic.run.capture import capture
from webbmosaic.settings import Settings

__all__ = ["STAGE_SECTIONS", "Task", "execute", "failed_record", "reason_to_run"]

#: The settings that decide what a stage makes.
STAGE_SECTIONS: dict[str, tuple[str, ...]] = {
    "stage1": ("detector1", "flat", "masks", "snowballs", "wisps", "stripes"),
    "persistence": ("persistence",),
    "badpixels": ("badpixels",),
    "stage2": ("sky",),
    "stage3": (
        *("members", "alignment", "skymatch", "outliers", "resample", "catalogue"),
    ),
}


@dataclass(frozen=True)
class Task:
    """
    One stage of one dataset or group.

    Attributes
    ----------
    stage : str
        Names the module below `webbmosaic.stages` whose ``run`` does it.
    owner : str
        The dataset or group.
    inputs, outputs : tuple of `~pathlib.Path`
    record, log : `~pathlib.Path`
        Where the ledger's record and the log go.
    settings : Settings
        Narrowed to this exposure or group.
    context : str
        The CRDS context that is pinned.
    needs : tuple of str
        Keys of the tasks without whose product there is nothing to do.
    takes : tuple of str
        Keys of tasks whose products are inputs where they could be made, and left out
        where not.
    memory_mb : float
        Expected peak memory.
    """

    stage: str
    owner: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    record: Path
    log: Path
    settings: Settings = field(default_factory=Settings)
    context: str = ""
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    memory_mb: float = 1000.0

    @property
    def key(self) -> str:
        """Name the task."""
        return f"{self.stage}:{self.owner}"

    @property
    def settings_used(self) -> dict[str, Any]:
        """The settings that decide the product."""
        return self.settings.as_dict(*STAGE_SECTIONS[self.stage])


def reason_to_run(task: Task) -> str | None:
    """
    Say why a task must run, or `None` where its product is current.

    Parameters
    ----------
    task : Task

    Returns
    -------
    reason : str or None
    """
    record = ledger.read_record(task.record)
    return ledger.why_stale(
        record, task.inputs, task.settings_used, context=task.context
    )


def execute(task: Task) -> Record:
    """
    Run a task, whatever happens, and record how it ended.

    Parameters
    ----------
    task : Task

    Returns
    -------
    record : Record
        Also written to ``task.record``, after the products.
    """
    watch = _Watch()
    record = _blank(task)
    try:
        inputs = [ledger.mark(p) for p in task.inputs]
        record = dataclasses.replace(record, inputs=inputs)
        _sweep(task.outputs)
        with capture(task.log):
            module = importlib.import_module(f"webbmosaic.stages.{task.stage}")
            result = module.run(list(task.inputs), list(task.outputs), task.settings)
        record = _finished(record, task, result)
    except KeyboardInterrupt:
        raise
    # This is the one place that catches everything: stcal's TweakregError, for
    # instance, is no Exception.
    except BaseException as error:  # noqa: BLE001
        outcome, sentence = _explained(error, task)
        record = dataclasses.replace(record, outcome=outcome, sentence=sentence)
    record = watch.note(record)
    try:
        ledger.write_record(task.record, record)
    except WebbmosaicError as error:
        record = dataclasses.replace(record, outcome="failed", sentence=str(error))
    return record


def failed_record(task: Task, outcome: str, sentence: str) -> Record:
    """Record an ending that the task could not: its worker died, or it never ran."""
    record = dataclasses.replace(_blank(task), outcome=outcome, sentence=sentence)
    ledger.write_record(task.record, record)
    return record


def _blank(task: Task) -> Record:
    return Record(
        stage=task.stage,
        owner=task.owner,
        outcome="failed",
        settings=task.settings_used,
        versions=ledger.versions(),
        context=task.context,
        log=str(task.log),
        host=os.uname().nodename,
    )


def _finished(record: Record, task: Task, result: Result) -> Record:
    outputs = [*task.outputs, *result.outputs]
    return dataclasses.replace(
        record,
        outcome=ledger.DONE,
        outputs=[ledger.mark(p) for p in outputs],
        context=result.context or record.context,
        references=_reference_marks(result.references),
        numbers=result.numbers,
        notes=list(result.notes),
    )


def _reference_marks(references: dict[str, str]) -> dict[str, FileMark]:
    """Mark the references where the cache keeps them."""
    if not references:
        return {}
    from crds.core import config

    marks = {}
    for kind, name in references.items():
        path = Path(config.locate_file(name, observatory="jwst"))
        if path.is_file():
            marks[kind] = ledger.mark(path)
    return marks


def _sweep(outputs: tuple[Path, ...]) -> None:
    """Remove what a killed run left under temporary names."""
    for path in outputs:
        for leftover in path.parent.glob(f".[0-9]*-{path.name}"):
            leftover.unlink(missing_ok=True)


def _explained(error: BaseException, task: Task) -> tuple[str, str]:
    if isinstance(error, NothingToDo):
        return "skipped", str(error)
    if isinstance(error, UnusableDataError):
        return "unusable", str(error)
    if isinstance(error, WebbmosaicError):
        return "failed", str(error)
    if isinstance(error, MemoryError):
        return (
            "failed",
            f"{task.owner}: out of memory in {task.stage}. Try a smaller -j",
        )
    said = (str(error).strip().splitlines() or [""])[0][:300]
    return "failed", (
        f"{task.owner}: {task.stage} stopped with {type(error).__name__}: {said}. "
        f"See {task.log}"
    )


class _Watch:
    """Measures the time and memory of one task in a process that runs many."""

    def __init__(self) -> None:
        self.started = datetime.datetime.now(datetime.UTC)
        self.clock, self.cpu = time.monotonic(), time.process_time()
        # Linux forgets the peak so far when asked to; elsewhere it is the process's.
        peak = Path("/proc/self/clear_refs")
        if peak.exists():
            peak.write_text("5")

    def note(self, record: Record) -> Record:
        """Add what was measured to a record."""
        return dataclasses.replace(
            record,
            started=self.started.isoformat(timespec="seconds"),
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.clock, 3),
            cpu_seconds=round(time.process_time() - self.cpu, 3),
            peak_memory_mb=round(_peak_memory_mb(), 1),
        )


def _peak_memory_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
