"""One astrometric solution for all images at once: weighted, robust, no cliffs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from webbmosaic.science.arrays import BoolArray, Floats, IntArray
from webbmosaic.science.astrometry.images import Catalogue, Image
from webbmosaic.science.astrometry.least_squares import (
    FIXED,
    basis,
    least_squares,
    residuals_of,
    scaled_errors,
)
from webbmosaic.science.astrometry.linking import Linked, rigid_motion
from webbmosaic.science.astrometry.tracks import Tracks, find_tracks

__all__ = ["Solution", "solve"]

_HUBER = 2.0  # residuals beyond this many sigma count by their first power
_ROUNDS = 8
#: What visits and exposures are off by when nothing is known (arcsec and radians), and
#: by what they are off at least: pointing and roll of the telescope, and the scatter of
#: its dithers (Hartig & Lallo 2022, JWST-STScI-008271: some mas).
_VISIT_FIRST, _VISIT_LEAST = 30.0, 0.03
_ROLL_FIRST, _ROLL_LEAST = 1e-2, 2e-5
_DITHER_FIRST, _DITHER_LEAST = 0.3, 5e-4
_DITHER_ROLL_FIRST, _DITHER_ROLL_LEAST = 1e-3, 1e-6
_STRETCH = 1e-3
_ASIDE = 1e6  # arcsec
_PARAMETERS = {"shift": 2, "rshift": 3, "auto": 3, "rscale": 4, "general": 6}


@dataclass(frozen=True)
class Solution:
    """
    The motions of the images, after the coarse alignment.

    Attributes
    ----------
    linked : Linked
        The coarse alignment that it improves.
    middles, matrices, shifts : `~numpy.ndarray`, shapes (n, 2), (n, 2, 2), (n, 2)
        Of each image: ``matrix @ (point - middle) + middle + shift``, in arcsec, after
        the coarse motion of its visit.
    shift_errors : `~numpy.ndarray`, shape (n,)
        For each axis, in arcsec, relative to the catalogue or, without one, to the
        mean of the images that are tied to each other.
    rotation_errors : `~numpy.ndarray`, shape (n,)
        In radians.
    tracks : Tracks
        What was matched.
    residuals : `~numpy.ndarray`, shape (m, 2)
        Measured minus mean position of the source, in arcsec, for each of ``tracks``.
    sigmas : `~numpy.ndarray`, shape (m,)
        The errors of the measured positions, scaled to what the residuals show.
    good : 1D bool `~numpy.ndarray`, shape (m,)
        `False` for blends and the like, beyond 5 sigma.
    """

    linked: Linked
    middles: Floats
    matrices: Floats
    shifts: Floats
    shift_errors: Floats
    rotation_errors: Floats
    tracks: Tracks
    residuals: Floats
    sigmas: Floats
    good: BoolArray

    def moved(self, index: int, points: Floats) -> Floats:
        """Put points (n, 2) of an image, in arcsec, where they belong."""
        there = self.linked.as_visit(index, points)
        middle = self.middles[index]
        moved: Floats = (there - middle) @ self.matrices[index].T
        moved += middle + self.shifts[index]
        return moved


def solve(
    images: list[Image],
    linked: Linked,
    catalogue: Catalogue | None,
    *,
    tolerance: float,
    geometry: str = "auto",
    in_order: bool = False,
) -> Solution:
    """
    Solve for all visits and exposures at once.

    Parameters
    ----------
    images : list of Image
    linked : Linked
        The coarse alignment.
    catalogue : Catalogue or None
    tolerance : float
        Of the first matches, in arcsec; those after are narrower, as the residuals are.
    geometry : str, optional
        What may change of a visit: ``shift``, ``rshift`` (also ``auto``: and
        rotation), ``rscale`` (and scale), ``general`` (and shears).
    in_order : bool, optional
        The first exposure sets the frame, where there is no catalogue.

    Returns
    -------
    solution : Solution

    Notes
    -----
    Weighted least squares with Huber's weights (Huber 1964, Ann. Math. Stat. 35, 73),
    the positions of the sources eliminated. A visit has a shift and a rotation,
    an exposure small ones of its own. Each is known beforehand to be about as large as
    it turns out to be beyond its error (empirical Bayes, the positive part of James
    and Stein 1961): what is not significant is nearly nothing, and there is no
    threshold.
    """
    parts = []
    for number in sorted(set(linked.island)):
        indices = [i for i, island in enumerate(linked.island) if island == number]
        known = catalogue if number in linked.catalogue else None
        some = [images[i] for i in indices]
        problem = _Problem(some, linked.only(number), known, geometry, in_order)
        parts.append((indices, problem.narrowed(tolerance)))
    return _together(linked, parts)


def _together(linked: Linked, parts: list[tuple[list[int], Solution]]) -> Solution:
    """Join the solutions of all islands; each keeps its own sources."""
    n = len(linked.island)
    image, row, source = [], [], []
    count = 0
    for indices, part in parts:
        image.append(np.array([*indices, n])[part.tracks.image])
        row.append(part.tracks.row)
        source.append(part.tracks.source + count)
        count += int(part.tracks.source.max(initial=-1)) + 1
    order = np.argsort(np.concatenate([indices for indices, _ in parts]))

    def of_images(name: str) -> Floats:
        values: Floats = np.concatenate([getattr(p, name) for _, p in parts])[order]
        return values

    return Solution(
        linked=linked,
        middles=of_images("middles"),
        matrices=of_images("matrices"),
        shifts=of_images("shifts"),
        shift_errors=of_images("shift_errors"),
        rotation_errors=of_images("rotation_errors"),
        tracks=Tracks(*(np.concatenate(v) for v in (image, row, source))),
        residuals=np.concatenate([p.residuals for _, p in parts]),
        sigmas=np.concatenate([p.sigmas for _, p in parts]),
        good=np.concatenate([p.good for _, p in parts]),
    )


class _Problem:
    """The unknowns, and where they are in the equations."""

    def __init__(
        self,
        images: list[Image],
        linked: Linked,
        catalogue: Catalogue | None,
        geometry: str,
        in_order: bool,
    ) -> None:
        self.images, self.linked, self.catalogue = images, linked, catalogue
        self.order = _PARAMETERS[geometry]
        self.in_order = in_order
        self.points = [linked.as_visit(i, im.positions) for i, im in enumerate(images)]
        self.middles = np.array(
            [linked.as_visit(i, im.middle[None])[0] for i, im in enumerate(images)]
        )
        self.errors = [im.errors for im in images]
        # What met nothing by enough sources does not by a single one either: it is
        # put aside, where there is nothing to match.
        known = linked.catalogue
        alone = [
            not t and k not in known
            for t, k in zip(linked.tied, linked.island, strict=True)
        ]
        self.aside = [_ASIDE * (k + 1) if a else 0.0 for k, a in enumerate(alone)]
        self.exposures = [f"{im.visit} {im.exposure}" for im in images]
        if catalogue is not None:
            self.points.append(catalogue.positions)
            self.errors.append(catalogue.errors)
        visits, self.visit = np.unique([i.visit for i in images], return_inverse=True)
        units, self.unit = np.unique(self.exposures, return_inverse=True)
        self.n_visits, self.n_units = len(visits), len(units)
        self.visit_middle = _middles(self.middles, self.visit)
        self.unit_middle = _middles(self.middles, self.unit)
        self.size = self.order * self.n_visits + 3 * self.n_units
        # What the coarse alignment moved and turned visits by.
        first = [int(np.flatnonzero(self.visit == v)[0]) for v in range(self.n_visits)]
        corners = [images[i].corners for i in first]
        moved = [linked.as_visit(i, c) for i, c in zip(first, corners, strict=True)]
        moves = [rigid_motion(c, m) for c, m in zip(corners, moved, strict=True)]
        self.coarse = np.array([[*m.shift, m.rotation] for m in moves])
        self.island = np.array([linked.island[i] for i in first])
        self.fastened = self._fastened()

    def _fastened(self) -> list[IntArray]:
        """
        List unknowns whose sum is nothing.

        The exposures of a visit do not move or turn on average, for the visit does;
        and the visits of an island do not turn on average where no catalogue says by
        how much.
        """
        base = self.order * self.n_visits
        sums = [
            base + 3 * np.unique(self.unit[self.visit == v]) + k
            for v in range(self.n_visits)
            for k in range(3)
        ]
        if self.order > 2:
            sums += [
                np.flatnonzero(self.island == k) * self.order + 2
                for k in np.unique(self.island)
                if k not in self.linked.catalogue
            ]
        return sums

    def design(self, image: IntArray, points: Floats) -> sparse.csr_array:
        """Tell how points move with the unknowns; the catalogue's do not."""
        count = len(image)
        ours = np.flatnonzero(image < len(self.images))
        image, points = image[ours], points[ours]
        visit, unit = self.visit[image], self.unit[image]
        from_visit = points - self.visit_middle[visit]
        from_unit = points - self.unit_middle[unit]
        parts = [(visit * self.order + k, b) for k, b in enumerate(basis(from_visit))]
        base = self.order * self.n_visits
        small = [(base + unit * 3 + k, b) for k, b in enumerate(basis(from_unit)[:3])]
        parts = parts[: self.order] + small
        rows = np.concatenate([2 * ours + axis for _ in parts for axis in (0, 1)])
        columns = np.concatenate([c for c, _ in parts for _ in (0, 1)])
        values = np.concatenate([b[:, axis] for _, b in parts for axis in (0, 1)])
        shape = (2 * count, self.size)
        return sparse.csr_array((values, (rows, columns)), shape=shape)

    def first_prior(self) -> tuple[Floats, Floats]:
        """Give what each unknown may be, loosely, and about which value."""
        visit = [_VISIT_FIRST] * 2 + [_ROLL_FIRST] + [_STRETCH] * 3
        unit = [_DITHER_FIRST] * 2 + [_DITHER_ROLL_FIRST]
        sigma = np.array(visit[: self.order] * self.n_visits + unit * self.n_units)
        return sigma, np.zeros(self.size)

    def second_prior(self, value: Floats, error: Floats) -> tuple[Floats, Floats]:
        """Narrow what is known to what was found beyond its error."""
        sigma, about = self.first_prior()
        n = self.order * self.n_visits
        visits = np.arange(n).reshape(-1, self.order)
        units = np.arange(n, self.size).reshape(-1, 3)
        about[visits[:, :2]] = -self.coarse[:, :2]
        square = ((value[visits[:, :2]] + self.coarse[:, :2]) ** 2).mean(axis=1)
        sigma[visits[:, :2]] = np.sqrt(_VISIT_LEAST**2 + square)[:, None]
        if self.order > 2:
            roll = visits[:, 2]
            about[roll] = -self.coarse[:, 2]
            square = (value[roll] + self.coarse[:, 2]) ** 2
            beyond = np.maximum(square - error[roll] ** 2, 0)
            sigma[roll] = np.sqrt(_ROLL_LEAST**2 + beyond)
        for columns, least in ((slice(0, 2), _DITHER_LEAST), (2, _DITHER_ROLL_LEAST)):
            chosen = units[:, columns].reshape(len(units), -1)
            own = (value[chosen] ** 2 - error[chosen] ** 2).mean(axis=1)
            # The scatter of all, without the few that are off.
            all_of_them = max(float(np.median(own)), 0.0)
            beyond = np.maximum(own, all_of_them)
            sigma[chosen] = np.sqrt(least**2 + beyond)[:, None]
        if self.in_order and self.catalogue is None:
            start = self.visit[0] * self.order
            sigma[start : start + self.order] = FIXED
            sigma[units[self.unit[0]]] = FIXED
        return sigma, about

    def solved(self, tolerance: float) -> Solution:
        """Match and solve, from the coarse alignment and what was found last."""
        units = [*self.exposures, *(["catalogue"] if self.catalogue else [])]
        tracks = find_tracks(self.moved(), tolerance, units)
        starts = np.cumsum([0, *(len(p) for p in self.points[:-1])])
        index = starts[tracks.image] + tracks.row
        points = np.concatenate(self.points)[index]
        sigma = np.concatenate(self.errors)[index]
        design = self.design(tracks.image, points)
        scaled, weight = sigma.copy(), sigma**-2
        prior, about = self.first_prior()
        error, fastened = np.zeros(self.size), self.fastened
        for k in range(_ROUNDS):
            value, covariance = least_squares(
                design, points, tracks.source, weight, (prior, about, fastened)
            )
            moved = points + (design @ value).reshape(-1, 2)
            residuals, free = residuals_of(moved, tracks.source, weight)
            scaled = scaled_errors(residuals, free, sigma, tracks.image)
            ratio = np.hypot(*residuals.T) / scaled / np.sqrt(free)
            weight = scaled**-2 / np.maximum(1, ratio / (1.41 * _HUBER))
            if k == 2:
                error = np.sqrt(np.diag(covariance))
                fastened = fastened[: 3 * self.n_visits]
            if k >= 2:
                prior, about = self.second_prior(value, error)
        self.value = value
        return self.solution(value, covariance, tracks, residuals, scaled, ratio < 5)

    value: Floats | None = None

    def narrowed(self, tolerance: float) -> Solution:
        """Solve, and match again within what the residuals are."""
        solution = self.solved(tolerance)
        for _ in range(2):
            apart = np.hypot(*solution.residuals[solution.good].T)
            width = 6 * float(np.median(apart)) / 1.18 if len(apart) else tolerance
            tolerance = float(np.clip(width, 0.01, tolerance))
            solution = self.solved(tolerance)
        return solution

    def moved(self) -> list[Floats]:
        """Give the positions of all images as they are known so far."""
        if self.value is None:
            images = enumerate(self.images)
            moved = [self.linked.moved(i, image.positions) for i, image in images]
            moved = [p + self.aside[i] for i, p in enumerate(moved)]
            return [*moved, *self.points[len(self.images) :]]
        matrices, shifts = self.motions(self.value)
        moved = [
            (p - m) @ a.T + m + s
            for p, m, a, s in zip(
                self.points, self.middles, matrices, shifts, strict=False
            )
        ]
        moved = [p + a for p, a in zip(moved, self.aside, strict=True)]
        return [*moved, *self.points[len(self.images) :]]

    def motions(self, value: Floats) -> tuple[Floats, Floats]:
        """Give the motion of each image about its middle."""
        n = len(self.images)
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        points = (self.middles[:, None] + corners).reshape(-1, 2)
        design = self.design(np.repeat(np.arange(n), 3), points)
        steps = (design @ value).reshape(n, 3, 2)
        shifts = steps[:, 0]
        matrices = np.eye(2) + np.moveaxis(steps[:, 1:] - shifts[:, None], 1, 2)
        return matrices, shifts

    def solution(
        self,
        value: Floats,
        covariance: Floats,
        tracks: Tracks,
        residuals: Floats,
        sigmas: Floats,
        good: BoolArray,
    ) -> Solution:
        """Give what others need."""
        n = len(self.images)
        matrices, shifts = self.motions(value)
        design = self.design(np.arange(n), self.middles).toarray()
        self._without_frame(design)
        variance = np.einsum("ij,jk,ik->i", design, covariance, design)
        turns = np.zeros((n, self.size))
        if self.order > 2:
            turns[np.arange(n), self.visit * self.order + 2] = 1
        turns[np.arange(n), self.order * self.n_visits + self.unit * 3 + 2] = 1
        return Solution(
            linked=self.linked,
            middles=self.middles,
            matrices=matrices,
            shifts=shifts,
            shift_errors=np.sqrt(variance.reshape(n, 2).mean(axis=1)),
            rotation_errors=np.sqrt(np.einsum("ij,jk,ik->i", turns, covariance, turns)),
            tracks=tracks,
            residuals=residuals,
            sigmas=sigmas,
            good=good,
        )

    def _without_frame(self, design: Floats) -> None:
        """Where no catalogue sets the frame, it is that of the island's images."""
        numbers = np.array(self.linked.island)
        rows = design.reshape(len(self.images), 2, self.size)
        for number in np.unique(numbers):
            if number not in self.linked.catalogue:
                rows[numbers == number] -= rows[numbers == number].mean(axis=0)


def _middles(points: Floats, owner: IntArray) -> Floats:
    count = np.bincount(owner)
    sums = [np.bincount(owner, points[:, axis]) for axis in (0, 1)]
    return np.column_stack(sums) / count[:, None]
