"""Which sources are the same: offsets too large to guess, and matches one to one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter
from scipy.spatial import cKDTree
from scipy.stats import poisson

from webbmosaic.science.arrays import Floats
from webbmosaic.science.astrometry.moves import Move

__all__ = ["Guess", "find_offset", "one_to_one", "refine_offset"]

Indices = NDArray[np.intp]

_BIN = 0.1  # arcsec; peaks are sought in squares of two bins
_MOST_PAIRS = 1_000_000  # in one histogram; beyond, every k-th source does
_CANDIDATES = 6  # peaks that are looked at closely
_ROUNDS = 12
_TIGHTEST = 0.005  # arcsec; no tolerance is narrower
_TURN_SIGMA = 1e-3  # radians; how far a guide star's roll may be off, loosely
_HUBER = 2.0  # residuals beyond this many sigma count by their first power


@dataclass(frozen=True)
class Guess:
    """
    How one set of sources moves onto another.

    Attributes
    ----------
    move : Move
    matches : int
        Sources that meet, one to one.
    scatter : float
        Of the matches, for each axis, in arcsec.
    tolerance : float
        Up to which distance they were matched, in arcsec.
    chance : float
        Expected number of places in the area searched where as many sources of an
        unrelated field would meet.
    """

    move: Move
    matches: int
    scatter: float
    tolerance: float
    chance: float


def one_to_one(
    moving: Floats, fixed: Floats, tolerance: float
) -> tuple[Indices, Indices]:
    """
    Match sources that are each other's nearest.

    Parameters
    ----------
    moving, fixed : `~numpy.ndarray`, shapes (n, 2) and (m, 2)
        On the same plane, in arcsec.
    tolerance : float
        Largest distance, in arcsec.

    Returns
    -------
    i, j : 1D int `~numpy.ndarray`
        ``moving[i]`` and ``fixed[j]`` are the same sources.
    """
    if len(moving) == 0 or len(fixed) == 0:
        empty = np.empty(0, np.intp)
        return empty, empty
    distance, nearest = cKDTree(fixed).query(moving, distance_upper_bound=tolerance)
    _, back = cKDTree(moving).query(fixed, distance_upper_bound=tolerance)
    i = np.flatnonzero(np.isfinite(distance))
    i = i[back[nearest[i]] == i]
    return i, nearest[i]


def find_offset(
    moving: Floats,
    fixed: Floats,
    *,
    radius: float,
    turn: float = 0.0,
    minimum: int = 4,
    nearest: bool = False,
) -> Guess | None:
    """
    Find how far a set of sources is off, by a histogram of all pairs.

    Parameters
    ----------
    moving, fixed : `~numpy.ndarray`, shapes (n, 2) and (m, 2)
        Sources of the same field, among others, on one tangent plane, in arcsec.
    radius : float
        How far they may be apart, in arcsec.
    turn : float, optional
        How far ``moving`` may be turned about its middle, in radians.
    minimum : int, optional
        Fewer matches are none.
    nearest : bool, optional
        Of several offsets that cannot be chance, take the smallest, not the one with
        the most matches: what stays on the detector while the telescope dithers, such
        as hot pixels, matches too.

    Returns
    -------
    guess : Guess or None
        The best; whether it is chance is for the caller to judge.

    Notes
    -----
    For each angle the differences of all pairs are binned; each square of two by two
    bins is compared with what its surroundings let expect (Poisson), the more strictly
    the more squares lie as near to no offset. The best are then fitted by themselves.
    """
    if min(len(moving), len(fixed)) < max(minimum, 1):
        return None
    peaks = _peaks(moving, fixed, radius, turn)
    found = []
    for move in peaks:
        guess = refine_offset(moving, fixed, move, tolerance=2 * _BIN, turn=turn)
        if guess.matches >= minimum and _size(guess.move) <= radius + 2 * _BIN:
            found.append(guess)
    if not found:
        return None
    sure = [guess for guess in found if guess.chance < 1e-6]
    if nearest and sure:
        return min(sure, key=lambda guess: _size(guess.move))
    return min(found, key=lambda guess: (guess.chance, -guess.matches))


def _size(move: Move) -> float:
    return math.hypot(*move.shift)


def _peaks(moving: Floats, fixed: Floats, radius: float, turn: float) -> list[Move]:
    """List the moves where most pairs meet, the least likely by chance first."""
    about = np.median(moving, axis=0)
    tree, chosen = cKDTree(fixed), moving
    reach = float(np.sqrt(((moving - about) ** 2).sum(axis=1).mean()))
    far = radius + turn * float(np.hypot(*(moving - about).T).max())
    pairs = int(cKDTree(moving).count_neighbors(tree, far))
    if pairs > _MOST_PAIRS:
        chosen = moving[:: -(-pairs // _MOST_PAIRS)]
    near = cKDTree(chosen).sparse_distance_matrix(tree, far, output_type="ndarray")
    angles = _angles(turn, reach)
    ranked = []
    for angle in angles:
        turned = Move(rotation=angle, about=(about[0], about[1])).apply(chosen)
        apart = fixed[near["j"]] - turned[near["i"]]
        ranked += [
            (chance, (east, north), angle)
            for chance, east, north in _unlikely(apart, radius, len(angles))
        ]
    ranked.sort(key=lambda one: one[0])
    kept: list[Move] = []
    for _, shift, angle in ranked:
        apart_enough = all(
            math.dist(shift, other.shift) > 3 * _BIN
            or abs(angle - other.rotation) * reach > 3 * _BIN
            for other in kept
        )
        if apart_enough:
            kept.append(Move(shift, angle, (float(about[0]), float(about[1]))))
    return kept[:_CANDIDATES]


def _angles(turn: float, reach: float) -> list[float]:
    """List the angles to try: in steps that smear a peak by no more than a bin."""
    steps = math.ceil(turn * reach / _BIN) if turn * reach > _BIN / 2 else 0
    return [turn * k / max(steps, 1) for k in range(-steps, steps + 1)]


def _unlikely(
    apart: Floats, radius: float, angles: int
) -> list[tuple[float, float, float]]:
    """
    Find the squares that hold more pairs than their surroundings let expect.

    Gives the logarithm of the chance, and the offset east and north.
    """
    half = math.ceil(radius / _BIN) + 1
    edges = np.arange(-half, half + 1) * _BIN
    column, row = np.floor(apart.T / _BIN).astype(int) + half
    within = (column >= 0) & (column < 2 * half) & (row >= 0) & (row < 2 * half)
    flat = column[within] * 2 * half + row[within]
    counts = np.bincount(flat, minlength=4 * half**2).reshape(2 * half, 2 * half)
    counts = counts.astype(float)
    squares = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    x = y = edges[1:-1]
    around, inner = 31, 7  # bins: the surroundings of a square, without itself
    wide = uniform_filter(squares, around, mode="nearest") * around**2
    close = uniform_filter(squares, inner, mode="nearest") * inner**2
    expected = (wide - close) / (around**2 - inner**2)
    # Where next to nothing is near, what is expected is known no better than this.
    expected = np.maximum(expected, max(squares.mean(), 0.25 / around**2))
    distance = np.hypot(x[:, None], y[None, :])
    trials = (1 + np.pi * distance**2 / (4 * _BIN**2)) * angles
    chance = poisson.logsf(squares - 0.5, expected) + np.log(trials)
    peak = (squares == maximum_filter(squares, 3)) & (squares > 0)
    peak &= distance <= radius + _BIN
    i, j = np.nonzero(peak)
    order = np.argsort(chance[i, j])[: 3 * _CANDIDATES]
    return [
        (float(chance[a, b]), float(x[a]), float(y[b]))
        for a, b in zip(i[order], j[order], strict=True)
    ]


def refine_offset(
    moving: Floats,
    fixed: Floats,
    move: Move,
    *,
    tolerance: float,
    turn: float = 0.0,
) -> Guess:
    """
    Improve a guess: match one to one, fit, and narrow the tolerance.

    Parameters
    ----------
    moving, fixed : `~numpy.ndarray`, shapes (n, 2) and (m, 2)
        In arcsec.
    move : Move
        The guess.
    tolerance : float
        How good it is, in arcsec.
    turn : float, optional
        0: only the shift is fitted.

    Returns
    -------
    guess : Guess
    """
    scatter = tolerance
    i, j = one_to_one(move.apply(moving), fixed, tolerance)
    for _ in range(_ROUNDS):
        if len(i) == 0:
            break
        move, scatter = _fitted(moving[i], fixed[j], move, turn)
        narrowed = float(np.clip(4 * scatter, _TIGHTEST, tolerance))
        i, j = one_to_one(move.apply(moving), fixed, narrowed)
        if narrowed > 0.9 * tolerance:
            break
        tolerance = narrowed
    chance = _chance(move, moving, fixed, len(i), tolerance, turn)
    return Guess(move, len(i), scatter, tolerance, chance)


def _fitted(
    there: Floats, target: Floats, move: Move, turn: float
) -> tuple[Move, float]:
    """Fit shift and rotation about the matches' middle, outliers counting less."""
    middle = there.mean(axis=0)
    start = move.apply(middle[None])[0] - middle
    rotation, shift = move.rotation, start
    scatter = 0.0
    for _ in range(5):
        now = Move((shift[0], shift[1]), rotation, (middle[0], middle[1]))
        left = target - now.apply(there)
        distance = np.hypot(*left.T)
        # The median of a two-dimensional normal distance is 1.18 sigma; as many
        # degrees of freedom as are fitted are gone.
        free = max(2 * len(left) - 2 - (turn > 0), 1)
        scatter = float(np.median(distance)) / 1.18 * math.sqrt(2 * len(left) / free)
        scale = max(scatter, _TIGHTEST / 4)
        weight = 1 / np.maximum(1, distance / (_HUBER * scale))
        shift = shift + np.average(left, axis=0, weights=weight)
        if turn:
            lever = now.apply(there) - middle - now.shift
            torque = lever[:, 0] * left[:, 1] - lever[:, 1] * left[:, 0]
            inertia = (weight * (lever**2).sum(axis=1)).sum()
            known = (scale / _TURN_SIGMA) ** 2
            rotation += float((weight * torque).sum() / (inertia + known))
    fitted = Move(
        (float(shift[0]), float(shift[1])),
        float(rotation),
        (float(middle[0]), float(middle[1])),
    )
    return fitted, scatter


def _chance(
    move: Move,
    moving: Floats,
    fixed: Floats,
    matches: int,
    tolerance: float,
    turn: float,
) -> float:
    """Tell in how many of the places tried unrelated sources meet as often."""
    if matches == 0:
        return float("inf")
    moved = move.apply(moving)
    low, high = fixed.min(axis=0) - tolerance, fixed.max(axis=0) + tolerance
    inside = moved[((moved >= low) & (moved <= high)).all(axis=1)]
    if len(inside) == 0:
        return float("inf")
    tree = cKDTree(fixed)
    outer = max(10 * tolerance, 2.0)
    ring = tree.count_neighbors(cKDTree(inside), [2 * tolerance, outer])
    local = (ring[1] - ring[0]) / np.pi / (outer**2 - 4 * tolerance**2) / len(inside)
    density = max(local, len(fixed) / float(np.prod(high - low)))
    expected = len(inside) * -math.expm1(-density * np.pi * tolerance**2)
    # Any pair as near as this one may begin a match by chance, and others follow.
    middle = moving.mean(axis=0)[None]
    distance = float(np.hypot(*(move.apply(middle) - middle)[0]))
    reach = float(np.sqrt(((moving - middle) ** 2).sum(axis=1).mean()))
    pairs = len(inside) * density * np.pi * (distance + tolerance) ** 2
    trials = (1 + pairs) * max(1, 2 * turn * reach / tolerance)
    return float(poisson.sf(matches - 2, expected) * trials)
