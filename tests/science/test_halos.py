"""Large sources: their masks grow with their size, halos fade beyond."""

import numpy as np

from webbmosaic.science.halos import outskirts

Y, X = np.mgrid[:512, :512]


def disc(x, y, radius):
    return np.hypot(X - x, Y - y) <= radius


def test_large_sources_grow_in_proportion():
    large, small = disc(260, 200, 100), disc(60, 440, 20)
    grown, _ = outskirts(large | small)
    assert grown[disc(260, 200, 118)].all()
    assert not grown[~disc(260, 200, 140) & ~small].any()
    assert not grown[disc(60, 440, 40) & ~small].any()


def test_halos_fade_from_the_source():
    _, halos = outskirts(disc(256, 256, 100))
    (halo,) = halos
    middle = halo[halo.shape[0] // 2]
    assert middle.max() == 1
    outward = middle[middle.size // 2 :]
    assert (np.diff(outward) <= 0).all()
    assert outward[-1] < 0.2


def test_a_given_mask_does_not_grow():
    mask = disc(256, 256, 100)
    grown, halos = outskirts(mask, growth=0)
    assert (grown == mask).all()
    assert len(halos) == 1


def test_a_crowd_that_fills_the_frame_is_no_source():
    mask = disc(256, 256, 200)
    grown, halos = outskirts(mask)
    assert (grown == mask).all()
    assert len(halos) == 0


def test_no_large_source():
    mask = disc(256, 256, 20)
    grown, halos = outskirts(mask)
    assert (grown == mask).all()
    assert halos.shape[0] == 0
