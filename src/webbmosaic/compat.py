"""The predecessor's commands and options, as a table over ours.

Options are taken with one dash or two, ``_`` or ``-``, in any case, as users of the
predecessor know them. What is not supported is refused with a sentence, never ignored.
"""

from __future__ import annotations

import difflib
import glob
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from webbmosaic.cli import root

__all__ = ["COMMANDS", "main", "translate"]


@dataclass(frozen=True)
class Option:
    """
    What an old option becomes.

    Attributes
    ----------
    to : tuple of str
        Our arguments; ``{}`` stands for the value.
    value : bool
        Whether a value follows.
    many : bool
        Whether the value is a list with commas, each for itself.
    refused : str
        The sentence with which the option is refused.
    """

    to: tuple[str, ...] = ()
    value: bool = False
    many: bool = False
    refused: str = ""


@dataclass(frozen=True)
class Command:
    """
    What an old command becomes.

    Attributes
    ----------
    to : tuple of str
        Our command, and what is always added.
    options : dict of str to Option
        In lower case, with ``-``, without leading dashes.
    last : str
        Our option that the last argument belongs to, where it is no input.
    positional : tuple of str
        Our arguments for each argument; ``{}`` stands for it.
    """

    to: tuple[str, ...]
    options: dict[str, Option] = field(default_factory=dict)
    last: str = ""
    positional: tuple[str, ...] = ("{}",)


def _flag(*to: str) -> Option:
    return Option(to)


def _value(name: str, *, many: bool = False) -> Option:
    return Option((name, "{}"), value=True, many=many)


def _setting(name: str) -> Option:
    return Option(("--set", name + "={}"), value=True)


def _no(why: str, *, value: bool = False) -> Option:
    return Option(refused=why, value=value)


_WORK = {"work-dir": _value("-C"), "workdir": _value("-C"), "help": _flag("--help")}
_NO_GRISM = _no("spectroscopy is not reduced here")
_NO_BIG = _no("mosaics tile by tile are not there yet")
_STEPWISE = _no("not needed: every product is resumable. Leave it out")
_TWO_WAY = {
    "combine-visitnum": _flag(),  # the default, here as there
    "no-combine-visitnum": _flag("--by-visit"),
    "combine-obsnum": _flag("--combine-obs"),
    "no-combine-obsnum": _flag(),
    "combine-program": _flag("--combine-program"),
    "no-combine-program": _flag(),
}
_MOSAIC = {
    **_TWO_WAY,
    "combine-filter": _flag("--combine-filter"),
    "no-combine-filter": _flag(),
    "abs-refcat": _value("--abs-refcat"),
    "abs-fitgeometry": _value("--fit"),
    "kernel": _value("--kernel"),
    "pixfrac": _value("--pixfrac"),
    "pixel-scale-ratio": _value("--pixel-scale-ratio"),
    "pixel-scale": _value("--pixel-scale"),
    "filter": _value("--filter", many=True),
    "overwrite": _flag("--redo"),
    "no-overwrite": _flag(),
    "run-individual-steps": _STEPWISE,
    "no-run-individual-steps": _flag(),
    "very-big-mosaic": _NO_BIG,
    "grid-step": Option(refused=_NO_BIG.refused, value=True),
    "use-custom-catalogs": _setting("alignment.custom_catalogues"),
    "enforce-user-order": _setting("alignment.enforce_order"),
    "outlier-detection-discard-highest": _no("jwst dropped this in 2024 (nhigh)"),
    "save-info-table-dir": _no("the tables stand beside the mosaics", value=True),
    "save-info-table-name": _no("the tables stand beside the mosaics", value=True),
}

_TOKEN = _no("put the token into the environment variable MAST_API_TOKEN", value=True)
_FILES = {
    "help": _flag("--help"),
    "download-dir": _value("--download-dir"),
    "calib-level": _value("--calib-level"),
    "extension": _value("--extension"),
    "download": _flag("--download"),
    "no-download": _flag("--no-download"),
}

COMMANDS: dict[str, Command] = {
    "go-jwst-download-by-proposal-id.py": Command(
        ("download", "--grism"),
        {
            **_FILES,
            "product-type": _value("--product-type"),
            "dataset": _value("--dataset"),
            "guide-star": _flag("--guide-star"),
            "no-guide-star": _flag("--no-guide-star"),
        },
    ),
    "go-jwst-query-by-program-id.py": Command(
        ("query", "--files", "--grism"),
        {
            **_FILES,
            **{name: _value("--obs") for name in ("obs-num", "obsnum", "obs")},
            "image-type": _value("--instrument"),
            "guide-star-data": _flag("--guide-star"),
            "no-guide-star-data": _flag("--no-guide-star"),
            "with-grism": _flag("--grism"),
            **{
                name: _flag(f"--{name}")
                for name in ("no-grism", "only-grism", "preview", "auxiliary")
            },
            "login-token": _TOKEN,
        },
    ),
    "go-jwst-query-by-dataset-name.py": Command(
        ("query", "--files"),
        {name: _FILES[name] for name in ("help", "download", "download-dir")},
    ),
    "go-jwst-imaging-precache-crds-reference-files": Command(
        ("references",), {"help": _flag("--help")}
    ),
    "go-jwst-imaging-stage-0": Command(
        ("stage0",),
        {
            **_WORK,
            "crds-context": _value("--context"),
            "precache": _flag("--references"),
            "skip-precache": _flag("--no-references"),
            "hard-copy": _flag("--copy"),
            "hardcopy": _flag("--copy"),
            "only-miri": _flag("--instrument", "miri"),
            "no-miri": _flag("--instrument", "nircam", "--instrument", "niriss"),
            "check-filter": _value("--filter", many=True),
            "check-filters": _value("--filter", many=True),
            "dry-run": _flag("--dry-run"),
        },
    ),
    "go-jwst-imaging-precopy-uncal-files": Command(
        ("prepare",),
        {
            **_WORK,
            "usage": _flag("--help"),
            "hard-copy": _flag("--copy"),
            "hardcopy": _flag("--copy"),
            "check-grism": _NO_GRISM,
            "no-miri": _flag("--instrument", "NIRCAM", "--instrument", "NIRISS"),
            "only-miri": _flag("--instrument", "MIRI"),
            "check-filter": _value("--filter", many=True),
            "check-filters": _value("--filter", many=True),
            "dry-run": _flag("--dry-run"),
        },
    ),
    "go-jwst-imaging-presort-visits.py": Command(
        ("prepare",),
        {
            "help": _flag("--help"),
            "ncpu": _no("headers are read fast here", value=True),
        },
        positional=("-C", "{}"),
    ),
    "go-jwst-imaging-stage-1": Command(
        ("stage1",),
        {
            **_WORK,
            "maximum-cores": _value("--maximum-cores"),
            "use-ellipses": _no("jwst has dropped it; it has no effect"),
            "destripe-tilted-angles": _flag("--set", "stripes.angles=[30, -30]"),
            "grism": _NO_GRISM,
            "overwrite": _flag("--redo"),
        },
    ),
    "go-jwst-imaging-stage-2": Command(
        ("stage2",),
        {
            **_WORK,
            "user-flat-dir": _no("flats come from CRDS", value=True),
            "no-bkgsub": _flag("--set", "sky.enabled=false"),
            "no-sextractor": _flag(),  # no SExtractor is run here
            "detect-thresh": _no("set alignment.snr_threshold in stage 3", value=True),
        },
    ),
    "go-jwst-imaging-stage-3": Command(
        ("stage3", "--legacy-links"),
        {
            **_WORK,
            **_MOSAIC,
            "output-dir": _value("--output-dir"),
            "no-reprocess-miri": _flag(),  # nothing is reprocessed unless asked
            "reprocess-miri": _no("the MIRI background loop is not there yet"),
            "reprocess-nircam": _no("it never worked for NIRCam"),
            "date-diff": _no("the MIRI background loop is not there yet", value=True),
            "detect-thresh": _setting("alignment.snr_threshold"),
        },
    ),
    "go-jwst-imaging-stage-3-step-1.py": Command(
        ("stage3", "--legacy-links"),
        {
            "help": _flag("--help"),
            **_MOSAIC,
            "program": _value("--program", many=True),
            "obsnum": _value("--obs", many=True),
            "visitnum": _value("--visit", many=True),
            "instrument": _value("--instrument", many=True),
            "north-up": _flag("--north-up"),
        },
        last="--output-dir",
    ),
}


def translate(name: str, arguments: Sequence[str]) -> list[str]:
    """
    Say in our words what an old command line means.

    Parameters
    ----------
    name : str
        Of the old command.
    arguments : sequence of str

    Returns
    -------
    arguments : list of str
        For ``webbmosaic``.

    Raises
    ------
    click.UsageError
        If the command or an option is unknown, or refused.
    """
    if name not in COMMANDS:
        msg = f"{name} is not one of {', '.join(COMMANDS)}"
        raise click.UsageError(msg)
    command = COMMANDS[name]
    options, inputs = _split(command, list(arguments), name)
    if command.last and inputs:
        options += [command.last, inputs.pop()]
    places = [part.format(text) for text in inputs for part in command.positional]
    return [*command.to, *options, *places]


def _split(
    command: Command, arguments: list[str], name: str
) -> tuple[list[str], list[str]]:
    """Sort the arguments into options, translated, and inputs."""
    options: list[str] = []
    inputs: list[str] = []
    while arguments:
        text = arguments.pop(0)
        if not text.startswith("-") or text == "-":
            inputs += sorted(glob.glob(text)) or [text]  # noqa: PTH207 - may be absolute
            continue
        written, equals, value = text.lstrip("-").partition("=")
        option = _found(command, written.lower().replace("_", "-"), text, name)
        if option.value and not equals:
            if not arguments:
                msg = f"{name}: {text} needs a value"
                raise click.UsageError(msg)
            value = arguments.pop(0)
        if option.refused:
            msg = f"{name}: {text} is not supported: {option.refused}"
            raise click.UsageError(msg)
        options += _said(option, value)
    return options, inputs


def _found(command: Command, key: str, text: str, name: str) -> Option:
    if key in command.options:
        return command.options[key]
    near = difflib.get_close_matches(key, command.options, n=1)
    hint = f" Did you mean --{near[0]}?" if near else ""
    msg = f"{name}: there is no option {text}.{hint}"
    raise click.UsageError(msg)


def _said(option: Option, value: str) -> Iterator[str]:
    values = value.split(",") if option.many else [value]
    for one in values:
        yield from (part.format(one.strip()) for part in option.to)


def main() -> None:
    """Run the old command under whose name this program was started."""
    name = Path(sys.argv[0]).name
    try:
        arguments = translate(name, sys.argv[1:])
    except click.UsageError as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        sys.exit(2)
    click.echo(f"(this is: webbmosaic {shlex.join(arguments)})", err=True)
    root.main(arguments)
