"""From data models to the arrays that `science.mosaic` works on."""

from __future__ import annotations

from typing import Any

import numpy as np

from webbmosaic.science.mosaic.frames import Frame
from webbmosaic.stages.quality import usable_pixels

__all__ = ["frame_of"]


def frame_of(model: Any) -> Frame:
    """
    Take what the science needs out of a model.

    Parameters
    ----------
    model : `~stdatamodels.jwst.datamodels.ImageModel`
        A calibrated exposure with its aligned WCS.

    Returns
    -------
    frame : `~webbmosaic.science.mosaic.frames.Frame`
        Copies of its arrays; bad pixels are zero.
    """
    good = usable_pixels(model) & np.isfinite(model.err) & (model.err > 0)
    wcs = model.meta.wcs

    def to_sky(x: Any, y: Any) -> Any:
        return wcs(x, y, with_bounding_box=False)

    def to_pixels(ra: Any, dec: Any) -> Any:
        return wcs.invert(ra, dec, with_bounding_box=False)

    return Frame(
        data=np.where(good, model.data, 0).astype(np.float32),
        variance=np.where(good, model.err, 0).astype(np.float32) ** 2,
        good=good,
        to_sky=to_sky,
        to_pixels=to_pixels,
    )
