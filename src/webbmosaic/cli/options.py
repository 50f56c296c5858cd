"""Options that mean the same in every command."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from functools import reduce
from glob import glob
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "FiniteRange",
    "Overrides",
    "all_of",
    "dry_run",
    "expanded",
    "job_options",
    "meant",
    "merged",
    "read_all_settings",
    "settings_options",
    "work_dir",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])
Overrides = dict[str, dict[str, Any]]


class FiniteRange(click.FloatRange):
    """A number in a range; ``nan`` is in none, though no comparison says so."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Refuse what is not finite."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to reckon with.", param, ctx)
        return number


work_dir = click.option(
    "-C",
    "--work-dir",
    "work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="the current folder",
    metavar="FOLDER",
    help="Folder that holds the dataset folders.",
)

dry_run = click.option(
    "-n", "--dry-run", is_flag=True, help="Say what would be done, and stop."
)

_processes = click.option(
    "-j",
    "--processes",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="all cores",
    metavar="N",
    help="How many exposures to reduce at once.",
)

_redo = click.option("--redo", is_flag=True, help="Do again what is already done.")

_settings_file = click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Settings to use, instead of FOLDER/webbmosaic.toml.",
)

_assignments = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change one setting; may be repeated. See: webbmosaic settings",
)


def all_of(*options: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """Make one decorator of several options, shown in this order."""

    def decorate(command: _Command) -> _Command:
        return reduce(lambda made, option: option(made), reversed(options), command)

    return decorate


#: ``settings_file, assignments``
settings_options = all_of(_settings_file, _assignments)
_memory = click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="Memory that all tasks may use together.  [default: 90 % of the machine's]",
)

_time_limit = click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Stop a task that takes longer.  [default: 20 times what is expected]",
)

#: ``work, processes, memory, time_limit, redo, dry_run``
job_options = all_of(work_dir, _processes, _memory, _time_limit, _redo, dry_run)


def meant(given: dict[str, Any], keys: dict[str, tuple[str, str]]) -> Overrides:
    """
    Say which settings the options given mean.

    Parameters
    ----------
    given : dict
        Option -> value, as click hands them over; paths are made absolute.
    keys : dict
        Option -> section and key of its setting.

    Returns
    -------
    overrides : dict
        ``{section: {key: value}}``.
    """
    overrides: Overrides = {}
    for option, (section, key) in keys.items():
        value = given.get(option)
        if value is not None and value is not False and value != ():
            value = str(value.resolve()) if isinstance(value, Path) else value
            overrides.setdefault(section, {})[key] = value
    return overrides


def expanded(names: Iterable[str]) -> list[str]:
    """
    Replace wildcards by what they match, and ``@list.txt`` by its lines.

    Parameters
    ----------
    names : iterable of str
        As typed.

    Returns
    -------
    names : list of str
        What is neither stays as it is. In a list, ``#`` begins a comment.

    Raises
    ------
    UsageError
        If there is no such list, or nothing matches a wildcard.
    """
    from webbmosaic.errors import UsageError

    found: list[str] = []
    for name in names:
        if name.startswith("@"):
            path = Path(name[1:])
            if not path.is_file():
                msg = f"{path}: there is no such list"
                raise UsageError(msg)
            text = path.read_text(encoding="utf-8")
            lines = (line.partition("#")[0].strip() for line in text.splitlines())
            found += expanded(line for line in lines if line)
        elif any(sign in name for sign in "*?["):
            matches = sorted(glob(name))  # noqa: PTH207 - absolute ones, too
            if not matches:
                msg = f"{name}: nothing is called so"
                raise UsageError(msg)
            found += matches
        else:
            found.append(name)
    return found


def merged(*overrides: Overrides) -> Overrides:
    """Join overrides of settings; later ones win."""
    result: Overrides = {}
    for part in overrides:
        for section, values in part.items():
            result.setdefault(section, {}).update(values)
    return result


def read_all_settings(
    work: Path,
    settings_file: Path | None,
    assignments: tuple[str, ...],
    overrides: Overrides | None = None,
) -> Any:
    """Read the settings: command line > TOML > default."""
    from webbmosaic.datasets import Workspace
    from webbmosaic.settings_file import parse_assignments, read_settings

    path = settings_file or Workspace(work).settings
    given = merged(overrides or {}, parse_assignments(assignments))
    return read_settings(path, given)
