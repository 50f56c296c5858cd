"""One astrometric solution for all exposures at once, weighted and robust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from webbmosaic.science.alignment import joined, same_sources
from webbmosaic.science.arrays import Floats

__all__ = ["Move", "solve_absolute", "solve_relative"]

_ROUNDS = 60
_HUBER = 2.0  # residuals beyond this many sigma count by their first power


@dataclass(frozen=True)
class Move:
    """
    A small rigid motion on the tangent plane, about its origin.

    Attributes
    ----------
    shift : tuple of float
        East and north, in arcsec.
    rotation : float
        From east towards north, in radians.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0

    def apply(self, points: Floats) -> Floats:
        """Move points (n, 2) on the plane."""
        c, s = np.cos(self.rotation), np.sin(self.rotation)
        moved: Floats = points @ np.array([[c, s], [-s, c]]) + np.asarray(self.shift)
        return moved


def solve_relative(
    positions: list[Floats],
    errors: list[Floats],
    units: list[str],
    *,
    tolerance: float,
    enough: int,
) -> dict[str, Move]:
    """
    Make exposures agree on the sources that they share.

    Parameters
    ----------
    positions : list of `~numpy.ndarray`, shape (n, 2)
        For each exposure the sources on a common tangent plane, in arcsec, aligned to
        better than ``tolerance``.
    errors : list of `~numpy.ndarray`, shape (n,)
        Their standard errors for each axis, in arcsec.
    units : list of str
        Exposures of the same unit move as one.
    tolerance : float
        Positions closer than this are the same source, in arcsec.
    enough : int
        Matched sources that a rotation is fitted from; with fewer only a shift is.

    Returns
    -------
    moves : dict of str to Move
        One for each unit. Their mean is no motion: the frame is that of all exposures
        together, not of a chosen one.

    Notes
    -----
    Weighted least squares with Huber's weights (Huber 1964, Ann. Math. Stat. 35, 73):
    source positions and moves are found in turn until they agree.
    """
    names, number = np.unique(units, return_inverse=True)
    points, owner = joined(positions)
    sources = list(same_sources(points, owner, tolerance))
    moves = [Move() for _ in names]
    if not sources:
        return dict(zip(names.tolist(), moves, strict=True))
    index = np.concatenate([np.asarray(near) for near in sources])
    source = np.repeat(np.arange(len(sources)), [len(near) for near in sources])
    points, unit = points[index], number[owner[index]]
    sigma = np.concatenate(errors)[index]
    for _ in range(_ROUNDS):
        moved = np.empty_like(points)
        for k, move in enumerate(moves):
            moved[unit == k] = move.apply(points[unit == k])
        means = _means(moved, source, sigma**-2)
        weight = _huber(means[source] - moved, sigma)
        means = _means(moved, source, weight)
        fits = [
            _fit(points[unit == k], means[source][unit == k], weight[unit == k], enough)
            for k in range(len(names))
        ]
        moves = _without_mean(fits)
    return dict(zip(names.tolist(), moves, strict=True))


def solve_absolute(
    positions: Floats,
    errors: Floats,
    catalogue: Floats,
    *,
    tolerance: float,
    enough: int,
) -> tuple[Move, int]:
    """
    Put an aligned set of exposures onto a catalogue.

    Parameters
    ----------
    positions : `~numpy.ndarray`, shape (n, 2)
        Sources of all exposures on the tangent plane, in arcsec.
    errors : `~numpy.ndarray`, shape (n,)
        Their standard errors, in arcsec.
    catalogue : `~numpy.ndarray`, shape (m, 2)
        Of the catalogue, on the same plane.
    tolerance : float
        Largest distance of a match, in arcsec.
    enough : int
        Matches that a rotation is fitted from.

    Returns
    -------
    move : Move
        For all exposures together.
    matches : int
        Stars of the catalogue that it rests on.
    """
    if len(positions) == 0 or len(catalogue) == 0:
        return Move(), 0
    distance, nearest = cKDTree(catalogue).query(positions)
    near = distance < tolerance
    there, target, sigma = positions[near], catalogue[nearest[near]], errors[near]
    stars = len(set(nearest[near].tolist()))
    move = Move()
    if not stars:
        return move, 0
    for _ in range(_ROUNDS // 3):
        weight = _huber(target - move.apply(there), sigma)
        move = _fit(
            there, target, weight, enough if stars >= enough else len(there) + 1
        )
    return move, stars


def _means(points: Floats, source: NDArray[np.int_], weight: Floats) -> Floats:
    total = np.bincount(source, weight)
    sums = [np.bincount(source, weight * points[:, axis]) for axis in (0, 1)]
    return np.column_stack(sums) / total[:, None]


def _huber(residuals: Floats, sigma: Floats) -> Floats:
    """Weight by the error, widened to what the residuals show; outliers pull less."""
    ratio = np.hypot(*residuals.T) / sigma
    # The median of a two-dimensional normal distance is 1.18 sigma.
    scale = max(float(np.median(ratio)) / 1.18, 1e-6)
    weight: Floats = sigma**-2 / np.maximum(1, ratio / (_HUBER * scale))
    return weight


def _fit(there: Floats, target: Floats, weight: Floats, enough: int) -> Move:
    """Fit the small rigid motion from points to targets."""
    if len(there) == 0:
        return Move()
    total = weight.sum()
    middle = (weight[:, None] * there).sum(axis=0) / total
    aim = (weight[:, None] * target).sum(axis=0) / total
    rotation = 0.0
    if len(there) >= enough:
        p, q = there - middle, target - aim
        turned = (weight * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])).sum()
        along = (weight * (p * q).sum(axis=1)).sum()
        rotation = float(np.arctan2(turned, along))
    shift = aim - Move(rotation=rotation).apply(middle[None])[0]
    return Move((float(shift[0]), float(shift[1])), rotation)


def _without_mean(fits: list[Move]) -> list[Move]:
    """Take out the common motion; the motions are small, so that they add."""
    shift = np.mean([m.shift for m in fits], axis=0)
    rotation = float(np.mean([m.rotation for m in fits]))
    return [
        Move(
            (float(m.shift[0] - shift[0]), float(m.shift[1] - shift[1])),
            m.rotation - rotation,
        )
        for m in fits
    ]
