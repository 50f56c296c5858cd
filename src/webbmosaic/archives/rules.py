"""Which reference file fits which exposure, by the rules of one CRDS context.

The choice itself is made by crds. Here it is made once per configuration: exposures
that agree in everything the rules look at, and between whose dates no rule changes,
share it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from webbmosaic.archives.reftypes import keyword_of_parkey, reference_types
from webbmosaic.errors import ReferenceFileError
from webbmosaic.files.headers import Header

__all__ = [
    "Choice",
    "Rules",
    "load_mapping",
    "named_mappings",
    "rules",
]

Configuration = tuple[object, ...]

_Rows = list[tuple[list[str], list[str]]]

_DATE_KEYS = {"META.OBSERVATION.DATE": "DATE-OBS", "META.OBSERVATION.TIME": "TIME-OBS"}
_DATE = re.compile(r"['\"](\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)['\"]")
# One row of a file of rules, all its selectors, and what makes a row fit unforeseen.
_ROW = re.compile(r"\(([^()]*)\)\s*:\s*UseAfter\(\{([^{}]*)\}\)")
_SELECTOR = re.compile(r"\b[A-Z]\w+\(\{")
_NOT_ONLY_ROWS = re.compile(r"hooks|substitutions|parkey_relevance|META_OBSERVATION")
_QUOTED = re.compile(r"['\"]([^'\"]*)['\"]")
#: A value that only itself matches: not N/A, ANY, A|B, a number, a pattern or a range.
_PLAIN = re.compile(r"(?!ANY$|UNDEFINED$|NONE$|TRUE$|FALSE$)[A-Z][A-Z0-9_]+")


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
        name = named_mappings(load_mapping(context)).get(instrument.lower())
        if name is None:
            msg = f"the context {context} has no rules for {instrument}"
            raise ReferenceFileError(msg)
        self._imap = load_mapping(name)
        named = named_mappings(self._imap)
        maps = {k: self._rmap(k, named[k]) for k in reference_types() if k in named}
        self._keys = _all_parkeys(maps.values())
        self._kinds = [_KindRules(k, m, self._keys) for k, m in maps.items()]
        self._dates: dict[Configuration, tuple[str, ...] | None] = {}
        self._constant = self._ask([k for k in reference_types() if k not in maps], {})
        self._known: dict[Configuration, Choice] = {}
        self._distinct: dict[tuple[tuple[str, str], ...], Choice] = {}

    def _rmap(self, kind: str, name: str) -> Any:
        with _explained(name):
            return self._imap.get_rmap(kind)

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
            The same object for all exposures that get the same references.
        """
        words = self._keys.values()
        configuration = _configuration(header, words, self._all_dates(header))
        if configuration not in self._known:
            answers = dict(self._constant)
            for kind in self._kinds:
                answers |= self._answer(kind, header)
            key = tuple(answers.items())
            choice = self._distinct.setdefault(key, _as_choice(answers))
            self._known[configuration] = choice
        return self._known[configuration]

    def _all_dates(self, header: Header) -> tuple[str, ...] | None:
        """List when the answer for any kind may change."""
        values = tuple(header.get(word, "UNDEFINED") for word in self._keys.values())
        if values not in self._dates:
            lists = [kind.dates(header) for kind in self._kinds]
            dates = sorted({date for some in lists for date in some or ()})
            self._dates[values] = None if None in lists else tuple(dates)
        return self._dates[values]

    def _answer(self, kind: _KindRules, header: Header) -> dict[str, str]:
        configuration = _configuration(header, kind.keywords, kind.dates(header))
        if configuration not in kind.answers:
            kind.answers[configuration] = self._ask([kind.name], header)
        return kind.answers[configuration]

    def _ask(self, kinds: list[str], header: Header) -> dict[str, str]:
        """Ask crds; an answer is a file name or starts with NOT FOUND."""
        from crds.core import utils

        keys = {**self._keys, **_DATE_KEYS}
        values = {parkey: header.get(k, "UNDEFINED") for parkey, k in keys.items()}
        conditioned = utils.condition_header(values)
        found = self._imap.get_best_references(conditioned, include=kinds)
        return {kind: str(answer) for kind, answer in found.items()}


def _all_parkeys(maps: Iterable[Any]) -> dict[str, str]:
    """Give the names that the rules match on, with their FITS keywords."""
    names = {key.upper() for m in maps for key in m.get_required_parkeys()}
    keywords = keyword_of_parkey()
    return {n: keywords.get(n, n) for n in sorted(names) if n not in _DATE_KEYS}


class _KindRules:
    """What the rules of one kind look at, and what they answered so far."""

    def __init__(self, name: str, mapping: Any, keys: Mapping[str, str]) -> None:
        import crds

        path = Path(crds.locate_mapping(mapping.basename))
        text = path.read_text(encoding="utf-8")
        self.name = name
        self._rows = _rows(text)
        self._matched = [keys[key.upper()] for key in mapping.parkey[0]]
        ignored = _ignored(self._rows, [key.upper() for key in mapping.parkey[0]])
        self.keywords = tuple(w for k, w in keys.items() if _mentions(text, k, ignored))
        self.answers: dict[Configuration, dict[str, str]] = {}
        self._dates: dict[Configuration, tuple[str, ...]] = {}

    def dates(self, header: Header) -> tuple[str, ...] | None:
        """List when the answer may change; None where that is not known."""
        if self._rows is None:
            return None
        values = tuple(header.get(word, "UNDEFINED") for word in self.keywords)
        if values not in self._dates:
            here = [header.get(word, "UNDEFINED") for word in self._matched]
            fitting = (dates for rules, dates in self._rows if _may_fit(rules, here))
            self._dates[values] = tuple(sorted({d for dates in fitting for d in dates}))
        return self._dates[values]


def _mentions(text: str, key: str, ignored: set[str]) -> bool:
    """Tell whether a key matters; as a column that fits everything it does not."""
    # expressions write META_INSTRUMENT_FILTER for META.INSTRUMENT.FILTER
    mentions = text.count(key) + text.count(key.replace(".", "_"))
    return mentions > (1 if key in ignored else 0)


def _ignored(rows: _Rows | None, keys: list[str]) -> set[str]:
    """Find the columns in which every row says that anything fits."""
    if rows is None or any(len(values) != len(keys) for values, _ in rows):
        return set()
    columns = zip(keys, zip(*(values for values, _ in rows), strict=True), strict=True)
    return {key for key, column in columns if set(column) == {"N/A"}}


def _rows(text: str) -> _Rows | None:
    """Read the values and dates of each row; None where rows are not all there is."""
    rows = [(_QUOTED.findall(values), dates) for values, dates in _ROW.findall(text)]
    if len(rows) != len(_SELECTOR.findall(text)) - 1 or _NOT_ONLY_ROWS.search(text):
        return None
    return [
        (values, [f"{day} {time}" for day, time in _DATE.findall(dates)])
        for values, dates in rows
    ]


def _may_fit(rules: Sequence[str], values: Sequence[object]) -> bool:
    """Tell whether a row may be meant: only a plain word against another is not."""
    words = [str(value).upper() for value in values]
    return len(rules) != len(words) or not any(
        _PLAIN.fullmatch(rule) and word not in (rule, "*", "N/A")
        for rule, word in zip(rules, words, strict=True)
    )


def _configuration(
    header: Header, keywords: Iterable[str], dates: tuple[str, ...] | None
) -> Configuration:
    """Reduce a header to what rules can tell apart."""
    date = f"{header.get('DATE-OBS')} {header.get('TIME-OBS')}"
    epoch = date if dates is None else bisect_right(dates, date)
    return (epoch, *(header.get(word, "UNDEFINED") for word in keywords))


def _as_choice(answers: Mapping[str, str]) -> Choice:
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
