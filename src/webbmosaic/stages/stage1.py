"""Stage 1: raw ramps to clean count-rate images (uncal to rate)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from webbmosaic.archives.references import pinned_references
from webbmosaic.datasets import IMAGING_EXPOSURES, Dataset, Workspace
from webbmosaic.errors import NothingToDo, UnusableDataError
from webbmosaic.files.headers import Header, read_header
from webbmosaic.files.ledger import Result
from webbmosaic.files.models import add_history, references_used, save_model
from webbmosaic.settings import Detector1, Settings
from webbmosaic.stages.artefacts import snowballs, watch_ramp
from webbmosaic.stages.pipeline import call, with_users
from webbmosaic.stages.quality import usable_pixels
from webbmosaic.stages.steps import STEPS

__all__ = ["run"]


def run(inputs: list[Path], outputs: list[Path], settings: Settings) -> Result:
    """
    Make the count-rate image of one exposure.

    Parameters
    ----------
    inputs : list of `~pathlib.Path`
        The ``_uncal.fits``; masks and templates after it are found by the steps.
    outputs : list of `~pathlib.Path`
        The ``_rate.fits`` to make.
    settings : Settings

    Returns
    -------
    result : `~webbmosaic.files.ledger.Result`
        ``numbers`` has one entry for each step that did something.
    """
    uncal, rate = inputs[0], outputs[0]
    header = read_header(uncal)
    _check_type(header, uncal)
    dataset = Dataset.parse(uncal.name)
    workspace = Workspace(rate.parents[2])
    pinned_references(header, str(dataset), workspace, stages=(1,))
    ramp = workspace.ramp(dataset)
    hook, found = watch_ramp(settings, ramp)
    model = _detector1(uncal, rate, settings, hook)
    numbers: dict[str, Any] = {
        "usable": _check_usable(model, settings.detector1, uncal)
    }
    # In stage 1 snowballs are known from the ramp, which the rate does not keep.
    from_ramp = {"snowballs": functools.partial(snowballs, found=found)}
    for name, step in (STEPS | from_ramp).items():
        done = step(model, settings)
        if done is not None:
            numbers[name] = done
    context, references = references_used(model)
    save_model(model, rate)
    return Result(
        numbers=numbers,
        references=references,
        context=context,
        outputs=(ramp,) if settings.detector1.save_ramp else (),
    )


def _check_type(header: Header, uncal: Path) -> None:
    kind = header.get("EXP_TYPE")
    if kind not in IMAGING_EXPOSURES:
        msg = f"{uncal.name}: EXP_TYPE is {kind}; only imaging is reduced here"
        raise NothingToDo(msg)


def _detector1(uncal: Path, rate: Path, settings: Settings, hook: str) -> Any:
    from jwst.pipeline import Detector1Pipeline

    wanted = settings.detector1
    jump: dict[str, Any] = {"maximum_cores": wanted.maximum_cores}
    if wanted.snowballs:
        jump |= {
            "min_jump_area": wanted.min_jump_area,
            "expand_factor": wanted.expand_factor,
            "sat_required_snowball": wanted.sat_required_snowball,
            "expand_large_events": True,
        }
    fit = {
        "maximum_cores": wanted.maximum_cores,
        "suppress_one_group": wanted.suppress_one_group,
        "pre_hooks": [hook],
    }
    every: dict[str, dict[str, Any]] = {
        step: {} for step in Detector1Pipeline.step_defs
    }
    steps = with_users({**every, "jump": jump, "ramp_fit": fit}, settings.jwst)
    name = str(Dataset.parse(uncal.name))
    model = call(Detector1Pipeline, str(uncal), who=name, steps=steps)
    if (
        model is None
    ):  # what ramp_fit says where every pixel is saturated from the start
        msg = f"{uncal.name}: only 0 % of the pixels are usable, all others saturated"
        raise UnusableDataError(msg)
    model.meta.filename = rate.name
    add_history(model, "Ran calwebb_detector1")
    return model


def _check_usable(model: Any, wanted: Detector1, uncal: Path) -> float:
    fraction = float(usable_pixels(model).mean())
    if fraction < wanted.min_usable:
        msg = (
            f"{uncal.name}: only {100 * fraction:.1f} % of the pixels are usable after"
            " calwebb_detector1 (saturated throughout?)"
        )
        raise UnusableDataError(msg)
    return round(fraction, 4)
