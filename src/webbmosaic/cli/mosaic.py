"""``webbmosaic mosaic``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from webbmosaic.cli.options import (
    dry_run,
    meant,
    read_all_settings,
    settings_options,
)

__all__ = ["mosaic"]

_KEYS = {
    "pixel_scale": ("resample", "pixel_scale"),
    "abs_refcat": ("alignment", "abs_refcat"),
    "on_misaligned": ("alignment", "on_misaligned"),
}


@click.command(
    epilog="Example: webbmosaic mosaic */calibrated2_cals/*_cal.fits -o deep_i2d.fits"
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The mosaic to make; or a folder, to hold it.",
)
@click.option(
    "--exp-type",
    "types",
    multiple=True,
    metavar="EXP_TYPE",
    help="Accept this exposure type too, such as NIS_AMI; repeatable.",
)
@click.option("--pixel-scale", type=float, help="Output pixel, in arcsec.")
@click.option(
    "--abs-refcat", type=click.Path(path_type=Path), help="Catalogue (RA, DEC)."
)
@click.option(
    "--on-misaligned",
    type=click.Choice(["fail", "keep", "drop"]),
    help="What becomes of an exposure that cannot be aligned.",
)
@click.option("--redo", is_flag=True, help="Do again what is already done.")
@settings_options
@dry_run
def mosaic(files: tuple[Path, ...], output: Path, **given: Any) -> None:
    """
    One mosaic of any calibrated images.

    FILE is a _cal.fits, by this package or by the archive; all of them become one
    mosaic. Skies that were not subtracted yet are levelled, not removed.
    """
    from webbmosaic.cli.progress import run_one
    from webbmosaic.cli.work import check_settings
    from webbmosaic.run.folder import mosaic_task

    overrides = meant(given, _KEYS)
    settings = read_all_settings(
        Path(), given["settings_file"], given["assignments"], overrides
    )
    check_settings(settings)
    task = mosaic_task(files, output, settings, extra_types=given["types"])
    good = run_one(task, redo=given["redo"], dry_run=given["dry_run"])
    if good and not given["dry_run"]:
        click.echo(task.outputs[0])
    sys.exit(0 if good else 1)
