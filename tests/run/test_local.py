"""Tasks: what is run, what is current, what is blocked, and a worker that dies."""

import dataclasses
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from webbmosaic.errors import InputError, NothingToDo, UnusableDataError
from webbmosaic.files.ledger import Result, read_record
from webbmosaic.run import local
from webbmosaic.run.local import run_tasks
from webbmosaic.run.tasks import Task, execute


def work(inputs, outputs, _settings):
    """Stand in for a stage: copy, or do what the input says."""
    text = inputs[0].read_text()
    endings = {
        "skip": NothingToDo("x: nothing to do"),
        "unusable": UnusableDataError("x: saturated"),
        "broken": InputError("x: truncated"),
        "strange": ZeroDivisionError("division by zero"),
        "memory": MemoryError(),
    }
    if text in endings:
        raise endings[text]
    os.write(1, b"the pipeline talks\n")  # as C libraries do
    outputs[0].parent.mkdir(exist_ok=True)
    outputs[0].write_text("+".join(p.read_text() for p in inputs))
    return Result(numbers={"inputs": len(inputs)})


@pytest.fixture
def stages(monkeypatch):
    """Replace every stage by `work`, and the pool by this process."""
    import importlib
    import types

    stage = types.SimpleNamespace(run=work)
    monkeypatch.setattr(importlib, "import_module", lambda _name: stage)
    monkeypatch.setattr(local, "_Pool", InProcess)


class InProcess:
    """Does each task at once, as a pool of one worker would."""

    def __init__(self, _processes):
        self.task = None

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return None

    @property
    def busy(self):
        return self.task is not None

    def has_room(self, _task):
        return self.task is None

    def start(self, task):
        self.task = task

    def collect(self):
        task, self.task = self.task, None
        return [(task, execute(task))]


def a_task(folder: Path, stage="stage1", owner="a", **changes) -> Task:
    task = Task(
        stage=stage,
        owner=owner,
        inputs=(folder / f"{owner}.in",),
        outputs=(folder / f"{owner}.{stage}",),
        record=folder / "state" / f"{owner}.{stage}.json",
        log=folder / "logs" / f"{owner}.{stage}.log",
    )
    return dataclasses.replace(task, **changes)


def chain(folder, contents):
    """Make one exposure for each content, and a mosaic of all."""
    first, second = [], []
    for number, content in enumerate(contents):
        (folder / f"{number}.in").write_text(content)
        first.append(a_task(folder, owner=str(number)))
        second.append(
            a_task(
                folder,
                "stage2",
                str(number),
                inputs=first[-1].outputs,
                needs=(first[-1].key,),
            )
        )
    mosaic = a_task(
        folder,
        "stage3",
        "all",
        inputs=tuple(t.outputs[0] for t in second),
        takes=tuple(t.key for t in second),
    )
    return [*first, *second, mosaic]


def outcomes(endings):
    return {e.task.key: e.record.outcome for e in endings}


@pytest.mark.usefixtures("stages")
def test_everything_is_done_once(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    assert set(outcomes(run_tasks(tasks)).values()) == {"done"}
    assert (tmp_path / "all.stage3").read_text() == "x+y"
    assert not any(e.ran for e in run_tasks(tasks))
    assert all(e.ran for e in run_tasks(tasks, redo=True))


@pytest.mark.usefixtures("stages")
def test_only_what_changed_is_done_again(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    run_tasks(tasks)
    (tmp_path / "0.in").write_text("new")
    ran = {e.task.key for e in run_tasks(tasks) if e.ran}
    assert ran == {"stage1:0", "stage2:0", "stage3:all"}
    assert (tmp_path / "all.stage3").read_text() == "new+y"


@pytest.mark.usefixtures("stages")
def test_one_bad_exposure_stops_nobody_else(tmp_path):
    endings = run_tasks(chain(tmp_path, ["x", "broken", "y"]))
    found = outcomes(endings)
    assert found["stage1:1"] == "failed"
    assert found["stage2:1"] == "blocked"
    assert found["stage3:all"] == "done"
    assert (tmp_path / "all.stage3").read_text() == "x+y"
    blocked = read_record(tmp_path / "state" / "1.stage2.json")
    assert blocked.sentence == "1: stage1 ended as failed: x: truncated"


@pytest.mark.usefixtures("stages")
def test_an_exposure_that_is_mended_joins_the_mosaic(tmp_path):
    tasks = chain(tmp_path, ["x", "broken"])
    run_tasks(tasks)
    (tmp_path / "1.in").write_text("y")
    run_tasks(tasks)
    assert (tmp_path / "all.stage3").read_text() == "x+y"


@pytest.mark.usefixtures("stages")
@pytest.mark.parametrize("quiet", ["skip", "unusable"])
def test_what_needs_no_human_blocks_nobody(tmp_path, quiet):
    found = outcomes(run_tasks(chain(tmp_path, [quiet])))
    assert "blocked" not in found.values()
    assert found["stage3:all"] == found["stage1:0"]


@pytest.mark.usefixtures("stages")
def test_without_any_exposure_the_mosaic_is_blocked(tmp_path):
    assert outcomes(run_tasks(chain(tmp_path, ["broken"])))["stage3:all"] == "blocked"


@pytest.mark.usefixtures("stages")
def test_whatever_happens_is_a_sentence_and_the_traceback_is_in_the_log(tmp_path):
    (tmp_path / "a.in").write_text("strange")
    record = execute(a_task(tmp_path))
    assert record.outcome == "failed"
    assert record.sentence.startswith("a: stage1 stopped with ZeroDivisionError")
    assert "Traceback" in (tmp_path / "logs" / "a.stage1.log").read_text()


@pytest.mark.usefixtures("stages")
def test_out_of_memory_says_what_to_try(tmp_path):
    (tmp_path / "a.in").write_text("memory")
    assert "Try a smaller -j" in execute(a_task(tmp_path)).sentence


@pytest.mark.usefixtures("stages")
def test_all_that_is_printed_goes_to_the_log(tmp_path, capfd):
    (tmp_path / "a.in").write_text("x")
    execute(a_task(tmp_path))
    assert "the pipeline talks" in (tmp_path / "logs" / "a.stage1.log").read_text()
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("stages")
def test_what_a_killed_run_left_is_swept(tmp_path):
    (tmp_path / "a.in").write_text("x")
    leftover = tmp_path / ".4711-a.stage1"
    leftover.write_text("half")
    execute(a_task(tmp_path))
    assert not leftover.exists()


def test_a_missing_input_is_a_failure(tmp_path):
    record = execute(a_task(tmp_path))
    assert record.outcome == "failed"
    assert "a.in" in record.sentence


class _FakeProcess:
    exitcode = -signal.SIGKILL

    def join(self):
        return None


def test_a_worker_that_dies_is_told_from_a_failure(tmp_path):
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    worker = local._Worker(_FakeProcess(), ours)
    record = local._died(a_task(tmp_path), worker)
    assert record.outcome == "failed"
    assert "SIGKILL" in record.sentence
    assert "smaller -j" in record.sentence
