"""Options of the cleaning steps, shared by ``stage1``, ``run`` and ``step``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from webbmosaic.cli.options import Overrides, all_of, meant
from webbmosaic.errors import UsageError

__all__ = ["cleaning_options", "cleaning_overrides"]

_PATH = click.Path(exists=True, path_type=Path)

_OPTIONS = (
    click.option(
        "--angles",
        multiple=True,
        metavar="DEG,...",
        help="Angles of tilted stripes, such as 30,-30; none for no tilted stripes.",
    ),
    click.option("--find-angles", is_flag=True, help="Find these angles in the data."),
    click.option(
        "--mask",
        type=_PATH,
        metavar="FITS",
        help="Sources (non-zero) that the stripes are not measured on.",
    ),
    click.option(
        "--stripe-diagnostics",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="Write the pattern of each family of stripes and the mask there.",
    ),
    click.option(
        "--template-dir", type=_PATH, metavar="FOLDER", help="Folder of wisp templates."
    ),
    click.option(
        "--template-file", type=_PATH, metavar="FITS", help="The wisp template to use."
    ),
    click.option(
        "--mask-dir",
        type=_PATH,
        metavar="FOLDER",
        help="Folder of region files and mask images.  [default: FOLDER/masks]",
    ),
)
_KEYS = {
    "mask": ("stripes", "mask"),
    "stripe_diagnostics": ("stripes", "save_diagnostics"),
    "template_dir": ("wisps", "template_dir"),
    "template_file": ("wisps", "template_file"),
    "mask_dir": ("masks", "mask_dir"),
}


#: Adds the options of the cleaning steps to a command.
cleaning_options = all_of(*_OPTIONS)


def cleaning_overrides(given: dict[str, Any]) -> Overrides:
    """
    Say what these options mean as settings.

    Parameters
    ----------
    given : dict
        Option -> value, as click hands them over.

    Returns
    -------
    overrides : dict
        ``{section: {key: value}}``.
    """
    overrides = meant(given, _KEYS)
    if given.get("angles"):
        overrides.setdefault("stripes", {})["angles"] = _angles(
            ",".join(given["angles"])
        )
    if given.get("find_angles"):
        overrides.setdefault("stripes", {})["find_angles"] = True
    return overrides


def _angles(text: str) -> list[float]:
    if text.strip().lower() == "none":
        return []
    try:
        angles = [float(part) for part in text.split(",")]
    except ValueError:
        angles = [math.nan]
    if not all(math.isfinite(angle) for angle in angles):
        msg = f"--angles {text}: write numbers with commas, such as 30,-30, or none"
        raise UsageError(msg)
    return angles
