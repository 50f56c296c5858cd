"""The sky: a small cluster of stars in a field of galaxies, and its truth catalogue.

Stars are black bodies of 3000 to 6500 K; galaxies have power-law spectra and Sersic
profiles. Galaxy numbers follow the deep near-infrared counts, 40 000 per magnitude and
square degree at 24 mag (AB, 2 um) with a slope of 0.33, and sizes their decrease with
magnitude (Ashby et al. 2013, ApJ 769, 80; Windhorst et al. 2023, AJ 165, 13). Stars
sit apart from one another on purpose: they are there to be measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.pointing import Pointing

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Field", "flux_from_mag", "make_catalog"]

Floats = NDArray[np.float64]

AB_ZERO = 3631.0  # Jy
REFERENCE = 1.989  # um, F200W: the wavelength of the magnitudes drawn here
SIZE_LIMIT = (
    10.0  # half-light radii; a galaxy ends there and its flux is what is within
)


@dataclass(frozen=True)
class Field:
    """
    Where the scene lies and how deep it goes.

    Attributes
    ----------
    ra, dec : float
        Centre, degrees.
    roll : float
        Position angle of V3, degrees: the layout turns with the telescope.
    half_size : float
        Half the side of the square filled with objects, arcsec.
    core : float
        Radius of the cluster in the middle, arcsec.
    depth : float
        Faintest galaxies, AB magnitude at 2 um.
    """

    ra: float
    dec: float
    roll: float
    half_size: float
    core: float = 11.5
    depth: float = 27.0


@dataclass(frozen=True)
class _Source:
    """An object in the field's frame: x along V2, y along V3, arcsec."""

    x: float
    y: float
    mag: float
    spectrum: float  # temperature (K) of a star, power of the wavelength of a galaxy
    r_half: float = 0.0
    sersic_n: float = 0.0
    axis_ratio: float = 1.0
    pa: float = 0.0  # degrees from V3 towards V2

    @property
    def kind(self) -> str:
        return "galaxy" if self.r_half else "star"


#: Placed by hand: stars that saturate in the small frames (the first between the short
#: wavelength detectors), one big galaxy and one large and faint in the core, and a big
#: one and two faint ones in the outer field, which only the wider frames see.
_PLACED = (
    _Source(0.8, -1.2, 16.3, 4000.0),
    _Source(-4.1, 3.6, 17.0, 5500.0),
    _Source(4.0, -5.3, 17.3, 3500.0),
    _Source(-4.4, -4.8, 18.5, 0.3, 1.0, 1.5, 0.55, 35.0),
    _Source(4.6, 4.4, 21.3, 0.2, 2.0, 0.8, 0.8, 110.0),
    _Source(16.0, -13.0, 17.6, 0.3, 4.0, 1.8, 0.6, 150.0),
    _Source(-17.0, 14.0, 20.8, 0.1, 4.0, 0.8, 0.9, 60.0),
    _Source(5.0, 19.0, 21.0, 0.1, 3.0, 1.0, 0.7, 20.0),
)


def flux_from_mag(mag: Floats) -> Floats:
    """Turn AB magnitudes into janskys."""
    flux: Floats = AB_ZERO * 10 ** (-0.4 * mag)
    return flux


class _Occupied:
    """The places taken so far, each with the room it wants around it."""

    def __init__(self) -> None:
        self.places = np.zeros((64, 3))
        self.number = 0

    def take(self, x: float, y: float, room: float) -> None:
        if self.number == len(self.places):
            self.places = np.vstack([self.places, np.zeros_like(self.places)])
        self.places[self.number] = x, y, room
        self.number += 1

    def free(self, x: float, y: float, room: float) -> bool:
        a, b, other = self.places[: self.number].T
        return bool((np.hypot(a - x, b - y) >= np.maximum(other, room)).all())


def _scatter(
    rng: np.random.Generator,
    taken: _Occupied,
    mags: Floats,
    *,
    room: float,
    disk: float = 0.0,
    square: float = 0.0,
) -> Iterator[tuple[float, float, float]]:
    """Throw objects, each apart from the others, and skip those that find no room.

    Into a disk or a square, given by its radius or half its side.
    """
    for mag in mags:
        wanted = room * (2.0 if mag < 18.5 else 1.0)
        for _ in range(200):
            x, y = rng.uniform(-1, 1, 2) * (disk or square)
            inside = not disk or np.hypot(x, y) < disk
            if inside and taken.free(x, y, wanted):
                taken.take(x, y, wanted)
                yield float(x), float(y), float(mag)
                break


def _stars(field: Field, rng: np.random.Generator, taken: _Occupied) -> list[_Source]:
    """Stars to measure, in the cluster and around it, then faint ones anywhere."""
    side = field.half_size
    cluster = np.concatenate([np.linspace(19.2, 21.7, 126), np.linspace(22, 23, 8)])
    outer = np.linspace(17.2, 22.5, int(0.012 * (2 * side) ** 2))
    faint = rng.uniform(23, 26, int(0.01 * (2 * side) ** 2))
    places = [
        *_scatter(rng, taken, cluster, disk=field.core, room=0.9),
        *_scatter(rng, taken, outer, square=side, room=1.8),
        *_scatter(rng, taken, faint, square=side, room=0.9),
    ]
    temperatures = rng.uniform(3000, 6500, len(places))
    return [
        _Source(*place, float(t)) for place, t in zip(places, temperatures, strict=True)
    ]


def _bright_galaxies(
    field: Field, rng: np.random.Generator, taken: _Occupied
) -> list[_Source]:
    """Galaxies to measure, behind the cluster."""
    mags = np.linspace(20.3, 22.3, 16)
    places = _scatter(rng, taken, mags, disk=field.core, room=1.4)
    return [_galaxy(rng, place) for place in list(places)]


def _field_galaxies(
    field: Field, rng: np.random.Generator, taken: _Occupied
) -> list[_Source]:
    """Galaxies as the counts have them, where the stars leave room."""
    mags = _counts(field, rng)
    places = _scatter(rng, taken, mags, square=field.half_size, room=0.9)
    return [_galaxy(rng, place) for place in list(places)]


def _counts(field: Field, rng: np.random.Generator) -> Floats:
    """Draw the magnitudes of the field's galaxies, from 20.5 mag to its depth."""
    slope, bright_end = 0.33, 20.5
    powers = 10 ** (slope * np.array([bright_end, field.depth]))
    density = 10 ** (4.6 - slope * 24) / (slope * np.log(10)) * np.ptp(powers)
    number = rng.poisson(density * (2 * field.half_size / 3600) ** 2)
    mags: Floats = np.log10(rng.uniform(powers[0], powers[1], number)) / slope
    return mags


def _galaxy(rng: np.random.Generator, place: tuple[float, float, float]) -> _Source:
    """Draw the shape and colour of a galaxy."""
    x, y, mag = place
    size = 0.27 * 10 ** (-0.11 * (mag - 23)) * 10 ** rng.normal(0, 0.15)
    disk = rng.random() < 0.7
    return _Source(
        x,
        y,
        mag,
        float(np.clip(rng.normal(0.3, 0.3), -0.5, 1.0)),
        r_half=float(np.clip(size, 0.06, 1.5)),
        sersic_n=float(rng.uniform(0.8, 1.4) if disk else rng.uniform(1.8, 3.0)),
        axis_ratio=float(rng.uniform(0.35, 1.0)),
        pa=float(rng.uniform(0, 180)),
    )


def _colour(source: _Source, wavelength: float) -> float:
    """Magnitude at a wavelength (um) minus that at `REFERENCE`."""
    if source.kind == "galaxy":
        return float(-2.5 * source.spectrum * np.log10(wavelength / REFERENCE))
    scale = 14387.77 / source.spectrum  # hc/k in um K
    ratio = (REFERENCE / wavelength) ** 3 * (
        np.expm1(scale / REFERENCE) / np.expm1(scale / wavelength)
    )
    return float(-2.5 * np.log10(ratio))


def make_catalog(field: Field, wavelengths: Mapping[str, float], *, seed: int) -> Table:
    """
    Invent the sky of a programme.

    Parameters
    ----------
    field : Field
    wavelengths : mapping of str to float
        Filters and their pivot wavelengths, micrometres. The objects do not depend
        on them.
    seed : int

    Returns
    -------
    catalog : astropy.table.Table
        Columns ``id``, ``ra`` and ``dec`` (degrees, ICRS), ``kind`` (``star`` or
        ``galaxy``), ``r_half`` (semi-major axis that holds half of the light, arcsec),
        ``sersic_n``, ``axis_ratio``, ``pa`` (degrees east of north), and for each
        filter ``mag_F200W`` (AB) and ``flux_F200W`` (Jy). A galaxy's flux is what lies
        within 10 half-light radii, where it ends.
    """
    rng = Streams(seed, "scene").of("scene")
    taken = _Occupied()
    for source in _PLACED:
        if source.mag < 20:
            taken.take(source.x, source.y, max(2.2 * source.r_half, 1.8))
    sources = list(_PLACED)
    for part in (_bright_galaxies, _stars, _field_galaxies):
        sources += part(field, rng, taken)
    return _table(field, sources, wavelengths, seed=seed)


def _table(
    field: Field, sources: list[_Source], wavelengths: Mapping[str, float], *, seed: int
) -> Table:
    from astropy.table import Table

    pointing = Pointing(field.ra, field.dec, field.roll)
    ra, dec = pointing.to_sky([s.x for s in sources], [s.y for s in sources])
    extended = [s.kind == "galaxy" for s in sources]
    pa = np.where(extended, np.add([s.pa for s in sources], field.roll) % 180, 0.0)
    table = Table(
        {
            "id": np.arange(1, len(sources) + 1),
            "ra": ra,
            "dec": dec,
            "kind": [s.kind for s in sources],
            "r_half": [s.r_half for s in sources],
            "sersic_n": [s.sersic_n for s in sources],
            "axis_ratio": [s.axis_ratio for s in sources],
            "pa": pa,
        },
        units={"ra": "deg", "dec": "deg", "r_half": "arcsec", "pa": "deg"},
        meta={"seed": seed, "frame": "ICRS", "magnitudes": "AB, total"},
    )
    for name, wavelength in sorted(wavelengths.items()):
        mag = np.array([s.mag + _colour(s, wavelength) for s in sources])
        table[f"mag_{name}"] = mag
        table[f"mag_{name}"].unit = "mag(AB)"
        table[f"flux_{name}"] = flux_from_mag(mag)
        table[f"flux_{name}"].unit = "Jy"
    return table
