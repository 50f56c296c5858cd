"""Exposures get their references only pinned, present and unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webbmosaic.archives.lock import FileStamp, Hashes, Lock, stamp, write_lock
from webbmosaic.archives.references import (
    job_environment,
    locate_reference,
    missing_references,
    needed_references,
    pinned_context,
    pinned_references,
)
from webbmosaic.datasets import Workspace
from webbmosaic.errors import ReferenceFileError
from webbmosaic.files.headers import Header

CONTEXT = "jwst_0001.pmap"
DATASET = "jw01345001001_02101_00001_nrcb1"
FLAT = "jwst_nircam_flat_0001.fits"
Exposure = Callable[..., Header]


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def lock_all(work: Workspace, cache: Any) -> None:
    def stamps(pattern: str) -> dict[str, FileStamp]:
        return {p.name: stamp(p, Hashes(None)) for p in cache.root.glob(pattern)}

    references, mappings = stamps("references/jwst/*/*"), stamps("mappings/jwst/*")
    write_lock(work.lock, Lock(CONTEXT, "", references, mappings))


def test_needed_per_stage(cache: Any, exposure: Exposure) -> None:
    needed = needed_references(exposure(), CONTEXT)
    assert needed["flat"] == FLAT
    assert set(needed_references(exposure(), CONTEXT, stages=[2])) == {"distortion"}
    assert set(needed_references(exposure(), CONTEXT, stages=[3])) == {
        "apcorr",
        "abvegaoffset",
    }


def test_needed_but_no_rule(cache: Any, exposure: Exposure) -> None:
    odd = exposure(FILTER="F999W")
    with pytest.raises(ReferenceFileError, match=r"0001\.pmap give no 'flat'.*F999W"):
        needed_references(odd, CONTEXT)
    assert needed_references(odd, CONTEXT, stages=[2, 3])


def test_nothing_missing(cache: Any, exposure: Exposure) -> None:
    assert missing_references({DATASET: exposure()}, CONTEXT) == []


def test_missing_file_and_missing_rule_name_the_exposure(
    cache: Any, exposure: Exposure
) -> None:
    cache.reference(FLAT).unlink()
    headers = {DATASET: exposure(), "other": exposure(DETECTOR="NRCB2")}
    missing = missing_references(headers, CONTEXT)
    first = missing[0]
    assert (first.dataset, first.kind, first.name) == (DATASET, "flat", FLAT)
    assert str(cache.reference(FLAT)) in first.sentence
    assert "Try: webbmosaic references" in first.sentence
    others = [m for m in missing if m.dataset == "other"]
    assert {m.kind for m in others} >= {"flat", "gain", "distortion"}
    assert all(m.name == "" and "NRCB2" in m.sentence for m in others)
    stage2 = missing_references(headers, CONTEXT, stages=[2])
    assert [m.kind for m in stage2] == ["distortion"]


def test_unpinned_is_refused(cache: Any, work: Workspace) -> None:
    with pytest.raises(ReferenceFileError, match="no CRDS context is pinned"):
        pinned_context(work)


@pytest.mark.parametrize("moving", ["latest", "jwst-edit", "jwst-2024-01-01"])
def test_moving_contexts_are_refused(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, moving: str
) -> None:
    monkeypatch.setenv("CRDS_CONTEXT", moving)
    with pytest.raises(ReferenceFileError, match=f"'{moving}' changes with time"):
        pinned_context(work)


def test_pins_and_their_order(
    cache: Any, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRDS_CONTEXT", CONTEXT)
    assert pinned_context(work) == CONTEXT
    assert pinned_context(work, "jwst_0002.pmap") == "jwst_0002.pmap"
    lock_all(work, cache)
    assert pinned_context(work) == CONTEXT
    with pytest.raises(ReferenceFileError, match=r"pins jwst_0001.*0002.*asked for"):
        pinned_context(work, "jwst_0002.pmap")
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0003.pmap")
    with pytest.raises(ReferenceFileError, match=r"0003\.pmap is CRDS_CONTEXT"):
        pinned_context(work)
    monkeypatch.delenv("CRDS_CONTEXT")
    assert pinned_context(work) == CONTEXT


def test_without_a_lock_files_must_exist(
    cache: Any, work: Workspace, exposure: Exposure
) -> None:
    found = pinned_references(exposure(), DATASET, work, context=CONTEXT)
    assert found.context == CONTEXT
    assert found.files["flat"] == cache.reference(FLAT)
    assert found.sha256 == {}
    cache.reference(FLAT).unlink()
    with pytest.raises(ReferenceFileError, match=f"{DATASET}: its 'flat'.*{FLAT}"):
        pinned_references(exposure(), DATASET, work, context=CONTEXT)
    stage2 = pinned_references(exposure(), DATASET, work, context=CONTEXT, stages=[2])
    assert set(stage2.files) == {"distortion"}


def test_locked_files_must_be_the_same(
    cache: Any, work: Workspace, exposure: Exposure
) -> None:
    lock_all(work, cache)
    found = pinned_references(exposure(), DATASET, work)
    good = found.sha256[FLAT]
    assert len(good) == 64
    path = cache.reference(FLAT)
    path.write_text(path.read_text().upper())
    bad = Hashes(None).digest(path)
    with pytest.raises(ReferenceFileError) as caught:
        pinned_references(exposure(), DATASET, work)
    for word in (DATASET, FLAT, good, bad, "Try: restore the file"):
        assert word in str(caught.value)


def test_locked_rules_must_be_the_same(
    cache: Any, work: Workspace, exposure: Exposure
) -> None:
    lock_all(work, cache)
    path = cache.mappings / "jwst_nircam_gain_0001.rmap"
    cache.rewrite(path, path.read_text().replace("2021-01-01", "2021-01-02"))
    with pytest.raises(ReferenceFileError, match=r"gain_0001\.rmap has sha256"):
        pinned_references(exposure(), DATASET, work)


def test_files_outside_the_lock_are_refused(
    cache: Any, work: Workspace, exposure: Exposure
) -> None:
    write_lock(work.lock, Lock(CONTEXT, ""))
    with pytest.raises(ReferenceFileError, match=r"is not in .*crds\.lock"):
        pinned_references(exposure(), DATASET, work)


def test_a_flat_cache_is_found_too(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from crds.core import config

    monkeypatch.setattr(config, "CRDS_REF_SUBDIR_MODE", None)
    (cache.root / "config" / "jwst" / "ref_cache_subdir_mode").write_text("flat")
    assert locate_reference(FLAT, "NIRCAM") == cache.root / "references/jwst" / FLAT


def test_jobs_get_references_without_a_socket(cache: Any) -> None:
    code = (
        "import socket, crds\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket = socket.create_connection = refuse\n"
        "p = {'META.INSTRUMENT.NAME': 'NIRCAM', 'META.INSTRUMENT.DETECTOR': 'NRCB1'}\n"
        "p['META.OBSERVATION.DATE'] = '2023-01-01'\n"
        "p['META.OBSERVATION.TIME'] = '00:00:00'\n"
        "print(crds.getreferences(p, reftypes=['gain'], observatory='jwst')['gain'])\n"
    )
    environment = {**os.environ, **job_environment(CONTEXT)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert run.stdout.strip() == str(cache.reference("jwst_nircam_gain_0001.fits"))
    assert run.returncode == 0, run.stderr
