"""Steps of stage 1 against light and charge that do not come from the sky.

Each takes a model and the settings, changes the model, and returns the numbers for the
ledger, or `None` where it does not apply.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.datasets import Dataset, effective_filter, find_dataset_name
from webbmosaic.errors import InputError
from webbmosaic.files.masks import (
    find_masks,
    needs_wcs,
    read_mask_image,
    read_regions,
)
from webbmosaic.files.models import add_history, save_model
from webbmosaic.files.products import sha256
from webbmosaic.files.wisp_templates import (
    WISP_DETECTORS,
    WISP_FILTERS,
    find_templates,
    read_template,
    template_folder,
    template_name,
)
from webbmosaic.science.masks import rasterise
from webbmosaic.science.snowballs import (
    Snowball,
    find_snowballs,
    looks_like_star,
    snowball_halo,
)
from webbmosaic.science.wisps import WispFit, fit_wisps, wisp_model
from webbmosaic.settings import Settings, Wisps
from webbmosaic.stages.pipeline import call
from webbmosaic.stages.quality import (
    DO_NOT_USE,
    JUMP_DET,
    OTHER_BAD_PIXEL,
    SATURATED,
    usable_pixels,
)
from webbmosaic.stages.sky_regions import on_pixels

__all__ = [
    "claws",
    "extra_inputs",
    "note_ramp",
    "snowball_areas",
    "snowballs",
    "watch_ramp",
    "wisps",
    "with_folders",
]

_log = logging.getLogger(__name__)


def with_folders(settings: Settings, work: Path) -> Settings:
    """
    Fill in the folders of masks and templates that the user leaves open.

    Parameters
    ----------
    settings : Settings
    work : `~pathlib.Path`
        The work folder.

    Returns
    -------
    settings : Settings
    """
    masks, wisps = settings.masks, settings.wisps
    masks = dataclasses.replace(masks, mask_dir=masks.mask_dir or str(work / "masks"))
    folder = template_folder(wisps.template_dir, work)
    wisps = dataclasses.replace(wisps, template_dir=str(folder))
    return dataclasses.replace(settings, masks=masks, wisps=wisps)


def extra_inputs(
    settings: Settings, dataset: Dataset, filter_name: str
) -> dict[str, tuple[Path, ...]]:
    """
    List the masks and templates that decide what stage 1 makes of an exposure.

    Parameters
    ----------
    settings : Settings
        With their folders filled in; narrowed to the exposure.
    dataset : Dataset
    filter_name : str
        The filter that shaped the light.

    Returns
    -------
    paths : dict
        Section of settings -> files, to be recorded with their hashes: when one
        changes, the exposure is redone. Without files, its step has nothing to do.
    """
    masks, wisps = settings.masks, settings.wisps
    found: dict[str, tuple[Path, ...]] = {"masks": (), "wisps": ()}
    if masks.enabled:
        found["masks"] = tuple(find_masks(Path(masks.mask_dir), dataset, filter_name))
    if wisps.enabled and dataset.instrument == "NIRCAM":
        found["wisps"] = tuple(_template_files(wisps, dataset.detector, filter_name))
    return found


def claws(model: Any, settings: Settings) -> dict[str, Any] | None:
    """Flag what is in the masks of this exposure; the data stay as they are."""
    dataset, wanted = _dataset_of(model), settings.masks
    if not wanted.enabled or dataset is None:
        return None
    light = model.meta.instrument
    filter_name = effective_filter(str(light.filter), light.pupil)
    paths = find_masks(Path(wanted.mask_dir or "masks"), dataset, filter_name)
    if not paths:
        return None
    wcs = functools.cache(lambda: _wcs(model))
    masks = [_mask_of(path, model.data.shape, wcs) for path in paths]
    mask = np.logical_or.reduce(masks)
    model.dq[mask] |= DO_NOT_USE | OTHER_BAD_PIXEL
    add_history(model, "Masked claws")
    files = [
        {"name": path.name, "sha256": sha256(path), "pixels": int(piece.sum())}
        for path, piece in zip(paths, masks, strict=True)
    ]
    return {"pixels": int(mask.sum()), "files": files}


def _dataset_of(model: Any) -> Dataset | None:
    """Name an exposure, by its header if its file has another name."""
    found = find_dataset_name(str(model.meta.filename))
    if found is not None:
        return found
    known, detector = model.meta.observation, model.meta.instrument.detector
    return find_dataset_name(
        f"jw{known.program_number}{known.observation_number}{known.visit_number}"
        f"_{known.visit_group}{known.sequence_id}{known.activity_id}"
        f"_{str(known.exposure_number).zfill(5)}_{str(detector).lower()}"
    )


def _mask_of(path: Path, shape: tuple[int, int], wcs: Callable[[], Any]) -> np.ndarray:
    if not path.name.lower().endswith(".reg"):
        return read_mask_image(path, shape)
    regions = read_regions(path)
    if needs_wcs(regions):
        regions = on_pixels(regions, wcs())
    return rasterise(regions, shape)


def _wcs(model: Any) -> Any:
    """Give the distorted WCS of an image, made anew where it has none yet."""
    wcs = copy.deepcopy(model.meta.wcs)
    if wcs is None:
        from jwst.assign_wcs import AssignWcsStep

        who = str(model.meta.filename)
        done = call(AssignWcsStep, model, who=who, sip_approx=False)  # a copy
        wcs = done.meta.wcs
    wcs.bounding_box = None  # regions may reach over the edge of the frame
    return wcs


def wisps(model: Any, settings: Settings) -> dict[str, Any] | None:
    """Fit the templates of this detector and filter; subtract what is significant."""
    wanted, instrument = settings.wisps, model.meta.instrument
    if not wanted.enabled or instrument.name != "NIRCAM":
        return None
    detector = str(instrument.detector).lower()
    filter_name = effective_filter(instrument.filter, instrument.pupil)
    paths = _template_files(wanted, detector, filter_name)
    if not paths:
        return _no_template(wanted, detector, filter_name)
    corner = (int(model.meta.subarray.xstart), int(model.meta.subarray.ystart))
    templates = [read_template(p, model.data.shape, corner) for p in paths]
    fit = fit_wisps(
        model.data,
        model.err,
        templates,
        usable=usable_pixels(model),
        outputs=4 if model.data.shape[1] == 2048 else 1,
        min_significance=wanted.min_significance,
    )
    if fit.accepted:
        _subtract(model, fit, templates)
    else:
        _log.info("wisps: %s; the data are left alone", fit.verdict)
    return {"templates": [p.name for p in paths], **_numbers(fit)}


def _template_files(wanted: Wisps, detector: str, filter_name: str) -> list[Path]:
    if wanted.template_file:
        path = Path(wanted.template_file)
        if not path.is_file():
            msg = f"wisps.template_file: {path} does not exist"
            raise InputError(msg)
        return [path]
    if detector not in WISP_DETECTORS:
        return []
    folder = template_folder(wanted.template_dir, Path())
    return find_templates(folder, detector, filter_name)


def _no_template(
    wanted: Wisps, detector: str, filter_name: str
) -> dict[str, Any] | None:
    if detector not in WISP_DETECTORS or filter_name not in WISP_FILTERS:
        return None
    name = template_name(detector, filter_name)
    folder = template_folder(wanted.template_dir, Path())
    _log.warning(
        "wisps: there is no %s in %s; wisps stay in. Make one: webbmosaic"
        " wisp-template build",
        name,
        folder,
    )
    return {"status": f"skipped: no {name}"}


def _subtract(model: Any, fit: WispFit, templates: list[np.ndarray]) -> None:
    pattern, variance = wisp_model(fit, templates)
    model.data -= pattern
    model.err = np.sqrt(model.err**2 + variance)
    # The flat's variance is computed anew with the flat, that of the read-out is not.
    model.var_rnoise += variance
    add_history(model, "Removed wisps")


def _numbers(fit: WispFit) -> dict[str, Any]:
    return {
        "status": fit.verdict,
        "amplitudes": [round(float(v), 8) for v in fit.amplitudes],
        "errors": [round(float(v), 8) for v in fit.errors],
        "significance": round(fit.significance, 2),
        "improvement": round(fit.improvement, 4),
        "pixels": fit.pixels,
    }


def watch_ramp(settings: Settings, keep: Path) -> tuple[str, list[Snowball]]:
    """
    Look for snowballs in the next ramp before it is fitted.

    Parameters
    ----------
    settings : Settings
    keep : `~pathlib.Path`
        Where the ramp is written, if ``detector1.save_ramp`` asks for it.

    Returns
    -------
    hook : str
        For ``steps={"ramp_fit": {"pre_hooks": [hook]}}`` of calwebb_detector1. stpipe
        takes a hook by its name only, and one ramp at a time is reduced in a process.
    found : list of Snowball
        Filled when the ramp comes by; for `snowballs`.
    """
    found: list[Snowball] = []
    _watching["settings"], _watching["found"] = settings, found
    _watching["keep"] = keep
    return f"{__name__}.{note_ramp.__name__}", found


_watching: dict[str, Any] = {}


def note_ramp(ramp: Any) -> None:
    """Note the snowballs of a ramp, where `watch_ramp` asked for it."""
    if _watching:
        flags, settings = ramp.groupdq, _watching["settings"]
        events = _events(flags & JUMP_DET > 0, flags & SATURATED > 0, settings)
        _watching["found"].extend(events)
        if settings.detector1.save_ramp:
            kept = ramp.copy()  # saving names the model after its file
            save_model(kept, _watching["keep"])


def _events(jump: np.ndarray, full: np.ndarray, settings: Settings) -> list[Snowball]:
    detector1 = settings.detector1
    return find_snowballs(
        jump,
        full,
        min_area=detector1.min_jump_area,
        core_required=detector1.sat_required_snowball,
    )


def snowballs(
    model: Any, settings: Settings, found: list[Snowball] | None = None
) -> dict[str, Any] | None:
    """Flag cores of snowballs, and halos that the ramp fit has not recovered."""
    wanted = settings.snowballs
    if not wanted.enabled:
        return None
    if found is None:
        found = _from_image(model.dq, settings)
    usable = usable_pixels(model)
    real = [ball for ball in found if not looks_like_star(model.data, usable, ball)]
    mask = snowball_halo(
        model.data,
        usable,
        real,
        expand_factor=wanted.expand_factor,
        threshold=wanted.threshold,
    )
    model.dq[mask] |= DO_NOT_USE | JUMP_DET
    if real:
        add_history(model, "Masked snowballs")
    return {
        "snowballs": len(real),
        "stars": len(found) - len(real),
        "pixels": int(np.count_nonzero(mask & usable)),
    }


def snowball_areas(model: Any, settings: Settings) -> list[tuple[float, float, float]]:
    """
    List the large round jump events of a rate, as centres and radii.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`
    settings : Settings

    Returns
    -------
    circles : list of (y, x, radius)
        0-based, in pixels, as far as jumps are flagged; saturated stars are left out.
    """
    usable = usable_pixels(model)
    return [
        (ball.y, ball.x, ball.radius)  # the jump step has grown them
        for ball in _from_image(model.dq, settings)
        if not looks_like_star(model.data, usable, ball)
    ]


def _from_image(dq: np.ndarray, settings: Settings) -> list[Snowball]:
    """Find snowballs in the flags of a rate, where the ramp is not at hand."""
    from scipy import ndimage

    jump, full = (dq & JUMP_DET) > 0, (dq & SATURATED) > 0
    # Cosmic rays of all groups crowd the image; what is left of them is small.
    large = ndimage.binary_opening(jump | full, np.ones((5, 5)))
    nothing = np.zeros_like(full)
    flags = np.stack([nothing, large]), np.stack([nothing, full & large])
    return _events(*flags, settings)
