"""True sources on a mosaic: which stand alone, and what is measured of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from webbmosaic.errors import InputError
from webbmosaic.report.encircled import (
    EncircledEnergy,
    read_encircled_energy,
    sersic_points,
    smoothed,
)
from webbmosaic.report.mosaics import Mosaic
from webbmosaic.report.quality import clipped_level

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Chosen = NDArray[np.intp]

__all__ = [
    "TrueSources",
    "excess",
    "isolated",
    "recentred",
    "signal_to_noise",
    "true_sources",
]

_NEIGHBOURS = 4.0  # arcsec within which others can spill light into an aperture
_SPILL = 0.01  # of its own flux, which an isolated source may get from others
_SPIKES = 0.3  # of the light of a star's wings that their mean over angles misses
_ANNULUS = (4.0, 9.0)  # pixels beyond the aperture
_LOST = 1.5  # arcsec that a mosaic may be off


@dataclass(frozen=True)
class TrueSources:
    """
    The true sources in the pixels of one mosaic.

    Attributes
    ----------
    mosaic : Mosaic
    x, y : ndarray of float64, shape (n,)
        0-based pixels, moved by what the mosaic is off.
    ra, dec : ndarray of float64, shape (n,)
        Degrees, as true.
    flux : ndarray of float64, shape (n,)
        In pixel values of the mosaic.
    mag : ndarray of float64, shape (n,)
        AB.
    star : ndarray of bool, shape (n,)
        False for galaxies.
    size : ndarray of float64, shape (n,)
        Half-light radius of the major axis, pixels; 0 for stars.
    spread : list of tuple of ndarray
        Offsets in pixels (x, y) at which a source has equal parts of its light.
    energy : EncircledEnergy
        Of a star in aperture sums on the mosaic; pixels.
    model : ndarray of float64, shape (m, m)
        A star in the pixels of the mosaic, finely sampled.
    """

    mosaic: Mosaic
    x: Floats
    y: Floats
    ra: Floats
    dec: Floats
    flux: Floats
    mag: Floats
    star: NDArray[np.bool_]
    size: Floats
    spread: list[tuple[Floats, Floats]]
    energy: EncircledEnergy
    model: Floats

    def profile(self, k: int, radii: Floats) -> Floats:
        """
        Give the mean brightness of a source in rings, for its flux, per pixel.

        Of a galaxy the wings that the telescope adds are left out.
        """
        if self.star[k]:
            return self.energy.density(radii)
        distance = np.sort(np.hypot(*self.spread[k]))
        share = (np.arange(distance.size) + 0.5) / distance.size
        within = np.interp(radii, distance, share)
        density: Floats = np.gradient(within, radii) / (2 * np.pi * radii)
        return density


def true_sources(mosaic: Mosaic, truth: Table, *, name: str) -> TrueSources:
    """
    Find the true sources that shine on a mosaic.

    Parameters
    ----------
    mosaic : Mosaic
    truth : `~astropy.table.Table`
        See `webbmosaic.report.truth.compare_with_truth`.
    name : str
        Of the mosaic, for messages.

    Returns
    -------
    sources : TrueSources

    Raises
    ------
    InputError
        If the table knows nothing of the filter, or the mosaic is not in MJy/sr.
    """
    light = mosaic.light
    if f"flux_{light}" not in truth.colnames:
        msg = f"{name}: the truth table has no fluxes in {light}"
        raise InputError(msg)
    if not np.isfinite(mosaic.to_jansky):
        msg = f"{name}: is in {mosaic.unit or 'no unit'}, not in MJy/sr"
        raise InputError(msg)
    known = read_encircled_energy(truth.meta, light)
    drop, pixel = known["pixel"], mosaic.pixel
    widths = [drop, pixel] if known["included"] else [drop, drop, pixel]
    energy, _ = smoothed(known["energy"], [*widths, pixel], pixel)
    _, model = smoothed(known["energy"], widths, pixel)
    x, y = mosaic.wcs.all_world2pix(truth["ra"], truth["dec"], 0)
    ny, nx = mosaic.data.shape
    margin = _NEIGHBOURS / pixel
    keep = (x > -margin) & (y > -margin) & (x < nx + margin) & (y < ny + margin)
    truth, x, y = truth[keep], x[keep], y[keep]
    star = np.asarray(truth["kind"] == "star")
    return TrueSources(
        mosaic=mosaic,
        x=x,
        y=y,
        ra=np.asarray(truth["ra"], dtype=float),
        dec=np.asarray(truth["dec"], dtype=float),
        flux=np.asarray(truth[f"flux_{light}"], dtype=float) / mosaic.to_jansky,
        mag=np.asarray(truth[f"mag_{light}"], dtype=float),
        star=star,
        size=np.where(star, 0, np.asarray(truth["r_half"], dtype=float)) / pixel,
        spread=[_spread(row, mosaic, truth.meta) for row in truth],
        energy=energy,
        model=model,
    )


def _spread(row: Any, mosaic: Mosaic, meta: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Offsets in pixels (x, y) at which a source has equal parts of its light."""
    if row["kind"] == "star":
        return np.zeros(1), np.zeros(1)
    limit = float(meta.get("size_limit", 50.0))
    size = float(row["r_half"]) / mosaic.pixel
    shape = (float(row["sersic_n"]), float(row["axis_ratio"]))
    major, minor = sersic_points(size, *shape, limit=limit)
    # North and east in pixels, from the WCS, whichever way the mosaic is turned.
    scales = mosaic.wcs.pixel_scale_matrix
    east, north = np.linalg.inv(scales / np.sqrt(abs(np.linalg.det(scales)))).T
    angle = np.deg2rad(float(row["pa"]))
    along = np.sin(angle) * east + np.cos(angle) * north
    across = np.cos(angle) * east - np.sin(angle) * north
    points = np.outer(along, major) + np.outer(across, minor)
    return points[0], points[1]


def recentred(sources: TrueSources, *, faintest: float) -> TrueSources:
    """
    Move the true positions by what the mosaic is off, so that apertures meet them.

    Parameters
    ----------
    sources : TrueSources
    faintest : float
        AB magnitude of the faintest star to look for.

    Returns
    -------
    sources : TrueSources
        With other ``x`` and ``y``, where most stars agree on a shift.
    """
    from scipy.ndimage import gaussian_filter

    data = np.where(sources.mosaic.good, sources.mosaic.data, 0)
    smooth = gaussian_filter(data, 1.0)
    bright = np.flatnonzero(sources.star & (sources.mag < faintest))
    reach = round(_LOST / sources.mosaic.pixel)
    shifts = []
    for k in bright[np.argsort(sources.mag[bright])][:200]:
        found = _peak(smooth, sources.x[k], sources.y[k], reach)
        if found is not None:
            shifts.append((found[0] - sources.x[k], found[1] - sources.y[k]))
    if not shifts:
        return sources
    # The offset with most company: of a lost peak the neighbours do not agree.
    table = np.array(shifts)
    company = cKDTree(table).query_ball_point(table, 1.5, return_length=True)
    best = table[np.hypot(*(table - table[np.argmax(company)]).T) < 1.5]
    dx, dy = np.median(best, axis=0) if len(best) > len(table) / 4 else (0, 0)
    return dataclasses.replace(sources, x=sources.x + dx, y=sources.y + dy)


def _peak(
    image: NDArray[np.float32], x: float, y: float, reach: int
) -> tuple[int, int] | None:
    x0, y0 = round(x) - reach, round(y) - reach
    box = image[max(y0, 0) : y0 + 2 * reach + 1, max(x0, 0) : x0 + 2 * reach + 1]
    if box.size == 0:
        return None
    row, column = np.unravel_index(np.argmax(box), box.shape)
    return int(column) + max(x0, 0), int(row) + max(y0, 0)


def isolated(
    sources: TrueSources,
    kind: NDArray[np.bool_],
    magnitudes: tuple[float, float],
    radii: Floats,
) -> Chosen:
    """
    Choose sources that lie wholly on good pixels, without neighbours.

    Parameters
    ----------
    sources : TrueSources
    kind : ndarray of bool, shape (n,)
        Which may be chosen.
    magnitudes : tuple of float
        Brightest and faintest, AB.
    radii : ndarray of float64, shape (n,)
        Of the apertures, pixels. Others may add 1 % of a source's flux at most.

    Returns
    -------
    chosen : ndarray of int, shape (m,)
        Indices.
    """
    bright = (sources.mag >= magnitudes[0]) & (sources.mag <= magnitudes[1])
    chosen = [
        k
        for k in map(int, np.flatnonzero(kind & bright))
        if _whole(sources, k, radii[k]) and _isolated(sources, k, radii[k])
    ]
    return np.array(chosen, dtype=np.intp)


def _whole(sources: TrueSources, k: int, radius: float) -> bool:
    good = sources.mosaic.good
    reach = int(radius + 4)
    x, y = round(sources.x[k]), round(sources.y[k])
    if min(x, y) < reach or x + reach >= good.shape[1] or y + reach >= good.shape[0]:
        return False
    return bool(good[y - reach : y + reach + 1, x - reach : x + reach + 1].all())


def _isolated(sources: TrueSources, k: int, radius: float) -> bool:
    spill, rough = _from_others(sources, k, radius)
    return bool(max(abs(spill), rough) < _SPILL * sources.flux[k])


def _from_others(sources: TrueSources, k: int, radius: float) -> tuple[float, float]:
    """
    Give the light of others in an aperture less that in its sky, and what is unsure.

    What is smooth over the aperture and its ring cancels; of stars the spikes do not.
    """
    distance = np.hypot(sources.x - sources.x[k], sources.y - sources.y[k])
    near = distance < _NEIGHBOURS / sources.mosaic.pixel + radius
    near[k] = False
    spill = rough = 0.0
    for j in map(int, np.flatnonzero(near)):
        inside, sky = _in_aperture(sources, j, (sources.x[k], sources.y[k]), radius)
        spill += sources.flux[j] * (inside - sky)
        rough += sources.flux[j] * (_SPIKES * inside if sources.star[j] else 0)
    return float(spill), float(rough)


def _in_aperture(
    sources: TrueSources, j: int, centre: tuple[float, float], radius: float
) -> tuple[float, float]:
    """Share of the light of source j in a circle, and in as much of its sky ring."""
    inner, outer = (radius + beyond for beyond in _ANNULUS)
    dx, dy = sources.spread[j]
    dx, dy = (v[:: max(1, v.size // 100)] for v in (dx, dy))
    distance = np.hypot(sources.x[j] + dx - centre[0], sources.y[j] + dy - centre[1])
    inside, less, more = (
        float(sources.energy.captured(distance, r).mean())
        for r in (radius, inner, outer)
    )
    return inside, (more - less) * radius**2 / (outer**2 - inner**2)


def excess(sources: TrueSources, k: int, radius: float) -> float:
    """
    Measure the light of a source in a circle, over what is expected there, less one.

    Parameters
    ----------
    sources : TrueSources
    k : int
        Which.
    radius : float
        Of the aperture, pixels. The sky is the clipped median of a ring 4 to 9 pixels
        farther out. What is expected there of this source and of others is allowed for.

    Returns
    -------
    excess : float
        NaN where the ring has no sky.
    """
    from photutils.aperture import CircularAnnulus, CircularAperture

    mosaic, centre = sources.mosaic, (sources.x[k], sources.y[k])
    inner, outer = (radius + beyond for beyond in _ANNULUS)
    circle = CircularAperture(centre, radius)
    total = circle.do_photometry(mosaic.data, mask=~mosaic.good, method="exact")[0][0]
    ring = CircularAnnulus(centre, inner, outer).to_mask(method="center")
    values = ring.get_values(mosaic.data, mask=~mosaic.good)
    if values.size < 50:
        return float("nan")
    inside, beside = _in_aperture(sources, k, centre, radius)
    spill, _ = _from_others(sources, k, radius)
    found = total - clipped_level(values)[0] * circle.area - spill
    return float(found / (sources.flux[k] * (inside - beside)) - 1)


def signal_to_noise(sources: TrueSources, k: int, radius: float) -> float:
    """
    Estimate the signal-to-noise ratio of a source in a circle from the error array.

    Parameters
    ----------
    sources : TrueSources
    k : int
        Which.
    radius : float
        Of the aperture, pixels.

    Returns
    -------
    ratio : float
        As if the noise of pixels were independent: an upper limit.
    """
    from photutils.aperture import CircularAperture

    circle = CircularAperture((sources.x[k], sources.y[k]), radius)
    variance = circle.do_photometry(sources.mosaic.err**2, method="exact")[0][0]
    light = sources.flux[k] * float(sources.energy.within(radius))
    return float(light / np.sqrt(variance))
