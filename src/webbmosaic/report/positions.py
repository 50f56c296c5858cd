"""Where stars are on a mosaic, and where they truly are."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from webbmosaic.report.encircled import FINE
from webbmosaic.report.sources import TrueSources

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["offsets"]

_FITTED = 5  # pixels on a side, in which a star's centre is fitted
_SKY_RING = (8, 14)  # pixels
_MOST = 300  # stars fitted at most


def offsets(sources: TrueSources, chosen: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """
    Measure where stars are, by fitting the known PSF: it has no pixel-phase bias.

    Parameters
    ----------
    sources : TrueSources
    chosen : ndarray of int, shape (m,)
        Which stars; no more than 300 are fitted.

    Returns
    -------
    east, north : ndarray of float64
        Measured minus true, mas on the sky.
    """
    chosen = chosen[:: max(1, -(-chosen.size // _MOST))]
    if chosen.size == 0:
        return np.array([]), np.array([])
    x, y = _fitted(sources, chosen)
    ra, dec = sources.mosaic.wcs.all_pix2world(x, y, 0)
    scale = np.cos(np.deg2rad(sources.dec[chosen]))
    east = (ra - sources.ra[chosen]) * scale * 3.6e6
    north = (dec - sources.dec[chosen]) * 3.6e6
    close = np.hypot(x - sources.x[chosen], y - sources.y[chosen]) < _FITTED
    return east[close], north[close]


def _fitted(sources: TrueSources, chosen: NDArray[np.intp]) -> tuple[Floats, Floats]:
    from astropy.table import Table
    from photutils.background import LocalBackground
    from photutils.psf import ImagePSF, PSFPhotometry

    middle = sources.model.shape[0] // 2
    part = slice(middle - 8 * FINE, middle + 8 * FINE + 1)
    model = ImagePSF(sources.model[part, part] * FINE**2, oversampling=FINE)
    start = {
        "x": sources.x[chosen],
        "y": sources.y[chosen],
        "flux": sources.flux[chosen],
    }
    fit = PSFPhotometry(model, _FITTED, local_bkg_estimator=LocalBackground(*_SKY_RING))
    data, good = sources.mosaic.data, sources.mosaic.good
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a star that did not converge: it is NaN
        found = fit(np.where(good, data, 0), mask=~good, init_params=Table(start))
    return np.asarray(found["x_fit"], float), np.asarray(found["y_fit"], float)
