"""The noise that a wisp is fitted against: white, and 1/f along the read-out.

The 1/f noise is a stationary process in time, one part of it common to all outputs,
one of each output's own. Outputs are read at once, row after row, in alternating
directions. Both parts have a 1/f spectrum and one that is flat beyond the time of a
row; how strong they are is measured from the data. The most probable noise between
masked pixels then follows from a linear system, solved by conjugate gradients with
a Wiener filter for preconditioner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, optimize

from webbmosaic.science.arrays import FloatArray

__all__ = ["PIECES", "ReadNoise", "measure_noise", "read_noise"]


#: Pieces in time of each row of an output; the noise is constant in each.
PIECES = 8

#: Distances in time, in pieces, over which differences are looked at.
_LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)

#: When conjugate gradients have converged, and how many steps they may take.
_TOLERANCE, _MOST_STEPS = 1e-3, 60

_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class ReadNoise:
    """
    How strong the 1/f noise is.

    Attributes
    ----------
    outputs : int
        Amplifiers along a row.
    common, own : tuple of float
        Variances of what the outputs share and of what they do not: the part with a
        1/f spectrum, then the part that is correlated over a row.
    """

    outputs: int
    common: tuple[float, float] = (0.0, 0.0)
    own: tuple[float, float] = (0.0, 0.0)

    @property
    def quiet(self) -> bool:
        """Whether there is no 1/f noise."""
        return not any((*self.common, *self.own))


def measure_noise(residual: FloatArray, weight: FloatArray, outputs: int) -> ReadNoise:
    """
    Measure how strong the 1/f noise is in what a model leaves.

    Parameters
    ----------
    residual, weight : 2D float32 `~numpy.ndarray`, shape (my, mx)
        ``mx`` is a multiple of ``outputs * PIECES``. ``weight`` is the inverse
        variance of the white noise, 0 where masked.
    outputs : int

    Returns
    -------
    noise : ReadNoise
        Fitted to the mean products of differences over several lags in time: of two
        outputs for what is common, of one for the whole.
    """
    total = _in_time(weight[None], outputs)[0]
    sums = _in_time((residual * weight)[None], outputs)[0]
    good = (total > 0.2 * np.max(total, initial=0.0)) & (total > 0)
    if np.count_nonzero(good) < 64:
        return ReadNoise(outputs)
    means = sums / np.where(good, total, 1)
    limit = 4 * _MAD_TO_SIGMA * np.median(np.abs(means[good]))
    means = np.clip(means, -limit, limit)
    white = np.where(good, 1 / np.where(good, total, 1), 0)
    shapes = [fft.irfft(p, _length(total.shape[1])) for p in _spectra(total.shape[1])]
    rows, shared, single = [], [], []
    for lag in (lag for lag in _LAGS if lag < total.shape[1]):
        one, two = _products(means, white, good, lag)
        rows.append([2 * (shape[0] - shape[lag]) for shape in shapes])
        shared.append(two)
        single.append(one - two)
    design = np.array(rows)
    common = optimize.nnls(design, np.array(shared))[0]
    own = optimize.nnls(design, np.array(single))[0]
    return ReadNoise(outputs, tuple(common.tolist()), tuple(own.tolist()))


def _products(
    means: FloatArray, white: FloatArray, good: npt.NDArray[np.bool_], lag: int
) -> tuple[float, float]:
    """Mean products of differences over a lag: of one output, and of two."""
    both = good[:, lag:] & good[:, :-lag]
    apart = np.where(both, means[:, lag:] - means[:, :-lag], 0)
    count = both.sum()
    if count == 0:
        return 0.0, 0.0
    excess = apart**2 - np.where(both, white[:, lag:] + white[:, :-lag], 0)
    pairs = (both.sum(axis=0) ** 2 - both.sum(axis=0)).sum()
    cross = (apart.sum(axis=0) ** 2 - (apart**2).sum(axis=0)).sum()
    return float(excess.sum() / count), float(cross / pairs) if pairs else 0.0


def read_noise(images: FloatArray, weight: FloatArray, noise: ReadNoise) -> FloatArray:
    """
    Make the most probable 1/f noise of images.

    Parameters
    ----------
    images : float32 `~numpy.ndarray`, shape (n, my, mx)
        Taken for white and 1/f noise.
    weight : 2D float32 `~numpy.ndarray`, shape (my, mx)
        Inverse variance of the white noise, 0 where masked.
    noise : ReadNoise

    Returns
    -------
    pattern : float32 `~numpy.ndarray`, shape (n, my, mx)
        A linear function of the images: ``(images - pattern) * weight`` is their
        product with the inverse covariance of the noise.
    """
    if noise.quiet:
        return np.zeros_like(images)
    total = _in_time(weight[None], noise.outputs)[0]
    level = _in_time(images * weight, noise.outputs)
    return _in_space(_Wiener(total, noise).solve(level), weight.shape)


def _in_time(images: FloatArray, outputs: int) -> FloatArray:
    """Sum over pieces, in the order of time; shape (n, outputs, my * PIECES)."""
    count, my, mx = images.shape
    width = mx // (outputs * PIECES)
    pieces = images.reshape(count, my, outputs, PIECES, width).sum(axis=-1)
    pieces[:, :, 1::2] = pieces[:, :, 1::2, ::-1].copy()
    series = np.swapaxes(pieces, 1, 2).reshape(count, outputs, my * PIECES)
    return np.asarray(series, np.float32)


def _in_space(series: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Bring time series back to images."""
    count, outputs, _ = series.shape
    my, mx = shape
    pieces = np.swapaxes(series.reshape(count, outputs, my, PIECES), 1, 2).copy()
    pieces[:, :, 1::2] = pieces[:, :, 1::2, ::-1].copy()
    return np.repeat(pieces.reshape(count, my, -1), mx // (outputs * PIECES), axis=2)


def _length(times: int) -> int:
    """Enough room after the last row that it does not touch the first."""
    return int(fft.next_fast_len(times + times // 8, real=True))


def _spectra(times: int) -> tuple[FloatArray, FloatArray]:
    """Spectra of unit variance: 1/f, and flat up to the frequency of rows."""
    size = _length(times)
    frequency = np.arange(size // 2 + 1) / size
    frequency[0] = frequency[1] / 4
    shapes = 1 / frequency, 1 / (1 + (2 * PIECES * frequency) ** 2)
    pink, flat = ((s / fft.irfft(s, size)[0]).astype(np.float32) for s in shapes)
    return pink, flat


class _Wiener:
    """The normal equations ``(S + K^-1) u = y`` of noise ``u`` with covariance K.

    In Fourier space K has two eigenvalues at each frequency: of the sum over the
    outputs and of everything across it. S is the weight in each piece.
    """

    def __init__(self, total: FloatArray, noise: ReadNoise) -> None:
        self.count, self.times = total.shape
        self.size = _length(self.times)
        self.total = self._padded(total)
        pink, flat = _spectra(self.times)
        own = noise.own[0] * pink + noise.own[1] * flat
        common = noise.common[0] * pink + noise.common[1] * flat
        # Without any noise of their own, outputs could not be told apart.
        own = np.maximum(own, 1e-3 * common)
        own = np.maximum(own, 1e-6 * own.max())
        self.inverse = 1 / own, 1 / (own + self.count * common)
        typical = self.total.mean()
        self.wiener = tuple(1 / (typical + i) for i in self.inverse)

    def _padded(self, series: FloatArray) -> FloatArray:
        room = np.zeros((*series.shape[:-1], self.size), np.float32)
        room[..., : self.times] = series
        return room

    def _filtered(
        self, series: FloatArray, factors: tuple[FloatArray, ...]
    ) -> FloatArray:
        waves = fft.rfft(series, self.size)
        across, along = factors
        mean = waves.mean(axis=1, keepdims=True)
        waves = across * waves + (along - across) * mean
        return np.asarray(fft.irfft(waves, self.size), np.float32)

    def solve(self, level: FloatArray) -> FloatArray:
        """Conjugate gradients, for several right-hand sides at once."""
        left = self._padded(level)
        found = np.zeros_like(left)
        ahead = step = self._filtered(left, self.wiener)
        size = first = _dots(left, ahead)
        for _ in range(_MOST_STEPS):
            going = size > _TOLERANCE**2 * first
            if not going.any():
                break
            pushed = self.total * step + self._filtered(step, self.inverse)
            factor = np.where(going, size / _positive(_dots(step, pushed)), 0)
            found += factor * step
            left -= factor * pushed
            ahead = self._filtered(left, self.wiener)
            last, size = size, _dots(left, ahead)
            step = ahead + size / _positive(last) * step
        return found[..., : self.times]


def _dots(one: FloatArray, two: FloatArray) -> FloatArray:
    """Scalar products, one for each right-hand side, in a shape to multiply with."""
    return np.asarray((one * two).sum(axis=(1, 2), keepdims=True), np.float32)


def _positive(values: FloatArray) -> FloatArray:
    return np.maximum(values, np.float32(1e-30))
