"""Frames as the wisp fit sees them: binned, without sources, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.smoothing import grown, smoothed

__all__ = [
    "BIN",
    "Blocks",
    "bin_frame",
    "compact_sources",
    "extended_sources",
    "halve",
    "leaked",
    "polynomials",
    "smooth_at_noise",
    "wisp_box",
]

Box = tuple[slice, slice]

BIN = 2
"""Side of the blocks, in pixels: wisps are smooth, and small sources stay separate."""

#: How far from a wisp the local background is measured, in pixels.
_MARGIN = 192

#: A pixel belongs to a wisp where the smoothed template exceeds this share of its peak.
_FAINTEST = 0.05

_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Blocks:
    """
    Part of a frame, in blocks of ``BIN`` x ``BIN`` pixels.

    Attributes
    ----------
    data : float32 `~numpy.ndarray`, shape (my, mx)
        Means of the usable pixels.
    weight : float32 `~numpy.ndarray`, shape (my, mx)
        Inverse variances of the means; 0 where a block has too few usable pixels.
    templates : float32 `~numpy.ndarray`, shape (n, my, mx)
        Means of the templates over the same pixels.
    """

    data: FloatArray
    weight: FloatArray
    templates: FloatArray


def wisp_box(templates: Sequence[npt.NDArray[np.floating]], columns: int) -> Box | None:
    """
    Find the part of a frame that holds the wisps and enough sky around them.

    Parameters
    ----------
    templates : sequence of 2D float `~numpy.ndarray`, shape (ny, nx)
    columns : int
        The box has whole rows, cut to a multiple of this.

    Returns
    -------
    box : tuple of slice or None
        Rows and columns; `None` if the templates are empty.
    """
    coarse = 8
    ny, nx = templates[0].shape
    inside = np.zeros((ny // coarse, nx // coarse), bool)
    for template in templates:
        small = _block_means(np.nan_to_num(np.asarray(template, np.float32)), coarse)
        small = np.abs(ndimage.uniform_filter(small, 3))
        inside |= small > _FAINTEST * np.max(small, initial=0.0)
    rows = np.flatnonzero(inside.any(1))
    if not rows.size:
        return None
    y0, y1 = max(0, rows[0] * coarse - _MARGIN), (rows[-1] + 1) * coarse + _MARGIN
    step = 2 * BIN
    y0, y1 = y0 // step * step, min(ny // step * step, -(-y1 // step) * step)
    return slice(y0, y1), slice(0, nx // columns * columns)


def bin_frame(
    data: npt.NDArray[np.floating],
    err: npt.NDArray[np.floating],
    templates: Sequence[npt.NDArray[np.floating]],
    usable: BoolArray,
) -> Blocks:
    """
    Average a frame and its templates over blocks of pixels.

    Parameters
    ----------
    data, err : 2D float `~numpy.ndarray`, shape (ny, nx)
        Count rates and their errors; sides are multiples of ``BIN``.
    templates : sequence of 2D float `~numpy.ndarray`, shape (ny, nx)
        NaN where not known.
    usable : 2D bool `~numpy.ndarray`, shape (ny, nx)

    Returns
    -------
    blocks : Blocks

    Notes
    -----
    All ordinary pixels have the same weight: their own errors depend on their counts,
    and weighting by them would prefer the ones that came out low.
    """
    good = usable.copy()
    for template in templates:
        good &= np.isfinite(template)
    count = _block_sums(good.astype(np.float32))
    some = np.maximum(count, 1)

    def means(image: npt.NDArray[np.floating]) -> FloatArray:
        sums = _block_sums(np.where(good, image, 0).astype(np.float32))
        return np.asarray(sums / some, np.float32)

    variance = means(np.square(err))
    enough = count > BIN**2 / 2
    typical = np.median(variance[enough]) if enough.any() else 1.0
    noise = np.where(variance > 4 * typical, variance, typical)
    weight = np.where(enough, count / noise, 0).astype(np.float32)
    binned = [means(t) for t in templates]
    shape = (len(binned), *weight.shape)
    return Blocks(means(data), weight, np.asarray(binned, np.float32).reshape(shape))


def _block_sums(image: FloatArray, side: int = BIN) -> FloatArray:
    ny, nx = (n // side * side for n in image.shape)
    rows = image[0:ny:side, :nx].copy()
    for k in range(1, side):
        rows += image[k:ny:side, :nx]
    total = rows[:, 0::side].copy()
    for k in range(1, side):
        total += rows[:, k::side]
    return total


def _block_means(image: FloatArray, side: int) -> FloatArray:
    return _block_sums(image, side) / np.float32(side**2)


def halve(blocks: Blocks) -> Blocks:
    """
    Average blocks by four, giving each its weight.

    Parameters
    ----------
    blocks : Blocks

    Returns
    -------
    coarse : Blocks
        With half the rows and columns.
    """
    weight = _block_sums(blocks.weight, 2)
    some = np.where(weight > 0, weight, 1)
    binned = [_block_sums(t * blocks.weight, 2) / some for t in blocks.templates]
    data = _block_sums(blocks.data * blocks.weight, 2) / some
    return Blocks(data.astype(np.float32), weight, np.asarray(binned, np.float32))


def leaked(light: FloatArray, side: int) -> FloatArray:
    """
    Guess the shapes of the light that leaks out of a mask from what is in it.

    Parameters
    ----------
    light : 2D float32 `~numpy.ndarray`, shape (my, mx)
        0 outside of the mask.
    side : int
        Of the cells, in blocks.

    Returns
    -------
    halos : float32 `~numpy.ndarray`, shape (2, my / side, mx / side)
        Means in cells, smoothed with Gaussians of one and two cells; 1 at most.
    """
    cells = _block_means(_padded(light, side), side)
    halos = [ndimage.gaussian_filter(cells, sigma) for sigma in (1.0, 2.0)]
    return np.array([halo / max(halo.max(), 1e-30) for halo in halos], np.float32)


def polynomials(shape: tuple[int, int], degree: int) -> FloatArray:
    """
    Make the terms of a polynomial in x and y over a frame.

    Parameters
    ----------
    shape : tuple of int
    degree : int
        Highest total degree.

    Returns
    -------
    terms : float32 `~numpy.ndarray`, shape (n, ny, nx)
        Products of Legendre polynomials, the constant first.
    """
    legendre = np.polynomial.legendre.legvander
    y = legendre(np.linspace(-1, 1, shape[0]), degree)
    x = legendre(np.linspace(-1, 1, shape[1]), degree)
    pairs = [(j, i) for j in range(degree + 1) for i in range(degree + 1 - j)]
    return np.array([np.outer(y[:, j], x[:, i]) for j, i in pairs], np.float32)


def compact_sources(signal: FloatArray, good: BoolArray) -> BoolArray:
    """
    Find stars, small galaxies and outliers.

    Parameters
    ----------
    signal : 2D float32 `~numpy.ndarray`, shape (my, mx)
        In units of its noise; wisps and stripes may be there.
    good : 2D bool `~numpy.ndarray`, shape (my, mx)

    Returns
    -------
    sources : 2D bool `~numpy.ndarray`, shape (my, mx)
    """
    flat = np.where(good, signal - _local_median(signal, good), 0)
    found = good & (np.abs(flat) > 4 * _noise(flat, good))
    return found | _detect(flat, good, good & ~found, _COMPACT)


def extended_sources(signal: FloatArray, good: BoolArray) -> BoolArray:
    """
    Find galaxies, wings and outliers, once no wisp is left to be taken for one.

    Parameters
    ----------
    signal : 2D float32 `~numpy.ndarray`, shape (my, mx)
        What is left without sky, wisps and stripes, in units of its noise.
    good : 2D bool `~numpy.ndarray`, shape (my, mx)

    Returns
    -------
    sources : 2D bool `~numpy.ndarray`, shape (my, mx)
    """
    found = good & (np.abs(signal) > 4 * _noise(signal, good))
    return found | _detect(signal, good, good & ~found, _EXTENDED)


#: Kernel (sigma), threshold (sigmas of the smoothed image) and growth, in blocks.
_COMPACT = ((0.8, 3.0, 2), (2.5, 3.0, 4))
_EXTENDED = ((2.0, 3.5, 2), (5.0, 4.5, 4), (12.0, 4.0, 8))


def _detect(
    signal: FloatArray,
    good: BoolArray,
    quiet: BoolArray,
    tiers: Sequence[tuple[float, float, int]],
) -> BoolArray:
    found = np.zeros(good.shape, bool)
    for sigma, threshold, grow in tiers:
        smooth = _smoothed(signal, good, sigma)
        peak = smooth > threshold * _noise(smooth, quiet)
        found |= grown(peak, grow)
    return found


def _smoothed(signal: FloatArray, good: BoolArray, sigma: float) -> FloatArray:
    """Smooth over good blocks, on a coarser grid where the kernel is wide."""
    if sigma < 1:  # three pixels make a Gaussian; holes in it only dim it
        taps = np.exp(-0.5 / sigma**2 * np.array([1, 0, 1]))
        values = np.where(good, signal, 0).astype(np.float32)
        return np.asarray(smoothed(values, (taps / taps.sum()).astype(np.float32)))
    side = max(1, int(sigma))
    share = _block_means(_padded(good.astype(np.float32), side), side)
    small = _block_means(_padded(np.where(good, signal, 0), side), side)
    for image in (small, share):
        ndimage.gaussian_filter(image, sigma / side, output=image, truncate=3)
    small /= np.maximum(share, 0.2)
    large = np.repeat(np.repeat(small, side, axis=0), side, axis=1)
    return large[: signal.shape[0], : signal.shape[1]]


def _padded(image: FloatArray, side: int) -> FloatArray:
    ny, nx = image.shape
    return np.pad(image, ((0, -ny % side), (0, -nx % side)), mode="edge")


def _local_median(signal: FloatArray, good: BoolArray, box: int = 32) -> FloatArray:
    """Medians of boxes, repeated over their blocks; every fourth block will do."""
    values = _padded(np.where(good, signal, np.nan).astype(np.float32), box)
    ny, nx = values.shape[0] // box, values.shape[1] // box
    some = values[::2, ::2].reshape(ny, box // 2, nx, box // 2)
    boxes = some.swapaxes(1, 2).reshape(ny, nx, -1)
    boxes = np.sort(boxes, axis=2)  # NaN last
    half = np.isfinite(boxes).sum(axis=2, keepdims=True) // 2
    medians = np.nan_to_num(np.take_along_axis(boxes, half, axis=2)[..., 0])
    full = np.repeat(np.repeat(medians, box, axis=0), box, axis=1)
    return full[: signal.shape[0], : signal.shape[1]]


def _noise(signal: FloatArray, good: BoolArray) -> float:
    """Robust scatter of the lower half, which sources do not reach."""
    values = signal.ravel()[:: max(1, signal.size // 50_000)]
    values = values[good.ravel()[:: max(1, signal.size // 50_000)]]
    if values.size < 16:
        return np.inf
    middle = np.median(values)
    return float(_MAD_TO_SIGMA * np.median(middle - values[values <= middle]))


def smooth_at_noise(image: FloatArray, weight: FloatArray) -> FloatArray:
    """
    Smooth an image where, and as far as, its noise hides what it shows.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
    weight : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Inverse variances; 0 where there are no data.

    Returns
    -------
    smooth : 2D float32 `~numpy.ndarray`, shape (ny, nx)

    Notes
    -----
    The image is split into bands between Gaussians of 1, 2, 4, ... pixels; each is
    multiplied by the share of its local power that is not noise (a Wiener filter). The
    noise in each band follows from the weights and the kernels, and is no less than the
    power in the emptiest quarter of the frame: of noise that is not white.
    """
    good = (weight > 0).astype(np.float32)
    variance = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), 0)
    variance = _blur(variance.astype(np.float32), 8.0)
    last = np.where(weight > 0, image, 0).astype(np.float32)
    total, narrow = np.zeros_like(last), 0.0
    for wide in (1.0, 2.0, 4.0, 8.0, 16.0):
        share = np.maximum(_blur(good, wide), 0.1)
        level = _blur(np.where(weight > 0, image, 0).astype(np.float32), wide) / share
        band = np.where(weight > 0, last - level, 0) if narrow == 0 else last - level
        power = _blur(np.square(band), 3 * wide)
        noise = np.maximum(variance * np.float32(_band_noise(narrow, wide)), 1e-30)
        # A quarter of a frame or more is empty: its power is noise, white or not.
        empty = np.percentile((power / noise)[weight > 0], 25) if good.any() else 1.0
        noise *= max(1.0, float(empty) / _QUARTER)
        total += band * np.clip(1 - 1.3 * noise / np.maximum(power, 1e-30), 0, 1)
        last, narrow = np.asarray(level, np.float32), wide
    return total + last


#: The lowest quarter of the local power of noise, over its mean.
_QUARTER = 0.85


def _band_noise(narrow: float, wide: float) -> float:
    """Variance of white noise between two Gaussians, for unit variance."""
    both = 1 / (2 * np.pi * (narrow**2 + wide**2))
    below = 1 / (4 * np.pi * narrow**2) if narrow > 0 else 1.0
    return below + 1 / (4 * np.pi * wide**2) - 2 * both


def _blur(image: FloatArray, sigma: float) -> FloatArray:
    """Gaussian smoothing, on a coarser grid where the kernel is wide."""
    side = max(1, int(sigma / 4))
    small = _block_means(_padded(image, side), side)
    small = ndimage.gaussian_filter(small, sigma / side, truncate=3)
    if side == 1:
        return np.asarray(small, np.float32)
    ny, nx = image.shape
    large = ndimage.zoom(small, side, order=1, grid_mode=True, mode="nearest")
    return np.asarray(large[:ny, :nx], np.float32)
