"""Copy exactly the part of a CRDS cache that a work folder needs."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from webbmosaic.archives.gather import locked_paths
from webbmosaic.archives.lock import FileStamp, Hashes, Lock, changed, write_lock
from webbmosaic.archives.references import SERVERLESS
from webbmosaic.errors import ReferenceFileError, StorageError
from webbmosaic.files.products import atomic, write_text

__all__ = ["export"]

_CONFIG = ("server_config", "ref_cache_subdir_mode", "bad_files.txt")
_ENVIRONMENT = """\
# Use this CRDS cache, without a server: source this file
export CRDS_PATH={folder}
export CRDS_CONTEXT={context}
export CRDS_SERVER_URL={server}
export CRDS_READONLY_CACHE=1
"""


def export(lock: Lock, folder: Path, progress: Callable[[str, int], None]) -> int:
    """
    Copy the locked files to another cache, which then works without a server.

    Parameters
    ----------
    lock : Lock
    folder : `~pathlib.Path`
        The new ``CRDS_PATH``. Files that are there and right are not copied again.
    progress : callable
        Told the name and size of each file when it is there.

    Returns
    -------
    copied : int
        How many files were copied.

    Raises
    ------
    ReferenceFileError
        If a file is missing or not as locked, before or after copying.
    StorageError
        If the disk has not enough room.
    """
    from crds.core import config

    cache = Path(config.get_crds_path())
    paths = locked_paths(lock)
    _check_room(lock, folder)
    hashes, copied = Hashes(None), 0
    for name, path in paths.items():
        target = folder / path.relative_to(cache)
        copied += _copy(path, target, lock.files[name], hashes)
        progress(name, lock.files[name].size)
    _copy_config(cache, folder)
    _describe(lock, folder)
    return copied


def _check_room(lock: Lock, folder: Path) -> None:
    total = sum(stamp.size for stamp in lock.files.values())
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if total > free:
        sizes = f"{total / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free"
        msg = f"{folder}: {sizes}. Try: another disk"
        raise StorageError(msg)


def _copy(path: Path, target: Path, locked: FileStamp, hashes: Hashes) -> bool:
    if target.exists() and not changed(target, locked, hashes):
        return False
    if why := changed(path, locked, hashes):
        msg = f"{why}. Try: webbmosaic references, which restores it"
        raise ReferenceFileError(msg)
    with atomic(target) as temporary:
        shutil.copyfile(path, temporary)
    if why := changed(target, locked, hashes):
        msg = f"{target}: was not copied faithfully, {why}. Try: again"
        raise ReferenceFileError(msg)
    return True


def _copy_config(cache: Path, folder: Path) -> None:
    """Copy what crds reads before any rule; without it the cache does not work."""
    for name in _CONFIG:
        source = cache / "config" / "jwst" / name
        if source.exists():
            with atomic(folder / "config" / "jwst" / name) as temporary:
                shutil.copyfile(source, temporary)


def _describe(lock: Lock, folder: Path) -> None:
    write_lock(folder / "crds.lock", lock)
    path = shlex.quote(str(folder.absolute()))
    text = _ENVIRONMENT.format(folder=path, context=lock.context, server=SERVERLESS)
    write_text(folder / "environment.sh", text)
