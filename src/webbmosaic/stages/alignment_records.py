"""What alignment did, in numbers with errors: per exposure, and per island."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from webbmosaic.science.astrometry import Image, Linked, Solution
from webbmosaic.stages.sightings import Sighting
from webbmosaic.stages.tangent_plane import SkyPosition

__all__ = ["Outcome", "island_facts", "outcomes_of"]

_GRID = 7  # points along each side of an image, to see how much of it others cover
_OVERLAP = 0.05  # of an image; less overlap than this is none


@dataclass(frozen=True)
class Outcome:
    """
    What alignment did to one image; detectors read together move as one.

    Attributes
    ----------
    exposure : str
        Its file.
    aligned_to : str
        ``catalogue``, ``exposures``, ``visit`` (the telescope's own pointing within
        the visit is kept) or ``nothing``.
    sources, matches, matches_together, matches_catalogue : int
        Found; seen by another exposure, too, here and by all detectors that were read
        together; and of the catalogue.
    island : int
        Exposures of the same number are tied to each other.
    residual_mas, residual_error_mas : float or None
        Rms for each axis against the mean of all exposures.
    shift_mas : tuple of float
        East and north.
    shift_error_mas, rotation_deg, rotation_error_deg : float
    missed : int
        Sources that it shares with exposures that it does not agree with.
    overlaps : bool
        Whether it overlaps more exposures, of other visits, that it is not tied to.
    """

    exposure: str
    aligned_to: str
    sources: int
    matches: int
    matches_together: int
    matches_catalogue: int
    island: int
    residual_mas: float | None
    residual_error_mas: float | None
    shift_mas: tuple[float, float]
    shift_error_mas: float
    rotation_deg: float
    rotation_error_deg: float
    missed: int = 0
    overlaps: bool = False

    def facts(self) -> dict[str, Any]:
        """Give what is recorded, as plain types."""
        status = "SKIPPED" if self.aligned_to == "nothing" else "COMPLETE"
        hidden = ("missed", "overlaps")
        kept = {k: v for k, v in vars(self).items() if k not in hidden}
        return {"status": status, **kept}


def outcomes_of(
    sightings: list[Sighting],
    images: list[Image],
    linked: Linked,
    solution: Solution,
    centre: SkyPosition,
) -> list[Outcome]:
    """
    Say what alignment did to each exposure of a field.

    Parameters
    ----------
    sightings : list of Sighting
    images : list of Image
    linked : Linked
    solution : Solution
    centre : tuple of float
        Of the tangent plane; not needed here.

    Returns
    -------
    outcomes : list of Outcome
    """
    del centre
    n = len(images)
    relative, with_catalogue = _kinds(images, solution)
    image = solution.tracks.image
    good = solution.good
    matches = np.bincount(image[relative & good], minlength=n + 1)
    known = np.bincount(image[with_catalogue & good], minlength=n + 1)
    together: dict[tuple[str, str], int] = {}
    for i, im in enumerate(images):
        key = (im.visit, im.exposure)
        together[key] = together.get(key, 0) + int(matches[i])
    outcomes = []
    for i, (sighting, im) in enumerate(zip(sightings, images, strict=True)):
        before, after = im.corners, solution.moved(i, im.corners)
        step = (after - before).mean(axis=0)
        own = solution.residuals[relative & good & (image == i)]
        rms = math.sqrt(float((own**2).mean())) if len(own) else None
        outcomes.append(
            Outcome(
                exposure=sighting.name,
                aligned_to=_aligned_to(i, images, linked),
                sources=len(im.positions),
                matches=int(matches[i]),
                matches_together=together[im.visit, im.exposure],
                matches_catalogue=int(known[i]),
                island=linked.island[i],
                residual_mas=_mas(rms),
                residual_error_mas=_mas(rms and rms / math.sqrt(2 * len(own))),
                shift_mas=(round(1000 * float(step[0]), 3),
                           round(1000 * float(step[1]), 3)),
                shift_error_mas=round(1000 * float(solution.shift_errors[i]), 3),
                rotation_deg=round(_turned(before, after), 6),
                rotation_error_deg=round(
                    math.degrees(float(solution.rotation_errors[i])), 6
                ),
                missed=linked.missed.get(im.visit, 0),
                overlaps=_overlaps(i, images, linked),
            )
        )  # fmt: skip
    return outcomes


def _mas(arcsec: float | None) -> float | None:
    return None if arcsec is None else round(1000 * arcsec, 3)


def _kinds(images: list[Image], solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Tell which measurements another exposure has, too, and which the catalogue."""
    n = len(images)
    _, unit = np.unique(
        [f"{i.visit} {i.exposure}" for i in images], return_inverse=True
    )
    image, source = solution.tracks.image, solution.tracks.source
    ours = image < n
    pairs = np.unique(np.column_stack([source[ours], unit[image[ours]]]), axis=0)
    count = int(source.max(initial=-1)) + 1
    exposures = np.bincount(pairs[:, 0], minlength=count)
    in_catalogue = np.bincount(source[~ours], minlength=count)
    return ours & (exposures[source] > 1), ours & (in_catalogue[source] > 0)


def _aligned_to(index: int, images: list[Image], linked: Linked) -> str:
    on_catalogue = linked.island[index] in linked.catalogue
    if linked.tied[index]:
        return "catalogue" if on_catalogue else "exposures"
    visit = images[index].visit
    mates = [k for k, i in enumerate(images) if i.visit == visit]
    exposures = {images[k].exposure for k in mates}
    return "visit" if len(exposures) > 1 else "nothing"


def _turned(before: np.ndarray, after: np.ndarray) -> float:
    """Give the rotation from east towards north, in degrees."""
    p, q = before - before.mean(axis=0), after - after.mean(axis=0)
    turned = math.atan2(
        float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()), float((p * q).sum())
    )
    return math.degrees(turned)


def _overlaps(index: int, images: list[Image], linked: Linked) -> bool:
    """Tell whether an image lies on a larger island that it should agree with."""
    island = linked.island[index]
    size = Counter(linked.island)
    larger = {k for k in size if (-size[k], k) < (-size[island], island)}
    me = images[index]
    steps = np.linspace(0, 1, _GRID)
    along, up = me.corners[1] - me.corners[0], me.corners[3] - me.corners[0]
    points = np.array(
        [me.corners[0] + a * along + b * up for a in steps for b in steps]
    )
    return any(
        float(other.holds(points).mean()) > _OVERLAP
        for k, other in enumerate(images)
        if linked.island[k] in larger
        and not (island in linked.catalogue and linked.island[k] in linked.catalogue)
        and me.near(other, 0)
    )


def island_facts(
    sightings: list[Sighting],
    images: list[Image],
    linked: Linked,
    solution: Solution,
    centre: SkyPosition,
) -> list[dict[str, Any]]:
    """
    Say how the exposures that are tied to each other agree, and with the catalogue.

    Parameters
    ----------
    sightings : list of Sighting
    images : list of Image
    linked : Linked
    solution : Solution
    centre : tuple of float
        Of the tangent plane.

    Returns
    -------
    facts : list of dict
        Of each island: its exposures, ``rms_mas`` between them, and the offset and rms
        against the catalogue, each with its error; None where nothing was matched.
    """
    relative, _ = _kinds(images, solution)
    number = np.array([*linked.island, -1])[solution.tracks.image]
    facts = []
    for island in sorted(set(linked.island)):
        members = [i for i, n in enumerate(linked.island) if n == island]
        own = solution.residuals[relative & solution.good & (number == island)]
        rms = math.sqrt(float((own**2).mean())) if len(own) else None
        guess = linked.catalogue.get(island) or linked.nearest.get(island)
        facts.append(
            {
                "exposures": [sightings[i].name for i in members],
                "position": [round(v, 6) for v in centre],
                "matches": len(own),
                "rms_mas": _mas(rms),
                "rms_error_mas": _mas(rms and rms / math.sqrt(2 * len(own))),
                "on_catalogue": island in linked.catalogue,
                "best_offset_arcsec": (
                    round(math.hypot(*guess.move.shift), 3) if guess else None
                ),
                "best_matches": guess.matches if guess else 0,
                "chance": guess.chance if guess else None,
                **_against_catalogue(images, linked, solution, island),
            }
        )
    return facts


def _against_catalogue(
    images: list[Image], linked: Linked, solution: Solution, island: int
) -> dict[str, Any]:
    """Compare the mean positions of sources with the catalogue's, after all."""
    tracks, n = solution.tracks, len(images)
    ours = (tracks.image < n) & solution.good
    ours &= np.array([*linked.island, -1])[tracks.image] == island
    count = int(tracks.source.max(initial=-1)) + 1
    weight = np.where(ours, solution.sigmas**-2.0, 0)
    total = np.bincount(tracks.source, weight, minlength=count)
    rows = np.flatnonzero((tracks.image == n) & solution.good)
    rows = rows[total[tracks.source[rows]] > 0]
    nothing = {
        "catalogue_matches": len(rows),
        "offset_mas": None,
        "offset_error_mas": None,
        "catalogue_rms_mas": None,
        "catalogue_rms_error_mas": None,
    }
    if len(rows) == 0 or island not in linked.catalogue:
        return nothing | {"catalogue_matches": 0}
    source = tracks.source[rows]
    sums = [
        np.bincount(
            tracks.source, weight * solution.residuals[:, axis], minlength=count
        )
        for axis in (0, 1)
    ]
    means = np.column_stack(sums)[source] / total[source][:, None]
    apart = 1000 * (means - solution.residuals[rows])
    # The weights that the fit gave.
    shares = solution.sigmas[rows] ** -2.0
    offset = np.average(apart, axis=0, weights=shares)
    square = float(((apart - offset) ** 2).mean()) * len(rows) / max(len(rows) - 1, 1)
    rms = math.sqrt(square)
    return {
        "catalogue_matches": len(rows),
        "offset_mas": [round(float(v), 3) for v in offset],
        "offset_error_mas": round(rms / math.sqrt(len(rows)), 3),
        "catalogue_rms_mas": round(rms, 3),
        "catalogue_rms_error_mas": round(rms / math.sqrt(2 * len(rows)), 3),
    }
