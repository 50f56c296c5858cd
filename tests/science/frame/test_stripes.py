"""Stripes: planted ones are found, the sky and its sources stay as they are."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from webbmosaic.science.frame import (
    StripeOptions,
    find_angles,
    fit_stripes,
    make_readout,
)

SIZE = 512
FOUR = make_readout((SIZE, SIZE), outputs=4)
TILTED = StripeOptions(angles=(30.0, -30.0))


def white(seed=1, shape=(SIZE, SIZE)):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def pink(rng, count):
    """A series of power 1/frequency and standard deviation 1."""
    frequency = np.arange(1, count + 1) / (2 * count)
    waves = rng.standard_normal(count) + 1j * rng.standard_normal(count)
    series = np.fft.irfft(np.append(0, waves / np.sqrt(frequency)))[:count]
    return (series - series.mean()) / series.std()


def readout_noise(seed, common=0.4, own=0.15, shape=(SIZE, SIZE), outputs=4):
    """1/f noise of outputs read at once, every other one backwards."""
    rng = np.random.default_rng(seed)
    ny, width = shape[0], shape[1] // outputs
    shared = common * pink(rng, ny * (width + 12))
    parts = []
    for k in range(outputs):
        stream = shared + own * pink(rng, shared.size)
        rows = stream.reshape(ny, -1)[:, :width]
        parts.append(rows[:, ::-1] if k % 2 else rows)
    return np.hstack(parts).astype(np.float32)


def tilted(seed, angle, rms, shape=(SIZE, SIZE)):
    """Lines one pixel wide at an angle."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    line = y - np.rint(x * np.tan(np.radians(angle))).astype(int)
    levels = np.random.default_rng(seed).standard_normal(np.ptp(line) + 1)
    return (rms * levels[line - line.min()]).astype(np.float32)


def galaxy(x, y, size, peak, shape=(SIZE, SIZE)):
    j, i = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot((j - y) / 0.7, i - x) / size
    return (peak * np.exp(-radius)).astype(np.float32)


def left(pattern, planted, where=None):
    """What remains of planted stripes, without one constant."""
    rest = planted - pattern
    return float(np.std(rest if where is None else rest[where]))


def every(data):
    return np.ones(data.shape, bool)


def test_readout_noise_is_halved_and_more():
    planted = readout_noise(1)
    data = white() + planted
    fit = fit_stripes(data, every(data), readout=FOUR)
    assert left(fit.pattern, planted) < 0.6 * planted.std()
    assert fit.rms_after < fit.rms_before


def test_neighbouring_outputs_run_in_opposite_directions():
    planted = readout_noise(1)
    mirrored = planted.copy()
    for k in (1, 3):
        part = slice(k * SIZE // 4, (k + 1) * SIZE // 4)
        mirrored[:, part] = mirrored[:, part][:, ::-1]
    right, wrong = (
        left(fit_stripes(white() + p, every(p), readout=FOUR).pattern, p)
        for p in (planted, mirrored)
    )
    assert right < 0.97 * wrong


@pytest.mark.parametrize("angles", [(30.0, -30.0), (30.0, 150.0)])
def test_all_families_together(angles):
    planted = readout_noise(2) + tilted(3, 30, 0.3) + tilted(4, -30, 0.3)
    planted += 0.2 * np.random.default_rng(5).standard_normal(SIZE, dtype=np.float32)
    data = white() + planted
    fit = fit_stripes(
        data, every(data), readout=FOUR, options=StripeOptions(angles=angles)
    )
    assert planted.std() > 0.6
    assert left(fit.pattern, planted) < 0.3
    assert set(fit.families) == {"readout", "columns", "+30", "-30"}
    assert min(fit.significance.values()) > 20


def test_the_wide_part_of_tilted_stripes_is_no_sky():
    shape = (1024, 1024)
    planted = tilted(5, 30, 0.4, shape)
    readout = make_readout(shape, outputs=4)
    data = white(6, shape) + planted
    fit = fit_stripes(data, every(data), readout=readout, options=TILTED)
    wide = uniform_filter1d(planted - fit.pattern, 64, axis=0)
    before = uniform_filter1d(planted, 64, axis=0)
    assert np.std(wide) < 0.4 * np.std(before)


def test_families_sum_to_the_pattern_of_zero_mean():
    data = white() + readout_noise(2) + tilted(3, 30, 0.3)
    fit = fit_stripes(data, every(data), readout=FOUR, options=TILTED)
    np.testing.assert_allclose(sum(fit.families.values()), fit.pattern, atol=1e-5)
    assert abs(fit.pattern.mean()) < 1e-4
    assert fit.pattern.dtype == np.float32


def test_clean_frame_is_left_alone():
    data = white()
    fit = fit_stripes(data, every(data), readout=FOUR, options=TILTED)
    assert fit.pattern.std() < 0.06
    assert not fit.families["+30"].any()
    assert max(fit.significance.values()) < TILTED.significance


def test_pedestal_and_gradients_stay():
    y, x = np.mgrid[:SIZE, :SIZE] / np.float32(SIZE)
    clean = white() + readout_noise(1, common=0.2, own=0.05)
    plain = fit_stripes(clean, every(clean), readout=FOUR)
    sloped = clean + 500 + 3 * x - 4 * y
    fit = fit_stripes(sloped, every(clean), readout=FOUR)
    assert abs(np.polyfit(y[:, 0], (fit.pattern - plain.pattern).mean(1), 1)[0]) < 0.2
    assert abs(np.polyfit(x[0], (fit.pattern - plain.pattern).mean(0), 1)[0]) < 0.2


@pytest.mark.parametrize(("across", "drift"), [(0.0, True), (0.2, False)])
def test_a_steep_rise_is_drift_and_a_slanted_one_sky(across, drift):
    wave = np.sqrt(2) * np.cos(np.pi * (np.arange(SIZE) + 0.5) / SIZE)
    noise = readout_noise(21)
    rise = (noise.mean(axis=1) * wave).mean()
    steep = ((0.25 - rise) * wave[:, None] * np.ones(SIZE)).astype(np.float32)
    slanted = (across * wave * np.ones((SIZE, 1))).astype(np.float32)
    data = white(22) + noise + steep + slanted
    fit = fit_stripes(data, every(data), readout=FOUR)
    found = (fit.pattern.mean(axis=1) * wave).mean()
    assert abs(found - (0.25 if drift else 0.0)) < 0.08
    assert abs((fit.pattern.mean(axis=0) * wave).mean()) < 0.05


def test_the_unit_does_not_matter():
    data = white() + readout_noise(1)
    fit = fit_stripes(data, every(data), readout=FOUR)
    scaled = fit_stripes(data * 1e-3 + 7, every(data), readout=FOUR)
    assert np.std(scaled.pattern * 1e3 - fit.pattern) < 0.1 * fit.pattern.std()


def test_big_galaxy_keeps_its_light():
    light = galaxy(260, 240, 20, 40.0)
    planted = readout_noise(1)
    data = white() + planted + light
    fit = fit_stripes(data, every(data), readout=FOUR, options=TILTED)
    sky = light < 0.02
    assert left(fit.pattern, planted, sky) < 0.6 * planted.std()
    inside = light > 4
    wrong = planted - fit.pattern
    wrong -= wrong[sky].mean()
    assert abs(wrong[inside].sum() / light[inside].sum()) < 0.02
    assert fit.sources[light > 1].mean() > 0.98


def test_crowded_field_keeps_its_stars():
    rng = np.random.default_rng(8)
    light = np.zeros((SIZE, SIZE), np.float32)
    j, i = np.mgrid[-8:9, -8:9]
    star = 60 * np.exp(-(j**2 + i**2) / 4.0)
    places = rng.integers(10, SIZE - 10, (300, 2))
    for y, x in places:
        light[y - 8 : y + 9, x - 8 : x + 9] += star
    planted = readout_noise(1)
    data = white() + planted + light
    fit = fit_stripes(data, every(data), readout=FOUR)
    assert left(fit.pattern, planted, light < 0.05) < 0.62 * planted.std()
    wrong = [
        (planted - fit.pattern)[y - 4 : y + 5, x - 4 : x + 5].sum() for y, x in places
    ]
    assert abs(np.median(wrong)) / star.sum() < 0.005


@pytest.mark.parametrize(("angle", "height"), [(0.0, 3), (90.0, 12), (30.0, 12)])
def test_a_bright_stripe_is_no_source(angle, height):
    data = white()
    y, x = np.mgrid[:SIZE, :SIZE]
    if angle == 90.0:
        line = x == 100
    else:
        line = (y - np.rint(x * np.tan(np.radians(angle)))).astype(int) == 100
    data[line] += height
    fit = fit_stripes(data, every(data), options=TILTED)
    assert abs((data - fit.pattern)[line].mean()) < 1.0


def spirals(seed, peak):
    """A galaxy that fills the frame, with arms and clusters, and its photon noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 3
    radius = np.hypot(y / 0.6, x)
    arms = 1 + 0.4 * np.cos(2 * np.arctan2(y, x) - 6 * np.log(radius + 20))
    clusters = np.zeros((SIZE, SIZE))
    clusters[rng.integers(0, SIZE, 200), rng.integers(0, SIZE, 200)] = 15 * peak
    light = (peak * arms + gaussian_filter(clusters, 2)) * np.exp(-radius / 300)
    noise = np.sqrt(0.04 * light)
    return (light + noise * rng.standard_normal(light.shape)).astype(np.float32), noise


@pytest.mark.parametrize("peak", [10, 100])
def test_a_galaxy_that_fills_the_frame_hides_wide_stripes_only(peak):
    planted = readout_noise(12)
    light, noise = spirals(13, peak)
    data = white(14) + planted + light
    fit = fit_stripes(data, every(data), variance=1 + noise**2, readout=FOUR)
    assert fit.accepted
    assert left(fit.pattern, planted) < 0.97 * planted.std()
    wide = uniform_filter1d(fit.pattern, 128, axis=0)
    assert np.std(wide) < 0.02 * peak


@pytest.mark.parametrize(("number", "share"), [(300, 0.75), (1500, 1.03)])
def test_a_crowd_of_bright_stars_is_no_stripe(number, share):
    rng = np.random.default_rng(15)
    planted = readout_noise(16)
    stars = np.zeros((SIZE, SIZE), np.float32)
    stars[rng.integers(0, SIZE, number), rng.integers(0, SIZE, number)] = 3e4
    data = white(17) + planted + gaussian_filter(stars, 1.5)
    fit = fit_stripes(data, every(data), readout=FOUR, options=TILTED)
    assert left(fit.pattern, planted) <= share * planted.std()


def test_what_ends_within_the_frame_is_no_stripe():
    data = white(18)
    seen = np.s_[:, SIZE // 2 : SIZE // 2 + 64]
    data[seen] += 5 * white(19, (SIZE, 1))  # no stripe: it ends within the frame
    sources = every(data)
    sources[seen] = False
    fit = fit_stripes(data, every(data), sources=sources)
    assert fit.pattern.std() < 0.2


def test_masked_rows_borrow():
    planted = readout_noise(1)
    data = white() + planted
    usable = every(data)
    usable[200:206, :400] = False
    usable[300:303] = False
    data[~usable] = np.nan
    fit = fit_stripes(data, usable, readout=FOUR)
    assert np.isfinite(fit.pattern).all()
    assert left(fit.pattern, planted, ~usable) < 0.8 * planted.std()


def test_bad_values_do_not_count():
    data = white() + readout_noise(1)
    usable = np.random.default_rng(2).random(data.shape) > 0.02
    hot = fit_stripes(np.where(usable, data, 1e5), usable, readout=FOUR)
    lost = fit_stripes(np.where(usable, data, np.nan), usable, readout=FOUR)
    endless = fit_stripes(np.where(usable, data, np.inf), usable, readout=FOUR)
    np.testing.assert_array_equal(hot.pattern, lost.pattern)
    np.testing.assert_array_equal(endless.pattern, lost.pattern)


def test_a_given_mask_is_used():
    data = white() + readout_noise(1) + galaxy(260, 240, 40, 20.0)
    mask = galaxy(260, 240, 40, 20.0) > 0.1
    fit = fit_stripes(data, every(data), sources=mask, readout=FOUR)
    np.testing.assert_array_equal(fit.sources, mask)


def test_a_given_mask_that_covers_most_of_the_frame_does_no_harm():
    planted = readout_noise(1)
    light = galaxy(260, 240, 25, 50.0) + galaxy(100, 400, 10, 50.0)
    data = white() + planted + light
    mask = light > 0.05
    assert mask.mean() > 0.25
    fit = fit_stripes(data, every(data), sources=mask, readout=FOUR, options=TILTED)
    assert left(fit.pattern, planted, ~mask) < 0.7 * planted.std()
    assert left(fit.pattern, planted) < planted.std()
    nearly_all = np.ones_like(mask)
    nearly_all[:20, :20] = False
    fit = fit_stripes(
        data, every(data), sources=nearly_all, readout=FOUR, options=TILTED
    )
    assert fit.pattern.std() < planted.std()
    assert not fit.families["+30"].any()


def test_one_output():
    planted = readout_noise(4, common=0.5, own=0.0, shape=(160, 160), outputs=1)
    data = white(shape=(160, 160)) + planted
    fit = fit_stripes(data, every(data))
    assert left(fit.pattern, planted) < 0.75 * planted.std()


def test_stripe_of_four_outputs():
    planted = readout_noise(4, shape=(64, 2048))
    data = white(shape=(64, 2048)) + planted
    readout = make_readout(data.shape, outputs=4)
    fit = fit_stripes(data, every(data), readout=readout)
    assert left(fit.pattern, planted) < 0.75 * planted.std()


def test_rows_along_y_are_the_transpose():
    data = white() + readout_noise(1) + tilted(3, 30, 0.3)
    upright = fit_stripes(data, every(data), readout=FOUR, options=TILTED)
    turned = fit_stripes(
        data.T,
        every(data),
        readout=make_readout(data.shape, outputs=4, fast_axis=2, slow_axis=1),
        options=StripeOptions(angles=(60.0, -60.0)),
    )
    np.testing.assert_allclose(turned.pattern.T, upright.pattern, atol=1e-3)
    assert set(turned.significance) == {"+60", "-60"}
    assert turned.significance["+60"] == pytest.approx(upright.significance["+30"])


def test_regions_are_fitted_apart():
    data = white(shape=(256, 256))
    data[:, :128] += readout_noise(1, 0.5, 0, (256, 128), outputs=1)
    options = StripeOptions(
        regions=((slice(0, 256), slice(0, 128)), (slice(50, 200), slice(128, 256)))
    )
    fit = fit_stripes(data, every(data), options=options)
    outside = np.ones(data.shape, bool)
    for region in options.regions:
        outside[region] = False
    assert not fit.pattern[outside].any()
    assert fit.pattern[:, :128].std() > 0.3
    assert fit.pattern[50:200, 128:].std() < 0.15


def test_the_error_is_that_of_the_pattern():
    planted = readout_noise(1)
    data = white() + planted
    fit = fit_stripes(data, every(data), readout=FOUR)
    assert np.sqrt(fit.variance.mean()) == pytest.approx(
        left(fit.pattern, planted), rel=0.25
    )


def test_noisy_pixels_count_less():
    planted = readout_noise(1)
    rng = np.random.default_rng(9)
    variance = np.where(rng.random(planted.shape) < 0.3, 16.0, 1.0).astype(np.float32)
    data = white() * np.sqrt(variance) + planted
    plain = fit_stripes(data, every(data), readout=FOUR)
    known = fit_stripes(data, every(data), readout=FOUR, variance=variance)
    assert left(known.pattern, planted) < left(plain.pattern, planted)


@pytest.mark.parametrize("shape", [(16, 16), (40, 24), (64, 64)])
def test_tiny_frames(shape):
    data = white(shape=shape)
    fit = fit_stripes(data, every(data), options=TILTED)
    assert fit.pattern.shape == shape
    assert fit.pattern.std() < 0.5


def test_numbers_for_the_record():
    data = white() + readout_noise(1)
    fit = fit_stripes(data, every(data), readout=FOUR, options=TILTED)
    assert fit.numbers["noise"] == pytest.approx(1, abs=0.05)
    assert fit.numbers["rms_before"] == fit.rms_before
    assert "significance_+30" in fit.numbers
    assert all(isinstance(value, float) for value in fit.numbers.values())


def test_nothing_usable_is_refused():
    data = white(shape=(64, 64))
    with pytest.raises(ValueError, match="only 0 pixels"):
        fit_stripes(data, np.zeros(data.shape, bool))
    with pytest.raises(ValueError, match="shape"):
        fit_stripes(data, np.ones((64, 65), bool))


def test_outputs_must_divide_the_frame():
    with pytest.raises(ValueError, match="divide"):
        make_readout((100, 101), outputs=4)
    with pytest.raises(ValueError, match="FASTAXIS"):
        make_readout((100, 100), fast_axis=1, slow_axis=-1)


@pytest.mark.parametrize(
    ("axes", "outputs", "reverse"),
    [
        ((1, 2), 1, False),
        ((-1, 2), 1, True),
        ((1, -2), 1, True),
        ((-1, -2), 1, False),
        ((1, -2), 4, True),
        ((-1, 2), 4, False),
    ],
)
def test_direction_follows_the_header(axes, outputs, reverse):
    readout = make_readout(
        (64, 64), outputs=outputs, fast_axis=axes[0], slow_axis=axes[1]
    )
    assert readout.reverse is reverse
    assert not readout.transposed


def test_angles_are_found():
    data = white() + readout_noise(1) + tilted(3, 37, 0.3) + tilted(4, -22, 0.3)
    found = find_angles(data, every(data), readout=FOUR)
    assert sorted(found) == pytest.approx([-22, 37], abs=0.15)


def test_no_angle_is_found_without_tilted_stripes():
    data = white() + readout_noise(1) + galaxy(260, 240, 30, 20.0)
    assert not find_angles(data, every(data), readout=FOUR)
