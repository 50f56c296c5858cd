"""Read the headers of exposures, fast, and say what is wrong with a file.

Only header blocks are read, never data: a few hundred kilobytes of a programme of
hundreds of gigabytes. The layout is FITS standard 4.0, sections 3 and 4: blocks of 2880
bytes, cards of 80, and a data size that follows from BITPIX, NAXISn, PCOUNT and GCOUNT.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from webbmosaic.datasets import IMAGING_EXPOSURES, find_dataset_name
from webbmosaic.errors import InputError

__all__ = [
    "NEEDED_KEYWORDS",
    "Header",
    "check_whole",
    "read_header",
    "read_headers",
    "scan_headers",
]

Header: TypeAlias = dict[str, str | int | float | bool]

#: What the steps and the choice of references read, and fail late without.
NEEDED_KEYWORDS = (
    *("DATE-OBS", "TIME-OBS", "INSTRUME", "DETECTOR", "FILTER", "SUBARRAY", "READPATT"),
    *("NGROUPS", "NFRAMES", "GROUPGAP", "TGROUP", "TFRAME", "EFFEXPTM"),
    *("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "FASTAXIS", "SLOWAXIS"),
    *("V2_REF", "V3_REF", "VPARITY", "V3I_YANG", "RA_REF", "DEC_REF", "ROLL_REF"),
)

#: What an exposure can have at all: pointing in degrees, times in s, and counts.
_POSSIBLE = {
    "RA_REF": (-360.0, 360.0),
    "DEC_REF": (-90.0, 90.0),
    "ROLL_REF": (-360.0, 360.0),
    "NGROUPS": (1, 100_000),
    "NFRAMES": (1, 10_000),
    "TGROUP": (1e-6, 1e6),
    "TFRAME": (1e-6, 1e6),
    "EFFEXPTM": (1e-6, 1e7),
}

_BLOCK = 2880
_CARD = 80
_END = b"END".ljust(_CARD)
_FIRST_READ = 23 * _BLOCK  # the primary header of a JWST exposure and often the next
_LONGEST_HEADER = 4_000_000  # 50,000 cards; the longest known have 3,000
_AGAIN = "Try: download it again"


def read_header(path: Path, *, needed: Sequence[str] = NEEDED_KEYWORDS) -> Header:
    """
    Read the primary and SCI keywords of an exposure that is whole and usable.

    Parameters
    ----------
    path : `~pathlib.Path`
        An ``_uncal.fits``, or any other file of the jwst pipeline.
    needed : sequence of str, optional
        What the header of an imaging exposure must have besides EXP_TYPE and PUPIL.

    Returns
    -------
    header : dict
        Keyword to value: str, int, float or bool. Where both headers have a keyword
        it is the primary's. Keywords without a value are left out.

    Raises
    ------
    InputError
        If the file is missing, empty, truncated, not FITS, has no SCI or no ASDF part,
        or, for an imaging exposure, lacks a keyword that is needed. The sentence
        names the file and the cause.
    """
    primary, *extensions = _read_units(path)
    named = {str(unit.get("EXTNAME", "")): unit for unit in reversed(extensions)}
    for name in ("SCI", "ASDF"):
        if name not in named:
            msg = (
                f"{path}: has no {name} extension, so it was not written by the JWST"
                f" archive or pipeline. {_AGAIN}"
            )
            raise InputError(msg)
    header = {**named["SCI"], **primary}
    _check_keywords(header, path, needed)
    if header.get("EXP_TYPE") in IMAGING_EXPOSURES:
        _check_values(header, path)
        _check_ramp(header, named, path)
    return header


def read_headers(paths: Iterable[Path], *, threads: int = 8) -> list[Header]:
    """
    Read the headers of many exposures at once.

    Parameters
    ----------
    paths : iterable of `~pathlib.Path`
    threads : int
        How many files to wait for at once; it matters on shared disks.

    Returns
    -------
    headers : list of dict
        As `read_header`, in the order of ``paths``.

    Raises
    ------
    InputError
        For the first file that is not usable; `scan_headers` goes on instead.
    """
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read_header, paths))


def scan_headers(
    paths: Iterable[Path], *, threads: int = 8
) -> tuple[dict[Path, Header], dict[Path, InputError]]:
    """
    Read the headers of many exposures, whatever is wrong with some of them.

    Parameters
    ----------
    paths : iterable of `~pathlib.Path`
    threads : int
        How many files to wait for at once.

    Returns
    -------
    headers : dict of path to header
        The usable files, as `read_header` gives them.
    problems : dict of path to InputError
        The others, with the sentence why.
    """
    headers: dict[Path, Header] = {}
    problems: dict[Path, InputError] = {}
    paths = list(paths)
    with ThreadPoolExecutor(threads) as pool:
        for path, result in zip(paths, pool.map(_header_or_error, paths), strict=True):
            if isinstance(result, InputError):
                problems[path] = result
            else:
                headers[path] = result
    return headers, problems


def _header_or_error(path: Path) -> Header | InputError:
    try:
        return read_header(path)
    except InputError as error:
        return error


def check_whole(path: Path) -> None:
    """
    Check that a FITS file ends where its last header says, without reading data.

    Parameters
    ----------
    path : `~pathlib.Path`

    Raises
    ------
    InputError
        If the file is missing, empty, truncated, not FITS or has something appended.
    """
    _read_units(path)


def _check_keywords(header: Header, path: Path, needed: Sequence[str]) -> None:
    wanted = ["EXP_TYPE"]
    if header.get("EXP_TYPE") in IMAGING_EXPOSURES:
        wanted += needed
        wanted += [] if header.get("INSTRUME") == "MIRI" else ["PUPIL"]
    missing = [keyword for keyword in wanted if keyword not in header]
    if missing:
        kind = "keyword" if len(missing) == 1 else "keywords"
        msg = (
            f"{path}: its header lacks the {kind} {', '.join(missing)}, without which"
            f" it cannot be calibrated. {_AGAIN}"
        )
        raise InputError(msg)


def _check_values(header: Header, path: Path) -> None:
    """Refuse values that no exposure can have, before they become a result."""
    for keyword, (low, high) in _POSSIBLE.items():
        if keyword not in header:
            continue
        value = header[keyword]
        if isinstance(value, bool) or not isinstance(value, int | float):
            _impossible(path, keyword, value, "is no number")
        elif not low <= value <= high:  # also NaN
            _impossible(path, keyword, value, f"should be between {low:g} and {high:g}")
    for keyword, form in (("DATE-OBS", "%Y-%m-%d"), ("TIME-OBS", "%H:%M:%S")):
        text = str(header.get(keyword, "")).partition(".")[0]
        try:
            datetime.strptime(text, form)
        except ValueError:
            if keyword in header:
                _impossible(path, keyword, header[keyword], "is no date or time")
    dataset = find_dataset_name(path.name)
    instrument = header.get("INSTRUME")
    if dataset is not None and instrument not in (None, dataset.instrument):
        said = f"is not that of {dataset.detector} in the name of the file"
        _impossible(path, "INSTRUME", instrument, said)


def _check_ramp(header: Header, named: dict[str, Header], path: Path) -> None:
    """Compare what a raw file says of its ramps with the data in it."""
    data = named["SCI"]
    if not path.name.endswith("_uncal.fits"):
        return
    if "ERR" in named:  # raw ramps have no errors yet
        msg = f"{path}: holds a product of the pipeline, not raw ramps"
        raise InputError(msg)
    if data.get("NAXIS") != 4:
        return
    names = ("SUBSIZE1", "SUBSIZE2", "NGROUPS")
    for axis, keyword in enumerate(names, 1):
        said, real = header.get(keyword), data.get(f"NAXIS{axis}")
        if said is not None and said != real:
            _impossible(path, keyword, said, f"contradicts the data, which have {real}")


def _impossible(path: Path, keyword: str, value: object, why: str) -> None:
    msg = f"{path}: {keyword} = {value} {why}. Try: download it again, or leave it out"
    raise InputError(msg)


def _read_units(path: Path) -> list[Header]:
    """Read the header of every unit (HDU), checking that the file holds all of them."""
    try:
        if path.exists() and not (
            path.is_file() or path.is_dir()
        ):  # a FIFO would be waited for
            msg = f"{path}: is no regular file"
            raise InputError(msg)
        with path.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            return list(_walk(stream.fileno(), size, path))
    except OSError as error:
        link = " (a link to a file that is gone)" if path.is_symlink() else ""
        msg = f"{path}: cannot be read{link}: {error.strerror}"
        raise InputError(msg) from error


def _walk(file: int, size: int, path: Path) -> Iterator[Header]:
    if size == 0:
        msg = f"{path}: is empty (0 bytes). {_AGAIN}"
        raise InputError(msg)
    offset = 0
    while offset < size:
        text = _header_text(file, offset, size, path)
        header = dict(_parse(text))
        yield header
        offset += len(text) + _padded(_data_bytes(header, path))
    if offset > size:
        msg = (
            f"{path}: is truncated, it has {size} bytes and its headers promise"
            f" {offset}. {_AGAIN}"
        )
        raise InputError(msg)


def _header_text(file: int, offset: int, size: int, path: Path) -> bytes:
    """Read one header: whole blocks, from its first card to the one with END."""
    text = os.pread(file, _FIRST_READ, offset)
    _check_start(text, offset, path)
    end = _find_end(text)
    while end < 0:
        more = os.pread(file, _FIRST_READ, offset + len(text))
        if not more or len(text) > _LONGEST_HEADER:
            msg = f"{path}: is truncated inside a header, at {size} bytes. {_AGAIN}"
            raise InputError(msg)
        text += more
        end = _find_end(text)
    return text[: _padded(end + _CARD)].ljust(_padded(end + _CARD))


def _check_start(text: bytes, offset: int, path: Path) -> None:
    if offset == 0 and text.startswith(b"\x1f\x8b"):
        msg = f"{path}: is compressed (gzip). Try: gunzip it, then prepare again"
        raise InputError(msg)
    if offset == 0 and not text.startswith(b"SIMPLE  ="):
        msg = f"{path}: is not a FITS file, it starts with {text[:16]!r}. {_AGAIN}"
        raise InputError(msg)
    if offset and not text.startswith(b"XTENSION"[: len(text)]):
        msg = f"{path}: is damaged, no FITS extension starts at byte {offset}. {_AGAIN}"
        raise InputError(msg)


def _find_end(text: bytes) -> int:
    found = text.find(_END)
    while found % _CARD and found >= 0:
        found = text.find(_END, found + 1)
    return found


def _padded(size: int) -> int:
    return math.ceil(size / _BLOCK) * _BLOCK


def _data_bytes(header: Header, path: Path) -> int:
    try:
        axes = [int(header[f"NAXIS{n + 1}"]) for n in range(int(header["NAXIS"]))]
        element = abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1))
        parameters = int(header.get("PCOUNT", 0))
    except (KeyError, ValueError) as error:
        msg = f"{path}: is damaged, a header does not say its size ({error}). {_AGAIN}"
        raise InputError(msg) from error
    return element * (parameters + math.prod(axes)) if axes else 0


def _parse(text: bytes) -> Iterator[tuple[str, str | int | float | bool]]:
    """Give keyword and value of each card that has one; long strings are joined."""
    cards = text.decode("latin-1")
    name, value = "", ""
    for start in range(0, len(cards), _CARD):
        card = cards[start : start + _CARD]
        if name and card.startswith("CONTINUE"):
            value = value.removesuffix("&") + _string(card[10:])
            continue
        if name:
            yield name, value
            name = ""
        if card[8:10] != "= ":
            continue
        field = card[10:].lstrip()
        if field.startswith("'"):
            name, value = card[:8].rstrip(), _string(field)
        elif (number := _number(field.partition("/")[0].strip())) is not None:
            yield card[:8].rstrip(), number


def _string(field: str) -> str:
    """Take the text between the quotes; two quotes are one, trailing blanks none."""
    if "''" not in field:
        return field.strip().removeprefix("'").partition("'")[0].rstrip()
    parts = field.strip().removeprefix("'").split("''")
    closing = next((n for n, part in enumerate(parts) if "'" in part), len(parts) - 1)
    parts[closing] = parts[closing].partition("'")[0]
    return "'".join(parts[: closing + 1]).rstrip()


def _number(field: str) -> int | float | bool | None:
    if field in ("T", "F"):
        return field == "T"
    try:
        return int(field) if field.lstrip("+-").isdigit() else float(_exponent(field))
    except ValueError:
        return None


def _exponent(field: str) -> str:
    return field.replace("D", "E")  # of Fortran's double precision
