"""Which positions in many images are of the same source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from webbmosaic.science.arrays import Floats, IntArray
from webbmosaic.science.astrometry.matching import one_to_one

__all__ = ["Tracks", "find_tracks"]


@dataclass(frozen=True)
class Tracks:
    """
    Which measured positions are of the same source.

    Attributes
    ----------
    image : 1D int `~numpy.ndarray`, shape (n,)
        The image that a position is of; the number of images: the catalogue.
    row : 1D int `~numpy.ndarray`, shape (n,)
        Its row among that image's sources.
    source : 1D int `~numpy.ndarray`, shape (n,)
        The source.
    """

    image: IntArray
    row: IntArray
    source: IntArray


def find_tracks(
    positions: list[Floats], tolerance: float, exposures: list[str]
) -> Tracks:
    """
    Collect the positions that images have of the same sources.

    Parameters
    ----------
    positions : list of `~numpy.ndarray`, shape (n, 2)
        Of each image, on the common frame, in arcsec; the catalogue's last, if any.
    tolerance : float
        Largest distance from the mean of those before, in arcsec.
    exposures : list of str
        What each is part of. Sources in one exposure only are left out.

    Returns
    -------
    tracks : Tracks
        Each source has at most one position of an image.
    """
    known = np.empty((0, 2))
    seen: IntArray = np.empty(0, int)
    images, rows, sources = [], [], []
    for number, points in enumerate(positions):
        source = np.full(len(points), -1)
        i, j = one_to_one(points, known, tolerance)
        source[i] = j
        known[j] += (points[i] - known[j]) / (seen[j] + 1)[:, None]
        seen[j] += 1
        new = np.flatnonzero(source < 0)
        source[new] = len(known) + np.arange(len(new))
        known = np.concatenate([known, points[new]])
        seen = np.concatenate([seen, np.ones(len(new), int)])
        images.append(np.full(len(points), number))
        rows.append(np.arange(len(points)))
        sources.append(source)
    image, row, source = (np.concatenate(p) for p in (images, rows, sources))
    _, unit = np.unique(exposures, return_inverse=True)
    least, most = np.full(len(known), len(unit)), np.full(len(known), -1)
    np.minimum.at(least, source, unit[image])
    np.maximum.at(most, source, unit[image])
    keep = (least < most)[source]
    _, source = np.unique(source[keep], return_inverse=True)
    return Tracks(image[keep], row[keep], source)
