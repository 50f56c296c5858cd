"""When an exposure was taken and where it looked, from its header."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from webbmosaic.errors import InputError

__all__ = ["earlier_exposures", "exposure_span", "pointings", "sky_shifts"]

Header: TypeAlias = Mapping[str, str | int | float | bool]

_SECONDS = 86400.0


def exposure_span(header: Header, name: str) -> tuple[float, float]:
    """
    Read when an exposure started and ended.

    Parameters
    ----------
    header : mapping
        Primary keywords of an uncal, rate or cal file.
    name : str
        For the sentence in an error.

    Returns
    -------
    start, end : float
        In seconds, on a scale that all exposures share: from EXPSTART and EXPEND, else
        from DATE-OBS, TIME-OBS and EFFEXPTM.

    Raises
    ------
    InputError
        If the header says neither.
    """
    start, end = header.get("EXPSTART"), header.get("EXPEND")
    if start is not None and end is not None:
        return float(start) * _SECONDS, float(end) * _SECONDS
    date, time = header.get("DATE-OBS"), header.get("TIME-OBS")
    if date is None or time is None:
        msg = (
            f"{name}: the header has neither EXPSTART nor DATE-OBS; when was it taken?"
        )
        raise InputError(msg)
    from astropy.time import Time

    begin = float(Time(f"{date}T{time}", scale="utc").mjd) * _SECONDS
    return begin, begin + float(header.get("EFFEXPTM", 0.0))


def earlier_exposures(
    spans: Mapping[str, tuple[float, float]], name: str, window: float
) -> list[str]:
    """
    List the exposures of a detector whose persistence may reach one.

    Parameters
    ----------
    spans : mapping
        Name -> start and end, in s, of all exposures of the detector, in any order.
    name : str
        Of the one.
    window : float
        In s.

    Returns
    -------
    names : list of str
        Those that ended before the start and not longer ago than ``window``, sorted
        by time.
    """
    start = spans[name][0]
    ended = sorted((end, other) for other, (_, end) in spans.items() if other != name)
    return [other for end, other in ended if 0 <= start - end <= window]


def pointings(headers: Sequence[Header], *, apart: float = 0.3) -> list[int]:
    """
    Number the pointings of some exposures.

    Parameters
    ----------
    headers : sequence of mapping
        With RA_REF, DEC_REF (degrees).
    apart : float, optional
        Exposures closer than this have the same pointing, in arcsec: a star then falls
        on the same pixels.

    Returns
    -------
    numbers : list of int
        One for each exposure, from 0.
    """
    places: list[tuple[float, float]] = []
    numbers = []
    for header in headers:
        here = float(header.get("RA_REF", 0.0)), float(header.get("DEC_REF", 0.0))
        near = (k for k, there in enumerate(places) if _distance(here, there) < apart)
        number = next(near, len(places))
        if number == len(places):
            places.append(here)
        numbers.append(number)
    return numbers


def _distance(one: tuple[float, float], two: tuple[float, float]) -> float:
    """Angle between close places, in arcsec."""
    across = (one[0] - two[0] + 180) % 360 - 180
    across *= math.cos(math.radians(one[1]))
    return 3600 * math.hypot(across, one[1] - two[1])


def sky_shifts(
    headers: Sequence[Header], names: Sequence[str]
) -> list[tuple[float, float]]:
    """
    Say how the sky has moved over the detector between exposures of one roll.

    Parameters
    ----------
    headers : sequence of mapping
        With the linear WCS that the archive writes: CRVALn, CDELTn, PCi_j.
    names : sequence of str
        For the sentence in an error.

    Returns
    -------
    shifts : list of (float, float)
        In pixels, y and x, since the first exposure.

    Raises
    ------
    InputError
        If a header has no WCS.
    """
    places = [_place(header, name) for header, name in zip(headers, names, strict=True)]
    first = headers[0]
    (a, b), (c, d) = (
        [float(first[f"CDELT{i}"]) * float(first[f"PC{i}_{j}"]) for j in (1, 2)]
        for i in (1, 2)
    )
    determinant = a * d - b * c
    shifts = []
    for ra, dec in places:
        east = (places[0][0] - ra + 180) % 360 - 180
        east *= math.cos(math.radians(dec))
        north = places[0][1] - dec
        x, y = (d * east - b * north), (a * north - c * east)
        shifts.append((y / determinant, x / determinant))
    return shifts


def _place(header: Header, name: str) -> tuple[float, float]:
    keys = ("CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "PC1_1", "PC1_2", "PC2_1", "PC2_2")
    missing = [key for key in keys if key not in header]
    if missing:
        msg = f"{name}: the header has no {', '.join(missing)}; where did it look?"
        raise InputError(msg)
    return float(header["CRVAL1"]), float(header["CRVAL2"])
