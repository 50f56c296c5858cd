"""The level of the sky beside the sources."""

import numpy as np
import pytest

from webbmosaic.science.background import measure_sky

SHAPE = (256, 256)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def sky(rng, level=0.3, rms=0.05):
    return rng.normal(level, rms, SHAPE).astype(np.float32)


def usable():
    return np.ones(SHAPE, bool)


def test_blank_sky_comes_back_within_its_error(rng):
    found = measure_sky(sky(rng), usable())
    assert found.level == pytest.approx(0.3, abs=4 * 0.05 / 128)
    assert found.rms == pytest.approx(0.05, rel=0.02)
    # It rests on a quarter of the pixels, or on all.
    assert 0.05 / 257 < found.error < 0.05 / 127
    assert found.fraction > 0.2


def test_the_asymmetric_clipping_leaves_no_bias(rng):
    levels = [measure_sky(sky(rng, 0.0), usable()).level for _ in range(20)]
    # A percent of the noise: the source mask takes some bright noise for sources.
    assert np.mean(levels) == pytest.approx(0, abs=0.012 * 0.05)


def test_stars_and_a_galaxy_do_not_raise_the_sky(rng):
    image = sky(rng)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for cx, cy in rng.uniform(0, 256, (60, 2)):
        image += 5 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 3)
    image += 2 * np.exp(-np.hypot(x - 128, y - 128) / 6)
    found = measure_sky(image.astype(np.float32), usable())
    assert found.level == pytest.approx(0.3, abs=0.03 * 0.05)


def test_cosmic_rays_and_nan_do_not_matter(rng):
    image = sky(rng)
    hit = rng.random(SHAPE) < 0.003
    image[hit] += 3
    lost = rng.random(SHAPE) < 0.01
    image[lost] = np.nan
    found = measure_sky(image, usable() & ~lost)
    assert found.level == pytest.approx(0.3, abs=0.03 * 0.05)


def test_a_supplied_mask_is_used(rng):
    image = sky(rng)
    image[:, 100:] += 0.5
    sources = np.zeros(SHAPE, bool)
    sources[:, 100:] = True
    assert measure_sky(image, usable(), sources=sources).level == pytest.approx(
        0.3, abs=0.002
    )


def test_constant_image():
    found = measure_sky(np.full(SHAPE, 2.0, np.float32), usable())
    assert found.level == 2.0
    assert found.rms == 0


def test_nothing_usable():
    with pytest.raises(ValueError, match="usable"):
        measure_sky(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool))


def test_halos_beyond_the_mask_do_not_count(rng):
    """A bright star whose wings fill the frame below the noise."""
    image = sky(rng)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image += 60 / (1 + np.hypot(x - 40, y - 200) / 2) ** 3
    found = measure_sky(image.astype(np.float32), usable())
    assert found.level == pytest.approx(0.3, abs=0.03 * 0.05)


def test_far_from_a_star_but_inside_a_large_galaxy(rng):
    """The faint galaxy on the far side must not be taken for the sky."""
    image = sky(rng)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image += 500 * np.exp(-np.hypot(x - 30, y - 30) / 2)
    image += 0.02 * np.exp(-(((x - 220) ** 2 + (y - 220) ** 2) / (2 * 30**2)))
    found = measure_sky(image.astype(np.float32), usable())
    assert found.level == pytest.approx(0.3, abs=0.05 * 0.05)
