"""Wisp templates on disk: ``wisps_{detector}_{FILTER}.fits``.

More files of the same beginning, such as ``wisps_nrcb4_F200W_2.fits``, are further
components, fitted together with the first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from webbmosaic.errors import InputError, UsageError
from webbmosaic.files.products import atomic

__all__ = [
    "WISP_DETECTORS",
    "WISP_FILTERS",
    "find_templates",
    "read_template",
    "template_folder",
    "template_name",
    "write_template",
]

FloatArray = npt.NDArray[np.float32]

#: Where wisps are known, and in which filters they are bright (JDox, "NIRCam Claws and
#: Wisps").
WISP_DETECTORS = ("nrca3", "nrca4", "nrcb3", "nrcb4")
WISP_FILTERS = ("F150W", "F150W2", "F200W", "F210M")

#: The folder of the templates, for all work folders.
VARIABLE = "NIRCAM_WISP_TEMPLATES"


def template_folder(given: str, root: Path) -> Path:
    """
    Choose the folder of the templates.

    Parameters
    ----------
    given : str
        What the user sets; may be empty.
    root : `~pathlib.Path`
        The work folder.

    Returns
    -------
    folder : `~pathlib.Path`
        What is given, else ``NIRCAM_WISP_TEMPLATES``, else ``wisp_templates`` in the
        work folder.
    """
    return Path(given or os.environ.get(VARIABLE) or root / "wisp_templates")


def template_name(detector: str, filter_name: str) -> str:
    """
    Name the template of a detector and filter.

    Parameters
    ----------
    detector : str
        As in file names, or the DETECTOR keyword.
    filter_name : str
        The filter that shaped the light: that of the pupil wheel, if there is one.

    Returns
    -------
    name : str

    Examples
    --------
    >>> template_name("NRCB4", "f200w")
    'wisps_nrcb4_F200W.fits'
    """
    return f"wisps_{detector.lower()}_{filter_name.upper()}.fits"


def find_templates(folder: Path, detector: str, filter_name: str) -> list[Path]:
    """
    Find the templates of a detector and filter.

    Parameters
    ----------
    folder : `~pathlib.Path`
    detector, filter_name : str
        As for `template_name`.

    Returns
    -------
    paths : list of `~pathlib.Path`
        Sorted; empty if there is none.
    """
    stem = template_name(detector, filter_name).removesuffix(".fits")
    names = (f"{stem}.fits", f"{stem}.fits.gz", f"{stem}_*.fits", f"{stem}_*.fits.gz")
    return sorted({path for name in names for path in folder.glob(name)})


def read_template(
    path: Path, shape: tuple[int, int], corner: tuple[int, int] = (1, 1)
) -> FloatArray:
    """
    Read a template for a frame.

    Parameters
    ----------
    path : `~pathlib.Path`
        FITS; the first 2D image in it counts.
    shape : tuple of int
        Rows and columns of the frame.
    corner : tuple of int, optional
        SUBSTRT1 and SUBSTRT2 of the frame: where a subarray lies on the detector.

    Returns
    -------
    template : 2D float32 `~numpy.ndarray`
        NaN where padded: where it equals its first pixel, if the second row starts
        with the same value.

    Raises
    ------
    InputError
        If there is no image in the file, or it does not cover the frame.
    """
    image = _first_image(path)
    if np.isfinite(image[0, 0]) and image.shape[0] > 1 and image[0, 0] == image[1, 0]:
        image[image == image[0, 0]] = np.nan
    if image.shape == tuple(shape):
        return image
    x0, y0 = (value - 1 for value in corner)
    cut = image[y0 : y0 + shape[0], x0 : x0 + shape[1]]
    if cut.shape != tuple(shape):
        msg = (
            f"{path}: a template of {image.shape} pixels does not cover a frame of"
            f" {tuple(shape)} at {corner}"
        )
        raise InputError(msg)
    return cut.copy()


def _first_image(path: Path) -> FloatArray:
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            planes = (h.data for h in hdus if h.is_image and h.data is not None)
            image = next((np.array(p, np.float32) for p in planes if p.ndim == 2), None)
    except OSError as error:
        msg = f"{path}: cannot be read as a wisp template ({error})"
        raise InputError(msg) from error
    if image is None:
        msg = f"{path}: there is no 2D image in it"
        raise InputError(msg)
    return image


def write_template(
    path: Path,
    planes: tuple[FloatArray, FloatArray],
    exposures: Sequence[tuple[str, float]],
    header: dict[str, Any],
) -> None:
    """
    Write a template that was made from exposures.

    Parameters
    ----------
    path : `~pathlib.Path`
    planes : tuple of 2D float32 `~numpy.ndarray`
        The template and its weight (inverse variance).
    exposures : sequence of (str, float)
        Name and wisp amplitude (DN/s) of each exposure.
    header : dict
        Keywords for the primary header.

    Raises
    ------
    UsageError
        If no exposure is given.
    """
    from astropy.io import fits

    if not exposures:
        msg = f"{path}: a template is made from exposures, but none are given"
        raise UsageError(msg)
    names, amplitudes = zip(*exposures, strict=True)
    columns = [
        fits.Column("exposure", f"{max(map(len, names))}A", array=np.array(names)),
        fits.Column("amplitude", "E", unit="DN/s", array=np.array(amplitudes)),
    ]
    primary = fits.PrimaryHDU()
    primary.header.update(header)
    hdus = fits.HDUList([
        primary,
        fits.ImageHDU(planes[0], name="TEMPLATE"),
        fits.ImageHDU(planes[1], name="WEIGHT"),
        fits.BinTableHDU.from_columns(columns, name="EXPOSURES"),
    ])  # fmt: skip
    with atomic(path) as temporary, temporary.open("wb") as stream:
        hdus.writeto(stream)
