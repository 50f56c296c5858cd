"""Quicklook files of rate, cal and i2d images: honest stretch, sky axes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from webbmosaic.files.products import atomic
from webbmosaic.report.pictures import (
    Picture,
    block_mean,
    read_picture,
    stretch_limits,
)

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "make_pictures",
    "write_pair",
    "write_quicklook",
    "write_thumbnail",
]

_INK, _BAD = "#20242c", "#31486b"


def _norm(limits: tuple[float, float, float]) -> Any:
    from astropy.visualization import AsinhStretch, ImageNormalize

    low, high, knee = limits
    stretch = AsinhStretch(min(1.0, max(knee / (high - low), 1e-4)))
    return ImageNormalize(vmin=low, vmax=high, stretch=stretch, clip=False)


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

    small = block_mean(picture.data, max(1, round(max(picture.data.shape) / longest)))
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
    limits = stretch_limits(picture.data)
    figure, (axes,) = _figure([picture], [limits], longest=7.0)
    _colour_bar(axes, limits, picture.unit)
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
    low, high, knee = stretch_limits(after.data)
    shift = max(0.0, stretch_limits(before.data)[0] - low)
    limits = [(low + shift, high + shift, knee), (low, high, knee)]
    figure, panels = _figure([before, after], limits, longest=6.0)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=11, color=_INK)
    _hide_labels(panels[1])
    _save(figure, png)


def _hide_labels(axes: Any) -> None:
    if hasattr(axes, "coords"):
        # The same sky as beside; which axis stands on the left depends on its roll.
        for coordinate in axes.coords:
            coordinate.set_ticklabel_visible(False)
            coordinate.set_axislabel(" ")


def _figure(
    pictures: list[Picture], limits: list[tuple[float, float, float]], *, longest: float
) -> tuple[Figure, list[Any]]:
    """Lay out panels of one size (inches); placed by hand, which is fast."""
    from matplotlib.figure import Figure

    ny, nx = pictures[-1].shape
    scale = longest / max(ny, nx)
    # As the image, but no stripe thinner than a sixth.
    width, height = (max(n * scale, longest / 6) for n in (nx, ny))
    left, bottom, right, top, gap = 0.95, 0.55, 0.95, 0.35, 0.15
    full = left + len(pictures) * (width + gap) - gap + right
    tall = bottom + height + top
    figure = Figure(figsize=(full, tall), dpi=110)
    panels = []
    for k, (picture, limit) in enumerate(zip(pictures, limits, strict=True)):
        x0 = left + k * (width + gap)
        where = (x0 / full, bottom / tall, width / full, height / tall)
        panels.append(_panel(figure, picture, where, limits=limit))
    return figure, panels


def _panel(
    figure: Figure,
    picture: Picture,
    where: tuple[float, float, float, float],
    *,
    limits: tuple[float, float, float],
) -> Axes:
    ny, nx = picture.shape
    wcs = picture.wcs
    axes = figure.add_axes(where, **({} if wcs is None else {"projection": wcs}))
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
    for coordinate, name in zip(
        axes.coords, ("Right ascension", "Declination"), strict=True
    ):
        coordinate.set_axislabel(name, fontsize=9, minpad=0.7)
        coordinate.set_ticklabel(size=8, exclude_overlapping=True)
        coordinate.set_ticks(number=5)
        coordinate.grid(color="#9fd3ff", alpha=0.35, linewidth=0.6)


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
        xytext=(0, 5),
        textcoords="offset points",
        ha="center",
        fontsize=9,
        color="white",
    )


def _colour_bar(axes: Any, limits: tuple[float, float, float], unit: str) -> None:
    """Draw a bar in the right margin, with values where grey levels are even."""
    inches = axes.figure.get_size_inches()[0]
    box = axes.get_position()
    place = (box.x1 + 0.12 / inches, box.y0, 0.14 / inches, box.height)
    bar = axes.figure.colorbar(axes.images[0], cax=axes.figure.add_axes(place))
    ticks = np.asarray(_norm(limits).inverse(np.linspace(0, 1, 7)))
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks], fontsize=7)
    bar.ax.set_title(unit, fontsize=7, color="#5a6270")


def _save(figure: Figure, png: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with atomic(png) as temporary:
        figure.savefig(temporary, facecolor="white")


def make_pictures(
    source: Path, png: Path, *, thumbnail: Path | None = None, title: str = ""
) -> None:
    """
    Make the quicklook of a FITS file.

    Parameters
    ----------
    source : `~pathlib.Path`
        The rate, cal or i2d file.
    png : `~pathlib.Path`
    thumbnail : `~pathlib.Path`, optional
        Also make a small one without axes.
    title : str
        By default the name of the file.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    shown = read_picture(source)
    write_quicklook(shown, png, title=title or source.stem)
    if thumbnail is not None:
        write_thumbnail(shown, thumbnail)
