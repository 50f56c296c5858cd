"""A mosaic file as arrays with units, for measuring."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales

from webbmosaic.datasets import effective_filter
from webbmosaic.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Mosaic", "read_mosaic"]


@dataclass(frozen=True)
class Mosaic:
    """
    A drizzled image, or a window of it.

    Attributes
    ----------
    data, err : ndarray of float32, shape (ny, nx)
        MJy/sr, or whatever ``unit`` says.
    good : ndarray of bool, shape (ny, nx)
        Where there are data.
    wcs : `~astropy.wcs.WCS`
    light : str
        The filter.
    pixel : float
        Width of a pixel in arcsec.
    to_jansky : float
        Jy in a pixel of value 1; NaN where the unit is not MJy/sr.
    unit : str
    """

    data: NDArray[np.float32]
    err: NDArray[np.float32]
    good: NDArray[np.bool_]
    wcs: WCS
    light: str
    pixel: float
    to_jansky: float
    unit: str


def read_mosaic(path: Path, *, longest: int | None = None) -> Mosaic:
    """
    Read an i2d file.

    Parameters
    ----------
    path : `~pathlib.Path`
    longest : int, optional
        Read no more than a central window of so many pixels on a side, which bounds
        the memory.

    Returns
    -------
    mosaic : Mosaic

    Raises
    ------
    InputError
        If the file is missing, damaged, or no image with a celestial WCS.
    """
    try:
        with fits.open(path, memmap=True) as hdus, warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            return _read(hdus, longest)
    except (OSError, KeyError, ValueError, TypeError) as error:
        msg = f"{path}: cannot be read as a mosaic ({error}). Make it again"
        raise InputError(msg) from error


def _read(hdus: fits.HDUList, longest: int | None) -> Mosaic:
    primary, header = hdus[0].header, hdus["SCI"].header
    window = _central(hdus["SCI"].shape, longest)
    data = _native(hdus["SCI"].section[window])
    good = np.isfinite(data)
    if "WHT" in hdus:
        good &= hdus["WHT"].section[window] > 0
    err = _native(hdus["ERR"].section[window]) if "ERR" in hdus else np.nan * data
    wcs = WCS(header, naxis=2)
    if not wcs.has_celestial:
        raise ValueError("its header has no celestial WCS")
    pixel = float(np.mean(proj_plane_pixel_scales(wcs))) * 3600
    unit = str(header.get("BUNIT", ""))
    area = header.get("PIXAR_SR") or (np.deg2rad(pixel / 3600)) ** 2
    return Mosaic(
        data=data,
        err=err,
        good=good,
        wcs=wcs[window],
        light=effective_filter(str(primary.get("FILTER", "")), primary.get("PUPIL")),
        pixel=pixel,
        to_jansky=float(area) * 1e6 if unit == "MJy/sr" else np.nan,
        unit=unit,
    )


def _native(data: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(data, dtype=np.float32)


def _central(shape: tuple[int, int], longest: int | None) -> tuple[slice, slice]:
    rows, columns = (
        slice(0, n)
        if longest is None or n <= longest
        else slice((n - longest) // 2, (n + longest) // 2)
        for n in shape
    )
    return rows, columns
