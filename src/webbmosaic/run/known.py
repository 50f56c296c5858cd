"""What the ledger of a work folder knows: for ``status``, without any header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from webbmosaic.datasets import Workspace
from webbmosaic.errors import StorageError
from webbmosaic.files.current import Contents
from webbmosaic.files.ledger import (
    DONE,
    FileMark,
    Record,
    failure_beside,
    read_record,
)

__all__ = ["Known", "known_tasks"]


#: Touched files up to this size, in bytes, are hashed again; larger ones if asked for.
_QUICK = 50_000_000


@dataclass(frozen=True)
class Known:
    """
    What is known of one stage of a dataset or group.

    Attributes
    ----------
    stage, owner : str
    ending : str
        One of `~webbmosaic.files.ledger.ENDINGS`, ``left`` where it was not tried,
        ``gone`` where its product was deleted, ``changed`` where it was cut or altered.
    sentence : str
        What a human should read.
    notes : tuple of str
        What a human may read.
    overrides : dict
        Settings from the command line that it was made with.
    """

    stage: str
    owner: str
    ending: str
    sentence: str = ""
    notes: tuple[str, ...] = ()
    overrides: dict[str, str] = field(default_factory=dict)


def known_tasks(workspace: Workspace, *, full: bool = False) -> Iterator[Known]:
    """
    List what is known of every stage of every dataset and group.

    Parameters
    ----------
    workspace : Workspace
    full : bool, optional
        Hash every product, instead of comparing its size.

    Yields
    ------
    known : Known
    """
    contents = Contents(workspace.root, full=full)
    for dataset in workspace.datasets():
        for stage in ("stage1", "persistence", "stage2"):
            path = workspace.record(dataset, stage)
            yield _known(stage, str(dataset), path, contents, full=full)
    for path in sorted(workspace.flags.glob("state/*.json")):
        yield _known("badpixels", path.stem, path, contents, full=full)
    for group in workspace.groups():
        path = workspace.record(group, "stage3")
        yield _known("stage3", group, path, contents, full=full)


def _known(
    stage: str, owner: str, path: Path, contents: Contents, *, full: bool
) -> Known:
    try:
        record = read_record(path)
        later = read_record(failure_beside(path)) if record else None
    except StorageError as error:
        return Known(stage, owner, "failed", str(error))
    if record is None:
        return Known(stage, owner, "left")
    if later is not None:
        said = f"{later.sentence} (the product of an earlier run is still there)"
        return Known(stage, owner, later.outcome, said, overrides=record.overrides)
    ending, sentence = record.outcome, record.sentence
    if ending == DONE and not record.cleaned:
        ending, sentence = _product(record, contents, full=full)
    return Known(stage, owner, ending, sentence, tuple(record.notes), record.overrides)


def _product(record: Record, contents: Contents, *, full: bool) -> tuple[str, str]:
    """Say whether the product is there and whole."""
    for mark in record.outputs:
        name = mark.path.rpartition("/")[2]
        size = contents.size(mark.path)
        if size is None:
            return "gone", f"{name} was deleted; the next run makes it again"
        look = full or size < _QUICK
        if size != mark.size or (look and not contents.holds(mark)):
            return "changed", f"{name} {_how(mark, size)}; the next run makes it again"
    return DONE, ""


def _how(mark: FileMark, size: int) -> str:
    if size < mark.size:
        return f"was cut to {size} of {mark.size} bytes"
    return "was changed by others"
