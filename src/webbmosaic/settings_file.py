"""Settings as TOML and as ``section.key=value``: read, checked, written."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webbmosaic.errors import UsageError
from webbmosaic.settings import KINDS, SECTIONS, Settings

__all__ = ["as_toml", "parse_assignments", "read_settings"]


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
    origin = str(path) if path is not None else "settings"
    settings = _apply(Settings(), table, origin)
    return _apply(settings, overrides or {}, "the command line")


def _apply(settings: Settings, table: Mapping[str, Any], origin: str) -> Settings:
    changes: dict[str, Any] = {}
    narrowed = {k: dict(v) for k, v in settings.narrowed.items()}
    for section, values in table.items():
        _known(section, SECTIONS, f"{origin}: section")
        if not isinstance(values, Mapping):
            msg = f"{origin}: '{section}' is a section; write [{section}]"
            raise UsageError(msg)
        plain = {k: v for k, v in values.items() if k not in KINDS}
        checked = _checked(section, plain, f"{origin}: [{section}]")
        changes[section] = dataclasses.replace(getattr(settings, section), **checked)
        own = narrowed.setdefault(section, {})
        own["all"] = own.get("all", {}) | checked
        for kind in KINDS:
            merged = dict(own.get(kind, {}))
            for name, narrow in values.get(kind, {}).items():
                where = f"{origin}: [{section}.{kind}.{name}]"
                merged[name] = merged.get(name, {}) | _checked(section, narrow, where)
            own[kind] = merged
    return dataclasses.replace(settings, **changes, narrowed=narrowed)


def _known(name: str, names: typing.Iterable[str], where: str) -> None:
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
        msg = f"{where}: there is no '{name}'; {hint}"
        raise UsageError(msg)


def _checked(section: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    fields = {f.name: f for f in dataclasses.fields(SECTIONS[section])}
    hints = typing.get_type_hints(SECTIONS[section])
    checked = {}
    for key, value in values.items():
        _known(key, fields, where)
        checked[key] = _converted(value, hints[key], f"{where} {key}")
        choices = fields[key].metadata["choices"]
        if choices and checked[key] not in choices:
            msg = f"{where} {key} = {value!r} is not one of {', '.join(choices)}"
            raise UsageError(msg)
    return checked


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
        Such as ``stripes.angles=[30, -30]`` or ``resample.kernel=gaussian``. The value
        is TOML; a bare word is taken as text.

    Returns
    -------
    overrides : dict
        ``{section: {key: value}}``.

    Raises
    ------
    UsageError
        If a text is not of this form.
    """
    overrides: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot):
            msg = (
                f"--set {text}: write section.key=value, such as stripes.enabled=false"
            )
            raise UsageError(msg)
        overrides.setdefault(section, {})[key] = _toml_value(value.strip())
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
        Reading it back gives the same settings.
    """
    lines = [
        "# Settings of webbmosaic. What is commented out has its default.",
        "# Any section may be narrowed, for example: [stripes.filter.F200W]",
        "",
    ]
    for section, kind in SECTIONS.items():
        given = settings.narrowed.get(section, {})
        lines += [f"# {(kind.__doc__ or '').strip()}", f"[{section}]"]
        for item in dataclasses.fields(kind):
            value = getattr(getattr(settings, section), item.name)
            lines += _commented(item, value, explicit=item.name in given.get("all", {}))
        lines.append("")
        for how in KINDS:
            for name, values in given.get(how, {}).items():
                lines.append(f"[{section}.{how}.{name}]")
                lines += [f"{key} = {_toml_text(v)}" for key, v in values.items()]
                lines.append("")
    return "\n".join(lines)


def _commented(
    item: dataclasses.Field[Any], value: Any, *, explicit: bool
) -> list[str]:
    unit = f" [{item.metadata['unit']}]" if item.metadata["unit"] else ""
    choices = item.metadata["choices"]
    one_of = f" One of: {', '.join(choices)}." if choices else ""
    comment = f"# {item.metadata['doc']}{unit}{one_of}"
    mark = "" if explicit or value != item.default else "# "
    return [comment, f"{mark}{item.name} = {_toml_text(value)}"]


def _toml_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_text(v) for v in value) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
