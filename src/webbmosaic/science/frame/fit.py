"""
A frame taken apart: mask the sources, learn how large each part is, solve, mask anew.

Everything here is in units of the white noise of a pixel, rows along x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.frame.lines import Lines, make_lines
from webbmosaic.science.frame.model import FrameModel, Latent, Levels, Powers
from webbmosaic.science.frame.passes import NODE
from webbmosaic.science.frame.powers import (
    first_halo,
    first_sky,
    learn,
    learn_light,
    ramp,
    rescaled,
    trusted,
)
from webbmosaic.science.frame.readout import Readout
from webbmosaic.science.sources import (
    DEEP,
    Mask,
    MaskOptions,
    Tier,
    local_background,
    neighbour_noise,
    source_mask,
)

COLUMNS = "columns"
"""Name of the family of columns."""
TILTED_PARTS = 2
"""Tilted lines per pixel across: they do not keep to the steps of the pixels."""
STRIPE_MASK = replace(DEEP, most_noise=6.0)
"""Stripes that are not yet corrected stay below the limit of the noise."""
COMPACT = MaskOptions((Tier(1.2, 3, 2), Tier(3.0, 3.5, 3)), background_box=64)
"""What cannot be a stripe, for the first guess: stars and cores of galaxies."""
FIRST = replace(STRIPE_MASK, tiers=DEEP.tiers[:3])
"""Sources for the first solution: wide bands and bright lines would look like diffuse
light and spikes."""
CROWDED = 0.75
"""Noise between the sources over that of all pixels, below which it is used instead."""
FEW = 6
"""Weight of a piece of a line below which its mean is not looked at."""
SLOW_GUESS = 129
"""Pixels: wider structure is left out of the first guess of the stripes."""
STEEP = 4.0
"""White-noise sigma: where light changes more from row to row it tells nothing."""
BRIGHT = 30.0
"""Light of sources is followed up to this brightness, in units of the noise."""
SPREAD = 4.0
"""Nodes over which what masks leave of a source's light is spread."""
HIDDEN = (0.6, 0.8)
"""Share of a frame in sources from which on narrow stripes are measured on them, too,
and at which they count in full. Up to 0.6 the sky alone does as well or better."""
BRIGHT_SKY = (1.0, 3.0)
"""The same for the variation of the light between the sources, in white-noise sigma:
the sky of a survey field stays below 0.5."""
FREED = 0.15
"""Share of lines that may be bright stripes; where there are more, they are sources."""
LIGHT_ROWS = 15
"""Rows over which the light of sources is smooth: narrower changes are stripes."""


@dataclass(frozen=True)
class StripeOptions:
    """
    Which stripes are looked for, and how.

    Attributes
    ----------
    rows : bool
        Readout noise of each output, in the order of time.
    columns : bool
        Offsets of columns.
    angles : tuple of float
        Families of tilted lines, degrees from the x axis towards the y axis.
    significance : float
        Tilted lines found with this many standard deviations are subtracted in full,
        and not at all below two fifths of it.
    rounds : tuple of int
        Steps of the solver in each round. Each begins with a new source mask; a
        negative number keeps the mask and learns the parts' sizes anew only.
    mask : MaskOptions
        How sources are found, when no mask is given.
    regions : tuple of pairs of slice
        Parts of the frame (rows, columns) that are fitted each by itself, through one
        output each, with no stripes elsewhere; by default the whole frame is one. See
        `webbmosaic.science.frame.MIRI_REGIONS`.
    """

    rows: bool = True
    columns: bool = True
    angles: tuple[float, ...] = ()
    significance: float = 5.0
    rounds: tuple[int, ...] = (8, 8, -10)
    mask: MaskOptions = STRIPE_MASK
    regions: tuple[tuple[slice, slice], ...] = ()


@dataclass(frozen=True)
class Parts:
    """
    The parts of a frame, and what they leave.

    Attributes
    ----------
    model : FrameModel
        The geometry.
    levels : Levels
        Levels of all parts.
    powers : Powers
        How large each part is.
    bottom : Levels
        Sums of the weights.
    weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Weight of each pixel; 0 in sources.
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        The last source mask.
    cleaned : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The frame without stripes, its light left in.
    significance : list of float
        Of each family of lines.
    noise : float
        White noise of a pixel between the sources, unit of the frame that was given;
        everything else here is in units of it.
    full_of_light : float
        0 where there is dark sky; 1 where there is none, and wide stripes were not
        measured.
    """

    model: FrameModel
    levels: Levels
    powers: Powers
    bottom: Levels
    weight: FloatArray
    sources: Mask
    cleaned: FloatArray
    significance: list[float]
    noise: float
    full_of_light: float


def families(shape: tuple[int, int], options: StripeOptions) -> dict[str, Lines]:
    """Lines of the columns and of each tilted angle, by name."""
    found = {COLUMNS: make_lines(shape, 90)} if options.columns else {}
    for angle in options.angles:
        found[angle_name(angle)] = make_lines(shape, angle, parts=TILTED_PARTS)
    return found


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


def take_apart(
    values: FloatArray,
    quality: FloatArray,
    readout: Readout,
    lines: Sequence[Lines],
    options: StripeOptions,
    *,
    sources: Mask | None = None,
) -> Parts:
    """
    Solve for all parts of a frame.

    Parameters
    ----------
    values : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The frame, in units of the white noise of a pixel; 0 where not usable.
    quality : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Weight of each pixel, at most 1; 0 where not usable.
    readout : Readout
        The outputs.
    lines : sequence of Lines
        Columns and tilted lines.
    options : StripeOptions
        How to go about it.
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx), optional
        The source mask, if it is known.

    Returns
    -------
    parts : Parts
        Everything there is to know.
    """
    good = quality > 0
    model = FrameModel(values.shape, readout, lines)
    one = np.ones_like(values)
    cleaned, total, share = values, 1.0, 0.0
    if sources is None:
        compact, total = _compact(values, good)
        values = values / np.float32(total)
        cleaned = values - model.image(_first_guess(model, values, quality, compact))
    sky, halo = first_sky(model), first_halo(model)
    latent: Latent | None = None
    levels = model.zero()
    powers = Powers(np.zeros((1, 1), np.float32), [], sky, halo, halo)
    for place, iterations in enumerate(options.rounds):
        if iterations > 0:
            if sources is None:  # wide stripes would look like diffuse light at first
                finder = options.mask if place > 0 else FIRST
                mask = source_mask(cleaned, good, options=finder)
            else:
                mask = sources
            weight = quality * ~mask
            data = values
            if place > 0:  # judged when the stripes are out
                share = _full_of_light(cleaned, good, mask)
            if share > 0.5:  # what was found with the light in is no good start
                latent, levels = None, model.zero()
            if share > 0:
                data, weight = _with_narrow(values, weight, quality, mask, share)
            bottom = model.sums(one, weight)
            glow = _glow(model, np.where(mask & good, cleaned, 0))
        left = model.sums(data, weight, None if latent is None else levels)
        if latent is not None:
            excess = _excess(model, left, bottom)
            weight = weight / excess
            left, bottom = _scaled(left, excess), _scaled(bottom, excess)
        new, significance = learn(
            model, left, bottom, levels, (sky, halo, glow), options.significance
        )
        if not options.rows:
            new.series[:] = 0
        if latent is not None:
            latent = rescaled(latent, powers, new)
        powers = new
        latent, known = model.solve(
            data, weight, bottom, powers, start=latent, iterations=abs(iterations)
        )
        levels = model.levels(latent, powers)
        sky = learn_light(latent[-2], sky, known[0], ((0.5, 2.9), (2.9, np.inf)))
        halo = learn_light(latent[-1], halo, known[1], ((-1, np.inf),))
        cleaned = values - model.image(stripes_only(levels))
    return Parts(
        *(model, levels, powers, bottom, weight, mask, cleaned),
        *(significance, total, share),
    )


def _excess(model: FrameModel, left: Levels, bottom: Levels) -> np.float32:
    """
    Noise of the means of pieces of rows over that of white noise, at least 1.

    Light of stars too faint to mask is alike in neighbouring pixels: means of many
    pixels are less certain than their number says.
    """
    top, seen = model.row_pieces(left), model.row_pieces(bottom)
    known = seen > FEW
    if not known.any():
        return np.float32(1)
    squares = top[known] ** 2 / seen[known]
    return np.float32(max(1.0, 1.4826**2 * float(np.median(squares))))


def _scaled(levels: Levels, excess: np.float32) -> Levels:
    """Divide sums by the excess of the noise."""
    return Levels(*(table / excess for table in levels.tables))


def stripes_only(levels: Levels) -> Levels:
    """Levels without the smooth light."""
    return replace(levels, light=np.zeros_like(levels.light))


def _compact(values: FloatArray, good: Mask) -> tuple[Mask, float]:
    """Find stars and cores of galaxies, and the noise of the pixels between them."""
    total = 1.0
    for _ in range(4):
        mask = source_mask(values, good, options=COMPACT)
        noise = neighbour_noise(values, good & ~mask) or 1.0
        if noise > CROWDED:
            break
        total *= noise
        values = values / np.float32(noise)
    return mask, total


def _first_guess(
    model: FrameModel, values: FloatArray, quality: FloatArray, compact: Mask
) -> Levels:
    """
    Guess the narrow stripes, to see the sources by.

    A level is the median of the pieces of its line: sources lie on a few of them.
    """
    levels = model.zero()
    one = np.ones_like(values)
    tables = [
        (model.sums(values, weight), model.sums(one, weight))
        for weight in (quality * ~compact, quality)
    ]
    pieces = [model.row_pieces(table) for pair in tables for table in pair]
    for k in range(len(levels.series)):
        rows = [table[k].T for table in pieces]
        levels.series[k] = _narrow(rows, SLOW_GUESS)[:, None]
    for f, lines in enumerate(model.families):
        part = np.s_[f, :, : lines.count]
        sums = [table.lines[part] for pair in tables for table in pair]
        level = _narrow(sums, 2 * SLOW_GUESS * lines.parts + 1)
        levels.lines[part] = level
    return levels


def _narrow(sums: list[FloatArray], slow: int) -> FloatArray:
    """
    Levels of lines without what changes slowly across.

    Lines that are bright nearly all along, on which nothing but sources seems to lie,
    are stripes, if there are but few of them.
    """
    level, whole = _middle(*sums[:2]), _middle(*sums[2:])
    at = np.arange(level.size)
    known = np.isfinite(level)
    lost = ~known & np.isfinite(whole)
    if not known.any():
        return np.zeros(level.size, np.float32)
    filled = np.interp(at, at[known], level[known])
    step = max(1, slow // 64)  # as good as all, and faster
    wide = ndimage.median_filter(filled[::step], max(3, slow // step), mode="nearest")
    if np.count_nonzero(lost) < FREED * np.count_nonzero(np.isfinite(whole)):
        filled[lost] = whole[lost]
    narrow = filled - np.interp(at, at[::step], wide)
    return np.asarray(narrow * trusted(sums[2], sums[3]), np.float32)


def _middle(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Medians of the means of the pieces of lines; NaN where few pieces are seen."""
    means = np.where(bottom > FEW, top / np.maximum(bottom, 1), np.inf)
    number = np.isfinite(means).sum(axis=0)
    ordered = np.sort(means, axis=0)
    at, last = np.arange(means.shape[1]), np.maximum(number - 1, 0)
    pair = ordered[last // 2, at], ordered[np.minimum(number // 2, last), at]
    enough = number >= min(4, len(means))
    return np.where(enough, np.mean(pair, axis=0), np.nan).astype(np.float32)


def _full_of_light(cleaned: FloatArray, good: Mask, mask: Mask) -> float:
    """Say how little dark sky there is: 0 for enough, 1 for none."""
    dark = good & ~mask
    hidden = 1 - float(dark.sum()) / max(float(good.sum()), 1.0)
    some = np.s_[::3, ::3]  # as good as all, and faster
    if not dark[some].any():
        return 1.0
    sky = local_background(cleaned[some], dark[some], box=12)[dark[some]]
    varies = float(np.ptp(np.quantile(sky, (0.16, 0.84)))) / 2
    return max(ramp(hidden, HIDDEN), ramp(varies, BRIGHT_SKY))


def _with_narrow(
    values: FloatArray,
    weight: FloatArray,
    quality: FloatArray,
    mask: Mask,
    share: float,
) -> tuple[FloatArray, FloatArray]:
    """
    Let light of sources tell of narrow stripes, where little sky is left.

    A galaxy that fills the frame hardly changes from row to row, and stripes do: what
    a running median along the columns leaves of it holds them, but nothing wider. The
    less dark sky there is, the more this counts.
    """
    smooth = ndimage.median_filter(values, size=(LIGHT_ROWS, 1), mode="nearest")
    narrow = values - smooth
    compact = source_mask(narrow, quality > 0, options=STRIPE_MASK)
    inside = mask & ~compact & (np.abs(narrow) < STEEP)
    weight = np.where(inside, np.float32(share) * quality, weight * ~(mask & compact))
    data = np.where(inside, narrow, values - np.float32(share) * smooth)
    return data, weight.astype(np.float32)


def _glow(model: FrameModel, light: FloatArray) -> FloatArray:
    """Light of the sources about each node."""
    tall, wide = model.nodes
    ny, nx = light.shape
    room = ((0, tall * NODE - ny), (0, wide * NODE - nx))
    light = np.pad(np.clip(light, 0, BRIGHT), room)
    means = light.reshape(tall, NODE, wide, NODE).mean(axis=(1, 3))
    return np.asarray(ndimage.gaussian_filter(means, SPREAD), np.float32)
