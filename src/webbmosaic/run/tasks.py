"""A task: one stage of one dataset or group. Here everything is caught, once."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from webbmosaic.errors import (
    InputError,
    NothingToDo,
    UnusableDataError,
    WebbmosaicError,
)
from webbmosaic.files import ledger
from webbmosaic.files.current import Contents, Wanted
from webbmosaic.files.ledger import FileMark, Record, Result
from webbmosaic.files.products import storage_problem, sweep
from webbmosaic.run.capture import capture
from webbmosaic.run.sections import STAGE_SECTIONS
from webbmosaic.settings import Settings
from webbmosaic.settings_used import fingerprint

__all__ = ["STAGE_ORDER", "Task", "execute", "failed_record"]

#: Stages in the order in which they are run.
STAGE_ORDER = ("stage1", "persistence", "badpixels", "stage2", "stage3")

#: What makes the input of a stage.
MAKES_INPUT = {
    "stage1": "webbmosaic prepare SOURCE",
    "persistence": "webbmosaic stage1",
    "badpixels": "webbmosaic stage1",
    "stage2": "webbmosaic stage1",
    "stage3": "webbmosaic stage2",
}

#: Of the schedulers: what a job is called in there.
_JOB = ("SLURM_JOB_ID", "PBS_JOBID")


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
    root : `~pathlib.Path`
        The work folder.
    inputs, outputs : tuple of `~pathlib.Path`
    record, log : `~pathlib.Path`
        Where the ledger's record and the log go.
    files : tuple of `~pathlib.Path`
        Masks, templates and catalogues whose content decides.
    settings : Settings
        Narrowed to this exposure or group.
    narrow : mapping
        By what: ``instrument``, ``filter_name``, ``detector``.
    idle : tuple of str
        Sections of settings whose step has nothing to do here.
    overrides : mapping
        ``section.key`` -> value, of what the command line changes.
    context : str
        The CRDS context that is pinned.
    needs : tuple of str
        Keys of the tasks without whose product there is nothing to do.
    takes : tuple of str
        Keys of tasks whose products are inputs where they could be made, and left out
        where not.
    memory_mb, seconds : float
        Expected peak memory and time.
    cores : int
        That it keeps busy.
    asked : bool
        `False` where it is looked at only because others depend on it.
    notes : tuple of str
        Sentences from planning, for the record.
    """

    stage: str
    owner: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    record: Path
    log: Path
    root: Path = Path()
    files: tuple[Path, ...] = ()
    settings: Settings = field(default_factory=Settings)
    narrow: Mapping[str, str] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    context: str = ""
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    memory_mb: float = 1000.0
    seconds: float = 60.0
    cores: int = 1
    asked: bool = True
    notes: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Name the task."""
        return f"{self.stage}:{self.owner}"

    @property
    def sections(self) -> dict[str, bool]:
        """The sections of settings of this stage, and whether they matter here."""
        return {name: name not in self.idle for name in STAGE_SECTIONS[self.stage]}

    @property
    def settings_used(self) -> dict[str, Any]:
        """The settings that reach the pixels of the product."""
        return fingerprint(self.settings, self.sections)

    @property
    def wanted(self) -> Wanted:
        """What the product would be made with now."""
        return Wanted(
            inputs=self.inputs,
            outputs=self.outputs,
            files=self.files,
            settings=self.settings_used,
            context=self.context,
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
        contents = Contents(task.root)
        record = _with_inputs(record, task, contents)
        for folder in {path.parent for path in task.outputs}:
            sweep(folder)
        with capture(task.log):
            module = importlib.import_module(f"webbmosaic.stages.{task.stage}")
            result = module.run(list(task.inputs), list(task.outputs), task.settings)
        record = _finished(record, task, result, contents)
    except KeyboardInterrupt:
        raise
    # This is the one place that catches everything: stcal's TweakregError, for
    # instance, is no Exception.
    except BaseException as error:  # noqa: BLE001
        outcome, sentence = _explained(error, task)
        record = dataclasses.replace(record, outcome=outcome, sentence=sentence)
    return _kept(task, watch.note(record))


def _kept(task: Task, record: Record) -> Record:
    """Write a record; where that cannot be, say so in it."""
    try:
        ledger.keep(task.record, record)
    except WebbmosaicError as error:
        said = record.sentence or str(error)
        record = dataclasses.replace(record, outcome="failed", sentence=said)
    return record


def failed_record(task: Task, outcome: str, sentence: str, **measured: Any) -> Record:
    """
    Record an ending that the task could not: its worker died, or it never ran.

    Parameters
    ----------
    task : Task
    outcome, sentence : str
    **measured
        Further fields of the record.

    Returns
    -------
    record : Record
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = dataclasses.replace(
        _blank(task), outcome=outcome, sentence=sentence, finished=now, **measured
    )
    return _kept(task, record)


def _blank(task: Task) -> Record:
    return Record(
        stage=task.stage,
        owner=task.owner,
        outcome="failed",
        settings=task.settings_used,
        overrides=dict(task.overrides),
        versions=ledger.versions(),
        context=task.context,
        notes=list(task.notes),
        log=Contents(task.root).name(task.log),
        predicted_mb=round(task.memory_mb, 1),
        host=os.uname().nodename,
        job=next((os.environ[name] for name in _JOB if name in os.environ), ""),
    )


def _with_inputs(record: Record, task: Task, contents: Contents) -> Record:
    missing = [path for path in task.inputs if not path.exists()]
    if missing:
        link = " (its link leads nowhere)" if missing[0].is_symlink() else ""
        try_this = f"{MAKES_INPUT[task.stage]} -C {task.root}"
        msg = f"{task.owner}: {missing[0]} is not there{link}. Try: {try_this}"
        raise InputError(msg)
    return dataclasses.replace(
        record,
        inputs=[contents.mark(p) for p in task.inputs],
        files=[contents.mark(p) for p in task.files],
    )


def _finished(record: Record, task: Task, result: Result, contents: Contents) -> Record:
    outputs = [*task.outputs, *result.outputs]
    return dataclasses.replace(
        record,
        outcome=ledger.DONE,
        outputs=[contents.mark(p) for p in outputs],
        context=result.context or record.context,
        references=_reference_marks(result.references, contents),
        numbers=result.numbers,
        notes=[*record.notes, *result.notes],
    )


def _reference_marks(
    references: dict[str, str], contents: Contents
) -> dict[str, FileMark]:
    """Mark the references where the cache keeps them."""
    if not references:
        return {}
    from crds.core import config

    marks = {}
    for kind, name in references.items():
        path = Path(config.locate_file(name, observatory="jwst"))
        if path.is_file():
            marks[kind] = contents.mark(path)
    return marks


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
            f"{task.owner}: out of memory in {task.stage} ({error}). It was expected"
            f" to take {task.memory_mb / 1000:.1f} GB. Try a smaller -j, or a machine"
            " with more",
        )
    if isinstance(error, OSError):
        problem = storage_problem(task.outputs[0], error)
        if problem is not None:
            return "failed", str(problem)
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
