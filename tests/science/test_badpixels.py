"""Pixels that misbehave while the sky moves are found; stars are not."""

import numpy as np
import pytest
from scipy import ndimage

from webbmosaic.science.badpixels import find_bad_pixels

SHAPE = (96, 96)
HOT, WARM, LOW, UNSTABLE = (20, 50), (40, 60), (60, 80), (10, 30)


def frames(count=8, *, dither=True, planted=True, exposures=1):
    stars = np.zeros(SHAPE)
    rng = np.random.default_rng(0)
    # Dithers go along the diagonal; the planted pixels lie beside it.
    x = rng.integers(0, 96, 30)
    stars[(x + rng.integers(5, 35, 30)) % 96, x] = rng.exponential(300, 30)
    stars = ndimage.gaussian_filter(stars, 1.0, mode="wrap")
    for i in range(count):
        sky = np.roll(stars, 7 * i, axis=(0, 1)) if dither else stars
        for _ in range(exposures):
            data = rng.normal(2, 1, SHAPE) + sky
            if planted:
                data[HOT] += 100
                data[WARM] += 12
                data[LOW] -= 15
                data[UNSTABLE] += 20 * (-1) ** i
            err = np.sqrt(1 + sky / 10).astype(np.float32)
            name = str(i) if dither else "one"
            yield name, data.astype(np.float32), err, np.ones(SHAPE, bool)


def places(mask):
    return list(zip(*(int_.tolist() for int_ in np.nonzero(mask)), strict=True))


def test_each_kind_is_found_and_nothing_else():
    bad = find_bad_pixels(frames())
    assert places(bad.hot) == [HOT]
    assert places(bad.warm) == [WARM]
    assert places(bad.low) == [LOW]
    assert places(bad.unstable) == [UNSTABLE]
    assert bad.any.sum() == 4
    assert bad.pointings == 8


def test_clean_exposures_have_no_bad_pixels():
    assert not find_bad_pixels(frames(planted=False)).any.any()


def test_without_dithers_stars_are_not_called_hot():
    assert not find_bad_pixels(frames(dither=False)).any.any()


def test_exposures_of_one_pointing_count_once():
    bad = find_bad_pixels(frames(count=2, exposures=4))
    assert bad.pointings == 2
    assert not bad.any.any()


def test_three_pointings_must_agree():
    bad = find_bad_pixels(frames(count=3))
    assert places(bad.hot) == [HOT]
    assert places(bad.warm) == [WARM]
    assert places(bad.low) == [LOW]

    def once_quiet():
        for number, frame in enumerate(frames(count=3)):
            if number == 1:
                frame[1][HOT] = 2
            yield frame

    assert not find_bad_pixels(once_quiet()).hot.any()


def test_a_pixel_without_data_is_not_judged():
    def masked():
        for name, data, err, usable in frames():
            usable[HOT] = False
            data[HOT] = np.nan
            yield name, data, err, usable

    assert not find_bad_pixels(masked()).any[HOT]


def test_there_must_be_a_frame():
    with pytest.raises(ValueError, match="at least one frame"):
        find_bad_pixels([])
