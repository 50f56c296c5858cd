"""Asking MAST what it holds: exposures and their files, completely or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from webbmosaic.archives.answers import no_answer
from webbmosaic.archives.holdings import Exposure, Product
from webbmosaic.archives.reading import parse_json, whole_number
from webbmosaic.archives.rows import joined, read_exposure, read_product
from webbmosaic.archives.selection import Selection
from webbmosaic.archives.threads import within
from webbmosaic.archives.transport import PATIENCE, Archive
from webbmosaic.errors import ArchiveError, AuthorizationError

__all__ = [
    "list_products",
    "product_url",
    "search",
    "with_filters",
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
    Find the exposures that a selection names.

    Exposure types and filters are left to the caller; see `with_filters`.

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
    nameless = 0
    for program in selection.programs or ("",):
        for row in _rows(_query(missions, program, selection), told):
            exposure = read_exposure(row)
            nameless += not exposure.name
            known = found.get(exposure.name)
            found[exposure.name] = joined(known, exposure) if known else exposure
    found.pop("", None)
    if nameless and not found:
        raise ArchiveError(_ODD)
    if nameless:
        archive.tell(_left_out(nameless, "exposure", "name"))
    if selection.after or selection.before:
        _tell_undated(archive, found.values(), selection)
    return sorted(e for e in found.values() if selection.wants_exposure(e))


def _tell_undated(
    archive: Archive, exposures: Iterable[Exposure], selection: Selection
) -> None:
    """Say which exposures a date might choose, if they had one."""
    ageless = replace(selection, after="", before="")
    count = sum(not e.date and ageless.wants_exposure(e) for e in exposures)
    if count:
        archive.tell(_left_out(count, "exposure", "date"))


def _left_out(count: int, what: str, lack: str) -> str:
    return f"Left out: {count} {what}{'s'[: count != 1]} to which MAST gives no {lack}"


def with_filters(
    archive: Archive, exposures: Sequence[Exposure], selection: Selection
) -> list[Exposure]:
    """
    Keep the exposures in which a wanted filter was used.

    MAST's row of an exposure may name one channel's filter only; its list of files
    knows all. It is asked for the exposures whose rows do not name a wanted one.

    Parameters
    ----------
    archive : Archive
        MAST.
    exposures : sequence of Exposure
        Such as `search` gives.
    selection : Selection
        Whose filters, detectors and names of datasets count.

    Returns
    -------
    exposures : list of Exposure
        In the same order, with the filters of their files.

    Raises
    ------
    ArchiveError
        As `list_products` does.
    """
    open_ones = [e for e in exposures if not selection.wants_elements(e.elements)]
    if not open_ones:
        return list(exposures)
    any_file = replace(selection, levels=(), suffixes=(), extensions=(), kinds=())
    products, _ = list_products(archive, open_ones, any_file)
    further: dict[str, tuple[str, ...]] = {e.name: () for e in open_ones}
    holding = set()
    for product in products:
        if product.exposure in further:
            further[product.exposure] += product.elements
            holding.add(product.exposure)
    return [
        replace(e, elements=tuple(dict.fromkeys(e.elements + further.get(e.name, ()))))
        for e in exposures
        if e.name not in further or e.name in holding
    ]


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
        Sorted by name, each once. One without a name, or with an unsafe one, is left
        out and told.
    bare : list of str
        Names of exposures of which MAST lists no file at all.

    Raises
    ------
    ArchiveError
        If MAST cannot be reached, or does not answer with a list.
    """
    missions = _missions(archive)
    by_name = {exposure.name: exposure for exposure in exposures}
    names = list(by_name)
    found: dict[str, Product] = {}
    bare, odd = set(names), 0
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        for row in _products(missions, batch):
            product = read_product(row, by_name)
            if product is None:
                odd += 1
                continue
            bare.discard(product.exposure)
            if selection.wants_product(product):
                found.setdefault(product.name, product)
        if told:
            told(start + len(batch), len(names))
    if odd:
        archive.tell(_left_out(odd, "file", "safe name"))
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
    page: list[Mapping[str, Any]] = []
    while True:
        before = page
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
    if total is None and len(before) >= PAGE:
        _check_end(query, before, given)
    if total is not None and given < total:
        msg = f"MAST announced {total} rows but gave {given}. Try again later"
        raise ArchiveError(msg)


def _check_end(
    query: Callable[..., Any], last: list[Mapping[str, Any]], given: int
) -> None:
    """Where no number was announced, nothing after a full page may mean anything."""
    again, _ = _page(query, offset=given - 1)
    if [_key(row) for row in again] != [_key(last[-1])]:
        msg = f"MAST gave {given} rows, then none, and not all may be there. Try later"
        raise ArchiveError(msg)


def _key(row: Mapping[str, Any]) -> object:
    number = row.get("ArchiveFileID")
    return number if isinstance(number, int | str) and number else repr(row)


def _page(
    query: Callable[..., Any], *, offset: int
) -> tuple[list[Mapping[str, Any]], int | None]:
    answer = _ask(query, offset=offset, select_cols=list(_COLUMNS))
    if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
        raise ArchiveError(_ODD)
    rows = [_as_mapping(row, answer) for row in answer["results"]]
    return rows, whole_number(answer.get("totalResults"))


def _as_mapping(row: Any, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rows come as objects, or as lists in the order of 'info'."""
    if isinstance(row, Mapping):
        return row
    try:
        columns = [c.get("column_name") or c["name"] for c in answer["info"]]
        return dict(zip(map(str, columns), row, strict=True))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(_ODD) from error


def _products(missions: Any, names: list[str]) -> list[Any]:
    answer = _ask(missions.get_product_list_async, names)
    rows = answer.get("products") if isinstance(answer, dict) else None
    if rows and isinstance(rows, list) and isinstance(rows[0], list):
        rows = rows[0]
    if not isinstance(rows, list):
        raise ArchiveError(_ODD)
    return rows


def _ask(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call astroquery, not for ever, and turn its failures into ours."""
    import requests
    from astroquery.exceptions import InvalidQueryError
    from astroquery.exceptions import TimeoutError as AstroqueryTimeoutError

    try:
        with warnings.catch_warnings():
            # Full and empty pages are dealt with here.
            warnings.simplefilter("ignore")
            call = partial(method, *arguments, **options)
            answer = within(PATIENCE, "MAST", call).content
        return parse_json(answer)
    except InvalidQueryError as error:
        msg = "MAST does not understand the search, or has trouble. Try again later"
        raise ArchiveError(msg) from error
    except requests.HTTPError as error:
        raise _refusal(error.response.status_code) from error
    except (requests.RequestException, AstroqueryTimeoutError) as error:
        raise ArchiveError(f"MAST cannot be asked: {no_answer(error)}") from error
    except ValueError as error:
        msg = "MAST's answer is cut off or no JSON. Try again later"
        raise ArchiveError(msg) from error


def _refusal(status: int) -> ArchiveError:
    if status in (401, 403):
        msg = f"MAST refuses the search (HTTP {status}). Is MAST_API_TOKEN still valid?"
        return AuthorizationError(msg)
    return ArchiveError(f"MAST fails at the search (HTTP {status}). Try again later")
