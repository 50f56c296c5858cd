"""Offsets too large to guess, islands, and what must not be found."""

import numpy as np
import pytest

from fields import catalogue_of, observe, truth_errors
from webbmosaic.science.astrometry import Search, link
from webbmosaic.science.astrometry.matching import find_offset, one_to_one
from webbmosaic.science.astrometry.moves import Move


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_each_source_is_matched_once(rng):
    fixed = rng.uniform(0, 20, (50, 2))
    moving = np.concatenate([fixed, fixed + 0.03])
    i, j = one_to_one(moving, fixed, 0.1)
    assert sorted(j.tolist()) == list(range(50))
    assert (i < 50).all()


@pytest.mark.parametrize(
    ("shift", "degrees"), [((0.0, 0.0), 0), ((12.0, -9.0), 0.1), ((-20.0, 3.0), -0.15)]
)
def test_a_wrong_guide_star_is_found(rng, shift, degrees):
    sky = rng.uniform(-60, 60, (300, 2))
    off = Move(shift, np.radians(degrees), (200.0, -150.0))
    moving = np.concatenate([off.apply(sky[:200]), rng.uniform(-60, 60, (80, 2))])
    guess = find_offset(moving, sky, radius=25, turn=np.radians(0.2))
    assert guess.matches > 180
    assert guess.chance < 1e-20
    back = guess.move.apply(off.apply(sky[:200]))
    assert np.abs(back - sky[:200]).max() < 0.002


def test_two_unrelated_fields_do_not_meet(rng):
    """Also when both are clustered, and whatever the numbers."""
    for n, m in ((20, 30), (300, 400), (1200, 60)):
        for _ in range(3):
            middles = rng.uniform(-60, 60, (8, 2))
            one = rng.uniform(-60, 60, (n, 2))
            one[: n // 3] = middles[rng.integers(8, size=n // 3)]
            one[: n // 3] += rng.normal(0, 3, (n // 3, 2))
            guess = find_offset(one, rng.uniform(-60, 60, (m, 2)), radius=25, turn=3e-3)
            assert guess is None or guess.chance > 1e-4


def test_what_stays_on_the_detector_does_not_lead(rng):
    """Hot pixels meet at minus the dither, with more matches than the stars."""
    stars, hot = rng.uniform(0, 60, (30, 2)), rng.uniform(0, 60, (50, 2))
    dither = np.array([0.6, -0.3])
    there = np.concatenate([stars + np.array([0.004, 0.002]), hot + dither])
    here = np.concatenate([stars, hot])
    guess = find_offset(there, here, radius=1.0, nearest=True)
    assert np.hypot(*guess.move.shift) < 0.02


@pytest.mark.parametrize("offset", np.linspace(0.02, 0.4, 8))
def test_no_offset_falls_through(rng, offset):
    """Whatever the offset, visit and catalogue come back alike."""
    images, truth, sky = observe(rng, visits=[(0, 0, 0), (offset, -offset / 2, 0)])
    linked = link(images, catalogue_of(rng, sky), Search())
    assert set(linked.island) == {0}
    assert 0 in linked.catalogue
    errors = truth_errors(linked.moved, truth)
    assert np.abs(errors).max() < 0.02


def test_the_catalogue_of_another_field_is_not_met(rng):
    images, _, _ = observe(rng)
    other = catalogue_of(rng, rng.uniform(-60, 60, (300, 2)))
    linked = link(images, other, Search())
    assert not linked.catalogue
    assert set(linked.island) == {0}  # the exposures agree all the same


def test_tiles_that_do_not_overlap_are_islands_without_fault(rng):
    near, _, sky = observe(rng, names=("a",))
    far, _, other = observe(rng, names=("b",), at=(200.0, 0.0))
    both = catalogue_of(rng, np.concatenate([sky, other]))
    linked = link([*near, *far], both, Search())
    assert len(set(linked.island)) == 2
    assert not linked.missed
    assert set(linked.catalogue) == {0, 1}
    alone = link([*near, *far], None, Search())
    assert len(set(alone.island)) == 2
    assert not alone.missed


def test_a_visit_that_should_meet_and_does_not_is_noted(rng):
    images, _, _ = observe(rng, names=("a",))
    wrong, _, _ = observe(np.random.default_rng(99), names=("b",), dithers=2)
    linked = link([*images, *wrong], None, Search())
    assert list(linked.missed) == ["b"]
    assert linked.missed["b"] > 20


def test_exposures_that_share_nothing_meet_the_catalogue_one_by_one(rng):
    """One visit, whose dithers are off each by itself and have no source in common."""
    images, truth, sky = observe(rng, jitter=0.3, n=900, dithers=4)
    parts = np.arange(900) % 4
    seen = []
    for k, image in enumerate(images):
        mine = truth[k][0](sky[parts == k])
        near = (
            np.abs(image.positions[:, None] - mine[None]).max(axis=2).min(axis=1) < 0.03
        )
        seen.append(
            type(image)(
                image.positions[near],
                image.errors[near],
                image.corners,
                image.exposure,
                image.visit,
            )
        )
    linked = link(seen, catalogue_of(rng, sky, n=900), Search())
    assert all(linked.tied)
    assert np.abs(truth_errors(linked.moved, truth)).max() < 0.02


def test_most_visits_set_the_frame(rng):
    images, truth, _ = observe(rng, visits=[(12.0, 9.0, 0.1), (0, 0, 0), (0.02, 0, 0)])
    linked = link(images, None, Search())
    errors = truth_errors(linked.moved, truth)
    assert np.abs(errors).max() < 0.05


def test_the_first_visit_sets_the_frame_on_demand(rng):
    images, truth, _ = observe(rng, visits=[(12.0, 9.0, 0.0), (0, 0, 0), (0, 0, 0)])
    linked = link(images, None, Search(), in_order=True)
    errors = truth_errors(linked.moved, truth)
    np.testing.assert_allclose(errors.mean(axis=0), [12.0, 9.0], atol=0.02)
