"""Persistence: what a saturated pixel still glows with in later exposures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from webbmosaic.science.arrays import BoolArray, FloatArray

__all__ = ["persistence_strength", "saturation_level"]


#: After the whole window, persistence has come down to this share.
FAINTEST = float(np.exp(-3.0))


def saturation_level(
    saturated: BoolArray, throughout: BoolArray, *, partly: float = 0.3
) -> FloatArray:
    """
    Say how much charge the pixels of an exposure took beyond saturation.

    Parameters
    ----------
    saturated : 2D bool `~numpy.ndarray`, shape (ny, nx)
        Saturated in some group.
    throughout : 2D bool `~numpy.ndarray`, shape (ny, nx)
        Saturated from the start, so that there is no rate.
    partly : float, optional
        Level of a pixel that saturated only later in the ramp.

    Returns
    -------
    level : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        0, ``partly`` or 1.
    """
    level = np.where(saturated, np.float32(partly), np.float32(0))
    level[saturated & throughout] = 1
    return level


def persistence_strength(
    earlier: Iterable[tuple[float, FloatArray]],
    shape: tuple[int, int],
    *,
    window: float = 2500.0,
) -> FloatArray:
    """
    Follow the persistence of earlier exposures to the start of one.

    Parameters
    ----------
    earlier : iterable of (float, 2D float32 `~numpy.ndarray`)
        Of each earlier exposure of the same detector, in any order: the time from its
        end to the start of this one, in s, and its `saturation_level`. Exposures that
        end later than the start (negative times) are not earlier and are left out.
    shape : tuple of int
        Rows and columns.
    window : float, optional
        How long the persistence of a pixel of level 1 lasts, in s.

    Returns
    -------
    strength : 2D float32 `~numpy.ndarray`
        Between 1 (just saturated) and ``exp(-3)``; 0 where the persistence is over. A
        pixel of level ``p`` decays alike and therefore is over sooner, after
        ``(1 + ln(p) / 3) * window``.

    Raises
    ------
    ValueError
        If ``window`` is not positive or a level has another shape.

    Notes
    -----
    Persistence fades with several time constants between minutes and an hour
    (Leisenring et al. 2016, SPIE 9915); one exponential, down to 5 % at the end of the
    window, is enough to decide what to flag. What to do with it is the caller's choice:
    all that is left is above 0.
    """
    if window <= 0:
        msg = f"window must be positive, not {window}"
        raise ValueError(msg)
    strength = np.zeros(shape, np.float32)
    for seconds, level in earlier:
        if level.shape != tuple(shape):
            msg = f"a saturation level has the shape {level.shape}, not {shape}"
            raise ValueError(msg)
        if 0 <= seconds <= window:
            np.maximum(
                strength,
                level * np.float32(FAINTEST ** (seconds / window)),
                out=strength,
            )
    # A hair below the limit counts, so that the window includes its end.
    strength[strength < FAINTEST * (1 - 1e-6)] = 0
    return strength
