"""Numbers to judge an image by: sky, noise, depth and the sharpness of stars."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.stats import SigmaClip, mad_std
from scipy.ndimage import distance_transform_edt, uniform_filter

from webbmosaic.datasets import effective_filter
from webbmosaic.report.mosaics import Mosaic
from webbmosaic.report.pictures import DO_NOT_USE, opened, plane
from webbmosaic.science.sources import source_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Mask = NDArray[np.bool_]

__all__ = [
    "block_error",
    "clipped_level",
    "depth",
    "measure_frame",
    "measure_mosaic",
    "star_width",
]

_BLOCK = 16
_AB_ZERO = 8.90  # AB magnitude of 1 Jy (Oke & Gunn 1983)
_APERTURES = 600
_PIXEL_WIDTH = np.sqrt(8 * np.log(2) / 12)  # FWHM of a Gaussian as wide as a pixel
_SAMPLE = 400_000  # pixels of an exposure that are looked at


def clipped_level(values: NDArray[np.floating]) -> tuple[float, float]:
    """
    Measure the level and scatter of sky pixels with some sources among them.

    Parameters
    ----------
    values : ndarray of float
        Any shape; NaN is left out.

    Returns
    -------
    level, scatter : float
        Median and MAD-based standard deviation of what stays after clipping at 3
        sigma about the median; NaN where there is nothing.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return float("nan"), float("nan")
    clip = SigmaClip(3.0, maxiters=8, cenfunc="median", stdfunc="mad_std")
    kept = clip(finite, masked=False)
    return float(np.median(kept)), float(mad_std(kept))


def block_error(data: Image, blank: Mask) -> float:
    """
    Estimate how well the mean of blank sky is known where its noise is correlated.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    blank : ndarray of bool, shape (ny, nx)

    Returns
    -------
    error : float
        Scatter of the means of blocks of 16 x 16 pixels, of which at least half is
        blank, over the root of their number; NaN for fewer than four.
    """
    ny, nx = (n // _BLOCK * _BLOCK for n in data.shape)
    shape = (ny // _BLOCK, _BLOCK, nx // _BLOCK, _BLOCK)
    count = blank[:ny, :nx].reshape(shape).sum(axis=(1, 3))
    total = np.where(blank, data, 0)[:ny, :nx].reshape(shape).sum(axis=(1, 3))
    enough = count >= _BLOCK**2 / 2
    if enough.sum() < 4:
        return float("nan")
    means = total[enough] / count[enough]
    return float(np.std(means, ddof=1) / np.sqrt(means.size))


def measure_frame(path: Path) -> dict[str, Any]:
    """
    Measure one exposure from a sample of its pixels: quick, good for comparing.

    Parameters
    ----------
    path : `~pathlib.Path`
        A rate or cal file.

    Returns
    -------
    numbers : dict
        ``sky`` and ``noise`` (clipped level and scatter of all good pixels; sources
        are clipped, not masked), ``err_ratio`` (scatter over the median ERR), ``bad``
        (fraction of the pixels that cannot be used), ``unit``, ``light``,
        ``detector``.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    with opened(path) as hdus:
        primary, header = hdus[0].header, hdus["SCI"].header
        data = plane(hdus["SCI"].data)
        some = (slice(None, None, max(1, int(np.sqrt(data.size / _SAMPLE)))),) * 2
        usable = np.isfinite(data[some])
        if "DQ" in hdus:
            # Stored as signed numbers less 2**31, which leaves the lowest bit alone.
            usable &= (plane(hdus["DQ"].data)[some] & DO_NOT_USE) == 0
        values = data[some][usable]
        errors = plane(hdus["ERR"].data)[some][usable] if "ERR" in hdus else values[:0]
    sky, noise = clipped_level(values)
    return {
        "unit": str(header.get("BUNIT", "")),
        "light": effective_filter(str(primary.get("FILTER", "")), primary.get("PUPIL")),
        "detector": str(primary.get("DETECTOR", "")),
        "sky": sky,
        "noise": noise,
        "err_ratio": noise / clipped_level(errors)[0],
        "bad": float(1 - usable.mean()),
    }


def depth(
    data: Image, blank: Mask, *, radius: float, seed: int = 1
) -> tuple[float, int]:
    """
    Measure the noise of aperture sums, by apertures at random places in blank sky.

    Correlated noise, which drizzling and leftover stripes make, counts here and does
    not in the scatter of pixels.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
    blank : ndarray of bool, shape (ny, nx)
        Pixels without sources and with data.
    radius : float
        Of the apertures, pixels.
    seed : int
        Of the places.

    Returns
    -------
    noise : float
        Scatter (from the MAD) of the sums, in the units of the data; NaN where fewer
        than 20 apertures fit.
    count : int
        How many apertures were summed.
    """
    from photutils.aperture import CircularAperture

    padded = np.pad(blank, 1)
    room = distance_transform_edt(padded)[1:-1, 1:-1] > radius + 1
    places = np.flatnonzero(room)
    if places.size < 20:
        return float("nan"), 0
    rng = np.random.default_rng(seed)
    chosen = rng.choice(places, size=min(_APERTURES, places.size), replace=False)
    rows, columns = np.unravel_index(chosen, blank.shape)
    circles = CircularAperture(np.column_stack([columns, rows]), radius)
    sums, _ = circles.do_photometry(np.where(blank, data, 0), method="exact")
    return float(mad_std(sums)), int(chosen.size)


def star_width(data: Image, good: Mask, *, noise: float) -> tuple[float, int]:
    """
    Measure the full width at half maximum of the sharpest sources.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Without sky.
    good : ndarray of bool, shape (ny, nx)
    noise : float
        Of a pixel.

    Returns
    -------
    width : float
        Pixels: the median over sources within 15 % of the lower fifth of the widths,
        which stars make and galaxies do not; NaN where there are fewer than three.
    count : int
        How many sources that is.
    """
    from photutils.detection import DAOStarFinder
    from photutils.psf import fit_fwhm
    from photutils.utils.exceptions import NoDetectionsWarning

    whole = uniform_filter(good.astype(np.float32), 11) > 0.999
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        finder = DAOStarFinder(30 * noise, 2.5, n_brightest=60, exclude_border=True)
        found = finder(np.where(good, data, 0), mask=~whole)
        if found is None:
            return float("nan"), 0
        places = np.column_stack([found["x_centroid"], found["y_centroid"]])
        warnings.simplefilter("ignore")  # of a fit that failed; its width is foolish
        widths = fit_fwhm(np.where(good, data, 0), xypos=places, fit_shape=7)
    widths = widths[(widths > 0.8) & (widths < 10)]
    if widths.size < 3:
        return float("nan"), int(widths.size)
    sharp = np.quantile(widths, 0.2)
    stars = widths[np.abs(widths / sharp - 1) < 0.15]
    # The fitted Gaussian is integrated over pixels; give the width of what is seen.
    return float(np.hypot(np.median(stars), _PIXEL_WIDTH)), int(stars.size)


def measure_mosaic(mosaic: Mosaic) -> dict[str, Any]:
    """
    Measure what tells a good mosaic from a bad one, without knowing the truth.

    Parameters
    ----------
    mosaic : Mosaic

    Returns
    -------
    numbers : dict
        ``sky`` and ``noise`` of blank pixels (units of the data), ``sky_over_noise``,
        ``err_ratio`` (scatter of blank sky over the median ERR), ``blank`` (fraction
        of the pixels with data), ``fwhm`` (arcsec) and ``stars``, ``depth`` (AB
        magnitude of 5 sigma in an aperture of ``radius`` arcsec), ``correlation``
        (noise of aperture sums over that of independent pixels), ``area``
        (square arcmin), ``unit``, ``light``, ``pixel`` (arcsec).
    """
    good = mosaic.good
    numbers: dict[str, Any] = {
        "unit": mosaic.unit,
        "light": mosaic.light,
        "pixel": mosaic.pixel,
        "area": float(good.sum()) * (mosaic.pixel / 60) ** 2,
    }
    if not good.any():
        return numbers
    blank = good & ~source_mask(mosaic.data, good)
    if blank.sum() < 200:
        blank = good
    sky, noise = clipped_level(mosaic.data[blank])
    width, stars = star_width(mosaic.data - np.float32(sky), good, noise=noise)
    radius = max(2.0, 1.25 * (width if np.isfinite(width) else 2.4))
    scatter, apertures = depth(mosaic.data, blank, radius=radius)
    jansky = 5 * scatter * mosaic.to_jansky
    return {
        **numbers,
        "sky": sky,
        "noise": noise,
        "sky_over_noise": sky / noise if noise else float("nan"),
        "err_ratio": noise / float(np.nanmedian(mosaic.err[blank])),
        "blank": float(blank.sum() / good.sum()),
        "fwhm": width * mosaic.pixel,
        "stars": stars,
        "radius": radius * mosaic.pixel,
        "apertures": apertures,
        "depth": _AB_ZERO - 2.5 * float(np.log10(jansky)) if jansky > 0 else None,
        "correlation": float(scatter / (noise * np.sqrt(np.pi) * radius)),
    }
