"""All the light that an exposure sees besides the scene, and how strong it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webbmosaic.simulate.effects import Effects, Streams
from webbmosaic.simulate.light import (
    WISP_DETECTORS,
    claw_pattern,
    miri_background,
    tilted_pattern,
    wisp_pattern,
)
from webbmosaic.simulate.pixels import Setup

__all__ = ["Foreground", "Levels", "make_foreground", "sky_noise"]

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Levels:
    """
    How strong the light that is not the scene is.

    Attributes
    ----------
    sky : float
        MJy/sr; NaN for the filter's typical sky.
    wisp : float
        Peak, in units of the noise of a sky pixel of the rate image.
    claw : float
        Peak, in the same unit.
    tilted : float
        Standard deviation, in the same unit.
    """

    sky: float = float("nan")
    wisp: float = 1.0
    claw: float = 1.5
    tilted: float = 0.33


@dataclass(frozen=True)
class Foreground:
    """
    Surface brightness beside the scene's.

    Attributes
    ----------
    level : float
        Of the sky, MJy/sr.
    sky : float
        The same in a rate image, DN/s.
    wisp_peak : float
        Of the wisp on the full detector, DN/s: what multiplies `wisp_pattern`.
    wisp, claw, tilted, background : ndarray of float32, shape (ny, nx)
        In a flat-fielded rate image, DN/s.
    """

    level: float
    sky: float
    wisp_peak: float
    wisp: Image
    claw: Image
    tilted: Image
    background: Image

    def total(self) -> Image:
        """Add everything, DN/s."""
        planes = self.wisp + self.claw
        planes += self.tilted
        planes += self.background
        planes += np.float32(self.sky)
        return planes


def sky_noise(setup: Setup, sky: float | None = None) -> float:
    """
    Predict the white noise of a sky pixel in the rate image.

    Parameters
    ----------
    setup : Setup
    sky : float, optional
        MJy/sr; the filter's typical sky if not given.

    Returns
    -------
    sigma : float
        DN/s: read noise and photon noise of the sky and the dark current, for a ramp
        fitted with equal weights (Rauscher et al. 2007, PASP 119, 768, equation 1).
    """
    ramp, facts = setup.readout, setup.detector
    n, m = max(ramp.ngroups, 2), ramp.nframes
    level = setup.filter.sky if sky is None else sky
    rate = level / setup.filter.photmjsr * facts.gain + facts.dark
    read = 12 * (n - 1) / (m * n * (n + 1)) * (facts.gain * facts.read_noise) ** 2
    shot = 6 * (n**2 + 1) / (5 * n * (n + 1)) * (n - 1) * ramp.tgroup * rate
    shot -= 2 * (m**2 - 1) * (n - 1) / (m * n * (n + 1)) * ramp.tframe * rate
    variance = (read + shot) / ((n - 1) * ramp.tgroup) ** 2
    return float(np.sqrt(variance / ramp.nints)) / facts.gain


def make_foreground(
    setup: Setup,
    streams: Streams,
    *,
    effects: Effects,
    levels: Levels,
    time: float,
) -> Foreground:
    """
    Make the light other than the scene's.

    Parameters
    ----------
    setup : Setup
    streams : Streams
        Of the exposure; the claw is that of its visit, MIRI's structure that of its
        detector.
    effects : Effects
    levels : Levels
    time : float
        Seconds since the programme began.

    Returns
    -------
    foreground : Foreground
    """
    frame, facts = setup.aperture, setup.filter
    level = facts.sky if np.isnan(levels.sky) else levels.sky
    unit = np.float32(sky_noise(setup, level))
    sky = level / facts.photmjsr
    nothing = np.zeros(frame.shape, np.float32)
    near_infrared = frame.instrument != "MIRI"
    wisp = claw = tilted = background = nothing
    peak = 0.0
    if effects.wisp and frame.detector in WISP_DETECTORS:
        peak = float(unit * levels.wisp * streams.of("wisp").uniform(0.8, 1.2))
        wisp = wisp_pattern(frame) * np.float32(peak)
    if effects.claw and frame.channel == "SHORT":
        place = streams.owned_by(f"{streams.visit} {frame.detector}").of("claw")
        claw = levels.claw * unit * claw_pattern(frame, place)
    if effects.tilted_stripes and near_infrared:
        tilted = levels.tilted * unit * tilted_pattern(frame, streams.of("tilted"))
    if effects.background_drift:
        generator = streams.owned_by(frame.detector).of("background")
        background = np.float32(sky) * miri_background(frame, generator, time)
    shown = (level, sky) if effects.sky else (0.0, 0.0)
    return Foreground(*shown, peak, wisp, claw, tilted, background)
