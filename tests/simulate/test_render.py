"""What falls on the detector is what the catalogue says, where it says."""

import numpy as np
import pytest
from astropy.table import Table

from webbmosaic.simulate.geometry import ARCSEC, aperture, pixel_to_v2v3, v2v3_to_pixel
from webbmosaic.simulate.observe import psf_of
from webbmosaic.simulate.pointing import Pointing
from webbmosaic.simulate.render import render

ROLL = 75.0


def one_object(frame, x, y, *, flux=1e-6, kind="star", **shape):
    """A catalogue of one object at a pixel, and the pointing that puts it there."""
    pointing = Pointing(53.16, -27.79, ROLL, frame.v2_ref, frame.v3_ref)
    ra, dec = pointing.to_sky(*pixel_to_v2v3(frame, x, y))
    row = {"r_half": 0.0, "sersic_n": 0.0, "axis_ratio": 1.0, "pa": 0.0, **shape}
    table = Table([{"ra": float(ra), "dec": float(dec), "kind": kind, **row}])
    table["flux_T"] = [flux]
    for name, unit in (("ra", "deg"), ("dec", "deg"), ("pa", "deg"), ("flux_T", "Jy")):
        table[name].unit = unit
    return table, pointing


def draw(frame, filter_, *place, **options):
    table, pointing = one_object(frame, *place, **options)
    psf = psf_of(frame.detector, filter_)
    return render(table, frame, pointing, psf=psf, filter_="T") / 1e-12


@pytest.mark.parametrize(
    ("x", "y"), [(1024.2, 1000.6), (200.4, 210.3), (1847.1, 1900.9)]
)
def test_star_has_its_flux_anywhere_on_the_detector(x, y):
    """The sky area of pixels differs by per cents over the field; flux does not."""
    frame = aperture("NRCBLONG", "FULL")
    image = draw(frame, "F444W", x, y)
    assert image.sum() == pytest.approx(
        psf_of("NRCBLONG", "F444W").stamp(0, 0)[0].sum()
    )
    assert np.unravel_index(image.argmax(), image.shape) == (round(y), round(x))


def test_star_outside_the_frame_shines_into_it():
    frame = aperture("NRCB1", "SUB160")
    assert draw(frame, "F200W", -30.0, 80.0).sum() > 1e-4
    assert draw(frame, "F200W", -3000.0, 80.0).sum() == 0


@pytest.mark.parametrize("index", [1.0, 2.5])
@pytest.mark.parametrize("centre", [(80.0, 80.0), (80.37, 79.61)])
def test_galaxy_has_its_flux(index, centre):
    frame = aperture("NRCBLONG", "SUB160")
    shape = {"r_half": 0.2, "sersic_n": index, "axis_ratio": 0.6, "pa": 20.0}
    image = draw(frame, "F444W", *centre, kind="galaxy", **shape)
    y, x = np.indices(image.shape)
    inside = np.hypot(x - centre[0], y - centre[1]) < 70
    # All but what the telescope scatters farther.
    assert image[inside].sum() == pytest.approx(0.987, abs=0.006)
    total = image.sum()
    assert (image * x).sum() / total == pytest.approx(centre[0], abs=0.1)
    assert (image * y).sum() / total == pytest.approx(centre[1], abs=0.1)


def test_half_of_the_light_lies_within_the_half_light_ellipse():
    frame = aperture("NRCB1", "SUB160")
    shape = {"r_half": 0.6, "sersic_n": 1.0, "axis_ratio": 1.0}
    image = draw(frame, "F200W", 80.0, 80.0, kind="galaxy", **shape)
    y, x = np.indices(image.shape)
    inside = np.hypot(x - 80, y - 80) * frame.pixel_scale < 0.6
    assert image[inside].sum() == pytest.approx(0.475, abs=0.015)


@pytest.mark.parametrize("pa", [0.0, 30.0, 110.0])
@pytest.mark.parametrize("detector", ["NRCB1", "NRCB2"])
def test_galaxy_lies_along_its_position_angle(detector, pa):
    frame = aperture(detector, "SUB160")
    shape = {"r_half": 0.5, "sersic_n": 1.0, "axis_ratio": 0.3, "pa": pa}
    table, pointing = one_object(frame, 80.0, 80.0, kind="galaxy", **shape)
    psf = psf_of(detector, "F200W")
    image = render(table, frame, pointing, psf=psf, filter_="T")
    y, x = np.indices(image.shape)
    image[np.hypot(x - 80, y - 80) > 45] = 0  # a round window: no preference
    moments = [
        (image * a * b).sum()
        for a, b in ((x - 80, x - 80), (x - 80, y - 80), (y - 80, y - 80))
    ]
    angle = 0.5 * np.arctan2(2 * moments[1], moments[0] - moments[2])
    along = np.array([-5.0, 5.0])
    ends = 80 + along * np.cos(angle), 80 + along * np.sin(angle)
    ra, dec = pointing.to_sky(*pixel_to_v2v3(frame, *ends))
    east = np.diff(ra)[0] * np.cos(dec[0] * 3600 * ARCSEC)
    found = np.rad2deg(np.arctan2(east, np.diff(dec)[0])) % 180
    assert (found - pa + 90) % 180 - 90 == pytest.approx(0, abs=1.0)


def test_uniform_brightness_follows_the_pixels_area():
    """A galaxy much larger than the frame: counts in proportion to the sky area."""
    frame = aperture("NRCBLONG", "SUB160")
    shape = {"r_half": 30.0, "sersic_n": 0.5}
    image = draw(frame, "F444W", 80.0, 80.0, kind="galaxy", **shape)
    peak = image[75:86, 75:86].mean()
    assert np.allclose(image[70:91, 70:91], peak, rtol=2e-3)
    # Index 0.5 is a Gaussian: its peak is ln 2 / (pi r_half**2).
    expected = np.log(2) / np.pi / 30.0**2 * frame.pixel_scale**2
    assert peak == pytest.approx(expected, rel=0.01)


def test_an_error_of_pointing_moves_the_scene():
    frame = aperture("NRCB1", "SUB160")
    table, pointing = one_object(frame, 80.0, 80.0)
    moved = Pointing(
        pointing.ra_ref,
        pointing.dec_ref,
        pointing.roll_ref,
        pointing.v2_ref + 0.31,
        pointing.v3_ref,
    )
    x, _ = v2v3_to_pixel(frame, *moved.to_v2v3(table["ra"].value, table["dec"].value))
    image = render(table, frame, moved, psf=psf_of("NRCB1", "F200W"), filter_="T")
    column = image.argmax() % frame.nx
    assert column == round(float(x[0]))
    assert abs(column - 80) == 10
