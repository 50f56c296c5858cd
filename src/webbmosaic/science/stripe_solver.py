"""
The joint solution of all stripes of a frame: mask, fit, mask anew.

Everything here is in units of the white noise of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.halos import outskirts
from webbmosaic.science.readout_noise import (
    Readout,
    as_streams,
    refine_streams,
    row_noise,
    stream_image,
)
from webbmosaic.science.slow_sky import slow_sky
from webbmosaic.science.sources import (
    DEEP,
    Mask,
    MaskOptions,
    neighbour_noise,
    source_mask,
)
from webbmosaic.science.stripe_lines import (
    LineLevels,
    Lines,
    line_levels,
    make_lines,
    subtract_lines,
)
from webbmosaic.science.stripe_masks import FULL_OF_LIGHT, without_bright_stripes

MINIMUM_PIXELS = 64
"""Usable pixels without which there is no fit."""
BROAD_ROWS = 65
"""Rows over which a single output stands out because of a galaxy and not of noise."""
QUANTILE = 0.35
"""Of a row's pixels: its level for the first source mask, less than half in sources."""
COLUMNS = "columns"
"""Name of the family of columns."""
TILTED_PARTS = 3
"""Tilted lines per pixel across."""
LIGHT_ROWS = 15
"""Rows over which a frame full of light is taken as smooth."""


STRIPE_MASK = replace(DEEP, most_noise=6.0)
"""Stripes that are not yet corrected stay below the limit of the noise."""

Region = tuple[slice, slice]


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
    regions : tuple of pairs of slice
        Parts of the frame (rows, columns) that are fitted each by itself, through one
        output each, with no stripes elsewhere; by default the whole frame is one. See
        `MIRI_REGIONS`.
    """

    rows: bool = True
    stream: bool = True
    columns: bool = True
    angles: tuple[float, ...] = ()
    significance: float = 5.0
    sweeps: tuple[int, ...] = (1, 1, 2)
    clip: float = 3.5
    mask: MaskOptions = STRIPE_MASK
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class Frame:
    """A frame in units of its white noise, and what is to be done with it."""

    values: FloatArray  # 0 where not good
    good: Mask
    quality: FloatArray  # weight of each pixel, at most 1
    noise: float
    readout: Readout
    lines: dict[str, Lines]
    options: StripeOptions
    full_of_light: bool = False


@dataclass
class State:
    """The parts of the model so far, and what they leave."""

    residual: FloatArray
    sky: FloatArray
    streams: FloatArray
    error: float
    levels: dict[str, LineLevels]


def prepare(
    data: FloatArray,
    usable: Mask,
    variance: FloatArray | None,
    readout: Readout,
    options: StripeOptions,
) -> Frame:
    """
    Bring a frame to units of its white noise.

    Parameters
    ----------
    data, usable, variance, readout, options
        As for `webbmosaic.science.stripes.fit_stripes`.

    Returns
    -------
    frame : Frame
        The frame, its weights and lines.

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
    quality = _quality(good, variance)
    return Frame(
        values, good, quality, noise, readout, _families(data.shape, options), options
    )


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


def _families(shape: tuple[int, int], options: StripeOptions) -> dict[str, Lines]:
    """Lines of the columns and of each tilted angle, by name."""
    families = {COLUMNS: make_lines(shape, 90)} if options.columns else {}
    for angle in options.angles:
        families[angle_name(angle)] = make_lines(shape, angle, parts=TILTED_PARTS)
    return families


def solve(frame: Frame, sources: Mask | None) -> tuple[Frame, State, Mask]:
    """
    Mask, fit, mask anew: as often as the options say.

    Parameters
    ----------
    frame : Frame
        The frame.
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx), optional
        The source mask, if it is known.

    Returns
    -------
    frame : Frame
        The frame, without its smooth light where there is no sky.
    state : State
        The parts of the model.
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        The last source mask.
    """
    options = frame.options
    image = _rough(frame)
    clipped = np.abs(image) > 1.5 * options.clip
    levels = {
        name: LineLevels(np.zeros(lines.count), np.zeros(lines.count), 0.0, 0.0)
        for name, lines in frame.lines.items()
    }
    for left, sweeps in zip(
        reversed(range(len(options.sweeps))), options.sweeps, strict=True
    ):
        if sources is None:
            mask = source_mask(image, frame.good, options=options.mask)
            if mask.mean() > FULL_OF_LIGHT and not frame.full_of_light:
                frame = _without_light(frame)
                mask = source_mask(frame.values, frame.good, options=options.mask)
            mask, halos = outskirts(mask)
            blocked = without_bright_stripes(
                image, frame.good, mask | clipped, frame.lines.values()
            )
        else:
            mask, halos = outskirts(sources, growth=0)
            blocked = mask | clipped
        weight = frame.quality * ~blocked
        state = _started(frame, weight, levels, halos)
        for _ in range(sweeps):
            # Rows are good enough to see the sources by, and much faster.
            _sweep(frame, weight, state, stream=left == 0 and options.stream)
        levels = state.levels
        image = state.residual + state.sky
        clipped = np.abs(state.residual) > options.clip
    return frame, state, mask


def _without_light(frame: Frame) -> Frame:
    """
    Take running medians along the columns out of a frame full of light.

    A galaxy that fills the frame hardly changes from row to row, and stripes do: what
    is wider than `LIGHT_ROWS` cannot be told from its light and stays.
    """
    light = ndimage.median_filter(frame.values, size=(LIGHT_ROWS, 1), mode="nearest")
    values = (frame.values - light) * frame.good
    return replace(frame, values=values, full_of_light=True)


def _rough(frame: Frame) -> FloatArray:
    """The frame without the low quantiles of the rows of each output."""
    image = frame.values.copy()
    outputs = frame.readout.outputs
    step = 2 if frame.readout.width >= 256 else 1  # as good, and faster
    rank = int(QUANTILE * (frame.readout.width // step))
    low = [
        np.partition(image[:, part][:, ::step], rank, axis=1)[:, rank]
        for part in outputs
    ]
    for part, level in zip(outputs, _without_galaxies(np.array(low)), strict=True):
        image[:, part] -= (level - np.median(level))[:, None]
    return image


def _without_galaxies(levels: FloatArray) -> FloatArray:
    """Take out of the rows' levels what is high in one output over many rows."""
    lower = np.sort(levels, axis=0)[(len(levels) - 1) // 2]
    excess = levels - lower
    excess -= np.median(excess, axis=1, keepdims=True)
    broad = ndimage.median_filter(excess, (1, BROAD_ROWS), mode="nearest")
    return np.asarray(levels - np.maximum(broad, 0))


def _started(
    frame: Frame,
    weight: FloatArray,
    levels: dict[str, LineLevels],
    halos: FloatArray,
) -> State:
    """Fit the sky and the rows, given the other stripes so far."""
    residual = frame.values.copy()
    for name, lines in frame.lines.items():
        subtract_lines(residual, levels[name].profile, lines)
    tilted = tuple(
        lines.angle
        for name, lines in frame.lines.items()
        if name != COLUMNS and levels[name].scatter > 0
    )
    outputs = len(frame.readout.outputs)
    sky = slow_sky(residual, weight, outputs, halos=halos, angles=tilted)
    residual -= sky
    rows, error = row_noise(residual, weight, frame.readout)
    if not frame.options.rows:
        rows[:] = 0
    streams = as_streams(rows, frame.readout)
    residual -= stream_image(residual.shape, streams, frame.readout)
    return State(residual, sky, streams, error, dict(levels))


def _sweep(frame: Frame, weight: FloatArray, state: State, *, stream: bool) -> None:
    """One round of back-fitting."""
    for name, lines in frame.lines.items():
        threshold = 0.0 if name == COLUMNS else frame.options.significance
        old = state.levels[name].profile
        new = line_levels(state.residual, weight, lines, old, threshold=threshold)
        subtract_lines(state.residual, new.profile - old, lines)
        state.levels[name] = new
    if stream and frame.options.rows:
        state.streams, state.error = refine_streams(
            state.residual, weight, state.streams, frame.readout
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
