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
from scipy import fft, ndimage

from webbmosaic.science.arrays import FloatArray, Floats

BLOCKS = 8
"""Parts that every line is cut into; parts far apart share a stripe but no source."""


SMOOTH = 1025
"""Pixels: structure wider across the lines is sky and left alone."""
REACH = 8
"""Pixels across the lines over which stripes may be alike."""
MINIMUM_SEEN = 8
"""Weight of a part of a line below which its scatter says nothing."""
MINIMUM_LINES = 16
"""Lines seen in parts that lie apart, without which there is nothing to test."""
ROUNDS = 30
"""Of filling in and filtering a profile."""


@dataclass(frozen=True)
class Lines:
    """
    The geometry of one family of lines over a frame.

    Attributes
    ----------
    angle : float
        Direction of the lines in degrees, from the x axis towards the y axis.
    steep : bool
        `False`: the line of pixel (y, x) is ``parts * y + shift[x]``. `True`:
        ``parts * x + shift[y]``.
    parts : int
        Lines per pixel across.
    shift : int64 `~numpy.ndarray`, shape (nx,) or (ny,)
        Whole-pixel offsets, smallest line number 0.
    count : int
        Number of lines.
    """

    angle: float
    steep: bool
    parts: int
    shift: npt.NDArray[np.int64]
    count: int


def make_lines(shape: tuple[int, int], angle: float, *, parts: int = 1) -> Lines:
    """
    Number the lines of a family.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the frame.
    angle : float
        Degrees from the x axis towards the y axis; 0 follows the rows, 90 the columns.
    parts : int
        Lines per pixel across: tilted stripes do not keep to the steps of the pixels.

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
    shift = np.floor(parts * (0.5 - np.arange(along) * slope)).astype(np.int64)
    shift -= shift.min()
    count = parts * (across - 1) + int(shift.max()) + 1
    return Lines(angle, bool(steep), parts, shift, count)


@numba.njit(cache=True, fastmath=True)
def _flat_sums(data, weight, parts, shift, top, bottom):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    blocks = top.shape[0]
    for y in range(ny):
        for b in range(blocks):
            for x in range(b * nx // blocks, (b + 1) * nx // blocks):
                line = parts * y + shift[x]
                top[b, line] += weight[y, x] * data[y, x]
                bottom[b, line] += weight[y, x]


@numba.njit(cache=True, fastmath=True)
def _steep_sums(data, weight, parts, shift, top, bottom):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    blocks = top.shape[0]
    for b in range(blocks):
        for y in range(b * ny // blocks, (b + 1) * ny // blocks):
            for x in range(nx):
                line = parts * x + shift[y]
                top[b, line] += weight[y, x] * data[y, x]
                bottom[b, line] += weight[y, x]


@numba.njit(cache=True, fastmath=True)
def _flat_subtract(data, profile, parts, shift):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            data[y, x] -= profile[parts * y + shift[x]]


@numba.njit(cache=True, fastmath=True)
def _steep_subtract(data, profile, parts, shift):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            data[y, x] -= profile[parts * x + shift[y]]


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
    sums(data, weight, lines.parts, lines.shift, top, bottom)
    return top, bottom


def subtract_lines(data: FloatArray, profile: Floats, lines: Lines) -> None:
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
    subtract(data, profile.astype(np.float32), lines.parts, lines.shift)


def line_image(shape: tuple[int, int], profile: Floats, lines: Lines) -> FloatArray:
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

    profile: Floats
    error: Floats
    scatter: float
    significance: float


def line_levels(
    data: FloatArray,
    weight: FloatArray,
    lines: Lines,
    previous: Floats,
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
    Stripes run through the whole frame, sky and sources do not. So the covariance of
    the stripes, at every distance across the lines, is the mean product of parts of
    lines that lie apart (not the same part nor neighbours). The significance is the
    sum of these products at distance 0 over its own scatter from line to line.
    Structure of more than `SMOOTH` pixels across is sky: it is taken out first. The
    levels are the posterior mean under that covariance.
    """
    top, bottom = (sums.astype(np.float64) for sums in line_sums(data, weight, lines))
    top = _smooth_removed(top + bottom * previous, bottom, SMOOTH * lines.parts)
    covariance, significance = _covariance(top, bottom, REACH * lines.parts)
    if covariance[0] <= 0 or significance < threshold:
        nothing = np.zeros(lines.count)
        return LineLevels(nothing, nothing, 0.0, significance)
    profile, error = _posterior(top.sum(axis=0), bottom.sum(axis=0), covariance)
    return LineLevels(profile, error, float(np.sqrt(covariance[0])), significance)


def line_significance(data: FloatArray, weight: FloatArray, lines: Lines) -> float:
    """
    Test whether a family of stripes is there.

    Parameters
    ----------
    data, weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Residuals and weights.
    lines : Lines
        The family.

    Returns
    -------
    significance : float
        As in `line_levels`.
    """
    top, bottom = (sums.astype(np.float64) for sums in line_sums(data, weight, lines))
    top = _smooth_removed(top, bottom, SMOOTH * lines.parts)
    return _covariance(top, bottom, 1)[1]


def block_means(
    data: FloatArray, weight: FloatArray, size: int
) -> tuple[FloatArray, FloatArray]:
    """
    Average square blocks of pixels.

    Parameters
    ----------
    data, weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Values and weights; what does not fill a block at the far edges is left out.
    size : int
        Pixels to a side.

    Returns
    -------
    means, weights : 2-D float32 `~numpy.ndarray`, shape (ny // size, nx // size)
        Weighted means and summed weights.
    """
    rows, cols = (n // size for n in data.shape)
    cut = (slice(rows * size), slice(cols * size))
    shape = (rows, size, cols, size)
    weights = weight[cut].reshape(shape).sum(axis=(1, 3))
    sums = (weight[cut] * data[cut]).reshape(shape).sum(axis=(1, 3))
    return sums / np.maximum(weights, np.float32(1e-6)), weights


def _smooth_removed(top: Floats, bottom: Floats, size: int) -> Floats:
    """Take the running weighted mean over ``size`` lines out of weighted sums."""
    around = ndimage.uniform_filter1d(top, size, axis=-1, mode="constant")
    number = ndimage.uniform_filter1d(bottom, size, axis=-1, mode="constant")
    return np.asarray(top - bottom * around / np.maximum(number, 1e-6))


def _covariance(top: Floats, bottom: Floats, reach: int) -> tuple[Floats, float]:
    """Covariance of lines up to ``reach`` apart, and the significance of the first."""
    reach = min(reach, top.shape[1])
    pairs, together = _lagged(bottom, reach), _lagged(top, reach)
    covariance = together / np.maximum(pairs, 1e-30)
    seen = bottom > MINIMUM_SEEN
    number = _products(bottom)
    enough = np.count_nonzero(number > MINIMUM_SEEN**2) >= MINIMUM_LINES
    if not (enough and seen.any()):
        return np.zeros(reach), 0.0
    # Each pair is counted twice in the products, hence the factor of 2.
    noise = (1.4826 * np.median(np.abs(top[seen]) / np.sqrt(bottom[seen]))) ** 2
    scatter = noise * np.sqrt(2 * np.sum(number))
    return covariance, float(np.sum(_products(top)) / max(scatter, 1e-30))


def _lagged(parts: Floats, reach: int) -> Floats:
    """Sum over lines of the products of far parts of lines up to ``reach`` apart."""
    whole, near = parts.sum(axis=0), _near(parts)
    count = whole.size
    return np.array(
        [
            whole[: count - lag] @ whole[lag:]
            - np.einsum("bl,bl->", parts[:, : count - lag], near[:, lag:])
            for lag in range(reach)
        ]
    )


def _products(parts: Floats) -> Floats:
    """Products of the parts of each line, but not of the same nor of neighbours."""
    return np.asarray(parts.sum(axis=0) ** 2 - np.sum(parts * _near(parts), axis=0))


def _near(parts: Floats) -> Floats:
    """Sum each part of the lines and its neighbours."""
    near = parts.copy()
    near[1:] += parts[:-1]
    near[:-1] += parts[1:]
    return near


def _posterior(
    top: Floats, bottom: Floats, covariance: Floats
) -> tuple[Floats, Floats]:
    """
    Posterior mean and variance of a stationary profile, given weighted sums.

    Solved by filling in what each line lacks to the best-known one and Wiener
    filtering, again and again.
    """
    count, reach = top.size, covariance.size
    length = fft.next_fast_len(count + reach, real=True)
    kernel = np.zeros(length)
    taper = 0.5 + 0.5 * np.cos(np.pi * np.arange(reach) / reach)
    kernel[:reach] = covariance * taper
    kernel[length - reach + 1 :] = kernel[1:reach][::-1]
    power = np.maximum(fft.rfft(kernel).real, 0)
    noise = 1 / max(bottom.max(), 1e-6)
    gain = power / (power + noise)
    profile = np.zeros(length)
    for _ in range(ROUNDS):
        profile[:count] += (top - bottom * profile[:count]) * noise
        profile = fft.irfft(gain * fft.rfft(profile), length)
    error = np.mean(power * noise / (power + noise)) / np.maximum(bottom * noise, 1e-6)
    return profile[:count], np.minimum(error, covariance[0])
