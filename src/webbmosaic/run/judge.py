"""What must be run and why: one answer for ``plan``, ``--dry-run`` and ``run``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from webbmosaic.errors import StorageError
from webbmosaic.files.current import Contents, refreshed, why_stale
from webbmosaic.files.ledger import (
    DONE,
    GOOD,
    Record,
    failure_beside,
    forget_failure,
    note_times,
    read_record,
)
from webbmosaic.run.tasks import MAKES_INPUT, Task

__all__ = ["CURRENT", "RUN", "Judge", "Verdict", "outlook"]

RUN, CURRENT = "run", "current"


@dataclass(frozen=True)
class Verdict:
    """
    What becomes of a task.

    Attributes
    ----------
    task : Task
        With the inputs that it would really read.
    outcome : str
        `RUN`, `CURRENT`, or an ending without running: ``skipped``, ``unusable``,
        ``blocked``, ``failed``.
    reason : str
        Why; empty where it is current.
    record : Record or None
        Of the last success, or else of the last time.
    cause : str
        Key of the task from which an ending follows, or because of which this one runs.
    recorded : bool
        Whether the ending is worth a record: not where only something must be run
        first.
    """

    task: Task
    outcome: str
    reason: str = ""
    record: Record | None = None
    cause: str = ""
    recorded: bool = True


@dataclass(frozen=True)
class _Known:
    """How a task ended, or will: what those that depend on it need to know."""

    outcome: str
    sentence: str = ""
    remade: bool = False
    made: bool = True


class Judge:
    """
    Judges tasks one after the other, each after those that it depends on.

    Parameters
    ----------
    tasks : iterable of Task
    root : `~pathlib.Path`
        The work folder.
    redo : bool, optional
        Whether what is current is asked for again.
    full : bool, optional
        Whether every file is hashed, whatever its times say.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        root: Path,
        *,
        redo: bool = False,
        full: bool = False,
    ) -> None:
        self.by_key = {task.key: task for task in tasks}
        self.redo = redo
        self.contents = Contents(root, full=full)
        self._known: dict[str, _Known] = {}

    def note(self, task: Task, record: Record, *, remade: bool) -> None:
        """Note how a task has ended."""
        self.contents.forget(task.outputs)
        done = record.outcome == DONE
        self._known[task.key] = _Known(
            record.outcome, record.sentence, remade=remade, made=done
        )

    def expect(self, verdict: Verdict) -> None:
        """Note what a verdict means for those that depend on the task."""
        key = verdict.task.key
        if verdict.outcome == RUN and verdict.task.asked:
            self._known[key] = _Known(DONE, remade=True)
        elif verdict.outcome == RUN:
            self._known[key] = self._not_asked(verdict)
        elif verdict.outcome == CURRENT and verdict.record is not None:
            record = verdict.record
            made = record.outcome == DONE
            said = self._old_inputs(verdict.task) if made else record.sentence
            self._known[key] = _Known(record.outcome, said, made=made)
        else:
            stands = not (verdict.task.asked or verdict.recorded)
            made = stands and self._there(verdict.task)
            left = not (verdict.task.asked or verdict.recorded)
            outcome = "left" if left else verdict.outcome
            self._known[key] = _Known(outcome, verdict.reason, made=made)

    def _old_inputs(self, task: Task) -> str:
        """Say why something that a product was made from would be run again."""
        found = (
            self._known[key].sentence
            for key in (*task.needs, *task.takes)
            if key in self._known
            and self._known[key].made
            and not self.by_key[key].asked
        )
        return next((sentence for sentence in found if sentence), "")

    def _not_asked(self, verdict: Verdict) -> _Known:
        """Judge what others depend on and will not be run now."""
        failure = self._failure(verdict.task)
        if failure is not None:
            return _Known(failure.outcome, failure.sentence, made=False)
        if not self._there(verdict.task):
            return _Known("left", made=False)
        return _Known(DONE, verdict.reason)

    def _there(self, task: Task) -> bool:
        names = (self.contents.name(path) for path in task.outputs)
        return all(self.contents.is_there(name) for name in names)

    def _failure(self, task: Task) -> Record | None:
        """Give the failure that came last, if one did."""
        for path in (failure_beside(task.record), task.record):
            record = read_record(path)
            if record is not None and record.outcome not in GOOD:
                return record
        return None

    def verdict(self, task: Task) -> Verdict:
        """
        Judge a task.

        Parameters
        ----------
        task : Task
            All that it depends on was noted or expected before.

        Returns
        -------
        verdict : Verdict
        """
        try:
            record = read_record(task.record)
        except StorageError as error:
            return Verdict(task, "failed", str(error))
        task, lost = self._with_inputs_there(task, record)
        follows = self._follows(task, record)
        if follows is not None:
            return follows
        reason, cause = self._reason(task, record)
        if reason is None:
            return Verdict(task, CURRENT, record=record)
        missing = lost or self._missing(task)
        if missing:
            return Verdict(task, "blocked", missing, record, recorded=False)
        return Verdict(task, RUN, reason, record, cause)

    def _reason(self, task: Task, record: Record | None) -> tuple[str | None, str]:
        if self.redo and task.asked:
            return "asked for", ""
        for key in (*task.needs, *task.takes):
            if key in self._known and self._known[key].remade:
                stage, _, owner = key.partition(":")
                of = "" if owner == task.owner else f" of {owner}"
                return f"because {stage}{of} is remade", key
        return why_stale(record, task.wanted, self.contents), ""

    def _with_inputs_there(self, task: Task, record: Record | None) -> tuple[Task, str]:
        """
        Leave out the inputs that could not be made, where others do.

        What a product was made of and is only not there is not left out: a mosaic is
        not replaced by one of fewer exposures.
        """
        absent = {
            path: self._known[key]
            for key in task.takes
            if key in self._known and not self._known[key].made
            for path in self.by_key[key].outputs
        }
        if not absent:
            return task, ""
        made_of = set()
        if record is not None and record.outcome == DONE:
            made_of = {mark.path for mark in record.inputs}
        lost = [
            path
            for path, known in absent.items()
            if known.outcome == "left" and self.contents.name(path) in made_of
        ]
        gone = {path for path in absent if path not in lost}
        kept = tuple(path for path in task.inputs if path not in gone)
        said = ""
        if lost:
            said = (
                f"{task.owner} was made of {len(made_of)} exposures, and {len(lost)} of"
                f" them are not there now ({lost[0].name}, ...). Try:"
                f" {MAKES_INPUT[task.stage]} -C {task.root}"
            )
        return dataclasses.replace(task, inputs=kept), said

    def _follows(self, task: Task, record: Record | None) -> Verdict | None:
        """Say what becomes of a task whose needs ended other than done."""
        keys = list(task.needs)
        if not task.inputs:
            keys += task.takes
        stopped = [k for k in keys if k in self._known and not self._known[k].made]
        if not stopped:
            return None
        key = next((k for k in stopped if self._known[k].outcome not in GOOD), None)
        key = key or stopped[0]
        known, (stage, _, owner) = self._known[key], key.partition(":")
        if known.outcome == "left":
            said = self._run_first(task)
            return Verdict(task, "blocked", said, record, key, recorded=False)
        outcome = known.outcome if known.outcome in GOOD else "blocked"
        of = "" if owner == task.owner else f" of {owner}"
        reason = f"{task.owner}: {stage}{of} ended as {known.outcome}: {known.sentence}"
        if outcome != "blocked" and record is not None and record.outcome == outcome:
            return Verdict(task, CURRENT, record=record)
        return Verdict(task, outcome, reason, record, key)

    def _missing(self, task: Task) -> str:
        """Say what to run first, where an input is not there and nothing makes it."""
        to_come = {
            path
            for key in (*task.needs, *task.takes)
            if key in self._known and self._known[key].remade
            for path in self.by_key[key].outputs
        }
        inputs = [path for path in task.inputs if path not in to_come]
        names = (self.contents.name(path) for path in inputs)
        if all(self.contents.is_there(name) for name in names):
            return ""
        return self._run_first(task)

    def _run_first(self, task: Task) -> str:
        what = {
            "stage1": "its raw ramps are not there",
            "stage3": "no exposure of it is calibrated yet",
        }.get(task.stage, "its count-rate image is not there")
        if task.stage == "stage3" and any(path.exists() for path in task.inputs):
            what = "some of its calibrated images are not there"
        first = f"{MAKES_INPUT[task.stage]} -C {task.root}"
        return f"{task.owner}: {what}; first run {first}"

    def stale_notes(self, task: Task) -> tuple[str, ...]:
        """Say which of the inputs of a task are not what they would be made now."""
        keys = [*task.needs, *task.takes]
        old = [
            (key, self._known[key].sentence)
            for key in keys
            if key in self._known
            and not self.by_key[key].asked
            and self._known[key].made
            and self._known[key].sentence not in ("", "not done yet")
        ]
        if not old:
            return ()
        key, why = old[0]
        stage = key.partition(":")[0]
        return (
            f"{len(old)} of {len(keys)} inputs are taken as they are, although {stage}"
            f" would be run again ({why})",
        )

    def settle(self, verdict: Verdict) -> None:
        """Bring the records of a current product up to date, where that may be done."""
        if verdict.outcome != CURRENT or verdict.record is None:
            return
        path = verdict.task.record
        forget_failure(path)
        new = refreshed(verdict.record, self.contents)
        if new is not None:
            note_times(path, new)


def outlook(judge: Judge, tasks: Iterable[Task]) -> list[Verdict]:
    """
    Say what a run would do.

    Parameters
    ----------
    judge : Judge
    tasks : iterable of Task
        What one needs comes before it.

    Returns
    -------
    verdicts : list of Verdict
        Of the tasks asked for.
    """
    verdicts = []
    for task in tasks:
        verdict = judge.verdict(task)
        judge.expect(verdict)
        if task.asked:
            verdicts.append(verdict)
    return verdicts
