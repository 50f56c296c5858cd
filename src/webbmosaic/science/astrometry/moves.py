"""Small motions on a tangent plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from webbmosaic.science.arrays import Floats

__all__ = ["Move"]


@dataclass(frozen=True)
class Move:
    """
    A linear motion on the tangent plane about a point.

    Attributes
    ----------
    shift : tuple of float
        How far the point moves, east and north, in arcsec.
    rotation : float
        From east towards north, in radians.
    about : tuple of float
        The point, on the plane, in arcsec.
    stretch : tuple of float
        Scale minus one, and both shears (of the axes, and of the diagonals), where the
        fit has them.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    about: tuple[float, float] = (0.0, 0.0)
    stretch: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def matrix(self) -> Floats:
        """The linear part, 2 by 2."""
        c, s = math.cos(self.rotation), math.sin(self.rotation)
        scale, axes, diagonals = self.stretch
        bent = [[1 + scale + axes, diagonals], [diagonals, 1 + scale - axes]]
        turned: Floats = np.array([[c, -s], [s, c]]) @ np.array(bent)
        return turned

    def apply(self, points: Floats) -> Floats:
        """Move points (n, 2) on the plane."""
        about = np.asarray(self.about)
        moved: Floats = (points - about) @ self.matrix.T + about + self.shift
        return moved
