import numpy as np
import pytest
from scipy.special import erf

from webbmosaic.errors import InputError
from webbmosaic.report.encircled import (
    EncircledEnergy,
    read_encircled_energy,
    sersic_points,
    smoothed,
)

SIGMA = 1.2


@pytest.fixture(scope="module")
def gaussian():
    radius = np.linspace(0, 12, 1000)
    return EncircledEnergy(radius, 1 - np.exp(-(radius**2) / 2 / SIGMA**2))


def test_the_density_integrates_to_the_fraction(gaussian):
    radius = np.linspace(0.005, 6, 1200)
    within = np.trapezoid(2 * np.pi * radius * gaussian.density(radius), radius)
    assert within == pytest.approx(float(gaussian.within(6.0)), abs=2e-3)


def test_beyond_the_table_nothing_is_added(gaussian):
    assert gaussian.within(500.0) == gaussian.fraction[-1]


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.5, 6.0])
def test_light_in_a_circle_beside_the_star(gaussian, distance):
    """Against a star made of many points."""
    points = np.random.default_rng(0).normal(0, SIGMA, (400_000, 2))
    inside = np.hypot(points[:, 0] - distance, points[:, 1]) < 2.0
    assert gaussian.captured(distance, 2.0) == pytest.approx(inside.mean(), abs=2.5e-3)


def test_pixels_blur_as_they_should(gaussian):
    """Of a Gaussian in a square of side 1: the product of two error functions."""
    blurred, image = smoothed(gaussian, [1.0], 1.0)
    middle = image.shape[0] // 2
    one = erf(0.5 / np.sqrt(2) / SIGMA)
    per_pixel = image[middle, middle] * 15**2
    assert per_pixel == pytest.approx(one**2, rel=3e-3)
    assert image.sum() == pytest.approx(1, abs=1e-4)
    assert blurred.within(3.0) < gaussian.within(3.0)
    assert blurred.within(11.0) == pytest.approx(1, abs=1e-4)


def test_four_blurs_act_like_a_wider_gaussian(gaussian):
    """By the central limit theorem: each adds a variance of 1/12 on an axis."""
    blurred, _ = smoothed(gaussian, [1.0] * 4, 1.0)
    width = SIGMA**2 + 4 / 12
    radius = np.array([2.0, 3.0, 4.0])
    expected = 1 - np.exp(-(radius**2) / 2 / width)
    np.testing.assert_allclose(blurred.within(radius), expected, atol=2e-3)


@pytest.mark.parametrize("index", [0.5, 1.0, 3.0])
def test_half_of_a_galaxys_light_is_within_its_half_light_ellipse(index):
    major, minor = sersic_points(2.0, index, 0.4)
    inside = np.hypot(major, minor / 0.4) < 2.0
    assert inside.mean() == pytest.approx(0.5, abs=0.01)
    assert abs(np.median(major)) < 0.05
    typical = np.median(np.abs(minor)) / np.median(np.abs(major))
    assert typical == pytest.approx(0.4, rel=0.03)


def test_a_galaxy_ends_where_it_is_said_to():
    major, minor = sersic_points(1.0, 4.0, 1.0, limit=3.0)
    assert np.hypot(major, minor).max() < 3.0
    assert np.hypot(*sersic_points(1.0, 4.0, 1.0)).max() > 10


def test_the_truth_tables_entry(gaussian):
    entry = {"radius_arcsec": [0.1, 0.2], "fraction": [0.4, 0.8], "pixel_arcsec": 0.03}
    found = read_encircled_energy({"encircled_energy": {"F200W": entry}}, "F200W")
    assert found["energy"].within(0.0) == 0
    assert found["energy"].within(0.2) == pytest.approx(0.8)
    assert found["included"] is False
    with pytest.raises(InputError, match="F444W"):
        read_encircled_energy({"encircled_energy": {"F200W": entry}}, "F444W")
