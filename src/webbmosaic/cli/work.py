"""What a command that reduces a work folder is about: settings, tasks and checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webbmosaic.cli.alignment_options import with_gaia
from webbmosaic.cli.options import Overrides, expanded, merged, read_all_settings

if TYPE_CHECKING:
    from webbmosaic.datasets import Workspace
    from webbmosaic.run.tasks import Task
    from webbmosaic.settings import Settings

__all__ = ["DEFAULTS", "Work", "check_settings", "prepare_work", "said_overrides"]

#: Options as if none were given.
DEFAULTS: dict[str, Any] = {
    "settings_file": None,
    "assignments": (),
    "datasets": (),
    "programs": (),
    "observations": (),
    "visits": (),
    "instruments": (),
    "filters": (),
}
_SELECTION = ("programs", "observations", "visits", "instruments", "filters")


@dataclass(frozen=True)
class Work:
    """
    What there is to do.

    Attributes
    ----------
    workspace : Workspace
    settings : Settings
        Not narrowed, with the folders filled in.
    tasks : list of Task
    notes : list of str
        Sentences to say first.
    check : callable
        Given the tasks that must run: checks once, before any record is touched, what
        they all need. Raises a `~webbmosaic.errors.WebbmosaicError`.
    """

    workspace: Workspace
    settings: Settings
    tasks: list[Task]
    notes: list[str]
    check: Callable[[Sequence[Task]], None]


def prepare_work(
    stages: tuple[str, ...],
    given: dict[str, Any],
    overrides: Overrides,
    *,
    context: str | None = None,
) -> Work:
    """
    Read settings, pin the context and list the tasks of some stages.

    Parameters
    ----------
    stages : tuple of str
    given : dict
        Options, as click hands them over.
    overrides : dict
        Settings that options mean.
    context : str, optional
        The CRDS context, where it is known; else it must be pinned.

    Returns
    -------
    work : Work
    """
    from webbmosaic.archives.references import job_environment, pinned_context
    from webbmosaic.datasets import Wanted, Workspace
    from webbmosaic.files.masks import misnamed
    from webbmosaic.run.folder import find_exposures, folder_tasks
    from webbmosaic.run.plan import why_excluded
    from webbmosaic.settings_file import parse_assignments
    from webbmosaic.stages.artefacts import extra_inputs, with_folders

    settings = read_all_settings(
        given["work"], given["settings_file"], given["assignments"], overrides
    )
    settings = with_folders(settings, given["work"].resolve())
    check_settings(settings)
    asked = merged(overrides, parse_assignments(given["assignments"]))
    changes = said_overrides(given["work"], given["settings_file"], asked)
    output = given.get("output_dir")
    workspace = Workspace(given["work"], *([output] if output else []))
    notes = [f"settings from the command line: {k} = {v}" for k, v in changes.items()]
    if "stage1" in stages:
        notes += [
            f"{path}: its name says no exposure or visit; left out"
            for path in misnamed(Path(settings.masks.mask_dir))
        ]
    names = expanded(given["datasets"])
    if "stage3" in stages:
        found = find_exposures(workspace, names, first=stages[0])
        headers = [exposure.header for exposure in found]
        settings = with_gaia(settings, headers, workspace.catalogues)
        for exposure in found:
            why = why_excluded(exposure, settings.grouping)
            if why is not None:
                notes.append(f"{exposure.dataset}: in no mosaic: {why}")
    if context is None:
        context = pinned_context(workspace)
        # From here on nobody asks a CRDS server: what is missing is said, not fetched.
        os.environ.update(job_environment(context))
    tasks = folder_tasks(
        workspace,
        names,
        settings,
        stages=stages,
        context=context,
        wanted=Wanted(**{name: given[name] for name in _SELECTION}),
        extra_inputs=extra_inputs,
        overrides=changes,
    )

    pinned = context

    def check(to_run: Sequence[Task]) -> None:
        check_before(workspace, to_run, pinned)

    return Work(workspace, settings, tasks, notes, check)


def said_overrides(
    work: Path, settings_file: Path | None, asked: Overrides
) -> dict[str, str]:
    """
    Say which settings of the command line differ from the file.

    Parameters
    ----------
    work : `~pathlib.Path`
    settings_file : `~pathlib.Path` or None
    asked : dict
        ``{section: {key: value}}``.

    Returns
    -------
    changes : dict
        ``section.key`` -> value and what the file, or the default, says.
    """
    from webbmosaic.settings_file import as_text

    plain = read_all_settings(work, settings_file, ())
    changes = {}
    for section, values in asked.items():
        for key, value in values.items():
            before = getattr(getattr(plain, section, None), key, None)
            if isinstance(value, list):
                value = tuple(value)
            if value != before:
                was = "not set" if before is None else as_text(before)
                changes[f"{section}.{key}"] = f"{as_text(value)} (file: {was})"
    return changes


def check_settings(settings: Settings) -> None:
    """
    Check what only the steps themselves can: parameters of jwst's.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    UsageError
        If a step or parameter does not exist, or its value is not allowed.
    """
    from webbmosaic.run.sections import jwst_stages

    given = jwst_stages(settings)
    if given:
        from webbmosaic.stages.jwst_parameters import check_parameters

        check_parameters(settings, given)


def check_before(workspace: Workspace, tasks: Sequence[Task], context: str) -> None:
    """
    Check once what all tasks need, before any record is touched.

    Parameters
    ----------
    workspace : Workspace
    tasks : sequence of Task
        Those that must run.
    context : str
        The CRDS context.

    Raises
    ------
    WebbmosaicError
        If the work folder cannot be written, a file that a setting names is not
        there, the rules of the context are not in the CRDS cache, or no exposure has
        its references there.
    """
    from webbmosaic.archives.rules import rules
    from webbmosaic.errors import StorageError, UsageError
    from webbmosaic.files.products import atomic

    if not tasks:
        return
    for path in sorted({path for task in tasks for path in task.files}):
        if not path.is_file():
            msg = f"{path}: a setting names this file, and it is not there"
            raise UsageError(msg)
        if not os.access(path, os.R_OK):
            msg = f"{path}: may not be read. Try: chmod u+r {path}"
            raise StorageError(msg)
    with atomic(workspace.hidden / "writable") as probe:
        probe.write_bytes(b"")
    (workspace.hidden / "writable").unlink(missing_ok=True)
    instruments = {t.narrow["instrument"] for t in tasks if t.narrow.get("instrument")}
    for instrument in sorted(instruments):
        rules(context, instrument)
    _check_references(tasks, context)


def _check_references(tasks: Sequence[Task], context: str) -> None:
    """Stop where the references of all are missing; of single ones they say so."""
    from webbmosaic.archives.references import missing_references
    from webbmosaic.errors import ReferenceFileError
    from webbmosaic.files.headers import scan_headers

    numbers = {"stage1": 1, "stage2": 2}
    for stage, number in numbers.items():
        some = [t for t in tasks if t.stage == stage and t.inputs[0].is_file()]
        if not some:
            continue
        first = scan_headers([some[0].inputs[0]])[0].values()
        headers = dict(zip([some[0].owner], first, strict=False))
        if not missing_references(headers, context, stages=(number,)):
            return
        paths = {t.inputs[0]: t.owner for t in some}
        every = {paths[p]: h for p, h in scan_headers(paths)[0].items()}
        lacking = missing_references(every, context, stages=(number,))
        if every and {m.dataset for m in lacking} == set(every) and len(every) > 1:
            more = f" (and {len(lacking) - 1} more references)" if lacking[1:] else ""
            msg = f"no exposure has its references: {lacking[0].sentence}{more}"
            raise ReferenceFileError(msg)
        return
