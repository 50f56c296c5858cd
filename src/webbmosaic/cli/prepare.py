"""``webbmosaic prepare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webbmosaic.cli.options import dry_run, work_dir

if TYPE_CHECKING:
    from webbmosaic.datasets import Wanted, Workspace

__all__ = ["lay_out_and_tell", "prepare"]


@click.command(
    epilog="Example: webbmosaic prepare mastDownload -C ceers --filter F200W"
)
@click.argument(
    "sources",
    nargs=-1,
    type=click.Path(path_type=Path),
    metavar="[SOURCE]...",
)
@work_dir
@click.option(
    "--copy", is_flag=True, help="Copy the raw ramps instead of linking them."
)
@click.option(
    "--filter", "filters", multiple=True, help="Only this filter; repeatable."
)
@click.option(
    "--instrument",
    "instruments",
    multiple=True,
    type=click.Choice(["NIRCAM", "MIRI", "NIRISS"], case_sensitive=False),
    help="Only this instrument; repeatable.",
)
@click.option("--program", "programs", multiple=True, help="Only this program.")
@click.option("--obs", "observations", multiple=True, help="Only this observation.")
@dry_run
def prepare(
    sources: tuple[Path, ...],
    work: Path,
    *,
    copy: bool,
    filters: tuple[str, ...],
    instruments: tuple[str, ...],
    programs: tuple[str, ...],
    observations: tuple[str, ...],
    dry_run: bool,
) -> None:
    """
    Lay out raw ramps in a work folder.

    SOURCE is an _uncal.fits file or a folder that holds some, such as a MAST download
    folder. Each imaging exposure gets FOLDER/DATASET/uncals/DATASET_uncal.fits; others
    are listed with the reason why they are left out. The sorted table of visits is
    written beside them; without SOURCE, it alone is written.
    """
    from webbmosaic.datasets import Wanted, Workspace
    from webbmosaic.stages.prepare import find_uncals, write_visit_table

    if not sources:
        workspace = Workspace(work)
        click.echo(f"{write_visit_table(workspace)} exposures: {workspace.visit_table}")
        return
    wanted = Wanted(programs, observations, instruments=instruments, filters=filters)
    paths = find_uncals(sources)
    if lay_out_and_tell(paths, Workspace(work), wanted, copy=copy, dry_run=dry_run):
        sys.exit(1)


def lay_out_and_tell(
    paths: list[Path],
    workspace: Workspace,
    wanted: Wanted,
    *,
    copy: bool,
    dry_run: bool,
) -> bool:
    """
    Lay out raw ramps, write the visit table, and say what was done.

    Parameters
    ----------
    paths : list of `~pathlib.Path`
    workspace : Workspace
    wanted : Wanted
    copy, dry_run : bool

    Returns
    -------
    broken : bool
        Whether some files cannot be used.
    """
    from webbmosaic.stages.prepare import lay_out, write_visit_table

    result = lay_out(paths, workspace, wanted, copy=copy, dry_run=dry_run)
    for path, reason in result.left_out.items():
        click.echo(f"left out {path.name}: {reason}")
    for sentence in result.problems.values():
        click.echo(f"Error: {sentence}", err=True)
    verb = "would be laid out" if dry_run else "laid out"
    click.echo(
        f"{len(result.laid_out)} exposures {verb}, {len(result.there)} there already,"
        f" {len(result.left_out)} left out, {len(result.problems)} broken"
    )
    if not dry_run and (result.laid_out or result.there):
        write_visit_table(workspace)
        click.echo(f"visits: {workspace.visit_table}")
    return bool(result.problems)
