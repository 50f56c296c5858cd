"""One cleaning step on one file, for trying things out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from webbmosaic.datasets import effective_filter, find_dataset_name
from webbmosaic.errors import NothingToDo, UsageError
from webbmosaic.files.headers import read_header
from webbmosaic.files.models import open_image, save_model
from webbmosaic.settings import Settings
from webbmosaic.stages.artefacts import with_folders
from webbmosaic.stages.association_level import badpixels, persistence
from webbmosaic.stages.stage2 import sky
from webbmosaic.stages.steps import STEPS, Step

__all__ = ["run_single_step"]


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
        What the step measured.

    Raises
    ------
    UsageError
        If there is no such step.
    NothingToDo
        If the step does not apply to this exposure; nothing is written.
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
    header = read_header(source)
    dataset = find_dataset_name(source.name)
    work = source.resolve().parents[2] if dataset else source.parent
    narrowed = with_folders(settings, work).for_exposure(
        instrument=str(header.get("INSTRUME")),
        filter_name=effective_filter(
            str(header.get("FILTER")), str(header.get("PUPIL"))
        ),
        detector=dataset.detector if dataset else "",
    )
    model = open_image(source)
    numbers = steps[name](model, narrowed)
    if numbers is None:
        msg = (
            f"{source}: {name} does not apply here (switched off for this instrument,"
            " or done before). Try: --set"
        )
        raise NothingToDo(f"{msg} {name}.enabled=true")
    save_model(model, target)
    return numbers
