"""A mosaic against the catalogue of what was simulated: fluxes, positions, sky."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from webbmosaic.errors import InputError
from webbmosaic.report.mosaics import read_mosaic
from webbmosaic.report.positions import offsets
from webbmosaic.report.quality import block_error, clipped_level
from webbmosaic.report.sources import (
    TrueSources,
    excess,
    isolated,
    recentred,
    signal_to_noise,
    true_sources,
)

if TYPE_CHECKING:
    from astropy.table import Table
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Image = NDArray[np.float32]

__all__ = ["Agreement", "compare_with_truth", "read_truth"]

_SAMPLE = 300_000  # pixels of a mosaic whose true light is drawn
_FAINTEST = 1e-5  # of the faintest source's flux, in a pixel that it still lights


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
    snr : float
        Median signal-to-noise ratio of the stars, by the error array.
    sky : float
        Level of blank sky, less what true sources still shine there, in units of the
        noise of a pixel; NaN where wings of sources leave no blank sky.
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
    snr: float
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
    except (OSError, ValueError, TypeError) as error:
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
    snr = _median_mad(np.array([signal_to_noise(sources, k, radius) for k in chosen]))[
        0
    ]
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
        snr=snr,
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
    step = max(1, round(np.sqrt(mosaic.data.size / _SAMPLE)))
    data, good = mosaic.data[::step, ::step], mosaic.good[::step, ::step]
    noise = clipped_level(data[good])[1]
    light = _true_light(sources, step)
    for limit in (0.02, 0.05, 0.1, 0.2):
        blank = good & (light < limit * noise)
        if blank.sum() > max(0.05 * good.sum(), 500):
            break
    else:
        return (float("nan"),) * 4
    level, noise = clipped_level((data - light)[blank])
    error = block_error(data - light, blank)
    return level / noise, error / noise, float(blank.sum() / good.sum()), limit


def _true_light(sources: TrueSources, step: int) -> Image:
    """Draw the true sources, round, on every so many pixels."""
    shape = sources.mosaic.data.shape
    light = np.zeros(tuple(-(-n // step) for n in shape), np.float32)
    radii = np.append(0.3, np.geomspace(0.5, sources.energy.radius[-1], 120))
    for k in range(sources.x.size):
        profile = sources.flux[k] * sources.profile(k, radii)
        seen = radii[profile > _FAINTEST * sources.flux.min()]
        reach = float(seen.max(initial=0))
        box, distance = _around(sources.x[k], sources.y[k], reach, light.shape, step)
        light[box] += np.interp(distance, radii, profile, right=0)
    return light


def _around(
    x: float, y: float, reach: float, shape: tuple[int, ...], step: int
) -> tuple[tuple[slice, slice], Floats]:
    """Cut out the surroundings of a source, and give the distances there in pixels."""
    rows, columns = (
        slice(
            min(n, max(0, int((c - reach) / step))), max(0, int((c + reach) / step) + 2)
        )
        for c, n in zip((y, x), shape, strict=True)
    )
    box = rows, columns
    down = np.arange(shape[0])[rows] * step - y
    across = np.arange(shape[1])[columns] * step - x
    return box, np.hypot(down[:, None], across)
