"""
The 1/f noise of the readout, in the order in which the detector was read.

A NIRCam or NIRISS full frame is read through four outputs at once, each a strip of
512 columns, and neighbouring outputs run in opposite directions. Their 1/f noise has a
part common to all outputs and a part of each one's own. Both are estimated as
stationary Gaussian processes with spectra measured from the data (empirical Bayes),
that is with a Wiener filter, and masked pixels take no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy import fft

from webbmosaic.science.arrays import FloatArray, Floats

ROW_OVERHEAD = 12
"""Pixel times between the rows of an output: 524 for 512 columns (JDox, NIRCam)."""


SLOW = 1e-3
"""Cycles per sample below which the spectrum of an output's own noise is trusted."""


@dataclass(frozen=True)
class Readout:
    """
    How a frame was read, with the rows that were read along its x axis.

    Attributes
    ----------
    outputs : tuple of slice
        The columns of each output, all equally wide, read at the same time.
    reverse : bool
        Whether the first output ran towards falling x while the rows went up.
        Neighbouring outputs run in opposite directions.
    transposed : bool
        Whether the detector's rows run along the y axis of the image (NIRISS); the
        columns of ``outputs`` are then rows of the image.
    overhead : int
        Pixel times lost between rows.
    """

    outputs: tuple[slice, ...]
    reverse: bool = False
    transposed: bool = False
    overhead: int = ROW_OVERHEAD

    @property
    def width(self) -> int:
        """Columns of one output."""
        return int(self.outputs[0].stop - self.outputs[0].start)

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """First column of each output."""
        return np.array([output.start for output in self.outputs], np.int64)


def make_readout(
    shape: tuple[int, int], *, outputs: int = 1, fast_axis: int = 1, slow_axis: int = 2
) -> Readout:
    """
    Describe the readout of a frame from its header.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    outputs : int
        Outputs that the frame was read through side by side: 4 for a full frame of
        NIRCam or NIRISS, 1 for most subarrays. (MIRI's four are interleaved: use 1.)
    fast_axis, slow_axis : int
        The keywords FASTAXIS and SLOWAXIS: 1 for x, 2 for y, negative for falling.

    Returns
    -------
    readout : Readout
        For `fit_stripes`.

    Raises
    ------
    ValueError
        If the axes are no pair of 1 and 2, or the outputs do not divide the frame.
    """
    if {abs(fast_axis), abs(slow_axis)} != {1, 2}:
        msg = f"FASTAXIS {fast_axis} and SLOWAXIS {slow_axis} must be one x, one y"
        raise ValueError(msg)
    transposed = abs(fast_axis) == 2
    along = shape[0] if transposed else shape[1]
    if outputs < 1 or along % outputs:
        msg = f"{outputs} outputs do not divide {along} pixels"
        raise ValueError(msg)
    width = along // outputs
    slices = tuple(slice(k * width, (k + 1) * width) for k in range(outputs))
    # A mirrored detector with an even number of outputs has its last output on the
    # left, and that one ran backwards before the mirror: it looks the same.
    backwards = fast_axis < 0 and outputs % 2 == 1
    return Readout(slices, backwards != (slow_axis < 0), transposed)


@numba.njit(cache=True, fastmath=True)
def _add_to_streams(data, weight, streams, first, layout):  # type: ignore[no-untyped-def]
    """Add the weighted residuals to the streams, in the order of time."""
    width, stride, reverse = layout
    for k in range(first.size):
        back = (k % 2 == 1) != (reverse == 1)
        for y in range(data.shape[0]):
            for i in range(width):
                x = first[k] + (width - 1 - i if back else i)
                streams[k, y * stride + i] += weight[y, x] * data[y, x]


@numba.njit(cache=True, fastmath=True)
def _subtract_streams(data, streams, first, layout):  # type: ignore[no-untyped-def]
    """Subtract the streams from the frame, each sample at its pixel."""
    width, stride, reverse = layout
    for k in range(first.size):
        back = (k % 2 == 1) != (reverse == 1)
        for y in range(data.shape[0]):
            for i in range(width):
                x = first[k] + (width - 1 - i if back else i)
                data[y, x] -= streams[k, y * stride + i]


@numba.njit(cache=True, fastmath=True)
def _row_sums(data, weight, first, width, top, bottom):  # type: ignore[no-untyped-def]
    for k in range(first.size):
        for y in range(data.shape[0]):
            t = np.float32(0)
            b = np.float32(0)
            for x in range(first[k], first[k] + width):
                t += weight[y, x] * data[y, x]
                b += weight[y, x]
            top[k, y] = t
            bottom[k, y] = b


def row_noise(
    data: FloatArray, weight: FloatArray, readout: Readout, *, iterations: int = 12
) -> tuple[FloatArray, float]:
    """
    Estimate the level of each row of each output.

    Parameters
    ----------
    data, weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Residuals in units of the white noise, and weights between 0 and 1.
    readout : Readout
        The outputs.
    iterations : int
        Rounds of filling in what is masked and filtering anew.

    Returns
    -------
    levels : 2-D float32 `~numpy.ndarray`, shape (number of outputs, ny)
        The levels; a row without usable pixels takes its level from its neighbours
        in time and from the other outputs.
    error : float
        Variance of the levels' error.
    """
    first, width, ny = readout.first, readout.width, data.shape[0]
    top = np.zeros((first.size, ny), np.float32)
    bottom = np.zeros_like(top)
    _row_sums(data, weight, first, width, top, bottom)
    levels = np.zeros((first.size, _padded(ny)), np.float32)
    seen = float(bottom.sum() / width / levels.size)
    error = 0.0
    for _ in range(iterations):
        levels[:, :ny] += (top - bottom * levels[:, :ny]) / width
        levels, error = _filtered(levels, seen, 1.0 / width, slow=1.0)
    return levels[:, :ny], error


def as_streams(levels: FloatArray, readout: Readout) -> FloatArray:
    """
    Turn levels of rows into streams of samples.

    Parameters
    ----------
    levels : 2-D float32 `~numpy.ndarray`, shape (number of outputs, ny)
        Level of each row of each output.
    readout : Readout
        The outputs.

    Returns
    -------
    streams : 2-D float32 `~numpy.ndarray`, shape (number of outputs, samples)
        The same in the order of time, row after row, with their overhead, and a
        bridge from the end back to the start.
    """
    stride = readout.width + readout.overhead
    length = levels.shape[1] * stride
    streams = np.empty((len(levels), _padded(length)), np.float32)
    streams[:, :length] = np.repeat(levels, stride, axis=1)
    bridge = np.linspace(1, 0, streams.shape[1] - length)
    streams[:, length:] = levels[:, -1:] * bridge + levels[:, :1] * (1 - bridge)
    return streams


def refine_streams(
    data: FloatArray, weight: FloatArray, streams: FloatArray, readout: Readout
) -> tuple[FloatArray, float]:
    """
    Improve the streams by what the frame still holds of them.

    Parameters
    ----------
    data : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Residuals without the streams, in units of the white noise; changed in place
        to the residuals without the new streams.
    weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        Weights between 0 and 1.
    streams : 2-D float32 `~numpy.ndarray`, shape (number of outputs, samples)
        The streams so far; overwritten.
    readout : Readout
        The outputs.

    Returns
    -------
    streams : 2-D float32 `~numpy.ndarray`, shape (number of outputs, samples)
        The new streams.
    error : float
        Variance of their error where pixels are usable.
    """
    layout = _layout(readout)
    seen = float(weight.sum(dtype=np.float64) / streams.size)
    old = streams.copy()
    _add_to_streams(data, weight, streams, readout.first, layout)
    new, error = _filtered(streams, seen, 1.0, slow=SLOW)
    _subtract_streams(data, new - old, readout.first, layout)
    return new, error


def stream_image(
    shape: tuple[int, int], streams: FloatArray, readout: Readout
) -> FloatArray:
    """
    Put streams back to the pixels that were read at each time.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the frame.
    streams : 2-D float32 `~numpy.ndarray`, shape (number of outputs, samples)
        The streams.
    readout : Readout
        The outputs.

    Returns
    -------
    image : 2-D float32 `~numpy.ndarray`, shape ``shape``
        The noise at each pixel.
    """
    image = np.zeros(shape, np.float32)
    _subtract_streams(image, -streams, readout.first, _layout(readout))
    return image


def _layout(readout: Readout) -> tuple[int, int, int]:
    width = readout.width
    return width, width + readout.overhead, int(readout.reverse)


def _padded(length: int) -> int:
    """Leave room for the periodic end of a Fourier transform."""
    return int(fft.next_fast_len(length + length // 500 + 8, real=True))


def _filtered(
    streams: FloatArray, seen: float, noise: float, *, slow: float
) -> tuple[FloatArray, float]:
    """
    Wiener-filter streams with the spectra that they show themselves.

    ``seen`` is the share of samples that hold data, of white noise of variance
    ``noise``; at frequencies above ``slow``, in cycles per sample, sources may have
    added power. Returns the filtered streams and the variance of their error.
    """
    length, count = streams.shape[1], len(streams)
    waves = fft.rfft(streams, axis=1)
    common, own = _gains(waves, length, seen * noise, noise, slow)
    mean = waves.mean(axis=0)
    waves -= mean
    waves *= own
    waves += common * mean
    error = noise * (common.mean() / count + own.mean() * (1 - 1 / count))
    return fft.irfft(waves, length, axis=1), float(error)


def _gains(
    waves: npt.NDArray[np.complex64],
    length: int,
    white: float,
    noise: float,
    slow: float,
) -> tuple[FloatArray, FloatArray]:
    """Wiener gains, per frequency, of the outputs' mean and of the rest."""
    edges = _third_octaves(waves.shape[1])
    middle = np.sqrt(edges[:-1] * np.maximum(edges[1:] - 1.0, 1))
    common, own = _spectra(waves, edges, length, white)
    own = _without_sources(own, common, middle / length, slow)
    mean = len(waves) * common + own
    at = np.log(np.maximum(np.arange(waves.shape[1]), 1))
    return (
        np.interp(at, np.log(middle), mean / (mean + noise)).astype(np.float32),
        np.interp(at, np.log(middle), own / (own + noise)).astype(np.float32),
    )


def _spectra(
    waves: npt.NDArray[np.complex64],
    edges: npt.NDArray[np.int64],
    length: int,
    white: float,
) -> tuple[Floats, Floats]:
    """
    Split the outputs' power into a common part and each one's own.

    The common part is the mean cross-spectrum, which neither white noise nor sources
    bias. ``white`` is the power of the white noise.
    """
    count, numbers = len(waves), np.diff(edges) * length
    each = np.zeros(waves.shape[1], np.float32)
    for wave in waves:
        each += wave.real**2 + wave.imag**2
    power = np.add.reduceat(each, edges[:-1]) / numbers
    if count == 1:
        return np.zeros_like(power), np.maximum(power - white, 0)
    total = waves.sum(axis=0)
    together = np.add.reduceat(total.real**2 + total.imag**2, edges[:-1]) / numbers
    common = np.maximum((together - power) / (count * (count - 1)), 0)
    return common, np.maximum(power / count - common - white, 0)


def _without_sources(
    own: Floats, common: Floats, frequency: Floats, slow: float
) -> Floats:
    """
    Keep faint sources out of the spectrum of the outputs' own noise.

    Above the frequency ``slow`` it may not rise above the shape of the common part
    or, where there is none, above the power law of the slow frequencies.
    """
    low = frequency < slow
    if low.all() or low.sum() < 3:
        return own
    if common[low].any():
        limit = own[low].sum() / common[low].sum() * common
    else:
        x, y = np.log(frequency[low]), np.log(np.maximum(own[low], 1e-12))
        slope, level = np.polyfit(x, y, 1)
        limit = np.exp(level + min(slope, 0.0) * np.log(frequency))
    return np.asarray(np.where(low, own, np.minimum(own, limit)))


def _third_octaves(count: int) -> npt.NDArray[np.int64]:
    """Edges of bins of a third of an octave, from frequency 1 to ``count``."""
    parts = np.rint(2 ** (np.arange(0, 3 * np.log2(max(count, 4)) + 1) / 3))
    return np.unique(np.append(parts[parts < count], count)).astype(np.int64)
