"""
Faint light around large sources, beyond what a source mask reaches.

Averaged over a row of the detector, the outskirts of one big galaxy weigh as much as
the noise of the readout. Outside the mask they fade smoothly with distance, and the
mask's edge lies at about the same brightness all around, so that a few shapes made from
the mask alone describe them; their brightness is fitted with the rest of the frame.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from webbmosaic.science.arrays import FloatArray
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
SCALES = (0.25, 0.6)
"""Lengths over which halos fade, in radii of the source's mask."""


def halo_shapes(sources: Mask) -> FloatArray:
    """
    Shape the halos of the large sources of a mask.

    Parameters
    ----------
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        `True` on sources.

    Returns
    -------
    halos : 3-D float32 `~numpy.ndarray`, shape (number, rows, columns)
        Exponentials of the distance from each large source, 1 on it, on a coarse grid
        over the frame: two for each source.
    """
    coarse = sources[STEP // 2 :: STEP, STEP // 2 :: STEP]
    if not coarse.size:
        return np.zeros((0, 1, 1), np.float32)
    deep = ndimage.distance_transform_edt(np.pad(coarse, 1, mode="edge"))
    cores = deep[1:-1, 1:-1] >= CORE / STEP
    regions, count = ndimage.label(_reached(cores, CORE / STEP) & coarse)
    areas = ndimage.sum_labels(coarse, regions, np.arange(1, count + 1))
    shapes = []
    order = np.argsort(areas)[::-1]
    order = order[areas[order] < LARGEST * coarse.size]
    for number in order[:MOST]:
        distance = ndimage.distance_transform_edt(regions != number + 1)
        radius = np.sqrt(areas[number] / np.pi)
        shapes += [np.exp(-distance / (scale * radius)) for scale in SCALES]
    share = max(1, max(coarse.shape) // GRID)
    if any(n % share for n in coarse.shape):
        share = 1
    rows, cols = (n // share for n in coarse.shape)
    halos = np.array(shapes, np.float32).reshape(-1, rows, share, cols, share)
    return np.asarray(halos.mean(axis=(2, 4)))


def _reached(cores: Mask, radius: float) -> Mask:
    """What lies within a radius of the cores."""
    if not cores.any():
        return cores
    return np.asarray(ndimage.distance_transform_edt(~cores) <= radius)
