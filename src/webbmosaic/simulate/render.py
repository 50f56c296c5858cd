"""The scene on a detector, without noise: the flux that falls into each pixel.

A star's flux is shared out between pixels wherever on the distorted field it stands; of
an extended source a pixel gets its brightness times the sky area that the pixel sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from webbmosaic.simulate.filters import nominal_pixel_area
from webbmosaic.simulate.geometry import (
    ARCSEC,
    Aperture,
    pixel_to_v2v3,
    v2v3_to_pixel,
)
from webbmosaic.simulate.pixels import relative_area
from webbmosaic.simulate.psf import OVERSAMPLING, PSF
from webbmosaic.simulate.scene import SIZE_LIMIT

if TYPE_CHECKING:
    from astropy.table import Row, Table

    from webbmosaic.simulate.pointing import Pointing

__all__ = ["render"]

Floats = NDArray[np.float64]

FINE = 2  # galaxies are drawn on half pixels
CORE = 9  # sub-samples an axis where a profile is steep
MARGIN = 40  # pixels around the frame whose galaxies still shine into it


def render(
    catalog: Table, aperture: Aperture, pointing: Pointing, *, psf: PSF, filter_: str
) -> Floats:
    """
    Draw every object of a catalogue as a detector sees it.

    Parameters
    ----------
    catalog : astropy.table.Table
        As `webbmosaic.simulate.scene.make_catalog` makes it.
    aperture : Aperture
    pointing : Pointing
        Where the telescope truly points.
    psf : PSF
    filter_ : str
        Whose fluxes to draw.

    Returns
    -------
    flux : ndarray of float64, shape (ny, nx)
        MJy in each pixel.
    """
    v2, v3 = pointing.to_v2v3(catalog["ra"].value, catalog["dec"].value)
    x, y = v2v3_to_pixel(aperture, v2, v3)
    flux = np.asarray(catalog[f"flux_{filter_}"].value) * 1e-6
    reach = np.hypot(v2 - aperture.v2_ref, v3 - aperture.v3_ref) < _reach(aperture)
    stars = np.asarray(catalog["kind"] == "star")
    chosen = stars & reach
    sources = zip(x[chosen], y[chosen], flux[chosen], strict=True)
    image = _stars(aperture, sources, psf)
    canvas = _Canvas(aperture)
    for row in np.flatnonzero(~stars & reach):
        turned = float(catalog["pa"][row]) - pointing.at(v2[row], v3[row]).roll_ref
        canvas.draw(catalog[row], (v2[row], v3[row]), flux=flux[row], pa=turned)
    nominal = nominal_pixel_area(aperture.detector) * ARCSEC**2
    area = relative_area(aperture) * nominal
    total: Floats = image + canvas.seen_through(psf) * area
    return total


def _reach(aperture: Aperture) -> float:
    """Distance from the reference point beyond which nothing matters, arcsec."""
    # A reference point can lie in a corner, hence the whole diagonal.
    diagonal = np.hypot(aperture.nx, aperture.ny) + 2 * 128
    return float(diagonal * aperture.pixel_scale)


def _stars(
    aperture: Aperture, sources: Iterable[tuple[float, float, float]], psf: PSF
) -> Floats:
    """Add up stars given as x, y (pixels) and flux (MJy), in MJy."""
    image = np.zeros(aperture.shape)
    for x, y, flux in sources:
        reach = psf.radius + 1
        if -reach < x < aperture.nx + reach and -reach < y < aperture.ny + reach:
            stamp, x0, y0 = psf.stamp(x, y)
            here, there = _overlap(image.shape, stamp.shape, (y0, x0))
            image[here] += flux * stamp[there]
    return image


def _overlap(
    shape: tuple[int, ...], part: tuple[int, ...], corner: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a part with its corner at (row, column) meets a frame: slices of both."""
    here, there = [], []
    for size, length, start in zip(shape, part, corner, strict=True):
        low, high = max(start, 0), max(min(start + length, size), max(start, 0))
        here.append(slice(low, high))
        there.append(slice(low - start, high - start))
    return (here[0], here[1]), (there[0], there[1])


class _Canvas:
    """Galaxies on half pixels, before the telescope blurs them."""

    def __init__(self, aperture: Aperture) -> None:
        self.aperture = aperture
        shape = tuple(FINE * (n + 2 * MARGIN) for n in aperture.shape)
        self.image = np.zeros(shape, dtype=np.float32)

    def draw(
        self, shape: Row, centre: tuple[float, float], *, flux: float, pa: float
    ) -> None:
        """Add one galaxy at V2, V3 with its flux (MJy) and angle from V3 (degrees)."""
        profile = _Sersic(
            flux=flux,
            r_half=float(shape["r_half"]),
            index=float(shape["sersic_n"]),
            axis_ratio=float(shape["axis_ratio"]),
            pa=pa,
        )
        x, y = (float(c) for c in v2v3_to_pixel(self.aperture, *centre))
        size = SIZE_LIMIT * profile.r_half / self.aperture.pixel_scale
        box = self._box(x, y, size)
        if box is None:
            return
        self._add(box, profile, centre, fine=1)
        core = self._box(x, y, 1.0)
        if core is not None:
            self._add(core, profile, centre, fine=CORE)

    def _box(self, x: float, y: float, size: float) -> tuple[slice, slice] | None:
        """Half pixels within `size` pixels of a point, if any are on the canvas."""
        slices = []
        for centre, length in zip((y, x), self.image.shape, strict=True):
            middle = (centre + MARGIN + 0.5) * FINE
            low = max(int(np.floor(middle - size * FINE)), 0)
            high = min(int(np.ceil(middle + size * FINE)) + 1, length)
            if low >= high:
                return None
            slices.append(slice(low, high))
        return slices[0], slices[1]

    def _add(
        self,
        box: tuple[slice, slice],
        profile: _Sersic,
        centre: tuple[float, float],
        *,
        fine: int,
    ) -> None:
        """Draw a profile with `fine` sub-samples; finer drawing replaces coarser."""
        values = self._sample(box, profile, centre, fine=fine)
        if fine > 1:
            values = values - self._sample(box, profile, centre, fine=1)
        self.image[box] += values

    def _sample(
        self,
        box: tuple[slice, slice],
        profile: _Sersic,
        centre: tuple[float, float],
        *,
        fine: int,
    ) -> Floats:
        rows, columns = (
            ((np.arange(s.start * fine, s.stop * fine) + 0.5) / fine) / FINE
            - MARGIN
            - 0.5
            for s in box
        )
        values = profile(*_offsets(self.aperture, centre, rows=rows, columns=columns))
        shape = (len(rows) // fine, fine, len(columns) // fine, fine)
        mean: Floats = values.reshape(shape).mean(axis=(1, 3))
        return mean

    def seen_through(self, psf: PSF) -> Floats:
        """Blur with the telescope and the pixels, MJy/sr on the frame."""
        from scipy.signal import oaconvolve

        total = np.zeros(self.aperture.shape)
        if not self.image.any():
            return total
        inner = slice(MARGIN, -MARGIN)
        for row, column in product(range(FINE), repeat=2):
            part = self.image[row::FINE, column::FINE]
            kernel = _kernel(psf, row, column)
            total += oaconvolve(part, kernel, mode="same")[inner, inner]
        return total


def _kernel(psf: PSF, row: int, column: int) -> NDArray[np.float32]:
    """Light that pixels receive from one of their quarters, or another's."""
    middle = (len(psf.samples) - 1) // 2
    quarter = OVERSAMPLING // (2 * FINE)
    first = middle - psf.radius * OVERSAMPLING
    picks = [
        first - (2 * half - 1) * quarter + OVERSAMPLING * np.arange(2 * psf.radius + 1)
        for half in (row, column)
    ]
    kernel = psf.samples[np.ix_(*picks)] / FINE**2
    return kernel.astype(np.float32)


def _offsets(
    aperture: Aperture, centre: tuple[float, float], *, rows: Floats, columns: Floats
) -> tuple[Floats, Floats]:
    """Distances along V2 and V3 from a point, arcsec, of all pixels of a box.

    The distortion is taken at five by five of them and interpolated with polynomials,
    which is as good as exact and fast.
    """
    x, across = _interpolator(columns)
    y, along = _interpolator(rows)
    v2, v3 = pixel_to_v2v3(aperture, *np.meshgrid(x, y))
    dv2 = (v2 - centre[0]) * np.cos(centre[1] * ARCSEC)
    return along @ dv2 @ across.T, along @ (v3 - centre[1]) @ across.T


def _interpolator(positions: Floats) -> tuple[Floats, Floats]:
    """Five nodes, and the matrix that takes values there to all positions."""
    low, high = positions[0], max(positions[-1], positions[0] + 1)
    nodes = np.linspace(-1, 1, 5)
    scaled = (2 * positions - low - high) / (high - low)
    matrix = np.vander(scaled, 5) @ np.linalg.inv(np.vander(nodes, 5))
    return (low + high + nodes * (high - low)) / 2, matrix


@dataclass(frozen=True)
class _Sersic:
    """A Sersic profile cut at `SIZE_LIMIT` half-light radii, MJy/sr."""

    flux: float  # MJy
    r_half: float  # arcsec, along the major axis
    index: float
    axis_ratio: float
    pa: float  # degrees from V3 towards V2

    def __call__(self, dv2: Floats, dv3: Floats) -> Floats:
        c, s = np.cos(np.deg2rad(self.pa)), np.sin(np.deg2rad(self.pa))
        major, minor = dv3 * c + dv2 * s, (dv2 * c - dv3 * s) / self.axis_ratio
        radius = np.hypot(major, minor) / self.r_half
        steep = self._steepness()
        profile = np.exp(-steep * radius ** (1 / self.index))
        value: Floats = np.where(radius < SIZE_LIMIT, self._peak() * profile, 0.0)
        return value

    def _steepness(self) -> float:
        """b_n: half of the light lies within r_half (Ciotti & Bertin 1999)."""
        from scipy.special import gammaincinv

        return float(gammaincinv(2 * self.index, 0.5))

    def _peak(self) -> float:
        """Central brightness: what makes the integral to `SIZE_LIMIT` the flux."""
        from scipy.special import gamma, gammainc

        n, b = self.index, self._steepness()
        inside = gammainc(2 * n, b * SIZE_LIMIT ** (1 / n))
        shape = 2 * np.pi * n * gamma(2 * n) * b ** (-2 * n) * inside
        area = self.axis_ratio * (self.r_half * ARCSEC) ** 2
        return float(self.flux / (shape * area))
