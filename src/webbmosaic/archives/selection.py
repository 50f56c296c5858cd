"""What is wanted of MAST: exposures and files, and the rules that choose them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from webbmosaic.datasets import (
    IMAGING_EXPOSURES,
    PUPIL_FILTERS,
    find_dataset_name,
)
from webbmosaic.errors import ArchiveError

__all__ = [
    "GRISM_EXPOSURES",
    "Exposure",
    "Product",
    "Selection",
    "optical_elements",
    "own_channel",
    "parts_of_name",
    "read_date",
]

#: Wide-field slitless spectroscopy, whose direct images lie in imaging surveys.
GRISM_EXPOSURES = ("NRC_WFSS", "NIS_WFSS")
#: Kinds of files of single exposures; all others may belong to combined products.
_EXPOSURE_SUFFIXES = ("uncal", "rate", "rateints", "cal", "calints", "trapsfilled")
_EXPOSURE = re.compile(r"jw(\d{5})(\d{3})(\d{3})_")
_COMBINED = re.compile(r"jw(\d{5})-[oc](\d{3,4})_")
_DETECTOR = re.compile(
    r"jw\d{11}_[0-9a-z]{5}_\d{5}(?:-seg\d{3})?_(?P<detector>[a-z0-9]+)"
)
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FILTER = re.compile(r"F(\d{3,4})[A-Z]\w*")
#: NIRCam's dichroic parts its channels at 2.4 micron (JDox, NIRCam Overview), in the
#: unit of filter names.
_DICHROIC = 240


@dataclass(frozen=True, order=True)
class Exposure:
    """
    One row of MAST's search: an exposure of all its detectors, or a combined product.

    Attributes
    ----------
    name : str
        MAST's file set: ``jw01345002001_14201_00001``.
    program, observation, visit : str
        Zero-padded; ``visit`` is empty for combined products.
    instrument, exposure_type, target, access, release : str
        As MAST has them; ``release`` is the date of public release.
    elements : tuple of str
        The filters (and gratings) in the beam.
    date : str
        Start, ISO 8601, UTC.
    duration : float
        Seconds.
    ra, dec : float
        The target, degrees.
    """

    name: str
    program: str
    observation: str
    visit: str
    instrument: str = ""
    exposure_type: str = ""
    elements: tuple[str, ...] = ()
    date: str = ""
    duration: float = float("nan")
    target: str = ""
    ra: float = float("nan")
    dec: float = float("nan")
    access: str = ""
    release: str = ""

    @property
    def combined(self) -> bool:
        """Whether it was made of several exposures (level 3)."""
        return _COMBINED.match(self.name) is not None

    @property
    def guiding(self) -> bool:
        """Whether it belongs to the guide star."""
        return "_gs-" in self.name or self.exposure_type.startswith("FGS_")


@dataclass(frozen=True, order=True)
class Product:
    """
    One file that MAST can give.

    Attributes
    ----------
    name : str
        File name; checked to be nothing but a name.
    uri : str
        What MAST calls it.
    size : int or None
        Bytes, where MAST says so.
    suffix : str
        ``uncal``, ``rate``, ...
    level : str
        ``1b``, ``2a``, ...; empty where MAST gives none.
    kind : str
        ``science``, ``preview``, ``auxiliary``, ``info``.
    access : str
        ``PUBLIC`` or not.
    exposure : str
        MAST's file set that it belongs to.
    elements : tuple of str
        The filters in the beam; empty where MAST gives none.
    """

    name: str
    uri: str
    size: int | None = None
    suffix: str = ""
    level: str = ""
    kind: str = "science"
    access: str = "PUBLIC"
    exposure: str = ""
    elements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _SAFE_NAME.fullmatch(self.name):
            msg = f"MAST lists a file called {self.name!r}: refused as unsafe"
            raise ArchiveError(msg)

    @property
    def folder(self) -> str:
        """The folder of a download: the dataset, or the name without its suffix."""
        dataset = _DETECTOR.match(self.name)
        if dataset:
            return dataset.group()
        stem = self.name.split(".")[0]
        return stem.rpartition("_")[0] or stem

    @property
    def detector(self) -> str:
        """As in file names; empty for combined products."""
        match = _DETECTOR.match(self.name)
        return match["detector"] if match else ""


@dataclass(frozen=True)
class Selection:
    """
    Which exposures and files are wanted; an empty tuple does not restrict.

    Attributes
    ----------
    programs, observations, visits : tuple of str
        Numbers, zero-padded or not.
    position : tuple of float, optional
        Right ascension and declination, degrees (ICRS).
    radius : float
        Around it, arcminutes.
    datasets : tuple of str
        Names or parts of them; ``*``, ``?`` and ``[...]`` are wildcards.
    instruments, filters, detectors, exposure_types : tuple of str
        In any case.
    after, before : str
        Dates, ISO 8601; a ``before`` without a time includes the day.
    levels : tuple of str
        ``1``, ``2b``, ...
    suffixes, extensions, kinds : tuple of str
        ``uncal``; ``fits``; ``science``.
    guide_stars : bool
        Whether guide-star files are wanted too.
    """

    programs: tuple[str, ...] = ()
    position: tuple[float, float] | None = None
    radius: float = 3.0
    datasets: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    exposure_types: tuple[str, ...] = IMAGING_EXPOSURES
    after: str = ""
    before: str = ""
    levels: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ("uncal",)
    extensions: tuple[str, ...] = ("fits",)
    kinds: tuple[str, ...] = ("science",)
    guide_stars: bool = False

    def wants_exposure(self, exposure: Exposure) -> bool:
        """Judge a row of the search, all but its exposure type."""
        return (
            _is_number_in(exposure.program, self.programs)
            and _is_number_in(exposure.observation, self.observations)
            and (exposure.combined or _is_number_in(exposure.visit, self.visits))
            and _is_in(exposure.instrument.split("/")[0], self.instruments)
            and (self.guide_stars or not exposure.guiding)
            and self._wants_stage(exposure)
            and self._wants_date(exposure.date)
            and self._wants_elements(exposure.elements)
            and self._may_hold_datasets(exposure.name)
        )

    def wants_type(self, exposure: Exposure) -> bool:
        """Judge the exposure type; guide-star exposures were judged before."""
        return (
            exposure.guiding
            or not exposure.exposure_type
            or _is_in(exposure.exposure_type, self.exposure_types)
        )

    def wants_product(self, product: Product) -> bool:
        """Judge a file of an exposure that is wanted."""
        return (
            (self.guide_stars or "_gs-" not in product.name)
            and ("_gs-" in product.name or _is_in(product.kind, self.kinds))
            and self._wants_level(product.level)
            and self._wants_suffix(product)
            and self._wants_extension(product.name)
            and (not product.detector or _is_in(product.detector, self.detectors))
            and self._wants_elements(product.elements)
            and self._wants_name(product.name)
        )

    def _wants_stage(self, exposure: Exposure) -> bool:
        if self.levels:
            third = {level.startswith("3") for level in self.levels}
            return exposure.combined in third
        single = self.suffixes and set(self.suffixes) <= set(_EXPOSURE_SUFFIXES)
        return not (single and exposure.combined)

    def _wants_date(self, date: str) -> bool:
        if not date:
            return not self.after and not self.before
        if self.after and date < self.after:
            return False
        return not self.before or date[: len(self.before)] <= self.before

    def _wants_elements(self, elements: tuple[str, ...]) -> bool:
        return (
            not self.filters
            or not elements
            or any(_is_in(one, self.filters) for one in elements)
        )

    def _may_hold_datasets(self, exposure: str) -> bool:
        """The file set's name has no detector yet: compare as far as both go."""
        if not self.datasets:
            return True
        for pattern in self.datasets:
            literal = re.split(r"[*?[]", pattern.lower())[0]
            if not literal.startswith("jw") or literal.startswith(exposure):
                return True
            if exposure.startswith(literal):
                return True
        return False

    def _wants_name(self, name: str) -> bool:
        patterns = [pattern.lower() for pattern in self.datasets]
        return not patterns or any(
            fnmatchcase(name, p + "*") or (_is_plain(p) and p in name) for p in patterns
        )

    def _wants_level(self, level: str) -> bool:
        if not self.levels or not level[:1].isdigit():
            return True
        return any(level.startswith(wanted) for wanted in self.levels)

    def _wants_suffix(self, product: Product) -> bool:
        stem = product.name.split(".")[0].removesuffix("_thumb")
        return not self.suffixes or any(
            product.suffix == wanted or stem.endswith(f"_{wanted}")
            for wanted in self.suffixes
        )

    def _wants_extension(self, name: str) -> bool:
        return not self.extensions or name.endswith(
            tuple(f".{extension.lstrip('.')}" for extension in self.extensions)
        )


def optical_elements(text: str) -> tuple[str, ...]:
    """
    Read the filters from MAST's list of optical elements.

    Parameters
    ----------
    text : str
        For example ``F150W2;F162M`` or ``F200W;CLEAR``.

    Returns
    -------
    elements : tuple of str
        Those that shape the light, upper case: a filter in NIRCam's pupil wheel stands
        before the wide one in front of it.

    Examples
    --------
    >>> optical_elements("F150W2;F162M"), optical_elements("F200W;CLEAR")
    (('F162M',), ('F200W',))
    """
    words = [w for w in re.split(r"[^A-Za-z0-9]+", text.upper()) if w]
    kept = tuple(dict.fromkeys(w for w in words if not w.startswith("CLEAR")))
    blocked = {"F150W2"} if {"F162M", "F164N"} & set(kept) else set()
    blocked |= {"F322W2"} if "F323N" in kept else set()
    blocked |= {"F444W"} if set(PUPIL_FILTERS[3:]) & set(kept) else set()
    return tuple(one for one in kept if one not in blocked)


def own_channel(name: str, elements: tuple[str, ...]) -> tuple[str, ...]:
    """
    Keep the filters of a NIRCam detector's channel where both channels' are listed.

    Parameters
    ----------
    name : str
        File name.
    elements : tuple of str
        As `optical_elements` gives them.

    Returns
    -------
    elements : tuple of str

    Examples
    --------
    >>> own_channel("jw01345002001_14201_00001_nrcblong_uncal.fits", ("F200W", "F444W"))
    ('F444W',)
    """
    dataset = find_dataset_name(name)
    if dataset is None or dataset.instrument != "NIRCAM":
        return elements
    long = dataset.detector.endswith("long")
    own = tuple(e for e in elements if (_wavelength(e) > _DICHROIC) == long)
    return own or elements


def _wavelength(element: str) -> int:
    match = _FILTER.fullmatch(element)
    return int(match[1]) if match else 0


def _is_in(value: str, wanted: Iterable[str]) -> bool:
    wanted = tuple(wanted)
    return not wanted or value.upper() in (one.upper() for one in wanted)


def _is_number_in(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value.lstrip("0") in (one.lstrip("0") for one in wanted)


def _is_plain(pattern: str) -> bool:
    return not set(pattern) & set("*?[")


def read_date(text: str) -> str:
    """
    Check a date of the user's.

    Parameters
    ----------
    text : str
        ISO 8601: ``2022-12-24``, with or without a time.

    Returns
    -------
    date : str
        The same with a ``T`` before the time.

    Raises
    ------
    ValueError
        If it is none.
    """
    datetime.fromisoformat(text)
    return text.strip().replace(" ", "T")


def parts_of_name(name: str) -> tuple[str, str, str]:
    """
    Read program, observation and visit from the name of a file set.

    Parameters
    ----------
    name : str
        ``jw01345002001_14201_00001`` or ``jw01345-o002_t021_nircam_...``.

    Returns
    -------
    program, observation, visit : str
        Empty where the name does not say.
    """
    match = _EXPOSURE.match(name)
    if match:
        return match[1], match[2], match[3]
    match = _COMBINED.match(name)
    return (match[1], match[2], "") if match else ("", "", "")
