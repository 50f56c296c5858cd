"""Tasks: what is run, what is current, what is blocked, and a worker that dies."""

import dataclasses
import os

import pytest

from small_tasks import a_task
from webbmosaic.errors import InputError, NothingToDo, UnusableDataError
from webbmosaic.files.ledger import Result, read_record
from webbmosaic.run import local
from webbmosaic.run.judge import Judge, outlook
from webbmosaic.run.tasks import execute
from webbmosaic.run.workers import Ended


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
    monkeypatch.setattr(local, "Pool", InProcess)


class InProcess:
    """Does each task at once, as a pool of one worker would."""

    def __init__(self, _processes, **_limits):
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
        return [Ended(task, execute(task))]


def run_tasks(tasks, **more):
    tasks = list(tasks)
    return local.run_tasks(tasks, tasks[0].root, **more)


def dry_run(tasks, **more):
    """Give what would be run, and why."""
    verdicts = outlook(Judge(tasks, tasks[0].root, **more), tasks)
    return {v.task.key: v.reason for v in verdicts if v.outcome != "current"}


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
    tasks = chain(tmp_path, [quiet])
    found = outcomes(run_tasks(tasks))
    assert "blocked" not in found.values()
    assert found["stage3:all"] == found["stage1:0"]
    assert dry_run(tasks) == {}
    assert not any(e.ran for e in run_tasks(tasks))


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


def test_a_missing_input_names_what_makes_it(tmp_path):
    record = execute(a_task(tmp_path, "stage2"))
    assert record.outcome == "failed"
    assert f"Try: webbmosaic stage1 -C {tmp_path}" in record.sentence


@pytest.mark.usefixtures("stages")
@pytest.mark.parametrize("contents", [["x", "y"], ["x", "broken"], ["x", "skip"]])
def test_the_dry_run_says_what_the_run_does(tmp_path, contents):
    tasks = chain(tmp_path, contents)
    for _ in range(3):
        expected = set(dry_run(tasks))
        ran = {e.task.key for e in run_tasks(tasks) if e.ran}
        assert ran <= expected
        if "broken" not in contents:
            assert ran == expected


@pytest.mark.usefixtures("stages")
def test_the_dry_run_shows_what_follows(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    run_tasks(tasks)
    assert dry_run(tasks) == {}
    (tmp_path / "0.in").write_text("new")
    assert dry_run(tasks) == {
        "stage1:0": "0.in has changed",
        "stage2:0": "because stage1 is remade",
        "stage3:all": "because stage2 of 0 is remade",
    }


@pytest.mark.usefixtures("stages")
def test_a_failure_does_not_erase_a_success(tmp_path):
    tasks = chain(tmp_path, ["x"])
    run_tasks(tasks)
    (tmp_path / "0.in").write_text("broken")
    assert outcomes(run_tasks(tasks))["stage1:0"] == "failed"
    (tmp_path / "0.in").write_text("x")
    assert dry_run(tasks) == {}
    assert not any(e.ran for e in run_tasks(tasks))
    assert not list(tmp_path.rglob("failed/*.json"))


@pytest.mark.usefixtures("stages")
def test_raw_files_that_are_away_are_not_asked_for(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    run_tasks(tasks)
    (tmp_path / "0.in").unlink()
    assert dry_run(tasks) == {}


def only(tasks, *stages):
    return [dataclasses.replace(t, asked=t.stage in stages) for t in tasks]


@pytest.mark.usefixtures("stages")
def test_a_stage_out_of_order_says_what_to_run_first(tmp_path):
    tasks = only(chain(tmp_path, ["x", "y"]), "stage3")
    ended = run_tasks(tasks)
    assert outcomes(ended) == {"stage3:all": "blocked"}
    assert "first run webbmosaic stage2" in ended[0].record.sentence
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("stages")
def test_a_later_stage_alone_leaves_out_what_has_failed_since(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    run_tasks(tasks)
    (tmp_path / "0.in").write_text("broken")
    run_tasks(only(tasks, "stage1"))
    (ended,) = run_tasks(only(tasks, "stage3"))
    assert ended.ran
    assert (tmp_path / "all.stage3").read_text() == "y"


@pytest.mark.usefixtures("stages")
def test_a_later_stage_alone_says_what_is_not_current(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    run_tasks(only(tasks, "stage1", "stage2"))
    (tmp_path / "0.in").write_text("new")
    (ended,) = run_tasks(only(tasks, "stage3"))
    assert ended.record.outcome == "done"
    assert "taken as they are" in ended.record.notes[0]


@pytest.mark.usefixtures("stages")
def test_a_mosaic_is_not_replaced_by_one_of_fewer_exposures(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    run_tasks(tasks)
    for path in ("0.stage1", "0.stage2"):
        (tmp_path / path).unlink()
    (tmp_path / "1.in").write_text("new")
    one = [
        dataclasses.replace(t, asked=t.owner != "0") for t in tasks
    ]  # as for one dataset by name
    ended = run_tasks(one)
    assert outcomes(ended)["stage3:all"] == "blocked"
    assert "was made of 2 exposures, and 1 of them" in ended[-1].record.sentence
    assert (tmp_path / "all.stage3").read_text() == "x+y"


@pytest.mark.usefixtures("stages")
def test_a_record_that_cannot_be_written_fails_its_task_only(tmp_path):
    tasks = chain(tmp_path, ["x", "y"])
    state = tmp_path / "closed"
    state.write_text("a file where a folder is needed")
    tasks[0] = dataclasses.replace(tasks[0], record=state / "0.stage1.json")
    found = outcomes(run_tasks(tasks))
    assert found["stage1:0"] == "failed"
    assert found["stage1:1"] == found["stage2:1"] == "done"
