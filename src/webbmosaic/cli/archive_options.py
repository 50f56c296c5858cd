"""The options that choose exposures and files of MAST."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webbmosaic.cli.options import FiniteRange, all_of, work_dir
from webbmosaic.datasets import DETECTORS

if TYPE_CHECKING:
    from webbmosaic.archives.selection import Selection

__all__ = [
    "CONTEXT",
    "FORMATS",
    "download_options",
    "read_selection",
    "save_option",
    "selection_options",
]

FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}


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
        if not (word.isascii() and word.isdigit()):
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
    if value is not None and value.suffix.lower() not in FORMATS:
        msg = f"'{value}' must end in .ecsv or .csv"
        raise click.BadParameter(msg)
    return value


def _listed(
    *names: str, metavar: str, text: str, among: str = ""
) -> Callable[[Any], Any]:
    """Make an option that may be repeated or hold a comma list."""
    return click.option(
        *names, multiple=True, callback=_checked(among), metavar=metavar, help=text
    )


def _checked(among: str) -> Callable[..., tuple[str, ...]]:
    def words(
        ctx: click.Context, option: click.Parameter, values: tuple[str, ...]
    ) -> tuple[str, ...]:
        given = _words(ctx, option, values)
        for word in given if among else ():
            if word.lower() not in among.split():
                msg = f"'{word}' is not one of {', '.join(among.split())}"
                raise click.BadParameter(msg)
        return tuple(word.lower() for word in given) if among else given

    return words


def _numbered(*names: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(
        *names, multiple=True, callback=_numbers, metavar=metavar, help=text
    )


_SELECTION = (
    click.argument("what", nargs=-1, metavar="WHAT..."),
    click.option(
        "--radius",
        type=FiniteRange(min=0, min_open=True),
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
        text="Only nircam, miri, niriss, ...",
        among="nircam miri niriss nirspec fgs",
    ),
    _listed("--filter", "filters", metavar="NAME", text="Only these filters."),
    _listed(
        "--detector",
        "detectors",
        metavar="NAME",
        text="Only these detectors: nrca1, nrcblong, mirimage, ...",
        among=" ".join((*DETECTORS, "nrs1", "nrs2")),
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
        among="1 1a 1b 2 2a 2b 2c 3",
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
        among="science preview auxiliary info",
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

save_option = click.option(
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
CONTEXT = {"ignore_unknown_options": True}


#: ``what``, and all that `read_selection` reads
selection_options = all_of(*_SELECTION)
#: ``work, download_dir, streams, redo``
download_options = all_of(*_DOWNLOADING)


def read_selection(options: dict[str, Any]) -> Selection:
    """
    Turn the values of `selection_options` into a Selection; looks up target names.

    Parameters
    ----------
    options : dict
        Values by parameter name; others are left alone.

    Returns
    -------
    selection : Selection

    Raises
    ------
    UsageError
        If nothing says what is wanted, or a position is none.
    ArchiveError
        If a target is unknown.
    """
    from webbmosaic.archives.selection import Selection
    from webbmosaic.archives.surveys import read_place, resolve

    what = options["what"]
    _refuse_options(what)
    place = read_place(what or options["datasets"])
    datasets = place.datasets + (options["datasets"] if what else ())
    suffixes = tuple(suffix.lower() for suffix in options["suffixes"])
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
        extensions=_extensions(options),
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


def _extensions(options: dict[str, Any]) -> tuple[str, ...]:
    given: tuple[str, ...] = options["extensions"]
    lists = ("json", "csv", "ecsv") if options["auxiliary"] and not given else ()
    pictures = ("jpg",) if options["preview"] else ()
    return (given or ("fits",)) + pictures + lists


def _types(options: dict[str, Any]) -> tuple[str, ...]:
    from webbmosaic.archives.selection import GRISM_EXPOSURES
    from webbmosaic.datasets import IMAGING_EXPOSURES

    given: tuple[str, ...] = options["types"]
    if options["only_grism"]:
        return GRISM_EXPOSURES
    if "all" in (one.lower() for one in given):
        return ()
    return (given or IMAGING_EXPOSURES) + (GRISM_EXPOSURES if options["grism"] else ())
