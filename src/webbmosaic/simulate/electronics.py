"""What the electronics add on the way out: noise in the order in which pixels are read.

The 1/f noise follows Rauscher 2015 (PASP 127, 1144): each output adds a noise whose
power falls as 1/frequency to one that all outputs have in common; both run on through
the pauses at the ends of rows, and neighbouring outputs are read in opposite
directions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from webbmosaic.simulate.effects import Effects, Streams
from webbmosaic.simulate.geometry import Aperture
from webbmosaic.simulate.pixels import PixelMaps, Setup, output_of_columns
from webbmosaic.simulate.readout import row_overhead

__all__ = ["add_noise", "one_over_f", "pink_level", "slope_weights"]

Image = NDArray[np.float32]

#: Ticks of the ramps from which CV3's levels of 1/f noise come: 108 full frames.
_CV3_TICKS = 108 * 1_073_677


def pink_level(frame: Aperture, rms: float) -> float:
    """
    Scale CV3's level of 1/f noise to the length of one frame.

    The power is the same in every octave: of the octaves of a ramp, those faster than
    one frame remain.

    Parameters
    ----------
    frame : Aperture
    rms : float
        Over CV3's ramps.

    Returns
    -------
    rms : float
        Over one frame.
    """
    return rms * float(np.sqrt(np.log(_ticks(frame) / 2) / np.log(_CV3_TICKS / 2)))


def _ticks(frame: Aperture) -> int:
    """Ticks of one frame."""
    fast, slow = _fast_slow(frame)
    return slow * (fast // _outputs(frame) + row_overhead(frame))


def _outputs(frame: Aperture) -> int:
    """Outputs that stand side by side (MIRI's four are interleaved: one stream)."""
    return 1 if frame.instrument == "MIRI" else frame.noutputs


def _fast_slow(frame: Aperture) -> tuple[int, int]:
    """Pixels along the fast and along the slow axis."""
    return (frame.nx, frame.ny) if abs(frame.fastaxis) == 1 else (frame.ny, frame.nx)


def one_over_f(
    frame: Aperture,
    *,
    common: float,
    output: float,
    generator: np.random.Generator,
) -> Image:
    """
    Draw the 1/f noise of one frame as an image.

    Parameters
    ----------
    frame : Aperture
    common, output : float
        Standard deviations over the frame of the part that all outputs share and of
        the part that each has alone.
    generator : numpy.random.Generator

    Returns
    -------
    noise : ndarray of float32, shape (ny, nx)
        In the unit of the levels.
    """
    fast, slow = _fast_slow(frame)
    outputs = _outputs(frame)
    width = fast // outputs
    shared = np.float32(common) * _pink(_ticks(frame), generator)
    image = np.empty((slow, fast), np.float32)
    for number in range(outputs):
        stream = np.float32(output) * _pink(_ticks(frame), generator) + shared
        rows = stream.reshape(slow, -1)[:, :width]
        if number % 2:
            rows = rows[:, ::-1]
        image[:, number * width : (number + 1) * width] = rows
    return _to_dms(image, frame)


def _to_dms(image: Image, frame: Aperture) -> Image:
    """Turn (slow, fast) in read-out order into the frame's rows and columns."""
    if frame.fastaxis < 0:
        image = image[:, ::-1]
    if frame.slowaxis < 0:
        image = image[::-1]
    return image if abs(frame.fastaxis) == 1 else image.T


def _pink(ticks: int, generator: np.random.Generator) -> Image:
    """
    A series with power 1/frequency, standard deviation 1 on average.

    Cut from one of twice the length, so that its end does not join its begin.
    """
    size = fft.next_fast_len(2 * ticks, real=True)
    count = size // 2 + 1
    spectrum = generator.standard_normal(2 * count, dtype=np.float32).view(np.complex64)
    amplitude = np.zeros(count, np.float32)
    amplitude[1:] = 1 / np.sqrt(np.arange(1, count, dtype=np.float32))
    # Parseval: each positive frequency counts twice, each draw has variance 2.
    amplitude *= size / np.sqrt(4 * np.sum(amplitude.astype(float) ** 2))
    spectrum *= amplitude
    series: Image = fft.irfft(spectrum, size, overwrite_x=True)
    return series[:ticks]


def add_noise(
    ramp: Image,
    setup: Setup,
    maps: PixelMaps,
    *,
    effects: Effects,
    streams: Streams,
) -> Image:
    """
    Add the noise of the read-out to a ramp.

    Parameters
    ----------
    ramp : ndarray of float32, shape (ngroups, ny, nx)
        Changed in place, DN.
    setup : Setup
    maps : PixelMaps
    effects : Effects
    streams : Streams

    Returns
    -------
    stripes : ndarray of float32, shape (ny, nx)
        The slope of the 1/f noise over the ramp, DN/s, with equal weights.

    Notes
    -----
    A group averages its frames. Noise faster than a frame is independent between
    frames: one draw is divided by the root of their number.
    """
    readout = setup.readout
    share = np.float32(1 / np.sqrt(readout.nframes))
    white, pink = streams.of("read_noise"), streams.of("one_over_f")
    stripes = np.zeros(setup.aperture.shape, np.float32)
    draw = np.empty(setup.aperture.shape, np.float32)
    for group, weight in enumerate(slope_weights(readout.ngroups, readout.tgroup)):
        if effects.read_noise:
            white.standard_normal(dtype=np.float32, out=draw)
            draw *= maps.read_noise
            draw *= share
            ramp[group] += draw
        if effects.one_over_f:
            noise = share * _frame_noise(setup, pink)
            ramp[group] += noise
            stripes += weight * noise
    _add_drifts(ramp, setup, effects, streams=streams)
    return stripes


def _frame_noise(setup: Setup, generator: np.random.Generator) -> Image:
    frame, facts = setup.aperture, setup.detector
    return one_over_f(
        frame,
        common=pink_level(frame, facts.pink_common),
        output=pink_level(frame, facts.pink_output),
        generator=generator,
    )


def slope_weights(ngroups: int, tgroup: float) -> Image:
    """
    Weigh the groups of a ramp for a least-squares slope.

    Parameters
    ----------
    ngroups : int
    tgroup : float
        Seconds.

    Returns
    -------
    weights : ndarray of float32, shape (ngroups,)
        Per second; zero for a single group.
    """
    position = np.arange(ngroups) - (ngroups - 1) / 2
    norm = float(np.sum(position**2)) * tgroup
    return (position / norm if norm else position).astype(np.float32)


def _add_drifts(
    ramp: Image, setup: Setup, effects: Effects, *, streams: Streams
) -> None:
    """Levels of the outputs, and of their odd and even columns, jitter between groups.

    A subarray with one output jitters by one DN: CV3's figures are for four, and no
    value is published for windows.
    """
    frame, facts, readout = setup.aperture, setup.detector, setup.readout
    share = 1 / np.sqrt(readout.nframes)
    shape = (readout.ngroups, 4)
    outputs = output_of_columns(frame)
    if effects.amplifier_offsets:
        generator = streams.of("amplifier_offsets")
        four = frame.noutputs == 4 or frame.instrument == "MIRI"
        common = facts.drift_common if four else 1.0
        alone = facts.drift_output if four else 0.0
        levels = alone * generator.standard_normal(shape)
        levels += common * generator.standard_normal((readout.ngroups, 1))
        ramp += (share * levels[:, outputs]).astype(np.float32)[:, None, :]
    if effects.odd_even:
        levels = streams.of("odd_even").standard_normal(shape)
        sign = np.where((np.arange(frame.nx) + frame.substrt1) % 2, 1, -1)
        jitter = 0.002 * facts.odd_even * share * levels[:, outputs] * sign
        ramp += jitter.astype(np.float32)[:, None, :]
