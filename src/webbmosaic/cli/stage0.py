"""``webbmosaic stage0``: everything before the first ramp is fitted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webbmosaic.cli.archive_options import (
    CONTEXT,
    download_options,
    selection_options,
)
from webbmosaic.cli.options import dry_run
from webbmosaic.cli.prepare import lay_out_and_tell

if TYPE_CHECKING:
    from webbmosaic.datasets import Workspace

__all__ = ["stage0"]

#: Options that make sense for files that are already here.
_FOR_FILES = (
    *("what", "instruments", "filters", "observations", "work"),
    *("copy", "context", "offline", "references", "dry_run"),
)


@click.command(context_settings=CONTEXT)
@selection_options
@download_options
@click.option(
    "--copy", is_flag=True, help="Copy the raw ramps instead of linking them."
)
@click.option(
    "--context",
    default="",
    metavar="NAME",
    help="CRDS context: jwst_NNNN.pmap, latest, build or a date.",
)
@click.option("--offline", is_flag=True, help="Ask no CRDS server: the cache alone.")
@click.option(
    "--references/--no-references",
    "references",
    default=True,
    help="Find, fetch and lock the reference files.  [default: yes]",
)
@dry_run
@click.pass_context
def stage0(
    ctx: click.Context,
    /,
    work: Path,
    copy: bool,
    context: str,
    offline: bool,
    references: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """
    Download, lay out, fetch references and plan, in one command.

    WHAT is what 'webbmosaic download' understands (a program, a survey, a dataset, a
    position), or files and folders that hold _uncal.fits: these are taken instead.
    Nothing is asked on the way; run again, only what is missing is done.

    \b
    Examples:
      webbmosaic stage0 1345 --obs 2 --filter F200W -C ceers
      webbmosaic stage0 /archive/mastDownload -C ceers --offline
    """  # noqa: D301 - click reads the backslash
    from webbmosaic.cli.references import require_cache
    from webbmosaic.datasets import Wanted, Workspace
    from webbmosaic.stages.prepare import find_uncals

    if references and not dry_run:
        require_cache()
    workspace = Workspace(work)
    sources = [Path(word) for word in options["what"]]
    if sources and all(path.exists() or os.sep in str(path) for path in sources):
        _only_for_downloads(ctx)
        paths, troubled = find_uncals(sources), False
    else:
        paths, troubled = _download(workspace, options, dry_run=dry_run)
    wanted = Wanted(
        observations=tuple(options["observations"]),
        instruments=tuple(options["instruments"]),
        filters=tuple(options["filters"]),
    )
    troubled |= lay_out_and_tell(paths, workspace, wanted, copy=copy, dry_run=dry_run)
    if references and not dry_run:
        context, missing = _lock(workspace, context, offline=offline)
        troubled |= missing
    if not dry_run:
        _plan(workspace, context)
    sys.exit(1 if troubled else 0)


def _only_for_downloads(ctx: click.Context) -> None:
    """Refuse, rather than ignore, what cannot be asked of files that are here."""
    from click.core import ParameterSource

    from webbmosaic.errors import UsageError

    for option in ctx.command.params:
        given = ctx.get_parameter_source(str(option.name))
        if given is ParameterSource.COMMANDLINE and option.name not in _FOR_FILES:
            msg = (
                f"{option.opts[0]} is for downloads, and WHAT names files that are here"
            )
            raise UsageError(msg)


def _download(
    workspace: Workspace, options: dict[str, Any], *, dry_run: bool
) -> tuple[list[Path], bool]:
    """Fetch from MAST; give the raw ramps that are here now, and whether any failed."""
    from webbmosaic.archives.download import plan
    from webbmosaic.cli.archive import fetch_files, list_files, search_archive

    folder = options["download_dir"] or workspace.root
    archive, selection, found = search_archive(options)
    products = list_files(archive, found, selection)
    failed = fetch_files(
        archive,
        products,
        folder,
        streams=options["streams"],
        redo=options["redo"],
        only_show=dry_run,
    )
    here = [item.target for item in plan(products, folder) if not item.reason]
    return [path for path in here if path.name.endswith("_uncal.fits")], failed


def _lock(workspace: Workspace, context: str, *, offline: bool) -> tuple[str, bool]:
    """Complete and lock the references; give the context, and whether some miss."""
    from webbmosaic.cli.references import complete_references, read_raw_headers

    headers, troubles = read_raw_headers(workspace, ())
    update = complete_references(workspace, headers, context=context, offline=offline)
    for sentence in (*troubles, *update.problems):
        click.echo(f"Error: {sentence}", err=True)
    return update.resolution.context, bool(troubles or update.problems)


def _plan(workspace: Workspace, context: str) -> None:
    """Say what there is to do now, as ``run --dry-run`` would."""
    from webbmosaic.cli.progress import show_outlook
    from webbmosaic.cli.work import DEFAULTS, prepare_work
    from webbmosaic.run.judge import Judge, outlook

    context = context or os.environ.get("CRDS_CONTEXT", "")
    given = {**DEFAULTS, "work": workspace.root}
    work = prepare_work(("stage1", "stage2", "stage3"), given, {}, context=context)
    verdicts = outlook(Judge(work.tasks, workspace.root), work.tasks)
    show_outlook(verdicts)
    largest = max(task.memory_mb for task in work.tasks) / 1000
    click.echo(f"the largest needs about {largest:.1f} GB of memory")
    click.echo(f"Next: webbmosaic run -C {workspace.root}")
