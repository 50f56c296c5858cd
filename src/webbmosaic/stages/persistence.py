"""The task that flags persistence in one exposure."""

from __future__ import annotations

from pathlib import Path

from webbmosaic.files.ledger import Result
from webbmosaic.settings import Settings
from webbmosaic.stages.association_level import make_persistence_flags, write_flags

__all__ = ["run"]


def run(inputs: list[Path], outputs: list[Path], settings: Settings) -> Result:
    """
    Flag what is left in an exposure of what saturated in earlier ones.

    Parameters
    ----------
    inputs : list of `~pathlib.Path`
        The ``_rate.fits`` of the exposure, then those of the exposures of the same
        detector that ended shortly before it.
    outputs : list of `~pathlib.Path`
        The ``_persistence.fits`` to make: an image of data-quality bits.
    settings : Settings

    Returns
    -------
    result : `~webbmosaic.files.ledger.Result`
    """
    flags, numbers = make_persistence_flags(inputs[0], inputs[1:], settings.persistence)
    write_flags(outputs[0], flags)
    return Result(numbers={"persistence": numbers})
