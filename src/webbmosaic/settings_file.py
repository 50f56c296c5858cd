"""Settings as TOML and as ``section.key=value``: read, checked, written."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomlkit

from webbmosaic.datasets import DETECTORS, FILTERS, INSTRUMENTS
from webbmosaic.errors import UsageError
from webbmosaic.settings import BUILT_IN, JWST, KINDS, SECTIONS, Settings

__all__ = [
    "as_text",
    "as_toml",
    "differences",
    "parse_assignments",
    "read_settings",
    "written",
]


def read_settings(
    path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> Settings:
    """
    Read the settings of a work folder.

    Parameters
    ----------
    path : `~pathlib.Path` or None
        A TOML file; one that does not exist means the defaults.
    overrides : mapping, optional
        ``{section: {key: value}}`` from the command line.

    Returns
    -------
    settings : Settings

    Raises
    ------
    UsageError
        If the file is no TOML, or names a section, key or value that does not exist;
        the message names the nearest good one.
    """
    table: dict[str, Any] = {}
    if path is not None and path.is_file():
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            msg = f"{path}: not a TOML file ({error})"
            raise UsageError(msg) from error
        except OSError as error:
            msg = f"{path}: cannot be read ({error.strerror}). Try: chmod u+r {path}"
            raise UsageError(msg) from error
    origin = str(path) if path is not None else "settings"
    settings = _apply(Settings(), table, origin)
    return _apply(settings, overrides or {}, "the command line", last=True)


def _apply(
    settings: Settings, table: Mapping[str, Any], origin: str, *, last: bool = False
) -> Settings:
    """
    Lay a table of settings over others.

    ``last``: of the command line, whose plain values win over what the file narrows.
    """
    changes: dict[str, Any] = {}
    narrowed = {k: dict(v) for k, v in settings.narrowed.items()}
    for section, values in _sections(table, origin):
        _known_section(section, origin)
        plain = {k: v for k, v in values.items() if k not in KINDS}
        checked = _checked(section, plain, f"{origin}: [{section}]")
        if not section.startswith(JWST):
            before = changes.get(section, getattr(settings, section))
            changes[section] = dataclasses.replace(before, **checked)
        own = narrowed.setdefault(section, {})
        own["all"] = own.get("all", {}) | checked
        for kind in KINDS:
            merged = {
                name: {k: v for k, v in old.items() if not (last and k in checked)}
                for name, old in own.get(kind, {}).items()
            }
            for name, narrow in values.get(kind, {}).items():
                where = f"{origin}: [{section}.{kind}.{name}]"
                _known_name(kind, name, where)
                if not isinstance(narrow, Mapping):
                    msg = f"{where}: write KEY = VALUE below it"
                    raise UsageError(msg)
                merged[name] = merged.get(name, {}) | _checked(section, narrow, where)
            own[kind] = {name: given for name, given in merged.items() if given}
    return dataclasses.replace(settings, **changes, narrowed=narrowed)


def _sections(
    table: Mapping[str, Any], origin: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give each section; those of jwst's steps are named ``jwst.STEP``."""
    for section, values in table.items():
        if not isinstance(values, Mapping):
            msg = f"{origin}: '{section}' is a section; write [{section}]"
            raise UsageError(msg)
        if section != "jwst":
            yield section, values
            continue
        for step, given in values.items():
            if not isinstance(given, Mapping):
                msg = f"{origin}: jwst.{step} is a step; write [jwst.{step}]"
                raise UsageError(msg)
            yield JWST + step, given


def _known_section(section: str, origin: str) -> None:
    if not section.startswith(JWST):
        _known(section, SECTIONS, f"{origin}: section")


def _known_name(kind: str, name: str, where: str) -> None:
    """Check the name of an instrument, filter or detector, whatever its case."""
    names = {"instrument": INSTRUMENTS, "filter": FILTERS, "detector": DETECTORS}[kind]
    if name.lower() not in {known.lower() for known in names}:
        near = difflib.get_close_matches(name.upper(), [n.upper() for n in names], n=1)
        hint = f"; did you mean {near[0]}?" if near else f": {', '.join(names)}"
        msg = f"{where}: there is no {kind} {name}{hint}"
        raise UsageError(msg)


def _known(name: str, names: typing.Iterable[str], where: str) -> None:
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
        msg = f"{where}: there is no '{name}'; {hint}"
        raise UsageError(msg)


def _checked(section: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    if section.startswith(JWST):
        return dict(values)  # the step's own specification is asked later
    fields = {f.name: f for f in dataclasses.fields(SECTIONS[section])}
    hints = typing.get_type_hints(SECTIONS[section])
    checked = {}
    for key, value in values.items():
        _known(key, fields, where)
        checked[key] = _converted(value, hints[key], f"{where} {key}")
        _check_value(checked[key], fields[key].metadata, f"{where} {key}")
    return checked


def _check_value(value: Any, meta: Mapping[str, Any], where: str) -> None:
    choices, low, high = meta["choices"], meta["low"], meta["high"]
    if choices and value not in choices:
        msg = f"{where} = {value!r} is not one of {', '.join(choices)}"
        raise UsageError(msg)
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers if (low, high) != (None, None) else ():
        too_low = low is not None and number < low
        if too_low or (high is not None and number > high) or math.isnan(number):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            msg = f"{where} = {number} should be {bounds}"
            raise UsageError(msg)
    if meta["reads"] and value:
        path = Path(value)
        if not (path.is_file() if meta["reads"] == "file" else path.is_dir()):
            msg = f"{where}: there is no {meta['reads']} {value}"
            raise UsageError(msg)


def _converted(value: Any, kind: Any, where: str) -> Any:
    if isinstance(kind, types.GenericAlias) and isinstance(value, list | tuple):
        return tuple(_converted(v, kind.__args__[0], where) for v in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    name = (
        "a list of numbers" if isinstance(kind, types.GenericAlias) else kind.__name__
    )
    msg = f"{where} = {value!r} should be {name}"
    raise UsageError(msg)


def parse_assignments(texts: typing.Iterable[str]) -> dict[str, dict[str, Any]]:
    """
    Read settings given as ``section.key=value``.

    Parameters
    ----------
    texts : iterable of str
        Such as ``stripes.angles=[30, -30]``, ``stripes.filter.F200W.enabled=false`` or
        ``jwst.jump.rejection_threshold=5``. The value is TOML; a bare word is text.

    Returns
    -------
    overrides : dict
        ``{section: {key: value}}``, nested as in the file.

    Raises
    ------
    UsageError
        If a text is not of this form.
    """
    overrides: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        parts = name.strip().split(".")
        if not equals or len(parts) not in (2, 3, 4, 5) or not all(parts):
            msg = (
                f"--set {text}: write section.key=value, such as stripes.enabled=false"
            )
            raise UsageError(msg)
        place: dict[str, Any] = overrides
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = _toml_value(value.strip())
    return overrides


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def as_toml(settings: Settings) -> str:
    """
    Write settings as a commented TOML file.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    text : str
        Reading it back gives the same settings, also with comments taken away.
    """
    lines = [
        "# Settings of webbmosaic. What is commented out has its default.",
        "# Any section may be narrowed, for example: [stripes.filter.F200W]",
        "# Any parameter of jwst's steps may be given, for example: [jwst.jump]",
        "",
    ]
    for section, kind in SECTIONS.items():
        given = settings.narrowed.get(section, {})
        lines += [f"# {(kind.__doc__ or '').strip()}", f"[{section}]"]
        for item in dataclasses.fields(kind):
            value = getattr(getattr(settings, section), item.name)
            lines += _commented(item, value, explicit=item.name in given.get("all", {}))
        lines += ["", *_narrowed_lines(section, given, BUILT_IN.get(section, {}))]
    for section, given in settings.narrowed.items():
        if section.startswith(JWST):
            values = given.get("all", {})
            if values:
                lines += [f"[{section}]", *_assigned(values), ""]
            lines += _narrowed_lines(section, given, {})
    return "\n".join(lines)


def _narrowed_lines(
    section: str, given: Mapping[str, Any], built_in: Mapping[str, Any]
) -> list[str]:
    """Write what is narrowed, and the defaults of instruments that differ."""
    lines: list[str] = []
    for how in KINDS:
        ours, theirs = built_in.get(how, {}), given.get(how, {})
        for name in dict.fromkeys((*ours, *theirs)):
            lines.append(f"[{section}.{how}.{name}]")
            own = {
                key: value
                for key, value in ours.get(name, {}).items()
                if key not in given.get("all", {})
            }
            if own:
                lines.append(f"# The default of {name} differs.")
            values = own | theirs.get(name, {})
            if values:
                lines += [*_assigned(values), ""]
            else:
                lines.pop()
    return lines


def _assigned(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {as_text(value)}" for key, value in values.items()]


def _commented(
    item: dataclasses.Field[Any], value: Any, *, explicit: bool
) -> list[str]:
    unit = f" [{item.metadata['unit']}]" if item.metadata["unit"] else ""
    choices = item.metadata["choices"]
    one_of = f" One of: {', '.join(choices)}." if choices else ""
    comment = f"# {item.metadata['doc']}{unit}{one_of}{_effect(item)}"
    mark = "" if explicit or value != item.default else "# "
    return [comment, f"{mark}{item.name} = {as_text(value)}"]


_EFFECTS = {
    "speed": " Changes no pixel.",
    "outputs": " Changes no pixel.",
    "proposals": " For masks propose alone.",
}


def _effect(item: dataclasses.Field[Any]) -> str:
    return _EFFECTS.get(item.metadata["affects"], "")


def as_text(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_text(v) for v in value) + "]"
    return str(tomlkit.item(value).as_string())


def written(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """
    Give the text of a TOML file with other settings; comments and all else stay.

    Parameters
    ----------
    path : `~pathlib.Path`
        For one that does not exist, the text has every setting with a comment.
    changes : mapping
        ``{section: {key: value}}``, nested as in the file.

    Returns
    -------
    text : str

    Raises
    ------
    UsageError
        If the file is no TOML, or a change is not allowed.
    """
    settings = read_settings(path, changes)
    if not path.exists():
        return as_toml(settings)
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    _lay_over(document, changes)
    return tomlkit.dumps(document)


def _lay_over(table: Any, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            if key not in table:
                table[key] = tomlkit.table()
            _lay_over(table[key], value)
        else:
            table[key] = value


def differences(settings: Settings) -> list[str]:
    """
    List the settings that are not as by default.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    lines : list of str
        Such as ``stripes.rows = false (default: true)``.
    """
    lines = []
    for section, given in settings.narrowed.items():
        kind = SECTIONS.get(section)
        fields = dataclasses.fields(kind) if kind is not None else ()
        defaults = {f.name: f.default for f in fields}
        for key, value in given.get("all", {}).items():
            if kind is None or value != defaults[key]:
                was = as_text(defaults[key]) if key in defaults else "jwst's own"
                said = f"{section}.{key} = {as_text(value)} (default: {was})"
                lines.append(said)
        for how in KINDS:
            own = BUILT_IN.get(section, {}).get(how, {})
            for name, values in given.get(how, {}).items():
                lines += [
                    f"{section}.{how}.{name}.{key} = {as_text(value)}"
                    for key, value in values.items()
                    if own.get(name, {}).get(key) != value
                ]
    return lines
