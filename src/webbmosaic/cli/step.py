"""``webbmosaic step``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from webbmosaic.cli.cleaning import cleaning_options, cleaning_overrides
from webbmosaic.cli.options import read_all_settings, settings_options

__all__ = ["step"]


@click.command(
    epilog="Example: webbmosaic step stripes old_rate.fits -o clean_rate.fits"
)
@click.argument("name", metavar="NAME")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write.  [default: FILE itself]",
)
@cleaning_options
@settings_options
def step(name: str, file: Path, output: Path | None, **given: Any) -> None:
    """
    One cleaning step on one file.

    NAME is flat, wisps, stripes, claws, snowballs, persistence, badpixels or sky. What
    the step measured is printed.
    """
    from webbmosaic.stages.single_step import run_single_step, work_folder

    settings = read_all_settings(
        work_folder(file),
        given["settings_file"],
        given["assignments"],
        cleaning_overrides(given),
    )
    numbers = run_single_step(name, file, output or file, settings)
    for key, value in numbers.items():
        click.echo(f"{key}: {value}")
    click.echo(output or file)
