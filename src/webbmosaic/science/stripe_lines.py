"""
Lines of pixels through a frame, and weighted sums along them.

A family of lines has an angle, in degrees from the x axis towards the y axis. Each
pixel belongs to exactly one line of a family; a line holds one pixel per column where
it is flatter than 45 degrees, one per row where it is steeper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]

BLOCKS = 8
"""Parts that every line is cut into; parts far apart share a stripe but no source."""


@dataclass(frozen=True)
class Lines:
    """
    The geometry of one family of lines over a frame.

    Attributes
    ----------
    angle : float
        Direction of the lines in degrees, from the x axis towards the y axis.
    steep : bool
        `False`: the line of pixel (y, x) is ``y + shift[x]``. `True`: ``x + shift[y]``.
    shift : int64 `~numpy.ndarray`, shape (nx,) or (ny,)
        Whole-pixel offsets, smallest line number 0.
    count : int
        Number of lines.
    """

    angle: float
    steep: bool
    shift: npt.NDArray[np.int64]
    count: int


def make_lines(shape: tuple[int, int], angle: float) -> Lines:
    """
    Number the lines of a family.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the frame.
    angle : float
        Degrees from the x axis towards the y axis; 0 follows the rows, 90 the columns.

    Returns
    -------
    lines : Lines
        Geometry for `line_sums` and `subtract_lines`.
    """
    ny, nx = shape
    angle = (angle + 90.0) % 180.0 - 90.0
    steep = abs(angle) > 45.0
    along, across = (ny, nx) if steep else (nx, ny)
    slope = np.tan(np.radians(90.0 - angle if steep else angle))
    shift = -np.rint(np.arange(along) * slope).astype(np.int64)
    shift -= shift.min()
    return Lines(angle, bool(steep), shift, int(across + shift.max()))


@numba.njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _flat_sums(data, weight, shift, top, bottom):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    blocks = top.shape[0]
    for y in range(ny):
        for b in range(blocks):
            for x in range(b * nx // blocks, (b + 1) * nx // blocks):
                line = y + shift[x]
                top[b, line] += weight[y, x] * data[y, x]
                bottom[b, line] += weight[y, x]


@numba.njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _steep_sums(data, weight, shift, top, bottom):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    blocks = top.shape[0]
    for b in range(blocks):
        for y in range(b * ny // blocks, (b + 1) * ny // blocks):
            for x in range(nx):
                line = x + shift[y]
                top[b, line] += weight[y, x] * data[y, x]
                bottom[b, line] += weight[y, x]


@numba.njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _flat_subtract(data, profile, shift):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            data[y, x] -= profile[y + shift[x]]


@numba.njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _steep_subtract(data, profile, shift):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            data[y, x] -= profile[x + shift[y]]


def line_sums(
    data: FloatArray, weight: FloatArray, lines: Lines
) -> tuple[FloatArray, FloatArray]:
    """
    Sum a frame along the lines of a family.

    Parameters
    ----------
    data, weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Finite values, and their weights; a pixel of weight 0 counts for nothing.
    lines : Lines
        The family.

    Returns
    -------
    top, bottom : float32 `~numpy.ndarray`, shape (`BLOCKS`, lines.count)
        Sums of ``weight * data`` and of ``weight``, for each part of each line.
    """
    top = np.zeros((BLOCKS, lines.count), np.float32)
    bottom = np.zeros_like(top)
    sums = _steep_sums if lines.steep else _flat_sums
    sums(data, weight, lines.shift, top, bottom)
    return top, bottom


def subtract_lines(data: FloatArray, profile: FloatArray, lines: Lines) -> None:
    """
    Subtract one level per line from a frame, in place.

    Parameters
    ----------
    data : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The frame, changed.
    profile : 1-D `~numpy.ndarray`, shape (lines.count,)
        Level of each line, unit of ``data``.
    lines : Lines
        The family.
    """
    subtract = _steep_subtract if lines.steep else _flat_subtract
    subtract(data, profile.astype(np.float32), lines.shift)


def line_image(shape: tuple[int, int], profile: FloatArray, lines: Lines) -> FloatArray:
    """
    Paint the level of every line.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the frame.
    profile : 1-D `~numpy.ndarray`, shape (lines.count,)
        Level of each line.
    lines : Lines
        The family.

    Returns
    -------
    image : 2-D float32 `~numpy.ndarray`, shape ``shape``
        ``profile`` at the line of every pixel.
    """
    image = np.zeros(shape, np.float32)
    subtract_lines(image, -profile, lines)
    return image


@dataclass(frozen=True)
class LineLevels:
    """
    Levels of the lines of a family.

    Attributes
    ----------
    profile : 1-D float64 `~numpy.ndarray`, shape (lines.count,)
        Level of each line, shrunk by its uncertainty, of zero mean.
    error : 1-D float64 `~numpy.ndarray`, shape (lines.count,)
        Variance of the levels' error.
    scatter : float
        Standard deviation of the stripes.
    significance : float
        Standard deviations by which that differs from none.
    """

    profile: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    scatter: float
    significance: float


def line_levels(
    data: FloatArray,
    weight: FloatArray,
    lines: Lines,
    previous: npt.NDArray[np.float64],
    *,
    threshold: float = 0.0,
) -> LineLevels:
    """
    Measure the levels of lines that run through the whole frame.

    Parameters
    ----------
    data, weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Residuals without the previous levels, in units of the white noise, and weights
        between 0 and 1.
    lines : Lines
        The family.
    previous : 1-D float64 `~numpy.ndarray`, shape (lines.count,)
        Levels already subtracted.
    threshold : float
        The levels are zero unless the stripes are found with this significance.

    Returns
    -------
    levels : LineLevels
        The levels, those already subtracted included.

    Notes
    -----
    Stripes run through the whole frame, sky and sources do not. So the variance of the
    stripes is the mean product of the levels of parts of the same line that lie apart
    (not the same part nor neighbours), and the significance is the sum of these
    products over its own scatter, line by line. Structure of more than
    `SMOOTH` lines across is taken out of each part first.
    """
    top, bottom = line_sums(data, weight, lines)
    top = top + bottom * previous
    product, pairs = _products(top, bottom)
    used = pairs > 0
    spread = np.sqrt(np.sum(product**2))
    variance = max(np.sum(product) / max(np.sum(pairs), 1e-30), 0.0)
    significance = float(np.sum(product) / spread) if spread > 0 else 0.0
    if variance == 0 or significance < threshold:
        nothing = np.zeros(lines.count)
        return LineLevels(nothing, nothing, 0.0, significance)
    number = bottom.sum(axis=0, dtype=np.float64)
    mean = _smooth_removed(top.sum(axis=0), number)
    error = np.where(used, variance / (1 + variance * number), variance)
    profile = np.where(used, mean * error, 0.0)
    return LineLevels(profile, error, float(np.sqrt(variance)), significance)


SMOOTH = 129
"""Lines: wider structure across the lines is sky and left alone."""


def _smooth_removed(
    top: npt.NDArray[np.float64], bottom: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Take the running weighted mean over `SMOOTH` lines out of weighted sums."""
    around = ndimage.uniform_filter1d(top, SMOOTH, axis=-1, mode="constant")
    number = ndimage.uniform_filter1d(bottom, SMOOTH, axis=-1, mode="constant")
    return np.asarray(top - bottom * around / np.maximum(number, 1e-6))


def _products(
    top: npt.NDArray[np.float64], bottom: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum, for each line, the products of its parts that are not neighbours."""
    bottom = bottom.astype(np.float64)
    top = _smooth_removed(top, bottom)
    product, pairs = np.zeros(top.shape[1]), np.zeros(top.shape[1])
    for first in range(BLOCKS):
        for second in range(first + 2, BLOCKS):
            product += top[first] * top[second]
            pairs += bottom[first] * bottom[second]
    return product, pairs
