"""How far two aligned exposures are still apart, from the light in them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from webbmosaic.science.arrays import Floats
from webbmosaic.science.mosaic.frames import Frame, Mapping, Mask

__all__ = ["Shift", "Smooth", "residual_shift", "smooth"]

Image = NDArray[np.float32]

#: Sigma of the Gaussian that takes the sharpest structure out, pixels.
_BLUR = 1.0
#: Slopes from here on count, sigma of the smoothed image's noise.
_SIGNIFICANT = 5.0
#: At most so many pixels are compared.
_MOST_PIXELS = 20_000
#: For the first guess so many are enough, and so many are needed.
_SOME_PIXELS, _FEWEST = 3000, 30
#: What is expected beforehand, pixels: where there is nothing to measure by, it stays
#: at no shift with this error.
_EXPECTED = 0.3
#: How far off the first guess is looked for, along either axis, pixels.
_FARTHEST = 2
#: How well a smoothed image can be interpolated, as an error of position in pixels:
#: keeps the brightest star from deciding alone.
_ALONE = 0.1


@dataclass(frozen=True)
class Shift:
    """
    What is left between two exposures.

    Attributes
    ----------
    x, y : float
        To be added to the coordinates on the other exposure, pixels.
    error : float
        Of either, pixels.
    """

    x: float
    y: float
    error: float


@dataclass(frozen=True)
class Smooth:
    """
    A smoothed exposure and its slopes.

    Attributes
    ----------
    value, dx, dy : 2-D float32 `~numpy.ndarray`
        The image, and its slopes per pixel; NaN where pixels are missing.
    noise : 2-D float32 `~numpy.ndarray`
        Standard deviation of the smoothed image.
    """

    value: Image
    dx: Image
    dy: Image
    noise: Image


def smooth(frame: Frame) -> Smooth:
    """
    Smooth an exposure, so that it can be compared between pixels.

    Parameters
    ----------
    frame : Frame

    Returns
    -------
    smooth : Smooth
    """
    weight = ndimage.gaussian_filter(frame.good.astype(np.float32), _BLUR)
    whole = weight > 0.9
    weight = np.maximum(weight, 0.5)
    data = np.where(frame.good, frame.data, 0)
    value = np.where(whole, ndimage.gaussian_filter(data, _BLUR) / weight, np.nan)
    # The square of a Gaussian is one of sigma / sqrt(2), 1 / (4 pi sigma^2) high.
    variance = np.where(frame.good, frame.variance, 0)
    noise = ndimage.gaussian_filter(variance, _BLUR / np.sqrt(2))
    noise = np.sqrt(noise / (4 * np.pi * _BLUR**2)) / weight
    dy, dx = np.gradient(value)
    return Smooth(value, dx, dy, noise)


def residual_shift(one: Smooth, other: Smooth, mapping: Mapping) -> Shift:
    """
    Measure how far two exposures are apart.

    Bright slopes of both are compared by weighted least squares; what only one of them
    has counts little (Huber's weights).

    Parameters
    ----------
    one, other : Smooth
    mapping : Mapping
        Where the first one's pixels should lie on the other.

    Returns
    -------
    shift : Shift
    """
    y, x = _bright_slopes(one)
    u, v = mapping.at(x.astype(float), y.astype(float))
    move, precision = _guess(one, other, (y, x), (u, v)), np.eye(2) / _EXPECTED**2
    for _ in range(5):
        off, slopes, sigma = _differences(
            one, other, (y, x), (u + move[0], v + move[1])
        )
        if len(off) < 3:
            break
        left = off / sigma
        weight = np.minimum(1, 1.5 / np.maximum(np.abs(left), 1e-9)) / sigma**2
        # What a smoothing over some pixels shares is counted once.
        weight /= 4 * np.pi * _BLUR**2
        normal = (slopes * weight[:, None]).T @ slopes
        precision = normal + np.eye(2) / _EXPECTED**2
        step = np.linalg.solve(
            precision, slopes.T @ (weight * off) - move / _EXPECTED**2
        )
        move = move + step
    error = np.sqrt(np.linalg.inv(precision).trace() / 2)
    if np.hypot(*move) > 2 * _FARTHEST:  # away from the guess: not to be trusted
        return Shift(0.0, 0.0, _EXPECTED)
    return Shift(float(move[0]), float(move[1]), float(error))


def _guess(
    one: Smooth,
    other: Smooth,
    pixels: tuple[NDArray[np.intp], ...],
    places: tuple[Floats, Floats],
) -> Floats:
    """Find the whole number of pixels by which they agree best; zero if in doubt."""
    some = slice(None, None, max(1, len(pixels[0]) // _SOME_PIXELS))
    some_pixels = (pixels[0][some], pixels[1][some])
    steps = sorted(
        itertools.product(range(-_FARTHEST, _FARTHEST + 1), repeat=2),
        key=lambda step: step[0] ** 2 + step[1] ** 2,
    )
    best, least = np.zeros(2), np.inf
    for dx, dy in steps:
        there = (places[0][some] + dx, places[1][some] + dy)
        off, _, sigma = _differences(one, other, some_pixels, there, every=True)
        if len(off) < _FEWEST:
            continue
        cost = float(np.minimum(np.abs(off / sigma), 5).mean())
        if cost < 0.9 * least:
            best, least = np.array([dx, dy], float), cost
    return best


def _bright_slopes(one: Smooth) -> tuple[NDArray[np.intp], ...]:
    """Find the pixels with the most significant slopes."""
    with np.errstate(invalid="ignore"):
        significance = np.hypot(one.dx, one.dy) / one.noise
    bright: Mask = np.nan_to_num(significance) > _SIGNIFICANT
    y, x = np.nonzero(bright)
    if len(y) > _MOST_PIXELS:
        best = np.argpartition(-significance[y, x], _MOST_PIXELS)[:_MOST_PIXELS]
        y, x = y[best], x[best]
    return y, x


def _differences(
    one: Smooth,
    other: Smooth,
    pixels: tuple[NDArray[np.intp], ...],
    places: tuple[Floats, Floats],
    *,
    every: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """Compare both where both have slopes, or everywhere."""
    there = np.array(places[::-1])

    def at(image: Image) -> Floats:
        return np.asarray(
            ndimage.map_coordinates(image, there, order=1, cval=np.nan), float
        )

    off = one.value[pixels] - at(other.value)
    slope_there = np.column_stack([at(other.dx), at(other.dy)])
    slope_here = np.column_stack([one.dx[pixels], one.dy[pixels]])
    length = np.hypot(*slope_there.T)
    noise = np.hypot(one.noise[pixels], at(other.noise))
    with np.errstate(invalid="ignore"):
        both = (
            np.isfinite(off)
            & np.isfinite(noise)
            & (every | (length > 3 * noise / np.sqrt(2)))
        )
    slopes = slope_there
    sigma = np.hypot(noise, _ALONE * np.hypot(*slope_here.T))
    return off[both], slopes[both], sigma[both]
