"""Workers that die, hang or take too much: each has its ending, the others go on."""

import dataclasses
import os
import signal
import time

import pytest

from small_tasks import a_task
from webbmosaic.run import local, workers
from webbmosaic.run.local import Limits

pytestmark = pytest.mark.timeout(120)


def deeds(task):
    """Do what the owner's name says, in the worker."""
    from webbmosaic.files.ledger import Record

    what = task.owner.partition("-")[0]
    if what == "die":
        os.kill(os.getpid(), signal.SIGTERM)
    if what == "hang":
        time.sleep(600)
    if what == "greedy":
        hoard = bytearray(400_000_000)
        time.sleep(600)
        del hoard
    return Record(task.stage, task.owner, "done")


@pytest.fixture
def quick(monkeypatch):
    """Fork workers from this process, with `deeds` for stages."""
    monkeypatch.setattr(workers, "execute", deeds)
    monkeypatch.setattr(workers.forkserver, "ensure_running", lambda: None)
    import multiprocessing

    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(fork, "set_forkserver_preload", lambda _names: None)
    monkeypatch.setattr(workers.multiprocessing, "get_context", lambda _name: fork)


def run(folder, owners, **limits):
    tasks = [dataclasses.replace(a_task(folder, owner=o), inputs=()) for o in owners]
    limits = Limits(processes=2, **limits)
    ended = local.run_tasks(tasks, folder, limits=limits)
    return {e.task.owner: e.record for e in ended}


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestWorkers:
    def test_one_that_dies_is_told_and_the_others_go_on(self, tmp_path):
        found = run(tmp_path, ["a", "die", "b", "c"])
        assert found["die"].outcome == "failed"
        assert "SIGTERM" in found["die"].sentence
        assert {found[name].outcome for name in "abc"} == {"done"}

    def test_one_that_is_killed_is_tried_once_more(self, tmp_path, monkeypatch):
        def first_time(task):
            mark = tmp_path / "died"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return deeds(task)

        monkeypatch.setattr(workers, "execute", first_time)
        assert run(tmp_path, ["a"])["a"].outcome == "done"

    def test_one_that_hangs_is_stopped(self, tmp_path):
        found = run(tmp_path, ["hang", "a"], time_limit=1.0)
        assert "took too long" in found["hang"].sentence
        assert found["a"].outcome == "done"

    def test_the_greediest_is_stopped_when_memory_runs_out(self, tmp_path):
        found = run(tmp_path, ["greedy", "a"], memory_mb=250)
        assert found["a"].outcome == "done"
        assert "over memory: peak" in found["greedy"].sentence
        assert found["greedy"].over_memory

    def test_one_killed_while_idle_is_replaced(self, tmp_path):
        with workers.Pool(1) as pool:
            pool.start(a_task(tmp_path, owner="a"))
            (ended,) = pool.collect()
            assert ended.record.outcome == "done"
            pool.free[0].process.kill()
            pool.free[0].process.join()
            pool.start(a_task(tmp_path, owner="b"))
            (ended,) = pool.collect()
            assert ended.record.owner == "b"


def test_room_is_a_matter_of_cores_and_memory(tmp_path):
    pool = workers.Pool(2, memory_mb=1000)
    small = a_task(tmp_path, memory_mb=400)
    assert pool.has_room(dataclasses.replace(small, memory_mb=5000))  # alone
    pool.busy = {"pipe": workers._Worker(None, None, small)}
    assert pool.has_room(small)
    assert not pool.has_room(dataclasses.replace(small, memory_mb=601))
    assert not pool.has_room(dataclasses.replace(small, cores=2))
