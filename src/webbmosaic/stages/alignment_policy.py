"""What becomes of exposures that could not be aligned: fail, keep or drop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from webbmosaic.errors import AlignmentError
from webbmosaic.settings import Alignment
from webbmosaic.stages.alignment_records import Outcome

__all__ = ["judged"]


def judged(
    models: list[Any],
    outcomes: list[Outcome],
    islands: list[dict[str, Any]],
    wanted: Alignment,
    name: str,
) -> tuple[list[Any], list[str]]:
    """
    Judge each exposure, and do what the user chose with those that fail.

    Parameters
    ----------
    models : list
        The exposures.
    outcomes : list of Outcome
        What alignment did to each.
    islands : list of dict
        As `~webbmosaic.stages.alignment_records.island_facts` has them.
    wanted : Alignment
    name : str
        The group, for sentences.

    Returns
    -------
    models : list
        Those to go on with.
    notes : list of str

    Raises
    ------
    AlignmentError
        If one is misaligned and ``on_misaligned`` is ``fail``, or none is left.
    """
    facts = {exposure: i for i in islands for exposure in i["exposures"]}
    problems = {
        index: why
        for index, outcome in enumerate(outcomes)
        if (why := _problem(outcome, facts[outcome.exposure], wanted)) is not None
    }
    notes = _remarks(outcomes, problems, wanted)
    if not problems:
        return models, notes
    said = _sentences({outcomes[i].exposure: why for i, why in problems.items()})
    if wanted.on_misaligned == "fail":
        msg = f"{name}: {'; '.join(said)}. Or choose --on-misaligned keep or drop"
        raise AlignmentError(msg)
    if wanted.on_misaligned == "keep":
        return models, [*notes, *(f"kept although {text}" for text in said)]
    kept = [m for index, m in enumerate(models) if index not in problems]
    if not kept:
        msg = f"{name}: no exposure is left: {'; '.join(said)}"
        raise AlignmentError(msg)
    return kept, [*notes, *(f"dropped because {text}" for text in said)]


def _sentences(problems: dict[str, str]) -> list[str]:
    """Say each reason once, of all that it is true of."""
    by_reason: dict[str, list[str]] = {}
    for exposure, why in problems.items():
        by_reason.setdefault(why, []).append(exposure)
    said = []
    for why, exposures in by_reason.items():
        more = f" and {len(exposures) - 1} more" if len(exposures) > 1 else ""
        verb = "are" if more else "is"
        said.append(f"{exposures[0]}{more} {verb} not aligned: {why}")
    return said


def _problem(outcome: Outcome, island: dict[str, Any], wanted: Alignment) -> str | None:
    """Say which limit is exceeded, if one is."""
    if wanted.abs_refcat and not island["on_catalogue"]:
        return _missed_catalogue(island, wanted)
    if outcome.missed and outcome.overlaps:
        return (
            "its sources do not lie where the other exposures have them:"
            f" {outcome.missed} are where both overlap, and no offset within"
            f" {wanted.searchrad:g} arcsec makes {wanted.minobj} of them meet (set"
            " alignment.searchrad)"
        )
    if outcome.overlaps:
        return (
            "too few sources are where it overlaps the other exposures to tell how it"
            f" lies: {outcome.sources} found, {wanted.minobj} matches needed (set"
            " alignment.snr_threshold or alignment.minobj, or give --abs-refcat)"
        )
    shift = math.hypot(*outcome.shift_mas) / 1000
    if shift > wanted.max_shift:
        return (
            f"it moved by {shift:.2f} arcsec, alignment.max_shift is"
            f" {wanted.max_shift:g}"
        )
    if abs(outcome.rotation_deg) > wanted.max_rotation:
        return (
            f"it turned by {outcome.rotation_deg:.3f} degrees, alignment.max_rotation"
            f" is {wanted.max_rotation:g}"
        )
    residual = outcome.residual_mas
    if residual is not None and residual > wanted.max_residual:
        return (
            f"its sources scatter by {residual:.1f} mas, alignment.max_residual is"
            f" {wanted.max_residual:g}"
        )
    return None


def _missed_catalogue(island: dict[str, Any], wanted: Alignment) -> str:
    catalogue = Path(wanted.abs_refcat).name
    matches = island["best_matches"]
    if matches < wanted.abs_minobj:
        found = f"fewer than the {wanted.abs_minobj} matches needed were found"
    else:
        found = (
            f"the best offset, {island['best_offset_arcsec']} arcsec, has {matches}"
            f" matches, which unrelated sources would have {island['chance']:.1g} times"
            f" (alignment.max_chance is {wanted.max_chance:g})"
        )
    agree = (
        f" The exposures agree with each other to {island['rms_mas']:.1f} mas."
        if island["rms_mas"] is not None
        else ""
    )
    return (
        f"the catalogue {catalogue} was not met within {wanted.searchrad:g} arcsec:"
        f" {found}.{agree} Is it of this field? If so, set alignment.abs_minobj or"
        " alignment.searchrad"
    )


def _remarks(
    outcomes: list[Outcome], problems: dict[int, str], wanted: Alignment
) -> list[str]:
    """Say what is no failure, but should be known."""
    notes = []
    alone = [
        o
        for i, o in enumerate(outcomes)
        if i not in problems and o.aligned_to in ("visit", "nothing")
    ]
    if alone:
        notes.append(
            f"{len(alone)} of {len(outcomes)} exposures have too few sources to be"
            " aligned; the telescope's own pointing is kept"
        )
    few = [o for o in outcomes if o.matches_together < wanted.minobj]
    unmatched = [o for o in few if o.aligned_to == "catalogue" and o not in alone]
    if unmatched and len(outcomes) > 1:
        notes.append(
            f"{len(unmatched)} of {len(outcomes)} exposures share fewer than"
            f" {wanted.minobj} sources with others; they move with their visit"
        )
    islands = {o.island for o in outcomes}
    if len(islands) > 1:
        notes.append(
            f"{len(islands)} parts have no source in common; each is aligned by itself"
        )
    far = [o for o in outcomes if math.hypot(*o.shift_mas) > 1000]
    if far:
        notes.append(
            f"{len(far)} exposures were off by more than 1 arcsec, such as"
            f" {far[0].exposure} by {math.hypot(*far[0].shift_mas) / 1000:.2f}: a wrong"
            " guide star?"
        )
    return notes
