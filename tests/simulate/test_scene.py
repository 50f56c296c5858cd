"""The invented sky is the same for a seed and good to measure."""

import numpy as np
import pytest

from webbmosaic.simulate.scene import Field, flux_from_mag, make_catalog

FIELD = Field(53.16, -27.79, 75.0, half_size=40.0)
WAVES = {"F200W": 1.9886, "F444W": 4.4037, "F770W": 7.6364}


@pytest.fixture(scope="module")
def catalog():
    return make_catalog(FIELD, WAVES, seed=1)


def test_same_seed_same_sky(catalog):
    again = make_catalog(FIELD, WAVES, seed=1)
    assert all((catalog[name] == again[name]).all() for name in catalog.colnames)
    other = make_catalog(FIELD, WAVES, seed=2)
    assert len(other) != len(catalog) or (other["ra"] != catalog["ra"]).any()


def test_filters_do_not_change_the_objects(catalog):
    one = make_catalog(FIELD, {"F200W": 1.9886}, seed=1)
    for name in ("ra", "dec", "mag_F200W", "r_half"):
        assert (one[name] == catalog[name]).all()


def test_flux_is_the_ab_magnitude(catalog):
    assert flux_from_mag(np.array([8.9]))[0] == pytest.approx(1.0, rel=1e-3)
    expected = 10 ** (-0.4 * (catalog["mag_F444W"].value - 8.9))
    assert np.allclose(catalog["flux_F444W"].value, expected, rtol=1e-3)
    assert str(catalog["flux_F444W"].unit) == "Jy"


def test_stars_have_the_colours_of_stars(catalog):
    """AB colours of black bodies of 3000 to 6500 K lie between -1.5 and -0.5 mag."""
    stars = catalog[catalog["kind"] == "star"]
    colour = stars["mag_F200W"].value - stars["mag_F444W"].value
    assert -1.5 < colour.min() < colour.max() < -0.4


def test_galaxies_have_shapes_and_stars_none(catalog):
    galaxies = catalog[catalog["kind"] == "galaxy"]
    stars = catalog[catalog["kind"] == "star"]
    assert (stars["r_half"] == 0).all()
    assert (galaxies["r_half"] >= 0.06).all()
    assert galaxies["sersic_n"].min() > 0.5
    assert galaxies["sersic_n"].max() < 4
    assert galaxies["axis_ratio"].min() > 0.3
    large = galaxies[(galaxies["r_half"] >= 2) & (galaxies["mag_F200W"].value > 20.5)]
    assert len(large) >= 3  # large and faint
    assert galaxies["mag_F200W"].value.min() < 18  # a big one


def test_galaxy_numbers_are_those_counted_on_the_sky():
    field = Field(53.16, -27.79, 75.0, half_size=90.0)
    sky = make_catalog(field, {"F200W": 1.9886}, seed=5)
    mags = sky["mag_F200W"].value[sky["kind"] == "galaxy"]
    square_degrees = (180 / 3600) ** 2
    per_magnitude = np.count_nonzero((mags > 23.5) & (mags < 24.5)) / square_degrees
    assert per_magnitude == pytest.approx(40_000, rel=0.5)
    assert np.count_nonzero(mags > 25) > 2 * np.count_nonzero(mags < 24)


def test_stars_stand_apart(catalog):
    bright = catalog[(catalog["kind"] == "star") & (catalog["mag_F200W"].value < 22)]
    x = (bright["ra"].value - FIELD.ra) * np.cos(np.deg2rad(FIELD.dec)) * 3600
    y = (bright["dec"].value - FIELD.dec) * 3600
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 99 * np.eye(len(x))
    assert apart.min() > 0.89
    in_cluster = np.hypot(x, y) < FIELD.core
    assert np.count_nonzero(in_cluster) > 80


def test_layout_turns_with_the_telescope():
    """The cluster's galaxies keep their place in the frame, at any roll."""
    turned = make_catalog(Field(53.16, -27.79, 165.0, 40.0), WAVES, seed=1)
    straight = make_catalog(Field(53.16, -27.79, 75.0, 40.0), WAVES, seed=1)
    scale = np.cos(np.deg2rad(FIELD.dec))
    one, two = (
        np.array([(t["ra"].value - 53.16) * scale, t["dec"].value + 27.79])
        for t in (straight, turned)
    )
    # By 90 degrees east of north: what was north is east, what was east is south.
    assert np.allclose(two[0], one[1], atol=1e-5)
    assert np.allclose(two[1], -one[0], atol=1e-5)
    galaxies = straight["kind"] == "galaxy"
    change = (turned["pa"].value - straight["pa"].value)[galaxies] % 180
    assert np.allclose(change, 90)
