"""Regions become masks, and light that stays while the sky moves is found."""

import numpy as np
import pytest
from regions import (
    CirclePixelRegion,
    PixCoord,
    PolygonPixelRegion,
    RectanglePixelRegion,
)
from scipy import ndimage

from webbmosaic.science.masks import find_fixed_residuals, outlines, rasterise

SHAPE = (384, 512)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def circle(x, y, radius, **meta):
    return CirclePixelRegion(PixCoord(x, y), radius, meta=meta)


def test_a_circle_is_where_it_was_drawn():
    mask = rasterise([circle(100, 50, 20)], SHAPE)
    np.testing.assert_array_equal(mask, np.hypot(X - 100, Y - 50) < 20)


def test_regions_add_up_and_may_leave_the_frame():
    box = RectanglePixelRegion(PixCoord(500, 380), 40, 20)
    mask = rasterise([circle(100, 50, 20), box, circle(-500, 50, 20)], SHAPE)
    assert mask[50, 100]
    assert mask[380, 500]
    assert mask.sum() == pytest.approx(np.pi * 20**2 + 32 * 14, rel=0.05)


def test_an_excluded_region_is_a_hole_whatever_the_order():
    hole = circle(100, 50, 10, include=False)
    for regions in ([hole, circle(100, 50, 20)], [circle(100, 50, 20), hole]):
        mask = rasterise(regions, SHAPE)
        assert not mask[50, 100]
        assert mask[50, 115]


def test_outlines_make_the_mask_again():
    mask = (np.hypot(X - 100, Y - 90) < 60) | (np.abs(X - 400) + np.abs(Y - 200) < 50)
    mask[:10, 300:340] = True
    shapes = [
        PolygonPixelRegion(PixCoord(line[:, 0], line[:, 1])) for line in outlines(mask)
    ]
    assert len(shapes) == 3
    again = rasterise(shapes, SHAPE)
    assert (again ^ mask).sum() < 0.06 * mask.sum()
    assert max(len(s.vertices) for s in shapes) < 60


def claw():
    """A curved scratch, peak 1."""
    across = (Y - 200 - 60 * ((X - 250) / 200) ** 2) / 12
    return np.exp(-0.5 * across**2) * (np.abs(X - 250) < 180)


def sources(rng):
    image = np.zeros(SHAPE)
    at = rng.integers(5, 379, (60, 2))
    image[at[:, 0], at[:, 1]] = rng.exponential(400, 60)
    image = ndimage.gaussian_filter(image, 1.5)
    y, x = rng.integers(60, 320, 2)
    return image + 5 * np.exp(-np.hypot(Y - y, X - x) / 15)


def frames(level, count=5, *, moving=False):
    def read(i):
        rng = np.random.default_rng(i)
        shape = np.roll(claw(), 60 * i, axis=0) if moving else claw()
        data = rng.normal(3, 1, SHAPE) + sources(rng) + level * shape
        return data.astype(np.float32), np.ones(SHAPE, bool)

    return find_fixed_residuals(read, count, min_area=600)


def test_a_claw_is_found_under_moving_sources():
    found = frames(1.0)
    bright = claw() > 0.5
    assert found.mask[bright].mean() > 0.9
    assert not found.mask[claw() < 1e-4].mean() > 0.05
    assert found.level[bright].mean() == pytest.approx(0.8, abs=0.25)


def test_an_area_that_is_too_dark_is_found():
    assert frames(-1.0).mask[claw() > 0.5].mean() > 0.9


def test_clean_dithers_propose_nothing():
    assert not frames(0.0).mask.any()


def test_what_moves_with_the_sky_is_not_proposed():
    assert frames(1.0, moving=True).mask.mean() < 0.01


def test_two_exposures_say_nothing():
    with pytest.raises(ValueError, match="3 exposures"):
        frames(1.0, count=2)
