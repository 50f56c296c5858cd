"""What a mosaic should reach against truth, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["GOALS", "judge"]

#: Goals for the size of each number of an agreement: per cent, mas, pixel noise.
GOALS = {
    "flux": 0.5,
    "flux_mad": 1.0,
    "ra": 1.0,
    "dec": 1.0,
    "position_mad": 1.5,
    "galaxy_flux": 2.0,
    "sky": 0.03,
}

#: Standard error of a median over MAD / sqrt(n), of normal deviates.
_MEDIAN_ERROR = 1.4826 * np.sqrt(np.pi / 2)
_MAD_OF_NOISE = 0.6745  # of its standard deviation
_TO_SIGMA = 2 * np.sqrt(2 * np.log(2))
#: Drizzling hides noise of sums from the error array: up to so many times.
_CORRELATED = 2.0


def judge(agreement: Mapping[str, Any], key: str, *, fwhm: float | None = None) -> str:
    """
    Say whether a number reaches its goal.

    Parameters
    ----------
    agreement : mapping
        As `webbmosaic.report.truth.Agreement` has it; None where unknown.
    key : str
        One of `GOALS`.
    fwhm : float, optional
        Of a star, arcsec.

    Returns
    -------
    verdict : str
        ``good``, ``bad``, ``unknown``, or ``noise`` where the noise of the exposures
        alone explains the excess.
    """
    value = agreement.get(key)
    if value is None:
        return "unknown"
    if abs(value) <= GOALS[key]:
        return "good"
    return "noise" if abs(value) <= _explained(agreement, key, fwhm) else "bad"


def _explained(agreement: Mapping[str, Any], key: str, fwhm: float | None) -> float:
    """Give the size up to which noise can explain a number."""
    snr = float(agreement.get("snr") or np.inf)
    if key == "flux_mad":
        return float(100 * _CORRELATED * _MAD_OF_NOISE / snr)
    if key == "position_mad":
        width = 1000 * (fwhm or 0) / _TO_SIGMA
        return float(_CORRELATED * _MAD_OF_NOISE * width / snr)
    error = float(agreement.get("sky_error") or 0)
    if key != "sky":
        scatter, count = {
            "flux": ("flux_mad", "stars"),
            "galaxy_flux": ("galaxy_mad", "galaxies"),
        }.get(key, ("position_mad", "stars"))
        spread = agreement.get(scatter) or 0.0
        error = float(_MEDIAN_ERROR * spread / np.sqrt(agreement.get(count) or 1))
    return GOALS[key] + 2 * error
