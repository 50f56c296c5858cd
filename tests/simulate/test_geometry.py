"""Detector, telescope and sky agree with SIAF, with each other, and with jwst."""

import numpy as np
import pytest

from webbmosaic.errors import UsageError
from webbmosaic.simulate.geometry import (
    aperture,
    distortion_model,
    pixel_to_v2v3,
    subarrays,
    v2v3_to_pixel,
)
from webbmosaic.simulate.pointing import Pointing

SETUPS = [("NRCB1", "FULL"), ("NRCALONG", "SUB320"), ("MIRIMAGE", "BRIGHTSKY")]
EVERY = [
    (d, s)
    for d in ("NRCA3", "NRCB1", "NRCB4", "NRCBLONG", "MIRIMAGE", "NIS")
    for s in subarrays(d)
]


@pytest.mark.parametrize(("detector", "subarray"), EVERY)
def test_pixels_come_back(detector, subarray):
    ap = aperture(detector, subarray)
    x, y = np.meshgrid(np.linspace(-2, ap.nx + 1, 23), np.linspace(-2, ap.ny + 1, 21))
    back = v2v3_to_pixel(ap, *pixel_to_v2v3(ap, x, y))
    assert np.abs(back[0] - x).max() < 1e-5
    assert np.abs(back[1] - y).max() < 1e-5


@pytest.mark.parametrize(("detector", "subarray"), EVERY)
def test_subarrays_lie_on_the_detector(detector, subarray):
    ap, full = aperture(detector, subarray), aperture(detector)
    assert 1 <= ap.substrt1 <= full.nx - ap.nx + 1
    assert 1 <= ap.substrt2 <= full.ny - ap.ny + 1


def test_known_corners():
    """From the NIRCam and MIRI chapters of JDox: corners of well-known subarrays."""
    corner = {
        ("NRCB1", "SUB400P"): (1649, 1649),
        ("MIRIMAGE", "SUB256"): (413, 51),
        ("MIRIMAGE", "BRIGHTSKY"): (457, 51),
        ("NRCB4", "SUB160"): (1889, 1889),
    }
    for key, value in corner.items():
        assert (aperture(*key).substrt1, aperture(*key).substrt2) == value


@pytest.mark.parametrize(
    ("detector", "subarray", "v2", "v3"),
    [
        ("NRCB1", "SUB160", -93.495815, -487.028901),
        ("NRCBLONG", "SUB400P", -148.665172, -432.14853),
        ("MIRIMAGE", "SUB256", -439.639945, -411.947899),
    ],
)
def test_the_reference_point_is_siaf_s(detector, subarray, v2, v3):
    """The full frame's polynomial gives the subarray's own reference point."""
    ap = aperture(detector, subarray)
    centre = {
        "SUB160": (79.5, 79.5),
        "SUB400P": (326.5, 313.5),
        "SUB256": (127.5, 127.5),
    }
    found = pixel_to_v2v3(ap, *centre[subarray])
    assert np.hypot(found[0] - v2, found[1] - v3) < 2e-3
    assert (ap.v2_ref, ap.v3_ref) == (v2, v3)


@pytest.mark.parametrize(("detector", "subarray"), SETUPS)
def test_distortion_model_is_the_same_transform(detector, subarray):
    ap = aperture(detector, subarray)
    model = distortion_model(ap)
    x, y = np.meshgrid(np.linspace(0, ap.nx - 1, 9), np.linspace(0, ap.ny - 1, 9))
    v2, v3 = model(x + ap.substrt1 - 1, y + ap.substrt2 - 1)
    ours = pixel_to_v2v3(ap, x, y)
    assert np.hypot(v2 - ours[0], v3 - ours[1]).max() < 1e-9
    back = model.inverse(v2, v3)
    assert np.abs(back[0] - x - ap.substrt1 + 1).max() < 2e-4
    assert np.abs(back[1] - y - ap.substrt2 + 1).max() < 2e-4


def test_sky_and_back_across_the_meridian():
    pointing = Pointing(0.001, -69.5, 203.0, -93.5, -487.0)
    v2, v3 = np.array([-100.0, -90.0, 60.0]), np.array([-480.0, -492.0, -530.0])
    back = pointing.to_v2v3(*pointing.to_sky(v2, v3))
    assert np.allclose(back, (v2, v3), atol=1e-8)


def test_the_reference_point_looks_where_it_should():
    pointing = Pointing(53.1, -27.8, 75.0, -93.5, -487.0)
    assert np.allclose(pointing.to_sky(-93.5, -487.0), (53.1, -27.8), atol=1e-12)


def test_roll_is_the_angle_of_v3_east_of_north():
    pointing = Pointing(53.1, 0.0, 30.0)
    ra, dec = pointing.to_sky(0.0, 1.0)
    east, north = (ra - 53.1) * 3600, dec * 3600
    assert np.rad2deg(np.arctan2(east, north)) == pytest.approx(30.0, abs=1e-6)


def test_another_reference_point_is_the_same_pointing():
    one = Pointing(80.5, -69.5, 203.0, -93.5, -487.0)
    two = one.at(-453.3, -373.7)
    assert two.v2_ref == -453.3
    assert abs(two.roll_ref - one.roll_ref) > 0.05
    v2, v3 = np.array([-100.0, 50.0]), np.array([-480.0, -530.0])
    ra, dec = one.to_sky(v2, v3)
    ra2, dec2 = two.to_sky(v2, v3)
    assert np.hypot(ra - ra2, dec - dec2).max() * 3.6e6 < 1e-3


def test_agrees_with_the_pipeline():
    """jwst's own V2, V3 to sky transform, to a microarcsecond."""
    pointing_module = pytest.importorskip("jwst.assign_wcs.pointing")
    p = Pointing(80.5, -69.5, 203.0, -93.5, -487.0)
    theirs = pointing_module._v23tosky(
        p.v2_ref / 3600, p.v3_ref / 3600, p.roll_ref, p.ra_ref, p.dec_ref
    )
    v2, v3 = np.array([-100.0, 50.0]), np.array([-480.0, -530.0])
    ra, dec = theirs(v2, v3)
    ours = p.to_sky(v2, v3)
    assert np.hypot(ra - ours[0], dec - ours[1]).max() * 3.6e9 < 1


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"NRCB9.*NRCBLONG"):
        aperture("NRCB9")
    with pytest.raises(UsageError, match=r"NRCB1 has no subarray 'SUB12'.*SUB160"):
        aperture("NRCB1", "SUB12")
