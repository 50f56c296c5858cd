"""Pictures of rate, cal and i2d files: bounded memory, honest stretch, sky axes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from astropy.wcs import WCS, FITSFixedWarning

from webbmosaic.errors import InputError
from webbmosaic.files.products import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "Picture",
    "is_current",
    "picture",
    "read_picture",
    "stretch_limits",
    "write_pair",
    "write_quicklook",
    "write_thumbnail",
]

#: Bit of the DQ plane that forbids any use of a pixel (JWST DQ flags, bit 0).
DO_NOT_USE = 1

_LONGEST = 1024
_SAMPLES = 3
_INK, _BAD = "#20242c", "#31486b"


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


def is_current(made: Path, source: Path) -> bool:
    """Tell whether a picture exists and is newer than the file that it shows."""
    return made.is_file() and made.stat().st_mtime > source.stat().st_mtime


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", fits.verify.VerifyWarning)
            with fits.open(path, memmap=True) as hdus:
                return _read_picture(hdus, path, longest)
    except (OSError, ValueError, TypeError, UserWarning) as error:
        msg = f"{path}: cannot be read as a FITS image ({error}). Reduce it again"
        raise InputError(msg) from error


def _read_picture(hdus: fits.HDUList, path: Path, longest: int) -> Picture:
    hdu = _image_hdu(hdus)
    if hdu is None:
        msg = f"{path}: holds no image"
        raise InputError(msg)
    data = _plane(hdu.data)
    flags = _plane(hdus["DQ"].data) if "DQ" in hdus else None
    if flags is not None and flags.shape != data.shape:
        flags = None
    factor = max(1, round(max(data.shape) / longest))
    primary = hdus[0].header
    return Picture(
        data=_shrink(data, flags, factor),
        shape=(data.shape[0], data.shape[1]),
        header=hdu.header,
        label=_label(primary, path),
        unit=str(hdu.header.get("BUNIT", primary.get("BUNIT", ""))),
    )


def _image_hdu(hdus: fits.HDUList) -> Any:
    if "SCI" in hdus:
        return hdus["SCI"]
    return next((h for h in hdus if h.is_image and h.header["NAXIS"] >= 2), None)


def _plane(data: NDArray[Any]) -> NDArray[Any]:
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
        bad = np.asarray(flags[::step, ::step]).astype(np.uint32) & DO_NOT_USE
        values[bad > 0] = np.nan
    return _block_mean(values, max(1, factor // step))


def _block_mean(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
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


def _norm(limits: tuple[float, float, float]) -> Any:
    from astropy.visualization import AsinhStretch, ImageNormalize

    low, high, knee = limits
    stretch = AsinhStretch(min(1.0, max(knee / (high - low), 1e-4)))
    return ImageNormalize(vmin=low, vmax=high, stretch=stretch, clip=True)


def _grey() -> Any:
    from matplotlib import colormaps

    return colormaps["gray"].with_extremes(bad=_BAD)


def write_thumbnail(picture: Picture, png: Path, *, longest: int = 150) -> None:
    """
    Write the bare image, small.

    Parameters
    ----------
    picture : Picture
    png : `~pathlib.Path`
    longest : int
        Pixels of the longer side.
    """
    from matplotlib.image import imsave

    small = _block_mean(picture.data, max(1, round(max(picture.data.shape) / longest)))
    colours = _grey()(_norm(stretch_limits(small))(np.ma.masked_invalid(small)))
    with atomic(png) as temporary:
        imsave(temporary, colours, origin="lower")


def write_quicklook(picture: Picture, png: Path, *, title: str = "") -> None:
    """
    Write a picture with its axes: right ascension and declination, or pixels.

    Parameters
    ----------
    picture : Picture
    png : `~pathlib.Path`
    title : str
        Above the picture; the name of the dataset or group.
    """
    from matplotlib.figure import Figure

    width, height = _inches(picture.shape, 7.2)
    figure = Figure(figsize=(width + 1.9, height + 1.2), dpi=110, layout="constrained")
    axes = _panel(figure, picture, 111, limits=stretch_limits(picture.data))
    _colour_bar(figure, [axes], picture.unit)
    axes.set_title(title, fontsize=10, color=_INK, loc="left")
    axes.set_title(picture.label, fontsize=9, color="#5a6270", loc="right")
    _save(figure, png)


def write_pair(
    before: Picture, after: Picture, png: Path, *, titles: tuple[str, str]
) -> None:
    """
    Write two pictures side by side with one stretch, set by the second.

    Parameters
    ----------
    before, after : Picture
    png : `~pathlib.Path`
    titles : tuple of str
        What each of the two shows.
    """
    from matplotlib.figure import Figure

    low, high, knee = stretch_limits(after.data)
    shift = stretch_limits(before.data)[0] - low
    width, height = _inches(after.shape, 6.0)
    figure = Figure(
        figsize=(2 * width + 1.8, height + 0.9), dpi=110, layout="constrained"
    )
    panels = []
    for column, (one, move) in enumerate(((before, max(0, shift)), (after, 0)), 1):
        limits = (low + move, high + move, knee)
        axes = _panel(figure, one, 120 + column, limits=limits)
        axes.set_title(titles[column - 1], fontsize=11, color=_INK)
        panels.append(axes)
    _hide_latitude(panels[1])
    _save(figure, png)


def _hide_latitude(axes: Any) -> None:
    if hasattr(axes, "coords"):
        axes.coords[1].set_ticklabel_visible(False)
        axes.coords[1].set_axislabel("")


def _inches(shape: tuple[int, int], longest: float) -> tuple[float, float]:
    """Size the panel: as the image, but no stripe thinner than a sixth."""
    ny, nx = shape
    scale = longest / max(ny, nx)
    return max(nx * scale, longest / 6), max(ny * scale, longest / 6)


def _panel(
    figure: Figure, picture: Picture, where: int, *, limits: tuple[float, float, float]
) -> Axes:
    ny, nx = picture.shape
    wcs = picture.wcs
    axes = figure.add_subplot(where, **({} if wcs is None else {"projection": wcs}))
    thin = max(nx, ny) > 6 * min(nx, ny)
    axes.imshow(
        picture.data,
        cmap=_grey(),
        norm=_norm(limits),
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5),
        origin="lower",
        aspect="auto" if thin else "equal",
        interpolation="nearest" if max(picture.data.shape) < 500 else "antialiased",
    )
    if wcs is None:
        axes.set_xlabel("x (pixels)", fontsize=9)
        axes.set_ylabel("y (pixels)", fontsize=9)
        axes.tick_params(labelsize=8)
    else:
        _sky_axes(axes)
        if not thin:
            _scale_bar(axes, wcs, picture.shape)
    return axes


def _sky_axes(axes: Any) -> None:
    for coordinate, name in zip(axes.coords, ("Right ascension", "Declination"), strict=True):
        coordinate.set_axislabel(name, fontsize=9, minpad=0.7)
        coordinate.set_ticklabel(size=8, exclude_overlapping=True)
        coordinate.set_ticks(number=5)
        coordinate.grid(color="#9fd3ff", alpha=0.22, linewidth=0.6)


def _scale_bar(axes: Axes, wcs: WCS, shape: tuple[int, int]) -> None:
    """Draw a bar of a round number of arcseconds, about a fifth of the width."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    pixel = float(proj_plane_pixel_scales(wcs)[0]) * 3600
    wish = shape[1] * pixel / 5
    power = 10.0 ** np.floor(np.log10(wish))
    length = max(n * power for n in (1, 2, 5) if n * power <= wish)
    x0, y0 = 0.04 * shape[1], 0.05 * shape[0]
    axes.plot([x0, x0 + length / pixel], [y0, y0], color="white", lw=4, alpha=0.9)
    axes.plot([x0, x0 + length / pixel], [y0, y0], color=_INK, lw=1.6)
    axes.annotate(
        f"{length:g}\N{DOUBLE PRIME}",
        (x0 + length / pixel / 2, y0),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        color="white",
    )


def _colour_bar(figure: Figure, panels: list[Axes], unit: str) -> None:
    bar = figure.colorbar(panels[0].images[0], ax=panels, shrink=0.85, pad=0.015)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _save(figure: Figure, png: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with atomic(png) as temporary:
        figure.savefig(temporary, facecolor="white")


def picture(
    source: Path, png: Path, *, thumbnail: Path | None = None, title: str = ""
) -> bool:
    """
    Make the quicklook of a FITS file unless a newer one exists.

    Parameters
    ----------
    source : `~pathlib.Path`
        The rate, cal or i2d file.
    png : `~pathlib.Path`
    thumbnail : `~pathlib.Path`, optional
        Also make a small one without axes.
    title : str
        By default the name of the file.

    Returns
    -------
    made : bool
        False where the pictures were current.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    wanted = [png] if thumbnail is None else [png, thumbnail]
    if not source.is_file():
        msg = f"{source}: no such file"
        raise InputError(msg)
    if all(is_current(path, source) for path in wanted):
        return False
    shown = read_picture(source)
    write_quicklook(shown, png, title=title or source.stem)
    if thumbnail is not None:
        write_thumbnail(shown, thumbnail)
    return True
