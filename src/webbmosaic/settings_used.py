"""Which settings reach the pixels of a product: what decides whether it is current."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from webbmosaic.settings import JWST, SECTIONS, Settings

__all__ = ["difference", "files_read", "fingerprint"]


def fingerprint(settings: Settings, sections: Mapping[str, bool]) -> dict[str, Any]:
    """
    Give what reaches the pixels of a product, and nothing else.

    Parameters
    ----------
    settings : Settings
        Narrowed to the exposure or group.
    sections : mapping of str to bool
        Section -> whether its step has anything to do for this exposure. Those of
        jwst's steps are named ``jwst.STEP``.

    Returns
    -------
    values : dict
        ``{section: {key: value}}`` of the steps that run; a step that is switched off
        and one with nothing to do leave the same pixels, and both are left out.
        Values for which only further files are made stand there when they are asked
        for.
    """
    values: dict[str, Any] = {}
    for name, applies in sections.items():
        if name.startswith(JWST):
            given = settings.jwst.get(name.removeprefix(JWST), {})
            values |= {name: dict(given)} if applies and given else {}
            continue
        section = getattr(settings, name)
        if not (applies and getattr(section, "enabled", True)):
            continue
        values[name] = {
            item.name: list(value) if isinstance(value, tuple) else value
            for item in dataclasses.fields(section)
            if (value := getattr(section, item.name)) is not None
            and (
                item.metadata["affects"] == "pixels"
                or (item.metadata["affects"] == "outputs" and value)
            )
        }
    return values


def files_read(settings: Settings, sections: Mapping[str, bool]) -> list[str]:
    """
    List the files that settings name and whose content decides.

    Parameters
    ----------
    settings : Settings
        Narrowed.
    sections : mapping of str to bool
        As for `fingerprint`.

    Returns
    -------
    paths : list of str
    """
    return [
        str(value)
        for name, applies in sections.items()
        if applies and not name.startswith(JWST)
        for section in (getattr(settings, name),)
        if getattr(section, "enabled", True)
        for item in dataclasses.fields(section)
        if item.metadata["reads"] == "file" and (value := getattr(section, item.name))
    ]


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """
    Say in which setting two fingerprints differ.

    Parameters
    ----------
    old, new : mapping
        As `fingerprint` gives them: of the product there is, and of the one wanted.

    Returns
    -------
    difference : str
        Such as ``stripes.rows: True to False``; empty where the product is as wanted. A
        file more than is wanted is no difference.
    """
    for section in sorted({*old, *new}):
        before, after = old.get(section), new.get(section)
        extra = _asks_for_files(section)
        if before is None or after is None:
            if set(before or after or {}) <= extra and after is None:
                continue
            return f"{section}: {_switch(before)} to {_switch(after)}"
        for key in sorted({*before, *after}):
            if before.get(key) == after.get(key) or (key in extra and key not in after):
                continue
            return f"{section}.{key}: {before.get(key)} to {after.get(key)}"
    return ""


def _asks_for_files(section: str) -> set[str]:
    kind = SECTIONS.get(section)
    fields = dataclasses.fields(kind) if kind is not None else ()
    return {f.name for f in fields if f.metadata["affects"] == "outputs"}


def _switch(values: Any) -> str:
    return "off" if values is None else "on"
