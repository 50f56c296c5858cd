"""Picture-sized copies of FITS images, in bounded memory, and how to stretch them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning

from webbmosaic.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DO_NOT_USE",
    "Picture",
    "block_mean",
    "opened",
    "plane",
    "read_picture",
    "stretch_limits",
]

#: Bit of the DQ plane that forbids any use of a pixel (JWST DQ flags, bit 0).
DO_NOT_USE = 1

_LONGEST = 1024
_SAMPLES = 3


@dataclass(frozen=True)
class Picture:
    """
    A picture-sized copy of one image, and what the header says of it.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx)
        Means of blocks of the image; NaN where no pixel of a block is good.
    shape : tuple of int
        Of the full image.
    header : `~astropy.io.fits.Header`
        Of the SCI extension.
    label : str
        Detector or instrument, filter, and the kind of product.
    unit : str
    """

    data: NDArray[np.float32]
    shape: tuple[int, int]
    header: fits.Header
    label: str
    unit: str

    @property
    def wcs(self) -> WCS | None:
        """The celestial WCS of the full image, or None where the header has none."""
        if "CTYPE1" not in self.header:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(self.header, naxis=2)
        return wcs if wcs.has_celestial else None


def read_picture(path: Path, *, longest: int = _LONGEST) -> Picture:
    """
    Read a FITS image at the size of a picture.

    Blocks of pixels are averaged, without pixels that DQ forbids; of blocks larger
    than 3 x 3 only 3 x 3 pixels are read, so that a huge mosaic takes little memory.

    Parameters
    ----------
    path : `~pathlib.Path`
        A file with a SCI extension (or any image); of a cube the first plane is taken.
    longest : int
        About how many pixels the longer side of the picture has at most.

    Returns
    -------
    picture : Picture

    Raises
    ------
    InputError
        If the file is missing, no FITS file, truncated, or without an image.
    """
    with opened(path) as hdus:
        return _read_picture(hdus, path, longest)


@contextmanager
def opened(path: Path) -> Iterator[fits.HDUList]:
    """
    Open a FITS file without reading or scaling its data.

    Parameters
    ----------
    path : `~pathlib.Path`

    Yields
    ------
    hdus : `~astropy.io.fits.HDUList`

    Raises
    ------
    InputError
        If the file is missing, no FITS file, truncated, or fails while it is read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            with fits.open(path, memmap=True, do_not_scale_image_data=True) as hdus:
                yield hdus
    except (OSError, ValueError, TypeError, KeyError, AstropyUserWarning) as error:
        msg = f"{path}: cannot be read as a FITS image ({error}). Make it again"
        raise InputError(msg) from error


def _read_picture(hdus: fits.HDUList, path: Path, longest: int) -> Picture:
    hdu = _image_hdu(hdus)
    if hdu is None:
        msg = f"{path}: holds no image"
        raise InputError(msg)
    data = plane(hdu.data)
    flags = plane(hdus["DQ"].data) if "DQ" in hdus else None
    if flags is not None and flags.shape != data.shape:
        flags = None
    factor = max(1, round(max(data.shape) / longest))
    primary = hdus[0].header
    slope, zero = hdu.header.get("BSCALE", 1), hdu.header.get("BZERO", 0)
    return Picture(
        data=np.float32(slope) * _shrink(data, flags, factor) + np.float32(zero),
        shape=(data.shape[0], data.shape[1]),
        header=hdu.header,
        label=_label(primary, path),
        unit=str(hdu.header.get("BUNIT", primary.get("BUNIT", ""))),
    )


def _image_hdu(hdus: fits.HDUList) -> Any:
    if "SCI" in hdus:
        return hdus["SCI"]
    return next((h for h in hdus if h.is_image and h.header["NAXIS"] >= 2), None)


def plane(data: NDArray[Any]) -> NDArray[Any]:
    """Take the first image of a cube; an image is what it is."""
    while data.ndim > 2:
        data = data[0]
    return data


def _label(primary: fits.Header, path: Path) -> str:
    where = str(primary.get("DETECTOR", primary.get("INSTRUME", "")))
    if where in ("", "MULTIPLE", "N/A"):
        where = str(primary.get("INSTRUME", ""))
    light = str(primary.get("FILTER", ""))
    pupil = str(primary.get("PUPIL", ""))
    if pupil.startswith("F"):
        light = f"{light}/{pupil}"
    kind = path.stem.rsplit("_", 1)[-1]
    return "  ".join(part for part in (where, light, kind) if part)


def _shrink(
    data: NDArray[Any], flags: NDArray[Any] | None, factor: int
) -> NDArray[np.float32]:
    """Average blocks of about ``factor`` pixels; see `read_picture`."""
    step = max(1, factor // _SAMPLES)
    values = np.array(data[::step, ::step], dtype=np.float32)
    if flags is not None:
        # Stored as signed numbers less 2**31, which leaves the lowest bit alone.
        bad = flags[::step, ::step] & DO_NOT_USE
        values[bad > 0] = np.nan
    return block_mean(values, max(1, factor // step))


def block_mean(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """
    Average blocks of ``size`` x ``size`` pixels, leaving out NaN.

    Parameters
    ----------
    values : ndarray of float32, shape (ny, nx)
    size : int

    Returns
    -------
    means : ndarray of float32, shape (ceil(ny / size), ceil(nx / size))
        NaN where a block holds nothing finite.
    """
    if size == 1:
        return values
    ny, nx = (-(-n // size) for n in values.shape)
    total = np.zeros((ny, nx), np.float32)
    count = np.zeros((ny, nx), np.float32)
    for j in range(size):
        for i in range(size):
            part = values[j::size, i::size]
            good = np.isfinite(part)
            area = np.s_[: part.shape[0], : part.shape[1]]
            total[area] += np.where(good, part, 0)
            count[area] += good
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.float32(np.nan))


def stretch_limits(data: NDArray[np.floating]) -> tuple[float, float, float]:
    """
    Choose black, white and the knee of an asinh stretch from the sky and its noise.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        NaN marks pixels without data.

    Returns
    -------
    low, high, knee : float
        Black is 3 sigma under the sky; white is the 99.8th percentile, at least 25
        sigma over it; the stretch is linear up to about ``knee`` = 4 sigma (`low`,
        `high` and `knee` in the units of the data).
    """
    step = max(1, int(np.sqrt(data.size / 150_000)))
    values = data[::step, ::step]
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0, 0.5
    _, sky, noise = sigma_clipped_stats(values, sigma=3, maxiters=6, stdfunc="mad_std")
    noise = float(noise) or float(np.ptp(values)) / 100 or 1.0
    high = max(float(np.percentile(values, 99.8)), float(sky) + 25 * noise)
    return float(sky) - 3 * noise, high, 4 * noise
