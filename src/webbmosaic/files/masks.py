"""Masks that people drew: DS9 regions and mask images, found by name.

A file belongs to every exposure whose dataset name starts with the file's, and to one
detector and filter where it names them: ``jw01837003001.reg`` is for a visit,
``jw01837003001_nrcb4.reg`` for one detector of it,
``jw01837003001_nrcb4_F200W.reg`` for one filter of this and
``jw01837003001_02201_00001_nrca3.fits`` for one exposure, each with ``_anything``
behind if need be. What was proposed stays in
``proposed/`` until it is accepted.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from webbmosaic.datasets import DETECTORS, Dataset
from webbmosaic.errors import InputError, UsageError
from webbmosaic.files.headers import check_whole
from webbmosaic.files.products import atomic, write_text

__all__ = [
    "PROPOSED",
    "accept",
    "copy_mask",
    "find_masks",
    "misnamed",
    "needs_wcs",
    "proposals",
    "read_mask_image",
    "read_regions",
    "transferred",
    "write_proposal",
    "write_regions",
]

BoolArray = npt.NDArray[np.bool_]

#: The folder, below that of the masks, of what nobody has looked at yet.
PROPOSED = "proposed"

_SUFFIXES = (".reg", ".fits", ".fits.gz")
_DETECTORS = "|".join(sorted(DETECTORS, key=len, reverse=True))
_NAME = re.compile(
    r"(?P<prefix>jw\d{11}(?:_\d{3}[0-9a-z]{2}(?:_\d{5}(?:-seg\d{3})?)?)?)"
    rf"(?:_(?P<detector>{_DETECTORS}))?(?:_(?P<filter>F\d{{3,4}}[WMNCR]2?))?"
    r"(?:_(?!nrc|mir|nis).*)?",  # a detector that nobody knows is no remark
    re.IGNORECASE,
)


def find_masks(folder: Path, dataset: Dataset, filter_name: str) -> list[Path]:
    """
    Find the masks of an exposure.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of the masks; folders in it are searched, too, save that of the proposals.
    dataset : Dataset
    filter_name : str
        The filter that shaped the light.

    Returns
    -------
    paths : list of `~pathlib.Path`
        Region files and mask images, sorted by name.
    """
    found = _all_files(folder)
    return sorted(path for path in found if _is_for(path, dataset, filter_name))


def misnamed(folder: Path) -> list[Path]:
    """
    List the files that are for no exposure, whatever there is.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of the masks.

    Returns
    -------
    paths : list of `~pathlib.Path`
        Region files and images whose names do not start with that of an exposure or
        visit, or name a detector that there is not.
    """
    return [p for p in _all_files(folder) if not _NAME.fullmatch(_stem(p))]


def _all_files(folder: Path) -> list[Path]:
    places = [folder, *(p for p in _folders(folder) if p.name != PROPOSED)]
    return sorted(path for place in places for path in _files(place))


def _folders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in folder.iterdir() if p.name.lower().endswith(_SUFFIXES)]


def _stem(path: Path) -> str:
    return re.sub(r"(\.fits)?\.(reg|fits|gz)$", "", path.name, flags=re.IGNORECASE)


def _is_for(path: Path, dataset: Dataset, filter_name: str) -> bool:
    match = _NAME.fullmatch(_stem(path))
    if match is None:
        return False
    wanted = {"detector": dataset.detector, "filter": filter_name}
    if any(match[k] and match[k].lower() != v.lower() for k, v in wanted.items()):
        return False
    # Either name is cut where the other ends: a visit holds all of its exposures.
    return f"{dataset}_".startswith(f"{match['prefix']}_")


def read_regions(path: Path) -> list[Any]:
    """
    Read a DS9 region file.

    Parameters
    ----------
    path : `~pathlib.Path`

    Returns
    -------
    regions : list of `~regions.Region`
        In pixels, 0-based, or on the sky.

    Raises
    ------
    InputError
        If the file is no region file, or has a region that cannot be a mask: nothing is
        left out in silence.

    Notes
    -----
    Physical coordinates are image coordinates: JWST's headers have no LTV and LTM.
    Without a coordinate system, as well. Labels (text) are not looked at.
    """
    from astropy.utils.exceptions import AstropyUserWarning
    from regions import Regions
    from regions.io.ds9.core import DS9ParserError

    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
        text = _PHYSICAL.sub("image", "image\n" + "\n".join(text.splitlines()))
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            # Colours and the like do not matter.
            warnings.filterwarnings("ignore", 'Found duplicate metadata|DS9 "')
            found = Regions.parse(text, format="ds9")
    except (
        *(AstropyUserWarning, DS9ParserError),
        *(OSError, ValueError, TypeError, LookupError),
    ) as error:
        why = str(error).removesuffix(".").removesuffix(", skipping")
        msg = f"{path}: cannot be read as a DS9 region file ({why})"
        raise InputError(msg) from error
    regions = [r for r in found if not type(r).__name__.startswith("Text")]
    _check_areas(regions, path)
    return regions


_PHYSICAL = re.compile(r"^[ \t]*physical\b", re.IGNORECASE | re.MULTILINE)


def _check_areas(regions: Iterable[Any], path: Path) -> None:
    for region in regions:
        shape = type(region).__name__.removesuffix("PixelRegion")
        shape = shape.removesuffix("SkyRegion").lower()
        flat = shape in ("line", "point")
        if flat or (shape == "polygon" and len(region.vertices) < 3):
            msg = f"{path}: a {shape} has no area. Try: a circle, box or polygon"
            raise InputError(msg)
        if "nan" in str(region).lower():
            msg = f"{path}: a {shape} has no place (nan)"
            raise InputError(msg)


def needs_wcs(regions: Iterable[Any]) -> bool:
    """
    Tell whether some regions are on the sky.

    Parameters
    ----------
    regions : iterable of `~regions.Region`

    Returns
    -------
    needed : bool
    """
    from regions import SkyRegion

    return any(isinstance(region, SkyRegion) for region in regions)


def read_mask_image(path: Path, shape: tuple[int, int]) -> BoolArray:
    """
    Read a mask image.

    Parameters
    ----------
    path : `~pathlib.Path`
        FITS; the first 2D image in it counts.
    shape : tuple of int
        Rows and columns of the exposure.

    Returns
    -------
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
        `True` where the image is above 1e-6.

    Raises
    ------
    InputError
        If there is no image, or it has another shape.
    """
    from astropy.io import fits

    if path.suffix == ".fits":
        check_whole(path)
    try:
        with fits.open(path) as hdus:
            planes = (h.data for h in hdus if h.is_image and h.data is not None)
            image = next((np.array(p) for p in planes if p.ndim == 2), None)
    except (OSError, EOFError, TypeError, ValueError) as error:
        msg = f"{path}: cannot be read as a FITS image ({error})"
        raise InputError(msg) from error
    if image is None:
        msg = f"{path}: there is no 2D image in it"
        raise InputError(msg)
    if image.shape != tuple(shape):
        msg = f"{path}: the mask is {image.shape}, the exposure {tuple(shape)} pixels"
        raise InputError(msg)
    return np.asarray(np.nan_to_num(image) > 1e-6)


def write_regions(
    path: Path, polygons: Sequence[npt.NDArray[np.floating]], comments: Sequence[str]
) -> None:
    """
    Write polygons as a DS9 region file.

    Parameters
    ----------
    path : `~pathlib.Path`
    polygons : sequence of float `~numpy.ndarray`, shape (n, 2)
        0-based x and y of the corners.
    comments : sequence of str
        One line each, at the top of the file.
    """
    lines = ["# Region file format: DS9", *(f"# {c}" for c in comments), "image"]
    for polygon in polygons:
        corners = ",".join(f"{v + 1:.2f}" for v in np.ravel(polygon))
        lines.append(f"polygon({corners})")
    write_text(path, "\n".join(lines) + "\n")


def write_proposal(
    path: Path, polygons: Sequence[npt.NDArray[np.floating]], comments: Sequence[str]
) -> bool:
    """
    Write polygons to look at, unless somebody has changed those of last time.

    Parameters
    ----------
    path : `~pathlib.Path`
        Without polygons, one that nobody has changed is removed.
    polygons : sequence of float `~numpy.ndarray`, shape (n, 2)
    comments : sequence of str

    Returns
    -------
    written : bool
        `False` where a changed file stays as it is.
    """
    if path.exists() and not _is_untouched(path):
        return False
    path.unlink(missing_ok=True)
    if polygons:
        write_regions(path, polygons, comments)
        text = path.read_text()
        write_text(path, f"{text}{_SEAL}{_fingerprint(text)}\n")
    return True


_SEAL = "# as proposed: "


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_untouched(path: Path) -> bool:
    text, _, seal = path.read_text(errors="replace").rpartition(_SEAL)
    return seal.strip() == _fingerprint(text)


def proposals(folder: Path) -> list[Path]:
    """
    List what was proposed and not yet accepted.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of the masks.

    Returns
    -------
    paths : list of `~pathlib.Path`
    """
    return sorted(_files(folder / PROPOSED))


def accept(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """
    Accept proposals: from now on they are masks.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of the masks.
    paths : sequence of `~pathlib.Path`
        The proposals.

    Returns
    -------
    accepted : list of `~pathlib.Path`

    Raises
    ------
    UsageError
        If there is no such proposal, or a mask of this name; none is accepted then.
    InputError
        If a proposal cannot be read any more.
    """
    targets = [folder / path.name for path in paths]
    for path, target in zip(paths, targets, strict=True):
        if not path.is_file():
            names = ", ".join(p.name for p in proposals(folder)) or "none"
            msg = f"{path}: there is no such proposal; there are: {names}"
            raise UsageError(msg)
        if target.exists():
            msg = f"{target}: is there already; remove or rename one of both first"
            raise UsageError(msg)
        if path.suffix == ".reg":
            read_regions(path)
    for path, target in zip(paths, targets, strict=True):
        path.rename(target)
    return targets


def transferred(folder: Path, source: str, target: str) -> dict[Path, Path]:
    """
    Name the masks of one visit for another visit with the same dithers.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Of the masks.
    source, target : str
        Both visits, such as ``jw01837003001``.

    Returns
    -------
    copies : dict
        Mask of ``source`` -> the same for ``target``, beside it.
    """
    return {
        path: path.with_name(target + path.name.removeprefix(source))
        for path in _all_files(folder)
        if path.name.startswith(source)
    }


def copy_mask(path: Path, target: Path) -> None:
    """
    Copy a mask file atomically.

    Parameters
    ----------
    path, target : `~pathlib.Path`
    """
    with atomic(target) as temporary:
        temporary.write_bytes(path.read_bytes())
