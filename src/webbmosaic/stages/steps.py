"""The cleaning steps of stage 1 in their order.

A step takes a model and the settings, changes the model, and returns the numbers for
the ledger, or `None` where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from webbmosaic.settings import Settings
from webbmosaic.stages.artefacts import claws, snowballs, wisps
from webbmosaic.stages.clean import flat, stripes

__all__ = ["STEPS", "Step"]

Step: TypeAlias = Callable[[Any, Settings], dict[str, Any] | None]

#: Bad areas and snowballs come before what is fitted, so that they do not pull the fit.
STEPS: dict[str, Step] = {
    "flat": flat,
    "claws": claws,
    "snowballs": snowballs,
    "wisps": wisps,
    "stripes": stripes,
}
