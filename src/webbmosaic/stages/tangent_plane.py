"""From pixels and the sky to a common tangent plane, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from webbmosaic.errors import UsageError

__all__ = ["SkyPosition", "catalogue_plane", "on_plane", "to_sky"]

#: Right ascension and declination, in degrees.
SkyPosition: TypeAlias = tuple[float, float]


def on_plane(
    wcs: Callable[..., Any], pixels: np.ndarray, centre: SkyPosition
) -> np.ndarray:
    """
    Put pixels on a tangent plane of the sky.

    Parameters
    ----------
    wcs : callable
        From x, y to right ascension, declination (degrees), such as a gWCS.
    pixels : `~numpy.ndarray`, shape (n, 2)
    centre : tuple of float
        Where the plane touches the sky.

    Returns
    -------
    plane : `~numpy.ndarray`, shape (n, 2)
        East and north of the centre, in arcsec.
    """
    ra, dec = wcs(pixels[:, 0], pixels[:, 1])
    return _project(ra, dec, centre)


def _project(ra: Any, dec: Any, centre: SkyPosition) -> np.ndarray:
    """Gnomonic projection (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3)."""
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    a0, d0 = np.radians(centre)
    cosine = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a - a0)
    east = np.cos(d) * np.sin(a - a0) / cosine
    north = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a - a0)) / cosine
    plane: np.ndarray = np.degrees(np.column_stack([east, north])) * 3600
    return plane


def to_sky(plane: np.ndarray, centre: SkyPosition) -> tuple[np.ndarray, np.ndarray]:
    """
    Take positions from the tangent plane back to the sky.

    Parameters
    ----------
    plane : `~numpy.ndarray`, shape (n, 2)
        As from `on_plane`, in arcsec.
    centre : tuple of float

    Returns
    -------
    ra, dec : `~numpy.ndarray`
        In degrees.
    """
    x, y = np.radians(plane.T / 3600)
    a0, d0 = np.radians(centre)
    ra = a0 + np.arctan2(x, np.cos(d0) - y * np.sin(d0))
    along = np.hypot(x, np.cos(d0) - y * np.sin(d0))
    dec = np.arctan2(np.sin(d0) + y * np.cos(d0), along)
    return np.degrees(ra) % 360, np.degrees(dec)


def catalogue_plane(path: str, centre: SkyPosition) -> np.ndarray:
    """
    Put the stars of a catalogue on the tangent plane.

    Parameters
    ----------
    path : str
        A table that astropy can read, with RA and DEC in degrees, in any case.
    centre : tuple of float

    Returns
    -------
    plane : `~numpy.ndarray`, shape (n, 2)
        In arcsec; what lies behind the plane is left out.

    Raises
    ------
    UsageError
        If it cannot be read or has no such columns.
    """
    from astropy.table import Table

    try:
        table = Table.read(Path(path))
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as a catalogue ({error})"
        raise UsageError(msg) from error
    names = {name.upper(): name for name in table.colnames}
    if not {"RA", "DEC"} <= names.keys():
        msg = f"{path}: has no columns RA and DEC (degrees)"
        raise UsageError(msg)
    ra, dec = (np.asarray(table[names[n]], float) for n in ("RA", "DEC"))
    near = np.abs(dec - centre[1]) < 10
    return _project(ra[near], dec[near], centre)
