"""How the telescope points: from its frame (V2, V3) to the sky and back.

The rotations are those of JWST-STScI-001550, section 4: V2, V3 to the sky through the
reference point's coordinates and the position angle of V3 there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from webbmosaic.simulate.geometry import ARCSEC, Floats

__all__ = ["Pointing"]


def _turn(degrees: float, axis: int) -> Floats:
    """Rotation matrix of the frame (not of the vector) about an axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = s, -s
    return matrix


def _unit(longitude: ArrayLike, latitude: ArrayLike) -> Floats:
    """Unit vectors, shape (3, ...), of angles in radians."""
    lon, lat = np.broadcast_arrays(longitude, latitude)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@dataclass(frozen=True)
class Pointing:
    """
    How the telescope points: where one point of its frame looks, and its roll there.

    Attributes
    ----------
    ra_ref, dec_ref : float
        Sky position of the reference point, degrees.
    roll_ref : float
        Position angle of V3 at the reference point, degrees east of north.
    v2_ref, v3_ref : float
        The reference point, arcsec.
    """

    ra_ref: float
    dec_ref: float
    roll_ref: float
    v2_ref: float = 0.0
    v3_ref: float = 0.0

    def _matrix(self) -> Floats:
        """From V2, V3 unit vectors to sky unit vectors."""
        steps = (
            (self.v2_ref / 3600, 2),
            (-self.v3_ref / 3600, 1),
            (self.roll_ref, 0),
            (self.dec_ref, 1),
            (-self.ra_ref, 2),
        )
        matrix = np.eye(3)
        for angle, axis in steps:
            matrix = _turn(angle, axis) @ matrix
        return matrix

    def to_sky(self, v2: ArrayLike, v3: ArrayLike) -> tuple[Floats, Floats]:
        """Turn V2, V3 (arcsec) into right ascension and declination (degrees)."""
        vector = _unit(np.multiply(v2, ARCSEC), np.multiply(v3, ARCSEC))
        x, y, z = np.tensordot(self._matrix(), vector, axes=1)
        ra = np.rad2deg(np.arctan2(y, x)) % 360
        return ra, np.rad2deg(np.arctan2(z, np.hypot(x, y)))

    def to_v2v3(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
        """Turn right ascension and declination (degrees) into V2, V3 (arcsec)."""
        vector = _unit(np.deg2rad(ra), np.deg2rad(dec))
        x, y, z = np.tensordot(self._matrix().T, vector, axes=1)
        return np.arctan2(y, x) / ARCSEC, np.arctan2(z, np.hypot(x, y)) / ARCSEC

    def at(self, v2: float, v3: float) -> Pointing:
        """Express the same pointing by another reference point (arcsec)."""
        ra, dec = (float(value) for value in self.to_sky(v2, v3))
        lon, lat = v2 * ARCSEC, v3 * ARCSEC
        up = np.array(
            [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
        )
        x, y, z = self._matrix() @ up
        a, d = np.deg2rad(ra), np.deg2rad(dec)
        east = -np.sin(a) * x + np.cos(a) * y
        north = -np.sin(d) * (np.cos(a) * x + np.sin(a) * y) + np.cos(d) * z
        roll = float(np.rad2deg(np.arctan2(east, north)) % 360)
        return Pointing(ra, dec, roll, v2, v3)
