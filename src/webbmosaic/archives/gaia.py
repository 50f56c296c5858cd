"""Stars of Gaia around a position, where they are at an epoch."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from webbmosaic.archives.catalogs import (
    read_catalog,
    separation,
    with_our_names,
    write_catalog,
)
from webbmosaic.archives.tap import ask
from webbmosaic.archives.transport import Tell, check_address
from webbmosaic.errors import InputError

__all__ = ["gaia_cone", "gaia_fields"]

GAIA_URL = "https://gea.esac.esa.int/tap-server/tap"
#: Arcseconds a year of the fastest star there is, Barnard's (Gaia DR3: 10.39).
_FASTEST = 10.4
#: What is asked of Gaia, and what else where it has it.
_GAIA = (
    *("source_id", "ra", "dec", "ra_error", "dec_error", "pmra", "pmdec"),
    *("phot_g_mean_mag", "ruwe"),
)
_GAIA_TOO = ("parallax", "radial_velocity")
#: Gaia DR3 positions are for this Julian year (Gaia Collaboration, Vallenari+2023).
GAIA_EPOCH = 2016.0
_WIDEST_CONE = 0.25  # degrees; larger fields are asked for in pieces


def gaia_cone(
    ra: float,
    dec: float,
    radius: float,
    *,
    epoch: float,
    folder: Path,
    tell: Tell = lambda _sentence: None,
) -> Table:
    """
    Fetch the stars of Gaia DR3 around a position, moved to an epoch.

    Parameters
    ----------
    ra, dec, radius : float
        ICRS, in degrees. Stars that move into the field are there too: the archive is
        asked for a wider one.
    epoch : float
        Julian year. Stars without a measured proper motion stay where they were in
        2016.
    folder : `~pathlib.Path`
        Where good answers are kept as ECSV; asked for again, they are read from there.
    tell : callable, optional
        Takes sentences for the user.

    Returns
    -------
    catalog : `~astropy.table.Table`
        ``RA``, ``DEC`` (degrees, at ``epoch``), ``ID``, ``mag`` (G), ``ra_error``,
        ``dec_error`` (mas, at 2016), ``pmra``, ``pmdec`` (mas/yr), ``ruwe``,
        ``parallax`` (mas) and ``radial_velocity`` (km/s) where the archive has them.

    Raises
    ------
    ArchiveError
        If the archive does not answer, or not with all that was asked for.
    """
    decades = max(math.ceil(abs(epoch - GAIA_EPOCH) / 10), 1)
    name = f"gaia_dr3_{ra:.5f}_{dec:+.5f}_{radius:.5f}_{10 * decades}yr.ecsv"
    stars = _kept(folder / name)
    if stars is None:
        url = check_address(os.environ.get("WEBBMOSAIC_GAIA_URL") or GAIA_URL)
        wider = radius + 10 * decades * _FASTEST / 3600
        query = (
            f"SELECT {', '.join((*_GAIA, *_GAIA_TOO))} FROM gaiadr3.gaia_source"
            " WHERE 1 = CONTAINS(POINT('ICRS', ra, dec),"
            f" CIRCLE('ICRS', {ra:.8f}, {dec:.8f}, {wider:.8f}))"
        )
        stars = ask(url, query, columns=_GAIA, tell=tell)
        if len(stars):
            write_catalog(stars, folder / name)
        stars = with_our_names(stars, url)
    return _moved(stars, epoch)


def _kept(path: Path) -> Table | None:
    """Read an answer that was kept; None where there is none, or it is damaged."""
    if not path.exists():
        return None
    try:
        stars = read_catalog(path)
    except InputError:
        return None
    needed = {"mag", "pmra", "pmdec"}
    return stars if len(stars) and needed <= set(stars.colnames) else None


def _moved(catalog: Table, epoch: float) -> Table:
    """Move stars from 2016 to an epoch, along their great circles."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.time import Time

    catalog.meta["epoch"] = epoch
    if not len(catalog):
        return catalog
    parallax = _numbers(catalog, "parallax", 0.0)
    # A star whose distance is not known is far away: 1e-4 mas.
    far = np.maximum(parallax, 1e-4) * units.mas
    motion = units.mas / units.yr
    with warnings.catch_warnings():
        # It overrides distances with which stars would be too fast.
        warnings.filterwarnings("ignore", "ERFA function")
        now = SkyCoord(
            np.asarray(catalog["RA"]) * units.deg,
            np.asarray(catalog["DEC"]) * units.deg,
            distance=far.to(units.pc, units.parallax()),
            pm_ra_cosdec=_numbers(catalog, "pmra", 0.0) * motion,
            pm_dec=_numbers(catalog, "pmdec", 0.0) * motion,
            radial_velocity=_speeds(catalog, parallax) * units.km / units.s,
            obstime=Time(GAIA_EPOCH, format="jyear", scale="tt"),
        ).apply_space_motion(new_obstime=Time(epoch, format="jyear", scale="tt"))
    catalog["RA"], catalog["DEC"] = now.ra.deg % 360, now.dec.deg
    return catalog


def _speeds(catalog: Table, parallax: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give radial velocities; they matter where the distance is known, too."""
    return np.where(parallax > 0, _numbers(catalog, "radial_velocity", 0.0), 0.0)


def _numbers(catalog: Table, name: str, default: float) -> NDArray[np.float64]:
    """Give a column as numbers, with a default where there are none."""
    if name not in catalog.colnames:
        return np.full(len(catalog), default)
    values: NDArray[np.float64]
    values = np.asarray(np.ma.filled(np.ma.asarray(catalog[name], float), np.nan))
    return np.where(np.isfinite(values), values, default)


def gaia_fields(places: Iterable[tuple[float, float, float]], *, folder: Path) -> Table:
    """
    Fetch the stars of Gaia DR3 on some fields, where they were in 2016.

    Parameters
    ----------
    places : iterable of tuple of float
        RA, Dec and radius of each, in degrees; those that overlap are asked for at
        once.
    folder : `~pathlib.Path`
        Where answers are kept.

    Returns
    -------
    catalog : `~astropy.table.Table`
        With proper motions, and their epoch in the metadata.

    Raises
    ------
    ArchiveError
        If the archive does not answer.
    InputError
        If there is no star.
    """
    from astropy.table import unique, vstack

    cones: list[tuple[float, float, float]] = []
    for ra, dec, radius in sorted(places, key=lambda place: -place[2]):
        for k, (ra0, dec0, wide) in enumerate(cones):
            apart = float(separation(np.array([ra]), np.array([dec]), ra0, dec0)[0])
            if apart < wide + radius and apart + radius < _WIDEST_CONE:
                cones[k] = (ra0, dec0, max(wide, apart + radius))
                break
        else:
            cones.append((ra, dec, radius))
    tables = [gaia_cone(*cone, epoch=GAIA_EPOCH, folder=folder) for cone in cones]
    stars = unique(vstack(tables, metadata_conflicts="silent"), "ID")
    if len(stars) == 0:
        raise InputError("Gaia DR3 has no star on these fields. Try: a catalogue file")
    stars.meta["epoch"] = GAIA_EPOCH
    return stars
