"""``webbmosaic query`` and ``webbmosaic download``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webbmosaic.cli.archive_options import (
    CONTEXT,
    FORMATS,
    download_options,
    read_selection,
    save_option,
    selection_options,
)
from webbmosaic.cli.options import dry_run
from webbmosaic.errors import ArchiveError, printable

if TYPE_CHECKING:
    from webbmosaic.archives.holdings import Exposure, Product
    from webbmosaic.archives.selection import Selection
    from webbmosaic.archives.transport import Archive

__all__ = ["download", "fetch_files", "list_files", "query", "search_archive"]


def _surveys(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    from webbmosaic.archives.surveys import SURVEYS
    from webbmosaic.cli.archive_view import listed_surveys, show

    show(listed_surveys(SURVEYS))
    ctx.exit()


@click.command(context_settings=CONTEXT)
@selection_options
@click.option(
    "--surveys",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_surveys,
    help="List the surveys that are known by name, and stop.",
)
@click.option("--files", is_flag=True, help="List the files, with their sizes.")
@click.option("--exposures", is_flag=True, help="List every exposure.")
@save_option
@click.option("--download/--no-download", "fetch", help="Fetch the files, too.")
@download_options
@dry_run
@click.pass_context
def query(
    ctx: click.Context,
    /,
    files: bool,
    exposures: bool,
    save: Path | None,
    **options: Any,
) -> None:
    """
    List the exposures MAST holds for a program, field or name.

    WHAT is a program (1345 or 01345), a survey (CEERS, PRIMER, COSMOS-Web, JADES,
    ...), a dataset (jw01345002001_14201_00001_nrcb4; * and ? are wildcards), RA DEC
    (150.1 2.2 in degrees, or 10:00:29 +02:12:21), or a target (NGC 628).

    \b
    Examples:
      webbmosaic query CEERS
      webbmosaic query 1345 --obs 2 --filter F200W --files
      webbmosaic query 53.16 -27.78 --radius 5 --save goods-s.ecsv
    """  # noqa: D301 - click reads the backslash
    if options.pop("fetch"):
        ctx.invoke(download, save=save, fetch=True, **options)
        return
    archive, selection, found = search_archive(options)
    if not files:
        found = _with_filters(archive, found, selection)
        _show_exposures(found, every=exposures)
        if save:
            _save_exposures(found, save)
        return
    products = list_files(archive, found, selection)
    _show_products(products)
    if save:
        _save_products(products, save)


@click.command(context_settings=CONTEXT)
@selection_options
@save_option
@click.option(
    "--download/--no-download",
    "fetch",
    default=True,
    help="--no-download is --dry-run.",
)
@download_options
@dry_run
@click.pass_context
def download(
    ctx: click.Context,
    /,
    save: Path | None,
    fetch: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """
    Fetch raw ramps (or other files) from MAST.

    Files go to FOLDER/mastDownload/JWST/DATASET/. What is there and right is left
    alone; what was cut goes on. WHAT and the options are those of 'webbmosaic query'.
    For exclusive-access data set the environment variable MAST_API_TOKEN.

    \b
    Examples:
      webbmosaic download jw01345002001_14201_00001_nrcb4
      webbmosaic download PRIMER --instrument miri --dry-run
      webbmosaic download 1345 --obs 2 --filter F200W --download-dir data
    """  # noqa: D301
    folder = options.pop("download_dir") or options.pop("work")
    streams, redo = options.pop("streams"), options.pop("redo")
    archive, selection, found = search_archive(options)
    products = list_files(archive, found, selection)
    if save:
        _save_products(products, save)
    if fetch_files(
        archive,
        products,
        folder,
        streams=streams,
        redo=redo,
        only_show=dry_run or not fetch,
    ):
        ctx.exit(1)


def search_archive(
    options: dict[str, Any],
) -> tuple[Archive, Selection, list[Exposure]]:
    """Understand the options, ask MAST, and say what was left out."""
    from rich.console import Console

    from webbmosaic.archives.mast import search
    from webbmosaic.archives.transport import Archive

    selection = read_selection(options)
    archive = Archive.mast(tell=_tell)
    console = Console(stderr=True)
    with console.status(f"Asking {archive.host} ..."):
        found = search(archive, selection)
    kept = [one for one in found if selection.wants_type(one)]
    others = sorted(
        {one.exposure_type for one in found}
        - {""}
        - {one.exposure_type for one in kept}
    )
    if others:
        left = len(found) - len(kept)
        click.echo(
            f"Left out: {left} of type {', '.join(others)} (see --exp-type)",
            err=True,
        )
    if not kept:
        msg = f"{archive.host} holds no such exposures. Are the options too strict?"
        raise ArchiveError(msg)
    return archive, selection, kept


def _tell(sentence: str) -> None:
    click.echo(printable(sentence), err=True)


def _with_filters(
    archive: Archive, exposures: list[Exposure], selection: Selection
) -> list[Exposure]:
    """Keep the exposures that used a wanted filter, perhaps in the other channel."""
    from rich.console import Console

    from webbmosaic.archives.mast import with_filters

    with Console(stderr=True).status("Asking for the filters ..."):
        kept = with_filters(archive, exposures, selection)
    if not kept:
        msg = f"{archive.host} holds no such exposures. See --filter and --detector"
        raise ArchiveError(msg)
    return kept


def list_files(
    archive: Archive, exposures: list[Exposure], selection: Selection
) -> list[Product]:
    """Ask MAST for the files of exposures, and say which have none."""
    from rich.console import Console

    from webbmosaic.archives.mast import list_products

    with Console(stderr=True).status("Listing files ..."):
        products, bare = list_products(archive, exposures, selection)
    if not products:
        msg = (
            f"{archive.host} has {len(exposures)} exposures, but no such files of them."
            " See --suffix, --calib-level and --detector"
        )
        raise ArchiveError(msg)
    if bare:
        names = ", ".join(bare[:3]) + (", ..." if len(bare) > 3 else "")
        click.echo(f"MAST lists no file at all of {len(bare)}: {names}", err=True)
    return products


def _show_exposures(exposures: list[Exposure], *, every: bool) -> None:
    from webbmosaic.cli.archive_view import (
        all_exposures,
        counted,
        grouped_exposures,
        show,
    )

    show((all_exposures if every else grouped_exposures)(exposures))
    seconds = sum(e.duration for e in exposures if e.duration == e.duration)
    click.echo(f"{counted(exposures, 'exposure')}, {seconds / 3600:.2f} h")


def _show_products(products: list[Product]) -> None:
    from webbmosaic.cli.archive_view import all_bytes, counted, listed_products, show

    show(listed_products(products))
    total = all_bytes([p.size for p in products])
    click.echo(f"{counted(products, 'file')}, {total}")


def _save_exposures(exposures: list[Exposure], path: Path) -> None:
    from webbmosaic.archives.holdings import exposure_table

    _write(exposure_table(exposures), path)


def _save_products(products: list[Product], path: Path) -> None:
    from webbmosaic.archives.holdings import product_table

    _write(product_table(products), path)


def _write(table: Any, path: Path) -> None:
    from webbmosaic.files.products import atomic

    with atomic(path) as temporary:
        table.write(temporary, format=FORMATS[path.suffix.lower()])
    click.echo(f"Wrote {path}", err=True)


def fetch_files(
    archive: Archive,
    products: list[Product],
    folder: Path,
    *,
    streams: int,
    redo: bool,
    only_show: bool,
) -> bool:
    """Fetch what is missing; tell whether anything failed."""
    from webbmosaic.archives.download import download as fetch_all
    from webbmosaic.archives.download import plan
    from webbmosaic.cli.archive_view import (
        Progress,
        counted,
        show_failures,
        show_plan,
    )

    items = plan(products, folder, redo=redo)
    show_plan(items, folder, every=only_show)
    if only_show:
        return False
    with Progress(items) as progress:
        outcomes = fetch_all(
            archive,
            items,
            folder,
            streams=streams,
            tick=progress.tick,
            done=progress.done,
        )
    if not outcomes:
        return False
    show_failures(outcomes)
    failed = [o for o in outcomes if o.error]
    fetched = [o for o in outcomes if not o.error]
    click.echo(f"{counted(fetched, 'file')} fetched, {len(failed)} failed")
    return bool(failed)
