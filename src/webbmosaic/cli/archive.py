"""``webbmosaic query`` and ``webbmosaic download``."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from webbmosaic.cli.options import dry_run, work_dir
from webbmosaic.errors import ArchiveError

if TYPE_CHECKING:
    from webbmosaic.archives.selection import Exposure, Product, Selection
    from webbmosaic.archives.transport import Archive

__all__ = ["download", "query"]

_FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _words(
    _ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Take ``--obs 1,2 --obs 3`` and ``--obs 1 2 3`` for the same."""
    return tuple(w for value in values for w in value.replace(",", " ").split())


def _numbers(
    _ctx: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    words = tuple(w.lower().removeprefix("obs") for w in _words(_ctx, _option, values))
    for word in words:
        if not word.isdigit():
            msg = f"'{word}' is no number"
            raise click.BadParameter(msg)
    return words


def _date(_ctx: click.Context, _option: click.Parameter, value: str | None) -> str:
    from webbmosaic.archives.selection import read_date

    try:
        return read_date(value) if value else ""
    except ValueError as error:
        msg = f"'{value}' is no date such as 2022-12-24 or 2022-12-24T18:00"
        raise click.BadParameter(msg) from error


def _table_file(
    _ctx: click.Context, _option: click.Parameter, value: Path | None
) -> Path | None:
    if value is not None and value.suffix.lower() not in _FORMATS:
        msg = f"'{value}' must end in .ecsv or .csv"
        raise click.BadParameter(msg)
    return value


def _listed(*names: str, metavar: str, text: str) -> Callable[[Any], Any]:
    """Make an option that may be repeated or hold a comma list."""
    return click.option(
        *names, multiple=True, callback=_words, metavar=metavar, help=text
    )


def _numbered(*names: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(
        *names, multiple=True, callback=_numbers, metavar=metavar, help=text
    )


_SELECTION = (
    click.argument("what", nargs=-1, metavar="WHAT..."),
    click.option(
        "--radius",
        type=click.FloatRange(min=0, min_open=True),
        default=3.0,
        show_default=True,
        metavar="ARCMIN",
        help="Around RA DEC or TARGET.",
    ),
    _listed(
        "--dataset",
        "datasets",
        metavar="NAME",
        text="Only datasets (or files) of this name; * and ? are wildcards.",
    ),
    _numbered(
        "--obs",
        "observations",
        metavar="N",
        text="Only these observations.",
    ),
    _numbered("--visit", "visits", metavar="N", text="Only these visits."),
    _listed(
        "--instrument",
        "instruments",
        metavar="NAME",
        text="Only nircam, miri or niriss.",
    ),
    _listed("--filter", "filters", metavar="NAME", text="Only these filters."),
    _listed(
        "--detector",
        "detectors",
        metavar="NAME",
        text="Only these detectors: nrca1, nrcblong, mirimage, ...",
    ),
    _listed(
        "--exp-type",
        "types",
        metavar="TYPE",
        text="Exposure types; 'all' for all.  [default: imaging]",
    ),
    click.option(
        "--grism/--no-grism",
        "grism",
        help="Slitless spectroscopy too.  [default: no]",
    ),
    click.option("--only-grism", is_flag=True, help="Slitless spectroscopy only."),
    click.option(
        "--after", callback=_date, metavar="DATE", help="Started on this day or later."
    ),
    click.option(
        "--before",
        callback=_date,
        metavar="DATE",
        help="Started on this day or earlier.",
    ),
    _listed(
        "--calib-level",
        "levels",
        metavar="LEVEL",
        text="All files of these levels: 1 (uncal), 2 (rate, cal), 3 (i2d).",
    ),
    _listed(
        "--suffix",
        "suffixes",
        metavar="SUFFIX",
        text="Files such as uncal, rate, cal.  [default: uncal]",
    ),
    _listed(
        "--extension",
        "extensions",
        metavar="EXT",
        text="File name extensions.  [default: fits]",
    ),
    _listed(
        "--product-type",
        "kinds",
        metavar="TYPE",
        text="science, preview, auxiliary or info.  [default: science]",
    ),
    click.option(
        "--preview/--no-preview", "preview", help="Preview pictures too.  [default: no]"
    ),
    click.option(
        "--auxiliary/--no-auxiliary",
        "auxiliary",
        help="Auxiliary files too.  [default: no]",
    ),
    click.option(
        "--guide-star/--no-guide-star",
        "guide_star",
        help="Guide-star files too.  [default: no]",
    ),
)

_save = click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_table_file,
    metavar="FILE",
    help="Write the list to FILE.ecsv or FILE.csv.",
)
_DOWNLOADING = (
    work_dir,
    click.option(
        "--download-dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="Put mastDownload/JWST/ here.  [default: the work folder]",
    ),
    click.option(
        "-j",
        "--streams",
        type=click.IntRange(1, 16),
        default=4,
        show_default=True,
        metavar="N",
        help="How many files to fetch at once.",
    ),
    click.option(
        "--redo", is_flag=True, help="Fetch again what is there and right, too."
    ),
)
#: Negative declinations look like options.
_CONTEXT = {"ignore_unknown_options": True}


def _with(*options: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        return reduce(lambda made, option: option(made), reversed(options), command)

    return decorate


@click.command(context_settings=_CONTEXT)
@_with(*_SELECTION)
@click.option("--files", is_flag=True, help="List the files, with their sizes.")
@click.option("--exposures", is_flag=True, help="List every exposure.")
@_save
@click.option("--download/--no-download", "fetch", help="Fetch the files, too.")
@_with(*_DOWNLOADING, dry_run)
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
    archive, selection, found = _search(options)
    if not files:
        _show_exposures(found, every=exposures)
        if save:
            _save_exposures(found, save)
        return
    products = _list(archive, found, selection)
    _show_products(products)
    if save:
        _save_products(products, save)


@click.command(context_settings=_CONTEXT)
@_with(*_SELECTION)
@_save
@click.option(
    "--download/--no-download",
    "fetch",
    default=True,
    help="--no-download is --dry-run.",
)
@_with(*_DOWNLOADING, dry_run)
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
    archive, selection, found = _search(options)
    products = _list(archive, found, selection)
    if save:
        _save_products(products, save)
    if _fetch(
        archive,
        products,
        folder,
        streams=streams,
        redo=redo,
        only_show=dry_run or not fetch,
    ):
        ctx.exit(1)


def _search(options: dict[str, Any]) -> tuple[Archive, Selection, list[Exposure]]:
    """Understand the options, ask MAST, and say what was left out."""
    from rich.console import Console

    from webbmosaic.archives.mast import search
    from webbmosaic.archives.transport import Archive

    selection = _selection(options)
    archive = Archive.mast()
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


def _selection(options: dict[str, Any]) -> Selection:
    from webbmosaic.archives.selection import Selection
    from webbmosaic.archives.surveys import read_place, resolve

    what = options["what"]
    _refuse_options(what)
    place = read_place(what or options["datasets"])
    datasets = place.datasets + (options["datasets"] if what else ())
    suffixes = options["suffixes"]
    if not suffixes and not options["levels"]:
        suffixes = ("uncal",)
    preview = ("preview",) if options["preview"] else ()
    auxiliary = ("auxiliary", "info") if options["auxiliary"] else ()
    return Selection(
        programs=place.programs,
        position=resolve(place.target) if place.target else place.position,
        radius=options["radius"],
        datasets=datasets,
        observations=options["observations"],
        visits=options["visits"],
        instruments=options["instruments"],
        filters=options["filters"],
        detectors=options["detectors"],
        exposure_types=_types(options),
        after=options["after"],
        before=options["before"],
        levels=options["levels"],
        suffixes=suffixes,
        extensions=(options["extensions"] or ("fits",)) + (("jpg",) if preview else ()),
        kinds=(options["kinds"] or ("science",)) + preview + auxiliary,
        guide_stars=options["guide_star"],
    )


def _refuse_options(what: tuple[str, ...]) -> None:
    """Find mistyped options among the words, where negative numbers are welcome."""
    for word in what:
        if word.startswith("-") and not word[1:2].isdigit():
            ctx = click.get_current_context()
            known = [
                o for p in ctx.command.params for o in (*p.opts, *p.secondary_opts)
            ]
            name = word.partition("=")[0]
            raise click.NoSuchOption(
                name, possibilities=difflib.get_close_matches(name, known), ctx=ctx
            )


def _types(options: dict[str, Any]) -> tuple[str, ...]:
    from webbmosaic.archives.selection import GRISM_EXPOSURES
    from webbmosaic.datasets import IMAGING_EXPOSURES

    given: tuple[str, ...] = options["types"]
    if options["only_grism"]:
        return GRISM_EXPOSURES
    if "all" in (one.lower() for one in given):
        return ()
    return (given or IMAGING_EXPOSURES) + (GRISM_EXPOSURES if options["grism"] else ())


def _list(
    archive: Archive, exposures: list[Exposure], selection: Selection
) -> list[Product]:
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
    from webbmosaic.cli.archive_view import counted, in_bytes, listed_products, show

    show(listed_products(products))
    total = in_bytes(sum(p.size or 0 for p in products))
    click.echo(f"{counted(products, 'file')}, {total}")


def _save_exposures(exposures: list[Exposure], path: Path) -> None:
    from webbmosaic.archives.mast import exposure_table

    _write(exposure_table(exposures), path)


def _save_products(products: list[Product], path: Path) -> None:
    from webbmosaic.archives.mast import product_table

    _write(product_table(products), path)


def _write(table: Any, path: Path) -> None:
    from webbmosaic.files.products import atomic

    with atomic(path) as temporary:
        table.write(temporary, format=_FORMATS[path.suffix.lower()])
    click.echo(f"Wrote {path}", err=True)


def _fetch(
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
    from webbmosaic.cli.archive_view import Progress, counted, show_plan

    items = plan(products, folder, redo=redo)
    show_plan(items, folder, every=only_show)
    if only_show or not any(item.reason for item in items):
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
    failed = [o.error for o in outcomes if o.error]
    for error in failed:
        click.echo(f"Failed: {error}", err=True)
    fetched = [o for o in outcomes if not o.error]
    click.echo(f"{counted(fetched, 'file')} fetched, {len(failed)} failed")
    return bool(failed)
