"""The angles of tilted stripes, found from the data."""

from __future__ import annotations

import numpy as np

from webbmosaic.science.arrays import FloatArray, Floats
from webbmosaic.science.frame.fit import StripeOptions
from webbmosaic.science.frame.lines import make_lines
from webbmosaic.science.frame.model import FrameModel
from webbmosaic.science.frame.powers import WIDE, tested
from webbmosaic.science.frame.readout import Readout, make_readout
from webbmosaic.science.frame.stripes import fit_stripes
from webbmosaic.science.sources import Mask

AXIS_MARGIN = 3.0
"""Degrees from the axes within which a family is rows or columns and not tilted."""
COARSE = 8
"""Pixels to a side of the blocks among which angles are first looked for."""
MOST_FAMILIES = 4
"""Families that are looked for, the strongest first."""


def find_angles(
    data: FloatArray,
    usable: Mask,
    *,
    sources: Mask | None = None,
    readout: Readout | None = None,
    significance: float = 8.0,
) -> dict[float, float]:
    """
    Find the angles along which stripes run through a frame.

    Parameters
    ----------
    data : 2-D float `~numpy.ndarray`, shape (ny, nx)
        Flat-fielded count rates, any linear unit.
    usable : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        `False` where the data quality forbids use.
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx), optional
        `True` on sources. Made from the data if not given.
    readout : Readout, optional
        How the frame was read; by default through one output, rows along x.
    significance : float
        Standard deviations from which a family counts; more than for a known angle,
        because hundreds are tried.

    Returns
    -------
    angles : dict of float to float
        Angle in degrees from the x axis towards the y axis, between -90 and 90, and its
        significance, strongest first. Empty if there are no tilted stripes.

    Raises
    ------
    ValueError
        As for `fit_stripes`.

    Notes
    -----
    Rows, columns and readout noise are removed first. The test is that of
    `webbmosaic.science.frame.powers.tested`, on means of blocks, at steps as fine as
    the blocks can tell apart; what is found is refined on smaller blocks, subtracted,
    and the rest searched again.
    """
    options = StripeOptions()
    fit = fit_stripes(data, usable, sources=sources, readout=readout, options=options)
    good = usable & np.isfinite(data) & ~fit.sources
    noise = fit.numbers["noise"]
    left = np.where(good, (data - fit.pattern) / noise, 0).astype(np.float32)
    left -= left[good].mean(dtype=np.float64) * good
    return _found(left, good.astype(np.float32), significance)


def _found(left: FloatArray, weight: FloatArray, limit: float) -> dict[float, float]:
    """Search, refine, subtract, and search again."""
    found: dict[float, float] = {}
    # Blocks must be many: small frames are searched in finer ones.
    size = max(1, min(COARSE, min(left.shape) // 64))
    span = np.degrees(1.0 / (max(left.shape) / size))
    coarse = np.arange(-90 + AXIS_MARGIN, 90 - AXIS_MARGIN, span)
    coarse = coarse[np.abs(coarse) > AXIS_MARGIN]
    for _ in range(MOST_FAMILIES):
        angle, strength = _best(left, weight, coarse, size)
        if strength < limit:
            break
        angle, strength = _refined(left, weight, angle, size, span)
        if strength < limit:
            break
        found[round(angle, 3)] = round(strength, 1)
        options = StripeOptions(rows=False, columns=False, angles=(angle,))
        readout = make_readout(left.shape)
        fit = fit_stripes(
            left, weight > 0, sources=weight == 0, readout=readout, options=options
        )
        left = (left - fit.pattern) * weight
    return found


def _refined(
    left: FloatArray, weight: FloatArray, angle: float, size: int, span: float
) -> tuple[float, float]:
    """Narrow an angle down on smaller and smaller blocks."""
    strength = 0.0
    while size > 1:
        size = max(1, size // 4)
        steps = angle + span * np.linspace(-1, 1, 13)
        angle, strength = _best(left, weight, steps, size)
        span /= 4
    if strength == 0.0:
        angle, strength = _best(left, weight, np.array([angle]), size)
    return angle, strength


def _best(
    left: FloatArray, weight: FloatArray, angles: Floats, size: int
) -> tuple[float, float]:
    """The most significant of some angles, on blocks of ``size`` pixels."""
    rows, cols = (n // size for n in left.shape)
    blocks = (slice(rows * size), slice(cols * size))
    shape = (rows, size, cols, size)
    number = weight[blocks].reshape(shape).sum(axis=(1, 3))
    means = (weight * left)[blocks].reshape(shape).sum(axis=(1, 3))
    means /= np.maximum(number, np.float32(1e-6))
    strengths = []
    for angle in angles:
        lines = make_lines((rows, cols), float(angle))
        model = FrameModel((rows, cols), make_readout((rows, cols)), [lines])
        top = model.sums(means, number).lines[0].astype(np.float64)
        bottom = model.sums(np.ones_like(means), number).lines[0]
        strengths.append(tested(top, bottom.astype(np.float64), WIDE // size)[1])
    best = int(np.argmax(strengths))
    return float(angles[best]), strengths[best]
