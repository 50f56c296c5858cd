"""Light that is not the scene: sky, wisps, claws, tilted stripes, MIRI's background.

Every plane is surface brightness in units of the sky's, or a pattern of standard
deviation or peak one, at a fixed place of the detector: a subarray sees the part of it
that it covers.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from webbmosaic.simulate.geometry import Aperture, aperture

__all__ = [
    "TILTED_ANGLES",
    "WISP_DETECTORS",
    "claw_pattern",
    "miri_background",
    "tilted_pattern",
    "wisp_pattern",
]

Image = NDArray[np.float32]

#: Where wisps are known (JDox, "NIRCam Claws and Wisps").
WISP_DETECTORS = ("NRCA3", "NRCA4", "NRCB3", "NRCB4")

#: Degrees from the x axis towards the y axis.
TILTED_ANGLES = (30.0, -30.0)

# The spine of each filament in units of the detector's side, its width and its peak.
# The long arcs cross the middle, as the real ones do; the last filament of each
# detector also crosses the corner that the small subarrays read.
_FILAMENTS = {
    "NRCA3": (
        (((0.05, 0.70), (0.35, 0.60), (0.65, 0.62), (0.95, 0.45)), 0.030, 1.0),
        (((0.10, 0.55), (0.40, 0.48), (0.70, 0.40)), 0.045, 0.6),
        (((0.00, 1.00), (0.04, 0.96), (0.10, 0.95), (0.20, 0.80)), 0.020, 0.8),
    ),
    "NRCA4": (
        (((0.15, 0.95), (0.40, 0.70), (0.55, 0.45), (0.50, 0.10)), 0.028, 1.0),
        (((0.30, 0.80), (0.60, 0.65), (0.80, 0.60)), 0.050, 0.5),
        (((0.00, 0.01), (0.04, 0.04), (0.12, 0.05), (0.25, 0.02)), 0.020, 0.8),
    ),
    "NRCB3": (
        (((0.90, 0.15), (0.60, 0.35), (0.45, 0.60), (0.55, 0.90)), 0.030, 1.0),
        (((0.20, 0.35), (0.45, 0.45), (0.70, 0.40)), 0.045, 0.6),
        (((1.00, 0.01), (0.96, 0.04), (0.90, 0.05), (0.75, 0.02)), 0.020, 0.8),
    ),
    "NRCB4": (
        (((0.05, 0.30), (0.30, 0.45), (0.60, 0.50), (0.95, 0.75)), 0.028, 1.0),
        (((0.25, 0.60), (0.50, 0.62), (0.75, 0.50)), 0.050, 0.5),
        (((1.00, 1.00), (0.96, 0.96), (0.90, 0.95), (0.80, 0.80)), 0.020, 0.8),
    ),
}


def _grid(frame: Aperture) -> tuple[Image, Image]:
    """Positions on the full detector in units of its side, as a row and a column."""
    full = aperture(frame.detector)
    x = (np.arange(frame.nx) + frame.substrt1 - 0.5) / full.nx
    y = (np.arange(frame.ny) + frame.substrt2 - 0.5) / full.ny
    return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


def wisp_pattern(frame: Aperture) -> Image:
    """
    Draw the wisp of a detector.

    Parameters
    ----------
    frame : Aperture

    Returns
    -------
    pattern : ndarray of float32, shape (ny, nx)
        Peak 1 on the full detector; zero where no wisps are known. The part of a
        subarray equals that part of the full frame.
    """
    if frame.detector not in WISP_DETECTORS:
        return np.zeros(frame.shape, np.float32)
    full = _whole_wisp(frame.detector)
    rows = slice(frame.substrt2 - 1, frame.substrt2 - 1 + frame.ny)
    columns = slice(frame.substrt1 - 1, frame.substrt1 - 1 + frame.nx)
    return full[rows, columns].copy()


@cache
def _whole_wisp(detector: str) -> Image:
    frame = aperture(detector)
    x, y = _grid(frame)
    step = 4  # the filaments are smooth over 40 pixels
    small = np.zeros((frame.ny // step, frame.nx // step), np.float32)
    sx, sy = x[:, step // 2 :: step], y[step // 2 :: step]
    for spine, width, peak in _FILAMENTS[detector]:
        distance = np.full(small.shape, np.inf, np.float32)
        for start, end in pairwise(_smooth(spine)):
            np.minimum(distance, _distance(sx, sy, start, end), out=distance)
        np.maximum(small, peak * np.exp(-0.5 * (distance / width) ** 2), out=small)
    return _enlarge(small, step)


def _smooth(spine: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Round the corners of a polygon (Chaikin's cuts)."""
    points = np.array(spine)
    for _ in range(3):
        near = 0.75 * points[:-1] + 0.25 * points[1:]
        far = 0.25 * points[:-1] + 0.75 * points[1:]
        inner = np.stack([near, far], axis=1).reshape(-1, 2)
        points = np.vstack([points[:1], inner, points[-1:]])
    return points


def _distance(
    x: Image, y: Image, start: NDArray[np.float64], end: NDArray[np.float64]
) -> Image:
    """Distance from a straight piece."""
    (ax, ay), (bx, by) = start.tolist(), end.tolist()
    length = (bx - ax) ** 2 + (by - ay) ** 2
    along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
    dx, dy = x - ax - along * (bx - ax), y - ay - along * (by - ay)
    return np.asarray(np.hypot(dx, dy), np.float32)


def _enlarge(small: Image, factor: int) -> Image:
    """Interpolate linearly to ``factor`` times the size."""
    rows = _linear(small.shape[0], factor)
    columns = _linear(small.shape[1], factor)
    return (rows @ small @ columns.T).astype(np.float32)


def _linear(size: int, factor: int) -> NDArray[np.float32]:
    """Matrix of linear interpolation, shape (size * factor, size)."""
    position = (np.arange(size * factor) + 0.5) / factor - 0.5
    position = np.clip(position, 0, size - 1)
    low = np.minimum(position.astype(int), size - 2)
    matrix = np.zeros((position.size, size), np.float32)
    index = np.arange(position.size)
    matrix[index, low] = 1 - (position - low)
    matrix[index, low + 1] = position - low
    return matrix


def claw_pattern(frame: Aperture, generator: np.random.Generator) -> Image:
    """
    Draw a claw: curved scratches side by side, from a star far outside the field.

    Parameters
    ----------
    frame : Aperture
    generator : numpy.random.Generator
        A stream of the visit keeps the claw in place over its dithers.

    Returns
    -------
    pattern : ndarray of float32, shape (ny, nx)
        Peak about 1. It covers some 5 % of the frame, whatever its size.
    """
    x = (np.arange(frame.nx, dtype=np.float32)[None, :] + 0.5) / frame.nx
    y = (np.arange(frame.ny, dtype=np.float32)[:, None] + 0.5) / frame.ny
    cx, cy = generator.uniform(0.3, 0.7, 2)
    angle, bend = generator.uniform(0, np.pi), generator.uniform(0.8, 1.6)
    u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle) - bend * u**2
    pattern = np.zeros(frame.shape, np.float32)
    for offset, peak in ((-0.06, 0.6), (0.0, 1.0), (0.06, 0.7)):
        pattern += peak * np.exp(-0.5 * ((v - offset) / 0.012) ** 2)
    pattern *= np.exp(-0.5 * (u / 0.1) ** 4)
    return pattern.astype(np.float32)


def tilted_pattern(frame: Aperture, generator: np.random.Generator) -> Image:
    """
    Draw two families of stripes along +-30 degrees.

    Parameters
    ----------
    frame : Aperture
    generator : numpy.random.Generator

    Returns
    -------
    pattern : ndarray of float32, shape (ny, nx)
        Mean about 0, standard deviation about 1; the two families are equally strong
        and correlated over some 2 px across the lines.
    """
    diagonal = int(np.hypot(frame.nx, frame.ny)) + 8
    y, x = np.ogrid[: frame.ny, : frame.nx]
    pattern = np.zeros(frame.shape, np.float32)
    for angle in np.deg2rad(TILTED_ANGLES):
        profile = generator.standard_normal(2 * diagonal)
        profile = np.convolve(profile, [0.25, 0.5, 0.25], "same") / np.sqrt(0.375)
        across = y * np.cos(angle) - x * np.sin(angle) + diagonal
        low = across.astype(np.int32)
        part = (across - low).astype(np.float32)
        levels = profile.astype(np.float32)
        pattern += levels[low] * (1 - part) + levels[low + 1] * part
    return pattern * np.float32(np.sqrt(0.5))


def miri_background(
    frame: Aperture, generator: np.random.Generator, time: float
) -> Image:
    """
    Draw the structure of MIRI's background and let it drift.

    A gradient, a glow from one corner and broad bands, each of a few per cent of the
    sky, each swinging in hours (JDox, "MIRI Imaging Known Issues": background steps and
    gradients that change from exposure to exposure).

    Parameters
    ----------
    frame : Aperture
    generator : numpy.random.Generator
        Of the detector: the same for all exposures of a programme.
    time : float
        Seconds since the programme began.

    Returns
    -------
    pattern : ndarray of float32, shape (ny, nx)
        Fraction of the sky's level; zero for other instruments.
    """
    if frame.instrument != "MIRI":
        return np.zeros(frame.shape, np.float32)
    x, y = _grid(frame)
    shapes = (
        (0.03, x - 0.5 + 0.4 * (y - 0.5)),
        (0.05, np.exp(-((x - 1) ** 2 + y**2) / 0.18)),
        (0.015, np.sin(2 * np.pi * (2.5 * y + 0.3 * x))),
    )
    pattern = np.zeros(frame.shape, np.float32)
    for level, shape in shapes:
        period, phase = generator.uniform(3e3, 2e4), generator.uniform(0, 2 * np.pi)
        swing = 1 + 0.4 * np.sin(2 * np.pi * time / period + phase)
        pattern += (level * swing * shape).astype(np.float32)
    return pattern
