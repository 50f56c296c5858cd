"""
The skies of all exposures of a mosaic, solved once from where they overlap.

Where two exposures see the same sky, sources cancel in their difference and the
difference of their skies is left. Medians of it in blocks of pixels are solved for all
exposures together by weighted least squares; the mean over the exposures stays, since
the lowest of several noisy levels is lower than the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from webbmosaic.science.arrays import Floats
from webbmosaic.science.mosaic.frames import Frame, Mapping, between

__all__ = ["Levels", "sky_levels"]

#: Side of a block.
_BLOCK = 64
#: Pixels of an exposure that are looked at, about: 0.3 % of their noise is left.
_SAMPLE = 250_000
#: Pixels that a block needs.
_ENOUGH = 30
#: Exposures that each is compared with: those that overlap it most.
_MOST = 12
_MAD_TO_SIGMA = 1.4826
_MEDIAN_ERROR = 1.2533  # of a median over that of a mean


@dataclass(frozen=True)
class Levels:
    """
    What to subtract from each exposure.

    Attributes
    ----------
    terms : 2-D float64 `~numpy.ndarray`, shape (exposures, 1 or 3)
        The constant, and for planes the change from the middle to the right and to
        the upper edge.
    errors : float64 `~numpy.ndarray`, shape (exposures,)
        Of the constant; infinite for an exposure that no other overlaps.
    overlaps : int `~numpy.ndarray`, shape (exposures,)
        With how many others each was compared.
    """

    terms: Floats
    errors: Floats
    overlaps: np.ndarray

    def image(self, index: int, shape: tuple[int, int]) -> Floats:
        """
        Draw what to subtract from an exposure.

        Parameters
        ----------
        index : int
            Which exposure.
        shape : tuple of int
            Its shape (ny, nx).

        Returns
        -------
        image : 2-D float64 `~numpy.ndarray`
        """
        y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
        parts = _basis(x, y, shape, self.terms.shape[1])
        return np.tensordot(self.terms[index], np.array(parts), axes=1)


def sky_levels(frames: Sequence[Frame], *, plane: bool = False) -> Levels:
    """
    Solve for the differences between the skies of exposures.

    Parameters
    ----------
    frames : sequence of Frame
        Aligned exposures.
    plane : bool, optional
        Solve for a tilt of each sky, too.

    Returns
    -------
    levels : Levels
        Their mean is zero within each set of exposures that overlap.
    """
    count, terms = len(frames), 3 if plane else 1
    normal = np.zeros((count, terms, count, terms))
    right = np.zeros((count, terms))
    overlaps = np.zeros(count, int)
    squares, rows = 0.0, 0
    for (one, other), mapping in _pairs(frames).items():
        blocks = _differences(frames[one], frames[other], mapping)
        if not len(blocks):
            continue
        overlaps[[one, other]] += 1
        x, y, u, v = blocks.T[:4]
        here = _basis(x, y, frames[one].data.shape, terms)
        there = _basis(u, v, frames[other].data.shape, terms)
        sides = ((one, np.array(here)), (other, -np.array(there)))
        weight = 1 / blocks[:, 5] ** 2
        for k, part in sides:
            right[k] += part @ (weight * blocks[:, 4])
            for m, again in sides:
                normal[k, :, m, :] += (part * weight) @ again.T
        squares += float((weight * (blocks[:, 4] - np.median(blocks[:, 4])) ** 2).sum())
        rows += len(blocks)
    size = count * terms
    # A tilt common to all is the sky's own: of all solutions the least tilted.
    tilt = np.arange(size) % terms > 0
    normal.reshape(size, size)[tilt, tilt] += 1e-6 * normal.max(initial=0.0)
    covariance = np.linalg.pinv(normal.reshape(size, size), hermitian=True, rcond=1e-10)
    solved = (covariance @ right.ravel()).reshape(count, terms)
    scale = max(1.0, squares / max(1, rows - size))
    errors = np.sqrt(np.maximum(np.diag(covariance), 0) * scale)[::terms].copy()
    errors[overlaps == 0] = np.inf
    return Levels(solved, errors, overlaps)


def _basis(x: Floats, y: Floats, shape: tuple[int, ...], terms: int) -> list[Floats]:
    """Give the constant, and the two slopes: -1 to 1 over the image."""
    ny, nx = shape
    tilts = [2 * x / (nx - 1) - 1, 2 * y / (ny - 1) - 1]
    return [np.ones(np.shape(x)), *tilts][:terms]


def _pairs(frames: Sequence[Frame]) -> dict[tuple[int, int], Mapping]:
    """Choose, for each exposure, the others that overlap it most."""
    chosen: dict[tuple[int, int], Mapping] = {}
    for k, frame in enumerate(frames):
        found = []
        for m, other in enumerate(frames):
            if m != k:
                mapping = between(frame, other)
                shape = other.data.shape
                found.append((int(mapping.overlaps(shape).sum()), m, mapping))
        found.sort(key=lambda item: (-item[0], item[1]))
        for nodes, m, mapping in found[:_MOST]:
            if nodes and (m, k) not in chosen:
                chosen[k, m] = mapping
    return chosen


def _differences(one: Frame, other: Frame, mapping: Mapping) -> Floats:
    """
    Take medians of the difference in blocks.

    Gives x and y on both exposures, the median and its error; blocks far off the others
    are left out.
    """
    (ny, nx), (my, mx) = one.data.shape, other.data.shape
    stride = max(1, round(np.sqrt(nx * ny / _SAMPLE)))
    y, x = (a.ravel() for a in np.mgrid[0:ny:stride, 0:nx:stride])
    u, v = (
        np.nan_to_num(a, nan=-9) for a in mapping.at(x.astype(float), y.astype(float))
    )
    i, j = np.rint(u).astype(int), np.rint(v).astype(int)
    known = (i >= 0) & (j >= 0) & (i < mx) & (j < my) & one.good[y, x]
    known[known] = other.good[j[known], i[known]]
    x, y, u, v, i, j = (a[known] for a in (x, y, u, v, i, j))
    off = one.data[y, x].astype(float) - other.data[j, i]
    block = (y // _BLOCK) * (nx // _BLOCK + 1) + x // _BLOCK
    order = np.argsort(block, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(block[order])) + 1)
    found = np.array(
        [
            (x[p].mean(), y[p].mean(), u[p].mean(), v[p].mean(), *_median(off[p]))
            for p in parts
            if len(p) >= _ENOUGH
        ]
    ).reshape(-1, 6)
    if len(found) < 4:
        return found
    middle = np.median(found[:, 4])
    scatter = _MAD_TO_SIGMA * np.median(np.abs(found[:, 4] - middle))
    found[:, 5] = np.hypot(found[:, 5], scatter) / np.sqrt(2)
    near = np.abs(found[:, 4] - middle) < 5 * np.maximum(scatter, 1e-30)
    return np.asarray(found[near])


def _median(values: Floats) -> tuple[float, float]:
    """Give the median and its error."""
    middle = float(np.median(values))
    scatter = _MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
    return middle, max(_MEDIAN_ERROR * scatter / np.sqrt(len(values)), 1e-30)
