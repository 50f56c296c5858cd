"""Persistence decays, whatever the order in which exposures are given."""

import itertools

import numpy as np
import pytest

from webbmosaic.science.persistence import persistence_strength, saturation_level

SHAPE = (4, 5)


def level(where, how=1.0):
    image = np.zeros(SHAPE, np.float32)
    image[where] = how
    return image


def test_a_saturated_pixel_glows_until_the_window_closes():
    for seconds, expected in ((0, 1.0), (1250, np.exp(-1.5)), (2500, np.exp(-3))):
        found = persistence_strength([(seconds, level((1, 2)))], SHAPE)
        assert found[1, 2] == pytest.approx(expected, rel=1e-5)
        assert np.count_nonzero(found) == 1
    assert not persistence_strength([(2501, level((1, 2)))], SHAPE).any()


def test_the_window_can_be_set():
    one = [(900.0, level((0, 0)))]
    assert persistence_strength(one, SHAPE, window=1000).any()
    assert not persistence_strength(one, SHAPE, window=800).any()


def test_a_pixel_saturated_in_part_of_the_ramp_is_over_sooner():
    end = (1 + np.log(0.3) / 3) * 2500
    weak = level((0, 0), 0.3)
    assert persistence_strength([(end - 5, weak)], SHAPE).any()
    assert not persistence_strength([(end + 5, weak)], SHAPE).any()


def test_the_order_of_the_exposures_does_not_matter():
    past = [
        (100.0, level((0, 0), 0.3)),
        (700.0, level((0, 0))),
        (2400.0, level((1, 1))),
    ]
    results = [persistence_strength(p, SHAPE) for p in itertools.permutations(past)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_later_exposures_do_not_glow_backwards():
    assert not persistence_strength([(-10.0, level((0, 0)))], SHAPE).any()


def test_levels_of_saturation():
    some = np.array([[True, True, False]])
    whole = np.array([[True, False, True]])
    np.testing.assert_allclose(saturation_level(some, whole, partly=0.4), [[1, 0.4, 0]])


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="window"):
        persistence_strength([], SHAPE, window=0)
    with pytest.raises(ValueError, match="shape"):
        persistence_strength([(1.0, np.zeros((2, 2), np.float32))], SHAPE)
