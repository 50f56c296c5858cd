"""The task that finds the bad pixels of one detector."""

from __future__ import annotations

from pathlib import Path

from webbmosaic.files.ledger import Result
from webbmosaic.settings import Settings
from webbmosaic.stages.association_level import make_bad_pixel_flags, write_flags

__all__ = ["run"]


def run(inputs: list[Path], outputs: list[Path], settings: Settings) -> Result:
    """
    Find the pixels that misbehave in most pointings of a detector.

    Parameters
    ----------
    inputs : list of `~pathlib.Path`
        All ``_rate.fits`` of the detector with the same frame size.
    outputs : list of `~pathlib.Path`
        The ``_badpixels.fits`` to make: an image of data-quality bits.
    settings : Settings

    Returns
    -------
    result : `~webbmosaic.files.ledger.Result`

    Raises
    ------
    NothingToDo
        With too few dithered pointings.
    """
    flags, numbers = make_bad_pixel_flags(inputs, settings.badpixels)
    write_flags(outputs[0], flags)
    return Result(numbers={"badpixels": numbers})
