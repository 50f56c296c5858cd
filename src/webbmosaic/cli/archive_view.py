"""How searches and downloads look on a terminal, and in a job's log."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from webbmosaic.archives.download import Item, Outcome
    from webbmosaic.archives.holdings import Exposure, Product
    from webbmosaic.archives.surveys import Survey

__all__ = [
    "Listing",
    "Progress",
    "all_bytes",
    "all_exposures",
    "counted",
    "grouped_exposures",
    "in_bytes",
    "listed_products",
    "listed_surveys",
    "show",
    "show_failures",
    "show_plan",
]

#: Rows above which framing a table takes longer than reading it is worth.
_LONG = 1000


def in_bytes(size: float) -> str:
    """
    Write a number of bytes for people.

    Parameters
    ----------
    size : float
        Bytes.

    Returns
    -------
    text : str

    Examples
    --------
    >>> in_bytes(999), in_bytes(1_234_567)
    ('999 B', '1.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def all_bytes(sizes: Sequence[int | None]) -> str:
    """
    Write a sum of bytes for people.

    Parameters
    ----------
    sizes : sequence of int or None
        None where a size is not known.

    Returns
    -------
    text : str

    Examples
    --------
    >>> all_bytes([1000, 500]), all_bytes([1000, None])
    ('1.5 kB', 'at least 1.0 kB')
    """
    known = in_bytes(sum(size or 0 for size in sizes))
    return f"at least {known}" if None in sizes else known


def counted(items: Sequence[object], what: str) -> str:
    """
    Count things for people.

    Parameters
    ----------
    items : sequence
        The things.
    what : str
        One of them.

    Returns
    -------
    text : str

    Examples
    --------
    >>> counted([1], "file"), counted([], "file")
    ('1 file', '0 files')
    """
    return f"{len(items)} {what}" + ("" if len(items) == 1 else "s")


@dataclass
class Listing:
    """
    Rows of text under headings.

    Attributes
    ----------
    columns : tuple of str
        The headings.
    right : tuple of str
        Those of numbers.
    rows : list of list of str
        The cells.
    """

    columns: tuple[str, ...]
    right: tuple[str, ...] = ()
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row."""
        self.rows.append([str(cell) for cell in cells])


def show(listing: Listing) -> None:
    """
    Print a table: framed on a terminal, plain in pipes and files and when it is long.

    Parameters
    ----------
    listing : Listing
        The table.
    """
    if sys.stdout.isatty() and len(listing.rows) <= _LONG:
        from rich.console import Console

        Console().print(_framed(listing))
    else:
        click.echo("\n".join(_plain(listing)))


def _framed(listing: Listing) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in listing.columns:
        justify: Any = "right" if column in listing.right else "left"
        table.add_column(column, justify=justify, overflow="fold")
    for row in listing.rows:
        # What the archive wrote is text, not markup.
        table.add_row(*map(Text, row))
    return table


def _plain(listing: Listing) -> Iterator[str]:
    everything = [list(listing.columns), *listing.rows]
    widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
    signs = [">" if column in listing.right else "<" for column in listing.columns]
    for row in everything:
        cells = zip(row, signs, widths, strict=True)
        yield "  ".join(f"{cell:{sign}{width}}" for cell, sign, width in cells).rstrip()


def grouped_exposures(exposures: Sequence[Exposure]) -> Listing:
    """
    Sum up exposures: a row for each observation, instrument and filter.

    Parameters
    ----------
    exposures : sequence of Exposure
        What was found.

    Returns
    -------
    listing : Listing
    """
    groups: dict[tuple[str, ...], list[Exposure]] = defaultdict(list)
    for one in exposures:
        filters = " ".join(one.elements)
        key = (one.program, one.observation, one.instrument, filters, one.exposure_type)
        groups[key].append(one)
    columns = (
        "Program Obs Instrument Filters Type Exposures Seconds Start Target Access"
    )
    listing = Listing(tuple(columns.split()), right=("Exposures", "Seconds"))
    for group, members in sorted(groups.items()):
        seconds = sum(one.duration for one in members if one.duration == one.duration)
        start = min((one.date for one in members if one.date), default="")[:10]
        access = "/".join(sorted({one.access for one in members}))
        target = members[0].target
        listing.add(*group, len(members), f"{seconds:.0f}", start, target, access)
    return listing


def all_exposures(exposures: Sequence[Exposure]) -> Listing:
    """
    List exposures, a row each.

    Parameters
    ----------
    exposures : sequence of Exposure
        What was found.

    Returns
    -------
    listing : Listing
    """
    columns = "Exposure Instrument Filters Type Start Seconds Target Access Public"
    listing = Listing(tuple(columns.split()), right=("Seconds",))
    for one in exposures:
        kind = (one.instrument, " ".join(one.elements), one.exposure_type)
        rest = (one.target, one.access, one.release)
        listing.add(one.name, *kind, one.date, f"{one.duration:.0f}", *rest)
    return listing


def listed_products(products: Sequence[Product]) -> Listing:
    """
    List files, a row each.

    Parameters
    ----------
    products : sequence of Product
        What MAST has.

    Returns
    -------
    listing : Listing
    """
    columns = ("File", "Size", "Level", "Kind", "Filters", "Access")
    listing = Listing(columns, right=("Size",))
    for one in products:
        size = in_bytes(one.size) if one.size else "?"
        filters = " ".join(one.elements)
        listing.add(one.name, size, one.level, one.kind, filters, one.access)
    return listing


def listed_surveys(surveys: Mapping[str, Survey]) -> Listing:
    """
    List the surveys known by name.

    Parameters
    ----------
    surveys : mapping of str to Survey
        By name.

    Returns
    -------
    listing : Listing
    """
    listing = Listing(("Survey", "Programs", "Source"))
    for name, survey in surveys.items():
        listing.add(name, " ".join(survey.programs), survey.source)
    return listing


def show_plan(items: Sequence[Item], folder: Path, *, every: bool) -> None:
    """
    Say what a download will fetch.

    Parameters
    ----------
    items : sequence of Item
        The plan.
    folder : `~pathlib.Path`
        The download folder.
    every : bool
        Whether to name every file.
    """
    wanted = [item for item in items if item.reason]
    if every and wanted:
        listing = Listing(("File", "Size", "Why"), right=("Size",))
        for item in wanted:
            size = in_bytes(item.product.size) if item.product.size else "?"
            listing.add(item.target.relative_to(folder), size, item.reason)
        show(listing)
    total = all_bytes([item.product.size for item in items])
    missing = all_bytes(
        [item.missing if item.product.size else None for item in wanted]
    )
    click.echo(
        f"{counted(items, 'file')}, {total}; {len(items) - len(wanted)} are there,"
        f" {len(wanted)} to fetch ({missing})"
    )


def show_failures(outcomes: Sequence[Outcome]) -> None:
    """
    Say what failed and why; files that failed alike share a line.

    Parameters
    ----------
    outcomes : sequence of Outcome
        How all downloads ended.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.error:
            name = outcome.item.product.name
            alike[str(outcome.error).removeprefix(f"{name}: ")].append(name)
    for reason, names in alike.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        click.echo(f"Failed: {', '.join(names[:3])}{more}: {reason}", err=True)


class Progress:
    """
    Bars on a terminal; in a job, a plain line for each file.

    Parameters
    ----------
    items : sequence of Item
        What is to be fetched.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        from rich import progress
        from rich.console import Console

        wanted = [item for item in items if item.reason]
        self._count = 0
        self._sizes = {i.product.name: i.product.size for i in wanted}
        self._far: dict[str, int] = {}
        self._bars: dict[str, Any] = {}
        self._live = sys.stderr.isatty()
        self._rich = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._live,
        )
        total = sum(size or 0 for size in self._sizes.values())
        self._all = self._rich.add_task("All files", total=total)

    def __enter__(self) -> Progress:
        self._rich.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rich.stop()

    def tick(self, name: str, length: int) -> None:
        """Move the bar of a file; called by several threads."""
        if not self._live:
            return
        if name not in self._bars:
            self._bars[name] = self._rich.add_task(name, total=self._sizes[name])
        self._rich.update(self._bars[name], completed=length)
        self._rich.advance(self._all, length - self._far.get(name, 0))
        self._far[name] = length

    def done(self, outcome: Outcome) -> None:
        """Take the bar of a file away, or print its line."""
        name = outcome.item.product.name
        self._count += 1
        if name in self._bars:
            self._rich.remove_task(self._bars.pop(name))
        if not self._live and outcome.error is None:
            path = outcome.item.target
            size = in_bytes(path.stat().st_size) if path.exists() else ""
            click.echo(f"[{self._count}/{len(self._sizes)}] {name} {size}", err=True)
