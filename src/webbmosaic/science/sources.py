"""
Where the sky is and where the sources are: a tiered mask.

A pixel belongs to a source when the image, smoothed with a small kernel, a middle one
or a large one, stands above the local background there. Small kernels find stars and
the cores of galaxies, large kernels the wings of bright sources and faint extended
light, which hardly show in single pixels but add up over a row of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from webbmosaic.science.stripe_lines import FloatArray

Mask = npt.NDArray[np.bool_]

_BIN = 4  # pixels; kernels of 3 pixels and more work on means of 4 x 4
_MAD_TO_SIGMA = 1.4826


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


TIERS = (
    Tier(1.2, 3.0, 1),
    Tier(3.0, 3.5, 3),
    Tier(8.0, 3.0, 8),
    Tier(16.0, 4.0, 4, angle=90.0),
    Tier(16.0, 4.0, 4, angle=30.0),
    Tier(16.0, 4.0, 4, angle=-30.0),
    Tier(24.0, 3.0, 24),
    Tier(48.0, 3.0, 32),
)
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
    """

    tiers: tuple[Tier, ...] = TIERS
    background_box: int = 128
    iterations: int = 1


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
        sources = _detect(values, good, sky, sources, options.tiers)
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
    means, counts = _binned(image, good)
    mesh = _box_medians(means, counts, max(1, box // _BIN))
    mesh = ndimage.median_filter(mesh, 5, mode="nearest")
    return interpolated(mesh, image.shape)


def _detect(
    values: FloatArray,
    good: Mask,
    sky: FloatArray,
    known: Mask,
    tiers: tuple[Tier, ...],
) -> Mask:
    """Find the sources of every tier above a given sky, from small to large."""
    above = values - sky
    above *= good
    found = np.zeros(good.shape, bool)
    fine = [tier for tier in tiers if tier.kernel < _BIN * 0.6]
    for tier in fine:
        smooth = _smoothed(above, _kernel(tier.kernel))
        found |= _grown(_above(smooth, good & ~known, tier.threshold), tier.grow)
    rest = [tier for tier in tiers if tier not in fine]
    coarse = _detect_coarse(above, good & ~found, good & ~known & ~found, rest)
    return found | _enlarged(coarse, good.shape)


def _detect_coarse(
    above: FloatArray, good: Mask, quiet: Mask, tiers: list[Tier]
) -> Mask:
    """Find the sources of the larger tiers, on the binned image.

    What smaller tiers found takes no part: large kernels are for diffuse light, not for
    many stars together.
    """
    means, counts = _binned(above, good)
    calm = _binned(above, quiet)[1] > _BIN
    found = np.zeros(means.shape, bool)
    noise = _lower_scatter(means[calm]) if calm.any() else 0.0
    for tier in sorted(tiers, key=lambda tier: tier.kernel):
        weight = np.where(found, 0, counts / _BIN**2).astype(np.float32)
        sigma = tier.kernel / _BIN
        norm = _blurred(weight, sigma, tier.angle)
        smooth = _blurred(means * weight, sigma, tier.angle)
        smooth = np.where(norm > 0.1, smooth / np.maximum(norm, 0.1), -np.inf)
        hit = _above(
            smooth,
            calm & (norm > 0.1) & ~found,
            tier.threshold,
            floor=noise * _white(sigma, tier.angle),
        )
        found |= _grown(hit, round(tier.grow / _BIN))
    return found


def _blurred(image: FloatArray, sigma: float, angle: float | None) -> FloatArray:
    """Smooth in all directions or in one."""
    if angle is None:
        return _widely_blurred(image, sigma)
    if abs((angle + 90.0) % 180.0 - 90.0) > 45:
        return _blurred(image.T, sigma, 90.0 - angle).T
    taps = _kernel(sigma)
    along = np.arange(taps.size) - taps.size // 2
    rise = np.rint(along * np.tan(np.radians(angle))).astype(np.int64)
    return np.asarray(_sheared(np.ascontiguousarray(image), taps, rise))


def _widely_blurred(image: FloatArray, sigma: float) -> FloatArray:
    """Smooth with a Gaussian; a wide one on a smaller image."""
    if sigma < _BIN or min(image.shape) < 4 * _BIN:
        blurred = ndimage.gaussian_filter(image, sigma, truncate=3, mode="nearest")
        return np.asarray(blurred)
    rows, cols = (-(-n // _BIN) for n in image.shape)
    padded = np.pad(
        image,
        ((0, rows * _BIN - image.shape[0]), (0, cols * _BIN - image.shape[1])),
        mode="edge",
    )
    small = padded.reshape(rows, _BIN, cols, _BIN).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma / _BIN, truncate=3, mode="nearest")
    large = interpolated(small, padded.shape)
    return large[: image.shape[0], : image.shape[1]]


def _above(
    smooth: FloatArray, quiet: Mask, threshold: float, *, floor: float = 0.0
) -> Mask:
    """Where a smoothed image stands above its noise, which is at least ``floor``."""
    step = max(1, smooth.size // 60_000)
    sample = smooth.ravel()[::step][quiet.ravel()[::step]]
    if sample.size < 16:
        return np.zeros(smooth.shape, bool)
    middle = np.median(sample)
    noise = max(_lower_scatter(sample), floor)
    return np.asarray(smooth > middle + threshold * noise)


def _lower_scatter(sample: FloatArray) -> float:
    """Standard deviation from the lower half about the median."""
    low, middle = np.quantile(sample, (0.25, 0.5))
    return float(_MAD_TO_SIGMA * (middle - low))


def _white(sigma: float, angle: float | None) -> float:
    """What smoothing leaves of white noise: the root of the kernel's squares."""
    share = 1 / (2 * np.sqrt(np.pi) * max(sigma, 0.3))
    return float(share if angle is None else np.sqrt(share))


def _kernel(sigma: float) -> FloatArray:
    """Sample a Gaussian kernel out to three sigma."""
    reach = max(1, round(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


def _box_medians(means: FloatArray, counts: FloatArray, box: int) -> FloatArray:
    """Clipped medians of boxes; boxes without sky get their neighbours' level."""
    rows = max(1, round(means.shape[0] / box))
    cols = max(1, round(means.shape[1] / box))
    sky = np.where(counts >= _BIN**2 / 4, means, np.nan)
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


def interpolated(mesh: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """
    Interpolate values of boxes linearly to every pixel.

    Parameters
    ----------
    mesh : 2-D float32 `~numpy.ndarray`
        Values at the centres of boxes that share a frame out evenly.
    shape : tuple of int
        Rows and columns of the frame.

    Returns
    -------
    image : 2-D float32 `~numpy.ndarray`, shape ``shape``
        The values, continued linearly at the edges.
    """
    ny, nx = shape
    y = (np.arange(ny) + 0.5) / ny * mesh.shape[0] - 0.5
    x = (np.arange(nx) + 0.5) / nx * mesh.shape[1] - 0.5
    return (_hats(y, mesh.shape[0]) @ mesh @ _hats(x, mesh.shape[1]).T).astype(
        np.float32
    )


def _hats(at: npt.NDArray[np.float64], count: int) -> FloatArray:
    """Weights of linear interpolation between ``count`` nodes, and beyond them."""
    weights = np.zeros((at.size, count), np.float32)
    if count == 1:
        weights[:] = 1
        return weights
    node = np.clip(np.floor(at).astype(np.int64), 0, count - 2)
    place = np.arange(at.size)
    weights[place, node] = 1 - (at - node)
    weights[place, node + 1] = at - node
    return weights


def _binned(image: FloatArray, good: Mask) -> tuple[FloatArray, FloatArray]:
    """Means of the good pixels in squares of `_BIN` pixels, and their numbers."""
    ny, nx = image.shape
    shape = (-(-ny // _BIN), -(-nx // _BIN))
    sums, counts = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    _bin_sums(image, good, sums, counts)
    sums /= np.maximum(counts, 1)
    return sums, counts


@numba.njit(cache=True, fastmath=True)
def _bin_sums(image, good, sums, counts):  # type: ignore[no-untyped-def]
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if good[y, x]:
                sums[y // _BIN, x // _BIN] += image[y, x]
                counts[y // _BIN, x // _BIN] += 1


@numba.njit(cache=True, fastmath=True)
def _smoothed(image, taps):  # type: ignore[no-untyped-def]
    """Convolve with a symmetric separable kernel; zero beyond the edges."""
    ny, nx = image.shape
    reach = taps.size // 2
    out = np.empty_like(image)
    column = np.zeros(nx + 2 * reach, image.dtype)  # one row, summed along y
    for y in range(ny):
        column[:] = 0
        for k in range(taps.size):
            j = y + k - reach
            if 0 <= j < ny:
                tap = taps[k]
                for x in range(nx):
                    column[x + reach] += tap * image[j, x]
        for x in range(nx):
            total = np.float32(0)
            for k in range(taps.size):
                total += taps[k] * column[x + k]
            out[y, x] = total
    return out


@numba.njit(cache=True, fastmath=True)
def _sheared(image, taps, rise):  # type: ignore[no-untyped-def]
    """Convolve along a slanted line; zero beyond the edges."""
    ny, nx = image.shape
    reach = taps.size // 2
    out = np.zeros_like(image)
    for y in range(ny):
        for k in range(taps.size):
            j, d = y + rise[k], k - reach
            if 0 <= j < ny:
                for x in range(max(0, -d), min(nx, nx - d)):
                    out[y, x] += taps[k] * image[j, x + d]
    return out


def _grown(mask: Mask, reach: int) -> Mask:
    """Dilate a mask by a square of half side ``reach``."""
    if reach < 1:
        return mask
    rows = _spread(np.ascontiguousarray(mask), reach)
    return np.asarray(_spread(np.ascontiguousarray(rows.T), reach).T)


@numba.njit(cache=True)
def _spread(mask, reach):  # type: ignore[no-untyped-def]
    """Dilate along the rows."""
    ny, nx = mask.shape
    out = np.zeros_like(mask)
    for y in range(ny):
        until = -1
        for x in range(-reach, nx):
            if x + reach < nx and mask[y, x + reach]:
                until = x + 2 * reach
            if x >= 0:
                out[y, x] = x <= until
    return out


def _enlarged(coarse: Mask, shape: tuple[int, int]) -> Mask:
    """Bring a mask of bins back to pixels."""
    fine = np.repeat(np.repeat(coarse, _BIN, axis=0), _BIN, axis=1)
    return np.asarray(fine[: shape[0], : shape[1]])
