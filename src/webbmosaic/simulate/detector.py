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
from webbmosaic.simulate.foreground import Foreground, Levels, make_foreground
from webbmosaic.simulate.pixels import PixelMaps, Setup, pixel_maps

__all__ = ["Planted", "RawExposure", "make_ramp"]

Image = NDArray[np.float32]
Ramp = NDArray[np.uint16]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Planted:
    """
    The truth about what was added, for judging corrections.

    Attributes
    ----------
    sky : float
        MJy/sr.
    wisp_peak : float
        Of the wisp on the full detector, DN/s.
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
    wisp_peak: float
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
    light = make_foreground(setup, streams, effects=effects, levels=levels, time=time)
    rate = _electrons(flux, light, setup, maps=maps)
    parts = _Parts(setup, maps, effects, streams)
    raw = np.empty((setup.readout.nints, setup.readout.ngroups, *flux.shape), np.uint16)
    reports = []
    for number in range(setup.readout.nints):
        part = parts if number == 0 else parts.of_integration(number)
        glow = previous if number == 0 else None
        reports.append(_integrate(rate, part, raw[number], previous=glow))
    return RawExposure(raw, _planted(light, reports, maps), reports[-1].stimulus)


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


def _electrons(
    flux: Image, light: Foreground, setup: Setup, *, maps: PixelMaps
) -> Image:
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
    rate: Image, parts: _Parts, raw: Ramp, *, previous: Afterglow | None
) -> _Report:
    """One reset and the reads after it, into ``raw``."""
    setup, effects, streams = parts.setup, parts.effects, parts.streams
    ramp = np.empty((setup.readout.ngroups, *rate.shape), np.float32)
    noise = streams.of("poisson") if effects.poisson else None
    accumulate(ramp, rate, readout=setup.readout, generator=noise)
    hit, ball, glow = _add_strays(ramp, parts, previous)
    stimulus = np.clip(ramp[-1] / setup.detector.full_well - 0.9, 0, 1)
    saturated = _to_dn(ramp, parts)
    stripes = add_noise(ramp, setup, parts.maps, effects=effects, streams=streams)
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
        afterglow(ramp, previous, setup.readout, streams=streams)
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
        _invert(plane, c2, c3, most=2 * facts.full_well / facts.gain)
        if effects.saturation:
            saturated |= plane > well
            np.minimum(plane, well, out=plane)
        if not biased_law:
            plane += maps.bias
    return saturated


def _invert(plane: Image, c2: np.float32, c3: np.float32, *, most: float) -> None:
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


def _planted(light: Foreground, reports: list[_Report], maps: PixelMaps) -> Planted:
    """Join the reports of the integrations."""

    def anywhere(name: str) -> Mask:
        found = np.zeros(maps.reference.shape, bool)
        for report in reports:
            found |= getattr(report, name)
        return found

    return Planted(
        sky=light.level,
        wisp_peak=light.wisp_peak,
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
