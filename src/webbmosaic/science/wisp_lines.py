"""Sums of the blocks of a frame along the lines that its noise follows, and back.

A frame is read in pieces of rows, all outputs at once and in alternating directions;
other noise follows the columns, or lines tilted by 30 degrees either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
import numpy.typing as npt

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.smoothing import enlarged

__all__ = ["CELL", "PIECES", "Layout"]

PIECES = 8
"""Pieces in time of each row of an output; the noise is constant in each."""

CELL = 4
"""Side of the cells in which the background is constant, in blocks."""

_TILT = 30.0  # degrees; see `webbmosaic.science.stripes`


@dataclass(frozen=True)
class Layout:
    """
    Where the levels of pieces, columns and tilted lines stand in one long vector.

    Images are turned: the first axis is x, the second y, so that sums along y are fast.

    Attributes
    ----------
    rows, columns : int
        Of the frame, in blocks; ``columns`` is a multiple of ``outputs * PIECES``.
    outputs : int
        Amplifiers along a row.
    size : int
        Room for the times of one output.
    """

    rows: int
    columns: int
    outputs: int
    size: int

    @cached_property
    def rise(self) -> npt.NDArray[np.int64]:
        """How far a tilted line rises from the first column to each."""
        tangent = math.tan(math.radians(_TILT))
        return np.asarray(np.rint(np.arange(self.columns) * tangent), np.int64)

    @property
    def parts(self) -> tuple[slice, ...]:
        """Pieces in time of all outputs, columns, lines that rise and that fall."""
        tilted = self.rows + int(self.rise[-1])
        sizes = (self.outputs * self.size, self.columns, tilted, tilted)
        ends = np.cumsum(sizes).tolist()
        return tuple(slice(e - n, e) for n, e in zip(sizes, ends, strict=True))

    @property
    def cells(self) -> tuple[int, int]:
        """Number of cells along x and y."""
        return -(-self.columns // CELL), -(-self.rows // CELL)

    def sums(self, images: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """
        Add up images along all lines.

        Parameters
        ----------
        images : sequence of 2D float32 `~numpy.ndarray`, shape (columns, rows)

        Returns
        -------
        sums : float32 `~numpy.ndarray`, shape (n, length of the vector)
        cells : float32 `~numpy.ndarray`, shape (n, *cells)
        """
        sums, cells = self._zeros(len(images))
        for k, image in enumerate(images):
            _add_up(image, self.rise, self.outputs, self.size, sums[k], cells[k])
        return sums, cells

    def weighted(
        self, levels: FloatArray, weight: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Spread levels over the frame, multiply them by weights, and add them up."""
        sums, cells = self._zeros(len(levels))
        room = np.empty(weight.shape, np.float32)
        for k, vector in enumerate(levels):
            _spread(vector, self.rise, self.outputs, self.size, room)
            room *= weight
            _add_up(room, self.rise, self.outputs, self.size, sums[k], cells[k])
        return sums, cells

    def spread(self, levels: FloatArray) -> FloatArray:
        """
        Give each block the sum of the levels of the lines that cross it.

        Parameters
        ----------
        levels : float32 `~numpy.ndarray`, shape (n, length of the vector)

        Returns
        -------
        images : float32 `~numpy.ndarray`, shape (n, columns, rows)
        """
        images = np.empty((len(levels), self.columns, self.rows), np.float32)
        for vector, image in zip(levels, images, strict=True):
            _spread(vector, self.rise, self.outputs, self.size, image)
        return images

    def enlarged(self, cells: FloatArray) -> FloatArray:
        """Repeat the values of cells over their blocks."""
        return enlarged(cells, (self.columns, self.rows), CELL)

    def _zeros(self, count: int) -> tuple[FloatArray, FloatArray]:
        sums = np.zeros((count, self.parts[-1].stop), np.float32)
        return sums, np.zeros((count, *self.cells), np.float32)


@numba.njit(cache=True, fastmath=True)
def _piece_of(j):  # type: ignore[no-untyped-def]
    """Output and place in time of the pieces of a row, from left to right."""
    output, piece = j // PIECES, j % PIECES
    return output, PIECES - 1 - piece if output % 2 else piece


@numba.njit(cache=True, fastmath=True)
def _add_up(image, rise, outputs, size, sums, cells):  # type: ignore[no-untyped-def]
    """Add up the columns one by one: along y, all loops run without gaps."""
    columns, rows = image.shape
    width = columns // (outputs * PIECES)
    up = outputs * size + columns
    down = up + rows + rise[-1]
    level, cell = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    for j in range(outputs * PIECES):
        output, piece = _piece_of(j)
        level[:] = 0
        for x in range(j * width, (j + 1) * width):
            values = image[x]
            rising = sums[up - rise[x] + rise[-1] :]
            falling = sums[down + rise[x] :]
            total = np.float32(0)
            for y in range(rows):
                total += values[y]
                level[y] += values[y]
                cell[y] += values[y]
            for y in range(rows):
                rising[y] += values[y]
            for y in range(rows):
                falling[y] += values[y]
            sums[outputs * size + x] += total
            if x % CELL == CELL - 1 or x == columns - 1:
                for y in range(rows):
                    cells[x // CELL, y // CELL] += cell[y]
                cell[:] = 0
        for y in range(rows):
            sums[output * size + y * PIECES + piece] += level[y]


@numba.njit(cache=True, fastmath=True)
def _spread(levels, rise, outputs, size, image):  # type: ignore[no-untyped-def]
    columns, rows = image.shape
    width = columns // (outputs * PIECES)
    up = outputs * size + columns
    down = up + rows + rise[-1]
    level = np.zeros(rows, np.float32)
    for j in range(outputs * PIECES):
        output, piece = _piece_of(j)
        for y in range(rows):
            level[y] = levels[output * size + y * PIECES + piece]
        for x in range(j * width, (j + 1) * width):
            values, column = image[x], levels[outputs * size + x]
            rising = levels[up - rise[x] + rise[-1] :]
            falling = levels[down + rise[x] :]
            for y in range(rows):
                values[y] = level[y] + column + rising[y] + falling[y]
