"""Light that stays on the detector while the sky moves is found, and nothing else."""

import numpy as np
import pytest
from scipy import ndimage

from webbmosaic.science.fixed_light import find_fixed_residuals

SHAPE = (384, 512)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
DITHERS = [(0, 0), (60, -45), (-50, 40), (35, 70), (-75, -60)]


def claw():
    """A curved scratch, peak 1."""
    across = (Y - 200 - 60 * ((X - 250) / 200) ** 2) / 12
    return np.exp(-0.5 * across**2) * (np.abs(X - 250) < 180)


def stars():
    """A field larger than the frame, with stars, and galaxies as wide as a dither."""
    rng = np.random.default_rng(0)
    field = np.zeros((SHAPE[0] + 200, SHAPE[1] + 200))
    at = rng.integers(5, 579, (150, 2))
    field[at[:, 0], at[:, 1]] = rng.exponential(400, 150)
    field = ndimage.gaussian_filter(field, 1.5)
    y, x = np.indices(field.shape)
    for cy, cx, size, peak in ((420, 300, 15, 5), (180, 520, 60, 3)):
        field += peak * np.exp(-np.hypot(y - cy, x - cx) / size)
    return field


FIELD = stars()


def look(level, dithers=DITHERS, *, moving=False, factor=1.0):
    def read(i):
        rng = np.random.default_rng(i)
        dy, dx = (round(factor * d) for d in dithers[i])
        sky = FIELD[100 - dy : 100 - dy + SHAPE[0], 100 - dx : 100 - dx + SHAPE[1]]
        shape = np.roll(claw(), (dy, dx), axis=(0, 1)) if moving else claw()
        data = rng.normal(3, 1, SHAPE) + sky + level * shape
        return data.astype(np.float32), np.ones(SHAPE, bool)

    shifts = [(factor * dy, factor * dx) for dy, dx in dithers]
    return find_fixed_residuals(read, shifts, min_area=600)


def test_a_claw_is_found_under_moving_sources():
    found = look(1.0)
    bright = claw() > 0.5
    assert found.mask[bright].mean() > 0.9
    assert not found.mask[claw() < 1e-4].mean() > 0.05
    assert found.level[bright].mean() == pytest.approx(0.8, abs=0.25)


def test_an_area_that_is_too_dark_is_found():
    assert look(-1.0).mask[claw() > 0.5].mean() > 0.9


def test_dithers_as_small_as_the_claw_is_wide_are_enough():
    assert look(1.5, factor=0.4).mask[claw() > 0.5].mean() > 0.8


def test_three_dithers_are_enough():
    assert look(3.0, DITHERS[:3]).mask[claw() > 0.5].mean() > 0.8


def test_clean_dithers_propose_nothing():
    assert not look(0.0).mask.any()


def test_a_galaxy_larger_than_the_dithers_is_no_claw():
    assert not look(0.0, factor=0.4).mask.any()


def test_what_moves_with_the_sky_is_not_proposed():
    assert look(1.0, moving=True).mask.mean() < 0.01


def test_two_exposures_say_nothing():
    with pytest.raises(ValueError, match="3 exposures"):
        look(1.0, DITHERS[:2])
