"""What MAST holds: exposures and files, and what their names and filters say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from webbmosaic.datasets import PUPIL_FILTERS, find_dataset_name
from webbmosaic.errors import ArchiveError

__all__ = [
    "Exposure",
    "Product",
    "exposure_table",
    "optical_elements",
    "own_channel",
    "parts_of_name",
    "product_table",
]

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
        Empty where none is of its channel.

    Examples
    --------
    >>> own_channel("jw01345002001_14201_00001_nrcblong_uncal.fits", ("F200W", "F444W"))
    ('F444W',)
    """
    dataset = find_dataset_name(name)
    if dataset is None or dataset.instrument != "NIRCAM":
        return elements
    long = dataset.detector.endswith("long")
    return tuple(e for e in elements if (_wavelength(e) > _DICHROIC) == long)


def _wavelength(element: str) -> int:
    match = _FILTER.fullmatch(element)
    return int(match[1]) if match else 0


def exposure_table(exposures: Iterable[Exposure]) -> Any:
    """
    Lay out exposures as a table with units.

    Parameters
    ----------
    exposures : iterable of Exposure
        One row each.

    Returns
    -------
    table : `~astropy.table.Table`
    """
    units = {"duration": "s", "ra": "deg", "dec": "deg"}
    names = tuple(Exposure.__dataclass_fields__)
    return _table(exposures, names, units)


def product_table(products: Iterable[Product]) -> Any:
    """
    Lay out files as a table with units.

    Parameters
    ----------
    products : iterable of Product
        One row each.

    Returns
    -------
    table : `~astropy.table.Table`
    """
    return _table(products, tuple(Product.__dataclass_fields__), {"size": "byte"})


def _table(items: Iterable[Any], names: tuple[str, ...], units: dict[str, str]) -> Any:
    from astropy.table import MaskedColumn, Table

    items = list(items)
    table = Table()
    for name in names:
        values = [getattr(item, name) for item in items]
        values = [";".join(v) if isinstance(v, tuple) else v for v in values]
        mask = [value is None for value in values]
        values = [0 if value is None else value for value in values]
        table[name] = MaskedColumn(values, mask=mask) if any(mask) else values
        if name in units:
            table[name].unit = units[name]
    return table
