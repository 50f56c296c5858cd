"""
Faint light around large sources, beyond what a source mask reaches.

Averaged over a row of the detector, the outskirts of one big galaxy weigh as much as
the noise of the readout. Outside the mask they fade smoothly with distance, and the
mask's edge lies at about the same brightness all around, so that a shape made from
the mask alone describes them; its brightness is fitted with the rest of the frame.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from webbmosaic.science.arrays import FloatArray, Floats
from webbmosaic.science.smoothing import enlarged
from webbmosaic.science.sources import Mask

STEP = 8
"""Pixels between the points at which distances are measured."""
GRID = 64
"""Points along the longer side of the frame at which the shapes are given."""
CORE = 40.0
"""Pixels: a source is large if a circle of this radius fits into its mask."""
LARGEST = 0.2
"""Share of the frame: masks that hold more are crowds and not one source."""
MOST = 6
"""Large sources that get halos, the largest first."""
SCALE = 0.3
"""Length over which halos fade, in radii of the source's mask."""
OUTSKIRTS = 0.3
"""Growth of a large source's mask, in radii of the largest circle that fits into it.

Its light fades in proportion to its size: growing by a number of pixels leaves a ring.
"""


def outskirts(sources: Mask, *, growth: float = OUTSKIRTS) -> tuple[Mask, FloatArray]:
    """
    Grow the large sources of a mask, and shape the halos beyond it.

    Parameters
    ----------
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        `True` on sources.
    growth : float
        As `OUTSKIRTS`; 0 leaves the mask as it is.

    Returns
    -------
    grown : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        The mask with the outskirts of large sources.
    halos : 3-D float32 `~numpy.ndarray`, shape (number, rows, columns)
        Exponential of the distance from each large source, 1 on it, on a coarse grid
        over the frame.
    """
    coarse = sources[STEP // 2 :: STEP, STEP // 2 :: STEP]
    if not coarse.size:
        return sources, np.zeros((0, 1, 1), np.float32)
    deep = ndimage.distance_transform_edt(np.pad(coarse, 1, mode="edge"))[1:-1, 1:-1]
    regions, count = ndimage.label(_reached(deep >= CORE / STEP, CORE / STEP) & coarse)
    numbers = np.arange(1, count + 1)
    areas = ndimage.sum_labels(coarse, regions, numbers)
    depths = ndimage.maximum(deep, regions, numbers)
    near, shapes = np.zeros(coarse.shape, bool), []
    order = np.argsort(areas)[::-1]
    order = order[areas[order] < LARGEST * coarse.size]
    for place, number in enumerate(order):
        distance = ndimage.distance_transform_edt(regions != number + 1)
        source = distance <= growth * depths[number]
        near |= source
        if place < MOST:
            beyond = np.maximum(distance - growth * depths[number], 0)
            radius = np.sqrt(np.count_nonzero(source) / np.pi)
            shapes.append(np.exp(-beyond / (SCALE * radius)))
    grown = sources
    if growth > 0 and near.any():
        grown = sources | enlarged(near, sources.shape, STEP)
    return grown, _on_grid(shapes, coarse.shape)


def _on_grid(shapes: list[Floats], shape: tuple[int, int]) -> FloatArray:
    """Average shapes to a grid of about `GRID` points."""
    share = max(1, max(shape) // GRID)
    if any(n % share for n in shape):
        share = 1
    rows, cols = (n // share for n in shape)
    halos = np.array(shapes, np.float32).reshape(-1, rows, share, cols, share)
    return np.asarray(halos.mean(axis=(2, 4)))


def _reached(cores: Mask, radius: float) -> Mask:
    """What lies within a radius of the cores."""
    if not cores.any():
        return cores
    return np.asarray(ndimage.distance_transform_edt(~cores) <= radius)
