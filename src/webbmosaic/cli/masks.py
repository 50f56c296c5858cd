"""``webbmosaic masks``: propose, accept and transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from webbmosaic.cli.options import read_all_settings, settings_options, work_dir

__all__ = ["masks"]

_mask_dir = click.option(
    "--mask-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the masks.  [default: masks in the work folder]",
)


@click.group()
def masks() -> None:
    """
    Masks of claws, stray light, bad areas and leftover snowballs.

    Masks are DS9 region files or FITS images in FOLDER/masks, named by the exposure or
    visit that they are for: jw01837003001.reg, jw01837003001_nrcb4.reg,
    jw01837003001_nrcb4_F200W.reg, jw01837003001_02201_00001_nrcb4_claw.reg. Stage 1
    flags what is in them; when one changes, webbmosaic run redoes the exposures that it
    is for, and nothing else.
    """


@masks.command(
    epilog="Example: webbmosaic masks propose -C ceers --visit jw01345002001"
)
@work_dir
@_mask_dir
@click.option("--visit", "visits", multiple=True, help="Only this visit; repeatable.")
@click.option(
    "--snowballs/--no-snowballs",
    default=False,
    show_default=True,
    help="Propose large round jump events as well.",
)
@settings_options
def propose(
    work: Path,
    mask_dir: Path | None,
    *,
    visits: tuple[str, ...],
    snowballs: bool,
    settings_file: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """
    Look for light that stays on the detector while the sky moves.

    Needs the rates of three or more dithers. What is found is written as region files
    to FOLDER/masks/proposed: look at them (ds9 RATE -regions FILE), change them, and
    accept those that are right. What you have changed is not written over.
    """
    from webbmosaic.datasets import Workspace
    from webbmosaic.stages.mask_proposals import propose, propose_snowballs

    overrides: dict[str, dict[str, Any]] = {}
    if mask_dir:
        overrides = {"masks": {"mask_dir": str(mask_dir)}}
    settings = read_all_settings(work, settings_file, assignments, overrides)
    for found in propose(Workspace(work), settings, visits=visits):
        click.echo(_sentence(found))
    if snowballs:
        for found in propose_snowballs(Workspace(work), settings, visits=visits):
            click.echo(_sentence(found))


def _sentence(found: Any) -> str:
    if found.note:
        return f"{found.name}: {found.note}"
    if found.path is None:
        return f"{found.name}: nothing found"
    areas = f"{found.areas} area{'s' if found.areas > 1 else ''}"
    return f"{found.name}: {areas}, {found.pixels} pixels -> {found.path}"


@masks.command(epilog="Example: webbmosaic masks accept -C ceers --all")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@work_dir
@_mask_dir
@click.option("--all", "everything", is_flag=True, help="Accept all proposals.")
def accept(
    names: tuple[str, ...], work: Path, mask_dir: Path | None, *, everything: bool
) -> None:
    """
    Accept proposed masks.

    NAME is a file in FOLDER/masks/proposed. Without NAME, the proposals are listed.
    """
    from webbmosaic.datasets import Workspace
    from webbmosaic.files.masks import PROPOSED, accept, proposals

    folder = mask_dir or Workspace(work).masks
    paths = [folder / PROPOSED / Path(name).name for name in names]
    waiting = proposals(folder)
    if everything:
        paths = waiting
    elif not names:
        for path in waiting:
            click.echo(path)
        click.echo(f"{len(waiting)} proposals. Accept: NAME, or --all")
        return
    for path in accept(folder, paths):
        click.echo(f"accepted {path}")
    click.echo("Next: webbmosaic run" if paths else "nothing to accept")


@masks.command(
    epilog="Example: webbmosaic masks transfer jw01837003001 jw01837004001 -C primer"
)
@click.argument("source")
@click.argument("target")
@work_dir
@_mask_dir
def transfer(source: str, target: str, work: Path, mask_dir: Path | None) -> None:
    """
    Copy the masks of visit SOURCE to visit TARGET.

    Stray light repeats at the same place of the detector where two visits have the same
    dithers; others are refused. Masks on the sky cannot be transferred.
    """
    from webbmosaic.datasets import Workspace
    from webbmosaic.stages.mask_proposals import transfer

    workspace = Workspace(work)
    folder = mask_dir or workspace.masks
    for path, copy in transfer(workspace, folder, source, target):
        click.echo(f"{path.name} -> {copy.name}")
    click.echo("Next: webbmosaic run")
