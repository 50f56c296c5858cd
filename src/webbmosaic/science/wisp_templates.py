"""Wisp templates from the exposures of a programme.

Wisps stay in place on the detector while the sky dithers, and only change their
brightness: a frame is ``amplitude * template`` plus things that differ from exposure
to exposure. Amplitudes and template are found in turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.sources import DEEP, neighbour_noise, source_mask
from webbmosaic.science.wisp_frames import (
    BIN,
    Blocks,
    bin_frame,
    halve,
    smooth_at_noise,
)
from webbmosaic.science.wisp_lines import PIECES
from webbmosaic.science.wisp_noise import measure_noise, noise_and_sky
from webbmosaic.science.wisps import fit_wisps

__all__ = ["WispTemplate", "build_wisp_template"]

Frame = tuple[FloatArray, BoolArray]

#: A wisp is where the template, smoothed, exceeds this share of its peak.
_FAINTEST = 0.1

#: How far the peak of a template is above its noise over 8 pixels, at least.
_VISIBLE = 5.0

#: Sources of more than _LARGE pixels are grown by this share of their radius.
_LARGE, _GROWTH, _COARSE = 5000, 0.6, 8

_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class WispTemplate:
    """
    The shape of a wisp.

    Attributes
    ----------
    template : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Peak about 1, 0 away from wisps, NaN where there are no data near.
    weight : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Inverse variance of the template before it was smoothed.
    amplitudes : float64 `~numpy.ndarray`, shape (n,)
        Of each exposure, in the unit of its data; 0 where no wisp was found.
    """

    template: FloatArray
    weight: FloatArray
    amplitudes: npt.NDArray[np.float64]


def build_wisp_template(
    read: Callable[[int], Frame], count: int, *, outputs: int = 4, rounds: int = 3
) -> WispTemplate:
    """
    Make a wisp template from exposures of one detector and filter.

    Parameters
    ----------
    read : callable
        Gives frame number ``i`` as a pair of 2D arrays of shape (ny, nx): float32
        flat-fielded count rates that still have their wisps, in DN / s, and bool,
        `True` where a pixel may be used. Called once per round, so that the frames
        need not all be in memory.
    count : int
        Number of frames; 10 or more, dithered, make a good template.
    outputs : int, optional
        Amplifiers along a row.
    rounds : int, optional
        How often amplitudes and template are found in turns.

    Returns
    -------
    template : WispTemplate

    Raises
    ------
    ValueError
        With fewer than 3 frames, or if no frame has a significant wisp.

    Notes
    -----
    The first guess is the median of the frames. Then each frame is fitted, its sources
    are masked and its 1/f noise is subtracted; the template is the mean of all frames
    weighted by their squared amplitudes, without outliers, and is smoothed as far as
    its noise asks for.
    """
    if count < 3:
        msg = f"a wisp template needs 3 exposures or more, not {count}"
        raise ValueError(msg)
    template = _first_guess(read, count)
    weight, amplitudes = np.zeros_like(template), np.zeros(count)
    for _ in range(rounds):
        template, weight, amplitudes = _improved(read, template, outputs, count)
    seen = ndimage.gaussian_filter((weight > 0).astype(np.float32), 4.0, truncate=2)
    template[seen < 0.1] = np.nan
    return WispTemplate(template, weight, amplitudes)


def _first_guess(read: Callable[[int], Frame], count: int) -> FloatArray:
    """Median of the frames on blocks: sources move, wisps stay."""
    stack = []
    for i in range(count):
        data, usable = read(i)
        blocks = halve(_blocks(data, usable & np.isfinite(data)))
        level = np.median(blocks.data[blocks.weight > 0])
        stack.append(np.where(blocks.weight > 0, blocks.data - level, np.nan))
    guess = _nan_median(np.array(stack, np.float32))
    guess = ndimage.gaussian_filter(guess, 1.0)
    return _normalised(_enlarged(guess, 2 * BIN, data.shape))


def _nan_median(stack: FloatArray) -> FloatArray:
    """Median over the frames, 0 where none has data."""
    ordered = np.sort(stack, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    both = [np.take_along_axis(ordered, k[None], axis=0)[0] for k in (low, high)]
    middle = (both[0] + np.where(count > 1, both[1], both[0])) / 2
    return np.asarray(np.nan_to_num(middle), np.float32)


def _blocks(data: FloatArray, good: BoolArray) -> Blocks:
    step = 2 * BIN
    ny, nx = (n // step * step for n in data.shape)
    values = data[:ny, :nx]
    flat = np.ones_like(values)
    return bin_frame(values, flat, [], good[:ny, :nx])


def _improved(
    read: Callable[[int], Frame], template: FloatArray, outputs: int, count: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.float64]]:
    """Fit the template to every frame, then average the frames anew."""
    total, weight = np.zeros_like(template), np.zeros_like(template)
    amplitudes, dark = np.zeros(count), ~_where_bright(template)
    for i in range(count):
        data, usable = read(i)
        good = usable & np.isfinite(data)
        level = np.full_like(data, _scatter(data, good))
        fit = fit_wisps(data, level, [template], usable=good, outputs=outputs)
        if not fit.accepted:
            continue
        factor = np.float32(fit.amplitudes[0])
        amplitudes[i] = factor
        clean, kept, sigma = _cleaned((data, good), factor * template, dark, outputs)
        total += np.where(kept, clean * (factor / sigma**2), 0)
        weight += np.where(kept, factor**2 / sigma**2, 0)
    if not amplitudes.any():
        raise ValueError("no exposure has a significant wisp")
    mean = (total / np.where(weight > 0, weight, 1)).astype(np.float32)
    mean = _without_stripes(mean, weight, outputs)
    _check_visible(mean, weight > 0)
    smooth = smooth_at_noise(mean, weight)
    peak = _peak(smooth)
    return _normalised(smooth), weight * peak**2, amplitudes * peak


def _check_visible(mean: FloatArray, good: BoolArray) -> None:
    """The peak stands out of the noise, else the template is made of noise."""
    smooth = ndimage.gaussian_filter(np.where(good, mean, 0), 8.0, truncate=2)[::4, ::4]
    middle = np.median(smooth)
    noise = _MAD_TO_SIGMA * np.median(np.abs(smooth - middle))
    if np.percentile(smooth, 99.5) - middle < _VISIBLE * noise:
        raise ValueError("no exposure has a significant wisp")


def _where_bright(template: FloatArray) -> BoolArray:
    """The wisp and a margin."""
    smooth = ndimage.gaussian_filter(template[::4, ::4], 3.0, truncate=2)
    wisps = ndimage.binary_dilation(smooth > _FAINTEST * _peak(smooth), iterations=4)
    return _enlarged(wisps.astype(np.float32), 4, template.shape) > 0


def _without_stripes(mean: FloatArray, weight: FloatArray, outputs: int) -> FloatArray:
    """
    Take out what is left of the 1/f noise in the mean of the frames.

    First what can be predicted from where there is no wisp, as on other outputs; then
    the rest, as far as it is sharper than a wisp.
    """
    good = weight > 0
    sky = good & ~_where_bright(mean)
    if np.count_nonzero(sky) > mean.size / 10:
        mean = mean - np.median(mean[sky])
        mean = mean - _stripes(mean, sky, outputs)
    smooth = ndimage.gaussian_filter(mean, 6.0, truncate=2)
    return mean - _stripes(mean - smooth, good, outputs)


def _cleaned(
    frame: Frame, wisp: FloatArray, dark: BoolArray, outputs: int
) -> tuple[FloatArray, BoolArray, np.float32]:
    """Take sky, sources and 1/f noise out of a frame, but not the wisp.

    Sky and 1/f noise are measured where it is dark, else the errors of the template
    would be taken for them and stay in it for ever.
    """
    data, good = frame
    rest = data - wisp
    free = good & ~_with_wings(source_mask(rest, good, options=DEEP))
    sky = free & dark if (free & dark).any() else free
    level = np.median(rest[sky]) if sky.any() else np.float32(0)
    rest = np.where(good, rest - level, 0).astype(np.float32)
    pattern = _stripes(rest, sky, outputs)
    sigma = np.float32(_scatter(rest - pattern, free))
    free &= np.abs(rest - pattern) < 4 * sigma + np.abs(wisp)
    return rest - pattern + wisp, free, sigma


def _with_wings(sources: BoolArray) -> BoolArray:
    """Grow large sources by their own size: their wings would add up in a stack."""
    small = sources[::_COARSE, ::_COARSE]
    labels, count = ndimage.label(small)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    grown = np.zeros_like(small)
    for label in np.flatnonzero(areas * _COARSE**2 > _LARGE):
        reach = _GROWTH * np.sqrt(areas[label] / np.pi)
        grown |= ndimage.distance_transform_edt(labels != label) <= reach
    return sources | (_enlarged(grown.astype(np.float32), _COARSE, sources.shape) > 0)


def _stripes(rest: FloatArray, free: BoolArray, outputs: int) -> FloatArray:
    """Most probable 1/f noise of a frame that holds nothing else but white noise."""
    blocks = halve(_blocks(rest, free))
    width = outputs * PIECES
    columns = blocks.data.shape[1] // width * width
    values, weight = blocks.data[:, :columns], blocks.weight[:, :columns]
    if columns == 0:
        return np.zeros_like(rest)
    sigma = _scatter(values * np.sqrt(weight), weight > 0)
    weight = weight / np.float32(max(sigma, 1e-30) ** 2)
    noise = measure_noise(values, weight, outputs)
    pattern, _ = noise_and_sky(values[None], weight, noise)
    return _enlarged(pattern[0], 2 * BIN, rest.shape)


def _scatter(image: FloatArray, good: BoolArray) -> float:
    """Robust scatter between neighbours, of the white noise alone; never 0."""
    return max(neighbour_noise(image, good), float(np.finfo(np.float32).tiny))


def _enlarged(small: FloatArray, factor: int, shape: tuple[int, int]) -> FloatArray:
    large = np.repeat(np.repeat(small, factor, axis=0), factor, axis=1)
    missing = [(0, max(0, n - m)) for n, m in zip(shape, large.shape, strict=True)]
    large = np.pad(large, missing, mode="edge")[: shape[0], : shape[1]]
    return np.asarray(large, np.float32)


def _peak(template: FloatArray) -> float:
    """Brightness of the brightest permille."""
    return max(float(np.percentile(template[::2, ::2], 99.9)), 1e-30)


def _normalised(template: FloatArray) -> FloatArray:
    return np.asarray(template / np.float32(_peak(template)), np.float32)
