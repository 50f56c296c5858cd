"""
What an exposure must see at each of its pixels, by what the other exposures see.

The others are interpolated between their nearest pixels. How far that may be off is
taken from their own pixels: the curvature there (second differences along rows, columns
and both diagonals, beyond the noise) times how far the pixel's centre lies between
theirs. Where both centres coincide, nothing is interpolated and little is allowed for;
between four pixels of an undersampled star, the true peak may be higher by as much as
it is sharp. Only near peaks may the truth lie above the prediction; on the flanks of a
star, where the light is hollow, it cannot, and cosmic rays are found there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from webbmosaic.science.mosaic.frames import STEP, Frame, Mapping

__all__ = ["Prediction", "Structure", "predict", "structure"]

Image = NDArray[np.float32]

#: How sharply a peak may rise between pixels, one sigma, in units of the rms second
#: difference around it. Measured with `benchmarks/mosaics.py`: the sharpest stars of
#: JWST (NIRCam's F070W, NIRISS's F090W) need 0.3 to 0.35 to be left alone.
SHARPNESS = 0.4

#: Of the phase that counts even where the centres coincide: pixels differ in size and
#: orientation over the field.
LEAST_PHASE = 0.1

#: Rows that are predicted at once: keeps the memory small.
_STRIP = 256

#: Most exposures that one is compared with.
MOST = 8


@dataclass(frozen=True)
class Structure:
    """
    How strongly an image changes from pixel to pixel, beyond its noise.

    Attributes
    ----------
    humps, hollows : 2-D float32 `~numpy.ndarray`
        Rms of the negative and the positive second differences over the 3 x 3 pixels
        around each, the middle counting most: near peaks and near dips; -1 where too
        few are good.
    gradient : 2-D float32 `~numpy.ndarray`
        Rms length of the gradient over the same pixels, per pixel.
    """

    humps: Image
    hollows: Image
    gradient: Image


@dataclass(frozen=True)
class Prediction:
    """
    What the other exposures say.

    Attributes
    ----------
    value : 2-D float32 `~numpy.ndarray`
        The prediction.
    variance : 2-D float32 `~numpy.ndarray`
        Its noise.
    above, below : 2-D float32 `~numpy.ndarray`
        How far the truth may lie above and below by phase, shift and the spread of the
        others, one sigma.
    count : 2-D float32 `~numpy.ndarray`
        How many of the others speak for it; 0: it is not known.
    """

    value: Image
    variance: Image
    above: Image
    below: Image
    count: Image


def structure(frame: Frame) -> Structure:
    """
    Measure the structure of an image.

    Parameters
    ----------
    frame : Frame

    Returns
    -------
    structure : Structure
    """
    return Structure(*_structure(frame.data, frame.variance, frame.good))


@numba.njit(cache=True)
def _structure(data, variance, good):  # type: ignore[no-untyped-def]
    """Sum squares of differences over 3 x 3 pixels, less what noise puts there."""
    ny, nx = data.shape
    humps = np.zeros((ny, nx), np.float32)
    hollows, slopes = np.zeros_like(humps), np.zeros_like(humps)
    counts = np.zeros_like(humps)
    for y in range(ny):
        for x in range(nx):
            if not good[y, x]:
                continue
            hump, hollow, slope, seen = 0.0, 0.0, 0.0, 0
            for k in range(4):
                dx = 1 if k != 1 else 0
                dy = 1 if k == 1 or k == 2 else (-1 if k == 3 else 0)
                xa, ya, xb, yb = x - dx, y - dy, x + dx, y + dy
                if min(xa, ya, yb) < 0 or xb >= nx or max(ya, yb) >= ny:
                    continue
                if not (good[ya, xa] and good[yb, xb]):
                    continue
                share = 1.0 if k < 2 else 0.5
                noise = variance[ya, xa] + variance[yb, xb]
                second = data[ya, xa] - 2 * data[y, x] + data[yb, xb]
                half = (noise + 4 * variance[y, x]) / 2
                hump += share * (min(second, 0.0) ** 2 - half)
                hollow += share * (max(second, 0.0) ** 2 - half)
                first = data[yb, xb] - data[ya, xa]
                slope += share * (first**2 - noise) / 4
                seen += 1
            if seen > 0:
                # Rows and columns (a share of 1) and diagonals (0.5, as they are
                # longer): a mean second difference, and a squared gradient.
                humps[y, x], hollows[y, x] = hump / seen, hollow / seen
                slopes[y, x] = 2 * slope / seen
                counts[y, x] = 1
    return (
        _rooted_means(humps, counts),
        _rooted_means(hollows, counts),
        _rooted_means(slopes, counts),
    )


@numba.njit(cache=True)
def _rooted_means(squares, counts):  # type: ignore[no-untyped-def]
    ny, nx = squares.shape
    out = np.full((ny, nx), np.float32(-1))
    for y in range(ny):
        for x in range(nx):
            total, seen = 0.0, 0.0
            for j in range(max(0, y - 1), min(ny, y + 2)):
                for i in range(max(0, x - 1), min(nx, x + 2)):
                    weight = (1 if j != y else 2) * (1 if i != x else 2)
                    total += weight * squares[j, i]
                    seen += weight * counts[j, i]
            if seen >= 3:
                out[y, x] = np.sqrt(max(0.0, total / seen))
    return out


def predict(
    frame: Frame,
    others: Sequence[tuple[Frame, Structure, Mapping, float]],
    *,
    sharpness: float = SHARPNESS,
) -> Prediction:
    """
    Predict an exposure from others.

    Parameters
    ----------
    frame : Frame
        The exposure.
    others : sequence
        Each of the other exposures, its structure, where the exposure's pixels lie on
        it, and how uncertain that is, in pixels.
    sharpness : float, optional
        Of the allowance, in units of the curvature.

    Returns
    -------
    prediction : Prediction
    """
    strips = []
    height, width = frame.data.shape
    for first in range(0, height, _STRIP):
        own = frame.data[first : first + _STRIP]
        planes = np.zeros((len(others), 4, len(own), width), np.float32)
        for plane, (other, form, mapping, error) in zip(planes, others, strict=True):
            _sample(
                plane, first, other.data, other.variance, other.good, form.humps,
                form.hollows, form.gradient, mapping.x, mapping.y, sharpness, error,
            )  # fmt: skip
        strips.append(_combine(own, planes))
    return Prediction(*np.concatenate(strips, axis=1))


@numba.njit(cache=True)
def _sample(  # type: ignore[no-untyped-def]
    plane,
    first,
    data,
    variance,
    good,
    humps,
    hollows,
    gradient,
    node_x,
    node_y,
    sharpness,
    shift,
):
    """Interpolate value, variance and allowance; a variance of 0 says: unknown."""
    ny, nx = plane.shape[1:]
    my, mx = data.shape
    for y in range(ny):
        j, v = (first + y) // STEP, ((first + y) % STEP) / STEP
        for x in range(nx):
            i, u = x // STEP, (x % STEP) / STEP
            a, b, c, d = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
            px = (
                a * node_x[j, i] + b * node_x[j, i + 1]
                + c * node_x[j + 1, i] + d * node_x[j + 1, i + 1]
            )  # fmt: skip
            py = (
                a * node_y[j, i] + b * node_y[j, i + 1]
                + c * node_y[j + 1, i] + d * node_y[j + 1, i + 1]
            )  # fmt: skip
            if not (0 <= px < mx - 1 and 0 <= py < my - 1):
                continue
            qx, qy = int(px), int(py)
            fx, fy = px - qx, py - qy
            formed, hump, hollow, slope = 0.0, 0.0, 0.0, 0.0
            for k in range(4):
                sx, sy = qx + (k & 1), qy + (k >> 1)
                share = (fx if k & 1 else 1 - fx) * (fy if k >> 1 else 1 - fy)
                if humps[sy, sx] >= 0:
                    formed += share
                    hump += share * humps[sy, sx]
                    hollow += share * hollows[sy, sx]
                    slope += share * gradient[sy, sx]
            total, value, noise = _interpolated(data, variance, good, qx, qy, fx, fy)
            if total < 0.5 or formed < 0.5:
                continue
            phase = 2 * (fx * (1 - fx) + fy * (1 - fy))
            phase = max(phase, LEAST_PHASE) + (1 - total)
            plane[0, y, x] = value
            plane[1, y, x] = noise
            phase *= sharpness / formed
            plane[2, y, x] = phase * hump + shift * slope / formed
            plane[3, y, x] = phase * hollow + shift * slope / formed


@numba.njit(cache=True)
def _interpolated(data, variance, good, qx, qy, fx, fy):  # type: ignore[no-untyped-def]
    """
    Interpolate between 4 x 4 pixels (cubic), or 2 x 2 (linear) where some are missing.

    Gives the share of good pixels, the value and its variance.
    """
    ny, nx = data.shape
    if 1 <= qx < nx - 2 and 1 <= qy < ny - 2:
        value, noise, whole = 0.0, 0.0, True
        for j in range(4):
            for i in range(4):
                sy, sx = qy + j - 1, qx + i - 1
                if not good[sy, sx]:
                    whole = False
                share = _cubic(fy, j) * _cubic(fx, i)
                value += share * data[sy, sx]
                noise += share * share * variance[sy, sx]
        if whole:
            return 1.0, value, noise
    total, value, noise = 0.0, 0.0, 0.0
    for k in range(4):
        sx, sy = qx + (k & 1), qy + (k >> 1)
        share = (fx if k & 1 else 1 - fx) * (fy if k >> 1 else 1 - fy)
        if good[sy, sx]:
            total += share
            value += share * data[sy, sx]
            noise += share * share * variance[sy, sx]
    if total <= 0:
        return 0.0, 0.0, 0.0
    return total, value / total, noise / total**2


@numba.njit(cache=True)
def _cubic(f, k):  # type: ignore[no-untyped-def]
    """Weight of the k-th of four samples at a fraction f between the middle two."""
    if k == 0:
        return -0.5 * f + f * f - 0.5 * f**3
    if k == 1:
        return 1 - 2.5 * f * f + 1.5 * f**3
    if k == 2:
        return 0.5 * f + 2 * f * f - 1.5 * f**3
    return -0.5 * f * f + 0.5 * f**3


@numba.njit(cache=True)
def _combine(own_data, planes):  # type: ignore[no-untyped-def]
    """
    Average what the exposures say, each by its error, around the lower median.

    Of two that differ, the one that agrees with the exposure itself is the reference:
    two against one. Who is far off counts little: it has something of its own there.
    """
    count, _, ny, nx = planes.shape
    out = np.zeros((5, ny, nx), np.float32)
    sorted_ = np.empty(count)
    for y in range(ny):
        for x in range(nx):
            known = 0
            for k in range(count):
                if planes[k, 1, y, x] > 0:
                    m = known
                    while m > 0 and sorted_[m - 1] > planes[k, 0, y, x]:
                        sorted_[m] = sorted_[m - 1]
                        m -= 1
                    sorted_[m] = planes[k, 0, y, x]
                    known += 1
            if known == 0:
                continue
            middle = sorted_[(known - 1) // 2]
            if known == 2 and 2 * own_data[y, x] > sorted_[0] + sorted_[1]:
                middle = sorted_[1]
            total, value, noise, above, below = (0.0,) * 5
            spread, expected, heads = (0.0,) * 3
            for k in range(count):
                own = planes[k, 1, y, x]
                if own <= 0:
                    continue
                error = own + planes[k, 2, y, x] ** 2
                off = (planes[k, 0, y, x] - middle) ** 2
                trust = 1 / (1 + (off / (9 * error)) ** 2)
                weight = trust / error
                total += weight
                value += weight * (planes[k, 0, y, x] - middle)
                noise += weight**2 * own
                above += weight * planes[k, 2, y, x]
                below += weight * planes[k, 3, y, x]
                spread += weight * off
                expected += weight * own
                heads += trust
            mean = value / total
            excess = 0.1 * max(0.0, (spread - 2 * expected) / total - mean**2)
            out[0, y, x] = middle + mean
            out[1, y, x] = noise / total**2
            out[2, y, x] = np.sqrt((above / total) ** 2 + excess)
            out[3, y, x] = np.sqrt((below / total) ** 2 + excess)
            out[4, y, x] = heads
    return out
