"""Source masks: stars, galaxies and spikes are found, sky and stripes are not."""

import numpy as np
import pytest

from webbmosaic.science.sources import MaskOptions, Tier, local_background, source_mask


def sky(seed=1, shape=(384, 384)):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def blob(shape, x, y, sigma, peak):
    j, i = np.ogrid[: shape[0], : shape[1]]
    return peak * np.exp(-((j - y) ** 2 + (i - x) ** 2) / (2 * sigma**2))


def everywhere(image):
    return np.ones(image.shape, bool)


def test_blank_sky_is_left_nearly_unmasked():
    image = sky()
    assert source_mask(image, everywhere(image)).mean() < 0.08


@pytest.mark.parametrize(
    ("sigma", "peak"), [(1.2, 15.0), (4.0, 2.0), (12.0, 0.6), (30.0, 0.35)]
)
def test_sources_of_every_size_are_found(sigma, peak):
    image = sky() + blob((384, 384), 200, 180, sigma, peak)
    mask = source_mask(image, everywhere(image))
    reach = max(1, int(sigma))
    assert mask[180 - reach : 181 + reach, 200 - reach : 201 + reach].mean() > 0.9


def test_a_big_galaxy_is_masked_out_to_faint_light():
    galaxy = blob((384, 384), 190, 200, 40, 30.0)
    image = sky() + galaxy
    mask = source_mask(image, everywhere(image))
    assert mask[galaxy > 0.5].mean() > 0.99


def test_gradient_and_pedestal_are_no_sources():
    image = sky() + 100 + np.linspace(0, 5, 384, dtype=np.float32)[:, None]
    assert source_mask(image, everywhere(image)).mean() < 0.1


def test_faint_spike_is_followed():
    image = sky()
    x = np.arange(40, 340)
    y = 190 + np.rint((x - 190) * np.tan(np.radians(30))).astype(int)
    for step in (-1, 0, 1):
        image[y + step, x] += 1.0
    mask = source_mask(image, everywhere(image))
    assert mask[y, x].mean() > 0.65


def test_crowded_field_keeps_sky_and_masks_stars():
    rng = np.random.default_rng(5)
    light = np.zeros((384, 384), np.float32)
    for x, y in rng.integers(10, 374, (250, 2)):
        light += blob(light.shape, x, y, 1.5, 20.0)
    image = sky() + light
    mask = source_mask(image, everywhere(image))
    assert mask[light > 5].all()
    assert mask.mean() < 0.5


def test_bad_values_are_not_looked_at():
    image = sky()
    usable = np.random.default_rng(3).random(image.shape) > 0.05
    broken = np.where(usable, image, np.nan)
    spoiled = np.where(usable, image, 1e6).astype(np.float32)
    mask = source_mask(broken, usable)
    np.testing.assert_array_equal(mask, source_mask(spoiled, usable))
    assert mask.mean() < 0.1


def test_options_are_heeded():
    image = sky() + blob((384, 384), 200, 180, 1.2, 15.0)
    only_large = MaskOptions(tiers=(Tier(24.0, 6.0, 0),))
    assert not source_mask(image, everywhere(image), options=only_large)[180, 200]


def test_growth_dilates():
    image = np.zeros((64, 64), np.float32) + 0.01 * sky(shape=(64, 64))
    image[30, 30] = 100
    grown = MaskOptions(tiers=(Tier(1.0, 5.0, 4),))
    plain = MaskOptions(tiers=(Tier(1.0, 5.0, 0),))
    narrow = source_mask(image, everywhere(image), options=plain)
    wide = source_mask(image, everywhere(image), options=grown)
    rows = np.flatnonzero(narrow.any(axis=1))
    expected = np.arange(rows[0] - 4, rows[-1] + 5)
    np.testing.assert_array_equal(np.flatnonzero(wide.any(axis=1)), expected)


def test_background_follows_gradient_under_sources():
    ramp = np.linspace(0, 10, 384, dtype=np.float32)[None, :].repeat(384, axis=0)
    image = ramp + 0.1 * sky() + blob(ramp.shape, 200, 180, 20, 50.0)
    level = local_background(image.astype(np.float32), everywhere(ramp), box=32)
    assert np.abs(level - ramp)[64:-64, 64:-64].max() < 2.0


@pytest.mark.parametrize("shape", [(5, 7), (64, 64), (130, 33)])
def test_small_and_odd_frames(shape):
    mask = source_mask(sky(shape=shape), np.ones(shape, bool))
    assert mask.shape == shape


def test_a_constant_image_has_no_sources():
    image = np.full((100, 100), 3.0, np.float32)
    assert not source_mask(image, everywhere(image)).any()


def test_nothing_usable_is_refused():
    with pytest.raises(ValueError, match="no pixel"):
        source_mask(np.zeros((8, 8), np.float32), np.zeros((8, 8), bool))
    with pytest.raises(ValueError, match="shape"):
        source_mask(np.zeros((8, 8), np.float32), np.ones((8, 9), bool))
