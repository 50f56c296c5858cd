"""After tweakreg: one weighted solution for all exposures and the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from webbmosaic.science.astrometry import Move, solve_absolute, solve_relative
from webbmosaic.settings import Alignment
from webbmosaic.stages.tangent_plane import (
    SkyPosition,
    catalogue_plane,
    on_plane,
    to_sky,
)

__all__ = ["refine"]


def refine(
    models: list[Any], stars: list[np.ndarray], wanted: Alignment, *, enough: int
) -> None:
    """
    Improve the alignment that tweakreg found, in place.

    tweakreg gives all sources the same weight and aligns to the first exposures. Here
    each source counts by its error and all exposures count alike; then all of them
    together are put onto the catalogue, where there is one.

    Parameters
    ----------
    models : list of `~stdatamodels.jwst.datamodels.ImageModel`
        Their WCS is changed.
    stars : list of `~numpy.ndarray`, shape (n, 4)
        As from `~webbmosaic.science.alignment.find_stars`.
    wanted : Alignment
    enough : int
        Matched sources that a rotation is fitted from.
    """
    if any(m.meta.cal_step.tweakreg != "COMPLETE" for m in models):
        return
    ny, nx = models[0].data.shape
    centre = models[0].meta.wcs((nx - 1) / 2, (ny - 1) / 2)
    units = [str(model.meta.group_id) for model in models]
    pairs = list(zip(models, stars, strict=True))
    errors = [s[:, 3] * _pixel_scale(m, centre) for m, s in pairs]
    planes = [on_plane(m.meta.wcs, s[:, :2], centre) for m, s in pairs]
    moves = {unit: Move() for unit in units}
    if len(moves) > 1:
        moves = solve_relative(
            planes, errors, units, tolerance=wanted.tolerance / 2, enough=enough
        )
    aligned = [moves[u].apply(p) for u, p in zip(units, planes, strict=True)]
    together = Move()
    if wanted.abs_refcat:
        together, _ = solve_absolute(
            np.concatenate(aligned),
            np.concatenate(errors),
            catalogue_plane(wanted.abs_refcat, centre),
            tolerance=wanted.tolerance / 2,
            enough=enough,
        )
    for model, unit in zip(models, units, strict=True):
        _move(model, [moves[unit], together], centre)


def _pixel_scale(model: Any, centre: SkyPosition) -> float:
    """Size of a pixel in the middle of an image, in arcsec."""
    ny, nx = model.data.shape
    corner = np.array([[nx / 2, ny / 2], [nx / 2 + 1, ny / 2]])
    here, there = on_plane(model.meta.wcs, corner, centre)
    return float(np.hypot(*(there - here)))


def _move(model: Any, moves: list[Move], centre: SkyPosition) -> None:
    """Change the WCS of a model so that its positions on the plane move."""
    from jwst.assign_wcs.util import update_s_region_imaging
    from tweakwcs.correctors import JWSTWCSCorrector

    info = model.meta.wcsinfo
    corrector = JWSTWCSCorrector(
        wcs=model.meta.wcs,
        wcsinfo={n: getattr(info, n) for n in ("roll_ref", "v2_ref", "v3_ref")},
    )
    ny, nx = model.data.shape
    pixels = np.array([[0, 0], [nx, 0], [0, ny], [nx, ny]], float) - 0.5
    plane = on_plane(model.meta.wcs, pixels, centre)
    now = np.column_stack(corrector.world_to_tanp(*to_sky(plane, centre)))
    for move in moves:
        plane = move.apply(plane)
    wanted = np.column_stack(corrector.world_to_tanp(*to_sky(plane, centre)))
    # The motion is rigid on our plane, and so on that of the corrector.
    design = np.column_stack([now, np.ones(len(now))])
    solution = np.linalg.lstsq(design, wanted, rcond=None)[0]
    corrector.set_correction(matrix=solution[:2].T, shift=solution[2])
    model.meta.wcs = corrector.wcs
    update_s_region_imaging(model)
