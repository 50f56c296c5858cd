"""Rate images without ramps: truth, and the noise and stripes a real one has.

For judging stripes and wisps on full frames in a second instead of a minute. The noise
is that of nine SHALLOW4 groups; the 1/f noise has the structure of the ramps' (see
`webbmosaic.simulate.electronics`): fitting a slope only scales it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webbmosaic.errors import UsageError
from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.electronics import one_over_f
from webbmosaic.simulate.foreground import sky_noise
from webbmosaic.simulate.light import tilted_pattern, wisp_pattern
from webbmosaic.simulate.pixels import Setup, make_setup, reference_pixels

__all__ = ["RateFrame", "RateLevels", "make_rate"]

Image = NDArray[np.float32]
Flags = NDArray[np.uint32]

#: DQ bits of the jwst pipeline: DO_NOT_USE, and REFERENCE_PIXEL with it.
DO_NOT_USE, REFERENCE_PIXEL = 1, 2**31

#: Pixels without a value, as in real rate images.
BAD_FRACTION = 3e-3


@dataclass(frozen=True)
class RateLevels:
    """
    How strong the effects are, in units of the white noise of a sky pixel.

    Attributes
    ----------
    one_over_f : float
        Standard deviation of the 1/f noise over the frame. With the columns it makes
        0.43, what nine SHALLOW4 groups leave before the faint sky of a short-wavelength
        filter.
    columns : float
        Standard deviation of what is common to a column.
    tilted : float
        Standard deviation of the two families at +-30 degrees together.
    wisp : float
        Peak.
    white : bool
        Add the white noise itself.
    bad : bool
        Leave out some pixels.
    """

    one_over_f: float = 0.41
    columns: float = 0.12
    tilted: float = 0.0
    wisp: float = 0.0
    white: bool = True
    bad: bool = True


@dataclass(frozen=True)
class RateFrame:
    """
    A flat-fielded rate image and what it is made of. All images are in DN/s.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx)
        Everything; NaN where bad, 0 on reference pixels.
    err : ndarray of float32, shape (ny, nx)
        Standard deviation of the white noise.
    dq : ndarray of uint32, shape (ny, nx)
        DO_NOT_USE where bad; REFERENCE_PIXEL and DO_NOT_USE on the border.
    truth : ndarray of float32, shape (ny, nx)
        Sky and sources, without any noise.
    one_over_f, columns, tilted, wisp : ndarray of float32, shape (ny, nx)
    template : ndarray of float32, shape (ny, nx)
        The wisp of peak 1.
    amplitude : float
        ``wisp = amplitude * template``.
    sky : float
    sigma : float
        White noise of a sky pixel.
    setup : Setup
    """

    data: Image
    err: Image
    dq: Flags
    truth: Image
    one_over_f: Image
    columns: Image
    tilted: Image
    wisp: Image
    template: Image
    amplitude: float
    sky: float
    sigma: float
    setup: Setup


def make_rate(
    source: Image | None,
    streams: Streams,
    *,
    detector: str = "NRCB4",
    filter_name: str = "F200W",
    subarray: str = "FULL",
    levels: RateLevels | None = None,
) -> RateFrame:
    """
    Make a rate image.

    Parameters
    ----------
    source : ndarray of float32, shape (ny, nx), or None
        Sources in e-/s, as for `webbmosaic.simulate.detector.make_ramp`.
    streams : Streams
        Owned by the exposure: each effect has its numbers of its own.
    detector, filter_name, subarray : str, optional
    levels : RateLevels, optional

    Returns
    -------
    frame : RateFrame

    Raises
    ------
    UsageError
        If a name is unknown or ``source`` does not have the shape of the frame.

    Examples
    --------
    >>> frame = make_rate(None, Streams(1, "a"), subarray="SUB160")
    >>> frame.data.shape
    (160, 160)
    """
    setup = make_setup(detector, subarray, filter_name, pattern="SHALLOW4", ngroups=9)
    levels = levels or RateLevels()
    shape = setup.aperture.shape
    if source is not None and source.shape != shape:
        msg = f"source has the shape {source.shape}, {detector} {subarray} has {shape}"
        raise UsageError(msg)
    sky = setup.filter.sky / setup.filter.photmjsr
    sigma = sky_noise(setup)
    truth = np.full(shape, sky, np.float32)
    if source is not None:
        truth += source / np.float32(setup.detector.gain)
    template = wisp_pattern(setup.aperture)
    amplitude = sigma * levels.wisp
    stripes, columns, tilted = _patterns(setup, streams, levels, sigma=sigma)
    err = _sigma_of(truth, setup, sky=sky, sigma=sigma)
    data = truth + stripes + columns + tilted + np.float32(amplitude) * template
    white = streams.of("white").standard_normal(shape, dtype=np.float32)
    if levels.white:
        data += err * white
    dq = _flags(setup, streams, levels)
    data[dq & DO_NOT_USE > 0] = np.nan
    data[dq & REFERENCE_PIXEL > 0] = 0
    return RateFrame(
        data=data,
        err=err,
        dq=dq,
        truth=truth,
        one_over_f=stripes,
        columns=columns,
        tilted=tilted,
        wisp=np.float32(amplitude) * template,
        template=template,
        amplitude=amplitude,
        sky=sky,
        sigma=sigma,
        setup=setup,
    )


def _patterns(
    setup: Setup, streams: Streams, levels: RateLevels, *, sigma: float
) -> tuple[Image, Image, Image]:
    """1/f noise, columns and tilted stripes."""
    frame, facts = setup.aperture, setup.detector
    scale = levels.one_over_f * sigma / np.hypot(facts.pink_common, facts.pink_output)
    stripes = one_over_f(
        frame,
        common=scale * facts.pink_common,
        output=scale * facts.pink_output,
        generator=streams.of("one_over_f"),
    )
    tilted = tilted_pattern(frame, streams.of("tilted"))
    tilted *= np.float32(levels.tilted * sigma)
    column = streams.of("columns").standard_normal((1, frame.nx), dtype=np.float32)
    column = column * np.float32(levels.columns * sigma)
    return stripes, np.broadcast_to(column, frame.shape), tilted


def _sigma_of(truth: Image, setup: Setup, *, sky: float, sigma: float) -> Image:
    """White noise of every pixel: that of the sky and the photons of the source.

    Sources are bright or faint: the photon noise of an optimal slope, rate over time,
    instead of the 6/5 of equal weights.
    """
    extra = np.maximum(truth - np.float32(sky), 0)
    extra /= np.float32(setup.detector.gain * setup.readout.integration_time)
    return np.asarray(np.sqrt(extra + np.float32(sigma**2)), np.float32)


def _flags(setup: Setup, streams: Streams, levels: RateLevels) -> Flags:
    frame = setup.aperture
    dice = streams.of("bad_pixels").random(frame.shape, dtype=np.float32)
    dq = np.zeros(frame.shape, np.uint32)
    if levels.bad:
        dq[dice < BAD_FRACTION] = DO_NOT_USE
    dq[reference_pixels(frame)] = DO_NOT_USE | REFERENCE_PIXEL
    return dq
