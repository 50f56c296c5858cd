"""What a report shows of a work folder: products, their pictures and their numbers."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from webbmosaic.datasets import Workspace
from webbmosaic.errors import WebbmosaicError
from webbmosaic.files.ledger import Record, read_record
from webbmosaic.files.products import write_text

__all__ = ["Product", "find_products", "find_records", "look_at", "look_at_all"]

#: Side of the central window in which a mosaic's noise and depth are measured, pixels.
WINDOW = 2048

#: Starting processes costs as much as so many pictures.
_WORTH_A_POOL = 8


@dataclass(frozen=True)
class Product:
    """
    One file that the report shows.

    Attributes
    ----------
    owner : str
        The dataset or group.
    kind : str
        ``rate``, ``cal`` or ``i2d``.
    source : `~pathlib.Path`
        The FITS file.
    folder : `~pathlib.Path`
        Where its pictures and numbers go.
    before : `~pathlib.Path` or None
        The same mosaic made otherwise, to show beside it.
    """

    owner: str
    kind: str
    source: Path
    folder: Path
    before: Path | None = None

    def made(self, suffix: str) -> Path:
        """Name a file made from this product."""
        return self.folder / f"{self.owner}_{self.kind}{suffix}"

    @property
    def picture(self) -> Path:
        """The quicklook."""
        return self.made(".png")

    @property
    def thumbnail(self) -> Path:
        """The small picture."""
        return self.made("_small.png")

    @property
    def pair(self) -> Path:
        """The pictures before and after."""
        return self.made("_pair.png")

    @property
    def numbers(self) -> Path:
        """What was measured on it."""
        return self.made(".json")

    @property
    def agreement(self) -> Path:
        """How it compares with the truth."""
        return self.made("_truth.json")


def find_products(work: Workspace, *, before: Workspace | None = None) -> list[Product]:
    """
    Find the rate, cal and i2d files of a work folder.

    Parameters
    ----------
    work : Workspace
    before : Workspace, optional
        Another reduction of the same exposures.

    Returns
    -------
    products : list of Product
        Sorted by kind and name; only files that exist.
    """
    folder = work.report.parent / "images"
    found = []
    for dataset in work.datasets():
        name = str(dataset)
        found += [
            Product(name, "rate", work.rate(dataset), folder),
            Product(name, "cal", work.cal(dataset), folder),
        ]
    for group in find_groups(work):
        other = before.mosaic(group) if before else None
        other = other if other and other.is_file() else None
        found.append(Product(group, "i2d", work.mosaic(group), folder, before=other))
    return [product for product in found if product.source.is_file()]


def find_groups(work: Workspace) -> list[str]:
    """List the groups that have a mosaic or a record, sorted."""
    made = (path.parent.name for path in work.mosaics.glob("*/*_i2d.fits"))
    return sorted({*made, *work.groups()})


def find_records(work: Workspace) -> list[Record]:
    """
    Read the ledger of a work folder.

    Parameters
    ----------
    work : Workspace

    Returns
    -------
    records : list of Record
        Sorted by owner and stage; what cannot be read is left out.
    """
    folders = [work.folder(dataset) for dataset in work.datasets()]
    folders += [work.home(group) for group in find_groups(work)]
    paths = [path for folder in folders for path in sorted(folder.glob("state/*.json"))]
    return [record for record in map(read_record, paths) if record is not None]


def _to_make(
    product: Product, truth: Path | None
) -> dict[Path, Callable[[Product, Path], None]]:
    """List what is missing or older than what it is made from, and how to make it."""
    wanted: dict[Path, tuple[Callable[[Product, Path], None], tuple[Path, ...]]] = {
        product.thumbnail: (_draw, ()),
        product.numbers: (_measure, ()),
    }
    if product.before is not None:
        wanted[product.pair] = (_draw_pair, (product.before,))
    if product.kind == "i2d" and truth is not None:
        wanted[product.agreement] = (partial(_compare, truth=truth), (truth,))
    return {
        made: make
        for made, (make, sources) in wanted.items()
        if not _is_current(made, product.source, *sources)
    }


def _is_current(made: Path, *sources: Path) -> bool:
    """Tell whether a file exists and is newer than all that it is made from."""
    if not made.is_file():
        return False
    time = made.stat().st_mtime_ns
    return all(time > source.stat().st_mtime_ns for source in sources)


def look_at(product: Product, *, truth: Path | None = None) -> list[str]:
    """
    Make the pictures and numbers of one product unless they are current.

    Parameters
    ----------
    product : Product
    truth : `~pathlib.Path`, optional
        The table of true sources, for a mosaic.

    Returns
    -------
    problems : list of str
        Sentences; empty when all went well.
    """
    problems: list[str] = []
    for made, make in _to_make(product, truth).items():
        try:
            make(product, made)
        except WebbmosaicError as error:
            made.unlink(missing_ok=True)
            if str(error) not in problems:
                problems.append(str(error))
    return problems


def _draw(product: Product, thumbnail: Path) -> None:
    """Make the quicklook and, last, its thumbnail."""
    from webbmosaic.report.quicklook import make_pictures

    product.picture.unlink(missing_ok=True)
    make_pictures(
        product.source, product.picture, thumbnail=thumbnail, title=product.owner
    )


def _draw_pair(product: Product, png: Path) -> None:
    from webbmosaic.report.pictures import read_picture
    from webbmosaic.report.quicklook import write_pair

    assert product.before is not None
    before, after = read_picture(product.before), read_picture(product.source)
    write_pair(before, after, png, titles=("Before", "After"))


def _measure(product: Product, numbers: Path) -> None:
    from webbmosaic.report.mosaics import read_mosaic
    from webbmosaic.report.quality import measure_frame, measure_mosaic

    if product.kind == "i2d":
        found = measure_mosaic(read_mosaic(product.source, longest=WINDOW))
    else:
        found = measure_frame(product.source)
    _write_numbers(numbers, found)


def _compare(product: Product, numbers: Path, *, truth: Path) -> None:
    from webbmosaic.report.truth import compare_with_truth, read_truth

    found = compare_with_truth(product.source, read_truth(truth))
    _write_numbers(numbers, found.as_dict())


def _write_numbers(path: Path, numbers: Mapping[str, Any]) -> None:
    """Write numbers as JSON, which knows no NaN."""
    plain = {k: None if _no_number(v) else v for k, v in numbers.items()}
    write_text(path, json.dumps(plain, indent=1) + "\n")


def _no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def read_numbers(path: Path) -> dict[str, Any]:
    """Read what was measured; empty where nothing was, or it is damaged."""
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return numbers if isinstance(numbers, dict) else {}


def look_at_all(
    products: Iterable[Product],
    *,
    truth: Path | None = None,
    processes: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> list[str]:
    """
    Make the pictures and numbers of many products, unless they are current.

    Parameters
    ----------
    products : iterable of Product
    truth : `~pathlib.Path`, optional
        The table of true sources.
    processes : int
        How many products at once.
    tell : callable, optional
        Called with how many products are looked at, and of how many.

    Returns
    -------
    problems : list of str
        Sentences; empty when all went well.
    """
    old = [product for product in products if _to_make(product, truth)]
    job = partial(look_at, truth=truth)
    problems: list[str] = []
    with _mapper(processes if len(old) >= _WORTH_A_POOL else 1) as run:
        for done, said in enumerate(run(job, old), 1):
            problems += said
            if tell is not None:
                tell(done, len(old))
    return problems


@contextmanager
def _mapper(processes: int) -> Iterator[Callable[..., Iterable[list[str]]]]:
    """Give a `map` that works in this process or in several."""
    if processes == 1:
        yield map
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["webbmosaic.report.truth"])
    with ProcessPoolExecutor(processes, context) as pool:
        yield pool.map
