"""Regions on the sky as regions on a distorted detector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["on_pixels"]

#: How well a place on the sky must come back from the pixels, in degrees: far off the
#: frame the distortion is not defined, and what comes back is elsewhere.
_SAME_PLACE = 0.1 / 3600

_STEP = 1 / 3600  # degrees


def on_pixels(regions: Iterable[Any], wcs: Any) -> list[Any]:
    """
    Convert regions on the sky to pixels, all at once: a WCS is slow to call.

    Parameters
    ----------
    regions : iterable of `~regions.Region`
        Those in pixels stay as they are.
    wcs : `~gwcs.wcs.WCS`
        Without a bounding box, so that regions may reach over the edge of the frame.

    Returns
    -------
    regions : list of `~regions.PixelRegion`
        Corners of polygons go where the WCS says; other shapes keep theirs, with the
        scale and angle of their centre. What is nowhere near the frame is left out.
    """
    from regions import SkyRegion

    given = list(regions)
    sky = [region for region in given if isinstance(region, SkyRegion)]
    placed = [region for region in given if not isinstance(region, SkyRegion)]
    if not sky:
        return placed
    places = [_places(region) for region in sky]
    world = np.concatenate(places, axis=1)
    pixels = np.array(wcs.world_to_pixel_values(*world))
    away = np.array(wcs.pixel_to_world_values(*pixels)) - world
    away[0] = (away[0] + 180) % 360 - 180
    known = np.all(np.abs(away) < _SAME_PLACE, axis=0)
    ends = np.cumsum([place.shape[1] for place in places])
    for region, place, end in zip(sky, places, ends, strict=True):
        part = slice(end - place.shape[1], end)
        if known[part].all():
            placed.append(_placed(region, place, pixels[:, part]))
    return placed


def _places(region: Any) -> np.ndarray:
    """Corners of a polygon; of others the centre, and what is east and north of it."""
    points = getattr(region, "vertices", None)
    if points is not None:
        return np.array([points.icrs.ra.deg, points.icrs.dec.deg])
    ra, dec = float(region.center.icrs.ra.deg), float(region.center.icrs.dec.deg)
    east = ra + _STEP / np.cos(np.radians(dec))
    return np.array([[ra, east, ra], [dec, dec, dec + _STEP]])


def _placed(region: Any, place: np.ndarray, pixels: np.ndarray) -> Any:
    from astropy.wcs import WCS
    from regions import PixCoord, PolygonPixelRegion

    if hasattr(region, "vertices"):
        return PolygonPixelRegion(PixCoord(*pixels), meta=region.meta)
    local = WCS(naxis=2)
    local.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    local.wcs.crval, local.wcs.crpix = place[:, 0], pixels[:, 0] + 1
    local.wcs.cd = np.linalg.inv((pixels[:, 1:] - pixels[:, :1]) / _STEP)
    return region.to_pixel(local)
