"""What alignment needs to know of an image and of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webbmosaic.science.arrays import Floats

__all__ = ["Catalogue", "Image"]


@dataclass(frozen=True)
class Image:
    """
    The sources of one image on the common tangent plane.

    Attributes
    ----------
    positions : `~numpy.ndarray`, shape (n, 2)
        As the image's own WCS has them, in arcsec.
    errors : `~numpy.ndarray`, shape (n,)
        Standard errors for each axis, in arcsec.
    corners : `~numpy.ndarray`, shape (4, 2)
        Of the image, in arcsec, in order around it.
    exposure : str
        Detectors that were read together have the same: they move as one.
    visit : str
        Exposures with the same guide star have the same: they are off together.
    """

    positions: Floats
    errors: Floats
    corners: Floats
    exposure: str
    visit: str

    @property
    def middle(self) -> Floats:
        """The middle of the image, shape (2,), in arcsec."""
        middle: Floats = self.corners.mean(axis=0)
        return middle

    @property
    def radius(self) -> float:
        """From the middle to the farthest corner, in arcsec."""
        return float(np.hypot(*(self.corners - self.middle).T).max())

    def holds(self, points: Floats, margin: float = 0.0) -> NDArray[np.bool_]:
        """Tell which points (n, 2) are on the image, or ``margin`` arcsec beside it."""
        sides = np.roll(self.corners, -1, axis=0) - self.corners
        area = (sides[0, 0] * sides[1, 1]) - (sides[0, 1] * sides[1, 0])
        inside = np.ones(len(points), bool)
        for corner, side in zip(self.corners, sides, strict=True):
            across = side[0] * (points[:, 1] - corner[1])
            across = across - side[1] * (points[:, 0] - corner[0])
            inside &= np.sign(area) * across >= -margin * np.hypot(*side)
        return inside

    def near(self, other: Image, margin: float) -> bool:
        """Tell whether another image may lie within ``margin`` arcsec of this one."""
        gap = float(np.hypot(*(self.middle - other.middle)))
        return gap <= self.radius + other.radius + margin


@dataclass(frozen=True)
class Catalogue:
    """
    Sources of known positions, on the same tangent plane.

    Attributes
    ----------
    positions : `~numpy.ndarray`, shape (m, 2)
        In arcsec.
    errors : `~numpy.ndarray`, shape (m,)
        Standard errors for each axis, in arcsec; only how they compare with each other
        matters, their size is found from the matches.
    """

    positions: Floats
    errors: Floats
