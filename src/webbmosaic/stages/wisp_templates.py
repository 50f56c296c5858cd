"""Wisp templates from the rate files of a work folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from webbmosaic import __version__
from webbmosaic.datasets import Workspace, effective_filter
from webbmosaic.errors import InputError
from webbmosaic.files.headers import read_header
from webbmosaic.files.wisp_templates import (
    WISP_DETECTORS,
    template_name,
    write_template,
)
from webbmosaic.science.wisp_templates import build_wisp_template

__all__ = ["Built", "build_templates"]


@dataclass(frozen=True)
class Built:
    """
    What came of one detector and filter.

    Attributes
    ----------
    detector, filter_name : str
    exposures : int
        With a wisp, of those looked at.
    path : `~pathlib.Path` or None
        The template; `None` where none could be made.
    note : str
        Why not.
    """

    detector: str
    filter_name: str
    exposures: int = 0
    path: Path | None = None
    note: str = ""


def build_templates(
    workspace: Workspace,
    folder: Path,
    *,
    detectors: Sequence[str] = (),
    filters: Sequence[str] = (),
    fewest: int = 5,
) -> Iterator[Built]:
    """
    Make templates of all detectors and filters of a work folder that have wisps.

    Parameters
    ----------
    workspace : Workspace
        With full-frame rate files that still have their wisps.
    folder : `~pathlib.Path`
        Where to write them.
    detectors, filters : sequence of str, optional
        Only these; any detector is taken that is named.
    fewest : int, optional
        Fewer exposures make no template.

    Yields
    ------
    built : Built
        One for each detector and filter.
    """
    wanted = [d.lower() for d in detectors] or list(WISP_DETECTORS)
    names = {f.upper() for f in filters}
    groups = _groups(workspace, wanted, names)
    for (detector, filter_name), rates in sorted(groups.items()):
        fresh = [path for path in rates if not _was_cleaned(path)]
        old = len(rates) - len(fresh)
        if len(fresh) < max(3, fewest):
            note = f"{len(fresh)} exposures; it takes {max(3, fewest)}"
            if old:
                note += (
                    f" ({old} have had their wisps removed; reduce them again with"
                    " --set wisps.enabled=false)"
                )
            yield Built(detector, filter_name, note=note)
            continue
        yield _build(detector, filter_name, fresh, folder)


def _groups(
    workspace: Workspace, detectors: list[str], filters: set[str]
) -> dict[tuple[str, str], list[Path]]:
    groups = defaultdict(list)
    for dataset in workspace.datasets():
        rate = workspace.rate(dataset)
        if dataset.detector not in detectors or not rate.is_file():
            continue
        header = read_header(rate)
        name = effective_filter(str(header.get("FILTER")), str(header.get("PUPIL")))
        full = header.get("SUBARRAY", "FULL") == "FULL"
        if full and (not filters or name in filters):
            groups[dataset.detector, name].append(rate)
    return groups


def _was_cleaned(rate: Path) -> bool:
    from astropy.io import fits

    with fits.open(rate) as hdus:
        history = "".join(str(line) for line in hdus[0].header.get("HISTORY", []))
    return "Removed wisps" in history


def _build(detector: str, filter_name: str, rates: list[Path], folder: Path) -> Built:
    try:
        made = build_wisp_template(lambda i: _read(rates[i]), len(rates))
    except ValueError as error:
        return Built(detector, filter_name, note=str(error))
    names = [path.name.removesuffix("_rate.fits") for path in rates]
    pairs = zip(names, made.amplitudes.tolist(), strict=True)
    used = [(name, factor) for name, factor in pairs if factor > 0]
    path = folder / template_name(detector, filter_name)
    header = {
        "INSTRUME": "NIRCAM",
        "DETECTOR": detector.upper(),
        "FILTER": filter_name,
        "NEXPOSED": (len(used), "exposures that the template is made from"),
        "CREATOR": f"webbmosaic {__version__}",
    }
    write_template(path, (made.template, made.weight), used, header)
    return Built(detector, filter_name, len(used), path)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            data = np.asarray(hdus["SCI"].data, np.float32)
            usable = (np.asarray(hdus["DQ"].data) & 1) == 0
    except (OSError, KeyError) as error:
        msg = f"{path}: cannot be read ({error})"
        raise InputError(msg) from error
    return data, usable
