"""The level of the sky beside the sources."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from webbmosaic.science.sources import FloatArray, Mask, source_mask

__all__ = ["SkyLevel", "measure_sky"]

#: Clipping on the bright side is tighter, where sources below detection sit.
_CLIP_LOW, _CLIP_HIGH, _ROUNDS = 3.0, 2.5, 8


@dataclass(frozen=True)
class SkyLevel:
    """
    The constant sky of one image.

    Attributes
    ----------
    level : float
        In the unit of the image.
    error : float
        Standard error of the level for independent pixels; correlated noise makes the
        true one larger.
    rms : float
        Scatter of the sky pixels.
    fraction : float
        Share of all pixels that the level rests on.
    """

    level: float
    error: float
    rms: float
    fraction: float


def measure_sky(
    data: FloatArray, usable: Mask, *, sources: Mask | None = None
) -> SkyLevel:
    r"""
    Measure the constant sky of an image from the pixels beside its sources.

    Parameters
    ----------
    data : 2D `~numpy.ndarray`, shape (ny, nx)
        Any unit.
    usable : 2D bool `~numpy.ndarray`, shape (ny, nx)
        `False` where a pixel may not be used.
    sources : 2D bool `~numpy.ndarray`, shape (ny, nx), optional
        `True` on sources; found here by default.

    Returns
    -------
    sky : SkyLevel

    Raises
    ------
    ValueError
        If no pixel is usable.

    Notes
    -----
    The mean of the pixels between 3 sigma below and 2.5 sigma above the level, set
    right for the asymmetric clipping of a Gaussian: for a normal distribution cut at
    :math:`-a` and :math:`b` the mean is
    :math:`(\phi(a) - \phi(b)) / (\Phi(b) - \Phi(-a))` sigma (Johnson, Kotz &
    Balakrishnan 1994, "Continuous Univariate Distributions", vol. 1, section 13.10.1).
    Sources too faint to be found raise the bright side only, and less so when it is cut
    close.
    """
    if sources is None:
        sources = source_mask(data, usable)
    blank = usable & ~sources
    if not blank.any():
        blank = usable
    values = data[blank].astype(np.float64)
    if values.size == 0:
        msg = "no usable pixel to measure the sky from"
        raise ValueError(msg)
    level = float(np.median(values))
    # The lower half alone: what is too faint to be masked is above.
    below = values[values <= level]
    rms = 1.4826 * float(np.median(level - below)) if below.size else 0.0
    kept = values
    for _ in range(_ROUNDS):
        inside = (values >= level - _CLIP_LOW * rms) & (
            values <= level + _CLIP_HIGH * rms
        )
        if rms == 0 or not inside.any():
            break
        kept = values[inside]
        mean, width = _unclipped(kept)
        converged = abs(mean - level) < 1e-4 * rms
        level, rms = mean, width
        if converged:
            break
    error = rms / math.sqrt(kept.size)
    return SkyLevel(level, error, rms, kept.size / data.size)


def _unclipped(kept: np.ndarray) -> tuple[float, float]:
    """Give the mean and sigma of the normal distribution before clipping."""
    shift, narrowing = _truncation()
    sigma = float(kept.std()) / narrowing
    return float(kept.mean()) - shift * sigma, sigma


def _truncation() -> tuple[float, float]:
    """Mean and standard deviation of a unit normal between the clipping limits."""
    share = _phi_integral(_CLIP_HIGH) - _phi_integral(-_CLIP_LOW)
    mean = (_phi(_CLIP_LOW) - _phi(_CLIP_HIGH)) / share
    spread = (-_CLIP_LOW * _phi(_CLIP_LOW) - _CLIP_HIGH * _phi(_CLIP_HIGH)) / share
    return mean, math.sqrt(1 + spread - mean**2)


def _phi(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _phi_integral(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))
