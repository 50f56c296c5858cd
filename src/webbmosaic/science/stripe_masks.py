"""Bright stripes that a source mask takes for sources."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.sources import Mask
from webbmosaic.science.stripe_lines import (
    BLOCKS,
    MINIMUM_SEEN,
    Lines,
    line_image,
    line_sums,
)

STRIPE_SHARE = 0.8
"""Share of bright pixels, in nearly every part of a line, that makes it a stripe."""
MOST_STRIPES = 0.15
"""Share of lines: where more look like bright stripes, the field is crowded."""
FULL_OF_LIGHT = 0.5
"""Share of the frame in sources, from which on there is no sky to measure on."""
NEAR = 3.5
"""White-noise sigma above its line's level beyond which a pixel is in a star."""


def without_bright_stripes(
    image: FloatArray, good: Mask, blocked: Mask, families: Iterable[Lines]
) -> Mask:
    """
    Free the lines that are blocked nearly all along.

    Parameters
    ----------
    image : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The frame that the sources were found on, in units of its white noise.
    good, blocked : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        Usable pixels; those in sources or clipped.
    families : iterable of Lines
        Lines that may be bright stripes.

    Returns
    -------
    freed : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        What stays blocked.

    Notes
    -----
    A bright pixel on a line of bright pixels is part of a stripe and not of a source:
    a source, even a large one, ends within a few of the parts of a line. In a frame
    full of light all lines are bright, and none is freed.
    """
    weight = good.astype(np.float32)
    share = blocked.astype(np.float32)
    freed = blocked
    usual = float(share[good].mean())
    if usual > FULL_OF_LIGHT:
        return blocked
    for lines in families:
        top, bottom = line_sums(share, weight, lines)
        parts = np.where(bottom >= MINIMUM_SEEN, top / np.maximum(bottom, 1), np.nan)
        seen = np.isfinite(parts).sum(axis=0)
        # In a crowded field a line must stand out from the others.
        full = (parts > (STRIPE_SHARE + usual) / (1 + usual)).sum(axis=0)
        stripe = (seen >= BLOCKS // 2) & (full >= seen - 1)
        if stripe.any() and stripe.mean() < MOST_STRIPES:
            free = _near_their_line(image, good, lines, stripe)
            freed = freed & ~free
    return freed


def _near_their_line(image: FloatArray, good: Mask, lines: Lines, chosen: Mask) -> Mask:
    """Pixels of chosen lines, but not the stars on them."""
    top, bottom = line_sums(image, good.astype(np.float32), lines)
    level = np.median(top / np.maximum(bottom, 1), axis=0)
    # A stripe one pixel wide is spread over several tilted lines.
    limit = lines.parts * np.maximum(level, 0) + NEAR
    limit[~chosen] = -1e9
    return np.asarray(image < line_image(image.shape, limit, lines))
