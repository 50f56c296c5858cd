"""``webbmosaic stage1``, ``stage2``, ``stage3`` and ``run``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from webbmosaic.cli.alignment_options import (
    ALIGNMENT_KEYS,
    alignment_options,
)
from webbmosaic.cli.cleaning import cleaning_options, cleaning_overrides
from webbmosaic.cli.options import (
    Overrides,
    all_of,
    job_options,
    meant,
    merged,
    settings_options,
)
from webbmosaic.errors import UsageError

__all__ = ["run", "stage1", "stage2", "stage3"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_datasets = click.argument("datasets", nargs=-1, metavar="[DATASET]...")


def _maximum_cores(command: _Command) -> _Command:
    return click.option(
        "--maximum-cores",
        type=click.Choice(["none", "quarter", "half", "all"]),
        help="Cores that one ramp fit may use; several exposures at once are faster.",
    )(command)


def _skip(command: _Command) -> _Command:
    return click.option(
        "--skip",
        multiple=True,
        metavar="STEP",
        help="Leave out a step, such as flat or stripes; repeatable.",
    )(command)


def _keep_sky(command: _Command) -> _Command:
    return click.option(
        "--keep-sky", is_flag=True, help="Measure the sky, but leave it in."
    )(command)


_SELECTION = (
    click.option("--program", "programs", multiple=True, help="Only this program."),
    click.option("--obs", "observations", multiple=True, help="Only this observation."),
    click.option("--visit", "visits", multiple=True, help="Only this visit."),
    click.option("--instrument", "instruments", multiple=True, help="Only this one."),
    click.option("--filter", "filters", multiple=True, help="Only this filter."),
)
_select = all_of(*_SELECTION)
_MOSAIC_OPTIONS = (
    click.option("--combine-obs", is_flag=True, help="All observations in one mosaic."),
    click.option("--combine-program", is_flag=True, help="All programs in one mosaic."),
    click.option("--combine-filter", is_flag=True, help="All filters in one mosaic."),
    click.option(
        "--combine-visits/--no-combine-visits",
        default=None,
        help="All visits of an observation in one mosaic (the default).",
    ),
    click.option("--by-visit", is_flag=True, help="One mosaic for each visit."),
    click.option("--pixel-scale", type=float, help="Output pixel, in arcsec."),
    click.option("--pixel-scale-ratio", type=float, help="Output over input pixel."),
    click.option("--pixfrac", type=float, help="Size of the drop, in input pixels."),
    click.option("--kernel", help="Such as square or gaussian."),
    click.option("--north-up", is_flag=True, help="Turn the y axis to the north."),
    click.option(
        "--sky",
        type=click.Choice(["constant", "plane"]),
        help="How the skies of the exposures are levelled.",
    ),
    alignment_options,
    click.option(
        "--output-dir",
        default=None,
        metavar="FOLDER",
        help="Folder of the mosaics.  [default: FOLDER/calibrated3_mosaic]",
    ),
    click.option(
        "--legacy-links",
        is_flag=True,
        help="Link the predecessor's names of mosaics to ours.",
    ),
)
_mosaic_options = all_of(*_MOSAIC_OPTIONS)
_MOSAIC_KEYS = {
    "combine_obs": ("grouping", "combine_observations"),
    "combine_program": ("grouping", "combine_programs"),
    "combine_filter": ("grouping", "combine_filters"),
    "pixel_scale": ("resample", "pixel_scale"),
    "pixel_scale_ratio": ("resample", "pixel_scale_ratio"),
    "pixfrac": ("resample", "pixfrac"),
    "kernel": ("resample", "kernel"),
    "north_up": ("resample", "north_up"),
    "sky": ("skymatch", "model"),
    **ALIGNMENT_KEYS,
}


def _mosaic_overrides(given: dict[str, Any]) -> Overrides:
    overrides = meant(given, _MOSAIC_KEYS)
    if given.get("combine_visits") is not None or given.get("by_visit"):
        together = not given.get("by_visit") and bool(given["combine_visits"])
        overrides.setdefault("grouping", {})["combine_visits"] = together
    return overrides


def _stage1_overrides(given: dict[str, Any], *stages: str) -> Overrides:
    skipped = _skipped(given.get("skip", ()), ("stage1", *stages))
    overrides = merged(cleaning_overrides(given), skipped)
    if given.get("maximum_cores"):
        cores = {"maximum_cores": given["maximum_cores"]}
        overrides = merged(overrides, {"detector1": cores})
    return overrides


def _skipped(steps: tuple[str, ...], stages: tuple[str, ...]) -> Overrides:
    """Switch steps off; the step is named after what it removes."""
    from webbmosaic.run.sections import SKIPPABLE

    sections = {k: v for stage in stages for k, v in SKIPPABLE[stage].items()}
    for step in steps:
        if step not in sections:
            known = ", ".join(sections)
            msg = f"--skip {step}: no step of this command; those are {known}"
            raise UsageError(msg)
    return {sections[step]: {"enabled": False} for step in steps}


def _stage2_overrides(given: dict[str, Any]) -> Overrides:
    return {"sky": {"subtract": False}} if given.get("keep_sky") else {}


@click.command(epilog="Example: webbmosaic stage1 -C ceers -j 8 --skip stripes")
@_datasets
@_select
@job_options
@settings_options
@_maximum_cores
@_skip
@cleaning_options
def stage1(**given: Any) -> None:
    r"""
    Raw ramps to clean count-rate images (uncal to rate).

    Runs calwebb_detector1, then divides by the flat and removes what the pipeline
    leaves behind. With no DATASET, every dataset in the work folder is reduced.

    \b
    Reads   DATASET/uncals/DATASET_uncal.fits
    Writes  DATASET/calibrated1_rates/DATASET_rate.fits
    """
    _reduce(("stage1",), given, _stage1_overrides(given))


@click.command(epilog="Example: webbmosaic stage2 -C ceers --keep-sky")
@_datasets
@_select
@job_options
@settings_options
@_keep_sky
def stage2(**given: Any) -> None:
    r"""
    Count rates to calibrated images (rate to cal).

    Runs calwebb_image2, then measures the constant sky beside the sources and
    subtracts it.

    \b
    Reads   DATASET/calibrated1_rates/DATASET_rate.fits
    Writes  DATASET/calibrated2_cals/DATASET_cal.fits
    """
    _reduce(("stage2",), given, _stage2_overrides(given))


@click.command(
    epilog="Example: webbmosaic stage3 -C ceers --combine-obs --pixel-scale 0.03"
)
@_datasets
@_select
@job_options
@settings_options
@_mosaic_options
def stage3(**given: Any) -> None:
    r"""
    Calibrated images to mosaics (cal to i2d).

    Groups the exposures by program, observation, instrument and filter; aligns them,
    levels their skies, rejects outliers, drizzles, and makes a source catalogue.

    \b
    Reads   DATASET/calibrated2_cals/DATASET_cal.fits
    Writes  calibrated3_mosaic/GROUP/GROUP_i2d.fits and tables beside it
    """
    _reduce(("stage3",), given, _mosaic_overrides(given))


@click.command(epilog="Example: webbmosaic run -C ceers -j 4")
@_datasets
@_select
@job_options
@settings_options
@_maximum_cores
@_skip
@cleaning_options
@_keep_sky
@_mosaic_options
def run(**given: Any) -> None:
    """All stages in order, for all that is in the folder."""
    overrides = merged(
        _stage1_overrides(given, "stage2", "stage3"),
        _stage2_overrides(given),
        _mosaic_overrides(given),
    )
    _reduce(("stage1", "stage2", "stage3"), given, overrides)


def _reduce(
    stages: tuple[str, ...], given: dict[str, Any], overrides: Overrides
) -> None:
    from webbmosaic.cli.progress import run_and_show
    from webbmosaic.cli.work import prepare_work
    from webbmosaic.run.local import Limits
    from webbmosaic.run.tables import link_legacy_names, write_tables

    work = prepare_work(stages, given, overrides)
    for sentence in work.notes:
        click.echo(sentence, err=True)
    good = run_and_show(
        work.tasks,
        work.workspace,
        limits=Limits(
            processes=given["processes"],
            memory_mb=1000 * (given["memory"] or 0),
            time_limit=60 * (given["time_limit"] or 0),
        ),
        redo=given["redo"],
        dry_run=given["dry_run"],
        check=work.check,
    )
    if "stage3" in stages and not given["dry_run"]:
        write_tables(work.workspace)
        if given["legacy_links"]:
            link_legacy_names(work.workspace, work.tasks)
    sys.exit(0 if good else 1)
