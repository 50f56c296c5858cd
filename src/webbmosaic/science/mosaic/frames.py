"""An exposure as the mosaic sees it: an image, its noise and where it lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webbmosaic.science.arrays import Floats

__all__ = ["Frame", "Mapping", "Mask", "between"]

Mask = NDArray[np.bool_]

#: Takes two coordinates to two others: pixels to the sky, or back.
Transform = Callable[[Floats, Floats], tuple[Floats, Floats]]

#: Pixels between the nodes where a mapping is computed. Between them it is linear;
#: JWST's cameras bend by some 1e-5 pixels per pixel squared: it is off by 3e-4 pixels.
STEP = 16


@dataclass(frozen=True)
class Frame:
    """
    One exposure.

    Attributes
    ----------
    data : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Surface brightness, sky levelled with that of the other exposures.
    variance : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Of ``data``.
    good : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        Pixels that may be used; both others must be finite there.
    to_sky : callable
        Takes x and y (pixels, 0-based) to longitude and latitude (degrees).
    to_pixels : callable
        The inverse.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    good: Mask
    to_sky: Transform
    to_pixels: Transform


@dataclass(frozen=True)
class Mapping:
    """
    Where the pixels of one exposure lie on another.

    Attributes
    ----------
    x, y : 2-D float64 `~numpy.ndarray`
        Coordinates on the other exposure, at every `STEP`-th pixel of this one.
    """

    x: Floats
    y: Floats

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """
        Map single positions.

        Parameters
        ----------
        x, y : float `~numpy.ndarray`
            Pixels of this exposure.

        Returns
        -------
        x, y : float `~numpy.ndarray`
            Pixels of the other.
        """
        from scipy.ndimage import map_coordinates

        nodes = np.array([y, x], dtype=float) / STEP
        xy = [map_coordinates(a, nodes, order=1, mode="nearest") for a in
              (self.x, self.y)]  # fmt: skip
        return xy[0], xy[1]

    def moved(self, dx: float, dy: float) -> Mapping:
        """Give the mapping moved by some pixels of the other exposure."""
        return Mapping(self.x + dx, self.y + dy)

    def overlaps(self, shape: tuple[int, int]) -> Mask:
        """Tell which nodes lie on the other exposure, of this shape."""
        inside: Mask = (
            (self.x > -0.5) & (self.x < shape[1] - 0.5)
            & (self.y > -0.5) & (self.y < shape[0] - 0.5)
        )  # fmt: skip
        return inside


def between(frame: Frame, other: Frame) -> Mapping:
    """
    Compute where the pixels of one exposure lie on another.

    Parameters
    ----------
    frame, other : Frame

    Returns
    -------
    mapping : Mapping
        NaN where a position has no counterpart.
    """
    ny, nx = frame.data.shape
    y, x = np.mgrid[0 : ny + STEP : STEP, 0 : nx + STEP : STEP].astype(float)
    return Mapping(*map(np.asarray, other.to_pixels(*frame.to_sky(x, y))))
