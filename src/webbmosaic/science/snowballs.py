"""Snowballs: large round events with a saturated core and a halo of jumps.

A snowball comes in one group: its core saturates at once and does not grow, the halo
jumps once. A saturated star starts from its peak and fills up, ring after ring.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from webbmosaic.science.arrays import AnyFloats, BoolArray, FloatArray, IntArray

__all__ = ["Snowball", "find_snowballs", "looks_like_star", "snowball_halo"]


_FEWEST = 32  # pixels of sky, to know its level
#: A ring whose sides differ more than this is lit by something beside the snowball.
_ROUND = 0.35
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Snowball:
    """
    One snowball.

    Attributes
    ----------
    y, x : float
        Centre, 0-based, in pixels.
    radius : float
        Of the area that jumped or saturated, in pixels.
    core : int
        Pixels that saturated at once.
    group : int
        The group, 0-based, in which it came.
    integration : int
    """

    y: float
    x: float
    radius: float
    core: int
    group: int
    integration: int


def find_snowballs(
    jump: BoolArray,
    saturated: BoolArray,
    *,
    min_area: float = 100.0,
    core_required: bool = False,
    min_core: int = 6,
    roundness: float = 0.6,
) -> list[Snowball]:
    """
    Find the snowballs of a ramp in the flags of its groups.

    Parameters
    ----------
    jump, saturated : 3D or 4D bool `~numpy.ndarray`, shape ([nint,] ngroup, ny, nx)
        JUMP_DET and SATURATED of the group data quality.
    min_area : float, optional
        Smallest area that jumps in one group, its core included, in pixels.
    core_required : bool, optional
        Take only events with a core of ``min_core`` pixels that saturated.
    min_core : int, optional
        In pixels.
    roundness : float, optional
        Smallest ratio of the axes, and of the area to that of the ellipse.

    Returns
    -------
    snowballs : list of Snowball

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    An event round pixels that had saturated in an earlier group is a star whose charge
    spreads, and so is one whose saturated area goes on growing: neither is reported.
    """
    if jump.shape != saturated.shape or jump.ndim not in (3, 4):
        msg = (
            f"jump {jump.shape}, saturated {saturated.shape}: want one shape, 3D or 4D"
        )
        raise ValueError(msg)
    if jump.ndim == 3:
        jump, saturated = jump[None], saturated[None]
    return [
        Snowball(*area.centre, area.radius, core, group, integration)
        for integration in range(len(jump))
        for group, area, core in _new_events(
            jump[integration], saturated[integration], min_area
        )
        if area.roundness >= roundness and not (core_required and core < min_core)
    ]


def _new_events(
    jump: BoolArray, full: BoolArray, min_area: float
) -> Iterator[tuple[int, _Area, int]]:
    """Group, area and size of the core of all events of a ramp that are no star."""
    for group in range(1, len(jump)):
        new = full[group] & ~full[group - 1]
        for area in _events(jump[group] | new, min_area):
            core = int(np.count_nonzero(new[area.box] & area.mask))
            if not _is_star(area, full, group, core):
                yield group, area, core


@dataclass(frozen=True)
class _Area:
    """A filled area of a frame."""

    box: tuple[slice, slice]
    mask: BoolArray

    @property
    def centre(self) -> tuple[float, float]:
        y, x = np.nonzero(self.mask)
        return float(y.mean()) + self.box[0].start, float(x.mean()) + self.box[1].start

    @property
    def radius(self) -> float:
        return float(np.sqrt(np.count_nonzero(self.mask) / np.pi))

    @property
    def roundness(self) -> float:
        """The worse of the axis ratio and the filling of the ellipse."""
        y, x = np.nonzero(self.mask)
        # A pixel has an extent of its own: 1/12 is the variance of a unit square.
        moments = np.cov(np.stack([y, x])) + np.eye(2) / 12
        small, large = np.sqrt(np.maximum(np.linalg.eigvalsh(moments), 1e-6))
        return float(min(small / large, len(y) / (4 * np.pi * small * large)))


def _events(hit: BoolArray, min_area: float) -> Iterator[_Area]:
    """Areas that jumped or saturated in a group, their holes filled."""
    labels, _ = ndimage.label(hit, np.ones((3, 3)))
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if (box[0].stop - box[0].start) * (box[1].stop - box[1].start) < min_area:
            continue
        mask = ndimage.binary_fill_holes(labels[box] == number)
        if np.count_nonzero(mask) >= min_area:
            yield _Area(box, mask)


def _is_star(area: _Area, full: BoolArray, group: int, core: int) -> bool:
    """Whether the area was saturated before, or saturates further afterwards."""
    # Where a star's wings jump they touch what had saturated.
    box, near = _surroundings(area, full.shape[1:])
    before = full[(group - 1, *box)] & near
    if np.count_nonzero(before) > 0.02 * np.count_nonzero(area.mask):
        return True
    after = np.count_nonzero(full[(-1, *area.box)] & area.mask)
    return group < len(full) - 1 and bool(after > max(2 * core, core + 9))


def _surroundings(
    area: _Area, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], BoolArray]:
    """Where an area is, with a margin of two pixels."""
    (rows, columns), (ny, nx) = area.box, shape
    up, down = min(2, rows.start), min(2, ny - rows.stop)
    left, right = min(2, columns.start), min(2, nx - columns.stop)
    room = np.pad(area.mask, ((up, down), (left, right)))
    grown = ndimage.binary_dilation(room, iterations=2)
    box = (
        slice(rows.start - up, rows.stop + down),
        slice(columns.start - left, columns.stop + right),
    )
    return box, np.asarray(grown, bool)


def snowball_halo(
    image: FloatArray,
    usable: BoolArray,
    snowballs: list[Snowball],
    *,
    expand_factor: float = 1.5,
    threshold: float = 3.0,
) -> BoolArray:
    """
    Find what snowballs have left in a count-rate image.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Count rates.
    usable : 2D bool `~numpy.ndarray`, shape (ny, nx)
    snowballs : list of Snowball
    expand_factor : float, optional
        How far out, in radii of the snowball, its halo is looked for.
    threshold : float, optional
        In units of the error of the mean of a ring.

    Returns
    -------
    mask : 2D bool `~numpy.ndarray`, shape (ny, nx)
        The core and, around it, the rings that stand above the sky (the level between
        one and two times the reach) on all sides: a snowball's halo is round, and a
        galaxy or star beside it is on one side. What the ramp fit has recovered well
        is left alone.
    """
    mask = np.zeros(image.shape, bool)
    for ball in snowballs:
        reach = max(expand_factor * ball.radius, ball.radius + 4)
        edge = int(np.ceil(2 * reach))
        y0, x0 = max(0, int(ball.y) - edge), max(0, int(ball.x) - edge)
        box = slice(y0, int(ball.y) + edge + 1), slice(x0, int(ball.x) + edge + 1)
        values = image[box]
        place = np.indices(values.shape).astype(float)
        dy, dx = place[0] + (y0 - ball.y), place[1] + (x0 - ball.x)
        far, sector = np.hypot(dy, dx), _sectors(dy, dx)
        good = usable[box] & np.isfinite(values)
        core = float(np.sqrt(ball.core / np.pi))
        sky = values[good & (far > reach)]
        radius = core
        if sky.size >= _FEWEST:
            inside = good & (far <= reach)
            rings = values[inside], far[inside], sector[inside]
            radius = _bright_rings(rings, sky, core, threshold)
        mask[box] |= far <= radius
    return mask


def _sectors(dy: AnyFloats, dx: AnyFloats) -> IntArray:
    """Number the eight directions from a centre."""
    turned: IntArray = np.floor((np.arctan2(dy, dx) / np.pi + 1) * 4).astype(int) % 8
    return turned


def _bright_rings(
    rings: tuple[FloatArray, AnyFloats, IntArray],
    sky: FloatArray,
    core: float,
    threshold: float,
) -> float:
    """Follow the halo outwards until two rings in turn are not bright on all sides."""
    values, far, sector = rings
    level = float(np.median(sky))
    noise = _MAD_TO_SIGMA * float(np.median(np.abs(sky - level)))
    radius, faint, width = core, 0, 2.0
    for inner in np.arange(core, far.max(initial=core), width):
        here = (far >= inner) & (far < inner + width)
        sides = [values[here & (sector == k)] for k in range(8)]
        seen = [float(np.median(side)) for side in sides if side.size >= 3]
        if len(seen) < 6:
            continue
        # The second faintest side: one of them may hold a dead pixel or two.
        seen = sorted(value - level for value in seen)
        excess, brightest = seen[1], seen[-2]
        # 1.25 is the error of a median over that of a mean; the faintest of eight
        # lies below the mean by 0.85 of its error and more.
        error = 1.25 * noise / np.sqrt(here.sum() / 8)
        significant = excess > (threshold - 2) * error
        faint = 0 if significant and excess > _ROUND * brightest else faint + 1
        if faint == 0:
            radius = inner + width
        elif faint == 2:
            break
    return float(radius)


def looks_like_star(
    image: FloatArray, usable: BoolArray, ball: Snowball, *, bright: float = 30.0
) -> bool:
    """
    Tell a saturated star from a snowball by what the pixels round the core count.

    Parameters
    ----------
    image : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        Count rates.
    usable : 2D bool `~numpy.ndarray`, shape (ny, nx)
    ball : Snowball
    bright : float, optional
        In units of the noise of most pixels of the frame.

    Returns
    -------
    star : bool
        The wings of a star that saturates are far above the noise, in all groups; a
        snowball leaves hardly anything in the rate.
    """
    core, reach = np.sqrt(ball.core / np.pi), 2 * ball.radius + 8
    edge = int(np.ceil(reach)) + 1
    y0, x0 = max(0, int(ball.y) - edge), max(0, int(ball.x) - edge)
    box = slice(y0, int(ball.y) + edge + 1), slice(x0, int(ball.x) + edge + 1)
    values, good = image[box], usable[box] & np.isfinite(image[box])
    y, x = np.indices(values.shape)
    far = np.hypot(y + y0 - ball.y, x + x0 - ball.x)
    ring = values[good & (far > core) & (far < core + 4)]
    sky = values[good & (far > ball.radius + 4)]
    if ring.size < 8 or sky.size < 32:
        return False
    # The wings of a bright star reach over all that is near: the noise is the frame's.
    return bool(np.median(ring) > np.median(sky) + bright * _noise(image, usable))


def _noise(image: FloatArray, usable: BoolArray) -> float:
    """Noise of most pixels of a frame."""
    step = max(1, int(np.sqrt(image.size / 60_000)))
    values, good = image[::step, ::step], usable[::step, ::step]
    sample = values[good & np.isfinite(values)]
    if not sample.size:
        return 0.0
    return _MAD_TO_SIGMA * float(np.median(np.abs(sample - np.median(sample))))
