"""
Where the sky is and where the sources are: a tiered mask.

A pixel belongs to a source when the image, smoothed with a small kernel, a middle one
or a large one, stands above the local background there. Small kernels find stars and
the cores of galaxies, large kernels the wings of bright sources and faint extended
light, which hardly show in single pixels but add up over a row of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from webbmosaic.science.arrays import FloatArray
from webbmosaic.science.smoothing import (
    BIN,
    Mask,
    binned,
    blurred,
    enlarged,
    gaussian_taps,
    grown,
    interpolated,
    smoothed,
)

_MAD_TO_SIGMA = 1.4826

__all__ = [
    "DEEP",
    "TIERS",
    "FloatArray",
    "Mask",
    "MaskOptions",
    "Tier",
    "local_background",
    "neighbour_noise",
    "source_mask",
]


@dataclass(frozen=True)
class Tier:
    """
    One smoothing scale of the source mask.

    Attributes
    ----------
    kernel : float
        Sigma of the Gaussian kernel, in pixels.
    threshold : float
        Height above the local background, in units of the smoothed image's noise.
    grow : int
        Pixels by which what is found is dilated.
    angle : float, optional
        Smooth along this direction only, in degrees from x towards y: for spikes.
    """

    kernel: float
    threshold: float
    grow: int
    angle: float | None = None


_DIFFUSE = (
    Tier(16.0, 4.0, 4, angle=90.0),
    Tier(16.0, 4.0, 4, angle=30.0),
    Tier(16.0, 4.0, 4, angle=-30.0),
    Tier(24.0, 3.0, 24),
    Tier(48.0, 3.0, 32),
)
TIERS = (Tier(1.2, 3.0, 1), Tier(3.0, 3.5, 3), Tier(8.0, 3.0, 8), *_DIFFUSE)
"""The default tiers: stars, galaxies, JWST's spikes (JDox: at 90 and +-30 degrees from
the x axis of the near-infrared detectors), outskirts of large galaxies."""


@dataclass(frozen=True)
class MaskOptions:
    """
    How sources are told from sky.

    Attributes
    ----------
    tiers : tuple of Tier
        Smoothing scales, each with its threshold and growth.
    background_box : int
        Side of the boxes whose clipped medians make the local background, in pixels.
    iterations : int
        Times that background and noise are measured anew without the sources found.
    most_noise : float
        Correlated noise, in units of what white noise leaves in a smoothed image,
        beyond which it is diffuse light.
    """

    tiers: tuple[Tier, ...] = TIERS
    background_box: int = 128
    iterations: int = 1
    most_noise: float = np.inf


DEEP = MaskOptions((Tier(1.2, 3, 2), Tier(3.0, 3, 3), Tier(8.0, 2.5, 4), *_DIFFUSE))
"""For what adds up along lines or over exposures: fainter light than `TIERS` find."""


def source_mask(
    image: FloatArray, usable: Mask, *, options: MaskOptions | None = None
) -> Mask:
    """
    Find the pixels that hold light of sources.

    Parameters
    ----------
    image : 2-D float `~numpy.ndarray`, shape (ny, nx)
        The image, any unit; a smooth sky may be there. Values where ``usable`` is
        `False` are not looked at.
    usable : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        `True` where a pixel is good.
    options : MaskOptions, optional
        Kernels, thresholds and growth.

    Returns
    -------
    sources : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        `True` where there is a source. Bad pixels inside a source are in it.

    Raises
    ------
    ValueError
        If the shapes differ or no pixel is usable.

    Notes
    -----
    The noise of each smoothed image is measured from its own lower half about the
    median, so that correlated noise raises the threshold and faint sources do not.
    """
    options = options or MaskOptions()
    if image.shape != usable.shape:
        msg = f"image {image.shape} and usable pixels {usable.shape} differ in shape"
        raise ValueError(msg)
    if not usable.any():
        raise ValueError("no pixel of the image is usable")
    good = usable & np.isfinite(image)
    values = np.where(good, image, 0).astype(np.float32)
    sources = np.zeros(image.shape, bool)
    for _ in range(max(1, options.iterations)):
        sky = local_background(values, good & ~sources, box=options.background_box)
        sources = _detect(values, good, sky, sources, options)
    return sources


def local_background(image: FloatArray, good: Mask, *, box: int = 128) -> FloatArray:
    """
    Measure the smooth background of an image.

    Parameters
    ----------
    image : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The image, finite.
    good : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        Pixels of the sky.
    box : int
        Side of the boxes whose clipped medians are smoothed and interpolated, pixels.

    Returns
    -------
    background : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
        The background, unit of the image.
    """
    means, counts = binned(image, good)
    mesh = _box_medians(means, counts, max(1, box // BIN))
    mesh = ndimage.median_filter(mesh, 5, mode="nearest")
    return interpolated(mesh, image.shape)


def _detect(
    values: FloatArray,
    good: Mask,
    sky: FloatArray,
    known: Mask,
    options: MaskOptions,
) -> Mask:
    """Find the sources of every tier above a given sky, from small to large."""
    above = values - sky
    above *= good
    found = np.zeros(good.shape, bool)
    fine = [tier for tier in options.tiers if tier.kernel < BIN * 0.6]
    most = _most(above, good & ~known, options.most_noise)
    for tier in fine:
        smooth = smoothed(above, gaussian_taps(tier.kernel))
        limits = (0.0, most * _white(tier.kernel, tier.angle))
        hit = _above(smooth, good & ~known, tier.threshold, limits=limits)
        found |= grown(hit, tier.grow)
    rest = [tier for tier in options.tiers if tier not in fine]
    coarse = _detect_coarse(
        above, good & ~found, good & ~known & ~found, rest, options.most_noise
    )
    return found | enlarged(coarse, good.shape)


def _detect_coarse(
    above: FloatArray, good: Mask, quiet: Mask, tiers: list[Tier], most_noise: float
) -> Mask:
    """Find the sources of the larger tiers, on the binned image.

    What smaller tiers found takes no part: large kernels are for diffuse light, not for
    many stars together.
    """
    means, counts = binned(above, good)
    calm = binned(above, quiet)[1] > BIN
    found = np.zeros(means.shape, bool)
    noise = _lower_scatter(means[calm]) if calm.any() else 0.0
    most = _most(means, calm, most_noise)
    noise = min(noise, most)
    for tier in sorted(tiers, key=lambda tier: tier.kernel):
        weight = np.where(found, 0, counts / BIN**2).astype(np.float32)
        sigma = tier.kernel / BIN
        norm = blurred(weight, sigma, tier.angle)
        smooth = blurred(means * weight, sigma, tier.angle)
        smooth = np.where(norm > 0.1, smooth / np.maximum(norm, 0.1), -np.inf)
        white = _white(sigma, tier.angle)
        hit = _above(
            smooth,
            calm & (norm > 0.1) & ~found,
            tier.threshold,
            limits=(noise * white, most * white),
        )
        found |= grown(hit, round(tier.grow / BIN))
    return found


def _most(image: FloatArray, quiet: Mask, most_noise: float) -> float:
    """Noise beyond which it is light, if there is a limit."""
    if np.isinf(most_noise):
        return np.inf
    return most_noise * neighbour_noise(image, quiet)


def neighbour_noise(data: FloatArray, good: Mask) -> float:
    """
    Measure the white noise of a pixel by the differences of neighbours along the rows.

    Parameters
    ----------
    data : 2-D float `~numpy.ndarray`, shape (ny, nx)
        An image, any unit.
    good : 2-D bool `~numpy.ndarray`, shape (ny, nx)
        Pixels to use.

    Returns
    -------
    noise : float
        Robust standard deviation, unit of ``data``.
    """
    rows = np.s_[:: max(1, data.size // 500_000)]
    good = good[rows]
    values = np.where(good, data[rows], 0)
    differences = np.abs(np.diff(values, axis=1))[good[:, 1:] & good[:, :-1]]
    if not differences.size:
        return 0.0
    return float(_MAD_TO_SIGMA * np.median(differences) / np.sqrt(2))


def _above(
    smooth: FloatArray, quiet: Mask, threshold: float, *, limits: tuple[float, float]
) -> Mask:
    """Where a smoothed image stands above its noise, which lies between limits."""
    step = max(1, smooth.size // 60_000)
    sample = smooth.ravel()[::step][quiet.ravel()[::step]]
    if sample.size < 16:
        return np.zeros(smooth.shape, bool)
    middle = np.median(sample)
    lowest, most = limits
    noise = max(min(_lower_scatter(sample), most), lowest)
    return np.asarray(smooth > middle + threshold * noise)


def _lower_scatter(sample: FloatArray) -> float:
    """Standard deviation from the lower half about the median."""
    low, middle = np.quantile(sample, (0.25, 0.5))
    return float(_MAD_TO_SIGMA * (middle - low))


def _white(sigma: float, angle: float | None) -> float:
    """What smoothing leaves of white noise: the root of the kernel's squares."""
    share = 1 / (2 * np.sqrt(np.pi) * max(sigma, 0.3))
    return float(share if angle is None else np.sqrt(share))


def _box_medians(means: FloatArray, counts: FloatArray, box: int) -> FloatArray:
    """Clipped medians of boxes; boxes without sky get their neighbours' level."""
    rows = max(1, round(means.shape[0] / box))
    cols = max(1, round(means.shape[1] / box))
    sky = np.where(counts >= BIN**2 / 4, means, np.nan)
    if not np.isfinite(sky).any():
        sky = np.where(counts > 0, means, np.nan)
    tall, wide = (-(-n // k) for n, k in zip(means.shape, (rows, cols), strict=True))
    padded = np.full((rows * tall, cols * wide), np.nan, np.float32)
    padded[: sky.shape[0], : sky.shape[1]] = sky
    boxes = padded.reshape(rows, tall, cols, wide).swapaxes(1, 2)
    mesh = _clipped_medians(boxes.reshape(rows * cols, tall * wide))
    return _nearest(mesh.reshape(rows, cols))


def _clipped_medians(values: FloatArray) -> FloatArray:
    """Medians, along the last axis, of what does not stand above its surroundings."""
    ordered = np.sort(values, axis=-1)  # NaN last
    number = np.isfinite(ordered).sum(axis=-1)
    box = np.arange(len(ordered))
    middle = ordered[box, number // 2]
    for _ in range(3):
        middle = ordered[box, number // 2]
        # Half of the lower half lies between the quartile and the median.
        limit = middle + 2.5 * _MAD_TO_SIGMA * (middle - ordered[box, number // 4])
        number = np.maximum((ordered <= limit[:, None]).sum(axis=-1), 1)
    middle = ordered[box, number // 2]
    enough = np.isfinite(values).sum(axis=-1) > 8
    return np.where(enough, middle, np.nan).astype(np.float32)


def _nearest(mesh: FloatArray) -> FloatArray:
    """Give boxes without a value that of the nearest box that has one."""
    empty = ~np.isfinite(mesh)
    if empty.all():
        return np.zeros(mesh.shape, np.float32)
    where = ndimage.distance_transform_edt(
        empty, return_distances=False, return_indices=True
    )
    return np.asarray(mesh[tuple(where)], np.float32)
