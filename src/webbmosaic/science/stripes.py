"""
Stripes: 1/f noise of the readout, offsets of columns, tilted lines of stray light.

The frame is described as smooth sky + readout noise + column offsets + tilted lines +
white noise, over the pixels without sources. All parts are solved together by
back-fitting; each is shrunk towards zero by the variance that it shows itself
(empirical Bayes), and the source mask is made anew as the stripes go.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from webbmosaic.science.readout_noise import (
    Readout,
    as_streams,
    make_readout,
    refine_streams,
    row_noise,
    stream_image,
)
from webbmosaic.science.slow_sky import slow_sky
from webbmosaic.science.sources import Mask, MaskOptions, source_mask
from webbmosaic.science.stripe_lines import (
    BLOCKS,
    FloatArray,
    LineLevels,
    Lines,
    line_image,
    line_levels,
    line_sums,
    make_lines,
    subtract_lines,
)

MINIMUM_PIXELS = 64
"""Usable pixels without which there is no fit."""
QUANTILE = 0.35
"""Of a row's pixels: its level for the first source mask, less than half in sources."""


STRIPE_SHARE = 0.8
"""Share of the pixels of nearly every part of a line that only a stripe makes bright."""
MOST_STRIPES = 0.2
"""Share of lines: where more look like bright stripes, the field is crowded."""
TILTED_PARTS = 3
"""Tilted lines per pixel across."""


@dataclass(frozen=True)
class StripeOptions:
    """
    Which stripes are looked for, and how.

    Attributes
    ----------
    rows : bool
        Levels of the rows of each output.
    stream : bool
        Follow the readout noise within the rows too, in the order of time.
    columns : bool
        Offsets of columns.
    angles : tuple of float
        Families of tilted lines, degrees from the x axis towards the y axis.
    significance : float
        Tilted lines are subtracted when found with this many standard deviations.
    sweeps : tuple of int
        Rounds of back-fitting before each new source mask, and after the last.
    clip : float
        Pixels further than this from the model are left out, in white-noise sigma.
    mask : MaskOptions
        How sources are found, when no mask is given.
    """

    rows: bool = True
    stream: bool = True
    columns: bool = True
    angles: tuple[float, ...] = ()
    significance: float = 5.0
    sweeps: tuple[int, ...] = (1, 1, 2)
    clip: float = 3.5
    mask: MaskOptions = field(default_factory=MaskOptions)


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
    """

    pattern: FloatArray
    families: dict[str, FloatArray]
    variance: FloatArray
    sources: Mask
    rms_before: float
    rms_after: float
    significance: dict[str, float]
    numbers: dict[str, float]


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
    stay. A tilted family is subtracted only if it passes the test of `line_levels`.
    """
    options = options or StripeOptions()
    readout = readout or make_readout(data.shape)
    if readout.transposed:
        return _transposed(data, usable, variance, sources, readout, options)
    frame = _prepared(data, usable, variance, readout, options)
    state, mask = _solve(frame, sources)
    return _result(frame, state, mask)


@dataclass(frozen=True)
class _Frame:
    """A frame in units of its white noise, and what is to be done with it."""

    values: FloatArray  # 0 where not good
    good: Mask
    quality: FloatArray  # weight of each pixel, at most 1
    noise: float
    readout: Readout
    lines: dict[str, Lines]
    options: StripeOptions


@dataclass
class _State:
    """The parts of the model so far, and what they leave."""

    residual: FloatArray
    sky: FloatArray
    streams: FloatArray
    error: float
    levels: dict[str, LineLevels]


def _prepared(
    data: FloatArray,
    usable: Mask,
    variance: FloatArray | None,
    readout: Readout,
    options: StripeOptions,
) -> _Frame:
    if data.ndim != 2 or data.shape != usable.shape:
        msg = f"data {data.shape} and usable pixels {usable.shape} differ in shape"
        raise ValueError(msg)
    good = usable & np.isfinite(data)
    if np.count_nonzero(good) < MINIMUM_PIXELS:
        msg = f"only {np.count_nonzero(good)} pixels of the frame are usable"
        raise ValueError(msg)
    noise = _white_noise(data, good)
    level = np.median(data[good])
    values = np.where(good, (data - level) / noise, 0).astype(np.float32)
    quality = good.astype(np.float32)
    if variance is not None:
        typical = np.nanmedian(variance[good])
        relative = np.where(good & (variance > 0), variance / typical, np.inf)
        quality *= np.minimum(1 / relative, 1).astype(np.float32)
    return _Frame(
        values, good, quality, noise, readout, _families(data.shape, options), options
    )


def _families(shape: tuple[int, int], options: StripeOptions) -> dict[str, Lines]:
    """Lines of the columns and of each tilted angle, by name."""
    families = {"columns": make_lines(shape, 90)} if options.columns else {}
    for angle in options.angles:
        families[angle_name(angle)] = make_lines(shape, angle, parts=TILTED_PARTS)
    return families


def _white_noise(data: FloatArray, good: Mask) -> float:
    """Robust noise of a pixel, from differences of neighbours along the rows."""
    pairs = good[:, 1:] & good[:, :-1]
    step = max(1, pairs.size // 500_000)
    chosen = np.flatnonzero(pairs.ravel()[::step]) * step
    row, column = np.divmod(chosen, pairs.shape[1])
    differences = np.abs(data[row, column + 1] - data[row, column])
    noise = 1.4826 * float(np.median(differences)) / np.sqrt(2) if row.size else 0.0
    if noise > 0:
        return noise
    return float(np.std(data[good])) or 1.0


def _solve(frame: _Frame, sources: Mask | None) -> tuple[_State, Mask]:
    """Mask, fit, mask anew: as often as the options say."""
    options = frame.options
    image = _rough(frame)
    clipped = np.abs(image) > 1.5 * options.clip
    levels = {
        name: LineLevels(np.zeros(lines.count), np.zeros(lines.count), 0.0, 0.0)
        for name, lines in frame.lines.items()
    }
    for sweeps in options.sweeps:
        mask = (
            source_mask(image, frame.good, options=options.mask)
            if sources is None
            else sources
        )
        blocked = _without_bright_stripes(frame, mask | clipped)
        weight = frame.quality * ~blocked
        state = _fitted(frame, weight, levels, sweeps)
        levels = state.levels
        image = state.residual + state.sky
        clipped = np.abs(state.residual) > options.clip
    return state, mask


def _without_bright_stripes(frame: _Frame, blocked: Mask) -> Mask:
    """
    Free the lines that are blocked nearly all along.

    A bright pixel on a line of bright pixels is part of a stripe and not of a source:
    a source, even a large one, ends within a few of the parts of a line.
    """
    weight = frame.good.astype(np.float32)
    share = blocked.astype(np.float32)
    freed = blocked
    for lines in frame.lines.values():
        top, bottom = line_sums(share, weight, lines)
        parts = np.where(bottom > 0, top / np.maximum(bottom, 1), np.nan)
        seen = np.isfinite(parts).sum(axis=0)
        full = (parts > STRIPE_SHARE).sum(axis=0)
        stripe = (seen >= BLOCKS // 2) & (full >= seen - 1)
        if stripe.any() and stripe.mean() < MOST_STRIPES:
            freed = freed & (line_image(blocked.shape, 1.0 * stripe, lines) < 0.5)
    return freed


def _rough(frame: _Frame) -> FloatArray:
    """The frame without the low quantiles of the rows of each output."""
    image = frame.values.copy()
    for output in frame.readout.outputs:
        part = image[:, output]
        rank = int(QUANTILE * part.shape[1])
        low = np.partition(part, rank, axis=1)[:, rank]
        part -= (low - np.median(low))[:, None]
    return image


def _fitted(
    frame: _Frame, weight: FloatArray, levels: dict[str, LineLevels], sweeps: int
) -> _State:
    """Back-fit all parts with given weights."""
    residual = frame.values.copy()
    for name, lines in frame.lines.items():
        subtract_lines(residual, levels[name].profile, lines)
    sky = slow_sky(residual, weight, len(frame.readout.outputs))
    residual -= sky
    rows, error = row_noise(residual, weight, frame.readout)
    if not frame.options.rows:
        rows[:] = 0
    streams = as_streams(rows, frame.readout)
    residual -= stream_image(residual.shape, streams, frame.readout)
    state = _State(residual, sky, streams, error, dict(levels))
    for _ in range(sweeps):
        _sweep(frame, weight, state)
    return state


def _sweep(frame: _Frame, weight: FloatArray, state: _State) -> None:
    """One round of back-fitting."""
    for name, lines in frame.lines.items():
        threshold = 0.0 if name == "columns" else frame.options.significance
        old = state.levels[name].profile
        new = line_levels(state.residual, weight, lines, old, threshold=threshold)
        subtract_lines(state.residual, new.profile - old, lines)
        state.levels[name] = new
    if frame.options.rows and frame.options.stream:
        state.streams, state.error = refine_streams(
            state.residual, weight, state.streams, frame.readout
        )


def _result(frame: _Frame, state: _State, mask: Mask) -> StripeFit:
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
        image -= image.mean(dtype=np.float64)
        image *= frame.noise
    variance *= frame.noise**2
    pattern = np.sum(list(families.values()), axis=0, dtype=np.float32)
    used = frame.good & ~mask
    before = frame.noise * float(np.std(frame.values[used], dtype=np.float64))
    left = state.residual[used] + state.sky[used]
    after = frame.noise * float(np.std(left, dtype=np.float64))
    significance = {
        name: level.significance
        for name, level in state.levels.items()
        if name != "columns"
    }
    numbers = {
        "rms_before": before,
        "rms_after": after,
        "noise": frame.noise,
        "masked_fraction": float(mask.mean()),
        "mean_error": float(np.sqrt(variance.mean(dtype=np.float64))),
    }
    numbers |= {f"rms_{name}": float(image.std()) for name, image in families.items()}
    numbers |= {f"significance_{name}": z for name, z in significance.items()}
    return StripeFit(
        pattern, families, variance, mask, before, after, significance, numbers
    )


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


def angle_name(angle: float) -> str:
    """
    Name a family of tilted lines.

    Parameters
    ----------
    angle : float
        Degrees from the x axis towards the y axis.

    Returns
    -------
    name : str
        The angle with its sign, between -90 and +90: ``+30``, ``-30``.
    """
    return f"{(angle + 90.0) % 180.0 - 90.0:+g}"
