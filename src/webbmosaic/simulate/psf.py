"""The point-spread function: eighteen hexagons, three struts, a range of wavelengths.

The pupil is that of JWST (Lightsey et al. 2012, Opt. Eng. 51, 011003): hexagonal
segments 1.32 m from flat to flat with 7 mm gaps, a missing centre, and the shadows of
the three secondary-mirror supports. Its diffraction pattern is computed with a matrix
Fourier transform (Soummer et al. 2007, Opt. Express 15, 15935), which samples every
wavelength on the same fraction of a pixel. Without wavefront errors the pattern is
symmetric about its centre: the centroid of a star is its position.

A star is normalised to one over the infinite plane (Parseval); what lies beyond the
radius is left out, a few per mille.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PSF", "encircled_energy", "make_psf"]

Floats = NDArray[np.float64]

SEGMENT = 1.32  # m, flat to flat
GAP = 0.007  # m
STRUT = 0.11  # m, projected width
STRUT_ANGLES = (90.0, 237.0, 303.0)  # degrees from V2 towards V3
PUPIL = 6.7  # m, the side of the square that holds the pupil
SAMPLES = 336  # across PUPIL: 20 mm, which puts the first alias 7 arcsec away at 0.7 um
WAVELENGTHS = 9  # over the band
OVERSAMPLING = 4  # of a detector pixel
RADIUS = 128  # pixels
SPLINE = 5  # degree of the interpolation between samples

#: Standard deviation of the charge diffusion, arcsec (STPSF's defaults,
#: ``constants.INSTRUMENT_DETECTOR_CHARGE_DIFFUSION_DEFAULT_PARAMETERS``).
DIFFUSION = {"SHORT": 0.0062, "LONG": 0.018, "NIRISS": 0.0202, "MIRI": 0.001}


@dataclass(frozen=True)
class PSF:
    """
    A star on a grid finer than the pixels, integrated over pixels.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (n, n)
        B-spline coefficients of the fraction of a star's light that a pixel centred
        there receives; `OVERSAMPLING` samples per pixel, the star in the middle.
    samples : ndarray of float64, shape (n, n)
        The same fractions themselves.
    """

    coefficients: Floats
    samples: Floats

    @property
    def radius(self) -> int:
        """How far the grid reaches, pixels."""
        return (len(self.samples) - 1) // (2 * OVERSAMPLING) - 2

    def stamp(self, x: float, y: float) -> tuple[Floats, int, int]:
        """
        Draw a star of unit flux.

        Parameters
        ----------
        x, y : float
            Its position, 0-based pixels.

        Returns
        -------
        stamp : ndarray of float64, shape (2 * radius + 1, 2 * radius + 1)
            Fraction of the light in each pixel.
        x0, y0 : int
            The pixel of the stamp's first column and row.
        """
        column, row = round(x), round(y)
        half = self._along_rows(self.coefficients, y - row)
        full = self._along_rows(half.T, x - column).T
        return full, column - self.radius, row - self.radius

    def _along_rows(self, grid: Floats, shift: float) -> Floats:
        """Sample a spline once a pixel along axis 0, moved by a part of a pixel."""
        first = (len(grid) - 1) // 2 - self.radius * OVERSAMPLING
        start = first - shift * OVERSAMPLING
        whole = int(np.floor(start))
        count = 2 * self.radius + 1
        total = np.zeros((count, grid.shape[1]))
        for tap in range(-(SPLINE // 2), SPLINE // 2 + 2):
            weight = _bspline(start - whole - tap)
            rows = slice(whole + tap, whole + tap + count * OVERSAMPLING, OVERSAMPLING)
            total += weight * grid[rows][:count]
        return total


@cache
def _basis() -> Any:
    """Build the cardinal B-spline of degree `SPLINE`, centred on zero."""
    from scipy.interpolate import BSpline

    knots = np.arange(SPLINE + 2) - (SPLINE + 1) / 2
    return BSpline.basis_element(knots, extrapolate=False)


def _bspline(t: float) -> float:
    return float(np.nan_to_num(_basis()(t)))


def _pupil(rotation: float) -> Floats:
    """Draw the transmission of the telescope, rotated by degrees towards +y."""
    step = PUPIL / SAMPLES
    fine = 4  # sub-samples an axis: grey edges
    axis = (np.arange(SAMPLES * fine) - (SAMPLES * fine - 1) / 2) * step / fine
    angle = np.deg2rad(rotation)
    x = axis * np.cos(angle) + axis[:, None] * np.sin(angle)
    y = -axis * np.sin(angle) + axis[:, None] * np.cos(angle)
    open_ = np.zeros(x.shape, dtype=bool)
    for cx, cy in _segments():
        u, v = np.abs(x - cx), np.abs(y - cy)
        half = SEGMENT / 2
        open_ |= (v <= half) & (u * np.sqrt(3) / 2 + v / 2 <= half)
    for degrees in STRUT_ANGLES:
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        open_ &= ~((np.abs(x * s - y * c) < STRUT / 2) & (x * c + y * s > 0))
    grey: Floats = open_.reshape(SAMPLES, fine, SAMPLES, fine).mean(axis=(1, 3))
    return grey


def _segments() -> list[tuple[float, float]]:
    """Centres of the eighteen segments, m."""
    pitch = SEGMENT + GAP
    axial = range(-2, 3)
    return [
        (q * pitch * np.sqrt(3) / 2, (r + q / 2) * pitch)
        for q in axial
        for r in axial
        if 1 <= max(abs(q), abs(r), abs(q + r)) <= 2
    ]


def _diffraction(pupil: Floats, wavelength: float, *, step: float, size: int) -> Floats:
    """Intensity per sample of `step` radians, one over the infinite plane."""
    spacing = PUPIL / len(pupil)
    position = (np.arange(len(pupil)) - (len(pupil) - 1) / 2) * spacing
    angle = (np.arange(size) - (size - 1) / 2) * step
    kernel = np.exp(-2j * np.pi / wavelength * np.outer(angle, position))
    field = kernel @ pupil @ kernel.T
    scale = spacing**2 * step**2 / (wavelength**2 * np.sum(pupil**2))
    intensity: Floats = (field.real**2 + field.imag**2) * scale
    return intensity


def _blur(intensity: Floats, sigma: float) -> Floats:
    """Integrate over a pixel and diffuse charge (sigma in samples)."""
    from scipy import fft

    size = len(intensity)
    shape = [fft.next_fast_len(size + 12 * OVERSAMPLING, real=True)] * 2
    fy, fx = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])
    pixel = np.sinc(fy * OVERSAMPLING) * np.sinc(fx * OVERSAMPLING)
    diffusion = np.exp(-2 * (np.pi * sigma) ** 2 * (fx**2 + fy**2))
    spectrum = fft.rfft2(intensity, shape) * pixel * diffusion
    blurred: Floats = fft.irfft2(spectrum, shape)[:size, :size]
    return blurred * OVERSAMPLING**2


@cache
def make_psf(
    wavelength: float, bandwidth: float, scale: float, *, kind: str, rotation: float
) -> PSF:
    """
    Compute the point-spread function of a filter on a detector.

    Parameters
    ----------
    wavelength, bandwidth : float
        Pivot wavelength and width of the band, micrometres.
    scale : float
        Pixel scale, arcsec.
    kind : {'SHORT', 'LONG', 'MIRI', 'NIRISS'}
        Whose charge diffusion.
    rotation : float
        Angle from the detector's axes to V2, V3, degrees.

    Returns
    -------
    psf : PSF
        Remembered: the same arguments give the same object.
    """
    from scipy.ndimage import spline_filter

    step = np.deg2rad(scale / 3600) / OVERSAMPLING
    size = 2 * (RADIUS + 2) * OVERSAMPLING + 1
    pupil = _pupil(rotation)
    offsets = (np.arange(WAVELENGTHS) + 0.5) / WAVELENGTHS - 0.5
    bands = [(wavelength + bandwidth * o) * 1e-6 for o in offsets]
    intensity = np.zeros((size, size))
    for band in bands:
        intensity += _diffraction(pupil, band, step=step, size=size) / WAVELENGTHS
    samples = _blur(intensity, DIFFUSION[kind] / scale * OVERSAMPLING)
    return PSF(spline_filter(samples, SPLINE, mode="mirror"), samples)


def encircled_energy(psf: PSF, radii: Floats, *, extra_pixels: int = 0) -> Floats:
    """
    Sum a star within circular apertures, as photometry on pixels does.

    Aperture photometry with fractional pixels smooths the star by one more pixel than
    the detector did; a drizzled mosaic by two again.

    Parameters
    ----------
    psf : PSF
    radii : ndarray of float64
        pixels.
    extra_pixels : int
        How many more times to smooth by a pixel: 0 for a ``cal``, 1 to 2 for an
        ``i2d``.

    Returns
    -------
    fraction : ndarray of float64, same shape as `radii`
        Of the light over the infinite plane.
    """
    image = psf.samples
    for _ in range(extra_pixels + 1):
        image = _blur(image, 0.0) / OVERSAMPLING**2
    centre = (len(image) - 1) / 2
    offset = np.arange(len(image)) - centre
    distance = np.hypot(offset, offset[:, None]).ravel() / OVERSAMPLING
    order = np.argsort(distance, kind="stable")
    growth = np.cumsum(image.ravel()[order]) / OVERSAMPLING**2
    return np.interp(radii, distance[order], growth)
