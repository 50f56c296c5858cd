"""
Cosmic rays, hot pixels and other light that only one exposure has.

Each exposure is compared, pixel by pixel, with what the others see there, allowing for
the sampling of undersampled stars and for what is left of a shift. What stands out is
an outlier: of two exposures only the brighter, of more also what is too faint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from webbmosaic.science.arrays import Floats
from webbmosaic.science.mosaic.frames import Frame, Mapping, Mask, between
from webbmosaic.science.mosaic.prediction import (
    MOST,
    SHARPNESS,
    Prediction,
    Structure,
    predict,
    structure,
)
from webbmosaic.science.mosaic.shifts import Shift, Smooth, residual_shift, smooth

__all__ = ["Neighbour", "Options", "Outliers", "find_outliers", "neighbour"]

_MAD_TO_SIGMA = 1.4826
#: Columns that share the noise of a row: those of one amplifier of a full frame.
_ROW = 512
#: Fewer quiet pixels of a row say nothing about its stripe.
_FEW = 40
#: The threshold that the allowance of `prediction` is made for.
_TYPICAL = 4.25
#: Of the allowance, what is kept in the best sampled filters.
_LEAST_EASED = 0.3


#: Pixels by which a followed target may be off: nothing is measured there.
UNMEASURED = 0.5


@dataclass(frozen=True)
class Options:
    """
    What counts as an outlier.

    Attributes
    ----------
    threshold : float
        In sigma, of a pixel.
    beside : float
        In sigma, of a pixel that touches an outlier.
    sharpness : float
        Allowance for undersampled light, see `prediction`.
    still : bool
        Most sources stand still, so that the shift that is left can be measured on
        them; not where the target moves and is followed.
    """

    threshold: float = 4.25
    beside: float = 3.0
    sharpness: float = SHARPNESS
    still: bool = True


@dataclass(frozen=True)
class Neighbour:
    """An exposure to compare others with; made once, used for many."""

    frame: Frame
    structure: Structure
    smooth: Smooth


@dataclass(frozen=True)
class Outliers:
    """
    What was found in an exposure.

    Attributes
    ----------
    mask : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        The outliers.
    compared : float
        Fraction of the good pixels that other exposures cover.
    rejected : float
        Fraction of those that are outliers.
    noise : float
        Scatter of blank sky about the prediction, in units of the variances' own; the
        threshold is raised by it where it is more than one.
    shifts : tuple of Shift
        What was left between the exposure and each of the others.
    cores : 2-D float `~numpy.ndarray`, shape (n, 2)
        For each source the light above the sky within 3 x 3 pixels (the unit of the
        image times pixels), and the fraction of these pixels that was rejected.
    """

    mask: Mask
    compared: float
    rejected: float
    noise: float
    shifts: tuple[Shift, ...]
    cores: Floats


def neighbour(frame: Frame) -> Neighbour:
    """Prepare an exposure for being compared."""
    return Neighbour(frame, structure(frame), smooth(frame))


def find_outliers(
    one: Neighbour, others: Sequence[Neighbour], options: Options | None = None
) -> Outliers:
    """
    Find what only one exposure has.

    Parameters
    ----------
    one : Neighbour
        The exposure to judge.
    others : sequence of Neighbour
        Exposures of the same sky; of more than `MOST` those that overlap most are used.
    options : Options, optional

    Returns
    -------
    outliers : Outliers
    """
    options = options or Options()
    frame = one.frame
    chosen = _overlapping(frame, others)
    shifts = [
        residual_shift(one.smooth, other.smooth, m)
        if options.still
        else Shift(0.0, 0.0, UNMEASURED)
        for other, m in chosen
    ]
    ready = [
        (other.frame, other.structure, mapping.moved(shift.x, shift.y), shift.error)
        for (other, mapping), shift in zip(chosen, shifts, strict=True)
    ]
    seen = predict(frame, ready, sharpness=options.sharpness)
    known = frame.good & (seen.count > 0)
    significance, noise = _significance(frame, seen, known)
    mask = _rejected(significance, known, seen, options)
    judged = int(known.sum())
    return Outliers(
        mask=mask,
        compared=judged / max(1, int(frame.good.sum())),
        rejected=int(mask.sum()) / max(1, judged),
        noise=noise,
        shifts=tuple(shifts),
        cores=_cores(seen, known, mask),
    )


def _overlapping(
    frame: Frame, others: Sequence[Neighbour]
) -> list[tuple[Neighbour, Mapping]]:
    """Choose those that overlap most, until every part has enough of them."""
    mapped = [(other, between(frame, other.frame)) for other in others]
    covers = [m.overlaps(other.frame.data.shape) for other, m in mapped]
    order = sorted(range(len(others)), key=lambda k: -int(covers[k].sum()))
    chosen: list[tuple[Neighbour, Mapping]] = []
    depth = np.zeros_like(covers[0], int) if covers else np.zeros(0, int)
    for k in order:
        if (covers[k] & (depth < MOST)).any():
            depth += covers[k]
            chosen.append(mapped[k])
    return chosen


def _significance(
    frame: Frame, seen: Prediction, known: Mask
) -> tuple[NDArray[np.float32], float]:
    """Give the difference from the prediction in sigma, and the noise's factor."""
    off = np.where(known, frame.data - seen.value, 0)
    variance = np.where(known, frame.variance + seen.variance, 1)
    sigma = np.sqrt(variance)
    blank = known & (seen.above < sigma) & (seen.below < sigma)
    if blank.any():
        off -= np.median(off[blank])
    for _ in range(2):
        for axis in (1, 0):
            off -= _stripes(off, blank & (np.abs(off) < 3.5 * sigma), axis)
    quiet = (off / sigma)[blank]
    factor = _MAD_TO_SIGMA * float(np.median(np.abs(quiet))) if len(quiet) > 500 else 1
    eased = _eased(frame, off, sigma * max(1.0, factor), seen, known)
    allowed = eased * np.where(off > 0, seen.above, np.hypot(seen.above, seen.below))
    sigma = np.sqrt(variance * max(1.0, factor) ** 2 + allowed**2)
    return (off / sigma).astype(np.float32), factor


def _eased(
    frame: Frame,
    off: NDArray[np.float32],
    sigma: NDArray[np.floating],
    seen: Prediction,
    known: Mask,
) -> float:
    """
    Learn from the stars how much of the allowance this filter needs.

    The allowance is made for the sharpest stars there are. What 90 % of the peaks here
    exceed their prediction by is taken 1.5 times; few stars say little.
    """
    sharp = known & (seen.above > 5 * sigma) & (frame.data > 0)
    highest = ndimage.maximum_filter(np.where(known, frame.data, -np.inf), 3)
    sharp &= frame.data == highest
    ratios = off[sharp] / seen.above[sharp]
    count = len(ratios)
    if count < 3:
        return 1.0
    need = 1.5 * float(np.quantile(ratios, 0.9)) / _TYPICAL
    return 1 - (1 - min(1.0, max(_LEAST_EASED, need))) * count / (count + 10)


def _stripes(off: NDArray[np.float32], blank: Mask, axis: int) -> NDArray[np.float32]:
    """Average the blank pixels of each row (axis 1, by amplifier) or column (0)."""
    width = min(_ROW, off.shape[1]) if axis else 1
    starts = np.arange(0, off.shape[1], width)
    values = np.where(blank, off, 0)
    if axis:
        total = np.add.reduceat(values, starts, axis=1)
        count = np.add.reduceat(blank, starts, axis=1, dtype=int)
    else:
        total, count = values.sum(0, keepdims=True), blank.sum(0, keepdims=True)
    mean = np.where(count >= _FEW, total / np.maximum(count, 1), 0)
    return np.repeat(mean, width, axis=1)[:, : off.shape[1]].astype(np.float32)


def _rejected(
    significance: NDArray[np.float32], known: Mask, seen: Prediction, options: Options
) -> Mask:
    """Apply the thresholds; too faint is only what several others contradict."""
    several = seen.count > 1.5
    size = np.where(several, np.abs(significance), significance)
    high = known & (size > options.threshold)
    near = ndimage.binary_dilation(high, np.ones((3, 3)))
    # Beside a cosmic ray there is more light, not less.
    mask: Mask = high | (near & known & (significance > options.beside))
    return mask


def _cores(seen: Prediction, known: Mask, mask: Mask) -> Floats:
    """Find the sources in the prediction, and how much of each was rejected."""
    above = seen.value - (np.median(seen.value[known]) if known.any() else 0)
    noise = np.sqrt(seen.variance)
    peak = (above > 10 * noise) & known
    peak &= above == ndimage.maximum_filter(above, 5)
    y, x = np.nonzero(peak)
    inside = (
        (y > 0) & (x > 0) & (y < mask.shape[0] - 1) & (x < mask.shape[1] - 1)
    )  # fmt: skip
    y, x = y[inside], x[inside]
    light, share = np.zeros(len(y)), np.zeros(len(y))
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            light += above[y + dy, x + dx]
            share += mask[y + dy, x + dx] / 9
    return np.column_stack([light, share])
