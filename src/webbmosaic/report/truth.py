"""A mosaic against the catalogue of what was simulated: fluxes, positions, sky."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from webbmosaic.errors import InputError
from webbmosaic.report.mosaics import read_mosaic
from webbmosaic.report.quality import block_error, clipped_level
from webbmosaic.report.sources import (
    TrueSources,
    excess,
    isolated,
    offsets,
    recentred,
    true_sources,
)

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Agreement", "compare_with_truth", "read_truth"]


@dataclass(frozen=True)
class Agreement:
    """
    How a mosaic compares with the truth.

    Attributes
    ----------
    light : str
        The filter.
    stars, galaxies : int
        How many isolated ones were measured.
    flux, flux_mad : float
        Median of measured over true flux less one, and the median absolute deviation
        from it, per cent; of the stars.
    ra, dec, position_mad : float
        Medians of measured minus true position, and the larger of the two median
        absolute deviations, mas; of the stars. ``ra`` is on the sky (times cos dec).
    galaxy_flux, galaxy_mad : float
        As ``flux`` and ``flux_mad``, of the galaxies.
    sky : float
        Mean of blank sky in units of the noise of a pixel there.
    sky_error : float
        The standard error of ``sky`` from the scatter of blocks of 16 pixels.
    blank : float
        Fraction of the mosaic that is blank: true light under ``sky_limit`` times the
        noise.
    sky_limit : float
    radius : float
        Of the stars' aperture, pixels.
    """

    light: str
    stars: int
    flux: float
    flux_mad: float
    ra: float
    dec: float
    position_mad: float
    galaxies: int
    galaxy_flux: float
    galaxy_mad: float
    sky: float
    sky_error: float
    blank: float
    sky_limit: float
    radius: float

    def as_dict(self) -> dict[str, Any]:
        """Give plain numbers, for JSON."""
        return asdict(self)


def read_truth(path: Path) -> Table:
    """
    Read the table of true sources.

    Parameters
    ----------
    path : `~pathlib.Path`
        ECSV as the simulator writes it.

    Returns
    -------
    table : `~astropy.table.Table`

    Raises
    ------
    InputError
        If it is missing or no such table.
    """
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as a truth table ({error})"
        raise InputError(msg) from error
    missing = {"ra", "dec", "kind"} - set(table.colnames)
    if missing:
        msg = f"{path}: no truth table, it has no column {', '.join(sorted(missing))}"
        raise InputError(msg)
    return table


def compare_with_truth(
    i2d: Path,
    truth: Table,
    *,
    magnitudes: tuple[float, float] = (20.0, 22.5),
    galaxy_magnitudes: tuple[float, float] = (19.0, 23.0),
    radius: float | None = None,
) -> Agreement:
    """
    Measure isolated stars and galaxies and the blank sky of a mosaic.

    Parameters
    ----------
    i2d : `~pathlib.Path`
        The mosaic.
    truth : `~astropy.table.Table`
        Columns ``ra``, ``dec`` (degrees), ``kind`` (star, galaxy), ``mag_F200W`` (AB)
        and ``flux_F200W`` (Jy), ``r_half`` (arcsec), ``sersic_n``, ``axis_ratio``,
        ``pa`` (degrees east of north), and ``encircled_energy`` in its metadata.
    magnitudes, galaxy_magnitudes : tuple of float
        Of the stars and galaxies to measure, AB.
    radius : float, optional
        Of the stars' aperture, in pixels; by default it holds about two thirds of a
        star's light, and is 3 pixels at least.

    Returns
    -------
    agreement : Agreement
        NaN where there was nothing to measure.

    Raises
    ------
    InputError
        If the mosaic or the table cannot be used.
    """
    sources = true_sources(read_mosaic(i2d), truth, name=i2d.name)
    radius = radius or _radius(sources)
    sources = recentred(sources, faintest=magnitudes[1])
    radii = np.full(sources.x.size, radius)
    chosen = isolated(sources, sources.star, magnitudes, radii)
    fluxes = np.array([excess(sources, k, radius) for k in chosen])
    east, north = offsets(sources, chosen)
    excesses = _galaxies(sources, galaxy_magnitudes)
    sky, sky_error, blank, limit = _blank_sky(sources)
    flux, flux_mad = _median_mad(fluxes)
    galaxy_flux, galaxy_mad = _median_mad(excesses)
    (ra, ra_mad), (dec, dec_mad) = _median_mad(east), _median_mad(north)
    return Agreement(
        light=sources.mosaic.light,
        stars=int(np.isfinite(fluxes).sum()),
        flux=100 * flux,
        flux_mad=100 * flux_mad,
        ra=ra,
        dec=dec,
        position_mad=max(ra_mad, dec_mad),
        galaxies=int(np.isfinite(excesses).sum()),
        galaxy_flux=100 * galaxy_flux,
        galaxy_mad=100 * galaxy_mad,
        sky=sky,
        sky_error=sky_error,
        blank=blank,
        sky_limit=limit,
        radius=radius,
    )


def _median_mad(values: Floats) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    middle = float(np.median(values))
    return middle, float(np.median(np.abs(values - middle)))


def _radius(sources: TrueSources) -> float:
    radii = np.linspace(1, 12, 111)
    return max(3.0, float(np.interp(0.67, sources.energy.within(radii), radii)))


def _galaxies(sources: TrueSources, magnitudes: tuple[float, float]) -> Floats:
    radii = np.clip(2.5 * sources.size + 3, 4, 60)
    chosen = isolated(sources, ~sources.star, magnitudes, radii)
    return np.array([excess(sources, k, radii[k]) for k in chosen])


def _blank_sky(sources: TrueSources) -> tuple[float, float, float, float]:
    """Give the mean of blank sky, its error, the blank fraction, the limit (sigma)."""
    mosaic = sources.mosaic
    noise = clipped_level(mosaic.data[mosaic.good])[1]
    for limit in (0.01, 0.02, 0.05, 0.1, 0.2):
        blank = mosaic.good & ~_lit(sources, limit * noise)
        if blank.sum() > max(0.05 * mosaic.good.sum(), 500):
            break
    else:
        return (float("nan"),) * 4
    level, noise = clipped_level(mosaic.data[blank])
    error = block_error(mosaic.data, blank)
    share = float(blank.sum() / mosaic.good.sum())
    return level / noise, error / noise, share, limit


def _lit(sources: TrueSources, limit: float) -> NDArray[np.bool_]:
    """Mark discs in which a true source is brighter than a limit (pixel values)."""
    shape = sources.mosaic.data.shape
    lit = np.zeros(shape, bool)
    radii = np.append(np.geomspace(0.5, 10, 25), np.geomspace(10.5, 400, 80))
    star = sources.energy.density(radii)
    for k in range(sources.x.size):
        light = sources.flux[k] * (
            star if sources.star[k] else sources.profile(k, radii)
        )
        bright = radii[light > limit]
        # Spikes reach farther than the mean over angles; galaxies are not round.
        reach = (1.5 if sources.star[k] else 1.0) * bright.max(initial=0)
        _paint(lit, sources.x[k], sources.y[k], reach)
    return lit


def _paint(lit: NDArray[np.bool_], x: float, y: float, reach: float) -> None:
    low = [max(0, int(c - reach)) for c in (y, x)]
    high = [max(0, int(c + reach) + 2) for c in (y, x)]
    box = np.s_[low[0] : high[0], low[1] : high[1]]
    rows, columns = np.ogrid[box]
    part = lit[box]
    part |= (
        np.hypot(rows[: part.shape[0]] - y, columns[:, : part.shape[1]] - x) <= reach
    )
