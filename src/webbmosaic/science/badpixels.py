"""Hot, warm, dead and unstable pixels, from all exposures of a detector.

The sky dithers, a bad pixel stays: it differs from its neighbours in most pointings,
where a star does so in one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from scipy import ndimage

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.sources import DEEP, source_mask

__all__ = ["BadPixels", "find_bad_pixels"]

Frame = tuple[str, FloatArray, FloatArray, BoolArray]

_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class BadPixels:
    """
    Pixels that misbehave in most pointings.

    Attributes
    ----------
    hot, warm, low, unstable : 2D bool `~numpy.ndarray`, shape (ny, nx)
        Mostly far too bright; too bright; too faint; deviating in half of the pointings
        or more, but not alike. No pixel is in two of them.
    pointings : int
        How many pointings took part.
    """

    hot: BoolArray
    warm: BoolArray
    low: BoolArray
    unstable: BoolArray
    pointings: int

    @property
    def any(self) -> BoolArray:
        """All of them."""
        return self.hot | self.warm | self.low | self.unstable


def find_bad_pixels(
    frames: Iterable[Frame],
    *,
    threshold: float = 5.0,
    hot: float = 30.0,
    share: float = 0.6,
    min_pointings: int = 3,
) -> BadPixels:
    """
    Find pixels that differ from their neighbours in most pointings.

    Parameters
    ----------
    frames : iterable of (str, data, err, usable)
        Of each exposure: the name of its pointing, which exposures that look at the
        same sky with the same pixels share (they count once, as their mean); count
        rates and their errors in DN / s, 2D float32 of shape (ny, nx); and a bool
        array, `True` where a pixel may be used. Frames of a pointing follow each other.
    threshold : float, optional
        A pixel deviates if it differs from the median of its neighbourhood of 5x5
        pixels by this many times the noise.
    hot : float, optional
        From this median deviation on, a pixel is called hot instead of warm.
    share : float, optional
        In which part of its pointings, and in 3 at least, a bad pixel deviates, to the
        same side.
    min_pointings : int, optional
        With data in fewer, nothing is said about a pixel.

    Returns
    -------
    bad : BadPixels

    Raises
    ------
    ValueError
        If there is no frame.
    """
    tally: _Tally | None = None
    for deviation, seen in _pointings(frames):
        if tally is None:
            tally = _Tally(deviation.shape)
        tally.add(deviation, seen, threshold, hot)
    if tally is None:
        raise ValueError("find_bad_pixels needs at least one frame")
    return tally.judge(share, min_pointings)


class _Tally:
    """Counts over the pointings, so that no stack need be kept."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.pointings = 0
        self.seen, self.high, self.low, self.far = (
            np.zeros(shape, np.uint16) for _ in range(4)
        )

    def add(
        self, deviation: FloatArray, seen: BoolArray, threshold: float, hot: float
    ) -> None:
        self.pointings += 1
        self.seen += seen
        self.high += seen & (deviation > threshold)
        self.low += seen & (deviation < -threshold)
        self.far += seen & (deviation > hot)

    def judge(self, share: float, min_pointings: int) -> BadPixels:
        known = self.seen >= min_pointings
        # Two pointings may have a star or a cosmic ray each.
        most = np.maximum(np.ceil(share * self.seen), 3)
        half = np.maximum(np.ceil(0.5 * self.seen), 3)
        bright = known & (self.high >= most)
        faint = known & (self.low >= most) & ~bright
        return BadPixels(
            hot=bright & (self.far >= most),
            warm=bright & (self.far < most),
            low=faint,
            unstable=known & (self.high + self.low >= half) & ~bright & ~faint,
            pointings=self.pointings,
        )


def _pointings(frames: Iterable[Frame]) -> Iterable[tuple[FloatArray, BoolArray]]:
    """Average the deviations of the frames of each pointing."""
    for _, members in groupby(frames, key=lambda frame: frame[0]):
        pairs = (_deviation(data, err, usable) for _, data, err, usable in members)
        total, seen = next(pairs)
        count = seen.astype(np.float32)
        for deviation, also in pairs:
            total += deviation
            count += also
        yield (total / np.maximum(count, 1)).astype(np.float32), count > 0


def _deviation(
    data: FloatArray, err: FloatArray, usable: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Difference from the neighbourhood, in units of the noise."""
    seen = usable & np.isfinite(data) & (err > 0)
    if not seen.any():
        return np.zeros(data.shape, np.float32), seen
    filled = np.where(seen, data, np.median(data[seen])).astype(np.float32)
    around = ndimage.median_filter(filled, 5)
    # A single pixel leaves no trace in the median: what shows there is the sky's.
    seen &= ~source_mask(around, seen, options=DEEP)
    if not seen.any():
        return np.zeros(data.shape, np.float32), seen
    apart = filled - around
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(apart[seen])))
    sigma = np.maximum(np.where(seen, err, 1), noise)
    return np.where(seen, apart / sigma, 0).astype(np.float32), seen
