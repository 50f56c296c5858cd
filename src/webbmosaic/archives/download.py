"""Fetching many files: only what is missing, several at once, each whole or not."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webbmosaic.archives.holdings import Product
from webbmosaic.archives.mast import product_url
from webbmosaic.archives.part import Source, Stopped, part_path, whole_fits
from webbmosaic.archives.records import LAYOUT, Record, append, journal, read_records
from webbmosaic.archives.threads import in_threads
from webbmosaic.archives.transfer import Policy, Tick, UnreachableError, fetch
from webbmosaic.archives.transport import Archive
from webbmosaic.errors import ArchiveError, StorageError, WebbmosaicError

__all__ = ["LAYOUT", "Item", "Outcome", "download", "plan", "read_records"]

#: Files fetched at once; more does not make MAST faster.
STREAMS = 4
#: Bytes to leave free on the disk, and more for the corners of large downloads.
_SPARE = 1_000_000
#: Files in a row that found no archive, after which it is taken to be down.
_DOWN = 8
#: Seconds that streams have to put away what they hold when the user stops them.
_GRACE = 1.0
#: Reasons to fetch a file that its looks alone may refute.
_WITHOUT_RECORD = ("missing", "another size", "not whole")
#: What no other file will find different.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class Item:
    """
    One file of a plan.

    Attributes
    ----------
    product : Product
        What MAST has.
    target : `~pathlib.Path`
        Where it belongs.
    reason : str
        Why it must be fetched; empty if it is there and right.
    missing : int
        Bytes still to come, as far as they are known.
    recorded : bool
        Whether the file that is there has a Record.
    """

    product: Product
    target: Path
    reason: str
    missing: int
    recorded: bool = False


@dataclass(frozen=True)
class Outcome:
    """
    How the download of one file ended.

    Attributes
    ----------
    item : Item
        The file.
    sha256 : str
        Of the whole file; empty if it failed.
    error : WebbmosaicError or None
        Why it failed.
    """

    item: Item
    sha256: str = ""
    error: WebbmosaicError | None = None


def plan(
    products: Sequence[Product], folder: Path, *, redo: bool = False
) -> list[Item]:
    """
    Compare what MAST has with what is in a folder; nothing is changed.

    Parameters
    ----------
    products : sequence of Product
        The files wanted.
    folder : `~pathlib.Path`
        The download folder; files go to ``mastDownload/JWST/{dataset}/`` in it.
    redo : bool
        Whether to fetch again what is there and right.

    Returns
    -------
    items : list of Item
        One per product, in the same order.
    """
    root = folder / LAYOUT
    records = read_records(folder)
    items = []
    for product in products:
        target = root / product.folder / product.name
        record = records.get(str(target.relative_to(root)))
        reason = "asked again" if redo else _complaint(target, product, record)
        size = product.size or 0
        missing = max(size - _part_size(target), 0) if reason else 0
        items.append(Item(product, target, reason, missing, record is not None))
    return items


def _complaint(target: Path, product: Product, record: Record | None) -> str:
    """Say what is wrong with the file that is there, if anything."""
    try:
        return _difference(target, product, record)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _difference(target: Path, product: Product, record: Record | None) -> str:
    status = target.stat()
    if product.size is not None and status.st_size != product.size:
        return "another size"
    if record and (record.size, record.modified) == (
        status.st_size,
        status.st_mtime_ns,
    ):
        return ""
    if target.suffix == ".fits" and not whole_fits(target):
        return "not whole"
    if record and _digest(target) != record.sha256:
        return "changed since it was downloaded"
    return ""


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _part_size(target: Path) -> int:
    try:
        return part_path(target).lstat().st_size
    except OSError:
        return 0


def download(
    archive: Archive,
    items: Sequence[Item],
    folder: Path,
    *,
    streams: int = STREAMS,
    policy: Policy | None = None,
    tick: Tick | None = None,
    done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """
    Fetch what a plan says is missing, and record what others fetched.

    Parameters
    ----------
    archive : Archive
        MAST.
    items : sequence of Item
        Such as `plan` gives.
    folder : `~pathlib.Path`
        The download folder of the plan.
    streams : int
        How many files to fetch at once.
    policy : Policy, optional
        How often to try.
    tick : callable, optional
        Called by the streams with a file's name and the bytes so far.
    done : callable, optional
        Called with each Outcome, one at a time.

    Returns
    -------
    outcomes : list of Outcome
        One per item that was missing, as they ended.

    Raises
    ------
    StorageError
        If the disk has no room for what is missing; nothing was fetched then.
    """
    wanted = [item for item in items if item.reason]
    _check_room(folder, sum(item.missing for item in wanted))
    work = _Work(archive, folder, policy=policy or Policy(), tick=tick)
    others = [item for item in items if not item.reason and not item.recorded]
    outcomes = []
    try:
        for _ in in_threads(others, work.adopt, streams):
            pass
        down = 0
        for ended in in_threads(wanted, work.run, streams):
            outcome = _outcome(*ended)
            down = down + 1 if isinstance(outcome.error, UnreachableError) else 0
            if down >= _DOWN or _is_full(outcome.error):
                work.stop.set()
            outcomes.append(outcome)
            if done:
                done(outcome)
    finally:
        work.close()
    return outcomes


def _check_room(folder: Path, missing: int) -> None:
    place = folder.absolute()
    while not os.path.lexists(place):
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        msg = f"{place}: cannot be written ({error.strerror}). Try: --download-dir"
        raise StorageError(msg) from error
    if missing and 1.01 * missing + _SPARE > free:
        msg = (
            f"The files need {missing / 1e9:.2f} GB and the disk has"
            f" {free / 1e9:.2f} GB free. Make room, or choose another --download-dir"
        )
        raise StorageError(msg)


def _is_full(error: WebbmosaicError | None) -> bool:
    """Tell a full disk from one folder or file that cannot be written."""
    cause = error.__cause__ if isinstance(error, StorageError) else None
    return isinstance(cause, OSError) and cause.errno in _FULL


def _outcome(
    item: Item, outcome: Outcome | None, error: BaseException | None
) -> Outcome:
    """Make whatever went wrong with a file the failure of that file."""
    if outcome is not None:
        return outcome
    name = item.product.name
    if isinstance(error, WebbmosaicError):
        return Outcome(item, error=error)
    if isinstance(error, Stopped):
        msg = f"{name}: not fetched, because others failed. Run again"
        return Outcome(item, error=WebbmosaicError(msg))
    if isinstance(error, OSError):
        failure: WebbmosaicError = StorageError(f"{name}: {error.strerror or error}")
    else:
        failure = ArchiveError(f"{name}: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return Outcome(item, error=failure)


class _Work:
    """What the threads share; each has a session of its own."""

    def __init__(
        self, archive: Archive, folder: Path, *, policy: Policy, tick: Tick | None
    ) -> None:
        self.stop = threading.Event()
        self._archive = archive
        self._folder = folder
        self._policy = policy
        self._tick = tick or (lambda _name, _length: None)
        self._own = threading.local()
        self._writing = threading.Lock()
        self._busy: set[int] = set()
        self._mute = False

    def close(self) -> None:
        """Stop the streams, and wait a little for those that hold something."""
        self.stop.set()
        end = time.monotonic() + _GRACE
        while self._busy and time.monotonic() < end:
            time.sleep(0.01)

    def run(self, item: Item) -> Outcome:
        """Fetch one file and note it down."""
        if self.stop.is_set():
            raise Stopped
        self._busy.add(threading.get_ident())
        try:
            return Outcome(item, sha256=self._fetch(item))
        finally:
            self._busy.discard(threading.get_ident())

    def adopt(self, item: Item) -> None:
        """Note down a whole file that came here in another way."""
        if not self.stop.is_set() and not self._mute:
            self._note(item.target, url="", digest=_digest(item.target))

    def _fetch(self, item: Item) -> str:
        url = product_url(self._archive, item.product)
        if item.reason in _WITHOUT_RECORD and not _complaint(
            item.target, item.product, None
        ):
            digest = _digest(item.target)  # another process was faster
        else:
            if item.reason == "not whole":
                item.target.unlink(missing_ok=True)
            digest = fetch(
                Source(url, item.product.name, item.product.size),
                item.target,
                session=self._session(),
                policy=self._policy,
                tick=self._tick,
                tell=self._archive.tell,
                stop=self.stop,
            )
        self._note(item.target, url=url, digest=digest)
        return digest

    def _session(self) -> Any:
        if not hasattr(self._own, "session"):
            self._own.session = self._archive.session(
                retries=0, timeout=self._policy.timeout
            )
        return self._own.session

    def _note(self, target: Path, *, url: str, digest: str) -> None:
        """Write a record; without it the file is there all the same."""
        status = target.stat()
        record = Record(
            path=str(target.relative_to(self._folder / LAYOUT)),
            size=status.st_size,
            sha256=digest,
            modified=status.st_mtime_ns,
            url=url,
            fetched=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        line = json.dumps(asdict(record)) + "\n"
        with self._writing:
            try:
                append(journal(self._folder), line)
            except OSError as error:
                if not self._mute:
                    self._archive.tell(
                        f"{journal(self._folder)}: cannot be written"
                        f" ({error.strerror}), so what is fetched is not recorded"
                    )
                self._mute = True
