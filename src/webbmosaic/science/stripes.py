"""
Stripes: 1/f noise of the readout, offsets of columns, tilted lines of stray light.

The frame is described as smooth sky + readout noise + column offsets + tilted lines +
white noise, over the pixels without sources. All parts are solved together by
back-fitting; each is shrunk towards zero by the variance that it shows itself
(empirical Bayes), and the source mask is made anew as the stripes go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d
from threadpoolctl import threadpool_limits

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.readout_noise import Readout, make_readout, stream_image
from webbmosaic.science.sources import Mask, neighbour_noise
from webbmosaic.science.stripe_lines import line_image
from webbmosaic.science.stripe_solver import (
    COLUMNS,
    LIGHT_ROWS,
    MINIMUM_PIXELS,
    Frame,
    Region,
    State,
    StripeOptions,
    angle_name,
    prepare,
    solve,
)

__all__ = ["MIRI_REGIONS", "StripeFit", "StripeOptions", "angle_name", "fit_stripes"]

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
HIDDEN = 0.8
"""Share of a frame full of light that its clusters may hide, after all."""
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
    Pedestal and plane gradients, and smooth sky that does not look like readout noise,
    stay. A tilted family is subtracted only if it passes the test of `line_levels`. In
    a frame full of light only stripes narrower than some rows can be told from it.
    """
    options = options or StripeOptions()
    readout = readout or make_readout(data.shape)
    if options.regions:
        return _by_region(data, usable, variance, sources, readout, options)
    if readout.transposed:
        return _transposed(data, usable, variance, sources, readout, options)
    # For matrices of a few hundred terms, threads cost more than they bring.
    with threadpool_limits(1, "blas"):
        frame = prepare(data, usable, variance, readout, options)
        frame, state, mask = solve(frame, sources)
        fit = _result(frame, state, mask)
    hidden = frame.full_of_light and mask.mean() > HIDDEN
    return _refused(fit) if hidden or _does_harm(fit.pattern, data, frame.good) else fit


def _result(frame: Frame, state: State, mask: Mask) -> StripeFit:
    """Bring the solution back to the unit of the data."""
    shape = frame.values.shape
    families = {}
    if frame.options.rows:
        families["readout"] = stream_image(shape, state.streams, frame.readout)
    variance = np.full(shape, state.error, np.float32)
    for name, lines in frame.lines.items():
        families[name] = line_image(shape, state.levels[name].profile, lines)
        variance += line_image(shape, state.levels[name].error, lines)
    for image in families.values():
        if frame.full_of_light:  # wider stripes were not measured
            image -= uniform_filter1d(image, 2 * LIGHT_ROWS + 1, axis=0)
        image -= image.mean(dtype=np.float64)
        image *= frame.noise
    variance *= frame.noise**2
    pattern = np.zeros(shape, np.float32)
    for image in families.values():
        pattern += image
    used = (frame.good & ~mask)[SAMPLE]
    left = frame.noise * (state.residual[SAMPLE] + state.sky[SAMPLE])
    before = _scatter((left + pattern[SAMPLE])[used])
    after = _scatter(left[used])
    significance = {
        name: level.significance
        for name, level in state.levels.items()
        if name != COLUMNS
    }
    numbers = {
        "rms_before": before,
        "rms_after": after,
        "noise": frame.noise,
        "masked_fraction": float(mask.mean()),
        "mean_error": float(np.sqrt(variance.mean(dtype=np.float64))),
    }
    numbers |= {
        f"rms_{name}": _scatter(image[SAMPLE]) for name, image in families.items()
    }
    numbers |= {f"significance_{name}": z for name, z in significance.items()}
    return StripeFit(
        pattern, families, variance, mask, before, after, significance, numbers
    )


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
