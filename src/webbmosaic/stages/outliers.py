"""Outliers of the exposures of a mosaic: flagged in the models and counted."""

from __future__ import annotations

from typing import Any

import numpy as np

from webbmosaic.errors import OutlierError
from webbmosaic.science.mosaic.outliers import (
    Options,
    Outliers,
    find_outliers,
    neighbour,
)
from webbmosaic.settings import Outliers as Wanted
from webbmosaic.stages.frames import frame_of
from webbmosaic.stages.quality import DO_NOT_USE, OUTLIER

__all__ = ["reject_outliers"]


def reject_outliers(
    library: Any, wanted: Wanted, name: str, *, still: bool = True
) -> dict[str, Any]:
    """
    Flag what only one exposure has, in place.

    Parameters
    ----------
    library : `~jwst.datamodels.ModelLibrary`
        Aligned exposures, their skies levelled; their DQ is changed.
    wanted : `~webbmosaic.settings.Outliers`
    name : str
        The group, for sentences.
    still : bool
        `False` where a moving target is followed: the stars move, and are rejected
        however many they are.

    Returns
    -------
    numbers : dict
        For each exposure the fraction rejected, the fraction that could be compared,
        the scatter of blank sky in units of its ERR and the shift that was left (in
        pixels, the largest); ``by_magnitude`` has the fraction of the 3 x 3 pixels of
        sources that was rejected, by AB magnitude within them.

    Raises
    ------
    OutlierError
        If more than ``max_rejected`` of an exposure would be rejected.
    """
    options = Options(wanted.threshold, wanted.beside, wanted.sharpness, still)
    found, cores = [], []
    with library:
        models = [library.borrow(index) for index in range(len(library))]
        ready = [neighbour(frame_of(model)) for model in models]
        for index, one in enumerate(ready):
            others = ready[:index] + ready[index + 1 :]
            found.append(find_outliers(one, others, options))
        for index, (model, outliers) in enumerate(zip(models, found, strict=True)):
            if still:
                _refuse_too_many(outliers, str(model.meta.filename), wanted, name)
            model.dq[outliers.mask] |= DO_NOT_USE | OUTLIER
            model.meta.cal_step.outlier_detection = "COMPLETE"
            cores.append(_magnitudes(outliers, model))
            library.shelve(model, index)
    return {
        "fractions": [round(one.rejected, 6) for one in found],
        "compared": [round(one.compared, 4) for one in found],
        "noise": [round(one.noise, 3) for one in found],
        "shift_left": [round(_largest_shift(one), 3) for one in found],
        "by_magnitude": _by_magnitude(np.concatenate(cores)),
    }


def _refuse_too_many(
    outliers: Outliers, exposure: str, wanted: Wanted, name: str
) -> None:
    if outliers.rejected > wanted.max_rejected:
        msg = (
            f"{name}: {100 * outliers.rejected:.2g} % of {exposure} differ from the"
            f" other exposures, {100 * wanted.max_rejected:g} % are allowed"
            " (outliers.max_rejected). Look for a misaligned exposure, a moving or"
            " bright source, or persistence, and mask it, or leave the exposure out"
        )
        raise OutlierError(msg)


def _largest_shift(outliers: Outliers) -> float:
    return max((float(np.hypot(s.x, s.y)) for s in outliers.shifts), default=0.0)


def _magnitudes(outliers: Outliers, model: Any) -> np.ndarray:
    """Give AB magnitude and rejected fraction of each source."""
    steradian = model.meta.photometry.pixelarea_steradians
    light, share = outliers.cores.T
    if not steradian or str(model.meta.bunit_data) != "MJy/sr":
        return np.zeros((0, 2))
    positive = light > 0
    magnitude = 8.9 - 2.5 * np.log10(light[positive] * steradian * 1e6)
    return np.column_stack([magnitude, share[positive]])


def _by_magnitude(sources: np.ndarray) -> dict[str, Any]:
    """Average in bins of one magnitude."""
    bins = np.floor(sources[:, 0]).astype(int)
    return {
        str(low): {
            "sources": int((bins == low).sum()),
            "rejected": round(float(sources[bins == low, 1].mean()), 5),
        }
        for low in np.unique(bins)
    }
