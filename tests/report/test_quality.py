import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from webbmosaic.report.mosaics import read_mosaic
from webbmosaic.report.quality import (
    block_error,
    clipped_level,
    depth,
    measure_frame,
    measure_mosaic,
    star_width,
)


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(0, 2, (400, 400)).astype(np.float32)


def test_the_level_ignores_sources_and_gaps(noise):
    noise += 10
    noise[::9, ::9] = 900
    noise[::7, ::5] = np.nan
    level, scatter = clipped_level(noise)
    assert level == pytest.approx(10, abs=0.03)
    assert scatter == pytest.approx(2, rel=0.02)


def test_nothing_has_no_level():
    assert np.isnan(clipped_level(np.full(5, np.nan))).all()


def test_the_error_of_the_mean(noise):
    blank = np.ones(noise.shape, bool)
    assert block_error(noise, blank) == pytest.approx(2 / 400, rel=0.15)
    assert np.isnan(block_error(noise, ~blank))


def test_apertures_on_white_noise(noise):
    blank = np.ones(noise.shape, bool)
    scatter, count = depth(noise, blank, radius=4.0)
    assert count == 600
    assert scatter == pytest.approx(2 * np.sqrt(np.pi) * 4, rel=0.1)


def test_apertures_feel_correlated_noise(noise):
    """Smoothing takes noise from the pixels, but hardly any from aperture sums."""
    smooth = gaussian_filter(noise, 1.0)
    blank = np.ones(noise.shape, bool)
    white, _ = depth(noise, blank, radius=6.0)
    correlated, _ = depth(smooth, blank, radius=6.0)
    assert smooth.std() < 0.35 * noise.std()
    assert correlated > 0.8 * white


def test_apertures_keep_off_sources(noise):
    blank = np.ones(noise.shape, bool)
    blank[:, 100:] = False
    noise[:, 100:] += 1000
    scatter, _ = depth(noise, blank, radius=4.0)
    assert scatter == pytest.approx(2 * np.sqrt(np.pi) * 4, rel=0.15)
    assert depth(noise, blank, radius=60.0)[1] == 0


@pytest.fixture
def starfield():
    """Twelve stars of FWHM 2.6 pixels and four galaxies of 6."""
    rng = np.random.default_rng(2)
    data = rng.normal(0, 1, (300, 300))
    y, x = np.mgrid[:300, :300]
    for k in range(16):
        x0, y0 = 40 + 70 * (k % 4), 40 + 70 * (k // 4)
        x0, y0 = x0 + rng.uniform(-5, 5), y0 + rng.uniform(-5, 5)
        sigma = (2.6 if k % 4 else 6.0) / 2.3548
        data += 900 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / sigma**2)
    return data.astype(np.float32)


def test_stars_give_the_width_and_galaxies_do_not(starfield):
    width, count = star_width(starfield, np.ones(starfield.shape, bool), noise=1.0)
    assert width == pytest.approx(2.6, rel=0.02)
    assert 8 <= count <= 12


def test_an_empty_field_has_no_width(noise):
    width, count = star_width(noise, np.ones(noise.shape, bool), noise=2.0)
    assert np.isnan(width)
    assert count == 0


def test_a_frame(tmp_path, image_writer, noise):
    dq = np.zeros(noise.shape, int)
    dq[:40] = 1
    noise[:40] = 1e5
    path = image_writer(tmp_path / "a_cal.fits", noise + 3, dq=dq, err=1.6)
    numbers = measure_frame(path)
    assert numbers["sky"] == pytest.approx(3, abs=0.05)
    assert numbers["noise"] == pytest.approx(2, rel=0.03)
    assert numbers["err_ratio"] == pytest.approx(1.25, rel=0.03)
    assert numbers["bad"] == pytest.approx(0.1, abs=0.01)
    assert (numbers["light"], numbers["detector"]) == ("F444W", "NRCBLONG")


def test_a_mosaic(scene, tmp_path):
    mosaic = read_mosaic(scene.write(tmp_path / "a_i2d.fits"))
    numbers = measure_mosaic(mosaic)
    assert numbers["noise"] == pytest.approx(scene.noise, rel=0.03)
    assert numbers["err_ratio"] == pytest.approx(1, rel=0.03)
    assert abs(numbers["sky_over_noise"]) < 0.1
    assert numbers["correlation"] == pytest.approx(1, rel=0.15)
    area = scene.noise * np.sqrt(np.pi) * numbers["radius"] / mosaic.pixel
    expected = 8.9 - 2.5 * np.log10(5 * area * mosaic.to_jansky)
    assert numbers["depth"] == pytest.approx(expected, abs=0.15)
    assert numbers["fwhm"] == pytest.approx(0.175, abs=0.01)


def test_a_window_is_the_middle_and_keeps_its_place_on_the_sky(scene, tmp_path):
    path = scene.write(tmp_path / "a_i2d.fits")
    whole, part = read_mosaic(path), read_mosaic(path, longest=100)
    assert part.data.shape == (100, 100)
    np.testing.assert_array_equal(part.data, whole.data[160:260, 160:260])
    here, there = part.wcs.pixel_to_world(0, 0), whole.wcs.pixel_to_world(160, 160)
    assert here.separation(there).mas < 1e-3


def test_a_mosaic_without_data_is_no_crash(tmp_path, image_writer, sky_wcs):
    data = np.full((60, 60), np.nan)
    path = image_writer(tmp_path / "a_i2d.fits", data, wcs=sky_wcs((60, 60)))
    assert measure_mosaic(read_mosaic(path))["area"] == 0
