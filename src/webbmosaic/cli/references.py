"""``references``: what exposures are calibrated with."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webbmosaic.cli.options import dry_run, work_dir
from webbmosaic.cli.refcat import refcat
from webbmosaic.errors import printable

if TYPE_CHECKING:
    from webbmosaic.archives.crds_server import Server
    from webbmosaic.archives.update import Update
    from webbmosaic.archives.upgrade import Change
    from webbmosaic.datasets import Workspace
    from webbmosaic.files.headers import Header

__all__ = [
    "complete_references",
    "read_raw_headers",
    "refcat",
    "references",
    "require_cache",
]


@click.command(epilog="Example: webbmosaic references -C ceers --export /scratch/crds")
@click.argument("datasets", nargs=-1, metavar="[DATASET]...")
@work_dir
@click.option(
    "--context",
    default="",
    metavar="NAME",
    help="jwst_NNNN.pmap, latest, build or a date; by default what is locked, else"
    " CRDS_CONTEXT, else what the server recommends.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The CRDS cache; by default CRDS_PATH.",
)
@click.option("--offline", is_flag=True, help="Ask no server: use the cache alone.")
@click.option("--verify", is_flag=True, help="Compare every locked file, and stop.")
@click.option(
    "--export",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Copy what is needed, and no more, to a cache for a machine without network.",
)
@click.option(
    "--diff",
    is_flag=True,
    help="With --context: say what that context would change, and change nothing.",
)
@dry_run
def references(
    datasets: tuple[str, ...],
    work: Path,
    *,
    context: str,
    cache: Path | None,
    offline: bool,
    verify: bool,
    export: Path | None,
    diff: bool,
    dry_run: bool,
) -> None:
    """
    Find, fetch, lock and check the CRDS reference files.

    What stages 1 to 3 need is found for every exposure (or for the DATASETs, which may
    hold wildcards), fetched into the CRDS cache, compared with the server's sizes and
    sha1, and written to FOLDER/crds.lock. Stages then use these files and nothing else,
    without a network.
    """
    from webbmosaic.datasets import Workspace

    if cache:
        os.environ["CRDS_PATH"] = str(cache.absolute())
    require_cache("--cache FOLDER")
    workspace = Workspace(work)
    if verify:
        _finish(_verify(workspace))
    headers, troubles = read_raw_headers(workspace, datasets)
    if diff:
        _show_diff(workspace, headers, context, offline=offline)
    else:
        update = complete_references(
            workspace, headers, context=context, offline=offline, dry_run=dry_run
        )
        troubles += update.problems
    if export and not (diff or dry_run or troubles):
        _export(workspace, export)
    _finish(troubles)


def require_cache(option: str = "") -> None:
    """
    Refuse to guess where the CRDS cache is.

    Parameters
    ----------
    option : str, optional
        Of the command, that names it too.

    Raises
    ------
    UsageError
        If ``CRDS_PATH`` is not set; crds would write to ``/grp/crds/cache``, silently.
    """
    from webbmosaic.errors import UsageError

    if not os.environ.get("CRDS_PATH"):
        other = f", or {option}" if option else ""
        msg = (
            "CRDS_PATH is not set, so there is no place for reference files. Try:"
            f" export CRDS_PATH=$HOME/crds_cache{other}"
        )
        raise UsageError(msg)


def _finish(troubles: Iterable[str]) -> None:
    troubles = list(troubles)
    for sentence in troubles:
        click.echo(f"Error: {sentence}", err=True)
    sys.exit(1 if troubles else 0)


def read_raw_headers(
    workspace: Workspace, wanted: tuple[str, ...]
) -> tuple[dict[str, Header], list[str]]:
    """
    Read the headers of the raw ramps of a work folder.

    Parameters
    ----------
    workspace : Workspace
    wanted : tuple of str
        Datasets, which may hold wildcards; none means all.

    Returns
    -------
    headers : dict of dataset name to header
    troubles : list of str
        A sentence for each file that cannot be used.

    Raises
    ------
    UsageError
        If there is no such dataset.
    """
    from fnmatch import fnmatch

    from webbmosaic.errors import UsageError
    from webbmosaic.files.headers import scan_headers

    names = [Path(name).name for name in wanted] or ["*"]
    datasets = workspace.datasets()
    for name in names:
        if not any(fnmatch(str(d), name) for d in datasets):
            what = "no dataset" if name == "*" else f"no dataset '{name}'"
            msg = f"{workspace.root}: holds {what}. Try: webbmosaic prepare SOURCE"
            raise UsageError(msg)
    paths = {
        workspace.uncal(d): str(d)
        for d in datasets
        if any(fnmatch(str(d), name) for name in names)
    }
    headers, problems = scan_headers(paths)
    return {paths[p]: h for p, h in headers.items()}, [
        str(e) for e in problems.values()
    ]


def complete_references(
    workspace: Workspace,
    headers: dict[str, Header],
    *,
    context: str = "",
    offline: bool = False,
    dry_run: bool = False,
) -> Update:
    """
    Complete the cache and the lock, telling on the terminal what is done.

    Parameters
    ----------
    workspace : Workspace
    headers : dict of dataset name to header
    context : str, optional
        As the user gave it.
    offline, dry_run : bool, optional

    Returns
    -------
    update : Update

    Raises
    ------
    WebbmosaicError
        If nothing can be done: no context, no rules, no server.
    """
    from webbmosaic.archives.update import choose_context, update_references

    server = _reach(offline=offline)
    context = choose_context(workspace, context, server)
    click.echo(f"context {context}")
    with _counting("fetching") as progress:
        update = update_references(
            workspace,
            headers,
            context=context,
            server=server,
            dry_run=dry_run,
            progress=progress,
        )
    found = update.resolution
    click.echo(
        f"{len(headers)} exposures in {found.configurations} configurations need"
        f" {len(found.needs)} reference files"
    )
    verb = "to fetch" if dry_run else "fetched"
    sizes = update.fetched.values()
    if dry_run:
        for name, size in update.fetched.items():
            click.echo(f"  {name}  {_megabytes(size) if size else 'of unknown size'}")
    at_least = "" if all(sizes) else "at least "
    click.echo(f"{len(sizes)} {verb}, {at_least}{_megabytes(sum(sizes))}")
    if not dry_run:
        click.echo(f"locked in {workspace.lock}")
    return update


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _reach(*, offline: bool) -> Server | None:
    from webbmosaic.archives.update import reach_server

    server, note = reach_server(
        offline=offline, tell=lambda text: click.echo(printable(text), err=True)
    )
    if note:
        click.echo(f"note: {note}")
    return server


@contextmanager
def _counting(what: str) -> Iterator[Callable[[str, int], None]]:
    """Give a function to be told of each file; a bar on a terminal, else lines."""
    if not sys.stdout.isatty():
        yield lambda name, size: click.echo(f"{what} {name}  {_megabytes(size)}")
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(what, total=None)
        done = [0, 0]

        def told(name: str, size: int) -> None:
            done[0] += 1
            done[1] += size
            text = f"{what}: {done[0]} files, {_megabytes(done[1])}  {name}"
            bar.update(task, description=text)

        yield told


def _verify(workspace: Workspace) -> list[str]:
    from webbmosaic.archives.gather import check_lock
    from webbmosaic.archives.lock import read_lock

    lock = read_lock(workspace.lock)
    if lock is None:
        return [f"{workspace.lock}: there is no lock. Try: webbmosaic references"]
    differences = check_lock(lock)
    total = sum(stamp.size for stamp in lock.files.values())
    good = len(lock.files) - len(differences)
    click.echo(
        f"{good} of {len(lock.files)} files ({_megabytes(total)}) of {lock.context} are"
        " as they were locked"
    )
    return differences


def _export(workspace: Workspace, folder: Path) -> None:
    from webbmosaic.archives.export import export
    from webbmosaic.archives.lock import read_lock

    lock = read_lock(workspace.lock)
    assert lock is not None
    with _counting("copying") as progress:
        copied = export(lock, folder, progress)
    click.echo(
        f"{copied} files copied to {folder}; use it with: . {folder}/environment.sh"
    )


def _show_diff(
    workspace: Workspace, headers: dict[str, Header], new: str, *, offline: bool
) -> None:
    from webbmosaic.archives.lock import Hashes
    from webbmosaic.archives.update import choose_context, resolve_in
    from webbmosaic.archives.upgrade import compare, redone
    from webbmosaic.errors import UsageError

    if not new:
        msg = (
            "--diff compares with another context. Try: --context jwst_NNNN.pmap --diff"
        )
        raise UsageError(msg)
    server = _reach(offline=offline)
    contexts = [choose_context(workspace, name, server) for name in ("", new)]
    hashes = Hashes(workspace.reference_hashes)
    old, after = (resolve_in(c, headers, server, hashes) for c in contexts)
    hashes.save()
    changes = compare(old, after)
    click.echo(f"from {contexts[0]} to {contexts[1]}: {len(changes)} references change")
    for change in changes:
        click.echo(_change_line(change))
    for stage, who in redone(changes).items():
        if who:
            click.echo(
                f"{len(who)} of {len(headers)} exposures again from stage {stage}"
            )
    for problem in after.problems:
        click.echo(f"in {contexts[1]}: {problem}")


def _change_line(change: Change) -> str:
    who = ", ".join(change.datasets[:3])
    more = f", and {len(change.datasets) - 3} more" if len(change.datasets) > 3 else ""
    names = f"{change.old or 'none'} -> {change.new or 'none'}"
    return f"stage {change.stage}  {change.kind}  {names}  for {who}{more}"
