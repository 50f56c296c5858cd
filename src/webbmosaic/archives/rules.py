"""Which reference file fits which exposure, by the rules of one CRDS context.

The choice itself is made by crds. Here it is made once per configuration: exposures
that agree in everything the rules look at, and between whose dates no rule changes,
share it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from webbmosaic.archives.headers import Header
from webbmosaic.archives.reftypes import keyword_of_parkey, reference_types
from webbmosaic.errors import ReferenceFileError

__all__ = [
    "Choice",
    "Configuration",
    "Rules",
    "load_mapping",
    "named_mappings",
    "rules",
]

Configuration = tuple[object, ...]

_DATE_KEYS = {"META.OBSERVATION.DATE": "DATE-OBS", "META.OBSERVATION.TIME": "TIME-OBS"}
_DATE = re.compile(r"['\"](\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)['\"]")
_OTHER_SELECTORS = re.compile(
    r"\b(ClosestTime|GeometricallyNearest|Bracket|SelectVersion)\s*\("
)


@dataclass(frozen=True)
class Choice:
    """
    The reference files of one configuration.

    Attributes
    ----------
    files : mapping of str to str
        Kind of reference to file name. Kinds that do not apply (``N/A``) are left out.
    unfit : mapping of str to str
        Kinds that a step needs and no rule provides, to the reason.
    """

    files: Mapping[str, str]
    unfit: Mapping[str, str] = field(default_factory=dict)


def load_mapping(name: str) -> Any:
    """
    Load one file of rules from the cache.

    Parameters
    ----------
    name : str
        A ``.pmap``, ``.imap`` or ``.rmap``.

    Returns
    -------
    mapping : crds.core.rmap.Mapping
        It loads the mappings it names when they are asked for.

    Raises
    ------
    ReferenceFileError
        If it is not in the cache, or damaged.
    """
    import crds

    with _explained(name):
        return crds.asmapping(name, cached=False)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    from crds.core import config
    from crds.core.exceptions import CrdsError

    where = f"in the CRDS cache {config.get_crds_path()}"
    try:
        yield
    except FileNotFoundError as error:
        msg = (
            f"the rules {name} are not {where}. Try: webbmosaic references, on a"
            " machine that reaches the CRDS server"
        )
        raise ReferenceFileError(msg) from error
    except (CrdsError, SyntaxError, ValueError, AssertionError, OSError) as error:
        msg = (
            f"the rules {name} {where} are damaged ({error}). Try: delete that file,"
            " then webbmosaic references"
        )
        raise ReferenceFileError(msg) from error


def named_mappings(mapping: Any) -> dict[str, str]:
    """
    List the mappings that a mapping names, without loading them.

    Parameters
    ----------
    mapping : crds.core.rmap.Mapping
        Of a context or of an instrument.

    Returns
    -------
    names : dict
        Lower-case instrument or kind of reference to file name; ``N/A`` is left out.
    """
    selector = dict(mapping.selector).items()
    return {k.lower(): v for k, v in selector if v.endswith((".imap", ".rmap"))}


@lru_cache(maxsize=32)
def _rules(cache_folder: str, context: str, instrument: str) -> Rules:
    del cache_folder  # part of the key: the same name may be other rules elsewhere
    return Rules(context, instrument)


def rules(context: str, instrument: str) -> Rules:
    """
    Load the rules of an instrument, once per process.

    Parameters
    ----------
    context : str
        Such as ``jwst_1293.pmap``.
    instrument : str
        The INSTRUME keyword.

    Returns
    -------
    rules : Rules

    Raises
    ------
    ReferenceFileError
        If a mapping is missing or damaged, or the context has no such instrument.
    """
    from crds.core import config

    return _rules(config.get_crds_path(), context, instrument)


class Rules:
    """
    The rules of one instrument in one context, answering once per configuration.

    Parameters
    ----------
    context : str
        Such as ``jwst_1293.pmap``; its mappings must be in the cache.
    instrument : str
        The INSTRUME keyword.

    Raises
    ------
    ReferenceFileError
        If a mapping is missing or damaged, or the context has no such instrument.
    """

    def __init__(self, context: str, instrument: str) -> None:
        self.context = context
        self.instrument = instrument
        name = named_mappings(load_mapping(context)).get(instrument.lower())
        if name is None:
            msg = f"the context {context} has no rules for {instrument}"
            raise ReferenceFileError(msg)
        self._imap = load_mapping(name)
        self._maps = []
        for kind, rmap in named_mappings(self._imap).items():
            if kind in reference_types():
                with _explained(rmap):
                    self._maps.append(self._imap.get_rmap(kind))
        self._keys = self._parkeys()
        self._dates = self._turning_points()
        self._known: dict[Configuration, Choice] = {}

    def _parkeys(self) -> dict[str, str]:
        """Give the names that the rules match on, with their FITS keywords."""
        names = {key.upper() for m in self._maps for key in m.get_required_parkeys()}
        names.add("META.INSTRUMENT.NAME")
        keywords = keyword_of_parkey()
        return {n: keywords.get(n, n) for n in sorted(names) if n not in _DATE_KEYS}

    def _turning_points(self) -> list[str] | None:
        """List the dates at which any rule may change; None where that is not known."""
        import crds

        dates: set[str] = set()
        for mapping in self._maps:
            path = Path(crds.locate_mapping(mapping.basename))
            text = path.read_text(encoding="utf-8")
            if _OTHER_SELECTORS.search(text) or text.count("META.OBSERVATION.DATE") > 1:
                return None
            dates.update(f"{day} {time}" for day, time in _DATE.findall(text))
        return sorted(dates)

    def configuration(self, header: Header) -> Configuration:
        """
        Reduce a header to what the rules can tell apart.

        Parameters
        ----------
        header : dict
            Of an exposure of this instrument.

        Returns
        -------
        configuration : tuple
            Hashable; equal for exposures that get the same references.
        """
        date = f"{header.get('DATE-OBS')} {header.get('TIME-OBS')}"
        epoch = date if self._dates is None else bisect_right(self._dates, date)
        return (epoch, *(header.get(k, "UNDEFINED") for k in self._keys.values()))

    def choose(self, header: Header) -> Choice:
        """
        Choose the references of one exposure.

        Parameters
        ----------
        header : dict
            Of an exposure of this instrument.

        Returns
        -------
        choice : Choice
        """
        configuration = self.configuration(header)
        if configuration not in self._known:
            self._known[configuration] = self._ask(header)
        return self._known[configuration]

    def _ask(self, header: Header) -> Choice:
        from crds.core import utils

        keys = {**self._keys, **_DATE_KEYS}
        values = {parkey: header.get(k, "UNDEFINED") for parkey, k in keys.items()}
        answers = self._imap.get_best_references(
            utils.condition_header(values), include=list(reference_types())
        )
        files = {k: a for k, a in answers.items() if not a.startswith("NOT FOUND")}
        reasons = {k: _why_unfit(k, a) for k, a in answers.items() if k not in files}
        return Choice(files, {kind: why for kind, why in reasons.items() if why})


def _why_unfit(kind: str, answer: str) -> str:
    """Say why this is no answer; nothing where the steps can do without."""
    reason = answer.removeprefix("NOT FOUND").strip()
    if reason.lower().startswith("n/a"):
        fatal = reference_types()[kind].fails_without
        return "the rules say it does not apply (N/A)" if fatal else ""
    return reason if reference_types()[kind].required else ""
