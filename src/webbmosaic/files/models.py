"""Reading and writing the data models of the jwst pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webbmosaic import __version__
from webbmosaic.errors import InputError
from webbmosaic.files.products import atomic

__all__ = ["add_history", "open_image", "references_used", "save_model"]

#: Keys below ``meta.ref_file`` that are no reference files.
_NO_REFERENCE = ("crds",)


def open_image(path: Path) -> Any:
    """
    Open a rate or cal file as an image model.

    Parameters
    ----------
    path : `~pathlib.Path`

    Returns
    -------
    model : `~stdatamodels.jwst.datamodels.ImageModel`

    Raises
    ------
    InputError
        If the file cannot be read as a JWST image.
    """
    from stdatamodels.jwst import datamodels

    try:
        return datamodels.open(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path}: cannot be read as a JWST image ({_first_line(error)})"
        raise InputError(msg) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def save_model(model: Any, path: Path) -> None:
    """
    Write a model atomically.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.JwstDataModel`
    path : `~pathlib.Path`
        The file to make; FILENAME in its header is its name.
    """
    model.meta.filename = path.name
    # An open file, because the model would name itself after a temporary path.
    with atomic(path) as temporary, temporary.open("wb") as stream:
        model.to_fits(stream)


def add_history(model: Any, text: str) -> None:
    """Note in the model's history what was done to it, and by which version."""
    model.add_history_entry(
        f"{text} (webbmosaic {__version__})",
        {
            "name": "webbmosaic",
            "author": "the webbmosaic developers",
            "homepage": "https://pypi.org/project/webbmosaic",
            "version": __version__,
        },
    )


def references_used(model: Any) -> tuple[str, dict[str, str]]:
    """
    List the reference files that made a model what it is.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.JwstDataModel`

    Returns
    -------
    context : str
        Such as ``jwst_1293.pmap``; empty where none was used.
    references : dict
        Reference type -> file name.
    """
    used = model.meta.ref_file.instance
    references = {
        kind: str(entry["name"]).removeprefix("crds://")
        for kind, entry in used.items()
        if kind not in _NO_REFERENCE
        and isinstance(entry, dict)
        and str(entry.get("name") or "N/A") not in ("N/A", "n/a")
    }
    return str((used.get("crds") or {}).get("context_used") or ""), references
