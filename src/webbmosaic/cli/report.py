"""``webbmosaic report`` and ``quicklook``."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webbmosaic.cli.options import work_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["quicklook", "report"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Example: webbmosaic report -C demo/work --truth demo/truth.ecsv")
@work_dir
@click.option(
    "--truth",
    type=_FILE,
    metavar="FILE",
    help="Table of true sources, of simulated exposures: compare the mosaics with it.",
)
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Work folder of another reduction, whose mosaics are shown beside.",
)
@click.option(
    "-j",
    "--processes",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="all cores",
    metavar="N",
    help="How many pictures to make at once.",
)
@click.option("--redo", is_flag=True, help="Make all pictures anew.")
def report(
    work: Path, truth: Path | None, before: Path | None, *, processes: int, redo: bool
) -> None:
    """
    One HTML page to judge the reduction by.

    Shows every exposure and mosaic with a picture and its numbers, what needs
    attention and why, the alignment, and what everything was made with. Pictures that
    are newer than the files they show are kept. The folder can be moved or sent.

    Writes FOLDER/report/index.html. Exit status 1 if a file could not be shown.
    """
    from webbmosaic.datasets import Workspace
    from webbmosaic.report.page import write_report

    with _progress() as tell:
        made = write_report(
            Workspace(work),
            truth=truth,
            before=Workspace(before) if before else None,
            processes=processes,
            redo=redo,
            tell=tell,
        )
    for sentence in made.problems:
        click.echo(sentence, err=True)
    for name, found in made.agreements.items():
        click.echo(_recovered(name, found))
    click.echo(f"{made.exposures} exposures, {made.mosaics} mosaics: {made.page}")
    if made.problems:
        sys.exit(1)


def _recovered(name: str, found: dict[str, Any]) -> str:
    """Say in one line what was recovered against truth."""
    parts = [
        f"{found['stars']} stars: flux {_said(found['flux'], '%')}"
        f" (MAD {_said(found['flux_mad'], '%', sign='')}),"
        f" position {_said(found['ra'], 'mas')} east {_said(found['dec'], 'mas')} north"
        f" (MAD {_said(found['position_mad'], 'mas', sign='')})",
        f"{found['galaxies']} galaxies: flux {_said(found['galaxy_flux'], '%')}",
        f"blank sky {_said(found['sky'], 'of the pixel noise', digits=3)}",
    ]
    return f"{name}: " + "; ".join(parts)


def _said(value: float | None, unit: str, *, sign: str = "+", digits: int = 2) -> str:
    return "unknown" if value is None else f"{value:{sign}.{digits}f} {unit}"


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on a terminal, nothing elsewhere."""
    if not sys.stdout.isatty():
        yield None
        return
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task("looking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@click.command(epilog="Example: webbmosaic quicklook *_rate.fits -o pictures")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER|PNG",
    help="Where to write.  [default: beside each file]",
)
@click.option(
    "--pair",
    is_flag=True,
    help="The two files side by side with one stretch: before, after.",
)
def quicklook(files: tuple[Path, ...], output: Path | None, *, pair: bool) -> None:
    """
    A PNG of each image.

    Reads any rate, cal or i2d file, or other FITS image. The grey levels follow the
    sky and its noise; axes are right ascension and declination where the file knows
    them. Writes NAME.quicklook.png. Exit status 1 if a file could not be shown.
    """
    from webbmosaic.errors import UsageError, WebbmosaicError
    from webbmosaic.report.pictures import read_picture
    from webbmosaic.report.quicklook import write_pair, write_quicklook

    if pair:
        if len(files) != 2:
            raise UsageError("--pair takes two files: before and after")
        target = _target(files[1], output, single=True)
        pictures = [read_picture(path) for path in files]
        write_pair(pictures[0], pictures[1], target, titles=("Before", "After"))
        click.echo(target)
        return
    targets = [_target(path, output, single=len(files) == 1) for path in files]
    failed = False
    for path, target in zip(files, targets, strict=True):
        try:
            write_quicklook(read_picture(path), target, title=path.stem)
            click.echo(target)
        except WebbmosaicError as error:
            click.echo(f"Error: {error}", err=True)
            failed = True
    if failed:
        sys.exit(1)


def _target(path: Path, output: Path | None, *, single: bool) -> Path:
    """Choose the PNG: beside the file, in a folder, or the very name given."""
    from webbmosaic.errors import UsageError

    name = f"{path.name.removesuffix('.gz').removesuffix('.fits')}.quicklook.png"
    if output is None:
        return path.with_name(name)
    if output.suffix.lower() != ".png":
        return output / name
    if not single:
        msg = f"-o {output}: one PNG cannot hold several pictures; name a folder"
        raise UsageError(msg)
    return output
