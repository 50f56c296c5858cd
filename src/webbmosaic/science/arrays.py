"""The kinds of arrays that the functions of this room take and give."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["AnyFloats", "BoolArray", "FloatArray", "Floats", "IntArray"]

AnyFloats = npt.NDArray[np.floating]
FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int_]
