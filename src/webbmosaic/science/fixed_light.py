"""Light that stays on the detector while the sky dithers: claws, dragon's breath.

Two images explain the exposures of a visit: one is fixed to the sky and moves over the
detector, one is fixed to the detector. What is in the second is no sky.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.smoothing import enlarged
from webbmosaic.science.sources import DEEP, source_mask

__all__ = ["FixedResiduals", "find_fixed_residuals"]


Moves: TypeAlias = list[tuple[float, float]]

_BIN = 8
#: How firmly the fixed part is held to zero: a share of one frame's weight. Loosely at
#: first, because what is missed then is taken for sources.
_LOOSE, _FIRM = 0.02, 0.5

#: Share of the frames that have to show what is found.
_MOST = 0.6
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class FixedResiduals:
    """
    What stays at one place of a detector while the sky dithers.

    Attributes
    ----------
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
        `True` where something was found.
    level : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Its median brightness over the frames, smooth, in the unit of the frames.
    """

    mask: BoolArray
    level: FloatArray


def find_fixed_residuals(
    read: Callable[[int], tuple[FloatArray, BoolArray]],
    shifts: Sequence[tuple[float, float]],
    *,
    threshold: float = 5.0,
    min_area: int = 1500,
    grow: int = 16,
) -> FixedResiduals:
    """
    Find claws, stray light and bad areas in the dithers of a visit.

    Parameters
    ----------
    read : callable
        Gives frame number ``i``, all of one detector and filter, as a pair of 2D
        arrays of shape (ny, nx): float32 count rates without stripes and wisps, and
        bool, `True` where a pixel may be used.
    shifts : sequence of (float, float)
        Of each frame; 3 or more. By how many pixels in y and x the sky has moved on
        the detector since the first.
    threshold : float, optional
        In units of the noise of the median residual.
    min_area : int, optional
        Smaller areas are left out, in pixels.
    grow : int, optional
        Margin around what is found, in pixels.

    Returns
    -------
    found : FixedResiduals

    Raises
    ------
    ValueError
        With fewer than 3 frames.

    Notes
    -----
    The frames are split into what moves with the sky and what does not, twice: first as
    they are; then with sources masked in what differs from the fixed part, so that
    fixed light is not taken for a source. What the dithers cannot tell apart, because
    it is smooth over more than their size, is left to the sky. A residual must show
    in the median over the frames, and with the same sign in seven frames out of ten.
    """
    if len(shifts) < 3:
        msg = f"fixed residuals need 3 exposures or more, not {len(shifts)}"
        raise ValueError(msg)
    moves = [(dy / _BIN, dx / _BIN) for dy, dx in shifts]
    count = len(moves)
    first = np.array([_residual(*read(i), None) for i in range(count)])
    fixed = enlarged(_smooth(_split(first, moves, _LOOSE)[0]), read(0)[0].shape, _BIN)
    stack = np.array([_residual(*read(i), fixed) for i in range(count)])
    median, stack = _split(stack, moves, _FIRM)
    level = _smooth(median)
    hit = _judged(level, stack, threshold)
    hit = _large(hit, min_area / _BIN**2)
    hit = ndimage.maximum_filter(hit, 2 * -(-grow // _BIN) + 1) if hit.any() else hit
    mask = enlarged(hit, fixed.shape, _BIN)
    return FixedResiduals(mask, enlarged(level, fixed.shape, _BIN))


def _split(
    stack: FloatArray, moves: Moves, ridge: float
) -> tuple[FloatArray, FloatArray]:
    """
    Split frames into what the detector has and what moves with the sky.

    Returns the fixed part and the frames without the sky. Medians give a first guess,
    least squares over what agrees with it the answer: alone, the medians of dithers
    closer than a claw is wide would need hundreds of rounds.
    """
    pad = int(np.ceil(np.abs(moves).max())) + 1
    room = ((0, 0), (pad, pad), (pad, pad))
    frames = np.pad(stack, room, constant_values=np.nan)
    known, frames = np.isfinite(frames), np.nan_to_num(frames)
    sky = _first_sky(frames, known, moves)
    onto = _onto(sky, moves)
    fixed = np.nan_to_num(_median(np.where(known, frames - onto, np.nan), 2))
    for _ in range(2):
        rest = frames - onto - fixed
        noise = _MAD_TO_SIGMA * float(np.median(np.abs(rest[known])))
        weight = known & (np.abs(rest) < 4 * noise)
        start = np.stack([fixed, sky])
        fixed, sky = _solved(frames, weight, moves, ridge=ridge, start=start)
        onto = _onto(sky, moves)
    rest = np.where(known, frames - onto, np.nan)[:, pad:-pad, pad:-pad]
    return _median(rest, 2), rest


def _first_sky(frames: FloatArray, known: BoolArray, moves: Moves) -> FloatArray:
    """Median of the frames where the sky is: fixed light is at several places there."""
    back = [
        np.where(_moved(seen, -dy, -dx) > 0.99, _moved(frame, -dy, -dx), np.nan)
        for frame, seen, (dy, dx) in zip(frames, known, moves, strict=True)
    ]
    return np.asarray(np.nan_to_num(_median(np.array(back), 1)))


def _moved(image: npt.NDArray[Any], dy: float, dx: float) -> FloatArray:
    """Shift an image by fractions of a bin; moving back is the transpose of moving."""
    return np.asarray(
        ndimage.shift(image, (dy, dx), output=np.float32, order=1, mode="grid-constant")
    )


def _onto(sky: FloatArray, moves: Moves) -> FloatArray:
    """The sky where each frame has it."""
    return np.array([_moved(sky, dy, dx) for dy, dx in moves])


def _solved(
    frames: FloatArray,
    weight: BoolArray,
    moves: Moves,
    *,
    ridge: float,
    start: FloatArray,
) -> FloatArray:
    """
    Solve frames = fixed + moved sky by least squares.

    The ridge holds the fixed part alone: what could be either goes to the sky.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    def gathered(rest: FloatArray) -> FloatArray:
        back = (_moved(r, -dy, -dx) for r, (dy, dx) in zip(rest, moves, strict=True))
        return np.stack([rest.sum(axis=0), sum(back, np.float32(0))])

    seen = gathered(weight.astype(np.float32))
    hold = np.stack([np.full_like(seen[0], ridge), np.full_like(seen[1], 1e-3)])
    scale = seen + hold

    def normal(vector: FloatArray) -> FloatArray:
        parts = vector.reshape(start.shape)
        model = weight * (parts[0] + _onto(parts[1], moves))
        return np.ravel(gathered(model) + hold * parts)

    size = (start.size, start.size)
    solution, _ = cg(
        LinearOperator(size, normal, dtype=np.float32),
        gathered(weight * frames).ravel(),
        x0=start.ravel(),
        rtol=1e-3,
        maxiter=20,
        M=LinearOperator(size, lambda v: v.ravel() / scale.ravel(), dtype=np.float32),
    )
    return np.asarray(solution.reshape(start.shape), np.float32)


def _judged(level: FloatArray, stack: FloatArray, threshold: float) -> BoolArray:
    """Where the fixed part is significant, and seen in most of the frames."""
    seen = _smooth(np.isfinite(stack).mean(axis=0))
    # Where sources hide the detector in most frames, the median is noisier.
    sure = _significance(level) * np.sqrt(seen) * np.clip(2 * seen - 0.5, 0, 1)
    # A frame whose sources hide the place is no witness.
    with_sign = np.where(np.isfinite(stack), stack * np.sign(level) > 0, 0)
    agree = _smooth(with_sign.mean(axis=0))
    hit = _hysteresis(np.abs(sure) > threshold, np.abs(sure) > 0.6 * threshold)
    return hit & (agree > _MOST)


def _residual(
    data: FloatArray, usable: BoolArray, fixed: FloatArray | None
) -> FloatArray:
    """Means over bins of a frame without sky and sources; NaN where nothing is left."""
    good = usable & np.isfinite(data)
    values = np.where(good, data, 0).astype(np.float32)
    free = (
        good
        if fixed is None
        else good & ~source_mask(values - fixed, good, options=DEEP)
    )
    means, seen = _means(values, free)
    enough = seen > 0.25
    if not enough.any():
        return np.full(means.shape, np.nan, np.float32)
    sky = _plane(means if fixed is None else means - _means(fixed, free)[0], enough)
    return np.where(enough, means - sky, np.nan).astype(np.float32)


def _plane(means: FloatArray, seen: BoolArray) -> FloatArray:
    """Robust plane: the sky of a frame may have a gradient, fixed light has a shape."""
    y, x = (axis / max(means.shape) for axis in np.indices(means.shape, np.float32))
    design = np.stack([np.ones_like(x), x, y])
    keep = seen
    sky = np.zeros_like(means)
    for _ in range(4):
        if np.count_nonzero(keep) < 8:
            break
        terms = np.linalg.lstsq(design[:, keep].T, means[keep], rcond=None)[0]
        sky = np.tensordot(terms.astype(np.float32), design, axes=1)
        rest = means - sky
        noise = _MAD_TO_SIGMA * np.median(np.abs(rest[keep]))
        keep = seen & (np.abs(rest) < 2.5 * noise)
    return sky


def _means(values: FloatArray, good: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Means of the good pixels of each bin, and their share of it."""
    missing = [(0, -n % _BIN) for n in values.shape]
    seen = np.pad(good, missing).astype(np.float32)
    values = np.pad(np.where(good, values, 0), missing)
    ny, nx = (n // _BIN for n in seen.shape)
    seats = (ny, _BIN, nx, _BIN)
    share = seen.reshape(seats).mean(axis=(1, 3))
    total = values.reshape(seats).mean(axis=(1, 3))
    return total / np.where(share > 0, share, 1), share


def _median(stack: FloatArray, fewest: int) -> FloatArray:
    """Median over the frames; NaN where fewer than that have data."""
    ordered = np.sort(stack, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    high = np.minimum(high, np.maximum(count - 1, 0))
    pair = [np.take_along_axis(ordered, k[None], axis=0)[0] for k in (low, high)]
    return np.where(count >= fewest, (pair[0] + pair[1]) / 2, np.nan).astype(np.float32)


def _smooth(image: npt.NDArray[np.floating], sigma: float = 1.0) -> FloatArray:
    """Smooth over the bins that have a value; 0 where none is near."""
    seen = np.isfinite(image)
    share = ndimage.gaussian_filter(seen.astype(np.float32), sigma, truncate=3)
    level = np.where(seen, image, 0).astype(np.float32)
    level = ndimage.gaussian_filter(level, sigma, truncate=3)
    return np.where(share > 0.2, level / np.maximum(share, 0.2), 0).astype(np.float32)


def _significance(level: FloatArray) -> FloatArray:
    seen = level != 0
    if not seen.any():
        return np.zeros_like(level)
    middle = np.median(level[seen])
    noise = _MAD_TO_SIGMA * np.median(np.abs(level[seen] - middle))
    return np.where(seen, (level - middle) / max(float(noise), 1e-30), 0).astype(
        np.float32
    )


def _hysteresis(strong: BoolArray, weak: BoolArray) -> BoolArray:
    """Weak areas that touch strong ones."""
    return np.asarray(ndimage.binary_propagation(strong, mask=weak), bool)


def _large(mask: BoolArray, area: float) -> BoolArray:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray((sizes >= area)[labels])
