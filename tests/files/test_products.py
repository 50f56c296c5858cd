"""Writing files so that being stopped is harmless."""

import errno

import pytest

from webbmosaic.errors import StorageError
from webbmosaic.files.products import atomic, sha256, write_text


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "new" / "file.fits"
    with atomic(target) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists()
        assert temporary.suffix == ".fits"
    assert target.read_bytes() == b"half"
    assert list(target.parent.iterdir()) == [target]


def test_after_an_error_the_old_file_is_there(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic(target) as temporary:
        temporary.write_text(str(1 / 0))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_said_in_a_sentence(tmp_path):
    target = tmp_path / "file.txt"
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(StorageError, match=r"file\.txt: cannot be written \(No space"),
        atomic(target),
    ):
        raise full
    assert not target.exists()


def test_astropys_own_word_for_a_full_disk(tmp_path):
    full = OSError("Not enough space on disk: requested 9, available 1.")
    target = tmp_path / "file.fits"
    with pytest.raises(StorageError, match="disk full"), atomic(target):
        raise full


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_path_through_a_file_is_said_in_a_sentence(tmp_path, below):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"out\.txt: cannot be written"):
        write_text(tmp_path / below / "out.txt", "x")


def test_a_folder_in_the_way_is_said_in_a_sentence(tmp_path):
    (tmp_path / "out.txt" / "x").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"out\.txt: cannot be written"):
        write_text(tmp_path / "out.txt", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOTDIR, errno.ENOENT])
def test_clearing_up_does_not_hide_the_sentence(tmp_path, monkeypatch, number):
    def refuse(path, *arguments, **options):
        raise OSError(number, "no such luck", str(path))

    for name in ("unlink", "mkdir"):
        monkeypatch.setattr(f"pathlib.Path.{name}", refuse)
    with pytest.raises(StorageError, match=r"cannot be written \(no such luck"):
        write_text(tmp_path / "new" / "out.txt", "x")


def test_a_temporary_file_cannot_be_guessed(tmp_path):
    names = set()
    for _ in range(2):
        with atomic(tmp_path / "file.txt") as temporary:
            names.add(temporary.name)
            temporary.write_text("x")
    assert len(names) == 2


def test_an_input_that_is_not_there_is_no_fault_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "out.txt"):
        (tmp_path / "input").read_text()


def test_sha256(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert sha256(path).startswith("e3b0c44298fc1c14")
