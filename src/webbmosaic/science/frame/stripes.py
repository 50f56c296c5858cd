"""
Stripes: 1/f noise of the readout, offsets of columns, tilted lines of stray light.

One use of the model of a frame: the stripes are subtracted, the smooth light stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d
from threadpoolctl import threadpool_limits

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.frame.fit import (
    COLUMNS,
    LIGHT_ROWS,
    Parts,
    StripeOptions,
    angle_name,
    families,
    take_apart,
)
from webbmosaic.science.frame.model import Levels
from webbmosaic.science.frame.passes import STEP
from webbmosaic.science.frame.powers import ramp
from webbmosaic.science.frame.readout import Readout, make_readout
from webbmosaic.science.sources import Mask, neighbour_noise

Region = tuple[slice, slice]

MIRI_REGIONS: tuple[Region, ...] = (
    (slice(0, 1024), slice(356, 1032)),  # imager
    (slice(746, 1020), slice(7, 281)),  # Lyot coronagraph
    (slice(464, 684), slice(7, 234)),  # four-quadrant phase masks
    (slice(243, 464), slice(7, 234)),
    (slice(21, 243), slice(7, 234)),
)
"""The parts of a full frame of MIRI that see different skies (rows, columns)."""


WORSE = 1.02
"""Growth of the differences of neighbours from which on a pattern does harm."""
MINIMUM_PIXELS = 64
"""Usable pixels without which there is no fit."""
TOLD = (0.05, 0.35)
"""Share of the pixels that tell of stripes, from which on these are subtracted, and at
which they are in full: in a crowd of stars the rest is light."""
SAMPLE = np.s_[::3]
"""Rows whose scatter stands for the frame's: numbers to look at cost time, too."""


@dataclass(frozen=True)
class StripeFit:
    """
    The stripes of a frame.

    Attributes
    ----------
    pattern : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        All stripes together, of zero mean, to be subtracted; unit of the data.
    families : dict of str to 2-D float32 `~numpy.ndarray`
        The same by family: ``readout``, ``columns``, and the tilted angles (``+30``).
    variance : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Variance of the pattern's error, to be added to that of the data.
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        The source mask used, `True` on sources.
    rms_before, rms_after : float
        Scatter of the pixels used, before and after.
    significance : dict of str to float
        For each tilted family, by how many standard deviations it is there.
    numbers : dict of str to float
        What a record of the correction should hold.
    accepted : bool
        Whether there was enough to measure stripes on, and the pattern does no harm. If
        not, it is zero.
    """

    pattern: FloatArray
    families: dict[str, FloatArray]
    variance: FloatArray
    sources: Mask
    rms_before: float
    rms_after: float
    significance: dict[str, float]
    numbers: dict[str, float]
    accepted: bool = True


def fit_stripes(
    data: FloatArray,
    usable: Mask,
    *,
    variance: FloatArray | None = None,
    sources: Mask | None = None,
    readout: Readout | None = None,
    options: StripeOptions | None = None,
) -> StripeFit:
    """
    Measure the stripes of a flat-fielded frame.

    Parameters
    ----------
    data : 2-D float `~numpy.ndarray`, shape (ny, nx)
        Flat-fielded count rates, DN / s (any linear unit).
    usable : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        `False` where the data quality forbids use.
    variance : 2-D float `~numpy.ndarray`, shape (ny, nx), optional
        Variance of the data; noisier pixels count less.
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx), optional
        `True` on sources. Made from the data if not given.
    readout : Readout, optional
        How the frame was read; by default through one output, rows along x.
    options : StripeOptions, optional
        Which stripes are looked for, and how.

    Returns
    -------
    fit : StripeFit
        The pattern to subtract and all about it.

    Raises
    ------
    ValueError
        If the shapes differ, or too few pixels are usable.

    Notes
    -----
    The smooth light stays. A tilted family counts as far as it is significant. Where
    sources cover most of the frame, only stripes narrower than some rows can be told
    from their light.
    """
    options = options or StripeOptions()
    readout = readout or make_readout(data.shape)
    if options.regions:
        return _by_region(data, usable, variance, sources, readout, options)
    if readout.transposed:
        return _transposed(data, usable, variance, sources, readout, options)
    good, values, quality, noise = prepared(data, usable, variance)
    lines = families(data.shape, options)
    # For matrices of some hundred terms, threads cost more than they bring.
    with threadpool_limits(1, "blas"):
        parts = take_apart(
            values, quality, readout, list(lines.values()), options, sources=sources
        )
    fit = _result(parts, list(lines), noise, good)
    return _refused(fit) if _does_harm(fit.pattern, data, good) else fit


def prepared(
    data: FloatArray, usable: Mask, variance: FloatArray | None
) -> tuple[Mask, FloatArray, FloatArray, float]:
    """
    Bring a frame to units of its white noise.

    Parameters
    ----------
    data, usable, variance
        As for `fit_stripes`.

    Returns
    -------
    good : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        Pixels that are usable and finite.
    values, quality : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The frame about its median, and weights up to 1; both 0 where not good.
    noise : float
        White noise of a pixel, unit of ``data``.

    Raises
    ------
    ValueError
        If the shapes differ or too few pixels are usable.
    """
    if data.ndim != 2 or data.shape != usable.shape:
        msg = f"data {data.shape} and usable pixels {usable.shape} differ in shape"
        raise ValueError(msg)
    good = usable & np.isfinite(data)
    if np.count_nonzero(good) < MINIMUM_PIXELS:
        msg = f"only {np.count_nonzero(good)} pixels of the frame are usable"
        raise ValueError(msg)
    noise = neighbour_noise(data, good) or float(np.std(data[good])) or 1.0
    level = np.median(data[good][:: max(1, data.size // 500_000)])
    values = np.where(good, (data - level) / noise, 0).astype(np.float32)
    return good, values, _quality(good, variance), noise


def _quality(good: Mask, variance: FloatArray | None) -> FloatArray:
    """
    Weight of each pixel: less than 1 for those clearly noisier than most.

    Photon noise is estimated from the counts themselves. Weights that followed it
    closely would prefer pixels that are low by chance.
    """
    quality = good.astype(np.float32)
    if variance is None:
        return quality
    known = good & np.isfinite(variance) & (variance > 0)
    if known.any():
        limit = 2 * np.median(variance[known])
        noisy = known & (variance > limit)
        quality[noisy] = limit / variance[noisy]
    return quality


def _result(parts: Parts, names: list[str], noise: float, good: Mask) -> StripeFit:
    """Bring the solution back to the unit of the data."""
    noise *= parts.noise
    told = np.float32(ramp(float(parts.weight.sum()) / good.sum(), TOLD))
    images = _images(parts, names)
    variance = parts.model.image(_errors(parts))
    for image in images.values():
        if parts.full_of_light > 0:  # wider stripes were not measured
            wide = uniform_filter1d(image, 2 * LIGHT_ROWS + 1, axis=0)
            image -= np.float32(parts.full_of_light) * wide
        image -= image.mean(dtype=np.float64)
        image *= noise * told
    variance *= noise**2
    pattern = np.zeros(good.shape, np.float32)
    for image in images.values():
        pattern += image
    used = (good & ~parts.sources)[SAMPLE]
    left = noise * parts.cleaned[SAMPLE]
    before = _scatter((left + pattern[SAMPLE])[used])
    after = _scatter(left[used])
    significance = {
        name: found
        for name, found in zip(names, parts.significance, strict=True)
        if name != COLUMNS
    }
    numbers = {
        "rms_before": before,
        "rms_after": after,
        "noise": noise,
        "masked_fraction": float(parts.sources.mean()),
        "mean_error": float(np.sqrt(variance.mean(dtype=np.float64))),
    }
    numbers |= {
        f"rms_{name}": _scatter(image[SAMPLE]) for name, image in images.items()
    }
    numbers |= {f"significance_{name}": z for name, z in significance.items()}
    return StripeFit(
        *(pattern, images, variance, parts.sources, before, after),
        *(significance, numbers),
    )


def _images(parts: Parts, names: list[str]) -> dict[str, FloatArray]:
    """Paint each family by itself."""
    nothing, levels = parts.model.zero(), parts.levels
    images = {"readout": parts.model.image(replace(nothing, series=levels.series))}
    for f, name in enumerate(names):
        lines = np.zeros_like(levels.lines)
        lines[f] = levels.lines[f]
        images[name] = parts.model.image(replace(nothing, lines=lines))
    return images


def _errors(parts: Parts) -> Levels:
    """
    Variance of the levels' errors.

    For a mode of power P seen with weight w it is P / (1 + w P): that of the Wiener
    filter, with the weight that there is behind a step of an output on the mean, and
    behind each line.
    """
    model, powers, bottom = parts.model, parts.powers, parts.bottom
    errors = model.zero()
    seen = float(bottom.series.sum(dtype=np.float64))
    seen /= len(powers.series) * model.shape[0] * model.stride
    series = powers.series[:, 1:]
    error = np.mean(series / (1 + seen * series))
    # What changes within a step is not followed: 1/f noise has ln(STEP) times the last
    # mode of it.
    errors.series[:] = error + np.mean(series[:, -1]) * np.log(STEP)
    for f, (lines, power) in enumerate(zip(model.families, powers.lines, strict=True)):
        weight = bottom.lines[f, :, : lines.count].sum(axis=0)
        some = np.geomspace(1, max(float(weight.max()), 2), 24)
        error = np.mean(power / (1 + some[:, None] * power), axis=1)
        errors.lines[f, :, : lines.count] = np.interp(weight, some, error)
    return errors


def _does_harm(pattern: FloatArray, data: FloatArray, good: Mask) -> bool:
    """Whether neighbours would differ more than they do."""
    step = max(1, data.size // 500_000)
    for image, stripes, known in (
        (data[::step], pattern[::step], good[::step]),
        (data.T[::step], pattern.T[::step], good.T[::step]),
    ):
        noise = neighbour_noise(image, known)
        if neighbour_noise(image - stripes, known) > WORSE * noise > 0:
            return True
    return False


def _refused(fit: StripeFit) -> StripeFit:
    """Leave the frame as it is."""
    nothing = np.zeros_like(fit.pattern)
    return replace(
        fit,
        pattern=nothing,
        families=dict.fromkeys(fit.families, nothing),
        variance=nothing,
        rms_after=fit.rms_before,
        numbers=fit.numbers | {"rms_after": fit.rms_before},
        accepted=False,
    )


def _scatter(values: FloatArray) -> float:
    return float(np.std(values, dtype=np.float64))


def _transposed(
    data: FloatArray,
    usable: Mask,
    variance: FloatArray | None,
    sources: Mask | None,
    readout: Readout,
    options: StripeOptions,
) -> StripeFit:
    """Fit a frame whose rows run along y, on its transpose."""
    turned = replace(options, angles=tuple(90.0 - angle for angle in options.angles))
    fit = fit_stripes(
        np.ascontiguousarray(data.T),
        np.ascontiguousarray(usable.T),
        variance=None if variance is None else np.ascontiguousarray(variance.T),
        sources=None if sources is None else np.ascontiguousarray(sources.T),
        readout=replace(readout, transposed=False),
        options=turned,
    )
    names = {
        angle_name(new): angle_name(old)
        for new, old in zip(turned.angles, options.angles, strict=True)
    }
    return replace(
        fit,
        pattern=fit.pattern.T,
        families={names.get(k, k): image.T for k, image in fit.families.items()},
        variance=fit.variance.T,
        sources=fit.sources.T,
        significance={names[k]: value for k, value in fit.significance.items()},
    )


def _by_region(
    data: FloatArray,
    usable: Mask,
    variance: FloatArray | None,
    sources: Mask | None,
    readout: Readout,
    options: StripeOptions,
) -> StripeFit:
    """Fit parts of a frame, each by itself."""
    alone = replace(options, regions=())
    fits: list[tuple[Region, StripeFit]] = []
    for region in options.regions:
        if np.count_nonzero(usable[region]) < MINIMUM_PIXELS:
            continue
        along = 0 if readout.transposed else 1
        width = data[region].shape[along]
        fit = fit_stripes(
            data[region],
            usable[region],
            variance=None if variance is None else variance[region],
            sources=None if sources is None else sources[region],
            readout=replace(readout, outputs=(slice(0, width),)),
            options=alone,
        )
        fits.append((region, fit))
    if not fits:
        raise ValueError("no region of the frame has enough usable pixels")
    return _assembled(data.shape, fits)


def _assembled(
    shape: tuple[int, ...], fits: list[tuple[Region, StripeFit]]
) -> StripeFit:
    """Put the fits of regions back into the frame; numbers are medians of theirs."""
    pattern, variance = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    sources = np.zeros(shape, bool)
    first = fits[0][1]
    families = {name: np.zeros(shape, np.float32) for name in first.families}
    for region, fit in fits:
        pattern[region] = fit.pattern
        variance[region] = fit.variance
        sources[region] = fit.sources
        for name, image in families.items():
            image[region] = fit.families[name]
    numbers = {
        key: float(np.median([fit.numbers[key] for _, fit in fits]))
        for key in first.numbers
    }
    significance = {
        name: max(fit.significance[name] for _, fit in fits)
        for name in first.significance
    }
    before, after = numbers["rms_before"], numbers["rms_after"]
    accepted = any(fit.accepted for _, fit in fits)
    return StripeFit(
        *(pattern, families, variance, sources, before, after),
        *(significance, numbers, accepted),
    )
