"""The noise that a wisp is fitted against: white, 1/f along the read-out, and lines.

The 1/f noise is a stationary process in time, one part of it common to all outputs,
one of each output's own. Outputs are read at once, row after row, in alternating
directions. Both parts have a 1/f spectrum and one that is flat beyond the time of a
row; columns and tilted lines have offsets of their own. How strong all of them are is
measured from the data. The most probable noise between masked pixels then follows from
a linear system, solved by conjugate gradients with a Wiener filter for preconditioner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, optimize

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.wisp_lines import PIECES, Layout

__all__ = ["ReadNoise", "measure_noise", "noise_and_sky"]

#: Distances in time, in pieces, over which differences are looked at.
_LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)

#: Distance of the lines whose differences are looked at: next neighbours share light.
_APART = 2

#: How many steps conjugate gradients may take.
_MOST_STEPS = 60

_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class ReadNoise:
    """
    How strong the noise is that is not white.

    Attributes
    ----------
    outputs : int
        Amplifiers along a row.
    common, own : tuple of float
        Variances of what the outputs share and of what they do not: the part with a
        1/f spectrum, then the part that is correlated over a row.
    lines : tuple of float
        Variances of the offsets of columns, rising and falling lines.
    """

    outputs: int
    common: tuple[float, float] = (0.0, 0.0)
    own: tuple[float, float] = (0.0, 0.0)
    lines: tuple[float, float, float] = (0.0, 0.0, 0.0)


def measure_noise(residual: FloatArray, weight: FloatArray, outputs: int) -> ReadNoise:
    """
    Measure how strong the 1/f noise and the lines are in what a model leaves.

    Parameters
    ----------
    residual, weight : 2D float32 `~numpy.ndarray`, shape (my, mx)
        ``mx`` is a multiple of ``outputs * PIECES``. ``weight`` is the inverse
        variance of the white noise, 0 where masked.
    outputs : int

    Returns
    -------
    noise : ReadNoise
        Fitted to the mean products of differences: over several lags in time, of two
        outputs for what is common, of one for the whole; between lines near each other.
    """
    layout = _layout(weight.shape, outputs)
    (total, sums), _ = layout.sums([_turned(weight), _turned(residual * weight)])
    time, *lines = layout.parts
    spans = outputs, layout.size
    times = layout.rows * PIECES
    common, own = _strength_in_time(
        total[time].reshape(spans)[:, :times], sums[time].reshape(spans)[:, :times]
    )
    column, rising, falling = (_line_variance(total[k], sums[k]) for k in lines)
    return ReadNoise(outputs, common, own, (column, rising, falling))


def _turned(images: FloatArray) -> FloatArray:
    """Put x before y."""
    return np.ascontiguousarray(np.swapaxes(images, -1, -2))


def _layout(shape: tuple[int, ...], outputs: int) -> Layout:
    rows, columns = shape
    return Layout(rows, columns, outputs, _length(rows * PIECES))


def _means(
    total: FloatArray, sums: FloatArray
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Means without outliers, their white noise, and where they are good."""
    good = (total > 0.2 * np.max(total, initial=0.0)) & (total > 0)
    some = np.where(good, total, 1)
    means = np.where(good, sums / some, 0)
    if good.any():
        limit = 4 * _MAD_TO_SIGMA * np.median(np.abs(means[good]))
        means = np.clip(means, -limit, limit)
    return means, np.where(good, 1 / some, 0), good


def _line_variance(total: FloatArray, sums: FloatArray) -> float:
    """Variance of lines from the differences of near ones."""
    means, white, good = _means(total, sums)
    both = good[_APART:] & good[:-_APART]
    if np.count_nonzero(both) < 16:
        return 0.0
    apart = np.square(means[_APART:] - means[:-_APART]) - white[_APART:]
    return max(0.0, float(np.mean((apart - white[:-_APART])[both]) / 2))


def _strength_in_time(
    total: FloatArray, sums: FloatArray
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Variances of the common and of the own part, from sums in time per output."""
    means, white, good = _means(total, sums)
    if np.count_nonzero(good) < 64:
        return (0.0, 0.0), (0.0, 0.0)
    times = total.shape[1]
    shapes = [fft.irfft(p, _length(times)) for p in _spectra(times)]
    rows, shared, single = [], [], []
    for lag in (lag for lag in _LAGS if lag < times):
        one, two = _products(means, white, good, lag)
        rows.append([2 * (shape[0] - shape[lag]) for shape in shapes])
        shared.append(two)
        single.append(one - two)
    design = np.array(rows)
    common = optimize.nnls(design, np.array(shared))[0].tolist()
    own = optimize.nnls(design, np.array(single))[0].tolist()
    return (common[0], common[1]), (own[0], own[1])


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


def noise_and_sky(
    images: FloatArray,
    weight: FloatArray,
    noise: ReadNoise,
    *,
    terms: FloatArray | None = None,
    tolerance: float = 1e-3,
) -> tuple[FloatArray, FloatArray]:
    """
    Make the most probable noise and background of images.

    Parameters
    ----------
    images : float32 `~numpy.ndarray`, shape (n, my, mx)
        Taken for background, white noise, 1/f noise and lines.
    weight : 2D float32 `~numpy.ndarray`, shape (my, mx)
        Inverse variance of the white noise, 0 where masked.
    noise : ReadNoise
    terms : float32 `~numpy.ndarray`, shape (k, *cells), optional
        Shapes of the background, of any brightness, in cells of ``CELL`` blocks.
    tolerance : float, optional
        When conjugate gradients have converged.

    Returns
    -------
    pattern, sky : float32 `~numpy.ndarray`, shape (n, my, mx)
        Linear functions of the images: ``(images - pattern - sky) * weight`` is their
        product with the inverse covariance of the noise. However roughly that was
        inverted, nothing of the terms is left in it.
    """
    layout = _layout(weight.shape, noise.outputs)
    if terms is None:
        terms = np.zeros((0, *layout.cells[::-1]), np.float32)
    system = _System(_turned(weight), layout, noise, _turned(terms))
    pattern, sky = system.solve(_turned(images), tolerance)
    return _turned(pattern), _turned(sky)


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


class _System:
    """The normal equations ``(S + K^-1) u = y`` of levels ``u`` with covariance K.

    S adds up the weights along lines, and background is projected out of it. In
    Fourier space K has two eigenvalues for the times at each frequency: of the sum over
    the outputs and of everything across it. The lines are independent of each other.
    """

    def __init__(
        self, weight: FloatArray, layout: Layout, noise: ReadNoise, terms: FloatArray
    ) -> None:
        self.weight, self.layout, self.terms = weight, layout, terms
        (total,), (power,) = self.layout.sums([weight])
        time, *lines = self.layout.parts
        self.spans = noise.outputs, self.layout.size
        used = noise.outputs * self.layout.rows * PIECES
        typical = total[time].sum() / used
        self.inverse, self.wiener = _in_fourier_space(
            noise, self.layout.rows * PIECES, typical
        )
        self.time, self.rest = time, slice(time.stop, None)
        self.line_inverse = np.zeros(total.size - time.stop, np.float32)
        self.line_wiener = np.zeros_like(self.line_inverse)
        for part, variance in zip(lines, noise.lines, strict=True):
            if variance > 0:
                here = slice(part.start - time.stop, part.stop - time.stop)
                self.line_inverse[here] = 1 / variance
                self.line_wiener[here] = 1 / (total[part] + 1 / variance)
        self._set_background(power)

    def _set_background(self, power: FloatArray) -> None:
        images = [self.layout.enlarged(t) * self.weight for t in self.terms]
        self.term_sums, _ = self.layout.sums(images)
        basis = self.terms.reshape(len(self.terms), power.size)
        kernel = ((basis * power.ravel()) @ basis.T).astype(np.float64)
        # Where hardly a pixel is left to see, some terms have no light to fit: 0.
        inverse = np.linalg.pinv(kernel, rcond=1e-7, hermitian=True)
        self.to_factors = (inverse @ basis).astype(np.float32).T

    def _projected(self, sums: FloatArray, cells: FloatArray) -> FloatArray:
        factors = cells.reshape(len(cells), -1) @ self.to_factors
        return np.asarray(sums - factors @ self.term_sums, np.float32)

    def _filtered(
        self, levels: FloatArray, factors: tuple[FloatArray, FloatArray, FloatArray]
    ) -> FloatArray:
        across, along, lines = factors
        series = levels[:, self.time].reshape(-1, *self.spans)
        waves = fft.rfft(series)
        mean = waves.mean(axis=1, keepdims=True)
        waves *= across
        waves += (along - across) * mean
        filtered = np.empty_like(levels)
        filtered[:, self.time] = fft.irfft(waves, self.spans[1]).reshape(
            len(levels), -1
        )
        filtered[:, self.rest] = lines * levels[:, self.rest]
        return filtered

    def solve(
        self, images: FloatArray, tolerance: float
    ) -> tuple[FloatArray, FloatArray]:
        """Conjugate gradients, for several right-hand sides at once."""
        inverse = (*self.inverse, self.line_inverse)
        wiener = (*self.wiener, self.line_wiener)
        left = self._projected(*self.layout.sums(list(images * self.weight)))
        found = np.zeros_like(left)
        ahead = step = self._filtered(left, wiener)
        size = first = _dots(left, ahead)
        for _ in range(_MOST_STEPS):
            going = size > tolerance**2 * first
            if not going.any():
                break
            pushed = self._projected(*self.layout.weighted(step, self.weight))
            pushed += self._filtered(step, inverse)
            factor = np.where(going, size / _positive(_dots(step, pushed)), 0)
            found += factor * step
            left -= factor * pushed
            ahead = self._filtered(left, wiener)
            last, size = size, _dots(left, ahead)
            step = ahead + size / _positive(last) * step
        pattern = self.layout.spread(found)
        _, cells = self.layout.sums(list((images - pattern) * self.weight))
        factors = cells.reshape(len(cells), -1) @ self.to_factors
        return pattern, self.layout.enlarged(np.tensordot(factors, self.terms, axes=1))


def _in_fourier_space(
    noise: ReadNoise, times: int, typical: float
) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Inverse power across and along the outputs, and the Wiener filters."""
    pink, flat = _spectra(times)
    own = noise.own[0] * pink + noise.own[1] * flat
    common = noise.common[0] * pink + noise.common[1] * flat
    if not (own + common).any():
        nothing = np.zeros_like(pink), np.zeros_like(pink)
        return nothing, nothing
    # Without any noise of their own, outputs could not be told apart.
    own = np.maximum(own, 1e-3 * common)
    own = np.maximum(own, 1e-6 * own.max())
    across, along = 1 / own, 1 / (own + noise.outputs * common)
    return (across, along), (1 / (typical + across), 1 / (typical + along))


def _dots(one: FloatArray, two: FloatArray) -> FloatArray:
    """Scalar products, one for each right-hand side, in a shape to multiply with."""
    return np.asarray(np.einsum("ij,ij->i", one, two)[:, None], np.float32)


def _positive(values: FloatArray) -> FloatArray:
    return np.maximum(values, np.float32(1e-30))
