"""Which exposures a simulated programme has, when, and where the telescope pointed.

The programme looks like one of MAST's: observation 001 is NIRCam, both channels at
once, observation 002 MIRI. Each visit has a guide star of its own, hence its own error
of pointing; each dither settles a little beside its commanded place. The headers hold
what was commanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np

from webbmosaic.errors import UsageError
from webbmosaic.simulate.effects import Effects, Streams
from webbmosaic.simulate.filters import filter_facts, filters
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.instruments import detector_facts
from webbmosaic.simulate.pixels import Setup
from webbmosaic.simulate.pointing import Pointing
from webbmosaic.simulate.readout import readout
from webbmosaic.simulate.scene import Field

__all__ = ["Exposure", "Program", "exposures", "make_program", "sky_field"]

PROGRAM = "09901"
START = 60431.0  # MJD, 2024-05-01
TARGET = (53.16, -27.79)  # degrees: in the Chandra Deep Field South
ROLL = 75.0  # degrees, V3

#: Pointing accuracy without target acquisition: 0.1 arcsec (1 sigma, radial); small
#: offsets are good to 2 mas an axis, and the roll to a few arcsec (JDox, "JWST Pointing
#: Performance"; Rigby et al. 2023, PASP 135, 048001).
VISIT_ERROR = 0.1 / np.sqrt(2)  # arcsec an axis
JITTER = 0.002  # arcsec an axis
ROLL_ERROR = 5 / 3600  # degrees

OVERHEAD = 120.0  # s between exposures
VISIT_OVERHEAD = 1800.0  # s between visits

#: Dithers in units of the pattern's size, chosen so that four of them have four
#: different pixel phases. Further ones follow a spiral.
_DITHERS = ((-0.51, -0.43), (0.47, -0.55), (0.55, 0.49), (-0.44, 0.53))


@dataclass(frozen=True)
class Template:
    """
    How one instrument observes.

    Attributes
    ----------
    observation : str
        Its number, 3 digits.
    reference : str
        The detector whose reference point is pointed at the target.
    detectors : dict of str to str
        Detectors and their subarrays.
    pattern : str
        Read-out pattern.
    ngroups : int
    dither : float
        Size of the dither pattern, arcsec.
    """

    observation: str
    reference: str
    detectors: dict[str, str]
    pattern: str
    ngroups: int
    dither: float


_QUAD = ("NRCB1", "NRCB2", "NRCB3", "NRCB4")

#: Small frames: a quad of SUB160 about the middle of module B with its long-wavelength
#: partner, whose exposures of about 50 s measure stars of 22 mag to 1 %.
_TEMPLATES = {
    "small": {
        "NIRCAM": Template(
            "001",
            "NRCBLONG",
            dict.fromkeys((*_QUAD, "NRCBLONG"), "SUB160"),
            "DEEP8",
            9,
            0.45,
        ),
        "MIRI": Template(
            "002", "MIRIMAGE", {"MIRIMAGE": "BRIGHTSKY"}, "FASTR1", 40, 4.0
        ),
    },
    "full": {
        "NIRCAM": Template(
            "001",
            "NRCBLONG",
            dict.fromkeys(("NRCB3", "NRCB4", "NRCBLONG"), "FULL"),
            "SHALLOW4",
            9,
            6.0,
        ),
        "MIRI": Template("002", "MIRIMAGE", {"MIRIMAGE": "FULL"}, "FASTR1", 20, 6.0),
    },
}
DEFAULT_FILTERS = ("F200W", "F444W", "F770W")
HALF_SIZES = {"small": 40.0, "full": 95.0}


@dataclass(frozen=True)
class Program:
    """
    What to simulate.

    Attributes
    ----------
    frames : {'small', 'full'}
    filters : tuple of str
    detectors : tuple of str
        Empty for the usual ones of these frames.
    visits, dithers : int
        Visits per observation, dithers per visit.
    ngroups : int
        0 for what these frames usually have.
    seed : int
    effects : Effects
    """

    frames: str = "small"
    filters: tuple[str, ...] = DEFAULT_FILTERS
    detectors: tuple[str, ...] = ()
    visits: int = 2
    dithers: int = 2
    ngroups: int = 0
    seed: int = 1
    effects: Effects = field(default_factory=Effects)


@dataclass(frozen=True)
class Exposure:
    """
    One exposure of one detector.

    Attributes
    ----------
    name : str
        The dataset.
    setup : Setup
    commanded, actual : Pointing
        At the aperture's reference point.
    start : float
        Days, MJD.
    number, total : int
        Of the dithers of this visit.
    offset : tuple of float
        The dither along V2 and V3, arcsec.
    visit : str
        Programme, observation and visit.
    target : tuple of float
        What was to be observed, degrees.
    """

    name: str
    setup: Setup
    commanded: Pointing
    actual: Pointing
    start: float
    number: int
    total: int
    offset: tuple[float, float]
    visit: str
    target: tuple[float, float] = TARGET

    @property
    def since_start(self) -> float:
        """Seconds since the programme began."""
        return (self.start - START) * 86400


def make_program(
    *,
    frames: str = "small",
    filters: tuple[str, ...] = (),
    detectors: tuple[str, ...] = (),
    **options: int | Effects,
) -> Program:
    """
    Check what was asked for.

    Parameters
    ----------
    frames : {'small', 'full'}, optional
    filters, detectors : tuple of str, optional
        In any case; the usual ones if empty.
    **options
        The other fields of `Program`.

    Returns
    -------
    program : Program

    Raises
    ------
    UsageError
        If a filter or detector is unknown, or nothing would be observed.
    """
    program = replace(
        Program(frames=frames, detectors=tuple(d.upper() for d in detectors)),
        filters=tuple(f.upper() for f in filters) or DEFAULT_FILTERS,
        **options,  # type: ignore[arg-type]
    )
    if min(program.visits, program.dithers) < 1 or program.ngroups < 0:
        msg = "visits, dithers and groups must be positive"
        raise UsageError(msg)
    seen = {exposure.setup.filter.name for exposure in exposures(program)}
    for name in program.filters if filters else ():
        if name not in seen:
            msg = f"none of the detectors simulated has a filter '{name}'"
            raise UsageError(msg)
    return replace(program, filters=tuple(f for f in program.filters if f in seen))


def sky_field(program: Program) -> Field:
    """Lay out the sky that the programme looks at."""
    return Field(*TARGET, ROLL, half_size=HALF_SIZES[program.frames])


def exposures(program: Program) -> Iterator[Exposure]:
    """
    List the exposures of a programme in the order of time.

    Parameters
    ----------
    program : Program

    Yields
    ------
    exposure : Exposure
        Detectors that expose at the same time follow each other.

    Raises
    ------
    UsageError
        If a detector is not one that these frames have.
    """
    clock = START
    for template in _templates(program):
        for visit in range(1, program.visits + 1):
            clock += VISIT_OVERHEAD / 86400
            for found in _visit(program, template, visit=visit, clock=clock):
                yield found
                end = found.start + found.setup.readout.exposure_time / 86400
                clock = max(clock, end)


def _templates(program: Program) -> list[Template]:
    """Templates with the detectors asked for; those without any are left out."""
    templates = list(_TEMPLATES[program.frames].values())
    if not program.detectors:
        return templates
    sub = {"small": "SUB160", "full": "FULL"}[program.frames]
    found = []
    for detector in program.detectors:
        detector_facts(detector)
    for template in templates:
        miri = template.reference == "MIRIMAGE"
        chosen = {
            d: template.detectors.get(d, sub)
            for d in program.detectors
            if d != "NIS" and (d == "MIRIMAGE") == miri
        }
        if chosen:
            found.append(replace(template, detectors=chosen))
    if "NIS" in program.detectors or not found:
        msg = f"none of the programmes uses {', '.join(program.detectors)}"
        raise UsageError(msg)
    return found


def _passes(program: Program, template: Template) -> list[dict[str, str]]:
    """Filters of each detector, one dictionary per setting of the filter wheels.

    NIRCam's two channels observe at once: the first filter of one with the first of
    the other.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for detector in template.detectors:
        groups.setdefault(filters(detector), []).append(detector)
    columns = [
        [dict.fromkeys(members, f) for f in program.filters if f in known]
        for known, members in groups.items()
    ]
    return [
        {d: f for part in parts for d, f in part.items()}
        for parts in zip_longest(*columns, fillvalue={})
    ]


def _visit(
    program: Program, template: Template, *, visit: int, clock: float
) -> Iterator[Exposure]:
    visit_id = f"{PROGRAM}{template.observation}{visit:03d}"
    for activity, detectors in enumerate(_passes(program, template), start=1):
        for dither in range(1, program.dithers + 1):
            number = (visit - 1) * program.dithers + dither - 1
            stem = f"jw{visit_id}_021{activity:02d}_{dither:05d}"
            offset = _offset(template, number)
            pointings = _pointings(program, template, offset=offset, stem=stem)
            longest = 0.0
            for detector, name in sorted(detectors.items()):
                setup = _setup(program, template, detector=detector, name=name)
                at = setup.aperture.v2_ref, setup.aperture.v3_ref
                yield Exposure(
                    name=f"{stem}_{detector.lower()}",
                    setup=setup,
                    commanded=pointings[0].at(*at),
                    actual=pointings[1].at(*at),
                    start=clock,
                    number=dither,
                    total=program.dithers,
                    offset=offset,
                    visit=visit_id,
                )
                longest = max(longest, setup.readout.exposure_time)
            clock += (longest + OVERHEAD) / 86400


def _setup(program: Program, template: Template, *, detector: str, name: str) -> Setup:
    frame = aperture(detector, template.detectors[detector])
    return Setup(
        aperture=frame,
        detector=detector_facts(detector),
        readout=readout(frame, template.pattern, program.ngroups or template.ngroups),
        filter=filter_facts(detector, name),
    )


def _offset(template: Template, number: int) -> tuple[float, float]:
    """Where the target stands in this dither, arcsec from the reference point."""
    turn, index = divmod(number, len(_DITHERS))
    x, y = _DITHERS[index]
    grow, angle = 1 + 0.37 * turn, np.deg2rad(33.0 * turn)
    u = grow * (x * np.cos(angle) - y * np.sin(angle))
    v = grow * (x * np.sin(angle) + y * np.cos(angle))
    return template.dither * float(u), template.dither * float(v)


def _pointings(
    program: Program, template: Template, *, offset: tuple[float, float], stem: str
) -> tuple[Pointing, Pointing]:
    """Say what was commanded and what happened, at the target's place in the frame."""
    centre = aperture(
        template.reference,
        template.detectors.get(
            template.reference, next(iter(template.detectors.values()))
        ),
    )
    place = centre.v2_ref + offset[0], centre.v3_ref + offset[1]
    commanded = Pointing(*TARGET, ROLL, *place)
    visit = Streams(program.seed, stem.split("_")[0]).of("pointing_error")
    dither = Streams(program.seed, stem).of("jitter")
    error = visit.normal(0, VISIT_ERROR, 2) * program.effects.pointing_error
    roll = visit.normal(0, ROLL_ERROR) * program.effects.pointing_error
    error = error + dither.normal(0, JITTER, 2) * program.effects.jitter
    actual = replace(
        commanded,
        roll_ref=ROLL + float(roll),
        v2_ref=place[0] + float(error[0]),
        v3_ref=place[1] + float(error[1]),
    )
    return commanded, actual
