"""
Which slow variation of a frame is sky, and which is drift of the readout.

Levels of rows and a smooth sky can stand for one another: a sky that changes with y
looks like a drift. Both are fitted together to means of blocks of pixels, as sums of
cosines whose variances are learnt from the frame (automatic relevance determination;
MacKay 1992, Neural Computation 4, 415). A plane is always sky, so gradients stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy import linalg

from webbmosaic.science.arrays import FloatArray, Floats
from webbmosaic.science.smoothing import interpolated

BLOCKS = 32
"""Blocks along each axis of the frame."""
SKY_WAVES = 12
"""Cosines of the sky along each axis: structure down to a twelfth of the frame."""
HALO_LIMIT = 0.15
"""Light that a mask leaves at its edges, in white-noise sigma: brighter is masked."""
TILTED_WAVES = 24
"""Cosines across the lines of a tilted family: down to a twelfth of their range."""
_HALO, _TILTED = 400, 500  # groups: the halos, the first tilted family
_ROUNDS = 6


@dataclass(frozen=True)
class _Terms:
    """Terms of the fit: values at the blocks, and the group that shares a variance."""

    values: Floats  # (blocks, terms)
    group: npt.NDArray[np.int64]  # -1: free, no prior


@numba.njit(cache=True, fastmath=True)
def _block_sums(data, weight, top, bottom):  # type: ignore[no-untyped-def]
    ny, nx = data.shape
    rows, cols = top.shape
    for j in range(rows):
        for y in range(j * ny // rows, (j + 1) * ny // rows):
            for i in range(cols):
                t = np.float32(0)
                b = np.float32(0)
                for x in range(i * nx // cols, (i + 1) * nx // cols):
                    t += weight[y, x] * data[y, x]
                    b += weight[y, x]
                top[j, i] += t
                bottom[j, i] += b


def slow_sky(
    data: FloatArray,
    weight: FloatArray,
    outputs: int,
    *,
    halos: FloatArray | None = None,
    angles: tuple[float, ...] = (),
) -> FloatArray:
    """
    Measure the smooth sky of a frame that also has drifting outputs.

    Parameters
    ----------
    data, weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The frame in units of its white noise, sources and bad pixels of weight 0.
    outputs : int
        Outputs side by side, each with its own drift along y.
    halos : 3-D float32 `~numpy.ndarray`, shape (number, rows, columns), optional
        Shapes of faint light around large sources, on a coarse grid over the frame:
        see `webbmosaic.science.halos.outskirts`.
    angles : tuple of float
        Tilted stripes that are there, degrees from the x axis towards the y axis:
        their wide part is no sky either.

    Returns
    -------
    sky : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The smooth sky, pedestal and gradients and halos included, drifts excluded.
    """
    ny, nx = data.shape
    rows, cols = _blocks(ny, 1), _blocks(nx, outputs)
    top, bottom = np.zeros((rows, cols)), np.zeros((rows, cols))
    _block_sums(data, weight, top, bottom)
    waves = (_waves(ny, rows), _waves(nx, cols))
    if halos is None:
        halos = np.zeros((0, 1, 1), np.float32)
    terms = _terms(rows, cols, waves, outputs)
    terms = _with_tilted(terms, data.shape, (rows, cols), angles)
    terms = _with_halos(terms, [interpolated(halo, (rows, cols)) for halo in halos])
    levels = _solve(terms, top.ravel(), bottom.ravel())
    common = levels[terms.group // 100 == 1]
    glow = np.tensordot(levels[levels.size - len(halos) :], halos, axes=1)
    levels = levels[: waves[0] * waves[1]]
    if _is_drift(levels[waves[1]], levels[1], common):
        levels[waves[1]] = 0
    sky = _cosines(ny, waves[0]) @ levels.reshape(waves) @ _cosines(nx, waves[1]).T
    image = np.asarray(sky, np.float32)
    if len(halos):
        image += interpolated(glow.astype(np.float32), (ny, nx))
    return image


def _with_tilted(
    terms: _Terms,
    shape: tuple[int, int],
    blocks: tuple[int, int],
    angles: tuple[float, ...],
) -> _Terms:
    """Add cosines across tilted lines to the terms of a fit, alike at all orders."""
    y, x = (
        (np.arange(n) + 0.5) / n * size for n, size in zip(blocks, shape, strict=True)
    )
    order = np.arange(1, min(TILTED_WAVES, min(blocks)) + 1)
    values, group = [terms.values], [terms.group]
    for number, angle in enumerate(angles):
        turn = np.radians(angle)
        across = np.subtract.outer(y * np.cos(turn), x * np.sin(turn)).ravel()
        across = (across - across.min()) / np.ptp(across)
        values.append(np.sqrt(2) * np.cos(np.pi * np.outer(across, order)))
        group.append(np.full(order.size, _TILTED + number))
    return _Terms(np.hstack(values), np.concatenate(group))


def _with_halos(terms: _Terms, halos: list[FloatArray]) -> _Terms:
    """Add the light around large sources to the terms of a fit."""
    if not halos:
        return terms
    values = np.array([halo.ravel() for halo in halos], np.float64).T
    group = np.full(len(halos), _HALO)
    return _Terms(
        np.hstack([terms.values, values]), np.concatenate([terms.group, group])
    )


def _is_drift(rise: float, across: float, common: Floats) -> bool:
    """
    Whether a rise of the sky along y is no more than the drift of the readout.

    The power of 1/f noise falls as the frequency rises: the slowest wave has, times
    its order, the power of the faster ones, ``common``, which start with order 2. A
    sky that changes across the outputs has a gradient of its own and keeps it. A rise
    between 2 and 3 standard deviations is a drift if it runs along y within 11 degrees,
    which gradients of the sky do by chance only.
    """
    order = np.arange(2, 2 + common.size)
    fast = order <= 16
    expected = float(np.mean(common[fast] ** 2 * order[fast])) if fast.any() else 0.0
    if across**2 > expected / 2:
        return False
    steep = (5 * across) ** 2 < rise**2
    return rise**2 < (9 if steep else 4) * expected


def _blocks(length: int, multiple: int) -> int:
    """Blocks along an axis: at least 4 pixels each, a multiple of the outputs."""
    most = min(BLOCKS, max(1, length // 4))
    return max(multiple, most - most % multiple)


def _waves(length: int, blocks: int) -> int:
    """Cosines along an axis: not shorter than 64 pixels from crest to dip."""
    return max(2, min(SKY_WAVES, blocks // 2, length // 64 + 1))


def _cosines(length: int, count: int) -> Floats:
    """Cosines at the centres of ``length`` cells, of mean square 1."""
    phase = np.pi * (np.arange(length)[:, None] + 0.5) / length
    waves = np.sqrt(2) * np.cos(phase * np.arange(count))
    waves[:, 0] = 1
    return np.asarray(waves)


def _octave(order: npt.NDArray[np.int64] | Floats) -> npt.NDArray[np.int64]:
    return np.floor(np.log2(np.maximum(order, 1))).astype(np.int64)


def _terms(rows: int, cols: int, waves: tuple[int, int], outputs: int) -> _Terms:
    """Sky, drift common to the outputs, offsets of columns, drift of each output."""
    along_y, along_x = _cosines(rows, rows), _cosines(cols, cols)
    order = np.hypot.outer(np.arange(waves[0]), np.arange(waves[1])).ravel()
    sky = np.kron(along_y[:, : waves[0]], along_x[:, : waves[1]])
    sky_group = np.where(order < 1.2, -1, np.floor(2 * np.log2(np.maximum(order, 1))))
    order_y = np.arange(rows)
    values = [sky, np.kron(along_y[:, 2:], np.ones((cols, 1)))]
    groups = [sky_group, 100 + _octave(order_y[2:])]
    values.append(np.kron(np.ones((rows, 1)), along_x[:, 1:]))
    groups.append(np.full(cols - 1, 300))  # columns are alike at all orders
    own = 200 + np.where(order_y == 0, 0, 1 + _octave(order_y))
    for contrast in _contrasts(outputs):
        step = np.repeat(contrast, cols // outputs)[:, None]
        values.append(np.kron(along_y, step))
        groups.append(own)
    return _Terms(np.hstack(values), np.concatenate(groups).astype(np.int64))


def _contrasts(outputs: int) -> Floats:
    """Orthogonal differences between outputs, of mean square 1."""
    start = np.eye(outputs)
    start[:, 0] = 1
    basis = np.linalg.qr(start)[0][:, 1:]
    return np.asarray(basis.T * np.sqrt(outputs))


def _solve(terms: _Terms, top: Floats, bottom: Floats) -> Floats:
    """Fit all terms, learning the variance of each group from its members."""
    square = terms.values.T @ (terms.values * bottom[:, None])
    side = terms.values.T @ top
    free = terms.group == -1
    variance = np.where(free, 1e6, 1e-3)
    members = [terms.group == g for g in np.unique(terms.group[~free])]
    levels = np.zeros(side.size)
    limit = np.where(terms.group == _HALO, HALO_LIMIT**2, 1e6)
    for _ in range(_ROUNDS):
        factor = linalg.cho_factor(square + np.diag(1 / variance), lower=True)
        levels = linalg.cho_solve(factor, side)
        error = np.diag(linalg.lapack.dpotri(factor[0], lower=True)[0])
        known = np.maximum(1 - error / variance, 1e-6)
        for group in members:
            found = np.sum(levels[group] ** 2) / np.sum(known[group])
            variance[group] = np.clip(found, 1e-9, limit[group][0])
    return levels
