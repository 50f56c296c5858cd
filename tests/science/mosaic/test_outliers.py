"""Cosmic rays are found and stars kept, of profiles that the simulator never drew."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from scipy.special import j1

from webbmosaic.science.mosaic.frames import Frame, between
from webbmosaic.science.mosaic.outliers import Options, find_outliers, neighbour

SIDE = 200
SIGMA = 10.0
FINE = 9  # samples of a pixel, an axis


def moffat(radius, fwhm=1.1):
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / 2.5) - 1))
    return (1 + (radius / alpha) ** 2) ** -2.5


def airy(radius, fwhm=1.0):
    z = np.maximum(radius, 1e-6) * np.pi * 1.028 / fwhm
    return (2 * j1(z) / z) ** 2


def stamp(profile, x, y, reach=15):
    """Integrate a star over pixels, by samples."""
    fine = (np.arange((2 * reach + 1) * FINE) + 0.5) / FINE - 0.5 - reach
    image = profile(np.hypot(fine - x, fine[:, None] - y))
    return image.reshape(2 * reach + 1, FINE, 2 * reach + 1, FINE).mean(axis=(1, 3))


def whole(profile):
    return stamp(profile, 0, 0, reach=40).sum()


def exposures(profile, count, *, shift=0.0, seed=1, stripes=0.0, stars=40, turn=0.0):
    """Dithered exposures without any outlier, and where the stars are on each."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(15, SIDE - 15, (stars, 2))
    flux = 10 ** rng.uniform(2.2, 5.5, stars) / whole(profile)
    frames, positions = [], []
    for index in range(count):
        offset = rng.uniform(-6, 6, 2)
        missed = rng.normal(0, shift, 2) if index else np.zeros(2)
        light = galaxy(*(np.array([60, 120]) + offset))
        at = places + offset
        for (x, y), f in zip(at, flux, strict=True):
            cx, cy = round(x), round(y)
            part = f * stamp(profile, x - cx, y - cy)
            ys, xs = slice(max(0, cy - 15), cy + 16), slice(max(0, cx - 15), cx + 16)
            part = part[max(0, 15 - cy) :, max(0, 15 - cx) :]
            cut = light[ys, xs]
            cut += part[: cut.shape[0], : cut.shape[1]]
        variance = SIGMA**2 + light
        noise = rng.normal(0, 1, light.shape) * np.sqrt(variance)
        noise += rng.normal(0, 1, (SIDE, 1)) * stripes * SIGMA
        frames.append(make_frame(light + noise, variance, offset + missed))
        positions.append(at)
    return frames, positions


def galaxy(x, y):
    yy, xx = np.mgrid[:SIDE, :SIDE]
    return 400 * np.exp(-np.hypot(xx - x, (yy - y) / 0.5) / 5)


def make_frame(data, variance, offset):
    return Frame(
        data.astype(np.float32),
        variance.astype(np.float32),
        np.ones(data.shape, bool),
        lambda x, y: (x - offset[0], y - offset[1]),
        lambda a, d: (a + offset[0], d + offset[1]),
    )


def with_rays(frame, amplitude, seed=5, share=2e-3):
    """Plant cosmic rays of so many sigma, with the photon noise of their own."""
    rng = np.random.default_rng(seed)
    hits = rng.random(frame.data.shape) < share
    added = (hits * amplitude * np.sqrt(frame.variance)).astype(np.float32)
    planted = Frame(
        frame.data + added,
        frame.variance + added,
        frame.good,
        frame.to_sky,
        frame.to_pixels,
    )
    return planted, hits


def judged(frames, options=None):
    ready = [neighbour(frame) for frame in frames]
    return [
        find_outliers(one, ready[:k] + ready[k + 1 :], options)
        for k, one in enumerate(ready)
    ]


def near(positions, reach):
    yy, xx = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), bool)
    for x, y in positions:
        mask |= np.hypot(xx - x, yy - y) < reach
    return mask


@pytest.mark.parametrize("profile", [moffat, airy])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("shift", [0.03, 0.6])
def test_stars_are_left_alone(profile, count, shift):
    """Undersampled, and 20 mas off (0.6 of a short-wave pixel) as well as 1 mas."""
    frames, positions = exposures(profile, count, shift=shift)
    for found, at in zip(judged(frames), positions, strict=True):
        assert found.mask[near(at, 3)].mean() < 1e-3
        assert found.rejected < 1.5e-4
        assert found.cores[:, 1].mean() < 1e-3


@pytest.mark.parametrize("stripes", [0.0, 0.4])
@pytest.mark.parametrize(("count", "blank", "light"), [(2, 0.95, 0.8), (4, 0.99, 0.93)])
def test_cosmic_rays_are_found(count, blank, light, stripes):
    frames, positions = exposures(airy, count, shift=0.3, stripes=stripes)
    amplitudes = np.random.default_rng(2).uniform(8, 40, (SIDE, SIDE))
    frames[0], hits = with_rays(frames[0], amplitudes)
    found, clean = judged(frames)[:2]
    inside = np.zeros_like(hits)
    inside[14:-14, 14:-14] = True
    bright = galaxy(60, 120) > SIGMA
    stars = near(positions[0], 15)
    sky = hits & inside & ~bright & ~stars
    glow = hits & inside & (stars | bright) & ~near(positions[0], 4)
    assert found.mask[sky].mean() >= blank
    assert found.mask[glow].mean() >= light
    assert clean.rejected < 2e-4  # nothing of it is printed into the others


def test_what_is_found_grows_gradually_with_the_height_of_a_ray():
    frames, positions = exposures(moffat, 3)
    empty = ~near(positions[0], 15)
    empty[:14] = empty[-14:] = empty[:, :14] = empty[:, -14:] = False
    shares = []
    for amplitude in np.arange(0, 12):
        planted, hits = with_rays(frames[0], amplitude, share=5e-3)
        found = judged([planted, *frames[1:]])[0]
        shares.append(found.mask[hits & empty].mean())
    assert shares[0] < 0.01
    assert shares[-1] == 1
    steps = np.diff(shares)
    assert steps.min() > -0.03
    assert steps.max() < 0.45


def test_of_two_only_the_brighter_is_rejected():
    frames, _ = exposures(moffat, 2, stars=0)
    data = frames[0].data.copy()
    data[30, 40] -= 500  # too faint: of two nobody knows who is right
    frames[0] = Frame(data, *vars_of(frames[0])[1:])
    one, other = judged(frames)
    assert not one.mask[30, 40]
    assert other.mask.sum() <= 4


def test_of_three_what_is_too_faint_is_rejected_too():
    frames, _ = exposures(moffat, 3, stars=0)
    data = frames[0].data.copy()
    data[30, 40] -= 500
    frames[0] = Frame(data, *vars_of(frames[0])[1:])
    one, *others = judged(frames)
    assert one.mask[30, 40]
    assert all(not near([(40, 30)], 12)[other.mask].any() for other in others)


def vars_of(frame):
    return frame.data, frame.variance, frame.good, frame.to_sky, frame.to_pixels


def test_a_wide_event_is_rejected_where_it_is_and_nowhere_else():
    frames, _ = exposures(moffat, 4, stars=10)
    data = frames[0].data.copy()
    data[90:102, 90:102] += 400
    frames[0] = Frame(data, *vars_of(frames[0])[1:])
    one, *others = judged(frames)
    assert one.mask[91:101, 91:101].all()
    assert all(other.rejected < 2e-4 for other in others)


def test_different_levels_are_no_outliers():
    frames, _ = exposures(moffat, 3, stars=10)
    frames[0] = Frame(frames[0].data + np.float32(5 * SIGMA), *vars_of(frames[0])[1:])
    assert all(found.rejected < 2e-4 for found in judged(frames))


def test_underestimated_noise_is_measured():
    frames, _ = exposures(moffat, 3, stars=10)
    frames = [Frame(f.data, f.variance / 4, *vars_of(f)[2:]) for f in frames]
    for found in judged(frames):
        assert found.noise == pytest.approx(2, rel=0.2)
        assert found.rejected < 3e-4


def test_pixels_that_nothing_else_sees_are_left_alone():
    frames, _ = exposures(moffat, 2, stars=5)
    far = make_frame(frames[1].data, frames[1].variance, np.array([1e4, 0]))
    one = judged([frames[0], far])[0]
    assert one.compared == 0
    assert not one.mask.any()


def test_bad_pixels_of_others_are_no_evidence():
    frames, _ = exposures(moffat, 3, stars=10)
    good = np.random.default_rng(3).random((SIDE, SIDE)) > 0.05
    data = np.where(good, frames[1].data, 1e9).astype(np.float32)
    frames[1] = Frame(data, frames[1].variance, good, *vars_of(frames[1])[3:])
    one, two, _ = judged(frames)
    assert one.rejected < 2e-4
    assert not two.mask[~good].any()


@pytest.mark.parametrize("moved", [0.02, 0.3, 0.65, 1.0, 1.7, 2.2])
def test_the_shift_that_is_left_is_measured(moved):
    frames, _ = exposures(moffat, 2, seed=4)
    off = Frame(
        *vars_of(frames[1])[:3],
        frames[1].to_sky,
        lambda a, d: (
            frames[1].to_pixels(a, d)[0] - moved,
            frames[1].to_pixels(a, d)[1],
        ),
    )
    found = find_outliers(neighbour(frames[0]), [neighbour(off)])
    still = find_outliers(neighbour(frames[0]), [neighbour(frames[1])])
    assert found.shifts[0].x - still.shifts[0].x == pytest.approx(moved, abs=0.02)
    assert found.shifts[0].y == pytest.approx(0, abs=0.05)
    assert found.shifts[0].error < 0.05


def test_without_light_the_shift_is_unknown():
    frames, _ = exposures(moffat, 2, stars=0)
    blank = [
        Frame(
            np.random.default_rng(k).normal(0, SIGMA, (SIDE, SIDE)).astype(np.float32),
            np.full((SIDE, SIDE), np.float32(SIGMA**2)),
            *vars_of(frames[k])[2:],
        )
        for k in range(2)
    ]
    found = find_outliers(neighbour(blank[0]), [neighbour(blank[1])])
    assert found.shifts[0].error == pytest.approx(0.3, rel=0.1)
    assert abs(found.shifts[0].x) < 0.1


def test_a_mapping_follows_distortion():
    frame = make_frame(np.zeros((100, 90)), np.ones((100, 90)), np.zeros(2))
    bent = Frame(
        *vars_of(frame)[:3],
        frame.to_sky,
        lambda x, y: (x + 1e-5 * x**2 + 3, y - 1e-5 * x * y),
    )
    x, y = between(frame, bent).at(np.array([10.3, 77.7]), np.array([50.2, 3.1]))
    np.testing.assert_allclose(
        x, np.array([10.3, 77.7]) + 3 + [0.00106, 0.0604], atol=1e-3
    )
    np.testing.assert_allclose(y, np.array([50.2, 3.1]) - [0.00518, 0.00241], atol=1e-3)


def test_crowded_fields_are_left_alone():
    frames, _ = exposures(moffat, 3, stars=900, seed=8)
    assert all(found.rejected < 2e-4 for found in judged(frames))


def test_a_higher_threshold_rejects_less():
    frames, _ = exposures(airy, 3)
    frames[0], _ = with_rays(frames[0], 6.0)
    shares = [judged(frames, Options(threshold=t))[0].rejected for t in (4, 5, 6, 8)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 3 * shares[-1]


def test_smooth_data_have_no_structure():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, SIGMA, (SIDE, SIDE)).astype(np.float32)
    one = neighbour(make_frame(noise, np.full((SIDE, SIDE), SIGMA**2), np.zeros(2)))
    assert np.median(one.structure.humps) < SIGMA
    assert np.isfinite(uniform_filter(one.structure.gradient, 3)).all()
