"""``webbmosaic settings``."""

from __future__ import annotations

from pathlib import Path

import click

from webbmosaic.cli.options import read_all_settings, settings_options, work_dir

__all__ = ["settings"]


@click.command(epilog="Example: webbmosaic settings > ceers/webbmosaic.toml")
@work_dir
@settings_options
def settings(
    work: Path, settings_file: Path | None, assignments: tuple[str, ...]
) -> None:
    """
    Show every setting, its meaning and its value, as a commented TOML file.

    The settings of a work folder stand in FOLDER/webbmosaic.toml; what is not in there
    has its default.
    """
    from webbmosaic.settings_file import as_toml

    click.echo(as_toml(read_all_settings(work, settings_file, assignments)))
