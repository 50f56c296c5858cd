"""``webbmosaic stage0``: one command from nothing to a plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from webbmosaic.cli.stage0 import stage0
from webbmosaic.errors import UsageError
from webbmosaic.files.headers import Header

NAMES = [f"jw01345001001_02101_0000{n}_nrcb1" for n in (1, 2)]
Run = Callable[..., Result]


@pytest.fixture
def files(
    tmp_path: Path,
    exposure: Callable[..., Header],
    write_uncal: Callable[[Path, Header], Path],
) -> list[Path]:
    folder = tmp_path / "archive/mastDownload/JWST"
    names = {name: folder / name / f"{name}_uncal.fits" for name in NAMES}
    for path in names.values():
        write_uncal(path, exposure(NGROUPS=5, EFFEXPTM=10.0))
    return list(names.values())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: object) -> Result:
        typed = [*map(str, arguments), "-C", str(tmp_path / "work")]
        return CliRunner().invoke(stage0, typed)

    return run


def lock(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "work/crds.lock").read_text())


def test_a_cache_must_be_named(
    files: list[Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRDS_PATH", raising=False)
    error = run(tmp_path / "archive").exception
    assert isinstance(error, UsageError)
    assert "CRDS_PATH is not set" in str(error)
    assert not (tmp_path / "work").exists()


def test_files_are_taken(
    cache: Any, files: list[Path], run: Run, tmp_path: Path
) -> None:
    result = run(tmp_path / "archive", "--offline")
    assert result.exit_code == 0, result.output
    assert "2 exposures laid out" in result.output
    assert "stage1: 2 of 2 tasks to run" in result.output
    assert "stage3: 1 of 1 tasks to run" in result.output
    assert (tmp_path / "work" / NAMES[0] / "uncals" / files[0].name).samefile(files[0])
    assert lock(tmp_path)["context"] == "jwst_0001.pmap"
    again = run(tmp_path / "archive", "--offline")
    assert "0 exposures laid out, 2 there already" in again.output


def test_everything_is_downloaded(
    mast: Any, crds_server: Any, files: list[Path], run: Run, tmp_path: Path
) -> None:
    for path in files:
        mast.holdings.add(path.name, path.read_bytes())
        path.unlink()
    result = run("1345", "--obs", "1")
    assert result.exit_code == 0, result.output
    assert "2 exposures laid out" in result.output
    assert "stage1: 2 of 2 tasks to run" in result.output
    assert lock(tmp_path)["server"] == crds_server.url
    assert (tmp_path / "work/mastDownload/JWST" / NAMES[0]).is_dir()


def test_dry_run_writes_nothing(
    cache: Any, files: list[Path], run: Run, tmp_path: Path
) -> None:
    result = run(tmp_path / "archive", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "2 exposures would be laid out" in result.output
    assert not (tmp_path / "work").exists()


def test_one_broken_file_does_not_stop_the_others(
    cache: Any, files: list[Path], run: Run, tmp_path: Path
) -> None:
    files[0].write_bytes(b"")
    result = run(*files, "--offline")
    assert result.exit_code == 1
    assert "is empty" in result.stderr
    assert "stage1: 1 of 1 tasks to run" in result.output


def test_options_of_downloads_are_not_ignored(
    cache: Any, files: list[Path], run: Run
) -> None:
    error = run(files[0], "--visit", "2").exception
    assert isinstance(error, UsageError)
    assert "--visit is for downloads" in str(error)
    assert "no such file or folder" in str(run("/not/here").exception)
