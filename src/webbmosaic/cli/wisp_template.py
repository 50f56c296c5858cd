"""``webbmosaic wisp-template``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from webbmosaic.cli.options import work_dir

__all__ = ["wisp_template"]


@click.group(name="wisp-template")
def wisp_template() -> None:
    """Wisp templates from your own exposures."""


@wisp_template.command(
    epilog="Example: webbmosaic wisp-template build -C ceers --filter F200W"
)
@work_dir
@click.option("--detector", "detectors", multiple=True, help="Only this; repeatable.")
@click.option("--filter", "filters", multiple=True, help="Only this; repeatable.")
@click.option(
    "-o",
    "--template-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write.  [default: NIRCAM_WISP_TEMPLATES, else wisp_templates in the"
    " work folder]",
)
@click.option(
    "--min-exposures",
    type=click.IntRange(min=3),
    default=5,
    show_default=True,
    help="Fewer exposures make no template; 20 make a good one.",
)
def build(
    work: Path,
    template_dir: Path | None,
    *,
    detectors: tuple[str, ...],
    filters: tuple[str, ...],
    min_exposures: int,
) -> None:
    """
    Make wisp templates from the rates of the work folder.

    One for each detector (nrca3, nrca4, nrcb3 and nrcb4, or those named) and filter,
    with a weight map and the list of the exposures used. Reduce the exposures before
    with --set wisps.enabled=false, so that they still have their wisps.
    """
    from webbmosaic.datasets import Workspace
    from webbmosaic.files.wisp_templates import template_folder
    from webbmosaic.stages.wisp_templates import build_templates

    folder = template_folder(str(template_dir or ""), work)
    made = list(
        build_templates(
            Workspace(work),
            folder,
            detectors=detectors,
            filters=filters,
            fewest=min_exposures,
        )
    )
    for one in made:
        outcome = f"{one.exposures} exposures -> {one.path}" if one.path else one.note
        click.echo(f"{one.detector} {one.filter_name}: {outcome}")
    if not any(one.path for one in made):
        click.echo("No template was made.", err=True)
        sys.exit(1)
