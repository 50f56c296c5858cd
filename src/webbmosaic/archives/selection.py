"""What is wanted of MAST: the rules that choose exposures and files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache

from webbmosaic.archives.holdings import Exposure, Product, own_channel
from webbmosaic.datasets import IMAGING_EXPOSURES

__all__ = ["GRISM_EXPOSURES", "Selection", "read_date"]

#: Wide-field slitless spectroscopy, whose direct images lie in imaging surveys.
GRISM_EXPOSURES = ("NRC_WFSS", "NIS_WFSS")
#: Kinds of files of single exposures; all others may belong to combined products.
_EXPOSURE_SUFFIXES = ("uncal", "rate", "rateints", "cal", "calints", "trapsfilled")


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
        Names of datasets, exposures or files, or parts of them. With wildcards (``*``,
        ``?``, ``[...]``) they must match a whole name.
    instruments, filters, detectors, exposure_types : tuple of str
        In any case.
    after, before : str
        ISO 8601, UTC unless they say otherwise. A ``before`` includes all that it
        names: the day, the week, or with a time the hour or minute.
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
        """
        Judge a row of the search, all but its exposure type and its filters.

        Filters are left to the list of files: a row may name one channel's only.
        """
        return (
            _is_number_in(exposure.program, self.programs)
            and _is_number_in(exposure.observation, self.observations)
            and (exposure.combined or _is_number_in(exposure.visit, self.visits))
            and self._wants_instrument(exposure)
            and (self.guide_stars or not exposure.guiding)
            and self._wants_stage(exposure)
            and self._wants_date(exposure.date)
            and self._may_hold_datasets(exposure.name)
        )

    def wants_elements(self, elements: tuple[str, ...]) -> bool:
        """Judge the filters of an exposure or a file, where they are known."""
        return (
            not self.filters
            or not elements
            or any(_is_in(one, self.filters) for one in elements)
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
            and self._wants_filter(product)
            and self._wants_name(product)
        )

    def _wants_instrument(self, exposure: Exposure) -> bool:
        instrument = exposure.instrument.split("/")[0]
        return not instrument or _is_in(instrument, self.instruments)

    def _wants_stage(self, exposure: Exposure) -> bool:
        if self.levels:
            third = {level.startswith("3") for level in self.levels}
            return exposure.combined in third
        single = self.suffixes and set(self.suffixes) <= set(_EXPOSURE_SUFFIXES)
        return not (single and exposure.combined)

    def _wants_date(self, date: str) -> bool:
        if not self.after and not self.before:
            return True
        try:
            start = _span(date)[0]
        except ValueError:
            return False
        if self.after and start < _span(self.after)[0]:
            return False
        return not self.before or start < _span(self.before)[1]

    def _wants_filter(self, product: Product) -> bool:
        """Where MAST names no filter, a detector may have any of its channel's."""
        if product.elements or not self.filters:
            return self.wants_elements(product.elements)
        wanted = tuple(one.upper() for one in self.filters)
        return bool(own_channel(product.name, wanted))

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

    def _wants_name(self, product: Product) -> bool:
        name = product.name.lower()
        dataset, exposure = product.folder.lower(), product.exposure.lower()
        names = (name, name.split(".")[0], dataset, exposure)
        patterns = [pattern.lower() for pattern in self.datasets]
        return not patterns or any(
            p in name if _is_plain(p) else any(fnmatchcase(n, p) for n in names)
            for p in patterns
        )

    def _wants_level(self, level: str) -> bool:
        if not self.levels or not level[:1].isdigit():
            return True
        return any(level.startswith(wanted) for wanted in self.levels)

    def _wants_suffix(self, product: Product) -> bool:
        """Lists (associations, pools) belong to no single kind of file."""
        stem = product.name.split(".")[0].removesuffix("_thumb")
        if not self.suffixes or product.kind not in ("science", "preview"):
            return True
        return any(
            product.suffix == wanted or stem.endswith(f"_{wanted}")
            for wanted in self.suffixes
        )

    def _wants_extension(self, name: str) -> bool:
        return not self.extensions or name.endswith(
            tuple(f".{extension.lstrip('.')}" for extension in self.extensions)
        )


def _is_in(value: str, wanted: Iterable[str]) -> bool:
    wanted = tuple(wanted)
    return not wanted or value.upper() in (one.upper() for one in wanted)


def _is_number_in(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value.lstrip("0") in (one.lstrip("0") for one in wanted)


def _is_plain(pattern: str) -> bool:
    return not set(pattern) & set("*?[")


_WEEK = re.compile(r"\d{4}-?W\d\d")
_DAY = re.compile(r"\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d-?\d")
_HOUR = re.compile(r"\d\d")
_MINUTE = re.compile(r"\d\d:?\d\d")
_OFFSET = re.compile(r"(Z|[+-]\d\d(:?\d\d)*)$")


@lru_cache(maxsize=1024)
def _span(text: str) -> tuple[datetime, datetime]:
    """Give the first moment that a date names, and the first after it, in UTC."""
    day, _, time = text.upper().replace(" ", "T").partition("T")
    start = datetime.fromisoformat(text.upper())
    if not (_DAY.fullmatch(day) or _WEEK.fullmatch(day)):
        raise ValueError(text)
    start = start.astimezone(UTC) if start.tzinfo else start.replace(tzinfo=UTC)
    return start, start + _length(day, time)


def _length(day: str, time: str) -> timedelta:
    """Tell how long that is what a date names: a week, a day, ..., a second."""
    if not time:
        return timedelta(weeks=1) if _WEEK.fullmatch(day) else timedelta(days=1)
    clock = _OFFSET.sub("", time)
    if _HOUR.fullmatch(clock):
        return timedelta(hours=1)
    return timedelta(minutes=1) if _MINUTE.fullmatch(clock) else timedelta(seconds=1)


def read_date(text: str) -> str:
    """
    Check a date of the user's.

    Parameters
    ----------
    text : str
        ISO 8601: ``2022-12-24``, ``20221224`` or ``2022-W51``; with or without a time,
        and that with or without its distance from UTC.

    Returns
    -------
    date : str
        The same with a ``T`` before the time.

    Raises
    ------
    ValueError
        If it is none.
    """
    text = text.strip().replace(" ", "T")
    try:
        _span(text)
    except OverflowError as error:  # the first and the last day there is
        raise ValueError(text) from error
    return text
