"""What alignment reads: the stars of exposures, users' tables, the catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.archives.catalogs import at_epoch, read_catalog
from webbmosaic.datasets import effective_filter
from webbmosaic.errors import InputError, UsageError
from webbmosaic.science.astrometry import find_stars
from webbmosaic.settings import Alignment
from webbmosaic.stages.corrections import (
    Correction,
    apply_correction,
    corner_pixels,
)
from webbmosaic.stages.quality import usable_pixels
from webbmosaic.stages.tangent_plane import SkyPosition, on_plane, project

__all__ = ["Sighting", "move_by_table", "read_reference", "sight"]

_FLOOR = 0.01  # pixels: errors of positions in a user's table, which has none
#: FWHM of the point spread function per micron: 1.03 lambda / D for D = 6.5 m.
_ARCSEC_PER_MICRON = 0.0327
_NARROWEST = 2.0  # pixels; a narrower window has a pixel-phase bias
_COLUMNS = (  # of users' catalogues; SExtractor's count from 1
    *((x, y, None) for x, y in (("x", "y"), ("xcentroid", "ycentroid"),
                                ("x_centroid", "y_centroid"))),
    *((x, x.replace("x", "y", 1), 1) for x in ("xwin_image", "x_image")),
)  # fmt: skip


@dataclass(frozen=True)
class Sighting:
    """
    An exposure of one detector, as alignment sees it.

    Attributes
    ----------
    name : str
        Of its file.
    wcs : callable
        From x, y to right ascension and declination, in degrees.
    corners : `~numpy.ndarray`, shape (4, 2)
        In pixels.
    stars : `~numpy.ndarray`, shape (n, 4)
        x, y, flux and error, as from `~webbmosaic.science.astrometry.find_stars`.
    exposure, visit : str
        What was read together, and what shares a guide star.
    epoch : float
        Julian year.
    """

    name: str
    wcs: Callable[..., Any]
    corners: np.ndarray
    stars: np.ndarray
    exposure: str
    visit: str
    epoch: float


def sight(model: Any, path: Path, wanted: Alignment) -> Sighting:
    """
    Find the stars of an exposure.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`
    path : `~pathlib.Path`
        Its file: a user's catalogue may stand beside it.
    wanted : Alignment

    Returns
    -------
    sighting : Sighting
    """
    beside = path.with_name(f"{path.stem}_cat_for_tweakreg.csv")
    if wanted.custom_catalogues and beside.is_file():
        stars = _users_stars(beside, wanted.custom_origin)
    else:
        stars = find_stars(
            model.data,
            usable_pixels(model),
            fwhm=wanted.fwhm or _width(model),
            threshold=wanted.snr_threshold,
        )
    seen = model.meta.observation
    visit = f"{seen.program_number}{seen.observation_number}{seen.visit_number}"
    if "None" in visit:
        visit = str(model.meta.filename)
    number = (seen.visit_group, seen.sequence_id, seen.activity_id,
              seen.exposure_number)  # fmt: skip
    return Sighting(
        name=str(model.meta.filename),
        wcs=model.meta.wcs,
        corners=corner_pixels(model),
        stars=stars,
        exposure="_".join(map(str, number)) if all(number) else path.name,
        visit=f"{visit} {model.meta.instrument.name}",
        epoch=_epoch(model),
    )


def _width(model: Any) -> float:
    """Give the width of a star, in pixels, from the filter and the pixel scale."""
    name = effective_filter(
        str(model.meta.instrument.filter), model.meta.instrument.pupil
    )
    found = re.match(r"F(\d{3,4})", name)
    if not found:
        return 2.5
    middle = corner_pixels(model).mean(axis=0)
    pixels = np.array([middle, middle + 1])
    centre = tuple(float(v) for v in model.meta.wcs(*middle))
    here, there = on_plane(model.meta.wcs, pixels, (centre[0], centre[1]))
    pixel = float(np.hypot(*(there - here))) / np.sqrt(2)
    width = int(found[1]) / 100 * _ARCSEC_PER_MICRON / pixel
    return max(float(width), _NARROWEST)


def _epoch(model: Any) -> float:
    """Give the Julian year; without any time, J2000 plus nothing is known: NaN."""
    from astropy.time import Time

    mjd = model.meta.exposure.mid_time or model.meta.exposure.start_time
    if mjd:
        return float(Time(mjd, format="mjd").jyear)
    day = model.meta.observation.date
    return float(Time(day).jyear) if day else float("nan")


def _users_stars(path: Path, origin: int) -> np.ndarray:
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.csv", comment="#")
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as a table ({error})"
        raise InputError(msg) from error
    names = {name.lower(): name for name in table.colnames}
    for x, y, first in _COLUMNS:
        if {x, y} <= names.keys():
            start = origin if first is None else first
            pixels = [np.asarray(table[names[n]], float) - start for n in (x, y)]
            known = np.isfinite(pixels).all(axis=0)
            flux = (np.asarray(table[names["flux"]], float)
                    if "flux" in names else np.ones(len(table)))  # fmt: skip
            errors = np.full(len(table), _FLOOR)
            return np.column_stack([*pixels, flux, errors])[known]
    msg = f"{path}: has no columns x and y (pixels) among {', '.join(table.colnames)}"
    raise InputError(msg)


def read_reference(
    path: str, sightings: list[Sighting], centre: SkyPosition
) -> tuple[np.ndarray, np.ndarray]:
    """
    Put a catalogue onto the tangent plane, as it was when the exposures were taken.

    Parameters
    ----------
    path : str
        As `~webbmosaic.archives.catalogs.read_catalog` reads it.
    sightings : list of Sighting
        The mean of their epochs counts.
    centre : tuple of float
        Where the plane touches the sky, in degrees.

    Returns
    -------
    positions : `~numpy.ndarray`, shape (n, 2)
        In arcsec; what is more than 10 degrees away is left out.
    errors : `~numpy.ndarray`, shape (n,)
        In arcsec; 5 mas where the catalogue has none.
    """
    epochs = [s.epoch for s in sightings if np.isfinite(s.epoch)]
    catalog = read_catalog(Path(path))
    if epochs:
        catalog = at_epoch(catalog, float(np.mean(epochs)))
    ra, dec = (np.asarray(catalog[n], float) for n in ("RA", "DEC"))
    a, d = np.radians(ra - centre[0]), np.radians(dec)
    d0 = np.radians(centre[1])
    near = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a) > np.cos(0.17)
    errors = np.full(len(catalog), 5.0)
    columns = [n for n in ("ra_error", "dec_error") if n in catalog.colnames]
    if columns:
        given = (np.ma.MaskedArray(catalog[name], dtype=float) for name in columns)
        filled = np.array([np.ma.filled(column, np.nan) for column in given])
        known = np.sqrt(np.mean(filled**2, axis=0))
        errors = np.where(known > 0, known, errors)
    return project(ra[near], dec[near], centre), errors[near] / 1000


def move_by_table(model: Any, path: str) -> bool:
    """
    Move an exposure as a user's table says.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`
        Its WCS is changed.
    path : str
        A table with a column ``name``, of visits (``jw01837004020``) or exposures (as
        their files begin), and ``east`` and ``north``, in arcsec on the sky, or
        ``old_ra, old_dec, new_ra, new_dec``, in degrees; ``rotation``, from east
        towards north about the image's middle, in degrees, may be there.

    Returns
    -------
    moved : bool
        Whether the table has it; the longest name that fits counts.
    """
    rows = _offsets(Path(path))
    fitting = [name for name in rows if str(model.meta.filename).startswith(name)]
    if not fitting:
        return False
    east, north, rotation = rows[max(fitting, key=len)]
    corners = corner_pixels(model)
    ra, dec = model.meta.wcs(*corners.mean(axis=0))
    centre = (float(ra), float(dec))
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    before = on_plane(model.meta.wcs, corners, centre)
    after = before @ np.array([[c, s], [-s, c]]) + [east, north]
    apply_correction(model, Correction.between(before, after, centre))
    return True


def _offsets(path: Path) -> dict[str, tuple[float, float, float]]:
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.csv" if path.suffix == ".csv" else None)
    except (OSError, ValueError, TypeError) as error:
        msg = f"alignment.offsets: {path} cannot be read ({str(error).splitlines()[0]})"
        raise UsageError(msg) from error
    columns = set(table.colnames)
    pairs = {"old_ra", "old_dec", "new_ra", "new_dec"}
    if "name" not in columns or not (columns >= {"east", "north"} or columns >= pairs):
        msg = (
            f"alignment.offsets: {path} needs columns name, east, north (arcsec), or"
            " name, old_ra, old_dec, new_ra, new_dec (degrees)"
        )
        raise UsageError(msg)
    rows = {}
    for row in table:
        if columns >= pairs:
            old = (float(row["old_ra"]), float(row["old_dec"]))
            east, north = project([row["new_ra"]], [row["new_dec"]], old)[0].tolist()
        else:
            east, north = float(row["east"]), float(row["north"])
        rotation = float(row["rotation"]) if "rotation" in columns else 0.0
        rows[str(row["name"])] = (east, north, rotation)
    return rows
