"""A lock survives the disk, and a changed file does not survive the lock."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from webbmosaic.archives.lock import (
    FileStamp,
    Hashes,
    Lock,
    changed,
    read_lock,
    stamp,
    write_lock,
)
from webbmosaic.errors import ReferenceFileError

SHA_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "jwst_nircam_flat_0001.fits"
    path.write_bytes(b"abc")
    return path


def test_round_trip(tmp_path: Path) -> None:
    stamps = {"b": FileStamp(1, SHA_OF_ABC), "a": FileStamp(2, SHA_OF_ABC)}
    lock = Lock("jwst_1.pmap", "", stamps, {})
    write_lock(tmp_path / "crds.lock", lock)
    assert read_lock(tmp_path / "crds.lock") == lock
    text = (tmp_path / "crds.lock").read_text()
    assert text.index('"a"') < text.index('"b"')
    assert read_lock(tmp_path / "none.lock") is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"references": {"a": {"x": 1}}}', "\x00"]
)
def test_something_else_is_no_lock(tmp_path: Path, text: str) -> None:
    path = tmp_path / "crds.lock"
    path.write_text(text)
    with pytest.raises(ReferenceFileError, match=r"crds\.lock: is not a lock"):
        read_lock(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"size": 3', '"size": "3"'),
        ('"size": 3', '"size": true'),
        ('"size": 3', '"size": -3'),
        (SHA_OF_ABC, "abc"),
        ('"jwst_1.pmap"', "5"),
        ('"jwst_1.pmap"', '"latest"'),
        ('"jwst_1.pmap"', '"../jwst_1.pmap"'),
        ('"server": ""', '"server": null'),
        ('"format": 1', '"format": 2'),
        ('"jwst_nircam_flat_0001.fits"', '"../../flat.fits"'),
        ('"mappings": {}', '"mappings": []'),
        ('"mappings": {}', '"mappings": ' + "[" * 100_000),
    ],
)
def test_a_lock_is_believed_only_as_far_as_it_is_one(
    file: Path, tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "crds.lock"
    write_lock(
        path, Lock("jwst_1.pmap", "", {file.name: stamp(file, Hashes(None))}, {})
    )
    assert read_lock(path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ReferenceFileError, match=r"crds\.lock: is not a lock"):
        read_lock(path)


def test_a_lock_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "crds.lock").mkdir()
    with pytest.raises(ReferenceFileError, match="cannot be read"):
        read_lock(tmp_path / "crds.lock")
    (tmp_path / "flat").mkdir()
    assert "is missing" in changed(
        tmp_path / "flat", FileStamp(1, SHA_OF_ABC), Hashes(None)
    )


def test_hashes_are_right_and_remembered(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory.json"
    hashes = Hashes(memory)
    assert hashes.digest(file) == SHA_OF_ABC
    assert hashes.digest(file, "sha1") == "a9993e364706816aba3e25717850c26c9cd0d89d"
    hashes.save()
    monkeypatch.setattr(hashlib, "file_digest", None)  # would fail if read again
    assert Hashes(memory).digest(file) == SHA_OF_ABC


def test_touched_files_are_hashed_again(file: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    hashes = Hashes(memory)
    hashes.digest(file)
    hashes.save()
    before = file.stat()
    file.write_bytes(b"xyz")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Hashes(memory).digest(file) != SHA_OF_ABC


@pytest.mark.parametrize(
    "text", ["{", "[]", "5", '{"a": []}', '{"a": 5}', "[" * 100_000, "\xff"]
)
def test_a_damaged_memory_is_forgotten(file: Path, tmp_path: Path, text: str) -> None:
    memory = tmp_path / "memory.json"
    memory.write_text(text, encoding="latin-1")
    hashes = Hashes(memory)
    assert hashes.digest(file) == SHA_OF_ABC
    hashes.save()
    assert Hashes(memory).digest(file) == SHA_OF_ABC


def test_a_memory_that_cannot_be_kept_is_no_failure(file: Path, tmp_path: Path) -> None:
    (tmp_path / "memory.json").mkdir()
    hashes = Hashes(tmp_path / "memory.json")
    assert hashes.digest(file) == SHA_OF_ABC
    hashes.save()


def test_differences_are_told_with_both_values(file: Path) -> None:
    hashes = Hashes(None)
    locked = stamp(file, hashes)
    assert locked == FileStamp(3, SHA_OF_ABC)
    assert changed(file, locked, hashes) == ""
    assert "3 bytes, but 4 when" in changed(file, FileStamp(4, SHA_OF_ABC), hashes)
    other = changed(file, FileStamp(3, "0" * 64), hashes)
    assert SHA_OF_ABC in other
    assert "0" * 64 in other
    assert "is missing" in changed(file.with_name("gone"), locked, hashes)
