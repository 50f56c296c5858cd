"""One cleaning step on one file, for trying things out."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

from webbmosaic.archives.references import job_environment, pinned_context
from webbmosaic.datasets import Workspace, effective_filter, find_dataset_name
from webbmosaic.errors import (
    InputError,
    ReferenceFileError,
    StorageError,
    UsageError,
)
from webbmosaic.files.headers import NEEDED_KEYWORDS, Header, read_header
from webbmosaic.files.models import open_image, save_model
from webbmosaic.settings import Settings
from webbmosaic.stages.artefacts import with_folders
from webbmosaic.stages.association_level import badpixels, persistence
from webbmosaic.stages.stage2 import sky
from webbmosaic.stages.steps import STEPS, Step

__all__ = ["run_single_step", "work_folder"]

#: Keywords without which an image says too little about itself for any step.
_BARE = ("INSTRUME", "DETECTOR", "FILTER", "SUBARRAY", "FASTAXIS", "SLOWAXIS")
#: Why a step may have nothing to do.
_NOTHING = {
    "flat": "the flat was applied before",
    "claws": "there is no mask for this exposure in {masks}",
    "wisps": "no wisps are known of this detector and filter. Try: --template-file",
    "sky": "its sky was subtracted before",
}


def work_folder(source: Path) -> Path:
    """
    Find the folder whose settings, masks and templates are meant for a file.

    Parameters
    ----------
    source : `~pathlib.Path`
        A rate or cal file.

    Returns
    -------
    folder : `~pathlib.Path`
        The work folder, where the file stands in one; else the folder that it is in.
    """
    dataset, place = find_dataset_name(source.name), source.absolute()
    if dataset is not None and place.parent.parent.name == str(dataset):
        return place.parent.parent.parent
    return place.parent


def run_single_step(
    name: str, source: Path, target: Path, settings: Settings
) -> dict[str, Any]:
    """
    Run one step on a rate or cal file.

    Parameters
    ----------
    name : str
        Of the step.
    source, target : `~pathlib.Path`
        May be the same file.
    settings : Settings
        Not yet narrowed.

    Returns
    -------
    numbers : dict
        What the step measured; a ``status`` that starts with "skipped" says why it
        left the image as it was.

    Raises
    ------
    UsageError
        If there is no such step.
    InputError
        If the file is no single image.
    StorageError
        If the target cannot be written.
    """
    steps: dict[str, Step] = {
        **STEPS,
        "persistence": functools.partial(persistence, rate=source),
        "badpixels": functools.partial(badpixels, rate=source),
        "sky": sky,
    }
    if name not in steps:
        msg = f"there is no step '{name}'; known: {', '.join(steps)}"
        raise UsageError(msg)
    by_pixels = name not in ("flat", "persistence", "badpixels")
    header = read_header(source, needed=_BARE if by_pixels else NEEDED_KEYWORDS)
    work = work_folder(source)
    _pin_references(Workspace(work), needed=name == "flat")
    meant = _switched_on(_narrowed(with_folders(settings, work), header), name)
    model = open_image(source)
    _check_image(model, source)
    numbers = steps[name](model, meant)
    if numbers is None:
        why = _NOTHING[name].format(masks=meant.masks.mask_dir)
        numbers = {"status": f"skipped: {why}"}
    skipped = str(numbers.get("status", "")).startswith("skipped")
    if not (skipped and target == source):
        _save(model, target)
    return numbers


def _save(model: Any, target: Path) -> None:
    try:
        save_model(model, target)
    except OSError as error:
        msg = f"{target}: cannot be written ({error.strerror or error})"
        raise StorageError(msg) from error


def _pin_references(workspace: Workspace, *, needed: bool) -> None:
    """Use the references of a reduction; where none are pinned, leave crds alone."""
    try:
        os.environ.update(job_environment(pinned_context(workspace)))
    except ReferenceFileError:
        if needed:
            raise


def _narrowed(settings: Settings, header: Header) -> Settings:
    return settings.for_exposure(
        instrument=str(header.get("INSTRUME")),
        filter_name=effective_filter(
            str(header.get("FILTER")), str(header.get("PUPIL"))
        ),
        detector=str(header.get("DETECTOR")).lower(),
    )


def _switched_on(settings: Settings, step: str) -> Settings:
    """Who asks for one step wants it, also where a reduction leaves it out."""
    section = "masks" if step == "claws" else step
    asked = dataclasses.replace(getattr(settings, section), enabled=True)
    return dataclasses.replace(settings, **{section: asked})


def _check_image(model: Any, source: Path) -> None:
    planes = [getattr(model, name, None) for name in ("data", "err", "dq")]
    if any(plane is None or plane.ndim != 2 for plane in planes):
        kind = type(model).__name__
        msg = (
            f"{source}: is no single image ({kind}); steps take count-rate or"
            " calibrated images, such as DATASET_rate.fits"
        )
        raise InputError(msg)
