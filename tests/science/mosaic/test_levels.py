"""Skies of different height and tilt are brought to their mean, with sources about."""

import numpy as np
import pytest

from webbmosaic.science.mosaic.frames import Frame
from webbmosaic.science.mosaic.levels import sky_levels

SIDE = 256


def exposures(levels, *, tilts=None, seed=1, spread=40, sources=True):
    rng = np.random.default_rng(seed)
    places = rng.uniform(-60, SIDE + 60, (60, 2))
    flux = 10 ** rng.uniform(0.5, 3, 60)
    frames = []
    y, x = np.mgrid[:SIDE, :SIDE]
    for k, level in enumerate(levels):
        offset = rng.uniform(-spread, spread, 2)
        light = np.full((SIDE, SIDE), float(level))
        for (sx, sy), f in zip(places + offset, flux * sources, strict=True):
            light += f * np.exp(-np.hypot(x - sx, y - sy) / 3)
        # A large galaxy in a corner, on all exposures.
        light += (
            sources
            * 50
            * np.exp(-np.hypot(x - 40 - offset[0], y - 40 - offset[1]) / 25)
        )
        if tilts is not None:
            light += tilts[k] * (2 * x / (SIDE - 1) - 1)
        data = light + rng.normal(0, 1, light.shape)
        frames.append(framed(data, offset))
    return frames


def framed(data, offset):
    return Frame(
        data.astype(np.float32),
        np.ones(data.shape, np.float32),
        np.ones(data.shape, bool),
        lambda x, y: (x - offset[0], y - offset[1]),
        lambda a, d: (a + offset[0], d + offset[1]),
    )


def test_levels_come_back_within_their_errors():
    levels = np.array([0.3, -0.2, 1.1, 0.0, 5.0])
    found = sky_levels(exposures(levels))
    off = found.terms[:, 0] - (levels - levels.mean())
    assert np.abs(off).max() < 0.03
    assert np.sqrt(np.mean((off / found.errors) ** 2)) < 4
    assert found.terms.mean() == pytest.approx(0, abs=1e-9)
    assert (found.overlaps == 4).all()


def test_equal_skies_stay():
    found = sky_levels(exposures(np.zeros(4)))
    assert np.abs(found.terms).max() < 0.02
    assert (found.errors < 0.03).all()


def test_an_exposure_alone_keeps_its_sky():
    frames = exposures([0.0, 1.0, 3.0])
    far = framed(frames[2].data, np.array([1e4, 0.0]))
    found = sky_levels([frames[0], frames[1], far])
    assert found.terms[2, 0] == pytest.approx(0, abs=1e-9)
    assert found.errors[2] == np.inf
    assert found.overlaps.tolist() == [1, 1, 0]
    assert found.terms[1, 0] - found.terms[0, 0] == pytest.approx(1, abs=0.05)


def test_a_chain_of_overlaps_is_solved_together():
    """Each overlaps its neighbours only; differences add up, and their errors."""
    rng = np.random.default_rng(3)
    levels = rng.normal(0, 1, 6)
    frames = [
        framed(rng.normal(level, 1, (SIDE, SIDE)), np.array([-150.0 * k, 0.0]))
        for k, level in enumerate(levels)
    ]
    found = sky_levels(frames)
    assert found.overlaps.tolist() == [1, 2, 2, 2, 2, 1]
    np.testing.assert_allclose(found.terms[:, 0], levels - levels.mean(), atol=0.1)
    assert found.errors[0] > found.errors[2]


def test_tilts_are_solved_where_asked_for():
    tilts = np.array([0.5, -0.5, 0.2, -0.2])
    frames = exposures(np.array([0.0, 1.0, 2.0, 3.0]), tilts=tilts, spread=80)
    found = sky_levels(frames, plane=True)
    assert found.terms.shape == (4, 3)
    # What all have in common cannot be told from the sky itself.
    np.testing.assert_allclose(
        found.terms[:, 1] - found.terms[:, 1].mean(), tilts - tilts.mean(), atol=0.1
    )
    assert np.abs(found.terms[:, 2]).max() < 0.1
    left = found.image(0, (SIDE, SIDE))
    assert left[0, -1] - left[0, 0] == pytest.approx(2 * found.terms[0, 1])


def test_missing_pixels_and_a_wrong_patch_do_not_matter():
    frames = exposures([0.0, 1.0, 2.0])
    good = np.random.default_rng(2).random((SIDE, SIDE)) > 0.3
    data = np.where(good, frames[0].data, 1e6).astype(np.float32)
    data[100:140, 100:140] += 2  # something that moved
    frames[0] = Frame(
        data, frames[0].variance, good, frames[0].to_sky, frames[0].to_pixels
    )
    found = sky_levels(frames)
    np.testing.assert_allclose(found.terms[:, 0], [-1, 0, 1], atol=0.05)
