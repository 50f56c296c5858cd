"""The data quality of an image: what its bits mean, and which pixels may be used."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "DO_NOT_USE",
    "HOT",
    "JUMP_DET",
    "OTHER_BAD_PIXEL",
    "OUTLIER",
    "PERSISTENCE",
    "SATURATED",
    "TELEGRAPH",
    "WARM",
    "usable_pixels",
]

#: Bits of the JWST data quality array (jwst documentation, "Data Quality Flags").
DO_NOT_USE, SATURATED, JUMP_DET, OUTLIER, PERSISTENCE = 1, 2, 4, 2**4, 2**5
HOT, WARM, TELEGRAPH, OTHER_BAD_PIXEL = 2**11, 2**12, 2**15, 2**30


def usable_pixels(model: Any) -> np.ndarray:
    """
    Tell which pixels may be used.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`

    Returns
    -------
    usable : 2D bool `~numpy.ndarray`
        Finite, and not flagged DO_NOT_USE.
    """
    usable: np.ndarray = np.isfinite(model.data) & ((model.dq & DO_NOT_USE) == 0)
    return usable
