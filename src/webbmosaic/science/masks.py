"""Areas of a detector as regions and as masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from webbmosaic.science.arrays import AnyFloats, BoolArray

__all__ = ["outlines", "rasterise"]


def rasterise(regions: Iterable[Any], shape: tuple[int, int]) -> BoolArray:
    """
    Turn regions into a mask.

    Parameters
    ----------
    regions : iterable of `~regions.PixelRegion`
        Positions are 0-based. A region with ``meta["include"]`` `False` (a minus sign
        in DS9) takes its area out of all others.
    shape : tuple of int
        Rows and columns of the mask.

    Returns
    -------
    mask : 2D bool `~numpy.ndarray`
        `True` for the pixels whose centre is in a region.
    """
    mask, holes = np.zeros(shape, bool), np.zeros(shape, bool)
    for region in regions:
        target = mask if region.meta.get("include", True) else holes
        _add(region, target)
    return mask & ~holes


def _add(region: Any, mask: BoolArray) -> None:
    """Add a region to a mask; only what is on the frame is looked at."""
    from regions import PixCoord, PolygonPixelRegion

    box = region.bounding_box
    rows, columns = (
        slice(max(low, 0), max(min(high, size), 0))
        for low, high, size in zip(
            (box.iymin, box.ixmin), (box.iymax, box.ixmax), mask.shape, strict=True
        )
    )
    if not mask[rows, columns].size:
        return
    if isinstance(region, PolygonPixelRegion):
        inside = _filled(region.vertices.x, region.vertices.y, rows, columns)
    elif box.shape[0] * box.shape[1] < 4 * mask.size:
        y, x = rows.start - box.iymin, columns.start - box.ixmin
        whole = region.to_mask(mode="center").data > 0
        inside = whole[y:, x:][: rows.stop - rows.start, : columns.stop - columns.start]
    else:
        y, x = np.mgrid[rows, columns]
        inside = region.contains(PixCoord(x, y))
    mask[rows, columns] |= inside


def _filled(x: AnyFloats, y: AnyFloats, rows: slice, columns: slice) -> BoolArray:
    """Fill a polygon row by row: inside and outside alternate at its edges."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    turns = np.zeros((height, width + 1), np.uint8)
    x, y = x - columns.start, y - rows.start
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        first, last = sorted(np.clip(np.ceil([y0, y1]), 0, height).astype(int))
        row = np.arange(first, last)
        if row.size:
            at = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
            turns[row, np.clip(np.ceil(at), 0, width).astype(int)] ^= 1
    return np.bitwise_xor.accumulate(turns[:, :-1], axis=1) > 0


def outlines(
    mask: BoolArray, *, simplify: float = 2.0
) -> list[npt.NDArray[np.float64]]:
    """
    Draw polygons round the areas of a mask.

    Parameters
    ----------
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
    simplify : float, optional
        How far a corner may be from the true outline, in pixels.

    Returns
    -------
    polygons : list of float `~numpy.ndarray`, shape (n, 2)
        Corners as 0-based x and y, one array per area; holes are not drawn.
    """
    from contourpy import contour_generator

    filled = ndimage.binary_fill_holes(mask)
    ny, nx = mask.shape
    room = np.pad(filled.astype(np.float64), 1)
    x, y = np.arange(-1, nx + 1), np.arange(-1, ny + 1)
    lines = contour_generator(x=x, y=y, z=room).lines(0.5)
    return [_simplified(np.asarray(line), simplify) for line in lines]


def _simplified(line: npt.NDArray[np.float64], far: float) -> npt.NDArray[np.float64]:
    """Leave out corners (Ramer 1972; Douglas & Peucker 1973), half of the ring each."""
    half = len(line) // 2
    keep = np.zeros(len(line), bool)
    keep[[0, half, -1]] = True
    stack = [(0, half), (half, len(line) - 1)]
    while stack:
        start, stop = stack.pop()
        along = line[stop] - line[start]
        apart = line[start + 1 : stop] - line[start]
        if not len(apart):
            continue
        length = np.hypot(*along)
        across = np.abs(apart[:, 0] * along[1] - apart[:, 1] * along[0])
        distance = across / length if length > 0 else np.hypot(*apart.T)
        corner = int(np.argmax(distance))
        if distance[corner] > far:
            middle = start + 1 + corner
            keep[middle] = True
            stack += [(start, middle), (middle, stop)]
    return line[keep][:-1]
