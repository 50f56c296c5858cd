"""Weighted least squares for motions, with the sources eliminated."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from webbmosaic.science.arrays import Floats, IntArray

__all__ = ["FIXED", "basis", "least_squares", "residuals_of", "scaled_errors"]

FIXED = 1e-6  # arcsec and radians: what may not move
_TYPICAL = 20  # matches that weigh as much as what is typical for an image's errors


def basis(lever: Floats) -> list[Floats]:
    """Motions for a unit of shift, rotation, scale and both shears, each (n, 2)."""
    x, y = lever.T
    one, none = np.ones_like(x), np.zeros_like(x)
    pairs = ((one, none), (none, one), (-y, x), (x, y), (x, -y), (y, x))
    return [np.column_stack(pair) for pair in pairs]


def least_squares(
    design: sparse.csr_array,
    points: Floats,
    source: IntArray,
    weight: Floats,
    known: tuple[Floats, Floats, list[IntArray]],
) -> tuple[Floats, Floats]:
    """
    Solve for the unknowns with the sources eliminated; also their covariance.

    What is known of the unknowns beforehand: how large they are, about which value,
    and which of them add up to nothing.
    """
    prior, about, fastened = known
    n = len(points)
    rows = np.arange(2 * n)
    count = int(source.max()) + 1 if n else 0
    both = np.repeat(weight, 2)
    column = (2 * source[:, None] + [0, 1]).ravel()
    pick = sparse.csr_array((np.ones(2 * n), (rows, column)), shape=(2 * n, 2 * count))
    total = pick.T @ both
    mean = sparse.diags_array(1 / total) @ (pick.T @ (design * both[:, None]))
    # Each position against the mean of its source: what the fit can change.
    apart = design - pick @ mean
    flat = points.ravel()
    level = flat - pick @ ((pick.T @ (both * flat)) / total)
    normal = (apart.T @ (apart * both[:, None])).toarray() + np.diag(prior**-2)
    for some in fastened:
        normal[np.ix_(some, some)] += FIXED**-2
    right = -(apart.T @ (both * level)) + about * prior**-2
    covariance = np.linalg.inv(normal)
    return covariance @ right, covariance


def residuals_of(
    moved: Floats, source: IntArray, weight: Floats
) -> tuple[Floats, Floats]:
    """Positions minus their sources' mean, and how free each is of its own weight."""
    if len(moved) == 0:
        return moved, np.empty(0)
    total = np.bincount(source, weight)
    sums = [np.bincount(source, weight * moved[:, axis]) for axis in (0, 1)]
    means = np.column_stack(sums) / total[:, None]
    return moved - means[source], np.clip(1 - weight / total[source], 0.02, 1)


def scaled_errors(
    residuals: Floats, free: Floats, sigma: Floats, image: IntArray
) -> Floats:
    """Scale the errors of each image to what its residuals show."""
    if len(residuals) == 0:
        return sigma
    square = (residuals**2).sum(axis=1) / free / sigma**2
    # The median of the square of a two-dimensional normal distance is 1.386 sigma^2.
    typical = float(np.median(square)) / 1.386
    scale = np.ones(int(image.max()) + 1)
    for k in np.unique(image):
        own = square[image == k]
        share = len(own) / (len(own) + _TYPICAL)
        scale[k] = share * float(np.median(own)) / 1.386 + (1 - share) * typical
    return sigma * np.sqrt(np.maximum(scale[image], 1e-4))
