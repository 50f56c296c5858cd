"""One astrometric solution for all exposures at once."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from webbmosaic.science.astrometry import Move, solve_absolute, solve_relative

SETTINGS = {"tolerance": 0.1, "enough": 15}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def observed(rng, truth, move, noise=0.0005):
    """What an exposure sees whose pointing is off; bright stars are better."""
    errors = noise * rng.uniform(1, 10, len(truth))
    seen = move.apply(truth) + errors[:, None] * rng.normal(size=truth.shape)
    return seen, errors


MOVES = [
    Move((0.010, -0.020), 1e-5),
    Move((-0.015, 0.012), -2e-5),
    Move((0.004, 0.006), 3e-5),
    Move((0.001, 0.002), -2e-5),
]


def test_planted_motions_come_back(rng):
    truth = rng.uniform(-60, 60, (150, 2))
    seen = [observed(rng, truth, move) for move in MOVES]
    moves = solve_relative(*zip(*seen, strict=True), list("abcd"), **SETTINGS)
    corrected = [moves[k].apply(p) for k, (p, _) in zip("abcd", seen, strict=True)]
    mean = np.mean(corrected, axis=0)
    for points in corrected:
        assert_allclose(np.median(points - mean, axis=0), 0, atol=5e-4)
        # the rotation, as motion at the edge of the field
        far = np.hypot(*truth.T) > 50
        assert_allclose(np.median((points - mean)[far], axis=0), 0, atol=1e-3)


def test_the_common_frame_is_that_of_all(rng):
    truth = rng.uniform(-60, 60, (150, 2))
    seen = [observed(rng, truth, move) for move in MOVES]
    moves = solve_relative(*zip(*seen, strict=True), list("abcd"), **SETTINGS)
    assert_allclose(np.mean([m.shift for m in moves.values()], axis=0), 0, atol=1e-9)


def test_aligned_exposures_stay(rng):
    truth = rng.uniform(-60, 60, (60, 2))
    seen = [observed(rng, truth, Move()) for _ in range(4)]
    moves = solve_relative(*zip(*seen, strict=True), list("abcd"), **SETTINGS)
    for move in moves.values():
        assert np.hypot(*move.shift) < 6e-4


def test_blends_do_not_pull(rng):
    """A tenth of the sources is off by a tenth of an arcsec, all the same way."""
    truth = rng.uniform(-60, 60, (100, 2))
    seen = [observed(rng, truth, Move()) for _ in range(4)]
    seen[0][0][:10] += [0.04, 0.0]
    moves = solve_relative(*zip(*seen, strict=True), list("abcd"), **SETTINGS)
    assert abs(moves["a"].shift[0]) < 8e-4


def test_few_sources_do_not_turn_an_exposure(rng):
    truth = rng.uniform(-5, 5, (6, 2))
    seen = [observed(rng, truth, Move()) for _ in range(3)]
    moves = solve_relative(*zip(*seen, strict=True), list("abc"), **SETTINGS)
    assert all(move.rotation == 0 for move in moves.values())


def test_detectors_read_together_move_as_one(rng):
    left, right = rng.uniform(-60, 0, (40, 2)), rng.uniform(0, 60, (40, 2))
    off = Move((0.02, 0.01))
    seen = [observed(rng, p, m) for p, m in ((left, off), (right, off), (left, Move()))]
    moves = solve_relative(*zip(*seen, strict=True), ["one", "one", "two"], **SETTINGS)
    difference = np.subtract(moves["two"].shift, moves["one"].shift)
    assert_allclose(difference, off.shift, atol=6e-4)


def test_nothing_shared_moves_nothing(rng):
    seen = [observed(rng, rng.uniform(k, k + 9, (20, 2)), Move()) for k in (0, 100)]
    moves = solve_relative(*zip(*seen, strict=True), list("ab"), **SETTINGS)
    assert set(moves.values()) == {Move()}


def test_the_catalogue_is_met(rng):
    truth = rng.uniform(-60, 60, (80, 2))
    seen, errors = observed(rng, truth, Move((0.03, -0.02), 4e-5))
    move, matches = solve_absolute(seen, errors, truth[:40], **SETTINGS)
    assert matches == 40
    assert_allclose(np.median(move.apply(seen) - truth, axis=0), 0, atol=4e-4)


def test_no_star_of_the_catalogue_in_the_field(rng):
    seen, errors = observed(rng, rng.uniform(-60, 60, (80, 2)), Move())
    assert solve_absolute(seen, errors, np.full((1, 2), 500.0), **SETTINGS) == (
        Move(),
        0,
    )
    assert solve_absolute(seen, errors, np.empty((0, 2)), **SETTINGS) == (Move(), 0)
