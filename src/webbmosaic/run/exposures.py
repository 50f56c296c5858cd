"""An exposure as planning knows it: a dataset and what its header says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from webbmosaic.datasets import Dataset, effective_filter
from webbmosaic.settings import Settings

__all__ = ["Exposure", "ExtraInputs", "Header"]

Header: TypeAlias = Mapping[str, str | int | float | bool]
ExtraInputs: TypeAlias = Callable[
    [Settings, Dataset, str], Mapping[str, tuple[Path, ...]]
]


@dataclass(frozen=True)
class Exposure:
    """
    A dataset and what its header says.

    Attributes
    ----------
    dataset : Dataset
    header : mapping
        Primary and SCI keywords; empty where the file cannot be read.
    cal : `~pathlib.Path`, optional
        A calibrated image that stands elsewhere than in the work folder.
    asked : bool, optional
        Whether the user's selection has it.
    """

    dataset: Dataset
    header: Header
    cal: Path | None = None
    asked: bool = True

    @property
    def filter_name(self) -> str:
        """The filter that shaped the light; empty where the header is unknown."""
        name = str(self.header.get("FILTER", ""))
        return effective_filter(name, str(self.header.get("PUPIL", "")))

    @property
    def pixels(self) -> float:
        """Pixels of one frame."""
        return self.number("SUBSIZE1", 2048) * self.number("SUBSIZE2", 2048)

    @property
    def narrow(self) -> dict[str, str]:
        """By what settings are narrowed to this exposure."""
        return {
            "instrument": self.dataset.instrument,
            "filter_name": self.filter_name,
            "detector": self.dataset.detector,
        }

    def number(self, keyword: str, default: float) -> float:
        """Give a number of the header; the default where it is none."""
        value = self.header.get(keyword, default)
        known = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if known else default

    @property
    def frame(self) -> str:
        """Name of the frame: ``2048x2048``, or ``160x160+1888+1`` with its corner."""
        sizes = (self.header.get(f"SUBSIZE{axis}", 2048) for axis in (1, 2))
        corner = [self.header.get(f"SUBSTRT{axis}", 1) for axis in (1, 2)]
        place = "" if corner == [1, 1] else "".join(f"+{value}" for value in corner)
        return "x".join(map(str, sizes)) + place
