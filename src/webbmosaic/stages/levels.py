"""Levelling the skies of the exposures of a mosaic."""

from __future__ import annotations

from typing import Any

import numpy as np

from webbmosaic.science.mosaic.levels import sky_levels
from webbmosaic.settings import Skymatch
from webbmosaic.stages.frames import frame_of

__all__ = ["level_skies"]


def level_skies(library: Any, wanted: Skymatch) -> dict[str, Any]:
    """
    Take out the differences between the skies, and nothing else, in place.

    Parameters
    ----------
    library : `~jwst.datamodels.ModelLibrary`
        Aligned exposures; ``meta.background.level`` follows what is subtracted.
    wanted : `~webbmosaic.settings.Skymatch`

    Returns
    -------
    numbers : dict
        For each exposure the ``levels`` subtracted (unit of the image), their
        ``errors`` (None: no other exposure overlaps) and with how many others it was
        compared; for planes the ``tilts`` to the right and to the upper edge.
    """
    plane = wanted.model == "plane"
    with library:
        models = [library.borrow(index) for index in range(len(library))]
        found = sky_levels([frame_of(model) for model in models], plane=plane)
        for index, model in enumerate(models):
            model.data -= found.image(index, model.data.shape).astype(np.float32)
            level = float(model.meta.background.level or 0.0)
            model.meta.background.level = level + float(found.terms[index, 0])
            # What is subtracted already must not be subtracted again.
            model.meta.background.subtracted = True
            model.meta.cal_step.skymatch = "COMPLETE"
            library.shelve(model, index)
    numbers: dict[str, Any] = {
        "levels": [float(level) for level in found.terms[:, 0]],
        "errors": [float(e) if np.isfinite(e) else None for e in found.errors],
        "overlaps": [int(n) for n in found.overlaps],
    }
    if plane:
        numbers["tilts"] = found.terms[:, 1:].tolist()
    return numbers
