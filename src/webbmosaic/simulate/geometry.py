"""Where a pixel looks: from the detector to the telescope's frame (V2, V3).

The numbers are SIAF's (PRD named in ``data/siaf.json``, baked by
``scripts/bake_siaf.py``); the formulae are those of JWST-STScI-001550, "Description and
Use of the JWST Science Instrument Aperture File": science pixels to ideal coordinates
by a polynomial, ideal to V2, V3 by a rotation and a parity. All pixels are 0-based in
the DMS orientation of the data; V2 and V3 are spherical angles in arcsec.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from webbmosaic.errors import UsageError

__all__ = [
    "ARCSEC",
    "Aperture",
    "aperture",
    "distortion_model",
    "pixel_to_v2v3",
    "subarrays",
    "v2v3_to_pixel",
]

Floats = NDArray[np.float64]

#: Radians.
ARCSEC = np.pi / 180 / 3600

#: Directions of the fast and slow read-out in the DMS frame (JDox, "NIRCam Detectors",
#: "MIRI Detector Readout Overview", "NIRISS Detectors").
_SCANS = {
    **dict.fromkeys(("NRCA1", "NRCA3", "NRCALONG", "NRCB2", "NRCB4"), (-1, 2)),
    **dict.fromkeys(("NRCA2", "NRCA4", "NRCB1", "NRCB3", "NRCBLONG"), (1, -2)),
    "MIRIMAGE": (1, 2),
    "NIS": (-2, -1),
}

#: Frames that are read through all four outputs; the others use one.
_FOUR_OUTPUTS = ("FULL", "SUBGRISM64")


@dataclass(frozen=True)
class Aperture:
    """
    One subarray of one detector.

    Attributes
    ----------
    instrument : str
        ``NIRCAM``, ``MIRI`` or ``NIRISS``.
    detector, subarray : str
        As in the headers: ``NRCBLONG``, ``SUB160``.
    name : str
        SIAF's name, the APERNAME keyword.
    nx, ny : int
        Columns and rows.
    substrt1, substrt2 : int
        First column and row on the detector, 1-based.
    fastaxis, slowaxis : int
        Read-out directions, as the keywords.
    noutputs : int
        Amplifiers that read the subarray.
    v2_ref, v3_ref : float
        Reference point, arcsec.
    vparity : int
        Parity between ideal and V2, V3 coordinates.
    v3i_yang : float
        From V3 to the ideal y axis, degrees.
    pixel_scale : float
        Geometric mean of both axes at the reference point, arcsec.
    module, channel : str
        NIRCam's ``A`` or ``B`` and ``SHORT`` or ``LONG``; empty elsewhere.
    """

    instrument: str
    detector: str
    subarray: str
    name: str
    nx: int
    ny: int
    substrt1: int
    substrt2: int
    fastaxis: int
    slowaxis: int
    noutputs: int
    v2_ref: float
    v3_ref: float
    vparity: int
    v3i_yang: float
    pixel_scale: float
    module: str
    channel: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.ny, self.nx


@cache
def _siaf() -> dict[str, Any]:
    text = files("webbmosaic.simulate").joinpath("data/siaf.json").read_text()
    detectors: dict[str, Any] = json.loads(text)["detectors"]
    return detectors


def subarrays(detector: str) -> tuple[str, ...]:
    """
    Name the subarrays known of a detector, FULL among them.

    Parameters
    ----------
    detector : str
        Such as ``NRCB1``.

    Returns
    -------
    names : tuple of str

    Raises
    ------
    UsageError
        If the detector is unknown.
    """
    return tuple(_entry(detector)["subarrays"])


def _entry(detector: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = _siaf()[detector]
    except KeyError:
        known = ", ".join(_siaf())
        msg = f"detector '{detector}' is not one of {known}"
        raise UsageError(msg) from None
    return entry


@cache
def aperture(detector: str, subarray: str = "FULL") -> Aperture:
    """
    Look up a subarray.

    Parameters
    ----------
    detector, subarray : str
        As in the headers.

    Returns
    -------
    aperture : Aperture

    Raises
    ------
    UsageError
        If the detector has no such subarray.
    """
    entry = _entry(detector)
    if subarray not in entry["subarrays"]:
        known = ", ".join(subarrays(detector))
        msg = f"{detector} has no subarray '{subarray}'; it has {known}"
        raise UsageError(msg)
    part = entry["subarrays"][subarray]
    nircam = entry["instrument"] == "NIRCAM"
    fastaxis, slowaxis = _SCANS[detector]
    return Aperture(
        instrument=entry["instrument"],
        detector=detector,
        subarray=subarray,
        name=part["aperture"],
        nx=part["nx"],
        ny=part["ny"],
        substrt1=part["substrt1"],
        substrt2=part["substrt2"],
        fastaxis=fastaxis,
        slowaxis=slowaxis,
        noutputs=4 if subarray in _FOUR_OUTPUTS else 1,
        v2_ref=part["v2_ref"],
        v3_ref=part["v3_ref"],
        vparity=entry["vparity"],
        v3i_yang=part["v3i_yang"],
        pixel_scale=part["pixel_scale"],
        module=detector[3] if nircam else "",
        channel=("LONG" if detector.endswith("LONG") else "SHORT") if nircam else "",
    )


def _polynomial(coefficients: list[float], x: Floats, y: Floats) -> Floats:
    """Sum c x**i y**j in SIAF's order: by total degree, then by the power of y."""
    degree = _degree(coefficients)
    grid = np.zeros((degree + 1, degree + 1))
    for (i, j), factor in zip(_exponents(degree), coefficients, strict=True):
        grid[i, j] = factor
    return np.asarray(np.polynomial.polynomial.polyval2d(x, y, grid), np.float64)


def _frame_to_ideal(entry: dict[str, Any], x: Floats, y: Floats) -> tuple[Floats, ...]:
    """Full-frame pixels to ideal coordinates, arcsec."""
    u, v = x + 1 - entry["x_sci_ref"], y + 1 - entry["y_sci_ref"]
    return (
        _polynomial(entry["x_ideal"], u, v),
        _polynomial(entry["y_ideal"], u, v),
    )


def _ideal_to_frame(entry: dict[str, Any], u: Floats, v: Floats) -> tuple[Floats, ...]:
    """Ideal coordinates to full-frame pixels: the fitted inverse, then one correction.

    The correction (a secant step) squares the fit's error of 1e-4 px.
    """

    def guess(u: Floats, v: Floats) -> tuple[Floats, Floats]:
        return (
            _polynomial(entry["x_pixel"], u, v) + entry["x_sci_ref"] - 1,
            _polynomial(entry["y_pixel"], u, v) + entry["y_sci_ref"] - 1,
        )

    x, y = guess(u, v)
    found = guess(*_frame_to_ideal(entry, x, y))
    return 2 * x - found[0], 2 * y - found[1]


def _rotation(entry: dict[str, Any]) -> Floats:
    """From ideal coordinates to V2, V3 offsets."""
    angle = np.deg2rad(entry["v3i_yang"])
    parity = entry["vparity"]
    return np.array(
        [
            [parity * np.cos(angle), np.sin(angle)],
            [-parity * np.sin(angle), np.cos(angle)],
        ]
    )


def pixel_to_v2v3(
    aperture: Aperture, x: ArrayLike, y: ArrayLike
) -> tuple[Floats, Floats]:
    """
    Say where pixels look in the telescope's frame.

    Parameters
    ----------
    aperture : Aperture
    x, y : array_like
        0-based pixels of the subarray.

    Returns
    -------
    v2, v3 : ndarray of float64
        arcsec.
    """
    entry = _entry(aperture.detector)
    u, v = _frame_to_ideal(
        entry,
        np.asarray(x, dtype=float) + aperture.substrt1 - 1,
        np.asarray(y, dtype=float) + aperture.substrt2 - 1,
    )
    matrix = _rotation(entry)
    return (
        entry["v2_ref"] + matrix[0, 0] * u + matrix[0, 1] * v,
        entry["v3_ref"] + matrix[1, 0] * u + matrix[1, 1] * v,
    )


def v2v3_to_pixel(
    aperture: Aperture, v2: ArrayLike, v3: ArrayLike
) -> tuple[Floats, Floats]:
    """
    Find the pixels that look at points of the telescope's frame.

    Exact to 1e-6 px on the detector; meaningless more than a few arcsec beyond it.

    Parameters
    ----------
    aperture : Aperture
    v2, v3 : array_like
        arcsec.

    Returns
    -------
    x, y : ndarray of float64
        0-based pixels of the subarray.
    """
    entry = _entry(aperture.detector)
    inverse = np.linalg.inv(_rotation(entry))
    dv2 = np.asarray(v2, dtype=float) - entry["v2_ref"]
    dv3 = np.asarray(v3, dtype=float) - entry["v3_ref"]
    x, y = _ideal_to_frame(
        entry,
        inverse[0, 0] * dv2 + inverse[0, 1] * dv3,
        inverse[1, 0] * dv2 + inverse[1, 1] * dv3,
    )
    return x - aperture.substrt1 + 1, y - aperture.substrt2 + 1


def distortion_model(aperture: Aperture) -> Any:
    """
    Build the transform that a CRDS distortion file holds.

    Parameters
    ----------
    aperture : Aperture
        Only its detector matters.

    Returns
    -------
    model : astropy.modeling.Model
        From 0-based full-frame pixels to V2, V3 in arcsec, with an ``inverse`` good
        to 2e-4 px.
    """
    from astropy.modeling.models import AffineTransformation2D, Mapping, Shift

    entry = _entry(aperture.detector)
    shift = Shift(1 - entry["x_sci_ref"]) & Shift(1 - entry["y_sci_ref"])
    split = Mapping((0, 1, 0, 1), n_inputs=2)
    turn = AffineTransformation2D(
        matrix=_rotation(entry), translation=(entry["v2_ref"], entry["v3_ref"])
    )
    forward = _model(entry["x_ideal"]) & _model(entry["y_ideal"])
    backward = _model(entry["x_pixel"]) & _model(entry["y_pixel"])
    transform = shift | split | forward | turn
    transform.inverse = turn.inverse | split.copy() | backward | shift.inverse
    return transform


def _degree(coefficients: list[float]) -> int:
    """Degree of a polynomial in two variables with so many coefficients."""
    return (isqrt(8 * len(coefficients) + 1) - 3) // 2


def _exponents(degree: int) -> list[tuple[int, int]]:
    return [(n - j, j) for n in range(degree + 1) for j in range(n + 1)]


def _model(coefficients: list[float]) -> Any:
    from astropy.modeling.models import Polynomial2D

    degree = _degree(coefficients)
    exponents = _exponents(degree)
    named = {f"c{i}_{j}": c for (i, j), c in zip(exponents, coefficients, strict=True)}
    return Polynomial2D(degree, **named)
