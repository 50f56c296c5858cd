"""How much memory and time a task will take, from sizes in headers and from experience.

The constants were measured on 2048 x 2048 frames and 160 x 160 subarrays of the
simulator (benchmarks/workers.py); what the ledger has seen corrects them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from webbmosaic.datasets import Dataset
from webbmosaic.run.exposures import Exposure
from webbmosaic.settings import Settings

__all__ = [
    "exposure_cost",
    "far_away",
    "machine_memory_mb",
    "mosaic_cost",
]

#: calwebb_detector1 and calwebb_image2: 2686 MB for 2048 x 2048 x 9 groups, 332 MB for
#: small frames, the packages included; 45 and 12 s.
_BASE_MB, _MB_PER_PIXEL_GROUP, _MB_PER_PIXEL = 350.0, 6.5e-5, 2.6e-4
_BASE_S, _S_PER_PIXEL_GROUP, _S_PER_PIXEL = 3.0, 1.1e-6, 2.2e-6
#: Stage 3: input planes of all exposures, and the planes of the output.
_MB_PER_INPUT, _MB_PER_OUTPUT, _S_PER_INPUT = 8e-5, 6e-5, 4e-6

#: Pixel scale in arcsec: NIRCam short and long, MIRI, NIRISS (JDox).
_SCALES = {"MIRI": 0.111, "NIRISS": 0.0656, "long": 0.063, "short": 0.031}

#: Exposures that are linked over less than this belong together, in degrees; a
#: NIRCam frame with both modules is 0.09 wide.
_LINK = 0.25


def exposure_cost(
    exposure: Exposure, settings: Settings
) -> dict[str, dict[str, float]]:
    """
    Predict what stages 1 and 2 of an exposure take.

    Parameters
    ----------
    exposure : Exposure
    settings : Settings
        Narrowed.

    Returns
    -------
    cost : dict
        Stage -> ``memory_mb``, ``seconds`` and ``cores``.
    """
    ramp = exposure.number("NGROUPS", 10) * exposure.number("NINTS", 1)
    pixels = exposure.pixels
    cores = _cores(settings.detector1.maximum_cores)
    return {
        "stage1": {
            "memory_mb": _BASE_MB + pixels * ramp * _MB_PER_PIXEL_GROUP,
            "seconds": _BASE_S + pixels * ramp * _S_PER_PIXEL_GROUP,
            "cores": cores,
        },
        "stage2": {
            "memory_mb": _BASE_MB + pixels * _MB_PER_PIXEL,
            "seconds": _BASE_S + pixels * _S_PER_PIXEL,
        },
    }


def _cores(wanted: str) -> int:
    share = {"quarter": 4, "half": 2, "all": 1}.get(wanted)
    return max(1, (os.cpu_count() or 1) // share) if share else 1


def mosaic_cost(members: Sequence[Exposure], settings: Settings) -> dict[str, float]:
    """
    Predict what a mosaic takes.

    Parameters
    ----------
    members : sequence of Exposure
    settings : Settings
        Narrowed to the group.

    Returns
    -------
    cost : dict
        ``memory_mb`` and ``seconds``.
    """
    pixels = sum(m.pixels for m in members)
    output = _output_pixels(members, settings)
    return {
        "memory_mb": _BASE_MB + pixels * _MB_PER_INPUT + output * _MB_PER_OUTPUT,
        "seconds": 2 * _BASE_S + pixels * _S_PER_INPUT,
    }


def _output_pixels(members: Sequence[Exposure], settings: Settings) -> float:
    """Pixels of the smallest frame along RA and Dec that holds all exposures."""
    places = [place for m in members if (place := _place(m)) is not None]
    if not places:
        return 0.0
    wanted = settings.resample
    native = _native_scale(members[0])
    scale = wanted.pixel_scale or wanted.pixel_scale_ratio * native
    side = max(math.sqrt(m.pixels) for m in members) * native
    ra0, dec0 = places[0]
    east = [_turn(ra - ra0) * math.cos(math.radians(dec0)) for ra, _ in places]
    north = [dec for _, dec in places]
    spans = (3600 * (max(axis) - min(axis)) + 1.42 * side for axis in (east, north))
    return math.prod(span / scale for span in spans)


def _turn(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


def _native_scale(exposure: Exposure) -> float:
    dataset = exposure.dataset
    kind = "long" if dataset.detector.endswith("long") else "short"
    return _SCALES.get(dataset.instrument, _SCALES[kind])


def _place(exposure: Exposure) -> tuple[float, float] | None:
    ra, dec = (exposure.number(k, math.nan) for k in ("RA_REF", "DEC_REF"))
    return (ra, dec) if math.isfinite(ra + dec) and abs(dec) <= 90 else None


def far_away(
    members: Sequence[Exposure], settings: Settings, limit_mb: float
) -> dict[Dataset, float]:
    """
    Find the exposures whose pointing would make a mosaic too large for this machine.

    Parameters
    ----------
    members : sequence of Exposure
        Of one group.
    settings : Settings
        Narrowed to the group.
    limit_mb : float
        The memory there is.

    Returns
    -------
    datasets : dict
        Those to leave out -> their distance from the others, in degrees. Empty where
        the mosaic is not too large, or no smaller part of it lies apart.
    """
    if mosaic_cost(members, settings)["memory_mb"] <= limit_mb:
        return {}
    islands = _islands([m for m in members if _place(m) is not None])
    main = max(islands, key=len, default=[])
    return {
        exposure.dataset: min(_distance(exposure, other) for other in main)
        for island in islands
        if island is not main
        for exposure in island
    }


def _islands(members: Iterable[Exposure]) -> list[list[Exposure]]:
    islands: list[list[Exposure]] = []
    for exposure in members:
        joined, apart = [exposure], []
        for island in islands:
            if any(_distance(exposure, other) < _LINK for other in island):
                joined += island
            else:
                apart.append(island)
        islands = [*apart, joined]
    return islands


def _distance(one: Exposure, two: Exposure) -> float:
    """Angle between two pointings, in degrees (haversine)."""
    (ra1, dec1), (ra2, dec2) = (_place(e) or (0.0, 0.0) for e in (one, two))
    a, b = math.radians(dec1), math.radians(dec2)
    across = math.sin(math.radians(ra1 - ra2) / 2) ** 2
    chord = math.sin((a - b) / 2) ** 2 + math.cos(a) * math.cos(b) * across
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(chord))))


def machine_memory_mb() -> float:
    """Memory that this process may use: the machine's, or its cgroup's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    limits = (
        Path("/sys/fs/cgroup/memory.max"),
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    )
    for limit in limits:
        text = limit.read_text().strip() if limit.exists() else "max"
        if text.isdigit():
            total = min(total, int(text) / 2**20)
    return total
