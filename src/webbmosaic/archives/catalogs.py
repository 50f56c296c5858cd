"""Reference catalogues for astrometry: Gaia, the user's own, cut to a field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.registry import IORegistryError
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from webbmosaic.errors import InputError
from webbmosaic.files.products import atomic

__all__ = [
    "Field",
    "at_epoch",
    "cut",
    "field_of",
    "read_catalog",
    "separation",
    "write_catalog",
]


_NAMES = {
    "RA": ("ra", "ra_icrs", "raj2000", "ra_j2000", "alpha_j2000", "alphawin_j2000",
           "ra_deg", "radeg", "_raj2000", "sky_centroid.ra", "alpha",
           "right_ascension"),
    "DEC": ("dec", "de", "de_icrs", "dec_icrs", "dej2000", "dec_j2000", "decj2000",
            "delta_j2000", "deltawin_j2000", "dec_deg", "dedeg", "_dej2000",
            "sky_centroid.dec", "delta", "declination"),
    "ID": ("id", "source_id", "phot_id", "number", "label", "objid", "name"),
    "pmra": ("pmra", "pm_ra_cosdec", "pmra_cosdec", "pm_ra"),
    "pmdec": ("pmdec", "pm_dec", "pmde"),
    "mag": ("mag", "phot_g_mean_mag", "gmag", "mag_auto", "isophotal_abmag",
            "magnitude"),
}  # fmt: skip
_FORMATS = {".txt": "ascii", ".dat": "ascii", ".cat": "ascii", ".vot": "votable"}


def read_catalog(path: Path) -> Table:
    """
    Read a catalogue, whatever its columns are called.

    Parameters
    ----------
    path : `~pathlib.Path`
        FITS, ECSV, CSV, VOTable, or text with columns (``.txt``, ``.dat``, ``.cat``).

    Returns
    -------
    catalog : `~astropy.table.Table`
        With ``RA`` and ``DEC`` in degrees (float64), ``ID``, and ``mag`` where there is
        one, before all other columns. Rows without a position are left out.

    Raises
    ------
    InputError
        If it cannot be read, or has no columns of positions.
    """
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # odd units of others
            table = Table.read(path, format=_FORMATS.get(path.suffix.lower()))
    except (IORegistryError, OSError, ValueError, TypeError, KeyError) as error:
        msg = f"{path}: cannot be read as a catalogue ({str(error).splitlines()[0]})"
        raise InputError(msg) from error
    table = _without_mixins(table)
    found = {name: _find(table, known) for name, known in _NAMES.items()}
    if not found["RA"] or not found["DEC"]:
        msg = (
            f"{path}: has no columns of positions among"
            f" {', '.join(table.colnames[:8])}. Try: call them RA and DEC, in degrees"
        )
        raise InputError(msg)
    ra, dec = _degrees(table, found["RA"], found["DEC"], path)
    for name, column in found.items():
        if column and column != name:
            table[name] = table[column]
            table.remove_column(column)
    table["RA"], table["DEC"] = ra, dec
    if "ID" not in table.colnames:
        table["ID"] = np.arange(1, len(table) + 1)
    front = [name for name in _NAMES if name in table.colnames]
    good = np.isfinite(ra) & np.isfinite(dec)
    return table[front + [c for c in table.colnames if c not in front]][good]


def _without_mixins(table: Table) -> Table:
    """Give the positions of a column of coordinates columns of their own."""
    from astropy.coordinates import SkyCoord

    for name in list(table.colnames):
        if isinstance(table[name], SkyCoord):
            sky = table[name].icrs
            table.remove_column(name)
            if name == "sky_centroid" or "RA" not in table.colnames:
                table["RA"], table["DEC"] = sky.ra.deg, sky.dec.deg
    return table


def _find(table: Table, known: Sequence[str]) -> str:
    """Find a column by any of its names, whatever the case; the first known wins."""
    columns = {name.lower(): name for name in reversed(table.colnames)}
    return next((columns[name] for name in known if name in columns), "")


def _degrees(
    table: Table, ra: str, dec: str, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give positions in degrees; text is read as hours and degrees (10:00:29.1)."""
    from astropy import units
    from astropy.coordinates import Angle

    angles = []
    for name, default in ((ra, units.hourangle), (dec, units.deg)):
        column = table[name]
        text = column.dtype.kind in "USO"
        unit = default if text else column.unit or units.deg
        try:
            values = [str(v) for v in column] if text else np.ma.filled(column, np.nan)
            angles.append(Angle(np.asarray(values), unit=unit).to_value(units.deg))
        except (ValueError, TypeError, units.UnitsError) as error:
            msg = f"{path}: column {name} holds no angles ({error})"
            raise InputError(msg) from error
    return np.asarray(angles[0], float), np.asarray(angles[1], float)


@dataclass(frozen=True)
class Field:
    """
    The outline of an image.

    Attributes
    ----------
    wcs : `~astropy.wcs.WCS`
    shape : tuple of int
        (y, x) in pixels.
    epoch : float or None
        Julian year of the observation.
    """

    wcs: Any
    shape: tuple[int, int]
    epoch: float | None

    @property
    def centre(self) -> tuple[float, float]:
        """RA and Dec of the middle, in degrees."""
        middle = [(n - 1) / 2 for n in reversed(self.shape)]
        ra, dec = self.wcs.all_pix2world(*middle, 0)
        return float(ra), float(dec)

    @property
    def radius(self) -> float:
        """From the middle to the farthest corner, in degrees."""
        ra, dec = self.wcs.all_pix2world(_corners(self.shape), 0).T
        return float(np.max(separation(ra, dec, *self.centre)))

    def contains(
        self, ra: NDArray[np.float64], dec: NDArray[np.float64], buffer: float
    ) -> NDArray[np.bool_]:
        """Tell which positions (degrees) are on it, or ``buffer`` arcsec beside it."""
        inside = separation(ra, dec, *self.centre) <= self.radius + buffer / 3600
        if not inside.any():
            return inside
        x, y = self.wcs.all_world2pix(ra[inside], dec[inside], 0, quiet=True)
        scale = np.sqrt(np.abs(np.linalg.det(self.wcs.pixel_scale_matrix))) * 3600
        margin = 0.5 + buffer / scale
        ny, nx = self.shape
        inside[inside] = (
            (x >= -margin) & (x <= nx - 1 + margin)
            & (y >= -margin) & (y <= ny - 1 + margin)
        )  # fmt: skip
        return inside


def _corners(shape: tuple[int, int]) -> list[tuple[float, float]]:
    ny, nx = shape
    return [(x, y) for x in (-0.5, nx - 0.5) for y in (-0.5, ny - 0.5)]


def separation(
    ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: float, dec0: float
) -> NDArray[np.float64]:
    """
    Give angular distances by the haversine formula.

    Parameters
    ----------
    ra, dec : 1D `~numpy.ndarray`
        In degrees.
    ra0, dec0 : float
        In degrees.

    Returns
    -------
    distance : 1D `~numpy.ndarray`
        In degrees.
    """
    half_ra, half_dec = np.radians(ra - ra0) / 2, np.radians(dec - dec0) / 2
    cosines = np.cos(np.radians(dec)) * np.cos(np.radians(dec0))
    a = np.sin(half_dec) ** 2 + cosines * np.sin(half_ra) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(a, 0, 1)))))


def field_of(path: Path) -> Field:
    """
    Read the outline of an image.

    Parameters
    ----------
    path : `~pathlib.Path`
        FITS; the SCI extension, or the first with two axes and a sky WCS.

    Returns
    -------
    field : Field

    Raises
    ------
    InputError
        If it cannot be read or has no sky coordinates.
    """
    import warnings

    from astropy.wcs import WCS

    try:
        with fits.open(path) as units, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            for unit in sorted(units, key=lambda u: u.name != "SCI"):
                wcs = WCS(unit.header, naxis=2)
                if unit.header["NAXIS"] >= 2 and wcs.has_celestial:
                    shape = (unit.header["NAXIS2"], unit.header["NAXIS1"])
                    return Field(wcs, shape, _epoch(units, unit))
    except (OSError, KeyError, ValueError) as error:
        msg = f"{path}: cannot be read as an image ({error})"
        raise InputError(msg) from error
    msg = f"{path}: has no image with sky coordinates"
    raise InputError(msg)


def _epoch(units: Any, unit: Any) -> float | None:
    from astropy.time import Time

    mjd = unit.header.get("MJD-AVG") or unit.header.get("MJD-BEG")
    if mjd:
        return float(Time(mjd, format="mjd").jyear)
    day = units[0].header.get("DATE-OBS")
    return float(Time(day).jyear) if day else None


def cut(catalog: Table, fields: Iterable[Field], *, buffer: float = 1.0) -> Table:
    """
    Keep what is on any of some images.

    Parameters
    ----------
    catalog : `~astropy.table.Table`
        As `read_catalog` gives it.
    fields : iterable of Field
    buffer : float, optional
        How far beside an image still counts, in arcsec.

    Returns
    -------
    catalog : `~astropy.table.Table`
    """
    ra, dec = (np.asarray(catalog[name], float) for name in ("RA", "DEC"))
    keep = np.zeros(len(catalog), bool)
    for field in fields:
        keep |= field.contains(ra, dec, buffer)
    return catalog[keep]


def write_catalog(catalog: Table, path: Path, *, name: str = "") -> None:
    """
    Write a catalogue as tweakreg reads it.

    Parameters
    ----------
    catalog : `~astropy.table.Table`
    path : `~pathlib.Path`
        ``.ecsv``, ``.csv`` or ``.fits``.
    name : str, optional
        For tweakreg's messages; by default the name of the file.

    Raises
    ------
    InputError
        If the format is not known.
    """
    formats = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits"}
    if path.suffix.lower() not in formats:
        msg = f"{path}: catalogues are written as .ecsv, .csv or .fits"
        raise InputError(msg)
    catalog.meta["name"] = name or path.stem
    with atomic(path) as temporary:
        catalog.write(temporary, format=formats[path.suffix.lower()], overwrite=True)


def at_epoch(catalog: Table, epoch: float) -> Table:
    """
    Move stars to an epoch by their proper motions, where they have any.

    Parameters
    ----------
    catalog : `~astropy.table.Table`
        As `read_catalog` gives it: ``pmra`` (times the cosine of the declination) and
        ``pmdec`` in mas/yr; their epoch is the column ``ref_epoch`` or ``epoch``, or
        ``epoch`` or ``ref_epoch`` in the metadata (Julian year).
    epoch : float
        Julian year.

    Returns
    -------
    catalog : `~astropy.table.Table`
        A copy; unchanged where motions or their epoch are not known.

    Notes
    -----
    Linear on the sky, which holds to 1e-3 mas in decades.
    """
    moved = catalog.copy()
    start = _reference_epoch(catalog)
    if start is None or not {"pmra", "pmdec"} <= set(catalog.colnames):
        return moved
    years = np.nan_to_num(epoch - start)
    motion = [np.nan_to_num(_plain(catalog[name], 0.0)) for name in ("pmra", "pmdec")]
    cosine = np.cos(np.radians(np.asarray(catalog["DEC"], float)))
    moved["RA"] = catalog["RA"] + motion[0] * years / 3.6e6 / cosine
    moved["DEC"] = catalog["DEC"] + motion[1] * years / 3.6e6
    if "ref_epoch" in moved.colnames:
        moved["ref_epoch"] = epoch
    moved.meta["epoch"] = epoch
    return moved


def _plain(column: Any, missing: float) -> NDArray[np.float64]:
    """Give the values of a column, and something else where they are masked."""
    values = np.ma.filled(np.ma.MaskedArray(column, dtype=float), missing)
    return np.asarray(values, float)


def _reference_epoch(catalog: Table) -> Any:
    """Give the Julian year of the positions, one for each star or for all."""
    columns = {name.lower(): name for name in catalog.colnames}
    for name in ("ref_epoch", "epoch"):
        if name in columns:
            return _plain(catalog[columns[name]], np.nan)
    known = {str(key).lower(): value for key, value in catalog.meta.items()}
    value = known.get("ref_epoch", known.get("epoch"))
    return None if value is None else float(value)
