"""Asking MAST what it holds: exposures and their files, completely or not at all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from webbmosaic.archives.holdings import (
    Exposure,
    Product,
    optical_elements,
    own_channel,
    parts_of_name,
)
from webbmosaic.archives.selection import Selection
from webbmosaic.archives.transport import Archive
from webbmosaic.errors import ArchiveError, AuthorizationError

__all__ = [
    "list_products",
    "product_url",
    "search",
]

#: Rows per page of a search, and file sets per list of files (MAST takes 1000).
PAGE = 5000
BATCH = 200
_ODD = "MAST's answer is not understood. Try again later"
_API = "/search/jwst/api/v0.1"
_COLUMNS = (
    "ArchiveFileID",
    "productLevel",
    "program",
    "observtn",
    "visit",
    "instrume",
    "exp_type",
    "opticalElements",
    "date_obs",
    "duration",
    "targprop",
    "targ_ra",
    "targ_dec",
    "publicReleaseDate",
    "access",
)

Told = Callable[[int, int], None]


def search(
    archive: Archive, selection: Selection, *, told: Told | None = None
) -> list[Exposure]:
    """
    Find the exposures that a selection names; exposure types are left to the caller.

    Parameters
    ----------
    archive : Archive
        MAST.
    selection : Selection
        Programs or a position, and what else restricts them.
    told : callable, optional
        Called with the rows so far and the rows in all.

    Returns
    -------
    exposures : list of Exposure
        Sorted by name, each once.

    Raises
    ------
    ArchiveError
        If MAST cannot be reached, does not understand, or gives fewer rows than it
        announces.
    """
    missions = _missions(archive)
    found: dict[str, Exposure] = {}
    for program in selection.programs or ("",):
        for row in _rows(_query(missions, program, selection), told):
            exposure = _exposure(row)
            known = found.get(exposure.name)
            found[exposure.name] = _joined(known, exposure) if known else exposure
    return sorted(e for e in found.values() if selection.wants_exposure(e))


def list_products(
    archive: Archive,
    exposures: Sequence[Exposure],
    selection: Selection,
    *,
    told: Told | None = None,
) -> tuple[list[Product], list[str]]:
    """
    List the files of exposures that a selection wants.

    Parameters
    ----------
    archive : Archive
        MAST.
    exposures : sequence of Exposure
        Such as `search` gives.
    selection : Selection
        Which of their files are wanted.
    told : callable, optional
        Called with the exposures so far and the exposures in all.

    Returns
    -------
    products : list of Product
        Sorted by name, each once.
    bare : list of str
        Names of exposures of which MAST lists no file at all.

    Raises
    ------
    ArchiveError
        If MAST cannot be reached, or lists a file whose name is not safe.
    """
    missions = _missions(archive)
    by_name = {exposure.name: exposure for exposure in exposures}
    names = list(by_name)
    found: dict[str, Product] = {}
    bare = set(names)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        for row in _products(missions, batch):
            product = _product(row, by_name)
            bare.discard(product.exposure)
            if selection.wants_product(product):
                found.setdefault(product.name, product)
        if told:
            told(start + len(batch), len(names))
    return sorted(found.values()), sorted(bare)


def product_url(archive: Archive, product: Product) -> str:
    """
    Name the address that gives a file.

    Parameters
    ----------
    archive : Archive
        MAST.
    product : Product
        The file.

    Returns
    -------
    url : str
    """
    name = quote(product.uri, safe="")
    return f"{archive.url}{_API}/retrieve_product?product_name={name}"


def _missions(archive: Archive) -> Any:
    """Make astroquery's client of MAST, talking to this archive through our guard."""
    from astropy.table import Table
    from astroquery.mast import MastMissionsClass

    missions = MastMissionsClass(mission="jwst")
    # astroquery fixes the server at import and offers no later way to set it.
    service = missions._service_api_connection
    service.SERVICE_URL = archive.url
    missions.mission = "jwst"
    archive.guard(service._session)
    # Known columns spare a request that astroquery makes without a time limit.
    names = [*_COLUMNS, "fileSetName"]
    missions.columns["jwst"] = Table({"name": names})
    return missions


def _query(missions: Any, program: str, selection: Selection) -> Callable[..., Any]:
    """Prepare a search with what MAST itself shall sort out; we check it all again."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    options: dict[str, Any] = _criteria(program, selection)
    method = missions.query_criteria_async
    if selection.position is not None:
        method = missions.query_region_async
        options["coordinates"] = SkyCoord(*selection.position, unit="deg")
        options["radius"] = selection.radius * units.arcmin
    return partial(method, limit=PAGE, sort_by=["ArchiveFileID"], **options)


def _criteria(program: str, selection: Selection) -> dict[str, Any]:
    criteria = {}
    if program:
        criteria["program"] = str(int(program))
    if len(selection.observations) == 1:
        criteria["observtn"] = str(int(selection.observations[0]))
    if len(selection.instruments) == 1:
        criteria["instrume"] = selection.instruments[0].upper()
    return criteria


def _rows(query: Callable[..., Any], told: Told | None) -> Iterator[Mapping[str, Any]]:
    """Turn the pages of a search until MAST has given all that it announced."""
    seen: set[object] = set()
    given = 0
    total: int | None = None
    while True:
        page, announced = _page(query, offset=given)
        total = announced if announced is not None else total
        fresh = [row for row in page if _key(row) not in seen]
        seen.update(map(_key, fresh))
        yield from fresh
        if not fresh:
            break
        # Rows without a number may well be alike.
        given += len(fresh if "ArchiveFileID" in page[0] else page)
        if told:
            told(given, max(given, total or 0))
        if total is not None and given >= total and len(page) < PAGE:
            break
    if total is not None and given < total:
        msg = f"MAST announced {total} rows but gave {given}. Try again later"
        raise ArchiveError(msg)


def _key(row: Mapping[str, Any]) -> object:
    return row.get("ArchiveFileID") or repr(sorted(row.items()))


def _page(
    query: Callable[..., Any], *, offset: int
) -> tuple[list[Mapping[str, Any]], int | None]:
    answer = _ask(query, offset=offset, select_cols=list(_COLUMNS))
    if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
        raise ArchiveError(_ODD)
    rows = [_as_mapping(row, answer) for row in answer["results"]]
    total = answer.get("totalResults")
    return rows, total if isinstance(total, int) else None


def _as_mapping(row: Any, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rows come as objects, or as lists in the order of 'info'."""
    if isinstance(row, Mapping):
        return row
    names = [column.get("column_name") or column["name"] for column in answer["info"]]
    return dict(zip(names, row, strict=True))


def _products(missions: Any, names: list[str]) -> list[Mapping[str, Any]]:
    answer = _ask(missions.get_product_list_async, names)
    rows = answer.get("products") if isinstance(answer, dict) else None
    if rows and isinstance(rows[0], list):
        rows = rows[0]
    if not isinstance(rows, list):
        raise ArchiveError(_ODD)
    return rows


def _ask(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call astroquery and turn its failures into ours."""
    import requests
    from astroquery.exceptions import InvalidQueryError
    from astroquery.exceptions import TimeoutError as AstroqueryTimeoutError

    try:
        with warnings.catch_warnings():
            # Full and empty pages are dealt with here.
            warnings.simplefilter("ignore")
            return method(*arguments, **options).json()
    except InvalidQueryError as error:
        msg = "MAST does not understand the search, or has trouble. Try again later"
        raise ArchiveError(msg) from error
    except requests.exceptions.JSONDecodeError as error:
        msg = "MAST's answer is cut off or no JSON. Try again later"
        raise ArchiveError(msg) from error
    except requests.HTTPError as error:
        raise _refusal(error.response.status_code) from error
    except (requests.RequestException, AstroqueryTimeoutError) as error:
        msg = f"MAST cannot be reached ({type(error).__name__}). Is there a network?"
        raise ArchiveError(msg) from error


def _refusal(status: int) -> ArchiveError:
    if status in (401, 403):
        msg = f"MAST refuses the search (HTTP {status}). Is MAST_API_TOKEN still valid?"
        return AuthorizationError(msg)
    return ArchiveError(f"MAST fails at the search (HTTP {status}). Try again later")


def _exposure(row: Mapping[str, Any]) -> Exposure:
    name = _text(row, "fileSetName")
    if not name:
        raise ArchiveError(_ODD)
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


def _joined(one: Exposure, other: Exposure) -> Exposure:
    """Two rows of one file set (two channels): keep the filters of both."""
    from dataclasses import replace

    return replace(one, elements=tuple(dict.fromkeys(one.elements + other.elements)))


def _product(row: Mapping[str, Any], exposures: Mapping[str, Exposure]) -> Product:
    exposure = exposures.get(_text(row, "dataset"))
    elements = optical_elements(_text(row, "filters"))
    elements = elements or (exposure.elements if exposure else ())
    size = _number(row, "size")
    name = str(row.get("filename") or "")
    return Product(
        name=name,
        uri=str(row.get("uri") or name),
        size=int(size) if size > 0 else None,
        suffix=_text(row, "file_suffix").strip("_").lower(),
        level=_text(row, "category").lower(),
        kind=_text(row, "type").lower() or "science",
        access=_text(row, "access").upper() or "PUBLIC",
        exposure=_text(row, "dataset"),
        elements=own_channel(name, elements),
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    """Read a text that is fit for a terminal."""
    value = row.get(key)
    text = "" if value is None else str(value)
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _number(row: Mapping[str, Any], key: str) -> float:
    try:
        return float(row.get(key))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _date(text: str) -> str:
    """Bring a start time to ISO 8601; some services give it as MJD."""
    try:
        day = float(text)
    except ValueError:
        return text.replace(" ", "T")[:19]
    from astropy.time import Time

    return str(Time(day, format="mjd").isot)[:19]
