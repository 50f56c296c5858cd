"""Areas of a detector that hold something else than the sky: drawn, or found.

Claws, dragon's breath and other stray light stay at one place of the detector while
the sky moves with the dithers; that is how they are found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.sources import source_mask

__all__ = ["FixedResiduals", "find_fixed_residuals", "outlines", "rasterise"]


_BIN = 8
_MAD_TO_SIGMA = 1.4826


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
        piece = region.to_mask(mode="center")
        large, small = piece.get_overlap_slices(shape)
        if large is not None:
            target = mask if region.meta.get("include", True) else holes
            target[large] |= piece.data[small] > 0
    return mask & ~holes


@dataclass(frozen=True)
class FixedResiduals:
    """
    What stays at one place of a detector while the sky dithers.

    Attributes
    ----------
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
        `True` where something was found.
    level : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Its median brightness over the frames, smooth, in the unit of the frames.
    significance : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        The same in units of its noise.
    """

    mask: BoolArray
    level: FloatArray
    significance: FloatArray


def find_fixed_residuals(
    read: Callable[[int], tuple[FloatArray, BoolArray]],
    count: int,
    *,
    threshold: float = 5.0,
    min_area: int = 1500,
    grow: int = 16,
) -> FixedResiduals:
    """
    Find claws, stray light and bad areas in the dithers of a visit.

    Parameters
    ----------
    read : callable
        Gives frame number ``i``, all of one detector and filter, as a pair of 2D
        arrays of shape (ny, nx): float32 count rates without stripes and wisps, and
        bool, `True` where a pixel may be used.
    count : int
        Number of frames; 3 or more.
    threshold : float, optional
        In units of the noise of the median residual.
    min_area : int, optional
        Smaller areas are left out, in pixels.
    grow : int, optional
        Margin around what is found, in pixels.

    Returns
    -------
    found : FixedResiduals

    Raises
    ------
    ValueError
        With fewer than 3 frames.

    Notes
    -----
    The median of the frames is a first guess of what is fixed; sources are then masked
    in what differs from it, so that fixed light is not taken for a source. A residual
    must show in the median over the masked frames, and with the same sign in seven
    frames out of ten. The frames have to be dithered, else the sky is fixed, too.
    """
    if count < 3:
        msg = f"fixed residuals need 3 exposures or more, not {count}"
        raise ValueError(msg)
    first = np.array([_residual(*read(i), None) for i in range(count)])
    fixed = _enlarged(_smooth(_median(first)), read(0)[0].shape)
    stack = np.array([_residual(*read(i), fixed) for i in range(count)])
    level = _smooth(_median(stack))
    seen = _smooth(np.isfinite(stack).mean(axis=0))
    # Where sources hide the detector in most frames, the median is noisier.
    sure = _significance(level) * np.sqrt(seen) * np.clip(2 * seen - 0.5, 0, 1)
    with_sign = np.where(np.isfinite(stack), np.sign(stack * np.sign(level)), 0)
    agree = _smooth(
        (with_sign > 0).sum(axis=0) / np.maximum(1, np.abs(with_sign).sum(0))
    )
    hit = _hysteresis(np.abs(sure) > threshold, np.abs(sure) > 0.6 * threshold)
    hit &= agree > 0.7
    hit = _large(hit, min_area / _BIN**2)
    hit = ndimage.maximum_filter(hit, 2 * -(-grow // _BIN) + 1) if hit.any() else hit
    shape = fixed.shape
    mask = _enlarged(hit.astype(np.float32), shape) > 0.5
    return FixedResiduals(mask, _enlarged(level, shape), _enlarged(sure, shape))


def _residual(
    data: FloatArray, usable: BoolArray, fixed: FloatArray | None
) -> FloatArray:
    """Means over bins of a frame without sky and sources; NaN where nothing is left."""
    good = usable & np.isfinite(data)
    values = np.where(good, data, 0).astype(np.float32)
    free = good if fixed is None else good & ~source_mask(values - fixed, good)
    means, seen = _means(values, free)
    enough = seen > 0.25
    if not enough.any():
        return np.full(means.shape, np.nan, np.float32)
    sky = _plane(means if fixed is None else means - _means(fixed, free)[0], enough)
    return np.where(enough, means - sky, np.nan).astype(np.float32)


def _plane(means: FloatArray, seen: BoolArray) -> FloatArray:
    """Robust plane: the sky of a frame may have a gradient, fixed light has a shape."""
    y, x = (axis / max(means.shape) for axis in np.indices(means.shape, np.float32))
    design = np.stack([np.ones_like(x), x, y])
    keep = seen
    sky = np.zeros_like(means)
    for _ in range(4):
        if np.count_nonzero(keep) < 8:
            break
        terms = np.linalg.lstsq(design[:, keep].T, means[keep], rcond=None)[0]
        sky = np.tensordot(terms.astype(np.float32), design, axes=1)
        rest = means - sky
        noise = _MAD_TO_SIGMA * np.median(np.abs(rest[keep]))
        keep = seen & (np.abs(rest) < 2.5 * noise)
    return sky


def _means(values: FloatArray, good: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Means of the good pixels of each bin, and their share of it."""
    missing = [(0, -n % _BIN) for n in values.shape]
    seen = np.pad(good, missing).astype(np.float32)
    values = np.pad(np.where(good, values, 0), missing)
    ny, nx = (n // _BIN for n in seen.shape)
    seats = (ny, _BIN, nx, _BIN)
    share = seen.reshape(seats).mean(axis=(1, 3))
    total = values.reshape(seats).mean(axis=(1, 3))
    return total / np.where(share > 0, share, 1), share


def _median(stack: FloatArray) -> FloatArray:
    """Median over the frames; NaN where fewer than 3 have data."""
    ordered = np.sort(stack, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    high = np.minimum(high, np.maximum(count - 1, 0))
    pair = [np.take_along_axis(ordered, k[None], axis=0)[0] for k in (low, high)]
    return np.where(count >= 3, (pair[0] + pair[1]) / 2, np.nan).astype(np.float32)


def _smooth(image: npt.NDArray[np.floating], sigma: float = 1.0) -> FloatArray:
    """Smooth over the bins that have a value; 0 where none is near."""
    seen = np.isfinite(image)
    share = ndimage.gaussian_filter(seen.astype(np.float32), sigma, truncate=3)
    level = np.where(seen, image, 0).astype(np.float32)
    level = ndimage.gaussian_filter(level, sigma, truncate=3)
    return np.where(share > 0.2, level / np.maximum(share, 0.2), 0).astype(np.float32)


def _significance(level: FloatArray) -> FloatArray:
    seen = level != 0
    if not seen.any():
        return np.zeros_like(level)
    middle = np.median(level[seen])
    noise = _MAD_TO_SIGMA * np.median(np.abs(level[seen] - middle))
    return np.where(seen, (level - middle) / max(float(noise), 1e-30), 0).astype(
        np.float32
    )


def _hysteresis(strong: BoolArray, weak: BoolArray) -> BoolArray:
    """Weak areas that touch strong ones."""
    return np.asarray(ndimage.binary_propagation(strong, mask=weak), bool)


def _large(mask: BoolArray, area: float) -> BoolArray:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray((sizes >= area)[labels])


def _enlarged(small: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    large = np.repeat(np.repeat(small, _BIN, axis=0), _BIN, axis=1)
    return np.asarray(large[: shape[0], : shape[1]], np.float32)


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
