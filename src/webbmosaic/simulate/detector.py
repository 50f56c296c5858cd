"""From the light that falls on a detector to the raw ramp it sends home."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webbmosaic.errors import UsageError
from webbmosaic.simulate.charge import (
    Afterglow,
    accumulate,
    add_hits,
    afterglow,
    cosmic_rays,
    snowballs,
)
from webbmosaic.simulate.effects import Effects, Streams
from webbmosaic.simulate.electronics import add_noise
from webbmosaic.simulate.filters import filter_facts
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.instruments import detector_facts
from webbmosaic.simulate.light import (
    claw_pattern,
    miri_background,
    tilted_pattern,
    wisp_pattern,
)
from webbmosaic.simulate.pixels import PixelMaps, Setup, pixel_maps
from webbmosaic.simulate.readout import readout

__all__ = ["Levels", "Planted", "RawExposure", "make_ramp", "make_setup", "sky_noise"]

Image = NDArray[np.float32]
Ramp = NDArray[np.uint16]
Mask = NDArray[np.bool_]


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
class Planted:
    """
    The truth about what was added, for judging corrections.

    Attributes
    ----------
    sky : float
        MJy/sr.
    wisp, claw, tilted, background : ndarray of float32, shape (ny, nx)
        As they would stand in a flat-fielded rate image, DN/s.
    stripes : ndarray of float32, shape (ny, nx)
        1/f noise in the rate of the first integration, before jwst's refpix step, DN/s.
    cosmic_rays, snowball, persistence : ndarray of bool, shape (ny, nx)
        Pixels with more than 3 sigma of such charge.
    saturated : ndarray of bool, shape (ny, nx)
        Pixels that reached the full well in any group.
    newly_hot : ndarray of bool, shape (ny, nx)
        Hot pixels that the references do not know.
    """

    sky: float
    wisp: Image
    claw: Image
    tilted: Image
    background: Image
    stripes: Image
    cosmic_rays: Mask
    snowball: Mask
    persistence: Mask
    saturated: Mask
    newly_hot: Mask


@dataclass(frozen=True)
class RawExposure:
    """
    One exposure as the detector sends it.

    Attributes
    ----------
    ramp : ndarray of uint16, shape (nints, ngroups, ny, nx)
        DN.
    planted : Planted
    stimulus : ndarray of float32, shape (ny, nx)
        Overfilled wells, 0 to 1: put it into the `Afterglow` of the next exposure.
    """

    ramp: Ramp
    planted: Planted
    stimulus: Image


def make_setup(
    detector: str,
    subarray: str,
    filter_name: str,
    pattern: str,
    *,
    ngroups: int,
    nints: int = 1,
) -> Setup:
    """
    Bundle the facts of an exposure.

    Parameters
    ----------
    detector, subarray, filter_name, pattern : str
        Such as ``NRCB1``, ``SUB160``, ``F162M``, ``SHALLOW4``.
    ngroups, nints : int

    Returns
    -------
    setup : Setup

    Raises
    ------
    UsageError
        If one of the names is unknown.
    """
    frame = aperture(detector, subarray)
    return Setup(
        frame,
        detector_facts(detector),
        readout(frame, pattern, ngroups, nints),
        filter_facts(detector, filter_name),
    )


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


def make_ramp(
    flux: Image,
    setup: Setup,
    streams: Streams,
    *,
    effects: Effects | None = None,
    levels: Levels | None = None,
    previous: Afterglow | None = None,
    time: float = 0.0,
) -> RawExposure:
    """
    Expose a detector to a scene.

    Parameters
    ----------
    flux : ndarray of float32, shape (ny, nx)
        Photo-electrons per second that the sources leave in each pixel, before the
        flat, without the sky. It counts what falls on the true area of a pixel: a star
        has the same total everywhere; light of uniform brightness would be in
        proportion to `relative_area`.
    setup : Setup
    streams : Streams
        Owned by the exposure and detector; the pixels depend on its seed alone.
    effects : Effects, optional
        All, if not given.
    levels : Levels, optional
    previous : Afterglow, optional
        Of the exposure before this one.
    time : float, optional
        Seconds since the programme began: MIRI's background drifts with it.

    Returns
    -------
    exposure : RawExposure

    Raises
    ------
    UsageError
        If ``flux`` does not have the shape of the subarray.
    """
    effects, levels = effects or Effects(), levels or Levels()
    if flux.shape != setup.aperture.shape:
        msg = (
            f"flux has the shape {flux.shape}, {setup.aperture.detector} "
            f"{setup.aperture.subarray} has {setup.aperture.shape}"
        )
        raise UsageError(msg)
    maps = pixel_maps(setup, effects, streams.seed)
    light = _foreground(setup, effects, levels, streams, time)
    rate = _electrons(flux, light, setup, maps)
    parts = _Parts(setup, maps, effects, streams)
    raw = np.empty((setup.readout.nints, setup.readout.ngroups, *flux.shape), np.uint16)
    reports = []
    for number in range(setup.readout.nints):
        part = parts if number == 0 else parts.of_integration(number)
        reports.append(
            _integrate(rate, part, previous if number == 0 else None, raw[number])
        )
    return RawExposure(raw, _planted(light, reports, maps), reports[-1].stimulus)


@dataclass(frozen=True)
class _Light:
    """Surface brightness beside the scene, DN/s in a flat-fielded rate."""

    level: float
    sky: float
    wisp: Image
    claw: Image
    tilted: Image
    background: Image

    def total(self) -> Image:
        planes = self.wisp + self.claw
        planes += self.tilted
        planes += self.background
        planes += np.float32(self.sky)
        return planes


@dataclass(frozen=True)
class _Parts:
    """What every step of an integration needs."""

    setup: Setup
    maps: PixelMaps
    effects: Effects
    streams: Streams

    def of_integration(self, number: int) -> _Parts:
        """Give another integration numbers of its own."""
        streams = self.streams.owned_by(f"{self.streams.owner} {number}")
        return _Parts(self.setup, self.maps, self.effects, streams)


@dataclass(frozen=True)
class _Report:
    """What happened in one integration."""

    stripes: Image
    cosmic_rays: Mask
    snowball: Mask
    persistence: Mask
    saturated: Mask
    stimulus: Image


def _foreground(
    setup: Setup, effects: Effects, levels: Levels, streams: Streams, time: float
) -> _Light:
    """Light other than the scene's."""
    frame, facts = setup.aperture, setup.filter
    level = facts.sky if np.isnan(levels.sky) else levels.sky
    unit = np.float32(sky_noise(setup, level))
    sky = level / facts.photmjsr
    nothing = np.zeros(frame.shape, np.float32)
    near_infrared = frame.instrument != "MIRI"
    wisp = claw = tilted = background = nothing
    if effects.wisp and frame.channel == "SHORT":
        amplitude = levels.wisp * streams.of("wisp").uniform(0.8, 1.2)
        wisp = wisp_pattern(frame) * np.float32(unit * amplitude)
    if effects.claw and frame.channel == "SHORT":
        place = streams.owned_by(f"{streams.visit} {frame.detector}").of("claw")
        claw = levels.claw * unit * claw_pattern(frame, place)
    if effects.tilted_stripes and near_infrared:
        tilted = levels.tilted * unit * tilted_pattern(frame, streams.of("tilted"))
    if effects.background_drift:
        generator = streams.owned_by(frame.detector).of("background")
        background = np.float32(sky) * miri_background(frame, generator, time)
    shown = (level, sky) if effects.sky else (0.0, 0.0)
    return _Light(*shown, wisp, claw, tilted, background)


def _electrons(flux: Image, light: _Light, setup: Setup, maps: PixelMaps) -> Image:
    """Photo-electrons and dark current, e-/s."""
    rate = light.total()
    rate *= maps.area
    rate *= np.float32(setup.detector.gain)
    rate += flux
    rate *= maps.efficiency
    rate += maps.dark
    rate += maps.extra_dark
    return np.maximum(rate, 0, out=rate)


def _integrate(
    rate: Image, parts: _Parts, previous: Afterglow | None, raw: Ramp
) -> _Report:
    """One reset and the reads after it, into ``raw``."""
    setup, effects, streams = parts.setup, parts.effects, parts.streams
    ramp = np.empty((setup.readout.ngroups, *rate.shape), np.float32)
    noise = streams.of("poisson") if effects.poisson else None
    accumulate(ramp, rate, setup.readout, noise)
    hit, ball, glow = _add_strays(ramp, parts, previous)
    stimulus = np.clip(ramp[-1] / setup.detector.full_well - 0.9, 0, 1)
    saturated = _to_dn(ramp, parts)
    stripes = add_noise(ramp, setup, parts.maps, effects, streams)
    np.rint(ramp, out=ramp)
    np.clip(ramp, 0, 65535, out=ramp)
    raw[...] = ramp
    return _Report(stripes, hit, ball, glow, saturated, stimulus)


def _add_strays(
    ramp: Image, parts: _Parts, previous: Afterglow | None
) -> tuple[Mask, Mask, Mask]:
    """Charge that is not of this exposure's light; where it matters."""
    setup, effects, streams = parts.setup, parts.effects, parts.streams
    seeing = ~parts.maps.reference
    threshold = 3 * setup.detector.gain * setup.detector.read_noise
    masks = []
    for name, throw in (("cosmic_rays", cosmic_rays), ("snowball", snowballs)):
        mask = np.zeros(seeing.shape, bool)
        if getattr(effects, name):
            hits = throw(setup, streams.of(name))
            add_hits(ramp, hits, seeing)
            strong = hits.charge > threshold
            mask[hits.y[strong], hits.x[strong]] = True
        masks.append(mask & seeing)
    glow = np.zeros(seeing.shape, bool)
    if effects.persistence and previous is not None:
        afterglow(ramp, previous, setup.readout, streams)
        glow = previous.stimulus > 0
    return masks[0], masks[1], glow


def _to_dn(ramp: Image, parts: _Parts) -> Mask:
    """Reset noise, non-linearity, full well and bias: e- to DN, in place."""
    facts, effects, maps = parts.setup.detector, parts.effects, parts.maps
    biased_law = parts.setup.aperture.instrument == "MIRI"
    start = maps.bias if biased_law else np.zeros_like(maps.bias)
    if effects.ktc:
        reset = parts.streams.of("ktc").standard_normal(start.shape, dtype=np.float32)
        start = start + np.float32(facts.ktc) * reset
    law = facts.nonlinearity if effects.nonlinearity else (0.0, 0.0)
    c2, c3 = (np.float32(c) for c in law)
    origin = start + (c2 + c3 * start) * start**2
    well = np.float32(facts.full_well / facts.gain) + (maps.bias if biased_law else 0)
    saturated = np.zeros(start.shape, bool)
    for plane in ramp:
        plane *= np.float32(1 / facts.gain)
        plane += origin
        _invert(plane, c2, c3, 2 * facts.full_well / facts.gain)
        if effects.saturation:
            saturated |= plane > well
            np.minimum(plane, well, out=plane)
        if not biased_law:
            plane += maps.bias
    return saturated


def _invert(plane: Image, c2: np.float32, c3: np.float32, most: float) -> None:
    """Solve ``x + c2 x**2 + c3 x**3 = plane`` by Newton's method, in place."""
    if c2 == 0 and c3 == 0:
        return
    np.minimum(plane, np.float32(most), out=plane)
    x = plane / (1 + c2 * np.abs(plane))
    for _ in range(3):
        value = ((c3 * x + c2) * x + 1) * x
        value -= plane
        value /= (3 * c3 * x + 2 * c2) * x + 1
        x -= value
    plane[...] = x


def _planted(light: _Light, reports: list[_Report], maps: PixelMaps) -> Planted:
    """Join the reports of the integrations."""

    def anywhere(name: str) -> Mask:
        return np.logical_or.reduce([getattr(report, name) for report in reports])

    return Planted(
        sky=light.level,
        wisp=light.wisp,
        claw=light.claw,
        tilted=light.tilted,
        background=light.background,
        stripes=reports[0].stripes,
        cosmic_rays=anywhere("cosmic_rays"),
        snowball=anywhere("snowball"),
        persistence=anywhere("persistence"),
        saturated=anywhere("saturated"),
        newly_hot=maps.newly_hot,
    )
