"""
How large each part of a frame is, learnt from the frame.

A stripe runs through the whole frame and a source does not: products of pieces of a
line that lie apart hold neither white noise nor sources, and their mean at every
distance across the lines is the covariance of the stripes. The same holds for the
rows of one output, and for two outputs that are read at the same time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from webbmosaic.science.arrays import FloatArray, Floats
from webbmosaic.science.frame.model import FREE, FrameModel, Latent, Levels, Powers

WIDE = 512
"""Pixels: wider structure is not looked at when a family is tested."""
SURE = (0.4, 1.2)
"""Shares of the asked-for significance, at which a tilted family begins to count, and
at which it counts in full."""
LOUD = 6.0
"""Standard deviations from which on a single line must be alike all along."""
ALIKE = (0.5, 0.8)
"""Likeness of the pieces of a loud line at which it begins to count, counts fully. A
line that changes by 30 % has 0.96, the spike of a star that fades away some 0.3."""
SLOWEST = 256
"""Pixels: power at longer waves is held near that of 1/f noise, given shorter ones."""
DEFICIT = 3.0
"""How far the slowest modes may fall short of that; sources only ever add."""
TRUSTED = 0.02
"""Share of the products of weights at distance 0, from which a covariance is known."""
SKY = 0.1
"""First guess of the smooth sky's variation, in units of the white noise."""
HALO = 0.3
"""First guess of the share of the light of sources that masks leave about them."""
TINY = 1e-12


def first_sky(model: FrameModel) -> FloatArray:
    """Power of the smooth sky before it is learnt; the pedestal is free."""
    ny, nx = model.nodes
    order = np.hypot.outer(np.arange(ny), np.arange(nx))
    order[0, 0] = 1
    power = (SKY**2 * ny * nx * order**-3.0).astype(np.float32)
    power[0, 0] = FREE * ny * nx
    return power


def first_halo(model: FrameModel) -> FloatArray:
    """Power of what masks leave of sources before it is learnt, over their light."""
    ny, nx = model.nodes
    order = np.maximum(np.hypot.outer(np.arange(ny), np.arange(nx)), 2)
    power = order**-2.0
    return np.asarray(HALO**2 * ny * nx * power / power.sum(), np.float32)


def learn_light(
    latent: FloatArray,
    power: FloatArray,
    known: Floats,
    groups: tuple[tuple[float, float], ...],
) -> FloatArray:
    """
    Scale the power of smooth light to what was found of it.

    Parameters
    ----------
    latent : 2-D float32 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        Whitened levels of the cosines.
    power : 2-D float32 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        Power that they were found with.
    known : 2-D float64 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        Share of each cosine that the data tell; 0 takes no part.
    groups : tuple of pairs of float
        Orders of the cosines, from and up to, that share a scale.

    Returns
    -------
    scaled : 2-D float32 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        The new power: the evidence is highest where the squares of whitened levels
        are as many as the data tell (MacKay 1992, Neural Computation 4, 415).
    """
    order = np.hypot.outer(*(np.arange(n) for n in power.shape))
    scaled = power.copy()
    for low, high in groups:
        group = (order > low) & (order < high)
        inside = group & (known > 0)
        found = np.sum(latent[inside] ** 2) / max(float(np.sum(known[inside])), 1e-6)
        scaled[group] *= np.clip(found, 0.1, 100)
    return scaled


def rescaled(latent: Latent, old: Powers, new: Powers) -> Latent:
    """Whiten the same levels by other powers."""
    pairs = [
        (old.series, new.series),
        *zip(old.lines, new.lines, strict=True),
        (old.light, new.light),
        (old.halo, new.halo),
    ]
    return [
        z * np.where(b > TINY, np.sqrt(a / np.maximum(b, TINY)), 0).astype(np.float32)
        for z, (a, b) in zip(latent, pairs, strict=True)
    ]


def learn(
    model: FrameModel,
    left: Levels,
    bottom: Levels,
    levels: Levels,
    light: tuple[FloatArray, FloatArray, FloatArray],
    significance: float,
) -> tuple[Powers, list[float]]:
    """
    Measure the power spectra of readout noise, columns and tilted lines.

    Parameters
    ----------
    model : FrameModel
        The geometry.
    left, bottom : Levels
        Sums of the weighted residuals and of the weights.
    levels : Levels
        Levels so far.
    light : tuple of 2-D float32 `~numpy.ndarray`
        Power of sky and halos, and the light of sources: see `Powers`.
    significance : float
        Standard deviations at which a tilted family is believed.

    Returns
    -------
    powers : Powers
        The spectra.
    found : list of float
        Standard deviations by which each family of lines is there.
    """
    lines, found = [], []
    for f, family in enumerate(model.families):
        part = np.s_[f, :, : family.count]
        seen = bottom.lines[part].astype(np.float64)
        top = left.lines[part] + seen * levels.lines[part]
        trust, sure = tested(top, seen, WIDE * family.parts)
        found.append(sure)
        covariance = _ratio(_far(top * trust), _far(seen * trust))
        noise = family.count / max(float(seen.sum()), TINY)
        power = spectrum(covariance, model.line_lengths[f], noise)
        width = family.count / family.parts
        power = slow_limited(power, width / SLOWEST)
        if family.tilted:
            power *= ramp(sure / significance, SURE)
        power[0] = 0
        lines.append(power.astype(np.float32))
    return Powers(_series_powers(model, left, bottom, levels), lines, *light), found


def ramp(value: float, limits: tuple[float, float]) -> float:
    """Rise from 0 at the lower limit to 1 at the upper one."""
    low, high = limits
    return float(np.clip((value - low) / (high - low), 0, 1))


def tested(top: Floats, bottom: Floats, wide: int) -> tuple[Floats, float]:
    """
    Test whether a family of stripes is there.

    Parameters
    ----------
    top, bottom : 2-D float64 `~numpy.ndarray`, shape (pieces, lines)
        Weighted sums over pieces of lines, and their weights.
    wide : int
        Lines: wider structure is taken out first, it may be sky.

    Returns
    -------
    trust : 1-D float64 `~numpy.ndarray`, shape (lines,)
        Trust in each line: low where it is bright on some of its pieces only, as the
        spike of a star is.
    significance : float
        Sum of the products of pieces that lie apart, over the scatter that noise alone
        would give it.
    """
    around = ndimage.uniform_filter1d(top, wide, axis=1, mode="constant")
    number = ndimage.uniform_filter1d(bottom, wide, axis=1, mode="constant")
    top = top - bottom * around / np.maximum(number, 1e-6)
    products = top.sum(axis=0) ** 2 - np.sum(top * _near(top), axis=0)
    pairs = bottom.sum(axis=0) ** 2 - np.sum(bottom * _near(bottom), axis=0)
    pairs = np.maximum(pairs, 0)
    seen = bottom > 8
    if np.count_nonzero(pairs > 64) < 16 or not seen.any():
        return np.ones(top.shape[1]), 0.0
    noise = max(1.0, 1.4826**2 * float(np.median(top[seen] ** 2 / bottom[seen])))
    trust = trusted(top, bottom, noise)
    # Each pair is counted twice in the products, hence the factor of 2.
    scatter = noise * np.sqrt(2 * np.sum(pairs))
    return trust, float(np.sum(products * trust) / scatter)


def trusted(
    top: Floats | FloatArray, bottom: Floats | FloatArray, noise: float = 1.0
) -> Floats:
    """
    Trust that bright lines are stripes, bright all along, and not spikes of stars.

    Parameters
    ----------
    top, bottom : 2-D float `~numpy.ndarray`, shape (pieces, lines)
        Weighted sums over pieces of lines, and their weights.
    noise : float
        Variance of a pixel.

    Returns
    -------
    trust : 1-D float `~numpy.ndarray`, shape (lines,)
        From 0 to 1; 1 for lines that do not stand out.
    """
    whole, seen = top.sum(axis=0), np.maximum(bottom.sum(axis=0), 1)
    squares = seen * np.sum(top**2 / np.maximum(bottom, 1), axis=0)
    alike = whole**2 / np.maximum(squares, TINY)
    height = np.abs(whole) / np.sqrt(noise * seen)
    low, high = ALIKE
    loud = np.clip(height / LOUD - 1, 0, 1)
    return np.asarray(1 - loud * (1 - np.clip((alike - low) / (high - low), 0, 1)))


def spectrum(covariance: Floats, length: int, noise: float) -> Floats:
    """
    Turn a covariance into a power spectrum.

    Parameters
    ----------
    covariance : 1-D float64 `~numpy.ndarray`
        At distances 0, 1, 2, ...
    length : int
        Samples of the Fourier transform that the spectrum is for.
    noise : float
        Power of the white noise in each mode; 0 for the mean as it is.

    Returns
    -------
    power : 1-D float64 `~numpy.ndarray`, shape (length // 2 + 1,)
        Means of bands, less as they are uncertain and never negative.
    """
    reach = min(covariance.size, length // 2)
    taper = np.cos(np.arange(reach) * np.pi / 2 / reach) ** 2
    kernel = np.zeros(length)
    kernel[:reach] = covariance[:reach] * taper
    kernel[length - reach + 1 :] = kernel[1:reach][::-1]
    power = fft.rfft(kernel).real
    edges = _bands(power.size)
    number = np.diff(edges)
    mean = np.add.reduceat(power, edges[:-1]) / number
    if noise > 0:
        error = noise * np.sqrt(2 / number)
        mean = np.maximum(mean, TINY)
        mean = mean * np.maximum(1 - (error / mean) ** 2, 0)
    return np.repeat(mean, number)


def slow_limited(power: Floats, slowest: float) -> Floats:
    """
    Hold the slowest modes near what 1/f noise has, given the faster ones.

    The outskirts of a big galaxy and gradients of the sky add to the slowest modes, and
    one mode alone says little about its own power.
    """
    first = max(3, round(slowest))
    part = np.arange(first, min(3 * first + 1, power.size))
    usual = float(np.mean(power[part] * part)) if part.size else 0.0
    order = np.arange(1, min(first, power.size))
    power = power.copy()
    power[order] = np.clip(power[order], usual / order / DEFICIT, usual / order)
    return power


def _bands(count: int) -> npt.NDArray[np.int64]:
    """Edges of bands of a third of an octave, counted from both ends."""
    octaves = np.arange(0, 3 * np.log2(max(count, 4)) + 1) / 3
    up = np.unique(np.rint(2**octaves)).astype(np.int64)
    up = up[up < count / 2]
    return np.unique(np.concatenate([[0], up, count - up, [count]]))


def _series_powers(
    model: FrameModel, left: Levels, bottom: Levels, levels: Levels
) -> FloatArray:
    """
    Spectra of the outputs' mean and of their contrasts.

    What is common to the outputs follows from products of different outputs; each
    one's own noise from products of far pieces of its rows, as long as it changes
    slowly, and from there on as the common noise does, or as 1/f.
    """
    ny, count = model.shape[0], len(model.readout.outputs)
    top = left.series + bottom.series * levels.series
    pieces, weights = (
        model.row_pieces(table).swapaxes(1, 2).astype(np.float64)
        for table in (replace(left, series=top), bottom)
    )
    rows = model.length // model.stride  # modes of rows are modes of steps, too
    noise = ny * count / max(float(weights.sum()), TINY)
    covariance = _ratio(
        np.sum([_far(p) for p in pieces], axis=0),
        np.sum([_far(w) for w in weights], axis=0),
    )
    slowest = ny / SLOWEST
    if count > 1:
        both, seen = pieces.sum(axis=1), weights.sum(axis=1)
        covariance = covariance - _ratio(_crossed(both), _crossed(seen))
        noise /= np.sqrt(count)
    own = slow_limited(spectrum(covariance, rows, noise) * model.stride, slowest)
    own = _continued(own, model.length // 2 + 1, ny // 2)
    if count == 1:
        own[0] = 0
        return own[None].astype(np.float32)
    flat = np.zeros((2, count, ny, model.stride), np.float32)
    flat[:, :, :, : model.steps] = top, bottom.series
    top, seen = flat.reshape(2, count, -1)
    between = _ratio(_crossed(top), _crossed(seen))
    noise = top.shape[1] / max(float(seen.sum()), TINY)
    common = slow_limited(spectrum(between, model.length, noise), slowest)
    common = np.maximum(common, _faded(spectrum(between, model.length, 0.0), ny))
    raw = spectrum(covariance, rows, 0.0) * model.stride
    slow = np.arange(3, min(max(8, ny // 16), raw.size))
    ratio = np.sum(raw[slow] * slow) / max(float(np.sum(common[slow] * slow)), TINY)
    alike = np.clip(ratio, 0, 1) * common
    own = np.maximum(own, alike / DEFICIT)
    if common.any():
        own[ny // 4 :] = np.minimum(own, alike)[ny // 4 :]
    power = np.stack([count * common + own, *[own] * (count - 1)])
    power[0, 0] = 0
    power[1:, 0] = FREE * model.length
    return power.astype(np.float32)


def _continued(slow: Floats, size: int, limit: int) -> Floats:
    """Continue a spectrum of rows as 1/f to what changes within a row."""
    limit = min(limit, slow.size)
    part = np.arange(max(1, limit // 4), limit)
    level = float(np.mean(slow[part] * part)) if part.size else 0.0
    power = level / np.maximum(np.arange(size), 1)
    power[:limit] = slow[:limit]
    return np.asarray(power)


def _faded(power: Floats, rows: int) -> Floats:
    """What a spectrum has within rows if it falls as 1/f, where noise hides it."""
    order = np.arange(power.size)
    part = order[rows // 4 : 2 * rows]
    level = max(float(np.mean(power[part] * part)), 0) if part.size else 0.0
    return np.where(order > 2 * rows, level / np.maximum(order, 1), 0)


def _ratio(products: Floats, pairs: Floats) -> Floats:
    """Mean products, towards 0 where there are too few pairs."""
    return products / np.maximum(pairs, max(TRUSTED * float(pairs[0]), TINY))


def _near(parts: Floats) -> Floats:
    """Sum each piece of the lines and its neighbours."""
    near = parts.copy()
    near[1:] += parts[:-1]
    near[:-1] += parts[1:]
    return near


def _far(parts: Floats) -> Floats:
    """Sums of the products of pieces that lie apart, at every distance across."""
    count = parts.shape[1]
    size = fft.next_fast_len(2 * count, real=True)
    waves = fft.rfft(parts, size, axis=1)
    total = np.abs(waves.sum(axis=0)) ** 2
    total -= np.sum((waves * _near(waves).conj()).real, axis=0)
    return np.asarray(fft.irfft(total, size)[:count], np.float64)


def _crossed(series: FloatArray | Floats) -> Floats:
    """Sums of the products of different outputs, at every distance in time."""
    count = series.shape[1]
    size = fft.next_fast_len(2 * count, real=True)
    waves = fft.rfft(series, size, axis=1)
    total = np.abs(waves.sum(axis=0)) ** 2 - np.sum(np.abs(waves) ** 2, axis=0)
    return np.asarray(fft.irfft(total, size)[:count], np.float64)
