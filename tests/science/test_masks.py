"""Regions become masks, and masks polygons."""

import numpy as np
import pytest
from regions import (
    CirclePixelRegion,
    PixCoord,
    PolygonPixelRegion,
    RectanglePixelRegion,
)

from webbmosaic.science.masks import outlines, rasterise

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


def test_a_polygon_is_what_its_corners_say():
    star = 40 * np.array([1, 0.4] * 5), np.linspace(0, 2 * np.pi, 10, endpoint=False)
    x, y = 100.3 + star[0] * np.cos(star[1]), 370.2 + star[0] * np.sin(star[1])
    polygon = PolygonPixelRegion(PixCoord(x, y))
    mask = rasterise([polygon], SHAPE)  # partly above the frame
    np.testing.assert_array_equal(mask, polygon.contains(PixCoord(X, Y)))
    assert mask.any()


def test_a_huge_region_is_the_whole_frame():
    assert rasterise([circle(1e5, 0, 1e9)], SHAPE).all()


def test_holes_of_any_shape():
    box = RectanglePixelRegion(PixCoord(100, 50), 60, 60)
    hole = PolygonPixelRegion(
        PixCoord([90.5, 110.5, 110.5, 90.5], [40.5, 40.5, 60.5, 60.5]),
        meta={"include": False},
    )
    mask = rasterise([hole, box], SHAPE)
    assert not mask[41:61, 91:111].any()
    assert mask[70, 120]
