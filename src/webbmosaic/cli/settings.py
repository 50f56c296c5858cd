"""``webbmosaic settings``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from webbmosaic.cli.options import read_all_settings, settings_options, work_dir

__all__ = ["settings"]


@click.command(
    epilog="Example: webbmosaic settings -C ceers --write --set stripes.columns=false"
)
@work_dir
@settings_options
@click.option(
    "--write",
    is_flag=True,
    help="Put the settings given by --set into the file; make it if there is none.",
)
@click.option("--diff", is_flag=True, help="Show only what is not as by default.")
def settings(
    work: Path,
    settings_file: Path | None,
    assignments: tuple[str, ...],
    *,
    write: bool,
    diff: bool,
) -> None:
    """
    Show, compare or write the settings, as a commented TOML file.

    The settings of a work folder stand in FOLDER/webbmosaic.toml; what is not in there
    has its default. Write the file with --write, not with >, which would empty it
    before it is read.
    """
    from webbmosaic.cli.work import check_settings
    from webbmosaic.datasets import Workspace
    from webbmosaic.files.products import write_text
    from webbmosaic.settings_file import (
        as_toml,
        differences,
        parse_assignments,
        written,
    )

    values = read_all_settings(work, settings_file, assignments)
    check_settings(values)
    if diff:
        found = differences(values)
        click.echo("\n".join(found) or "all settings have their defaults")
        return
    if not write:
        click.echo(as_toml(values))
        return
    path = settings_file or Workspace(work).settings
    if path.exists() and not assignments:
        click.echo(f"{path} is there already. Change it with --set", err=True)
        sys.exit(1)
    write_text(path, written(path, parse_assignments(assignments)))
    click.echo(path)
