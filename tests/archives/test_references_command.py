"""``webbmosaic references``, as typed, against a local server and without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from webbmosaic.cli.references import references
from webbmosaic.datasets import Dataset, Workspace
from webbmosaic.errors import ReferenceFileError, UsageError, WebbmosaicError
from webbmosaic.files.headers import Header

CONTEXT = "jwst_0001.pmap"
FLAT = "jwst_nircam_flat_0001.fits"
PLAIN = ("apcorr", "distortion", "flat", "gain", "mask", "readnoise", "abvegaoffset")
NAMES = [f"jw01345001001_02101_{n:05}_nrcb1" for n in (1, 2, 3)]
Run = Callable[..., Result]


@pytest.fixture
def work(
    tmp_path: Path,
    exposure: Callable[..., Header],
    write_uncal: Callable[[Path, Header], Path],
) -> Workspace:
    made = Workspace(tmp_path / "work")
    for name in NAMES:
        write_uncal(made.uncal(Dataset.parse(name)), exposure())
    return made


@pytest.fixture
def run(work: Workspace) -> Run:
    def run(*arguments: object) -> Result:
        typed = [str(a) for a in arguments]
        return CliRunner().invoke(references, ["-C", str(work.root), *typed])

    return run


def lock_of(work: Workspace) -> dict[str, Any]:
    return json.loads(work.lock.read_text())


def test_everything_from_the_server(
    crds_server: Any, run: Run, work: Workspace, tmp_path: Path
) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    assert "3 exposures in 1 configurations need 7 reference files" in result.output
    assert "7 fetched" in result.output
    lock = lock_of(work)
    assert lock["context"] == CONTEXT
    assert lock["server"] == crds_server.url
    assert len(lock["references"]) == 7
    assert lock["references"][FLAT]["size"] == crds_server.files[FLAT].stat().st_size
    assert len(lock["mappings"]) == 9
    flat = tmp_path / "empty/references/jwst/nircam" / FLAT
    assert flat.read_bytes() == crds_server.files[FLAT].read_bytes()
    assert crds_server.asked.count(FLAT) == 1
    again = run()
    assert again.exit_code == 0
    assert "0 fetched" in again.output
    assert crds_server.asked.count(FLAT) == 1


def test_dry_run_fetches_no_reference(
    crds_server: Any, run: Run, work: Workspace
) -> None:
    result = run("--dry-run")
    assert result.exit_code == 0, result.output
    assert "7 to fetch" in result.output
    assert f"{FLAT}  0.0 MB" in result.output
    assert not work.lock.exists()
    assert FLAT not in crds_server.asked


def test_one_file_that_cannot_be_had(
    crds_server: Any, run: Run, work: Workspace
) -> None:
    crds_server.mishaps[FLAT] = ["corrupt"] * 9
    result = run()
    assert result.exit_code == 1
    for word in (FLAT, NAMES[0], "and 2 more", "sha1"):
        assert word in result.stderr
    assert FLAT not in lock_of(work)["references"]
    assert len(lock_of(work)["references"]) == 6
    crds_server.mishaps.clear()
    assert run().exit_code == 0
    assert FLAT in lock_of(work)["references"]


def test_no_rule_for_one_exposure(
    crds_server: Any,
    run: Run,
    work: Workspace,
    exposure: Callable[..., Header],
    write_uncal: Callable[[Path, Header], Path],
) -> None:
    odd = "jw01345001001_02101_00009_nrcb1"
    write_uncal(work.uncal(Dataset.parse(odd)), exposure(FILTER="F999W"))
    result = run()
    assert result.exit_code == 1
    assert odd in result.stderr
    assert "'flat'" in result.stderr
    assert NAMES[0] not in result.stderr
    assert FLAT in lock_of(work)["references"]


def test_some_datasets_only(crds_server: Any, run: Run) -> None:
    assert "1 exposures" in run(NAMES[1]).output
    assert "2 exposures" in run("*_0000[12]_*").output
    with pytest.raises(WebbmosaicError, match="no dataset 'jw9'"):
        raise run("jw9").exception or AssertionError


def test_a_broken_uncal_is_told_and_the_others_go_on(
    crds_server: Any, run: Run, work: Workspace
) -> None:
    work.uncal(Dataset.parse(NAMES[0])).write_bytes(b"")
    result = run()
    assert result.exit_code == 1
    assert "is empty" in result.stderr
    assert "2 exposures" in result.output
    assert work.lock.exists()


def test_bad_files_are_told(crds_server: Any, run: Run) -> None:
    crds_server.bad_files = [FLAT]
    result = run()
    assert result.exit_code == 1
    assert "scientifically invalid" in result.stderr


def test_offline_from_a_complete_cache(cache: Any, run: Run, work: Workspace) -> None:
    result = run("--offline")
    assert result.exit_code == 0, result.output
    assert lock_of(work)["context"] == CONTEXT
    assert lock_of(work)["server"] == ""


def test_offline_says_what_is_missing(cache: Any, run: Run, work: Workspace) -> None:
    cache.reference(FLAT).unlink()
    result = run("--offline")
    assert result.exit_code == 1
    for word in (FLAT, NAMES[0], "is not in the CRDS cache", "Try: "):
        assert word in result.stderr


def test_offline_needs_to_know_the_context(
    cache: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write("jwst_0002.pmap", number="0002")
    error = run("--offline").exception
    assert isinstance(error, ReferenceFileError)
    assert "2 contexts (jwst_0001.pmap, jwst_0002.pmap)" in str(error)
    assert run("--offline", "--context", CONTEXT).exit_code == 0
    monkeypatch.setenv("CRDS_CONTEXT", "latest")
    assert "pins jwst_0001" in str(run("--offline").exception)


def test_moving_contexts_need_a_server(cache: Any, run: Run) -> None:
    error = run("--offline", "--context", "latest").exception
    assert "only a CRDS server knows" in str(error)


def test_a_named_server_must_answer(
    cache: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRDS_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("webbmosaic.archives.crds_server._RETRIES", 0)
    assert "Try: --offline" in str(run().exception)


def test_the_default_server_may_be_out_of_reach(
    cache: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "webbmosaic.archives.crds_server."
    monkeypatch.setattr(where + "DEFAULT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(where + "_RETRIES_BY_DEFAULT", 0)
    result = run()
    assert result.exit_code == 0
    assert "was not reached" in result.output


def test_the_context_is_written_down_and_kept(
    crds_server: Any, run: Run, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run().exit_code == 0
    crds_server.contexts = {"latest": "jwst_0002.pmap", "build": "jwst_0002.pmap"}
    assert f"context {CONTEXT}" in run().output
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0002.pmap")
    assert "pins jwst_0001.pmap" in str(run().exception)
    assert run("--context", CONTEXT).exit_code == 0


def test_verify_reads_every_file(cache: Any, run: Run, work: Workspace) -> None:
    assert "there is no lock" in run("--verify").stderr
    run("--offline")
    result = run("--verify")
    assert result.exit_code == 0
    assert "16 of 16 files" in result.output
    path = cache.reference(FLAT)
    before = path.stat()
    path.write_text(path.read_text().upper())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    cache.reference("jwst_nircam_gain_0001.fits").unlink()
    result = run("--verify")
    assert result.exit_code == 1
    assert "14 of 16 files" in result.output
    assert lock_of(work)["references"][FLAT]["sha256"] in result.stderr
    assert "jwst_nircam_gain_0001.fits is missing" in result.stderr


def test_a_changed_file_under_the_same_name_is_refused(
    cache: Any, run: Run, work: Workspace
) -> None:
    run("--offline")
    before = work.lock.read_text()
    cache.reference(FLAT).write_text("another 34 bytes under this name!\n!")
    error = run("--offline").exception
    assert isinstance(error, ReferenceFileError)
    assert FLAT in str(error)
    assert work.lock.read_text() == before


def test_the_server_restores_a_changed_file(
    crds_server: Any, run: Run, work: Workspace, tmp_path: Path
) -> None:
    run()
    path = tmp_path / "empty/references/jwst/nircam" / FLAT
    path.write_bytes(path.read_bytes()[::-1])
    result = run()
    assert result.exit_code == 0, result.output
    assert "1 fetched" in result.output
    assert path.read_bytes() == crds_server.files[FLAT].read_bytes()


def test_an_exported_cache_works_alone(
    cache: Any, run: Run, work: Workspace, tmp_path: Path
) -> None:
    extra = cache.reference("jwst_nircam_unneeded_0001.fits")
    extra.write_text("not needed")
    away = tmp_path / "away on a node"
    result = run("--offline", "--export", away)
    assert result.exit_code == 0, result.output
    there = {p.name for p in away.rglob("jwst_*") if p.is_file()}
    assert there == set(lock_of(work)["references"]) | set(lock_of(work)["mappings"])
    code = "import crds; p = {'META.INSTRUMENT.NAME': 'NIRCAM',"
    code += (
        "'META.INSTRUMENT.DETECTOR': 'NRCB1', 'META.OBSERVATION.DATE': '2023-01-01',"
    )
    code += "'META.OBSERVATION.TIME': '00:00:00'};"
    code += (
        "print(crds.getreferences(p, reftypes=['gain'], observatory='jwst')['gain'])"
    )
    command = f". '{away}/environment.sh' && {sys.executable} -c \"{code}\""
    shell = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert shell.stdout.strip() == str(
        away / "references/jwst/nircam/jwst_nircam_gain_0001.fits"
    )
    assert "0 files copied" in run("--offline", "--export", away).output


def test_export_repairs_and_refuses(
    cache: Any, run: Run, work: Workspace, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    run("--offline", "--export", away)
    copy = away / cache.reference(FLAT).relative_to(cache.root)
    copy.write_text("damaged")
    assert "1 files copied" in run("--offline", "--export", away).output
    assert copy.read_text() == cache.reference(FLAT).read_text()


def test_diff_shows_what_another_context_changes(
    cache: Any,
    run: Run,
    work: Workspace,
    exposure: Callable[..., Header],
    write_uncal: Callable[[Path, Header], Path],
) -> None:
    run("--offline")
    locked = work.lock.read_text()
    rows = {("NRCB1",): {"2021-01-01 00:00:00": "jwst_nircam_distortion_0002.fits"}}
    cache.rule("nircam", "distortion", rows=rows)
    other = Dataset.parse("jw01345001001_02101_00001_nrcb2")
    write_uncal(work.uncal(other), exposure(DETECTOR="NRCB2"))
    cache.write("jwst_0002.pmap", number="0002")
    result = run("--offline", "--context", "jwst_0002.pmap", "--diff", "*nrcb1")
    assert result.exit_code == 0, result.output
    assert "from jwst_0001.pmap to jwst_0002.pmap: 1 references change" in result.output
    line = "stage 2  distortion  jwst_nircam_distortion_0001.fits"
    assert (
        f"{line} -> jwst_nircam_distortion_0002.fits  for {NAMES[0]}" in result.output
    )
    assert "3 of 3 exposures again from stage 2" in result.output
    assert work.lock.read_text() == locked
    assert "Try: --context" in str(run("--diff").exception)


def test_a_new_context_is_pinned_on_request(
    cache: Any, run: Run, work: Workspace
) -> None:
    run("--offline")
    cache.write("jwst_0002.pmap", number="0002")
    assert run("--offline", "--context", "jwst_0002.pmap").exit_code == 0
    assert lock_of(work)["context"] == "jwst_0002.pmap"
    assert "jwst_0001.pmap" not in lock_of(work)["mappings"]


def test_without_a_place_for_the_cache_nothing_is_written(
    crds_server: Any, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CRDS_PATH")
    error = run().exception
    assert isinstance(error, UsageError)
    assert "CRDS_PATH is not set" in str(error)
    assert not crds_server.asked
    monkeypatch.setenv("CRDS_PATH", "")  # to be restored after what --cache sets
    assert run("--cache", tmp_path / "new").exit_code == 0
    assert (tmp_path / "new" / "references").is_dir()


def test_a_server_that_dies_is_not_waited_for_file_by_file(
    crds_server: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in crds_server.files:
        if name.endswith(".fits"):
            crds_server.mishaps[name] = ["error"] * 99
    result = run()
    assert result.exit_code == 1
    asked = [name for name in crds_server.asked if name.endswith(".fits")]
    assert len(asked) == 3 + 1 + 1  # tries of the first; of two others; of no more
    assert result.stderr.count("not fetched, because") == len(PLAIN) - 3
    crds_server.mishaps.clear()
    assert run().exit_code == 0


def test_sizes_that_are_not_known_are_said(crds_server: Any, run: Run) -> None:
    assert "at least" not in run("--dry-run").output
    crds_server.size[FLAT] = "many"
    result = run("--dry-run")
    assert f"{FLAT}  of unknown size" in result.output
    assert "to fetch, at least" in result.output
