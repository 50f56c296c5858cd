"""From pixels and the sky to a common tangent plane, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

__all__ = ["SkyPosition", "mean_position", "on_plane", "project", "to_sky"]

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
    return project(ra, dec, centre)


def project(ra: Any, dec: Any, centre: SkyPosition) -> np.ndarray:
    """
    Project positions of the sky onto a tangent plane.

    Parameters
    ----------
    ra, dec : array_like of float, shape (n,)
        In degrees, less than 90 from the centre.
    centre : tuple of float
        Where the plane touches the sky.

    Returns
    -------
    plane : `~numpy.ndarray`, shape (n, 2)
        East and north of the centre, in arcsec.

    Notes
    -----
    Gnomonic projection (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3).
    """
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


def mean_position(ra: Any, dec: Any) -> SkyPosition:
    """
    Give the middle of some positions, also across RA 0 and at a pole.

    Parameters
    ----------
    ra, dec : array_like of float
        In degrees.

    Returns
    -------
    centre : tuple of float
        In degrees.
    """
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    x, y, z = (
        (np.cos(d) * np.cos(a)).mean(),
        (np.cos(d) * np.sin(a)).mean(),
        np.sin(d).mean(),
    )
    return (
        float(np.degrees(np.arctan2(y, x))) % 360,
        float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
    )
