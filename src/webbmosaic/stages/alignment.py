"""Aligning the exposures of a mosaic, and saying what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.errors import UsageError
from webbmosaic.files.models import save_model
from webbmosaic.science.astrometry import (
    Catalogue,
    Image,
    Linked,
    Search,
    Solution,
    link,
    solve,
)
from webbmosaic.settings import Alignment
from webbmosaic.stages.alignment_policy import judged
from webbmosaic.stages.alignment_records import Outcome, island_facts, outcomes_of
from webbmosaic.stages.corrections import (
    Correction,
    apply_correction,
    apply_file,
    corner_pixels,
    side_file,
    write_correction,
)
from webbmosaic.stages.sightings import (
    Sighting,
    move_by_table,
    read_reference,
    sight,
)
from webbmosaic.stages.tangent_plane import SkyPosition, mean_position, on_plane

__all__ = ["Aligned", "align", "write_aligned", "write_side_files"]

_SIP_ERROR = 0.01  # pixels, as assign_wcs asks of the FITS approximation


@dataclass
class Aligned:
    """
    The exposures of a mosaic after alignment.

    Attributes
    ----------
    models : list
        Those to go on with: all, unless misaligned ones are to be dropped.
    exposures : list of dict
        For each exposure its shift, rotation, matches and residuals, with errors.
    islands : list of dict
        For the exposures that are tied to each other: how they agree among themselves
        and with the catalogue.
    notes : list of str
        What the user should know.
    corrections : dict of str to Correction
        By the name of the exposure's file.
    """

    models: list[Any]
    exposures: list[dict[str, Any]] = field(default_factory=list)
    islands: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    corrections: dict[str, Correction] = field(default_factory=dict)


def align(
    models: list[Any], paths: list[Path], wanted: Alignment, name: str
) -> Aligned:
    """
    Align exposures to each other and, where one is given, to a catalogue.

    Parameters
    ----------
    models : list of `~stdatamodels.jwst.datamodels.ImageModel`
        Calibrated exposures; their WCS is changed.
    paths : list of `~pathlib.Path`
        Their files: a user's catalogue or a correction may stand beside one.
    wanted : Alignment
        The settings.
    name : str
        The group, for sentences.

    Returns
    -------
    aligned : Aligned

    Raises
    ------
    AlignmentError
        If an exposure exceeds the limits and ``on_misaligned`` is ``fail``.
    UsageError
        If a table or the catalogue cannot be read.
    """
    _check_files(wanted)
    outlines = [_outline(model) for model in models]
    notes = _move_first(models, paths, wanted)
    if not wanted.enabled:
        return Aligned(models, notes=[*notes, "alignment is switched off"])
    if len(models) == 1 and not wanted.abs_refcat:
        alone = f"{name}: one exposure, nothing to align it to"
        return Aligned(models, notes=[*notes, alone])
    sightings = [sight(m, p, wanted) for m, p in zip(models, paths, strict=True)]
    outcomes: dict[int, Outcome] = {}
    islands: list[dict[str, Any]] = []
    corrections = {}
    for indices in _fields(sightings, wanted.searchrad):
        some = [sightings[i] for i in indices]
        found = _align_field(some, wanted)
        outcomes |= dict(zip(indices, outcomes_of(some, *found), strict=True))
        islands += island_facts(some, *found)
        for i, correction in zip(indices, _corrections(some, *found), strict=True):
            apply_correction(models[i], correction)
            tied = outcomes[i].aligned_to != "nothing"
            models[i].meta.cal_step.tweakreg = "COMPLETE" if tied else "SKIPPED"
            before, middle = outlines[i]
            after = on_plane(models[i].meta.wcs, corner_pixels(models[i]), middle)
            whole = Correction.between(before, after, middle)
            corrections[sightings[i].name] = whole
    ordered = [outcomes[i] for i in range(len(models))]
    kept, said = judged(models, ordered, islands, wanted, name)
    return Aligned(
        models=kept,
        exposures=[o.facts() for o in ordered],
        islands=islands,
        notes=[*notes, *said],
        corrections=corrections,
    )


def write_side_files(aligned: Aligned, folder: Path) -> list[Path]:
    """
    Keep what alignment did to each exposure: ``{dataset}_alignment.json``.

    Parameters
    ----------
    aligned : Aligned
    folder : `~pathlib.Path`
        That of the mosaic.

    Returns
    -------
    paths : list of `~pathlib.Path`
    """
    written = []
    for facts in aligned.exposures:
        path = side_file(folder, facts["exposure"])
        write_correction(path, aligned.corrections[facts["exposure"]], facts)
        written.append(path)
    return written


def write_aligned(aligned: Aligned, folder: Path) -> list[Path]:
    """
    Write the exposures with their new WCS: ``{dataset}_tweakreg.fits``.

    Parameters
    ----------
    aligned : Aligned
    folder : `~pathlib.Path`
        That of the mosaic.

    Returns
    -------
    paths : list of `~pathlib.Path`
    """
    from jwst.assign_wcs.util import update_fits_wcsinfo

    written = []
    for model in aligned.models:
        name = str(model.meta.filename)
        stem = name.removesuffix(".fits").removesuffix("_cal")
        update_fits_wcsinfo(model, max_pix_error=_SIP_ERROR)
        written.append(folder / f"{stem}_tweakreg.fits")
        save_model(model, written[-1])
        model.meta.filename = name
    return written


def _check_files(wanted: Alignment) -> None:
    for key in ("abs_refcat", "offsets"):
        path = getattr(wanted, key)
        if path and not Path(path).is_file():
            msg = f"alignment.{key}: there is no file {path}"
            raise UsageError(msg)


def _outline(model: Any) -> tuple[np.ndarray, SkyPosition]:
    """Give the corners on the plane that touches the sky in the image's middle."""
    corners = corner_pixels(model)
    ra, dec = model.meta.wcs(*corners.mean(axis=0))
    centre = (float(ra), float(dec))
    return on_plane(model.meta.wcs, corners, centre), centre


def _move_first(models: list[Any], paths: list[Path], wanted: Alignment) -> list[str]:
    """Apply what users give: corrections beside the cals, and the table of offsets."""
    corrected, moved = 0, 0
    for model, path in zip(models, paths, strict=True):
        beside = side_file(path.parent, path.name)
        if beside.is_file():
            corrected += apply_file(model, beside)
        if wanted.offsets:
            moved += move_by_table(model, wanted.offsets)
    notes = []
    if corrected:
        notes.append(f"{corrected} exposures moved by the _alignment.json beside them")
    if wanted.offsets:
        notes.append(f"{moved} of {len(models)} exposures moved by {wanted.offsets}")
    return notes


def _fields(sightings: list[Sighting], margin: float) -> list[list[int]]:
    """Sort exposures into fields that are too far apart to have to do with another."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import cdist

    middles, radii = [], []
    for s in sightings:
        ra, dec = (np.radians(v) for v in s.wcs(s.corners[:, 0], s.corners[:, 1]))
        unit = np.column_stack(
            [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]
        )
        middle = unit.mean(axis=0) / np.linalg.norm(unit.mean(axis=0))
        middles.append(middle)
        radii.append(float(np.linalg.norm(unit - middle, axis=1).max()))
    apart = cdist(middles, middles)
    reach = np.add.outer(radii, radii) + math.radians(margin / 3600)
    count, label = connected_components(apart <= reach, directed=False)
    return [np.flatnonzero(label == k).tolist() for k in range(count)]


def _align_field(
    sightings: list[Sighting], wanted: Alignment
) -> tuple[list[Image], Linked, Solution, SkyPosition]:
    """Solve for the exposures of one field, on one tangent plane."""
    sky = [s.wcs(*s.corners.mean(axis=0)) for s in sightings]
    centre = mean_position(*np.array(sky, float).T)
    images = [_image(s, centre) for s in sightings]
    catalogue = None
    if wanted.abs_refcat:
        catalogue = Catalogue(*read_reference(wanted.abs_refcat, sightings, centre))
    turn = 0.0 if wanted.fit == "shift" else math.radians(wanted.max_rotation)
    search = Search(
        radius=wanted.searchrad,
        within=min(1.0, wanted.searchrad),
        turn=turn,
        minimum=wanted.minobj,
        minimum_catalogue=wanted.abs_minobj,
        chance=wanted.max_chance,
    )
    linked = link(images, catalogue, search, in_order=wanted.enforce_order)
    solution = solve(
        images,
        linked,
        catalogue,
        tolerance=wanted.tolerance,
        geometry=wanted.fit,
        in_order=wanted.enforce_order,
    )
    return images, linked, solution, centre


def _image(sighting: Sighting, centre: SkyPosition) -> Image:
    stars = sighting.stars
    middle = sighting.corners.mean(axis=0)
    here, there = on_plane(sighting.wcs, np.array([middle, middle + 1]), centre)
    return Image(
        positions=on_plane(sighting.wcs, stars[:, :2], centre),
        errors=stars[:, 3] * float(np.hypot(*(there - here))) / math.sqrt(2),
        corners=on_plane(sighting.wcs, sighting.corners, centre),
        exposure=sighting.exposure,
        visit=sighting.visit,
    )


def _corrections(
    sightings: list[Sighting],
    images: list[Image],
    linked: Linked,
    solution: Solution,
    centre: SkyPosition,
) -> list[Correction]:
    del sightings, linked
    return [
        Correction.between(image.corners, solution.moved(i, image.corners), centre)
        for i, image in enumerate(images)
    ]
