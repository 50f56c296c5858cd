"""Reading rows of MAST, whatever is in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from webbmosaic.archives.holdings import (
    Exposure,
    Product,
    optical_elements,
    own_channel,
    parts_of_name,
)
from webbmosaic.archives.reading import whole_number
from webbmosaic.errors import ArchiveError, printable

__all__ = ["joined", "read_exposure", "read_product"]


def read_exposure(row: Mapping[str, Any]) -> Exposure:
    """
    Read a row of a search.

    Parameters
    ----------
    row : mapping
        MAST's columns.

    Returns
    -------
    exposure : Exposure
        Without a name where MAST gives none.
    """
    name = _text(row, "fileSetName")
    program, observation, visit = parts_of_name(name)
    return Exposure(
        name=name,
        program=program or _text(row, "program").zfill(5),
        observation=observation or _text(row, "observtn").zfill(3),
        visit=visit or _text(row, "visit").zfill(3),
        instrument=_text(row, "instrume").upper(),
        exposure_type=_text(row, "exp_type").upper(),
        elements=optical_elements(_text(row, "opticalElements")),
        date=_date(_text(row, "date_obs")),
        duration=_number(row, "duration"),
        target=_text(row, "targprop"),
        ra=_number(row, "targ_ra"),
        dec=_number(row, "targ_dec"),
        access=_text(row, "access").upper(),
        release=_text(row, "publicReleaseDate")[:10],
    )


def joined(one: Exposure, other: Exposure) -> Exposure:
    """
    Join two rows of one file set (two channels): keep the filters of both.

    Parameters
    ----------
    one, other : Exposure

    Returns
    -------
    exposure : Exposure
    """
    elements = tuple(dict.fromkeys(one.elements + other.elements))
    return replace(one, elements=elements, date=one.date or other.date)


def read_product(row: Any, exposures: Mapping[str, Exposure]) -> Product | None:
    """
    Read a row of a list of files.

    Parameters
    ----------
    row : object
        MAST's columns.
    exposures : mapping of str to Exposure
        By name; their filters count where the row has none.

    Returns
    -------
    product : Product or None
        None where it names no file, or not safely.
    """
    if not isinstance(row, Mapping):
        return None
    exposure = exposures.get(_text(row, "dataset"))
    elements = optical_elements(_text(row, "filters"))
    elements = elements or (exposure.elements if exposure else ())
    name = str(row.get("filename") or "")
    try:
        return Product(
            name=name,
            uri=str(row.get("uri") or name),
            size=whole_number(row.get("size")) or None,
            suffix=_text(row, "file_suffix").strip("_").lower(),
            level=_text(row, "category").lower(),
            kind=_text(row, "type").lower() or "science",
            access=_text(row, "access").upper() or "PUBLIC",
            exposure=_text(row, "dataset"),
            elements=own_channel(name, elements),
        )
    except ArchiveError:
        return None


def _text(row: Mapping[str, Any], key: str) -> str:
    """Read a text that is fit for a terminal."""
    value = row.get(key)
    text = "" if value is None else printable(str(value))
    return " ".join(text.split())


def _number(row: Mapping[str, Any], key: str) -> float:
    try:
        number = float(row.get(key))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


#: Days that start times can be: 1858 is no year of JWST, nor is 9999.
_MJD = (40_000.0, 100_000.0)


def _date(text: str) -> str:
    """Bring a start time to ISO 8601, UTC; some services give it as MJD."""
    try:
        date = datetime.fromisoformat(text.replace(" ", "T"))
        date = date.astimezone(UTC) if date.tzinfo else date
    except (ValueError, OverflowError):
        return _date_of_mjd(text)
    return date.isoformat()[:19]


def _date_of_mjd(text: str) -> str:
    from astropy.time import Time

    try:
        day = float(text)
    except ValueError:
        return ""
    if not _MJD[0] < day < _MJD[1]:
        return ""
    return str(Time(day, format="mjd").isot)[:19]
