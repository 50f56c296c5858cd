"""
Smoothing, binning and growing of images and masks, for finding sources fast.

The wider a kernel, the coarser the image that it works on: means of `BIN` x `BIN`
pixels, and means of those again.
"""

from __future__ import annotations

from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from webbmosaic.science.arrays import FloatArray

Mask = npt.NDArray[np.bool_]
_Value = TypeVar("_Value", bound=np.generic)

BIN = 4
"""Pixels to a side of a bin."""


def blurred(image: FloatArray, sigma: float, angle: float | None) -> FloatArray:
    """Smooth in all directions or in one."""
    if angle is None:
        return _widely_blurred(image, sigma)
    if abs((angle + 90.0) % 180.0 - 90.0) > 45:
        return blurred(image.T, sigma, 90.0 - angle).T
    taps = gaussian_taps(sigma)
    along = np.arange(taps.size) - taps.size // 2
    rise = np.rint(along * np.tan(np.radians(angle))).astype(np.int64)
    return np.asarray(_sheared(np.ascontiguousarray(image), taps, rise))


def _widely_blurred(image: FloatArray, sigma: float) -> FloatArray:
    """Smooth with a Gaussian; a wide one on a smaller image."""
    if sigma < BIN or min(image.shape) < 4 * BIN:
        blurred = ndimage.gaussian_filter(image, sigma, truncate=3, mode="nearest")
        return np.asarray(blurred)
    rows, cols = (-(-n // BIN) for n in image.shape)
    padded = np.pad(
        image,
        ((0, rows * BIN - image.shape[0]), (0, cols * BIN - image.shape[1])),
        mode="edge",
    )
    small = padded.reshape(rows, BIN, cols, BIN).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma / BIN, truncate=3, mode="nearest")
    large = interpolated(small, padded.shape)
    return large[: image.shape[0], : image.shape[1]]


def gaussian_taps(sigma: float) -> FloatArray:
    """Sample a Gaussian kernel out to three sigma."""
    reach = max(1, round(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


def interpolated(mesh: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """
    Interpolate values of boxes linearly to every pixel.

    Parameters
    ----------
    mesh : 2-D float32 `~numpy.ndarray`
        Values at the centres of boxes that share a frame out evenly.
    shape : tuple of int
        Rows and columns of the frame.

    Returns
    -------
    image : 2-D float32 `~numpy.ndarray`, shape ``shape``
        The values, continued linearly at the edges.
    """
    ny, nx = shape
    y = (np.arange(ny) + 0.5) / ny * mesh.shape[0] - 0.5
    x = (np.arange(nx) + 0.5) / nx * mesh.shape[1] - 0.5
    return (_hats(y, mesh.shape[0]) @ mesh @ _hats(x, mesh.shape[1]).T).astype(
        np.float32
    )


def _hats(at: npt.NDArray[np.float64], count: int) -> FloatArray:
    """Weights of linear interpolation between ``count`` nodes, and beyond them."""
    weights = np.zeros((at.size, count), np.float32)
    if count == 1:
        weights[:] = 1
        return weights
    node = np.clip(np.floor(at).astype(np.int64), 0, count - 2)
    place = np.arange(at.size)
    weights[place, node] = 1 - (at - node)
    weights[place, node + 1] = at - node
    return weights


def binned(image: FloatArray, good: Mask) -> tuple[FloatArray, FloatArray]:
    """Means of the good pixels in squares of `BIN` pixels, and their numbers."""
    ny, nx = image.shape
    shape = (-(-ny // BIN), -(-nx // BIN))
    sums, counts = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    _bin_sums(image, good, sums, counts)
    sums /= np.maximum(counts, 1)
    return sums, counts


@numba.njit(cache=True, fastmath=True)
def _bin_sums(image, good, sums, counts):  # type: ignore[no-untyped-def]
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if good[y, x]:
                sums[y // BIN, x // BIN] += image[y, x]
                counts[y // BIN, x // BIN] += 1


@numba.njit(cache=True, fastmath=True)
def smoothed(image, taps):  # type: ignore[no-untyped-def]
    """Convolve with a symmetric separable kernel; zero beyond the edges."""
    ny, nx = image.shape
    reach = taps.size // 2
    out = np.empty_like(image)
    column = np.zeros(nx + 2 * reach, image.dtype)  # one row, summed along y
    for y in range(ny):
        column[:] = 0
        for k in range(taps.size):
            j = y + k - reach
            if 0 <= j < ny:
                tap = taps[k]
                for x in range(nx):
                    column[x + reach] += tap * image[j, x]
        for x in range(nx):
            total = np.float32(0)
            for k in range(taps.size):
                total += taps[k] * column[x + k]
            out[y, x] = total
    return out


@numba.njit(cache=True, fastmath=True)
def _sheared(image, taps, rise):  # type: ignore[no-untyped-def]
    """Convolve along a slanted line; zero beyond the edges."""
    ny, nx = image.shape
    reach = taps.size // 2
    out = np.zeros_like(image)
    for y in range(ny):
        for k in range(taps.size):
            j, d = y + rise[k], k - reach
            if 0 <= j < ny:
                for x in range(max(0, -d), min(nx, nx - d)):
                    out[y, x] += taps[k] * image[j, x + d]
    return out


def grown(mask: Mask, reach: int) -> Mask:
    """Dilate a mask by a square of half side ``reach``."""
    if reach < 1:
        return mask
    rows = _spread(np.ascontiguousarray(mask), reach)
    return np.asarray(_spread(np.ascontiguousarray(rows.T), reach).T)


@numba.njit(cache=True)
def _spread(mask, reach):  # type: ignore[no-untyped-def]
    """Dilate along the rows."""
    ny, nx = mask.shape
    out = np.zeros_like(mask)
    for y in range(ny):
        until = -1
        for x in range(-reach, nx):
            if x + reach < nx and mask[y, x + reach]:
                until = x + 2 * reach
            if x >= 0:
                out[y, x] = x <= until
    return out


def enlarged(
    coarse: npt.NDArray[_Value], shape: tuple[int, ...], side: int = BIN
) -> npt.NDArray[_Value]:
    """Bring an image of bins, or several, back to pixels: each fills its bin."""
    fine = np.repeat(np.repeat(coarse, side, axis=-2), side, axis=-1)
    return np.asarray(fine[..., : shape[0], : shape[1]])
