"""Compact sources, centred without pixel-phase bias."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

__all__ = ["find_stars", "windowed_centroids"]

_GAUSSIAN_FWHM = 2.3548  # sigmas in a full width at half maximum
_HALF = 5  # half size of the smallest cut-out in which a star is centred, in pixels


def find_stars(
    data: NDArray[np.floating],
    usable: NDArray[np.bool_],
    *,
    fwhm: float = 2.5,
    threshold: float = 10.0,
) -> NDArray[np.float64]:
    """
    Find compact sources and centre them without pixel-phase bias.

    Parameters
    ----------
    data : 2D `~numpy.ndarray`, shape (ny, nx)
        Any unit; a smooth background may be in it.
    usable : 2D bool `~numpy.ndarray`, shape (ny, nx)
        `False` where a pixel may not be used: sources with such a pixel within 2 pixels
        of their centre, such as saturated stars, are left out.
    fwhm : float, optional
        Width of a star, in pixels.
    threshold : float, optional
        Significance of the filtered peak, in sigma.

    Returns
    -------
    stars : `~numpy.ndarray`, shape (n, 4), float64
        x, y (0-based pixels, the centre of the first pixel is 0, 0), flux (unit of
        ``data`` times pixels, within the Gaussian window) and the standard error of
        the position for each axis, in pixels; brightest first.

    Notes
    -----
    Detection by `photutils.detection.DAOStarFinder`; its own positions, and more so
    those of IRAFStarFinder, depend on where in a pixel the star sits (several mas at
    NIRCam's sampling), so each star is centred again by `windowed_centroids`.
    """
    from astropy.stats import sigma_clipped_stats
    from photutils.detection import DAOStarFinder
    from photutils.utils.exceptions import NoDetectionsWarning

    if not usable.any():
        return np.empty((0, 4))
    _, level, rms = sigma_clipped_stats(data[usable], sigma=3.0, maxiters=5)
    if rms <= 0:
        return np.empty((0, 4))
    # The finder's threshold is on the filtered image, whose noise is lower.
    finder = DAOStarFinder(threshold * rms / fwhm, fwhm, sharpness_range=(0.2, 1.2))
    filled = np.where(usable, data - level, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        found = finder(filled, mask=~usable)
    if found is None or len(found) == 0:
        return np.empty((0, 4))
    whole = minimum_filter(usable, size=5, mode="constant", cval=0)
    x, y, flux, good = windowed_centroids(
        filled,
        np.asarray(found["x_centroid"], float),
        np.asarray(found["y_centroid"], float),
        fwhm=fwhm,
    )
    rows, columns = np.rint(y[good]).astype(int), np.rint(x[good]).astype(int)
    keep = whole[rows, columns]
    x, y, flux = x[good][keep], y[good][keep], flux[good][keep]
    order = np.argsort(-flux)
    error = _position_error(flux, float(rms), fwhm)
    return np.column_stack([x, y, flux, error])[order]


def _position_error(
    flux: NDArray[np.float64], rms: float, fwhm: float
) -> NDArray[np.float64]:
    """
    Estimate the error of windowed positions, in pixels.

    For a Gaussian star in white noise it is the width over the signal-to-noise ratio
    (King 1983, PASP 95, 163), here without the star's own photons; a floor of a
    hundredth of a pixel stands for them and for the shape of the real PSF.
    """
    sigma = fwhm / _GAUSSIAN_FWHM
    noise = rms * np.sqrt(4 * np.pi) * sigma
    error: NDArray[np.float64] = np.hypot(sigma * noise / (2 * flux), 0.01)
    return error


def windowed_centroids(
    image: NDArray[np.floating],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    fwhm: float,
    iterations: int = 12,
) -> tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]
]:
    """
    Centre sources under a Gaussian window that follows them.

    Parameters
    ----------
    image : 2D `~numpy.ndarray`
        Without background.
    x, y : 1D `~numpy.ndarray`
        First guesses, 0-based pixels.
    fwhm : float
        Of the window, in pixels.
    iterations : int, optional

    Returns
    -------
    x, y, flux : 1D `~numpy.ndarray`
        Better positions, and the windowed sum.
    good : 1D bool `~numpy.ndarray`
        `False` where the source is too near the edge, or walked away by more than one
        ``fwhm``.

    Notes
    -----
    The windowed position of SExtractor (Bertin, SExtractor manual, "Windowed
    positional parameters": XWIN_IMAGE), whose errors are close to those of a PSF fit.
    """
    ny, nx = image.shape
    half = max(_HALF, math.ceil(2 * fwhm))
    offsets = np.arange(-half, half + 1)
    first_x, first_y = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (first_x >= half) & (first_x < nx - half)
    inside &= (first_y >= half) & (first_y < ny - half)
    rows = np.clip(first_y[:, None] + offsets, 0, ny - 1)
    columns = np.clip(first_x[:, None] + offsets, 0, nx - 1)
    cut = image[rows[:, :, None], columns[:, None, :]].astype(float)
    # Light that is smooth across the cut-out, such as a galaxy's, is not the star's.
    cut -= _border_level(cut)[:, None, None]
    sigma = fwhm / _GAUSSIAN_FWHM
    now_x, now_y, flux = x.copy(), y.copy(), np.zeros_like(x)
    for _ in range(iterations):
        dx = columns[:, None, :] - now_x[:, None, None]
        dy = rows[:, :, None] - now_y[:, None, None]
        weighted = np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) * cut
        flux = weighted.sum(axis=(1, 2))
        total = np.where(flux > 0, flux, np.inf)
        # Twice the windowed offset: the window halves the response to a shift.
        now_x = now_x + 2 * (weighted * dx).sum(axis=(1, 2)) / total
        now_y = now_y + 2 * (weighted * dy).sum(axis=(1, 2)) / total
    near = np.hypot(now_x - x, now_y - y) < fwhm
    return now_x, now_y, flux, inside & near & (flux > 0)


def _border_level(cut: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the median of the outermost pixels of each cut-out."""
    edge = np.ones(cut.shape[1:], bool)
    edge[1:-1, 1:-1] = False
    level: NDArray[np.float64] = np.median(cut[:, edge], axis=1)
    return level
