"""What is known only from several exposures of a detector: persistence, bad pixels.

Both make flags in files of their own, which stage 2 adds to the data quality; the
count-rate images stay as stage 1 wrote them, so that it does not matter in which order
exposures are reduced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.datasets import Dataset, Workspace, find_dataset_name
from webbmosaic.errors import InputError, NothingToDo, UsageError
from webbmosaic.files.headers import Header, read_header
from webbmosaic.files.models import add_history
from webbmosaic.files.products import atomic
from webbmosaic.files.timeline import earlier_exposures, exposure_span, pointings
from webbmosaic.science.badpixels import BadPixels, find_bad_pixels
from webbmosaic.science.persistence import persistence_strength, saturation_level
from webbmosaic.settings import BadPixels as BadPixelSettings
from webbmosaic.settings import Persistence, Settings
from webbmosaic.stages.quality import (
    DO_NOT_USE,
    HOT,
    OTHER_BAD_PIXEL,
    PERSISTENCE,
    SATURATED,
    TELEGRAPH,
    WARM,
)

__all__ = [
    "add_flags",
    "badpixels",
    "detector_rates",
    "make_bad_pixel_flags",
    "make_persistence_flags",
    "persistence",
    "write_flags",
]


def make_persistence_flags(
    rate: Path, earlier: Sequence[Path], wanted: Persistence
) -> tuple[np.ndarray, dict[str, Any]]:
    """
    Flag what is left in an exposure of what saturated in earlier ones.

    Parameters
    ----------
    rate : `~pathlib.Path`
    earlier : sequence of `~pathlib.Path`
        Rate files of exposures of the same detector; those that ended after the start
        of this one or too long before do not matter.
    wanted : Persistence
        The settings.

    Returns
    -------
    flags : 2D uint32 `~numpy.ndarray`
        Bits for the data quality.
    numbers : dict
    """
    start, _ = _span(rate)
    shape, corner = _quality(rate).shape, _corner(read_header(rate))
    spans = {path: _span(path) for path in earlier}
    recent = [p for p in earlier if 0 <= start - spans[p][1] <= wanted.window]

    def levels() -> Iterator[tuple[float, np.ndarray]]:
        for path in recent:
            dq = _cut(_quality(path), _corner(read_header(path)), corner, shape)
            # What a mask excludes has a rate all the same.
            lost = (dq & DO_NOT_USE > 0) & (dq & OTHER_BAD_PIXEL == 0)
            level = saturation_level(dq & SATURATED > 0, lost, partly=wanted.partly)
            yield start - spans[path][1], level

    strength = persistence_strength(levels(), shape, window=wanted.window)
    bits = PERSISTENCE | (DO_NOT_USE if wanted.do_not_use else 0)
    flags = np.where(strength > 0, bits, 0).astype(np.uint32)
    return flags, {"earlier": len(recent), "pixels": int(np.count_nonzero(flags))}


def make_bad_pixel_flags(
    rates: Sequence[Path], wanted: BadPixelSettings
) -> tuple[np.ndarray, dict[str, Any]]:
    """
    Flag the hot, warm and unstable pixels of a detector.

    Parameters
    ----------
    rates : sequence of `~pathlib.Path`
        Of one detector and frame size.
    wanted : BadPixels
        The settings.

    Returns
    -------
    flags : 2D uint32 `~numpy.ndarray`
    numbers : dict

    Raises
    ------
    NothingToDo
        With fewer pointings than it takes.
    """
    numbers = pointings([read_header(path) for path in rates])
    count = len(set(numbers))
    if count < wanted.min_pointings:
        msg = (
            f"bad pixels: {count} dithered pointings say nothing; it takes"
            f" {wanted.min_pointings}"
        )
        raise NothingToDo(msg)
    order = sorted(zip(numbers, rates, strict=True))
    bad = find_bad_pixels(
        ((str(number), *_planes(path)) for number, path in order),
        threshold=wanted.threshold,
        share=wanted.share,
        min_pointings=wanted.min_pointings,
    )
    return _bits(bad), {
        "pointings": bad.pointings,
        **{k: int(getattr(bad, k).sum()) for k in ("hot", "warm", "low", "unstable")},
    }


def _bits(bad: BadPixels) -> np.ndarray:
    flags = np.zeros(bad.hot.shape, np.uint32)
    kinds = {
        HOT: bad.hot,
        WARM: bad.warm,
        TELEGRAPH: bad.unstable,
        OTHER_BAD_PIXEL: bad.low,
    }
    for bit, mask in kinds.items():
        flags[mask] |= bit | DO_NOT_USE
    return flags


def _span(path: Path) -> tuple[float, float]:
    return exposure_span(read_header(path), path.name)


def _quality(path: Path) -> np.ndarray:
    from astropy.io import fits

    try:
        return np.asarray(fits.getdata(path, "DQ"))
    except (OSError, KeyError) as error:
        msg = f"{path}: its data quality (DQ) cannot be read ({error})"
        raise InputError(msg) from error


def _corner(header: Header) -> tuple[int, int]:
    """Row and column of the first pixel on the detector."""
    return int(header.get("SUBSTRT2", 1)), int(header.get("SUBSTRT1", 1))


def _cut(
    image: np.ndarray, corner: tuple[int, int], at: tuple[int, int], shape: Any
) -> np.ndarray:
    """Cut another frame of the detector out of one; 0 where it does not reach."""
    cut = np.zeros(shape, image.dtype)
    to, source = [], []
    for have, want, size, reach in zip(corner, at, shape, image.shape, strict=True):
        first, last = max(have, want), min(have + reach, want + size)
        to.append(slice(first - want, max(first, last) - want))
        source.append(slice(first - have, max(first, last) - have))
    cut[tuple(to)] = image[tuple(source)]
    return cut


def _planes(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates, errors, and which pixels may be judged."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        data, err, dq = (np.asarray(hdus[name].data) for name in ("SCI", "ERR", "DQ"))
    # What is under a mask, or was found bad before, has a rate and can be judged again.
    known = dq & (OTHER_BAD_PIXEL | HOT | WARM | TELEGRAPH) > 0
    usable = ((dq & DO_NOT_USE == 0) | known) & (dq & SATURATED == 0)
    return data.astype(np.float32), err.astype(np.float32), usable


def detector_rates(rate: Path) -> list[Path]:
    """
    Find the other rate files of a detector in the work folder of one.

    Parameters
    ----------
    rate : `~pathlib.Path`
        ``WORK/DATASET/calibrated1_rates/DATASET_rate.fits``.

    Returns
    -------
    paths : list of `~pathlib.Path`

    Raises
    ------
    UsageError
        If the file does not stand in a work folder.
    """
    dataset = find_dataset_name(rate.name)
    place = rate.absolute()  # folders of datasets may be links to elsewhere
    work = Workspace(place.parents[min(2, len(place.parents) - 1)])
    if dataset is None or work.rate(dataset) != place:
        msg = (
            f"{rate}: the other exposures of the detector are found in a work folder;"
            " give WORK/DATASET/calibrated1_rates/DATASET_rate.fits"
        )
        raise UsageError(msg)
    return [
        path for other in _others(work, dataset) if (path := work.rate(other)).is_file()
    ]


def _others(work: Workspace, dataset: Dataset) -> list[Dataset]:
    same = (d for d in work.datasets() if d.detector == dataset.detector)
    return [d for d in same if d != dataset]


def persistence(model: Any, settings: Settings, rate: Path) -> dict[str, Any] | None:
    """Flag persistence in one model, from the other exposures of its work folder."""
    if not settings.persistence.enabled:
        return None
    others = detector_rates(rate)
    spans = {str(p): _span(p) for p in [rate, *others]}
    names = earlier_exposures(spans, str(rate), settings.persistence.window)
    flags, numbers = make_persistence_flags(
        rate, [Path(n) for n in names], settings.persistence
    )
    _add(model, flags, "Flagged persistence")
    return numbers


def badpixels(model: Any, settings: Settings, rate: Path) -> dict[str, Any] | None:
    """Flag bad pixels in one model, from all exposures of its work folder."""
    if not settings.badpixels.enabled:
        return None
    frame = _frame(rate)
    others = [path for path in detector_rates(rate) if _frame(path) == frame]
    flags, numbers = make_bad_pixel_flags([rate, *others], settings.badpixels)
    _add(model, flags, "Flagged bad pixels")
    return numbers


def _frame(path: Path) -> tuple[tuple[int, ...], tuple[int, int]]:
    return _quality(path).shape, _corner(read_header(path))


def write_flags(path: Path, flags: np.ndarray) -> None:
    """
    Write flags to a file of their own.

    Parameters
    ----------
    path : `~pathlib.Path`
    flags : 2D uint32 `~numpy.ndarray`
    """
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(flags, name="DQ")])
    with atomic(path) as temporary, temporary.open("wb") as stream:
        hdus.writeto(stream)


def add_flags(model: Any, paths: Sequence[Path]) -> int:
    """
    Add flags from files to the data quality of a model.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`
    paths : sequence of `~pathlib.Path`
        Files of flags; of another frame size than the model they are left out.

    Returns
    -------
    pixels : int
        Flagged by them.
    """
    count = 0
    for path in paths:
        flags = _quality(path)
        if flags.shape == model.dq.shape:
            count += int(np.count_nonzero(flags))
            _add(model, flags, f"Added the flags of {path.name}")
    return count


def _add(model: Any, flags: np.ndarray, text: str) -> None:
    if flags.any():
        model.dq |= flags.astype(model.dq.dtype)
        add_history(model, text)
