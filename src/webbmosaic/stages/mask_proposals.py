"""Masks proposed for people to look at: fixed light, and leftover snowballs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from webbmosaic.datasets import Dataset, Workspace, effective_filter
from webbmosaic.errors import UsageError
from webbmosaic.files.headers import read_header
from webbmosaic.files.masks import (
    PROPOSED,
    copy_mask,
    needs_wcs,
    read_regions,
    transferred,
    write_proposal,
)
from webbmosaic.files.models import open_image
from webbmosaic.files.timeline import sky_shifts
from webbmosaic.science.fixed_light import find_fixed_residuals
from webbmosaic.science.masks import outlines
from webbmosaic.settings import Masks, Settings
from webbmosaic.stages.artefacts import snowball_areas
from webbmosaic.stages.quality import usable_pixels

__all__ = ["Proposal", "propose", "propose_snowballs", "transfer"]

#: Fewer dithered exposures do not tell what is fixed, and closer ones count as one.
_FEWEST, _CLOSE = 3, 16.0  # pixels

#: Dithers that differ by less are the same, in pixels: small beside a claw.
_SAME = 4.0


@dataclass(frozen=True)
class Proposal:
    """
    What was looked at and what came of it.

    Attributes
    ----------
    name : str
        The visit, detector and filter, or the dataset.
    areas : int
        How many regions are proposed.
    pixels : int
        In them.
    path : `~pathlib.Path` or None
        The region file; `None` where there is none.
    note : str
        Why nothing was looked at, if so.
    """

    name: str
    areas: int = 0
    pixels: int = 0
    path: Path | None = None
    note: str = ""


def propose(
    workspace: Workspace, settings: Settings, *, visits: Sequence[str] = ()
) -> Iterator[Proposal]:
    """
    Look for light that stays on the detector over the dithers of each visit.

    Parameters
    ----------
    workspace : Workspace
        With rate files of stage 1.
    settings : Settings
    visits : sequence of str, optional
        Only these, such as ``jw01837003001``.

    Yields
    ------
    proposal : Proposal
        One for each visit, detector and filter.
    """
    folder = Path(settings.masks.mask_dir or workspace.masks) / PROPOSED
    groups = _groups(workspace, visits)
    if not groups:
        msg = (
            f"{workspace.root}: no rate file of the visits asked for; run stage1 first"
        )
        raise UsageError(msg)
    for name, rates in groups.items():
        places = _places(rates)
        if len(places) < _FEWEST:
            note = f"{len(places)} dithers of {_CLOSE:.0f} pixels or more; it takes"
            yield Proposal(name, note=f"{note} {_FEWEST}")
            continue
        yield _look(name, places, folder, settings.masks)


@dataclass(frozen=True)
class _Place:
    """Exposures that look at the same sky, and how far it is from that of the first."""

    shift: tuple[float, float]
    rates: list[Path]

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the mean of the exposures, and where there is one."""
        models = [open_image(path) for path in self.rates]
        usable = [usable_pixels(model) for model in models]
        count = np.sum(usable, axis=0, dtype=np.float32)
        planes = (np.where(u, m.data, 0) for u, m in zip(usable, models, strict=True))
        total = sum(planes, np.zeros_like(count)) / np.maximum(count, 1)
        return np.asarray(total, np.float32), np.asarray(count > 0)


def _places(rates: list[Path]) -> list[_Place]:
    places: list[_Place] = []
    for shift, path in zip(_shifts(rates), rates, strict=True):
        near = (p for p in places if math.dist(p.shift, shift) < _CLOSE)
        if (place := next(near, None)) is None:
            places.append(_Place(shift, [path]))
        else:
            place.rates.append(path)
    return places


def _groups(workspace: Workspace, visits: Sequence[str]) -> dict[str, list[Path]]:
    groups = defaultdict(list)
    for dataset in workspace.datasets():
        rate = workspace.rate(dataset)
        if rate.is_file() and (not visits or dataset.visit_id in visits):
            groups[_group_name(dataset, rate)].append(rate)
    return dict(groups)


def _group_name(dataset: Dataset, rate: Path) -> str:
    header = read_header(rate)
    name = effective_filter(str(header.get("FILTER")), str(header.get("PUPIL")))
    frame = str(header.get("SUBARRAY", "FULL"))
    part = "" if frame == "FULL" else f"_{frame}"
    return f"{dataset.visit_id}_{dataset.detector}_{name}{part}"


def _look(name: str, places: list[_Place], folder: Path, wanted: Masks) -> Proposal:
    found = find_fixed_residuals(
        lambda number: places[number].read(),
        [place.shift for place in places],
        threshold=wanted.threshold,
        min_area=wanted.min_area,
    )
    polygons, path = outlines(found.mask), folder / f"{name}.reg"
    count = sum(len(place.rates) for place in places)
    level = float(np.median(found.level[found.mask])) if polygons else 0.0
    comments = [
        f"proposed by webbmosaic from {count} exposures of {name}",
        f"median level {level:.4g} DN/s above the sky",
    ]
    return _proposal(path, polygons, int(found.mask.sum()), comments)


def _proposal(
    path: Path, polygons: list[np.ndarray], pixels: int, comments: list[str]
) -> Proposal:
    name = path.name.removesuffix(".reg")
    if not write_proposal(path, polygons, comments):
        note = f"{path} was changed by hand and stays; remove it to propose anew"
        return Proposal(name, note=note)
    return Proposal(name, len(polygons), pixels, path if polygons else None)


def propose_snowballs(
    workspace: Workspace, settings: Settings, *, visits: Sequence[str] = ()
) -> Iterator[Proposal]:
    """
    Look for large round jump events in each exposure.

    Parameters
    ----------
    workspace : Workspace
    settings : Settings
    visits : sequence of str, optional
        Only these.

    Yields
    ------
    proposal : Proposal
        One for each exposure with such an event.
    """
    folder = Path(settings.masks.mask_dir or workspace.masks) / PROPOSED
    for dataset in workspace.datasets():
        rate = workspace.rate(dataset)
        if not rate.is_file() or (visits and dataset.visit_id not in visits):
            continue
        circles = snowball_areas(open_image(rate), settings)
        path = folder / f"{dataset}_snowballs.reg"
        comments = [f"large round jump events of {dataset}"]
        pixels = int(sum(np.pi * radius**2 for _, _, radius in circles))
        found = _proposal(path, [_circle(*c) for c in circles], pixels, comments)
        if found.path or found.note:
            yield found


def _circle(y: float, x: float, radius: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def transfer(
    workspace: Workspace, folder: Path, source: str, target: str
) -> list[tuple[Path, Path]]:
    """
    Copy the masks of one visit to another with the same dithers.

    Parameters
    ----------
    workspace : Workspace
        With exposures of both visits, whose dithers are compared.
    folder : `~pathlib.Path`
        Of the masks.
    source, target : str
        Visits, such as ``jw01837003001``.

    Returns
    -------
    copies : list of (from, to)

    Raises
    ------
    UsageError
        If there is nothing to copy, a mask is on the sky, the dithers differ, or a
        mask of that name is there.
    """
    copies = transferred(folder, source, target)
    if not copies:
        msg = f"{folder}: no mask of visit {source}"
        raise UsageError(msg)
    _check_dithers(workspace, source, target)
    for path, copy in copies.items():
        _check_copy(path, copy)
    for path, copy in copies.items():
        copy_mask(path, copy)
    return list(copies.items())


def _check_dithers(workspace: Workspace, source: str, target: str) -> None:
    """Compare what both visits have: detectors, and where they looked."""
    one, two = (_exposures(workspace, visit) for visit in (source, target))
    common = sorted({*one} & {*two})
    if not common:
        missing = source if not one else target
        msg = (
            f"{workspace.root}: the dithers of {source} and {target} cannot be"
            f" compared: no exposure of {missing} with the detectors of the other"
        )
        raise UsageError(msg)
    for detector in common:
        mine, others = one[detector], two[detector]
        if {*mine} != {*others}:
            odd = ", ".join(sorted({*mine} ^ {*others})[:4])
            msg = f"{source} and {target} do not have the same exposures: {odd}"
            raise UsageError(msg)
        moved = (_shifts([visit[k] for k in sorted(visit)]) for visit in (mine, others))
        apart = [math.dist(a, b) for a, b in zip(*moved, strict=True)]
        if max(apart) > _SAME:
            msg = (
                f"{source} and {target} do not have the same dithers: {detector} looks"
                f" up to {max(apart):.0f} pixels beside"
            )
            raise UsageError(msg)


def _exposures(workspace: Workspace, visit: str) -> dict[str, dict[str, Path]]:
    """Detector -> activity and exposure -> a file of it."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for dataset in workspace.datasets():
        files = workspace.rate(dataset), workspace.uncal(dataset)
        path = next((p for p in files if p.is_file()), None)
        if dataset.visit_id == visit and path is not None:
            name = str(dataset).removeprefix(f"{visit}_")
            found[dataset.detector][name] = path
    return found


def _shifts(files: list[Path]) -> list[tuple[float, float]]:
    return sky_shifts([read_header(p) for p in files], [p.name for p in files])


def _check_copy(path: Path, copy: Path) -> None:
    if copy.exists():
        msg = f"{copy}: is there already"
        raise UsageError(msg)
    if path.suffix == ".reg" and needs_wcs(read_regions(path)):
        msg = f"{path}: is on the sky, and the other visit looks elsewhere"
        raise UsageError(msg)
