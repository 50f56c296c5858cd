"""Compact sources, centred without pixel-phase bias."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from webbmosaic.science.astrometry.stars import find_stars, windowed_centroids

FWHM = 2.2


def field(rng, positions, *, size=96, flux=2000.0, noise=1.0):
    """Stars as Gaussians integrated over pixels, on a sky with noise."""
    from scipy.special import erf

    sigma = FWHM / 2.3548
    edges = np.arange(size + 1) - 0.5
    image = rng.normal(5.0, noise, (size, size))
    for x, y in positions:
        along = [np.diff(erf((edges - c) / (np.sqrt(2) * sigma))) / 2 for c in (x, y)]
        image += flux * np.outer(along[1], along[0])
    return image


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def positions(rng):
    grid = np.stack(np.meshgrid(np.arange(12, 90, 16), np.arange(12, 90, 16)), -1)
    return grid.reshape(-1, 2) + rng.uniform(-0.5, 0.5, (25, 2))


def test_stars_come_back_without_pixel_phase_bias(rng, positions):
    image = field(rng, positions, flux=20000)
    stars = find_stars(image, np.ones(image.shape, bool), fwhm=2.5)
    assert len(stars) == len(positions)
    order = np.lexsort((stars[:, 0].round(-1), stars[:, 1].round(-1)))
    found = stars[order][:, :2]
    nearest = np.array(
        [positions[np.hypot(*(positions - p).T).argmin()] for p in found]
    )
    errors = found - nearest
    assert_allclose(errors.mean(axis=0), 0, atol=0.003)
    assert np.abs(errors).max() < 0.02
    # The error does not follow the position within the pixel.
    phase = nearest - np.rint(nearest)
    slope = np.polyfit(phase.ravel(), errors.ravel(), 1)[0]
    assert abs(slope) < 0.01


def test_noise_alone_holds_no_star(rng):
    image = rng.normal(0, 1, (96, 96))
    assert find_stars(image, np.ones(image.shape, bool)).shape == (0, 4)


def test_a_saturated_star_is_left_out(rng, positions):
    image = field(rng, positions)
    usable = np.ones(image.shape, bool)
    x, y = np.rint(positions[7]).astype(int)
    usable[y, x] = False
    image[y, x] = np.nan
    stars = find_stars(image, usable)
    assert len(stars) == len(positions) - 1
    assert np.hypot(stars[:, 0] - x, stars[:, 1] - y).min() > 5


def test_a_galaxy_is_no_star_to_speak_of(rng, positions):
    image = field(rng, positions)
    y, x = np.mgrid[:96, :96]
    image += 80 * np.exp(-np.hypot(x - 48, y - 48) / 9)
    stars = find_stars(image, np.ones(image.shape, bool))
    near = [np.hypot(*(stars[:, :2] - p).T).min() for p in positions]
    assert np.median(near) < 0.05
    assert len(stars) <= len(positions) + 1


def test_nothing_usable():
    empty = find_stars(np.zeros((32, 32)), np.zeros((32, 32), bool))
    assert empty.shape == (0, 4)


def test_a_source_at_the_edge_is_not_good(rng):
    image = field(rng, [(2.0, 40.0)])
    _, _, _, good = windowed_centroids(
        image - 5, np.array([2.0]), np.array([40.0]), fwhm=2.5
    )
    assert not good[0]


def test_light_under_a_star_does_not_pull_it(rng, positions):
    """A bright slope, such as a large galaxy's, under every star."""
    image = field(rng, positions, flux=20000)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    slope = 300 * np.exp(-np.hypot(rows - 48, columns - 48) / 30)
    plain = find_stars(image, np.ones(image.shape, bool), fwhm=2.5)
    lit = find_stars(image + slope, np.ones(image.shape, bool), fwhm=2.5)
    shifts = [np.hypot(*(plain[:, :2] - s).T).min() for s in lit[:, :2]]
    assert np.median(shifts) < 0.02
