"""What a CRDS server has arrives whole, or not at all and with a sentence."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from webbmosaic.archives.crds_server import connect, rule_files
from webbmosaic.archives.lock import Hashes
from webbmosaic.archives.references import locate_reference
from webbmosaic.archives.rules import load_mapping
from webbmosaic.errors import ArchiveError

CONTEXT = "jwst_0001.pmap"
FLAT = "jwst_nircam_flat_0001.fits"


def place() -> Path:
    return locate_reference(FLAT, "NIRCAM")


def test_the_server_tells_what_it_has(crds_server: Any, tmp_path: Path) -> None:
    server = connect()
    assert server.url == crds_server.url
    assert server.size(FLAT) == crds_server.files[FLAT].stat().st_size
    assert server.size("other") == 0
    written = (tmp_path / "empty/config/jwst/server_config").read_text()
    assert "latest_context" in written


def test_the_default_context_is_that_of_the_build(crds_server: Any) -> None:
    crds_server.contexts = {"build": "jwst_0007.pmap", "latest": "jwst_0009.pmap"}
    server = connect()
    assert server.context() == "jwst_0007.pmap"
    assert server.context("latest") == "jwst_0009.pmap"
    assert server.context("jwst_0001.pmap") == "jwst_0001.pmap"


def test_a_context_by_date(crds_server: Any) -> None:
    crds_server.contexts["2025"] = "jwst_0005.pmap"
    server = connect()
    assert server.context("jwst-2025-01-31") == "jwst_0005.pmap"
    with pytest.raises(ArchiveError, match="gives no context for 'nonsense'"):
        server.context("nonsense")


def test_rules_are_fetched_once(crds_server: Any) -> None:
    server, hashes = connect(), Hashes(None)
    fetched = server.fetch_rules(CONTEXT, {"NIRCAM"}, hashes)
    assert fetched == len(rule_files(CONTEXT, {"NIRCAM"})) == 9
    assert server.fetch_rules(CONTEXT, {"NIRCAM"}, hashes) == 0
    assert load_mapping(CONTEXT).basename == CONTEXT
    asked = [name for name in crds_server.asked if name.endswith("map")]
    assert len(asked) == len(set(asked))


def test_damaged_rules_are_fetched_again(crds_server: Any, tmp_path: Path) -> None:
    server, hashes = connect(), Hashes(None)
    server.fetch_rules(CONTEXT, {"NIRCAM"}, hashes)
    path = tmp_path / "empty/mappings/jwst" / CONTEXT
    path.write_text("rubbish")
    assert server.fetch_rules(CONTEXT, {"NIRCAM"}, hashes) == 1
    assert load_mapping(CONTEXT)


def test_unknown_context(crds_server: Any) -> None:
    with pytest.raises(ArchiveError, match=r"does not know the file jwst_9999\.pmap"):
        connect().fetch_rules("jwst_9999.pmap", {"NIRCAM"}, Hashes(None))


@pytest.mark.parametrize("mishap", ["corrupt", "cut", "error"])
def test_a_bad_download_is_repeated(crds_server: Any, mishap: str) -> None:
    crds_server.mishaps[FLAT] = [mishap, mishap]
    assert connect().fetch(FLAT, place(), Hashes(None))
    assert place().read_bytes() == crds_server.files[FLAT].read_bytes()
    assert crds_server.asked.count(FLAT) == 3


@pytest.mark.parametrize("mishap", ["corrupt", "cut", "error", "long"])
def test_what_stays_bad_is_not_kept(crds_server: Any, mishap: str) -> None:
    crds_server.mishaps[FLAT] = [mishap] * 99
    with pytest.raises(ArchiveError, match=FLAT):
        connect().fetch(FLAT, place(), Hashes(None))
    left = [p.name for p in place().parent.iterdir()]
    resumable = [f"{FLAT}.part", f"{FLAT}.part.json"] if mishap == "cut" else []
    assert sorted(left) == resumable


@pytest.mark.parametrize("kind", ["mapping", "reference"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("http://crds.example.org/files", "https://HOST only"),
        ("https://crds.example.org/files", "at another host, crds.example.org"),
        ("file:///etc", "https://HOST only"),
        ("http://[::1", "an address is none"),
        ("", "https://HOST only"),
    ],
)
def test_files_come_from_the_servers_own_host(
    crds_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    place: str,
    message: str,
) -> None:
    crds_server.changes[f"{kind}_url"] = {"jwst": place}
    with pytest.raises(ArchiveError, match=message):
        connect()
    monkeypatch.setenv(f"CRDS_{kind.upper()}_URI", f"{crds_server.url}/files")
    assert connect().fetch(FLAT, locate_reference(FLAT, "NIRCAM"), Hashes(None))


@pytest.mark.parametrize("sha1", ["none", "", None, 5, "0" * 39])
def test_without_a_sha1_nothing_is_fetched_nor_believed(
    crds_server: Any, sha1: object
) -> None:
    crds_server.sha1[FLAT] = sha1
    server = connect()
    for _ in range(2):
        with pytest.raises(ArchiveError, match="lists no size and sha1"):
            server.fetch(FLAT, place(), Hashes(None))
        place().parent.mkdir(parents=True, exist_ok=True)
        place().write_bytes(crds_server.files[FLAT].read_bytes())
    assert "cannot be checked" in server.why_wrong(place(), Hashes(None))
    assert FLAT not in crds_server.asked


def test_no_program_is_run_and_no_file_read_for_a_download(
    crds_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRDS_DOWNLOAD_MODE", "plugin")
    monkeypatch.setenv("CRDS_DOWNLOAD_PLUGIN", f"touch {tmp_path}/ran")
    monkeypatch.setenv("CRDS_CONFIG_URI", f"file://{tmp_path}")
    assert connect().fetch(FLAT, place(), Hashes(None))
    assert not (tmp_path / "ran").exists()


def test_a_good_file_stays_until_a_better_one_has_come(crds_server: Any) -> None:
    place().parent.mkdir(parents=True)
    place().write_bytes(b"older")
    crds_server.mishaps[FLAT] = ["corrupt"] * 9
    with pytest.raises(ArchiveError):
        connect().fetch(FLAT, place(), Hashes(None))
    assert place().read_bytes() == b"older"


def test_what_a_killed_crds_has_left_is_swept(crds_server: Any) -> None:
    folder = place().parent
    folder.mkdir(parents=True)
    alive, fresh = (
        folder / f".tmp_{FLAT}_{os.getpid()}",
        folder / f".tmp_{FLAT}_4194303",
    )
    dead = folder / f".tmp_{FLAT}_4194302"
    for path in (alive, fresh, dead):
        path.write_bytes(b"half")
        os.utime(path, (0, 0) if path != fresh else None)
    connect().fetch(FLAT, place(), Hashes(None))
    assert sorted(folder.iterdir()) == sorted([alive, fresh, place()])


@pytest.mark.parametrize(
    "changes",
    [
        {"download_metadata": 5},
        {"download_metadata": {"crds_encoded": "1.0", "crds_payload": "%%"}},
        {"bad_files_list": 5},
        {"mapping_url": None},
    ],
)
def test_odd_information_is_a_sentence(crds_server: Any, changes: Any) -> None:
    crds_server.changes.update(changes)
    with pytest.raises(ArchiveError, match="does not answer as it should"):
        connect()


def test_two_processes_fetch_a_file_once(crds_server: Any) -> None:
    crds_server.nap = 0.5
    told: list[str] = []
    server = connect(tell=told.append)
    results: list[bool] = []

    def fetch() -> None:
        results.append(server.fetch(FLAT, place(), Hashes(None)))

    threads = [Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True]
    assert crds_server.asked.count(FLAT) == 1
    assert told == [f"{FLAT}: waiting for another process that fetches it"]
    assert [path.name for path in place().parent.iterdir()] == [FLAT]


def test_absent_files_are_asked_for_once(crds_server: Any) -> None:
    server = connect()
    del crds_server.files[FLAT]
    with pytest.raises(ArchiveError, match="404"):
        server.fetch(FLAT, place(), Hashes(None))
    assert crds_server.asked.count(FLAT) == 1


@pytest.mark.parametrize("content", [b"short", None])
def test_a_bad_file_in_the_cache_is_replaced(
    crds_server: Any, content: bytes | None
) -> None:
    good = crds_server.files[FLAT].read_bytes()
    place().parent.mkdir(parents=True)
    place().write_bytes(good[::-1] if content is None else content)
    server = connect()
    assert server.why_wrong(place(), Hashes(None))
    assert server.fetch(FLAT, place(), Hashes(None))
    assert place().read_bytes() == good
    assert not server.fetch(FLAT, place(), Hashes(None))


def test_names_cannot_leave_the_cache(crds_server: Any, tmp_path: Path) -> None:
    server = connect()
    for name in ("../../evil.fits", "/etc/evil", "a/b.fits", ""):
        with pytest.raises(ArchiveError, match="does not know"):
            server.fetch(name, tmp_path / "empty" / "x", Hashes(None))


def test_a_read_only_environment_is_no_obstacle(
    crds_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRDS_READONLY_CACHE", "1")
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0099.pmap")
    assert connect().fetch(FLAT, place(), Hashes(None))


def test_no_server_no_json_no_encryption(
    crds_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRDS_SERVER_URL", "http://127.0.0.1:9")
    with pytest.raises(ArchiveError, match=r"127\.0\.0\.1:9 does not answer"):
        connect()
    monkeypatch.setattr(crds_server, "info", lambda: {"hello": "world"})
    with pytest.raises(ArchiveError, match="does not answer as it should"):
        connect(crds_server.url)
    with pytest.raises(ArchiveError, match="https"):
        connect("http://crds.example.org")


def test_nothing_reaches_the_terminal(crds_server: Any, capfd: Any) -> None:
    crds_server.mishaps[FLAT] = ["corrupt"]
    connect().fetch(FLAT, place(), Hashes(None))
    assert capfd.readouterr() == ("", "")
