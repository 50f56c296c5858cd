"""Stage 2: count rates to calibrated images without the sky (rate to cal)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webbmosaic.archives.references import pinned_references
from webbmosaic.datasets import Dataset, Workspace
from webbmosaic.errors import PipelineError
from webbmosaic.files.headers import read_header
from webbmosaic.files.ledger import Result
from webbmosaic.files.models import (
    add_history,
    open_image,
    references_used,
    save_model,
)
from webbmosaic.science.background import measure_sky
from webbmosaic.settings import Settings
from webbmosaic.stages.association_level import add_flags
from webbmosaic.stages.pipeline import call, with_users
from webbmosaic.stages.quality import usable_pixels

__all__ = ["run", "sky"]


def run(inputs: list[Path], outputs: list[Path], settings: Settings) -> Result:
    """
    Calibrate the count-rate image of one exposure.

    Parameters
    ----------
    inputs : list of `~pathlib.Path`
        The ``_rate.fits``, then files of flags: persistence, bad pixels.
    outputs : list of `~pathlib.Path`
        The ``_cal.fits`` to make.
    settings : Settings

    Returns
    -------
    result : `~webbmosaic.files.ledger.Result`
        ``numbers`` has the sky.
    """
    from jwst.pipeline import Image2Pipeline

    rate, cal = inputs[0], outputs[0]
    name = str(Dataset.parse(rate.name))
    workspace = Workspace(cal.parents[2])
    pinned_references(read_header(rate), name, workspace, stages=(2,))
    model = open_image(rate)
    flagged = add_flags(model, inputs[1:])
    flat_done = model.meta.cal_step.flat_field == "COMPLETE"
    every: dict[str, dict[str, Any]] = {step: {} for step in Image2Pipeline.step_defs}
    flat = {"flat_field": {"skip": True}} if flat_done else {}
    steps = with_users(every, settings.jwst) | flat | {"resample": {"skip": True}}
    model = call(Image2Pipeline, model, who=name, steps=steps)[0]
    if flat_done:
        model.meta.cal_step.flat_field = "COMPLETE"
    for needed in ("assign_wcs", "photom"):
        if getattr(model.meta.cal_step, needed) != "COMPLETE":
            msg = f"{name}: {needed} was not done; its reference file is N/A?"
            raise PipelineError(msg)
    model.meta.filename = cal.name
    numbers = {"flagged": flagged, "sky": sky(model, settings)}
    context, references = references_used(model)
    save_model(model, cal)
    return Result(numbers=numbers, references=references, context=context)


def sky(model: Any, settings: Settings) -> dict[str, Any] | None:
    """Measure the constant sky beside the sources, and subtract it if wanted."""
    if not settings.sky.enabled or model.meta.background.subtracted:
        return None  # twice would forget the level
    level = measure_sky(model.data, usable_pixels(model))
    if settings.sky.subtract:
        model.data -= level.level
        model.meta.background.level = level.level
        model.meta.background.subtracted = True
        model.meta.background.method = "local"
        add_history(model, "Subtracted the constant sky")
    return {
        "level": level.level,
        "error": level.error,
        "rms": level.rms,
        "fraction": level.fraction,
        "unit": str(model.meta.bunit_data),
        "subtracted": settings.sky.subtract,
    }
