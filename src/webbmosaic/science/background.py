"""The level of the sky beside the sources."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.sources import Mask, source_mask

__all__ = ["SkyLevel", "measure_sky"]

#: Clipping on the bright side is tighter, where sources below detection sit.
_CLIP_LOW, _CLIP_HIGH, _ROUNDS = 3.0, 2.5, 8
#: Share of the blank pixels, those farthest from light, that the sky rests on.
_FARTHEST = 0.25
_BIN = 8  # pixels; halos are smooth
#: Unevenness that 1/f noise leaves between parts of a destriped frame, in sigma of a
#: pixel: 0.01 to 0.03 in simulated full frames.
_UNEVEN = 0.03


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
    Wings of stars and galaxies reach beyond any mask, so that only the quarter of the
    blank pixels farthest from all light is used; see `_far_from_light`. The level is
    the mean of the pixels between 3 sigma below and 2.5 sigma above the level, set
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
    if not blank.any():
        msg = "no usable pixel to measure the sky from"
        raise ValueError(msg)
    everywhere = _clipped(data[blank].astype(np.float64), data.size)
    if not (sources & usable).any():
        return everywhere
    far = _far_from_light(data, blank, sources, everywhere.level)
    farthest = _clipped(data[far].astype(np.float64), data.size)
    # In a frame full of light, what is far from the brightest source may be close to
    # the largest; and between any two parts of a frame there is what 1/f noise leaves.
    lower = everywhere.level - farthest.level > _UNEVEN * everywhere.rms
    return farthest if lower else everywhere


def _clipped(values: np.ndarray, pixels: int) -> SkyLevel:
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
    return SkyLevel(level, error, rms, kept.size / pixels)


def _far_from_light(data: FloatArray, blank: Mask, sources: Mask, sky: float) -> Mask:
    """
    Keep the quarter of the blank pixels that the sources' halos reach least.

    The pixels are chosen by where the sources are, never by their own values, which
    would pull the sky to the bright or dark side of the noise. Far from its core a
    point source falls off as r^-3 (JDox, "JWST Diffraction-limited PSF": an aperture
    with edges), and light of galaxies falls off faster; only the order matters.
    """
    light = np.where(sources & np.isfinite(data), data - sky, 0).astype(np.float64)
    lost = sources & ~np.isfinite(data)
    if lost.any():  # saturated cores: as bright as their brightest neighbour at least
        light[lost] = maximum_filter(light, size=9)[lost]
    binned = _binned(np.maximum(light, 0))
    y, x = np.ogrid[1 - binned.shape[0] : binned.shape[0],
                    1 - binned.shape[1] : binned.shape[1]]  # fmt: skip
    halo = fftconvolve(binned, (x**2 + y**2 + 4.0) ** -1.5, mode="same")
    whole = np.repeat(np.repeat(halo, _BIN, 0), _BIN, 1)[
        : data.shape[0], : data.shape[1]
    ]
    chosen: Mask = blank & (whole <= np.quantile(whole[blank], _FARTHEST))
    return chosen


def _binned(image: np.ndarray) -> np.ndarray:
    padding = [(0, -size % _BIN) for size in image.shape]
    padded = np.pad(image, padding)
    ny, nx = (size // _BIN for size in padded.shape)
    binned: np.ndarray = padded.reshape(ny, _BIN, nx, _BIN).sum(axis=(1, 3))
    return binned


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
