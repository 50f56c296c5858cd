"""How much light of a known source falls into a circle on a pixelated image.

Every step between the sky and an aperture sum smooths: the detector's pixel, the drop
that drizzle paints, the output pixel, and the aperture's own fractional pixels. Leaving
that out costs 5 % at a radius of 2.3 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import gammainc, gammaincinv

from webbmosaic.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "FINE",
    "EncircledEnergy",
    "read_encircled_energy",
    "sersic_points",
    "smoothed",
]

FINE = 15  # samples in a pixel
_REACH = 24  # pixels from the centre beyond which smoothing changes nothing


@dataclass(frozen=True)
class EncircledEnergy:
    """
    The share of a point source's light within a radius.

    Attributes
    ----------
    radius : ndarray of float64, shape (n,)
        Increasing from 0.
    fraction : ndarray of float64, shape (n,)
        Of the true total, 0 at the centre.
    """

    radius: Floats
    fraction: Floats

    @cached_property
    def _curve(self) -> Any:
        return PchipInterpolator(self.radius, self.fraction)

    @cached_property
    def _rings(self) -> tuple[Floats, Floats]:
        """The middles of rings, narrow near the centre, and the light in each."""
        edges = self.radius[-1] * np.linspace(0, 1, 1200) ** 2
        return (edges[1:] + edges[:-1]) / 2, np.diff(self.within(edges))

    def within(self, radius: ArrayLike) -> Floats:
        """Give the fraction within a radius in the units of the table."""
        edge = np.minimum(np.asarray(radius, dtype=float), self.radius[-1])
        return np.asarray(self._curve(edge))

    def density(self, radius: ArrayLike) -> Floats:
        """Give the fraction per unit area at a radius, averaged over angles."""
        middle = np.asarray(radius, dtype=float)
        half = np.maximum(0.02 * self.radius[-1] / _REACH, 0.05 * middle)
        low, high = np.maximum(middle - half, 0), middle + half
        area = np.pi * (high**2 - low**2)
        light: Floats = (self.within(high) - self.within(low)) / area
        return light

    def captured(self, distance: ArrayLike, radius: float) -> Floats:
        """
        Give the share of a source's light in a circle that is not centred on it.

        Parameters
        ----------
        distance : array_like
            Of the source from the centre of the circle.
        radius : float
            Of the circle; both in the units of the table.

        Returns
        -------
        share : ndarray of float64, shape of ``distance``
            The sum over rings of the light in the ring times the part of the ring
            inside the circle, ``arccos((d^2 + r^2 - R^2) / (2 d r)) / pi``.
        """
        ring, light = self._rings
        far = np.maximum(np.asarray(distance, dtype=float), 1e-9)[..., None]
        cosine = (far**2 + ring**2 - radius**2) / (2 * far * ring)
        share = np.arccos(np.clip(cosine, -1, 1)) / np.pi
        caught: Floats = share @ light
        return caught

    def image(self, step: float, half: int) -> Floats:
        """
        Draw the round PSF that has this encircled energy.

        Parameters
        ----------
        step : float
            Width of a pixel of the drawing in the units of the table.
        half : int
            The drawing has ``2 * half + 1`` pixels on a side.

        Returns
        -------
        image : ndarray of float64, shape (2 * half + 1, 2 * half + 1)
            The fraction of light in each pixel.
        """
        edges = step * np.append(0, np.arange(int(1.5 * half) + 2) + 0.5)
        light = np.diff(self.within(edges)) / np.diff(np.pi * edges**2) * step**2
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        middle = step * np.arange(light.size)
        drawn: Floats = np.interp(step * np.hypot(x, y), middle, light)
        inside = np.hypot(x, y) <= half
        drawn *= float(self.within(step * half)) / drawn[inside].sum()
        return drawn


def smoothed(
    energy: EncircledEnergy, widths: Sequence[float], pixel: float
) -> tuple[EncircledEnergy, Floats]:
    """
    Blur a PSF with square pixels.

    Parameters
    ----------
    energy : EncircledEnergy
        In arcsec.
    widths : sequence of float
        Of the squares to convolve with, in arcsec.
    pixel : float
        Of the image, in arcsec.

    Returns
    -------
    energy : EncircledEnergy
        In pixels of the image, its circles exact.
    image : ndarray of float64, shape (n, n)
        The blurred PSF, 15 samples in a pixel; its sum is the fraction it holds.
    """
    half = FINE * _REACH
    drawn = energy.image(pixel / FINE, half)
    frequency = np.fft.fftfreq(drawn.shape[0], d=pixel / FINE)
    kernel = np.ones_like(frequency)
    for width in widths:
        kernel *= np.sinc(frequency * width)
    blurred = np.fft.ifft2(np.fft.fft2(drawn) * np.outer(kernel, kernel)).real
    return _spliced(energy, blurred, pixel), blurred


def _spliced(energy: EncircledEnergy, blurred: Floats, pixel: float) -> EncircledEnergy:
    """Measure the blurred drawing near the centre; far out nothing has changed."""
    from photutils.aperture import CircularAperture

    half = blurred.shape[0] // 2
    edges = np.linspace(0, _REACH - 4, 4 * (_REACH - 4) + 1)
    circles = [CircularAperture((half, half), r * FINE) for r in edges[1:]]
    sums = [float(c.do_photometry(blurred, method="exact")[0][0]) for c in circles]
    fraction = np.append(0, sums)
    outer = np.linspace(edges[-1], max(energy.radius[-1] / pixel, edges[-1] + 1), 400)
    tail = energy.within(outer[1:] * pixel)
    return EncircledEnergy(
        radius=np.append(edges, outer[1:]),
        fraction=np.maximum.accumulate(np.append(fraction, tail)),
    )


def read_encircled_energy(meta: Mapping[str, Any], light: str) -> dict[str, Any]:
    """
    Find the encircled energy of a filter in the metadata of a truth table.

    Parameters
    ----------
    meta : mapping
        With ``encircled_energy: {F200W: {radius_arcsec, fraction, pixel_arcsec,
        pixel_included}}``.
    light : str
        The filter.

    Returns
    -------
    entry : dict
        ``energy`` (EncircledEnergy in arcsec), ``pixel`` (arcsec) and ``included``
        (whether the detector's pixel already blurs it).

    Raises
    ------
    InputError
        If the filter is not there.
    """
    entry = meta.get("encircled_energy", {}).get(light)
    if entry is None:
        msg = f"the truth table holds no encircled_energy of {light} in its metadata"
        raise InputError(msg)
    radius = np.asarray(entry["radius_arcsec"], dtype=float)
    fraction = np.asarray(entry["fraction"], dtype=float)
    if radius[0] > 0:
        radius, fraction = np.append(0, radius), np.append(0, fraction)
    if radius.size < 3 or radius.size != fraction.size or (np.diff(radius) <= 0).any():
        msg = f"the truth table's encircled_energy of {light}: radii do not increase"
        raise InputError(msg)
    return {
        "energy": EncircledEnergy(radius, fraction),
        "pixel": float(entry["pixel_arcsec"]),
        "included": bool(entry.get("pixel_included", False)),
    }


def sersic_points(
    size: float, index: float, ratio: float, *, limit: float = 50.0
) -> tuple[Floats, Floats]:
    """
    Scatter equal parts of the light of a Sersic galaxy over the plane, evenly.

    Parameters
    ----------
    size : float
        Half-light radius along the major axis.
    index : float
        Sersic index n.
    ratio : float
        Axis ratio b / a.
    limit : float
        Half-light radii at which the galaxy ends; none of its light lies farther out.

    Returns
    -------
    major, minor : ndarray of float64, shape (600,)
        Along the axes, in the units of ``size``: radii are quantiles of the Sersic
        profile (Graham & Driver 2005, eq. 2), angles advance by the golden ratio.
    """
    count = 600
    steepness = gammaincinv(2 * index, 0.5)
    whole = gammainc(2 * index, steepness * limit ** (1 / index))
    share = whole * (np.arange(count) + 0.5) / count
    radius = size * (gammaincinv(2 * index, share) / steepness) ** index
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    return radius * np.cos(angle), radius * ratio * np.sin(angle)
