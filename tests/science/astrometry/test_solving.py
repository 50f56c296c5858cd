"""One astrometric solution for all images at once."""

import numpy as np
import pytest

from fields import catalogue_of, observe, truth_errors
from webbmosaic.science.astrometry import Search, link, solve
from webbmosaic.science.astrometry.tracks import find_tracks

WRONG = [(0, 0, 0), (12.0, 9.0, 0.1), (0.3, -0.25, 0)]


def solved(images, catalogue=None, **given):
    search = given.pop("search", Search())
    linked = link(images, catalogue, search, in_order=given.get("in_order", False))
    return solve(images, linked, catalogue, tolerance=0.1, **given)


@pytest.mark.parametrize("seed", range(3))
def test_visits_that_are_off_come_back_to_the_catalogue(seed):
    rng = np.random.default_rng(seed)
    images, truth, sky = observe(rng, visits=WRONG, n=600)
    solution = solved(images, catalogue_of(rng, sky, n=200))
    errors = 1000 * truth_errors(solution.moved, truth)
    expected = 1000 * solution.shift_errors.mean()
    assert expected < 0.8
    assert np.abs(errors.mean(axis=0)).max() < 3 * expected
    assert errors.std(axis=0).max() < 0.5
    assert np.abs(errors - errors.mean(axis=0)).max() < 1.5


def test_without_a_catalogue_they_agree():
    rng = np.random.default_rng(8)
    images, truth, _ = observe(rng, visits=WRONG)
    errors = 1000 * truth_errors(solved(images).moved, truth)
    assert errors.std(axis=0).max() < 0.5
    assert np.abs(errors.mean(axis=0)).max() < 300  # most of them set the frame


def test_errors_are_what_they_say():
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(12):
        images, truth, _ = observe(rng, visits=[(0, 0, 0), (0.3, 0, 0)], n=150)
        solution = solved(images)
        errors = truth_errors(solution.moved, truth)
        errors -= errors.mean(axis=0)
        pulls.append(errors / solution.shift_errors[:, None])
    assert 0.6 < np.std(pulls) < 1.5


@pytest.mark.parametrize("jitter", [0.0, 0.0003, 0.001, 0.003, 0.01, 0.05])
def test_dithers_follow_their_own_sources_as_far_as_that_is_significant(jitter):
    """Swept: a telescope without jitter gets none, one with much is corrected."""
    rng = np.random.default_rng(21)
    images, truth, _ = observe(rng, jitter=jitter, dithers=6, n=60, noise=0.004)
    errors = truth_errors(solved(images).moved, truth)
    scatter = 1000 * (errors - errors.mean(axis=0)).std()
    assert scatter < 1.6  # by a dozen sources of 4.6 mas alone: 1.3


def test_few_sources_do_not_turn_a_visit():
    rng = np.random.default_rng(2)
    images, truth, sky = observe(rng, side=10, n=3000, completeness=0.3, noise=0.004)
    solution = solved(images, catalogue_of(rng, sky, n=800))
    side = images[0].corners[1] - images[0].corners[0]
    moved = solution.moved(0, images[0].corners)
    now = moved[1] - moved[0]
    assert abs(side[0] * now[1] - side[1] * now[0]) / (side @ side) < 2e-4
    errors = truth_errors(solution.moved, truth)
    assert np.abs(errors).max() < 4 * solution.shift_errors.max()


def test_blends_do_not_pull():
    rng = np.random.default_rng(3)
    images, truth, _ = observe(rng)
    images[0].positions[:15] += [0.04, 0.0]
    errors = 1000 * truth_errors(solved(images).moved, truth)
    assert abs(errors[0, 0] - errors[1:, 0].mean()) < 1


def test_detectors_read_together_move_as_one():
    rng = np.random.default_rng(6)
    images, _, _ = observe(rng, dithers=4)
    joined = [
        type(i)(i.positions, i.errors, i.corners, "01"[k > 1], i.visit)
        for k, i in enumerate(images)
    ]
    solution = solved(joined)
    steps = [solution.moved(k, i.corners) - i.corners for k, i in enumerate(joined)]
    np.testing.assert_allclose(steps[0].mean(0), steps[1].mean(0), atol=3e-4)


def test_only_what_was_asked_for_changes():
    rng = np.random.default_rng(7)
    images, _, sky = observe(rng, visits=[(0.1, 0, 0.02)])
    catalogue = catalogue_of(rng, sky, n=100)
    shifted = solved(images, catalogue, geometry="shift", search=Search(turn=0.0))
    assert np.abs(shifted.matrices[:, 0, 1] + shifted.matrices[:, 1, 0]).max() < 1e-9
    scaled = [
        type(i)(1.0003 * i.positions, i.errors, 1.0003 * i.corners, i.exposure, i.visit)
        for i in observe(np.random.default_rng(7))[0]
    ]
    sky = observe(np.random.default_rng(7))[2]
    catalogue = catalogue_of(rng, sky, n=300, error=0.001)
    solution = solved(scaled, catalogue, geometry="rscale")
    scale = np.sqrt(np.linalg.det(solution.matrices))
    np.testing.assert_allclose(scale, 1 / 1.0003, atol=3e-5)


def test_a_catalogue_that_was_not_met_does_not_pull():
    rng = np.random.default_rng(9)
    images, truth, _ = observe(rng, visits=[(0, 0, 0), (0.05, 0, 0)])
    other = catalogue_of(rng, rng.uniform(-60, 60, (500, 2)), n=500)
    solution = solved(images, other)
    errors = 1000 * truth_errors(solution.moved, truth)
    assert errors.std(axis=0).max() < 0.5
    assert not (solution.tracks.image == len(images)).any()


def test_the_first_exposure_sets_the_frame_on_demand():
    rng = np.random.default_rng(10)
    images, _, _ = observe(rng, visits=[(0, 0, 0), (0.08, 0, 0), (0.08, 0, 0)])
    solution = solved(images, in_order=True)
    first = solution.moved(0, images[0].corners) - images[0].corners
    assert np.abs(first).max() < 1e-4


def test_sources_of_one_exposure_only_are_left_out():
    points = np.array([[0.0, 0.0], [5.0, 5.0]])
    tracks = find_tracks([points, points[:1] + 0.01, points], 0.1, ["a", "b", "a"])
    assert set(tracks.source.tolist()) == {0}
    assert len(tracks.image) == 3
