"""
Lines of pixels through a frame.

A family of lines has an angle, in degrees from the x axis towards the y axis. Each
pixel belongs to exactly one line of a family.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Lines:
    """
    The geometry of one family of lines over a frame.

    Attributes
    ----------
    angle : float
        Direction of the lines in degrees, from the x axis towards the y axis.
    steep : bool
        `False`: the line of pixel (y, x) is ``parts * y + shift[x]``. `True`:
        ``parts * x + shift[y]``.
    parts : int
        Lines per pixel across.
    shift : int64 `~numpy.ndarray`, shape (nx,) or (ny,)
        Whole-line offsets, smallest line number 0.
    count : int
        Number of lines.
    """

    angle: float
    steep: bool
    parts: int
    shift: npt.NDArray[np.int64]
    count: int

    @property
    def tilted(self) -> bool:
        """Whether these are neither rows nor columns."""
        return abs(self.angle) % 90.0 != 0.0


def make_lines(shape: tuple[int, int], angle: float, *, parts: int = 1) -> Lines:
    """
    Number the lines of a family.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the frame.
    angle : float
        Degrees from the x axis towards the y axis; 0 follows the rows, 90 the columns.
    parts : int
        Lines per pixel across: tilted stripes do not keep to the steps of the pixels.

    Returns
    -------
    lines : Lines
        The geometry.
    """
    ny, nx = shape
    angle = (angle + 90.0) % 180.0 - 90.0
    steep = abs(angle) > 45.0
    along, across = (ny, nx) if steep else (nx, ny)
    slope = np.tan(np.radians(90.0 - angle if steep else angle))
    shift = np.floor(parts * (0.5 - np.arange(along) * slope)).astype(np.int64)
    shift -= shift.min()
    count = parts * (across - 1) + int(shift.max()) + 1
    return Lines(angle, bool(steep), parts, shift, count)
