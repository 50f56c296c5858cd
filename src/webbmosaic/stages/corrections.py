"""What alignment did to an exposure: applied, and kept in a file beside the mosaic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.errors import InputError
from webbmosaic.files.products import write_text
from webbmosaic.stages.tangent_plane import SkyPosition, on_plane, project, to_sky

__all__ = [
    "Correction",
    "apply_correction",
    "apply_file",
    "corner_pixels",
    "read_correction",
    "side_file",
    "write_correction",
]

_SAME = 1e-4  # arcsec: an exposure stands where the correction was made for


@dataclass(frozen=True)
class Correction:
    """
    How the positions of one exposure change.

    Attributes
    ----------
    tangent_point : tuple of float
        Right ascension and declination, in degrees, of the plane it is given on.
    matrix : tuple of tuple of float
        2 by 2.
    shift : tuple of float
        East and north, in arcsec: the new position is ``matrix @ old + shift``.
    was, becomes : tuple of float
        Right ascension and declination of the image's middle, in degrees.
    """

    tangent_point: SkyPosition
    matrix: tuple[tuple[float, float], tuple[float, float]]
    shift: tuple[float, float]
    was: SkyPosition
    becomes: SkyPosition

    @classmethod
    def between(
        cls, before: np.ndarray, after: np.ndarray, centre: SkyPosition
    ) -> Correction:
        """Describe how corners (4, 2), in arcsec on the plane at ``centre``, moved."""
        design = np.column_stack([before, np.ones(len(before))])
        fit = np.linalg.lstsq(design, after, rcond=None)[0]
        (a, b), (c, d) = fit[:2].T.tolist()
        east, north = fit[2].tolist()
        middles = [
            tuple(float(v[0]) for v in to_sky(p.mean(axis=0)[None], centre))
            for p in (before, after)
        ]
        return cls(
            centre, ((a, b), (c, d)), (east, north),
            (middles[0][0], middles[0][1]), (middles[1][0], middles[1][1]),
        )  # fmt: skip

    def moved(self, plane: np.ndarray) -> np.ndarray:
        """Move points (n, 2) of the plane, in arcsec."""
        new: np.ndarray = plane @ np.array(self.matrix).T + self.shift
        return new


def corner_pixels(model: Any) -> np.ndarray:
    """Give the outer corners of an image, shape (4, 2), in order around it."""
    ny, nx = model.data.shape
    return np.array([[0, 0], [nx, 0], [nx, ny], [0, ny]], float) - 0.5


def apply_correction(model: Any, correction: Correction) -> None:
    """
    Change the WCS of an exposure, as alignment found.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`
        Its gWCS and S_REGION are changed.
    correction : Correction
    """
    from jwst.assign_wcs.util import update_s_region_imaging
    from tweakwcs.correctors import JWSTWCSCorrector

    info = model.meta.wcsinfo
    corrector = JWSTWCSCorrector(
        wcs=model.meta.wcs,
        wcsinfo={n: getattr(info, n) for n in ("roll_ref", "v2_ref", "v3_ref")},
    )
    centre = correction.tangent_point
    plane = on_plane(model.meta.wcs, corner_pixels(model), centre)
    now = np.column_stack(corrector.world_to_tanp(*to_sky(plane, centre)))
    aim = to_sky(correction.moved(plane), centre)
    wanted = np.column_stack(corrector.world_to_tanp(*aim))
    # The motion is linear on our plane, and so on that of the corrector.
    design = np.column_stack([now, np.ones(len(now))])
    solution = np.linalg.lstsq(design, wanted, rcond=None)[0]
    corrector.set_correction(matrix=solution[:2].T, shift=solution[2])
    model.meta.wcs = corrector.wcs
    update_s_region_imaging(model)


def side_file(folder: Path, exposure: str) -> Path:
    """Name the file with the correction of an exposure, such as ``x_cal.fits``."""
    stem = Path(exposure).name.removesuffix(".fits").removesuffix("_cal")
    return folder / f"{stem}_alignment.json"


def write_correction(path: Path, correction: Correction, facts: dict[str, Any]) -> None:
    """
    Keep a correction, and what it rests on.

    Parameters
    ----------
    path : `~pathlib.Path`
    correction : Correction
    facts : dict
        Matches, residuals and the like, for people.
    """
    kept = {"correction": vars(correction), **facts}
    write_text(path, json.dumps(kept, indent=1) + "\n")


def read_correction(path: Path) -> Correction:
    """
    Read a correction.

    Parameters
    ----------
    path : `~pathlib.Path`
        As `write_correction` makes it.

    Returns
    -------
    correction : Correction

    Raises
    ------
    InputError
        If the file holds none.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))["correction"]
        matrix = np.array(given["matrix"], float).reshape(2, 2)
        pairs = [
            np.array(given[name], float).reshape(2)
            for name in ("tangent_point", "shift", "was", "becomes")
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path}: holds no correction of an exposure ({error}). Try: remove it"
        raise InputError(msg) from error
    (a, b), (c, d) = matrix.tolist()
    where, shift, was, becomes = (tuple(p.tolist()) for p in pairs)
    return Correction(where, ((a, b), (c, d)), shift, was, becomes)


def apply_file(model: Any, path: Path) -> bool:
    """
    Apply the correction that a file holds, unless the exposure has it already.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`
    path : `~pathlib.Path`

    Returns
    -------
    applied : bool

    Raises
    ------
    InputError
        If it was made for another WCS than this exposure has.
    """
    correction = read_correction(path)
    plane = on_plane(model.meta.wcs, corner_pixels(model), correction.was)
    here = plane.mean(axis=0)
    if np.hypot(*here) < _SAME:
        apply_correction(model, correction)
        return True
    ra, dec = correction.becomes
    there = project([ra], [dec], correction.was)[0]
    if np.hypot(*(here - there)) < _SAME:
        return False
    msg = (
        f"{path}: was made for another pointing of {model.meta.filename}, which is"
        f" {np.hypot(*here):.3f} arcsec away. Try: remove it"
    )
    raise InputError(msg)
