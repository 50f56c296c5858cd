"""
The order in which a detector was read.

A NIRCam or NIRISS full frame is read through four outputs at once, each a strip of
512 columns, and neighbouring outputs run in opposite directions.
"""

from __future__ import annotations

from dataclasses import dataclass

ROW_OVERHEAD = 12
"""Pixel times between the rows of an output: 524 for 512 columns (JDox, NIRCam)."""


@dataclass(frozen=True)
class Readout:
    """
    How a frame was read, with the rows that were read along its x axis.

    Attributes
    ----------
    outputs : tuple of slice
        The columns of each output, all equally wide, read at the same time.
    reverse : bool
        Whether the first output ran towards falling x while the rows went up.
        Neighbouring outputs run in opposite directions.
    transposed : bool
        Whether the detector's rows run along the y axis of the image (NIRISS); the
        columns of ``outputs`` are then rows of the image.
    overhead : int
        Pixel times lost between rows.
    """

    outputs: tuple[slice, ...]
    reverse: bool = False
    transposed: bool = False
    overhead: int = ROW_OVERHEAD

    @property
    def width(self) -> int:
        """Columns of one output."""
        return int(self.outputs[0].stop - self.outputs[0].start)


def make_readout(
    shape: tuple[int, int], *, outputs: int = 1, fast_axis: int = 1, slow_axis: int = 2
) -> Readout:
    """
    Describe the readout of a frame from its header.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the image.
    outputs : int
        Outputs that the frame was read through side by side: 4 for a full frame of
        NIRCam or NIRISS, 1 for most subarrays. (MIRI's four are interleaved: use 1.)
    fast_axis, slow_axis : int
        The keywords FASTAXIS and SLOWAXIS: 1 for x, 2 for y, negative for falling.

    Returns
    -------
    readout : Readout
        For `fit_stripes`.

    Raises
    ------
    ValueError
        If the axes are no pair of 1 and 2, or the outputs do not divide the frame.
    """
    if {abs(fast_axis), abs(slow_axis)} != {1, 2}:
        msg = f"FASTAXIS {fast_axis} and SLOWAXIS {slow_axis} must be one x, one y"
        raise ValueError(msg)
    transposed = abs(fast_axis) == 2
    along = shape[0] if transposed else shape[1]
    if outputs < 1 or along % outputs:
        msg = f"{outputs} outputs do not divide {along} pixels"
        raise ValueError(msg)
    width = along // outputs
    slices = tuple(slice(k * width, (k + 1) * width) for k in range(outputs))
    # A mirrored detector with an even number of outputs has its last output on the
    # left, and that one ran backwards before the mirror: it looks the same.
    backwards = fast_axis < 0 and outputs % 2 == 1
    return Readout(slices, backwards != (slow_axis < 0), transposed)
