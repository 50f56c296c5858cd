import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.light import (
    TILTED_ANGLES,
    WISP_DETECTORS,
    claw_pattern,
    miri_background,
    tilted_pattern,
    wisp_pattern,
)


@pytest.mark.parametrize("detector", WISP_DETECTORS)
@pytest.mark.parametrize("subarray", ["SUB160", "SUB320"])
def test_small_subarrays_see_their_part_of_the_wisp(detector, subarray):
    frame = aperture(detector, subarray)
    part, whole = wisp_pattern(frame), wisp_pattern(aperture(detector))
    y, x = frame.substrt2 - 1, frame.substrt1 - 1
    assert_array_equal(part, whole[y : y + frame.ny, x : x + frame.nx])
    assert part.max() > 0.5
    assert whole.max() == pytest.approx(1, abs=0.01)


def test_other_detectors_have_no_wisps():
    assert not wisp_pattern(aperture("NRCB1", "SUB160")).any()


def test_a_claw_covers_some_of_the_frame():
    claw = claw_pattern(aperture("NRCB1", "SUB320"), Streams(1, "v").of("claw"))
    assert claw.max() == pytest.approx(1, abs=0.15)
    assert 0.005 < (claw > 0.3).mean() < 0.2


def lines(image, angle):
    """Mean of the image along each line at an angle, one pixel wide."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    turn = np.deg2rad(angle)
    number = np.rint(y * np.cos(turn) - x * np.sin(turn)).astype(int)
    number -= number.min()
    count = np.bincount(number.ravel())
    return (np.bincount(number.ravel(), image.ravel()) / count)[count > 100]


def test_tilted_stripes_stand_out_along_their_angles_only():
    pattern = tilted_pattern(aperture("NRCB1", "SUB320"), Streams(1, "e").of("t"))
    assert pattern.std() == pytest.approx(1, abs=0.15)
    along = [lines(pattern, angle).std() for angle in TILTED_ANGLES]
    across = [lines(pattern, angle).std() for angle in (0, 10, -50, 60, 90)]
    assert min(along) > 0.5
    assert max(across) < 0.25


def test_miri_background_drifts_smoothly():
    frame = aperture("MIRIMAGE", "SUB256")
    early, soon, late = (
        miri_background(frame, Streams(1, "MIRIMAGE").of("b"), time)
        for time in (0.0, 10.0, 4000.0)
    )
    assert 0.003 < early.std() < 0.1
    assert abs(soon - early).max() < 0.02 * abs(early).max()
    assert abs(late - early).max() > 0.1 * early.std()
    assert_allclose(early, miri_background(frame, Streams(1, "MIRIMAGE").of("b"), 0))


def test_only_miri_has_it():
    frame = aperture("NRCB1", "SUB160")
    assert not miri_background(frame, Streams(1, "a").of("b"), 0.0).any()
