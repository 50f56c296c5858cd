"""Fetching many files: only what is missing, several at once, each whole or not."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webbmosaic.archives.holdings import Product
from webbmosaic.archives.mast import product_url
from webbmosaic.archives.part import Source, part_path, whole_fits
from webbmosaic.archives.transfer import (
    Policy,
    Stopped,
    Tick,
    UnreachableError,
    fetch,
)
from webbmosaic.archives.transport import Archive
from webbmosaic.errors import StorageError, WebbmosaicError

__all__ = ["Item", "Outcome", "Record", "download", "plan", "read_records"]

#: Files fetched at once; more does not make MAST faster.
STREAMS = 4
#: Where downloads lie below the folder given, as astroquery and the portal have it.
LAYOUT = Path("mastDownload", "JWST")
#: Bytes to leave free on the disk, and more for the corners of large downloads.
_SPARE = 1_000_000
#: Files in a row that found no archive, after which it is taken to be down.
_DOWN = 8


@dataclass(frozen=True)
class Record:
    """
    What is remembered of a download, one line each in ``downloads.jsonl``.

    Attributes
    ----------
    path : str
        Relative to ``mastDownload/JWST``.
    size : int
        Bytes.
    sha256 : str
        64 hexadecimal digits.
    modified : int
        Modification time, nanoseconds: a file with another one is looked at again.
    url, fetched : str
        From where (empty: fetched by another program), and when (ISO 8601, UTC).
    """

    path: str
    size: int
    sha256: str
    modified: int
    url: str
    fetched: str


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
        status = target.stat()
    except FileNotFoundError:
        return "missing"
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
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _part_size(target: Path) -> int:
    try:
        return part_path(target).stat().st_size
    except FileNotFoundError:
        return 0


def read_records(folder: Path) -> dict[str, Record]:
    """
    Read what was downloaded into a folder; a torn last line is no record.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The download folder.

    Returns
    -------
    records : dict
        Path relative to ``mastDownload/JWST`` -> the newest Record.
    """
    records = {}
    try:
        lines = _journal(folder).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError):
            continue
        records[record.path] = record
    return records


def _journal(folder: Path) -> Path:
    return folder / LAYOUT / "downloads.jsonl"


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
    outcomes = []
    with _pool(streams, work.stop) as pool:
        others = [item for item in items if not item.reason and not item.recorded]
        list(pool.map(work.adopt, others))
        futures = [pool.submit(work.run, item) for item in wanted]
        for outcome in _outcomes(futures, work.stop):
            outcomes.append(outcome)
            if done:
                done(outcome)
    return outcomes


def _check_room(folder: Path, missing: int) -> None:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if missing and 1.01 * missing + _SPARE > free:
        msg = (
            f"The files need {missing / 1e9:.2f} GB and the disk has"
            f" {free / 1e9:.2f} GB free. Make room, or choose another --download-dir"
        )
        raise StorageError(msg)


@contextmanager
def _pool(streams: int, stop: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """Make threads that end soon when the user has had enough."""
    pool = ThreadPoolExecutor(streams, thread_name_prefix="download")
    finished = False
    try:
        yield pool
        finished = True
    finally:
        if not finished:
            stop.set()
        pool.shutdown(cancel_futures=stop.is_set())


def _outcomes(
    futures: list[Future[Outcome]], stop: threading.Event
) -> Iterator[Outcome]:
    """Give outcomes as they come; stop all when going on is pointless."""
    down = 0
    for future in as_completed(futures):
        outcome = future.result()
        down = down + 1 if isinstance(outcome.error, UnreachableError) else 0
        if down >= _DOWN or isinstance(outcome.error, StorageError):
            stop.set()
        yield outcome


class _Work:
    """What the threads share; each has a session of its own."""

    def __init__(
        self, archive: Archive, folder: Path, *, policy: Policy, tick: Tick | None
    ) -> None:
        self.stop = threading.Event()
        self._archive = archive
        self._folder = folder
        self._policy = policy
        self._tick = tick
        self._own = threading.local()
        self._writing = threading.Lock()

    def run(self, item: Item) -> Outcome:
        """Fetch one file and note it down."""
        try:
            if self.stop.is_set():
                raise Stopped
            digest = self._fetch(item)
        except Stopped:
            msg = f"{item.product.name}: not fetched, because others failed. Run again"
            return Outcome(item, error=WebbmosaicError(msg))
        except WebbmosaicError as error:
            return Outcome(item, error=error)
        return Outcome(item, sha256=digest)

    def adopt(self, item: Item) -> None:
        """Note down a whole file that came here in another way."""
        if not self.stop.is_set():
            self._note(item.target, url="", digest=_digest(item.target))

    def _fetch(self, item: Item) -> str:
        if item.reason == "not whole":
            item.target.unlink(missing_ok=True)
        url = product_url(self._archive, item.product)
        source = Source(url, item.product.name, item.product.size)
        digest = fetch(
            source,
            item.target,
            session=self._session(),
            policy=self._policy,
            tick=self._tick,
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
        with self._writing, _journal(self._folder).open("a", encoding="utf-8") as out:
            out.write(line)
