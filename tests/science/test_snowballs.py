"""Snowballs are told from saturated stars, and their halos found in the rate."""

import numpy as np
import pytest

from webbmosaic.science.snowballs import (
    Snowball,
    find_snowballs,
    looks_like_star,
    snowball_halo,
)

SHAPE = (8, 200, 200)
FAR = np.hypot(*(np.mgrid[:200, :200] - np.array([90, 110])[:, None, None]))


def ramp(halo=14.0, core=5.0, group=3):
    """Flags of one snowball at (90, 110)."""
    jump, full = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    jump[group] = (halo > FAR) & (core <= FAR)
    full[group:] = core > FAR
    return jump, full


def star():
    """A star that fills up: a larger saturated disc in each group, jumps round it."""
    jump, full = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for group in range(1, SHAPE[0]):
        full[group] = 2.5 * np.sqrt(group) > FAR
        jump[group] = (2.5 * np.sqrt(group) + 5 > FAR) & ~full[group]
    return jump, full


def test_a_snowball_is_found_with_its_place_and_size():
    (found,) = find_snowballs(*ramp())
    assert (found.y, found.x) == pytest.approx((90, 110), abs=0.1)
    assert found.radius == pytest.approx(14, abs=0.5)
    assert (found.group, found.integration) == (3, 0)
    assert found.core == np.count_nonzero(FAR < 5)


def test_one_without_a_core_counts_unless_a_core_is_required():
    flags = ramp(core=0)
    assert len(find_snowballs(*flags)) == 1
    assert not find_snowballs(*flags, core_required=True)


def test_a_saturated_star_is_no_snowball():
    assert not find_snowballs(*star(), min_area=60)


def test_a_star_that_saturates_from_the_first_group_is_no_snowball():
    jump, full = ramp(group=1)
    full[0] = FAR < 3
    assert not find_snowballs(jump, full)


def test_what_jumps_beside_saturated_pixels_is_the_wing_of_a_star():
    jump, full = ramp(core=0)
    beside = np.hypot(*(np.mgrid[:200, :200] - np.array([90, 132])[:, None, None]))
    full[:] = beside < 9
    assert not find_snowballs(jump, full)
    far = np.roll(full, 30, axis=2)
    assert len(find_snowballs(jump, far)) == 1


def test_a_snowball_at_the_edge_of_the_frame():
    jump, full = (np.roll(flags, (-88, 87), axis=(1, 2)) for flags in ramp())
    jump[:, -20:, :], full[:, -20:, :] = False, False
    jump[:, :, :20], full[:, :, :20] = False, False
    assert len(find_snowballs(jump, full, roundness=0.3)) == 1


def test_a_snowball_in_the_last_group_and_the_second_integration():
    jump, full = ramp(group=7)
    empty = np.zeros(SHAPE, bool)
    (found,) = find_snowballs(np.stack([empty, jump]), np.stack([empty, full]))
    assert (found.group, found.integration) == (7, 1)


def test_small_hits_and_long_tracks_are_no_snowballs():
    jump, full = ramp(halo=4, core=2)
    jump[5, 20:24, 10:180] = True
    assert not find_snowballs(jump, full)


def test_many_cosmic_rays_do_not_add_up_to_one():
    rng = np.random.default_rng(1)
    assert not find_snowballs(rng.random(SHAPE) < 0.02, np.zeros(SHAPE, bool))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="3D or 4D"):
        find_snowballs(np.zeros(SHAPE, bool), np.zeros((2, 2), bool))


BALL = Snowball(90.0, 110.0, 14.0, 80, 3, 0)


def rate(halo):
    noise = np.random.default_rng(2).normal(3, 1, SHAPE[1:])
    return (noise + halo * np.exp(-FAR / 6)).astype(np.float32)


def test_a_halo_that_the_ramp_fit_left_is_masked():
    good = np.ones(SHAPE[1:], bool)
    mask = snowball_halo(rate(30.0), good, [BALL])
    assert mask[FAR < 14].all()
    assert not mask[FAR > 22].any()


def test_where_the_ramp_fit_recovered_only_the_core_goes():
    good = np.ones(SHAPE[1:], bool)
    mask = snowball_halo(rate(0.0), good, [BALL])
    assert mask[FAR < 4].all()
    assert mask.sum() < 1.6 * BALL.core


def test_a_snowball_in_a_corner():
    good = np.ones(SHAPE[1:], bool)
    corner = Snowball(1.0, 198.0, 12.0, 30, 2, 0)
    assert snowball_halo(rate(0.0), good, [corner])[0, 199]


def test_a_galaxy_beside_a_snowball_is_no_halo():
    """The centre of a galaxy within the reach of a snowball that was recovered well."""
    image = rate(0.0)
    y, x = np.indices(image.shape)
    galaxy = np.hypot(y - BALL.y - 18, x - BALL.x - 6)
    image += (40 * np.exp(-galaxy / 8)).astype(np.float32)
    mask = snowball_halo(image, np.ones(image.shape, bool), [BALL])
    assert not mask[galaxy < 6].any()
    assert mask.sum() < 1.5 * BALL.core


def test_a_halo_on_the_wing_of_a_galaxy_is_masked_all_the_same():
    image = rate(30.0)
    y, x = np.indices(image.shape)
    image += (20 * np.exp(-np.hypot(y - BALL.y - 30, x - BALL.x) / 10)).astype(
        np.float32
    )
    mask = snowball_halo(image, np.ones(image.shape, bool), [BALL])
    assert mask[FAR < 10].mean() > 0.95


def test_a_star_with_wide_wings_looks_like_a_star_and_a_halo_does_not():
    good = np.ones(SHAPE[1:], bool)
    wings = (rate(0.0) + 3e4 / (1 + FAR**2.5)).astype(np.float32)
    small = Snowball(90.0, 110.0, 7.0, 100, 3, 0)
    assert looks_like_star(wings, good, small)
    assert not looks_like_star(rate(20.0), good, BALL)
    assert not looks_like_star(wings, np.zeros_like(good), small)
