"""Stars of Gaia DR3, asked for once and kept."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.table import Table

from webbmosaic.archives.catalogs import (
    at_epoch,
    read_catalog,
    separation,
    write_catalog,
)
from webbmosaic.archives.transport import check_address
from webbmosaic.errors import ArchiveError, InputError

__all__ = ["gaia_cone", "gaia_fields"]

GAIA_URL = "https://gea.esac.esa.int/tap-server/tap"
#: Gaia DR3 positions are for this Julian year (Gaia Collaboration, Vallenari+2023).
GAIA_EPOCH = 2016.0
_WIDEST_CONE = 0.25  # degrees; larger fields are asked for in pieces


def gaia_cone(
    ra: float, dec: float, radius: float, *, epoch: float, folder: Path
) -> Table:
    """
    Fetch the stars of Gaia DR3 around a position, moved to an epoch.

    Parameters
    ----------
    ra, dec, radius : float
        ICRS, in degrees.
    epoch : float
        Julian year. Stars without a measured proper motion stay where they were in
        2016.
    folder : `~pathlib.Path`
        Where answers are kept as ECSV; asked for again, they are read from there.

    Returns
    -------
    catalog : `~astropy.table.Table`
        ``RA``, ``DEC`` (degrees, at ``epoch``), ``ID``, ``mag`` (G), ``ra_error``,
        ``dec_error`` (mas, at 2016), ``pmra``, ``pmdec`` (mas/yr), ``ruwe``.

    Raises
    ------
    ArchiveError
        If the archive does not answer.
    """
    path = folder / f"gaia_dr3_{ra:.5f}_{dec:+.5f}_{radius:.5f}.ecsv"
    if not path.exists():
        write_catalog(_ask_gaia(ra, dec, radius), path)
    catalog = read_catalog(path)
    catalog.meta["epoch"] = GAIA_EPOCH
    return at_epoch(catalog, epoch)


def _ask_gaia(ra: float, dec: float, radius: float) -> Table:
    """Ask as an asynchronous job: those are not cut off at 2,000 rows."""
    import requests
    from astroquery.utils.tap import TapPlus

    url = check_address(os.environ.get("WEBBMOSAIC_GAIA_URL") or GAIA_URL)
    query = (
        "SELECT source_id, ra, dec, ra_error, dec_error, pmra, pmdec, phot_g_mean_mag,"
        " ruwe FROM gaiadr3.gaia_source WHERE 1 = CONTAINS(POINT('ICRS', ra, dec),"
        f" CIRCLE('ICRS', {ra:.8f}, {dec:.8f}, {radius:.8f}))"
    )
    try:
        return TapPlus(url=url).launch_job_async(query).get_results()
    except (OSError, ValueError, requests.RequestException) as error:
        msg = (
            f"{url} does not answer: {error}. Try: again later, or a catalogue of yours"
        )
        raise ArchiveError(msg) from error


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
