"""Aligning the exposures of a mosaic with tweakreg, and checking what came of it."""

from __future__ import annotations

import copy
import math
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.errors import AlignmentError, UsageError
from webbmosaic.science.alignment import agreement, connected, find_stars
from webbmosaic.settings import Alignment
from webbmosaic.stages.pipeline import call
from webbmosaic.stages.quality import usable_pixels
from webbmosaic.stages.refinement import refine
from webbmosaic.stages.tangent_plane import catalogue_plane, on_plane

__all__ = ["align"]

#: Sources that a rotation needs to be better than the spacecraft's own.
_ENOUGH_FOR_ROTATION = 15


@dataclass(frozen=True)
class _Outcome:
    """What alignment did to one image; detectors read together move as one."""

    exposure: str
    status: str
    sources: int
    matches: int
    matches_together: int
    agrees: bool
    residual_mas: float | None
    shift_mas: tuple[float, float]
    rotation_deg: float

    def too_few(self, wanted: Alignment) -> bool:
        """Tell whether there was too little to align it by."""
        return self.status != "COMPLETE" or self.matches_together < wanted.minobj

    def problem(self, wanted: Alignment) -> str | None:
        """Say which limit is exceeded, if one is."""
        if self.too_few(wanted):
            return f"{self.matches_together} matched sources, {wanted.minobj} needed"
        if not self.agrees:
            return "its sources do not lie where the other exposures have them"
        shift = math.hypot(*self.shift_mas) / 1000
        if shift > wanted.max_shift:
            return f"shift {shift:.2f} arcsec exceeds {wanted.max_shift}"
        if abs(self.rotation_deg) > wanted.max_rotation:
            return f"rotation {self.rotation_deg:.3f} deg exceeds {wanted.max_rotation}"
        if self.residual_mas is not None and self.residual_mas > wanted.max_residual:
            return f"residual {self.residual_mas:.1f} mas exceeds {wanted.max_residual}"
        return None


def align(
    models: list[Any], wanted: Alignment, name: str
) -> tuple[list[Any], list[dict[str, Any]], list[str]]:
    """
    Align exposures to each other and, where one is given, to a catalogue.

    Parameters
    ----------
    models : list of `~stdatamodels.jwst.datamodels.ImageModel`
        Calibrated exposures; their WCS is changed.
    wanted : Alignment
        The settings.
    name : str
        The group, for sentences.

    Returns
    -------
    models : list
        Those to go on with: all, unless misaligned ones are to be dropped.
    outcomes : list of dict
        For each exposure its shift, rotation, matches and residual.
    notes : list of str
        What the user should know.

    Raises
    ------
    AlignmentError
        If an exposure exceeds the limits and ``on_misaligned`` is ``fail``.
    UsageError
        If the settings contradict each other or the catalogue cannot be read.
    """
    _check_settings(wanted)
    if not wanted.enabled:
        return models, [], ["alignment is switched off"]
    if len(models) == 1 and not wanted.abs_refcat:
        return models, [], [f"{name}: one exposure, nothing to align it to"]
    stars = [
        find_stars(
            model.data,
            usable_pixels(model),
            fwhm=wanted.fwhm,
            threshold=wanted.snr_threshold,
        )
        for model in models
    ]
    before = [copy.deepcopy(model.meta.wcs) for model in models]
    models = _tweakreg(models, stars, wanted, name)
    refine(models, stars, wanted, enough=_ENOUGH_FOR_ROTATION)
    outcomes = _outcomes(models, stars, before, wanted)
    kept, notes = _judged(models, outcomes, wanted, name)
    return kept, [vars(outcome) for outcome in outcomes], notes


def _check_settings(wanted: Alignment) -> None:
    if wanted.separation <= math.sqrt(2) * wanted.tolerance:
        msg = (
            f"alignment.separation ({wanted.separation}) must be more than 1.42 times"
            f" alignment.tolerance ({wanted.tolerance}), or tweakreg refuses to align"
        )
        raise UsageError(msg)
    if wanted.abs_refcat and not Path(wanted.abs_refcat).is_file():
        msg = f"alignment.abs_refcat: there is no file {wanted.abs_refcat}"
        raise UsageError(msg)


def _tweakreg(
    models: list[Any], stars: list[np.ndarray], wanted: Alignment, name: str
) -> list[Any]:
    from jwst.datamodels import ModelLibrary
    from jwst.tweakreg import TweakRegStep

    relative = _geometry(wanted.fitgeometry, min(len(s) for s in stars))
    absolute = _geometry(
        wanted.abs_fitgeometry, _catalogue_stars(models, stars, wanted)
    )
    with tempfile.TemporaryDirectory(prefix="webbmosaic-") as folder:
        for index, (model, found) in enumerate(zip(models, stars, strict=True)):
            path = Path(folder) / f"{index}.ecsv"
            _write_positions(found, path)
            model.meta.tweakreg_catalog = str(path)
        library = call(
            TweakRegStep,
            ModelLibrary(models, on_disk=False),
            who=name,
            use_custom_catalogs=True,
            minobj=wanted.minobj,
            fitgeometry=relative,
            searchrad=wanted.searchrad,
            tolerance=wanted.tolerance,
            separation=wanted.separation,
            abs_refcat=wanted.abs_refcat,
            abs_minobj=wanted.abs_minobj,
            abs_fitgeometry=absolute,
            abs_searchrad=wanted.searchrad,
            abs_tolerance=wanted.tolerance,
            abs_separation=wanted.separation,
        )
    with library:
        aligned = [library.borrow(index) for index in range(len(library))]
        for index, model in enumerate(aligned):
            model.meta.tweakreg_catalog = None
            library.shelve(model, index, modify=False)
    return aligned


def _geometry(wanted: str, sources: int) -> str:
    """Choose what may change, where the user leaves it open."""
    automatic = "rshift" if sources >= _ENOUGH_FOR_ROTATION else "shift"
    return automatic if wanted == "auto" else wanted


def _catalogue_stars(
    models: list[Any], stars: list[np.ndarray], wanted: Alignment
) -> int:
    """Count the stars of the catalogue in the field."""
    if not wanted.abs_refcat:
        return 0
    centre = models[0].meta.wcs(*_middle(models[0]))
    pairs = zip(models, stars, strict=True)
    field = np.concatenate([on_plane(m.meta.wcs, s[:, :2], centre) for m, s in pairs])
    if len(field) == 0:
        return 0
    known = catalogue_plane(wanted.abs_refcat, centre)
    inside = (known >= field.min(axis=0)) & (known <= field.max(axis=0))
    return int(inside.all(axis=1).sum())


def _write_positions(stars: np.ndarray, path: Path) -> None:
    from astropy.table import Table

    table = Table(stars[:, :3], names=("x", "y", "flux"))
    table.write(path, format="ascii.ecsv")


def _outcomes(
    models: list[Any], stars: list[np.ndarray], before: list[Any], wanted: Alignment
) -> list[_Outcome]:
    centre = models[0].meta.wcs(*_middle(models[0]))
    planes = [
        on_plane(model.meta.wcs, found[:, :2], centre)
        for model, found in zip(models, stars, strict=True)
    ]
    agreements = agreement(planes, tolerance=wanted.tolerance)
    units = [str(model.meta.group_id) for model in models]
    together: Counter[str] = Counter()
    for unit, agreed in zip(units, agreements, strict=True):
        together[unit] += agreed.matches
    agrees = _agrees(planes, units, wanted, centre)
    outcomes = []
    for index, (model, old) in enumerate(zip(models, before, strict=True)):
        agreed = agreements[index]
        shift, rotation = _moved(model, old)
        known = math.isfinite(agreed.residual)
        outcomes.append(
            _Outcome(
                exposure=str(model.meta.filename),
                status=str(model.meta.cal_step.tweakreg),
                sources=len(planes[index]),
                matches=agreed.matches,
                matches_together=together[units[index]],
                agrees=bool(agrees[index]),
                residual_mas=round(agreed.residual, 3) if known else None,
                shift_mas=shift,
                rotation_deg=rotation,
            )
        )
    return outcomes


def _agrees(
    planes: list[np.ndarray], units: list[str], wanted: Alignment, centre: Any
) -> np.ndarray:
    """
    Tell which exposures agree with most others, and with the catalogue.

    A visit that tweakreg could not match to the others is left where it was, with a
    status of COMPLETE; it is seen here.
    """
    minimum = (
        min(wanted.minobj, wanted.abs_minobj) if wanted.abs_refcat else wanted.minobj
    )
    if wanted.abs_refcat:
        planes = [*planes, catalogue_plane(wanted.abs_refcat, centre)]
        units = [*units, wanted.abs_refcat]
    component = connected(planes, units, tolerance=wanted.tolerance, minimum=minimum)
    if wanted.abs_refcat:
        main = component[-1]
        component = component[:-1]
    else:
        main = np.bincount(component).argmax()
    agrees: np.ndarray = component == main
    return agrees


def _middle(model: Any) -> tuple[float, float]:
    ny, nx = model.data.shape
    return (nx - 1) / 2, (ny - 1) / 2


def _moved(model: Any, old: Any) -> tuple[tuple[float, float], float]:
    """Give the shift (mas east, mas north) and rotation (degrees) of an exposure."""
    x, y = _middle(model)
    points = np.array([[x, y], [x + 20, y]])
    centre = old(x, y)
    was = on_plane(old, points, centre)
    now = on_plane(model.meta.wcs, points, centre)
    angles = [math.atan2(*(p[1] - p[0])) for p in (was, now)]
    turned = math.degrees(angles[1] - angles[0])
    east, north = 1000 * (now[0] - was[0])
    return (round(float(east), 3), round(float(north), 3)), round(turned, 6)


def _judged(
    models: list[Any], outcomes: list[_Outcome], wanted: Alignment, name: str
) -> tuple[list[Any], list[str]]:
    problems = {
        index: f"{outcome.exposure} is not aligned: {why}"
        for index, outcome in enumerate(outcomes)
        if (why := outcome.problem(wanted)) is not None
    }
    if not problems:
        return models, []
    visits = {str(m.meta.observation.visit_id) for m in models}
    if len(visits) == 1 and all(outcomes[i].too_few(wanted) for i in problems):
        # One guide star: the telescope's own dithers are good to a few mas.
        said = (
            f"{len(problems)} of {len(models)} exposures have too few sources to be"
            " aligned; the telescope's own pointing within the visit is kept"
        )
        return models, [said]
    return _by_choice(models, problems, wanted, name)


def _by_choice(
    models: list[Any], problems: dict[int, str], wanted: Alignment, name: str
) -> tuple[list[Any], list[str]]:
    """Fail, keep or drop, as the user chose."""
    said = "; ".join(problems.values())
    if wanted.on_misaligned == "fail":
        msg = (
            f"{name}: {said}. Look at the report, change [alignment], or choose"
            " --on-misaligned keep or drop"
        )
        raise AlignmentError(msg)
    if wanted.on_misaligned == "keep":
        return models, [f"kept although {text}" for text in problems.values()]
    kept = [m for index, m in enumerate(models) if index not in problems]
    if not kept:
        msg = f"{name}: no exposure is left: {said}"
        raise AlignmentError(msg)
    return kept, [f"dropped because {text}" for text in problems.values()]
