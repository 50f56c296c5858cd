"""The reference files of an exposure: pinned, there and unchanged, or why not.

Stages and jobs come here. Nothing in this module reaches for the network; fetching is
in `webbmosaic.archives.crds_server`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from webbmosaic.archives.lock import Hashes, changed, read_lock
from webbmosaic.archives.reftypes import reference_types
from webbmosaic.archives.rules import Choice, rules
from webbmosaic.datasets import Workspace
from webbmosaic.errors import ReferenceFileError
from webbmosaic.files.headers import Header

__all__ = [
    "ALL_STAGES",
    "Missing",
    "PinnedReferences",
    "environment",
    "job_environment",
    "locate_reference",
    "missing_references",
    "needed_references",
    "pinned_context",
    "pinned_references",
    "unfit_reason",
]

ALL_STAGES = (1, 2, 3)
SERVERLESS = "https://jwst-serverless.stsci.edu"


def job_environment(context: str) -> dict[str, str]:
    """
    Give the environment in which crds neither asks a server nor writes to its cache.

    Parameters
    ----------
    context : str
        The pinned context.

    Returns
    -------
    environment : dict
        Variables to set before crds or jwst are imported. ``CRDS_PATH`` stays as it is.
    """
    return {
        "CRDS_CONTEXT": context,
        "CRDS_OBSERVATORY": "jwst",
        "CRDS_READONLY_CACHE": "1",
        # crds opens no socket for an address with this word in it
        "CRDS_SERVER_URL": SERVERLESS,
    }


def pinned_context(workspace: Workspace, requested: str = "") -> str:
    """
    Find the one CRDS context that a work folder uses.

    Parameters
    ----------
    workspace : Workspace
        Its ``crds.lock``, where there is one, has the last word.
    requested : str, optional
        As the user gave it; else the environment's ``CRDS_CONTEXT``.

    Returns
    -------
    context : str
        Such as ``jwst_1293.pmap``.

    Raises
    ------
    ReferenceFileError
        If none is pinned, if it is a moving one such as ``latest``, or if the lock says
        another.
    """
    lock = read_lock(workspace.lock)
    wanted = requested or os.environ.get("CRDS_CONTEXT", "")
    if not wanted and lock is None:
        msg = (
            "no CRDS context is pinned, so results could change from day to day. Try:"
            f" webbmosaic references -C {workspace.root}, or set CRDS_CONTEXT to the"
            " jwst_NNNN.pmap you want"
        )
        raise ReferenceFileError(msg)
    if lock is not None and wanted and wanted != lock.context:
        source = "asked for" if requested else "CRDS_CONTEXT"
        msg = (
            f"{workspace.lock} pins {lock.context}, but {wanted} is {source}. Try:"
            " unset CRDS_CONTEXT, or change the pin with"
            f" webbmosaic references -C {workspace.root} --context {wanted}"
        )
        raise ReferenceFileError(msg)
    context = lock.context if lock is not None else wanted
    if not context.endswith(".pmap"):
        msg = (
            f"the CRDS context '{context}' changes with time. Try:"
            f" webbmosaic references -C {workspace.root} --context {context}, which"
            " pins what it is today"
        )
        raise ReferenceFileError(msg)
    return context


def locate_reference(name: str, instrument: str) -> Path:
    """
    Give the place of a reference file in the CRDS cache, whether it is there or not.

    Parameters
    ----------
    name : str
        The file name.
    instrument : str
        The INSTRUME keyword of an exposure it is for.

    Returns
    -------
    path : `~pathlib.Path`
    """
    import crds

    parameters = {"META.INSTRUMENT.NAME": instrument}
    # else looking makes the folders that it looks in
    with environment({"CRDS_READONLY_CACHE": "1"}):
        return Path(crds.locate_file(name, "jwst", parameters=parameters))


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables for a while; None unsets."""
    kept = {name: os.environ.get(name) for name in values}
    _set_environment(values)
    try:
        yield
    finally:
        _set_environment(kept)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _choose(header: Header, context: str) -> Choice:
    return rules(context, str(header["INSTRUME"])).choose(header)


def needed_references(
    header: Header, context: str, *, stages: Collection[int] = ALL_STAGES
) -> dict[str, str]:
    """
    Name the reference files that an exposure needs.

    Parameters
    ----------
    header : dict
        As `webbmosaic.files.headers.read_header` gives it.
    context : str
        The CRDS context; its rules must be in the cache.
    stages : collection of int
        Any of 1, 2 and 3.

    Returns
    -------
    references : dict
        Kind of reference (``flat``, ``pars-jumpstep``) to file name. Kinds that do not
        apply are left out.

    Raises
    ------
    ReferenceFileError
        If a rule file is missing or damaged, or no rule gives what a step must have.
    """
    choice = _choose(header, context)
    for kind, why in choice.unfit.items():
        if reference_types()[kind].stage in stages:
            msg = unfit_reason(kind, why, header, context)
            raise ReferenceFileError(msg)
    types = reference_types()
    return {k: name for k, name in choice.files.items() if types[k].stage in stages}


def unfit_reason(kind: str, why: str, header: Header, context: str) -> str:
    """Say that no rule gives a reference that a step needs."""
    return (
        f"the rules of {context} give no '{kind}' reference for {_describe(header)}"
        f" ({why}). Try: another context"
    )


def _describe(header: Header) -> str:
    names = (
        "INSTRUME",
        "DETECTOR",
        "FILTER",
        "PUPIL",
        "SUBARRAY",
        "READPATT",
        "DATE-OBS",
    )
    return " ".join(str(header[name]) for name in names if name in header)


@dataclass(frozen=True)
class Missing:
    """
    A reference that an exposure needs and the cache does not have.

    Attributes
    ----------
    dataset : str
        Which exposure.
    kind : str
        ``flat``, ``pars-jumpstep``, ...
    name : str
        The file; empty where no rule gives one.
    reason : str
        What is wrong and what to try.
    """

    dataset: str
    kind: str
    name: str
    reason: str

    @property
    def sentence(self) -> str:
        """The reason, and for which exposure."""
        return f"{self.dataset}: {self.reason}"


def missing_references(
    headers: Mapping[str, Header], context: str, *, stages: Collection[int] = ALL_STAGES
) -> list[Missing]:
    """
    Find what is missing before anything runs.

    Parameters
    ----------
    headers : mapping of dataset name to header
    context : str
        The CRDS context; its rules must be in the cache.
    stages : collection of int
        Any of 1, 2 and 3.

    Returns
    -------
    missing : list of Missing
        In the order of ``headers``.

    Raises
    ------
    ReferenceFileError
        If a rule file is missing or damaged.
    """
    there: dict[str, bool] = {}
    return [
        missing
        for dataset, header in headers.items()
        for missing in _missing_of(dataset, header, context, there)
        if reference_types()[missing.kind].stage in stages
    ]


def _missing_of(
    dataset: str, header: Header, context: str, there: dict[str, bool]
) -> Iterator[Missing]:
    choice = _choose(header, context)
    for kind, why in choice.unfit.items():
        reason = unfit_reason(kind, why, header, context)
        yield Missing(dataset, kind, "", reason)
    for kind, name in choice.files.items():
        path = locate_reference(name, str(header["INSTRUME"]))
        if name not in there:
            there[name] = path.is_file()
        if not there[name]:
            reason = (
                f"its '{kind}' reference {name} is not in the CRDS cache"
                f" ({path}). Try: webbmosaic references"
            )
            yield Missing(dataset, kind, name, reason)


@dataclass(frozen=True)
class PinnedReferences:
    """
    What one exposure may be calibrated with.

    Attributes
    ----------
    context : str
        The CRDS context.
    files : mapping of str to `~pathlib.Path`
        Kind of reference to file; every file exists.
    sha256 : mapping of str to str
        File name to hash; only where the work folder has a lock, and then checked.
    """

    context: str
    files: Mapping[str, Path]
    sha256: Mapping[str, str]


def pinned_references(
    header: Header,
    dataset: str,
    workspace: Workspace,
    *,
    context: str = "",
    stages: Collection[int] = ALL_STAGES,
) -> PinnedReferences:
    """
    Find the reference files of one exposure, or refuse to go on without them.

    Parameters
    ----------
    header : dict
        As `webbmosaic.files.headers.read_header` gives it.
    dataset : str
        The name to use in sentences.
    workspace : Workspace
        Where its ``crds.lock`` exists, files must be listed there and be unchanged.
    context : str, optional
        As the user gave it.
    stages : collection of int
        Which of 1, 2 and 3 are to run.

    Returns
    -------
    references : PinnedReferences

    Raises
    ------
    ReferenceFileError
        If no context is pinned, a reference is missing, or it is not the one locked.
    """
    context = pinned_context(workspace, context)
    missing = missing_references({dataset: header}, context, stages=stages)
    if missing:
        more = f" (and {len(missing) - 1} more references)" if missing[1:] else ""
        raise ReferenceFileError(missing[0].sentence + more)
    names = needed_references(header, context, stages=stages)
    instrument = str(header["INSTRUME"])
    files = {kind: locate_reference(name, instrument) for kind, name in names.items()}
    hashes = _checked_hashes(set(files.values()), dataset, workspace)
    return PinnedReferences(context, files, hashes)


def _checked_hashes(
    paths: Collection[Path], dataset: str, workspace: Workspace
) -> dict[str, str]:
    """Compare files, and all rules, with the lock; nothing where there is no lock."""
    import crds

    lock = read_lock(workspace.lock)
    if lock is None:
        return {}
    hashes = Hashes(workspace.reference_hashes)
    mappings = [Path(crds.locate_mapping(name, "jwst")) for name in lock.mappings]
    for path in (*sorted(paths), *mappings):
        why = f"{path.name} is not in {workspace.lock}"
        if path.name in lock.files:
            why = changed(path, lock.files[path.name], hashes)
        if why:
            msg = (
                f"{dataset}: its reference {why}. Try: restore the file, or"
                f" webbmosaic references -C {workspace.root}"
            )
            raise ReferenceFileError(msg)
    hashes.save()
    return {path.name: lock.references[path.name].sha256 for path in sorted(paths)}
