"""``webbmosaic mosaic``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from webbmosaic.cli.alignment_options import (
    ALIGNMENT_KEYS,
    alignment_options,
    with_gaia,
)
from webbmosaic.cli.options import (
    dry_run,
    expanded,
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
@click.argument("names", nargs=-1, required=True, metavar="FILE...")
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
@alignment_options
@click.option(
    "--sky",
    type=click.Choice(["constant", "plane"]),
    help="How the skies of the exposures are levelled.",
)
@click.option("--redo", is_flag=True, help="Do again what is already done.")
@settings_options
@dry_run
def mosaic(names: tuple[str, ...], output: Path, **given: Any) -> None:
    """
    One mosaic of any calibrated images.

    FILE is a _cal.fits, by this package or by the archive, a wildcard in quotes, or
    @LIST, a text file with one on each line; all of them become one mosaic. Skies that
    were not subtracted yet are levelled, not removed.
    """
    from webbmosaic.cli.progress import run_one
    from webbmosaic.cli.work import check_settings
    from webbmosaic.files.headers import read_header
    from webbmosaic.run.folder import mosaic_task

    files = [Path(name) for name in expanded(names)]
    keys = {
        "pixel_scale": ("resample", "pixel_scale"),
        "sky": ("skymatch", "model"),
        **ALIGNMENT_KEYS,
    }
    settings = read_all_settings(
        Path(), given["settings_file"], given["assignments"], meant(given, keys)
    )
    home = output.parent if output.name.endswith(".fits") else output
    if settings.alignment.abs_refcat.lower() == "gaia":
        headers = [read_header(path) for path in files]
        settings = with_gaia(settings, headers, home / "catalogues")
    check_settings(settings)
    task = mosaic_task(files, output, settings, extra_types=given["types"])
    good = run_one(task, redo=given["redo"], dry_run=given["dry_run"])
    if good and not given["dry_run"]:
        click.echo(task.outputs[0])
    sys.exit(0 if good else 1)
