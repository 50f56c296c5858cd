"""What differs from pixel to pixel: the maps that a detector and its references share.

The maps of a subarray are a function of the seed, the detector and the name of the
subarray: SUB160 and FULL of one detector have different pixels, and references of their
own. Sky area and wisps are smooth and the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from webbmosaic.simulate.effects import Effects, Streams
from webbmosaic.simulate.filters import (
    FilterFacts,
    filter_facts,
    nominal_pixel_area,
)
from webbmosaic.simulate.geometry import Aperture, aperture, pixel_to_v2v3
from webbmosaic.simulate.instruments import DetectorFacts, detector_facts
from webbmosaic.simulate.readout import Readout, readout

__all__ = [
    "PixelMaps",
    "Setup",
    "make_setup",
    "output_of_columns",
    "pixel_maps",
    "reference_pixels",
    "relative_area",
]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Fraction of pixels that are blind, that are hot and known to be, and that became hot
#: since the references were made (JDox, "NIRCam Detector Performance": operable pixels
#: above 99 %).
DEAD, HOT, NEWLY_HOT = 1e-3, 1.5e-3, 3e-4

BORDER = 4


@dataclass(frozen=True)
class Setup:
    """
    How an exposure was taken.

    Attributes
    ----------
    aperture : Aperture
    detector : DetectorFacts
    readout : Readout
    filter : FilterFacts
    """

    aperture: Aperture
    detector: DetectorFacts
    readout: Readout
    filter: FilterFacts


def make_setup(
    detector: str,
    subarray: str,
    filter_name: str,
    *,
    pattern: str,
    ngroups: int,
    nints: int = 1,
) -> Setup:
    """
    Bundle the facts of an exposure.

    Parameters
    ----------
    detector, subarray, filter_name : str
        Such as ``NRCB1``, ``SUB160``, ``F162M``.
    pattern : str
        Such as ``SHALLOW4``.
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
        readout(frame, pattern, ngroups, nints=nints),
        filter_facts(detector, filter_name),
    )


@dataclass(frozen=True)
class PixelMaps:
    """
    The pixels of one subarray.

    Attributes
    ----------
    bias : ndarray of float32, shape (ny, nx)
        DN at zero exposure, with the levels of outputs and of odd and even columns.
    read_noise : ndarray of float32, shape (ny, nx)
        White noise of one frame, DN.
    dark : ndarray of float32, shape (ny, nx)
        e-/s, as in the dark reference.
    extra_dark : ndarray of float32, shape (ny, nx)
        e-/s of pixels that became hot since.
    efficiency : ndarray of float32, shape (ny, nx)
        Response to a photo-electron, mean 1; 0 where blind.
    area : ndarray of float32, shape (ny, nx)
        Sky area relative to the detector's mean.
    reference, dead, hot, newly_hot : ndarray of bool, shape (ny, nx)
    """

    bias: Image
    read_noise: Image
    dark: Image
    extra_dark: Image
    efficiency: Image
    area: Image
    reference: Mask
    dead: Mask
    hot: Mask
    newly_hot: Mask


def reference_pixels(frame: Aperture) -> Mask:
    """
    Find the pixels that see no light.

    Parameters
    ----------
    frame : Aperture

    Returns
    -------
    reference : ndarray of bool, shape (ny, nx)
        The outer four pixels of an H2RG; the outer four columns of MIRI's array.
    """
    x = np.arange(frame.nx) + frame.substrt1 - 1
    y = np.arange(frame.ny) + frame.substrt2 - 1
    size = 1032 if frame.instrument == "MIRI" else 2048
    columns = (x < BORDER) | (x >= size - BORDER)
    rows = (y < BORDER) | (y >= size - BORDER)
    if frame.instrument == "MIRI":
        rows = np.zeros_like(rows)
    return rows[:, None] | columns[None, :]


@lru_cache(maxsize=8)
def relative_area(frame: Aperture) -> Image:
    """
    Compare the sky area of each pixel with the mean over the detector.

    Parameters
    ----------
    frame : Aperture

    Returns
    -------
    area : ndarray of float32, shape (ny, nx)
        Read-only.

    Notes
    -----
    A source spread over many pixels, whose brightness is uniform on the sky, leaves
    charge in proportion to this; a point source does not.
    """
    from scipy.interpolate import RectBivariateSpline

    y = np.linspace(0, frame.ny - 1, 17)
    x = np.linspace(0, frame.nx - 1, 17)
    spline = RectBivariateSpline(y, x, _areas(frame, x, y))
    area: Image = spline(np.arange(frame.ny), np.arange(frame.nx)).astype(np.float32)
    area.setflags(write=False)
    return area


def _areas(
    frame: Aperture, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Relative areas of the pixels of a coarse grid."""
    gx, gy = np.meshgrid(x, y)
    right, left = (pixel_to_v2v3(frame, gx + d, gy) for d in (0.5, -0.5))
    up, down = (pixel_to_v2v3(frame, gx, gy + d) for d in (0.5, -0.5))
    cross = (right[0] - left[0]) * (up[1] - down[1]) - (right[1] - left[1]) * (
        up[0] - down[0]
    )
    cosine = np.cos(np.deg2rad(up[1] / 3600))
    area: NDArray[np.float64] = np.abs(cross) * cosine
    return area / nominal_pixel_area(frame.detector)


@lru_cache(maxsize=4)
def pixel_maps(setup: Setup, effects: Effects, seed: int) -> PixelMaps:
    """
    Make the pixels of a subarray.

    Parameters
    ----------
    setup : Setup
        The read-out does not matter.
    effects : Effects
        Maps of effects that are off are neutral.
    seed : int

    Returns
    -------
    maps : PixelMaps
        Shared between calls: not to be changed.
    """
    frame, facts = setup.aperture, setup.detector
    streams = Streams(seed, f"{frame.detector} {frame.subarray}")
    reference = reference_pixels(frame)
    if not effects.reference_pixels:
        reference = np.zeros_like(reference)
    dead, hot, newly_hot = _bad_pixels(frame, reference, effects, streams=streams)
    dark, extra = _darks(setup, effects, streams, masks=(reference, hot, newly_hot))
    return PixelMaps(
        bias=_bias(frame, facts, effects, streams=streams),
        read_noise=_read_noise(frame, facts, streams),
        dark=dark,
        extra_dark=extra,
        efficiency=_efficiency(setup, effects, streams, blind=dead | reference),
        area=relative_area(frame),
        reference=reference,
        dead=dead,
        hot=hot,
        newly_hot=newly_hot,
    )


def _bad_pixels(
    frame: Aperture, reference: Mask, effects: Effects, *, streams: Streams
) -> tuple[Mask, Mask, Mask]:
    dice = streams.of("bad_pixels").random(frame.shape, dtype=np.float32)
    dice[reference] = 1
    if not effects.bad_pixels:
        dice[:] = 1
    dead = dice < DEAD
    hot = (dice >= DEAD) & (dice < DEAD + HOT)
    newly_hot = (dice >= DEAD + HOT) & (dice < DEAD + HOT + NEWLY_HOT)
    return dead, hot, newly_hot


def _darks(
    setup: Setup,
    effects: Effects,
    streams: Streams,
    *,
    masks: tuple[Mask, Mask, Mask],
) -> tuple[Image, Image]:
    """Dark current that the reference knows, and that of newly hot pixels."""
    reference, hot, newly_hot = masks
    shape = setup.aperture.shape
    dark = streams.of("dark").standard_normal(shape, dtype=np.float32)
    np.exp(np.float32(0.3) * dark, out=dark)
    dark *= setup.detector.dark if effects.dark else 0
    dark[hot] += _hot_rates(setup.detector, streams.of("hot pixels"), hot)
    dark[reference] = 0
    extra = np.zeros(shape, np.float32)
    extra[newly_hot] = _hot_rates(setup.detector, streams.of("newly hot"), newly_hot)
    return dark, extra


def _hot_rates(
    facts: DetectorFacts, generator: np.random.Generator, hot: Mask
) -> NDArray[np.float64]:
    """Dark currents a factor of e around the typical one, e-/s."""
    count = int(np.count_nonzero(hot))
    return np.exp(generator.normal(np.log(facts.hot_pixel), 1.0, count))


def output_of_columns(frame: Aperture) -> NDArray[np.int64]:
    """
    Say which amplifier reads each column.

    Parameters
    ----------
    frame : Aperture

    Returns
    -------
    output : ndarray of int, shape (nx,)
        0 to 3. MIRI's outputs take every fourth column, those of an H2RG 512 columns
        each; a subarray with one output has only output 0.
    """
    x = np.arange(frame.nx) + frame.substrt1 - 1
    if frame.instrument == "MIRI":
        return x % 4
    return np.zeros(frame.nx, int) if frame.noutputs == 1 else x // 512


def _bias(
    frame: Aperture, facts: DetectorFacts, effects: Effects, *, streams: Streams
) -> Image:
    bias = streams.of("bias").standard_normal(frame.shape, dtype=np.float32)
    bias *= facts.bias_scatter
    bias += facts.bias
    if not effects.bias:
        bias[:] = facts.bias
    outputs = output_of_columns(frame)
    if effects.amplifier_offsets:
        bias += np.array(facts.output_offsets, np.float32)[outputs][None, :]
    if effects.odd_even:
        parity = (np.arange(frame.nx) + frame.substrt1) % 2
        bias += np.where(parity, facts.odd_even, -facts.odd_even).astype(np.float32)
    return bias


def _read_noise(frame: Aperture, facts: DetectorFacts, streams: Streams) -> Image:
    noise = streams.of("noise map").standard_normal(frame.shape, dtype=np.float32)
    np.exp(np.float32(0.08) * noise, out=noise)
    noise *= facts.read_noise
    return noise


def _efficiency(
    setup: Setup, effects: Effects, streams: Streams, *, blind: Mask
) -> Image:
    """Pixel-to-pixel scatter of the detector times a smooth field of the filter."""
    frame = setup.aperture
    response = streams.of("flat").standard_normal(frame.shape, dtype=np.float32)
    response *= 0.01
    response += 1
    response *= _smooth_field(frame, streams.of(f"flat {setup.filter.name}"))
    if not effects.flat:
        response[:] = 1
    response[blind] = 0
    return response


def _smooth_field(frame: Aperture, generator: np.random.Generator) -> Image:
    """A quadratic field with a scatter of about 2 %, mean 1."""
    x = np.linspace(-1, 1, frame.nx)[None, :]
    y = np.linspace(-1, 1, frame.ny)[:, None]
    a, b, c, d, e = 0.02 * generator.standard_normal(5)
    field = a * x + b * y + c * x * y + d * (x**2 - 1 / 3) + e * (y**2 - 1 / 3)
    field += 1
    return np.asarray(field, np.float32)
