"""Which exposures a mosaic may combine: what their headers say that changes it."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.datasets import IMAGING_EXPOSURES, PUPIL_FILTERS
from webbmosaic.errors import InputError, StorageError, UnusableDataError
from webbmosaic.settings import Members
from webbmosaic.stages.corrections import corner_pixels
from webbmosaic.stages.quality import usable_pixels
from webbmosaic.stages.tangent_plane import mean_position, on_plane, project

__all__ = ["check_room", "choose_members", "follow_target"]

_CLEAR = ("", "NONE", "N/A", "CLEAR", "CLEARP")
#: Memory and disk that a pixel of the mosaic takes: SCI, ERR, WHT, three variances and
#: a context, while drizzling twice (measured: 30 bytes in the file).
_BYTES_IN_MEMORY, _BYTES_ON_DISK = 60, 30


def choose_members(
    models: list[Any], paths: list[Path], wanted: Members, name: str
) -> tuple[list[int], list[str]]:
    """
    Leave out what does not belong into a mosaic, and say why.

    Parameters
    ----------
    models : list of `~stdatamodels.jwst.datamodels.ImageModel`
    paths : list of `~pathlib.Path`
        Their files.
    wanted : Members
        ``one_group`` and ``max_gap`` are read.
    name : str
        The group, for sentences.

    Returns
    -------
    kept : list of int
        Which of the models belong.
    notes : list of str
        What was left out.

    Raises
    ------
    InputError
        If a file is no calibrated image, or their units differ.
    UnusableDataError
        If none is left.
    """
    if not models:
        msg = f"{name}: no calibrated exposure to combine"
        raise InputError(msg)
    for model, path in zip(models, paths, strict=True):
        _check_calibrated(model, path)
    reasons = {}
    for index, model in enumerate(models):
        why = _why_not(model, wanted)
        if why is not None:
            reasons[index] = why
    moving = [i for i, m in enumerate(models) if _moves(m) and i not in reasons]
    if 0 < len(moving) < len(models) - len(reasons):
        reasons |= dict.fromkeys(moving, "its target moves, that of others does not")
    left = [i for i in range(len(models)) if i not in reasons]
    reasons |= _far_away([models[i] for i in left], left, wanted)
    kept = [i for i in left if i not in reasons]
    said = _sentences(reasons, paths)
    if not kept:
        msg = f"{name}: no exposure to combine: {'; '.join(said)}"
        raise UnusableDataError(msg)
    units = Counter(str(models[i].meta.bunit_data) for i in kept)
    if len(units) > 1:
        few = min(units, key=lambda unit: units[unit])
        odd = next(paths[i] for i in kept if str(models[i].meta.bunit_data) == few)
        msg = (
            f"{name}: the exposures have different units ({', '.join(units)}), {few}"
            f" in {odd.name}. Make all of them by the same stage 2"
        )
        raise InputError(msg)
    return kept, [f"left out: {sentence}" for sentence in said]


def _sentences(reasons: dict[int, str], paths: list[Path]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for index, why in sorted(reasons.items()):
        by_reason.setdefault(why, []).append(paths[index].name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {why}"
        for why, names in by_reason.items()
    ]


def _check_calibrated(model: Any, path: Path) -> None:
    """Refuse what is no calibrated image: mosaics, count rates, cubes."""
    meta = model.meta
    if meta.resample.pointings is not None or "_i2d" in path.stem:
        msg = f"{path}: is a mosaic already. Give the calibrated images (_cal.fits)"
        raise InputError(msg)
    if model.data.ndim != 2 or meta.wcs is None:
        msg = (
            f"{path}: is no calibrated image (unit {meta.bunit_data},"
            f" {'no' if meta.wcs is None else 'with'} WCS,"
            f" {model.data.ndim} dimensions). Try: webbmosaic stage2"
        )
        raise InputError(msg)


def _why_not(model: Any, wanted: Members) -> str | None:
    """Say what of an exposure's header keeps it out of a mosaic."""
    meta = model.meta
    if not usable_pixels(model).any():
        return "it has no usable pixel"
    if meta.exposure.ngroups == 1 and not wanted.one_group:
        return (
            "its ramps have one group, from which no error can be found"
            " (members.one_group takes it all the same)"
        )
    if meta.exposure.type not in IMAGING_EXPOSURES:
        return None  # accepted by name, with all that it is
    pupil = str(meta.instrument.pupil or "").upper()
    plain = pupil in (*_CLEAR, *PUPIL_FILTERS)
    if not plain and meta.instrument.name == "NIRISS":
        plain = pupil.startswith("F")
    if not plain:
        return f"PUPIL is {pupil}: no plain image"
    visit = str(meta.visit.type or "").upper()
    if "WFSC" in visit or "CALIBRATION" in visit or "ENGINEERING" in visit:
        return f"VISITYPE is {visit}: no plain image"
    return None


def _moves(model: Any) -> bool:
    return str(model.meta.target.type or "").upper() == "MOVING"


def _far_away(models: list[Any], numbers: list[int], wanted: Members) -> dict[int, str]:
    """Find exposures that are far from the largest part."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(models) < 2:
        return {}
    middles = []
    for model in models:
        ra, dec = model.meta.wcs(*corner_pixels(model).mean(axis=0))
        a, d = np.radians([float(ra), float(dec)])
        middles.append([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    gap = math.radians(wanted.max_gap / 60)
    label = fcluster(linkage(middles, "single"), gap, criterion="distance")
    main = Counter(label.tolist()).most_common(1)[0][0]
    why = (
        f"it is more than {wanted.max_gap:g} arcmin from all others"
        " (set members.max_gap)"
    )
    return {n: why for n, k in zip(numbers, label, strict=True) if k != main}


def follow_target(models: list[Any], *, follow: bool, name: str) -> list[str]:
    """
    Let the target of exposures that follow a planet or the like stand still.

    Parameters
    ----------
    models : list of `~stdatamodels.jwst.datamodels.ImageModel`
        Aligned on the sky; their WCS is changed.
    follow : bool
        `False`: the sky stands still.
    name : str
        The group, for sentences.

    Returns
    -------
    notes : list of str

    Raises
    ------
    InputError
        If it is not known where the target was.
    """
    from jwst.assign_mtwcs.moving_target_wcs import add_mt_frame
    from jwst.assign_wcs.util import update_s_region_imaging

    if not any(_moves(model) for model in models):
        return []
    if not follow:
        return ["the target moves; the sky stands still in this mosaic"]
    infos = [model.meta.wcsinfo for model in models]
    lacking = [
        str(m.meta.filename)
        for m, i in zip(models, infos, strict=True)
        if i.mt_ra is None or i.mt_dec is None
    ]
    if lacking:
        msg = (
            f"{name}: the target moves, and {', '.join(lacking)} do not say where it"
            " was (MT_RA, MT_DEC). Try: --set members.moving_target=sky"
        )
        raise InputError(msg)
    places = np.array([[i.mt_ra, i.mt_dec] for i in infos], float)
    ra, dec = places.T
    apart = np.hypot(*project(ra, dec, mean_position(ra, dec)).T)
    # Where it was in one of them, not the mean: a place with a date.
    middle = int(apart.argmin())
    there = (float(places[middle, 0]), float(places[middle, 1]))
    for model, info in zip(models, infos, strict=True):
        box = model.meta.wcs.bounding_box
        # The shift in right ascension is across 0 where the target crosses it.
        turn = round((there[0] - info.mt_ra) / 360) * 360
        model.meta.wcs = add_mt_frame(
            model.meta.wcs, there[0] - turn, there[1], info.mt_ra, info.mt_dec
        )
        model.meta.wcs.bounding_box = box
        info.mt_avra, info.mt_avdec = there
        model.meta.cal_step.assign_mtwcs = "COMPLETE"
        update_s_region_imaging(model)
    place = f"{there[0]:.5f} {there[1]:+.5f}, as in {models[middle].meta.filename}"
    return [f"the target moves and was followed: it stands still at {place}"]


def check_room(
    models: list[Any], folder: Path, *, pixel_scale: float, ratio: float, name: str
) -> tuple[int, int]:
    """
    Compare the size of a mosaic with memory and disk, before anything is allocated.

    Parameters
    ----------
    models : list of `~stdatamodels.jwst.datamodels.ImageModel`
        Aligned.
    folder : `~pathlib.Path`
        Where the mosaic is to be written.
    pixel_scale : float
        Of the mosaic, in arcsec; 0: the ratio decides.
    ratio : float
        Of the mosaic's pixel to those of the exposures.
    name : str
        The group, for sentences.

    Returns
    -------
    shape : tuple of int
        About how many pixels it has, y and x.

    Raises
    ------
    StorageError
        If there is not enough of either.
    """
    sky = [m.meta.wcs(*corner_pixels(m).mean(axis=0)) for m in models]
    centre = mean_position(*np.array(sky, float).T)
    planes = [on_plane(m.meta.wcs, corner_pixels(m), centre) for m in models]
    first = planes[0]
    side = (first[1] - first[0]) / np.hypot(*(first[1] - first[0]))
    turned = np.concatenate(planes) @ np.array([side, [-side[1], side[0]]]).T
    pixel = pixel_scale
    if not pixel:
        nx = models[0].data.shape[1]
        pixel = ratio * float(np.hypot(*(first[1] - first[0]))) / nx
    wide, high = (np.ptp(turned, axis=0) / pixel).tolist()
    shape = (math.ceil(high), math.ceil(wide))
    pixels = shape[0] * shape[1]
    for what, needed, free in (
        ("memory", pixels * _BYTES_IN_MEMORY, _free_memory()),
        (f"disk in {folder}", pixels * _BYTES_ON_DISK, _free_disk(folder)),
    ):
        if needed > free:
            msg = (
                f"{name}: the mosaic would have {shape[1]} x {shape[0]} pixels of"
                f" {pixel:.4f} arcsec and need {needed / 1e9:.1f} GB of {what};"
                f" {free / 1e9:.1f} GB are free. Try: fewer exposures, a coarser"
                " --pixel-scale, or members.max_gap if some are far from the others"
            )
            raise StorageError(msg)
    return shape


def _free_memory() -> float:
    """Give the memory that is available, in bytes; endless where that is not told."""
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return math.inf


def _free_disk(folder: Path) -> float:
    there = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    return float(shutil.disk_usage(there).free)
