import numpy as np
import pytest

from webbmosaic.errors import InputError
from webbmosaic.report.mosaics import read_mosaic
from webbmosaic.report.sources import true_sources
from webbmosaic.report.truth import compare_with_truth, read_truth


@pytest.fixture(scope="module")
def honest(scene, tmp_path_factory):
    path = scene.write(tmp_path_factory.mktemp("truth") / "honest_i2d.fits")
    return compare_with_truth(path, scene.truth)


@pytest.fixture(scope="module")
def planted(scene, tmp_path_factory):
    """Fluxes 3 % low, 0.4 and -0.25 pixels off, and 0.2 sigma of sky left."""
    path = tmp_path_factory.mktemp("truth") / "planted_i2d.fits"
    scene.write(path, gain=0.97, shift=(0.4, -0.25), sky=0.2)
    return compare_with_truth(path, scene.truth)


def test_a_true_mosaic_agrees(honest):
    assert honest.stars >= 20
    assert honest.galaxies >= 8
    assert abs(honest.flux) < 0.15
    assert honest.flux_mad < 0.3
    assert abs(honest.galaxy_flux) < 0.6
    assert max(abs(honest.ra), abs(honest.dec)) < 0.1
    assert honest.position_mad < 0.2
    assert abs(honest.sky) < 4 * honest.sky_error + 0.005
    assert honest.blank > 0.1


def test_wrong_fluxes_are_found(planted):
    assert planted.flux == pytest.approx(-3, abs=0.2)
    assert planted.galaxy_flux == pytest.approx(-3, abs=0.6)


def test_a_shift_is_found(planted, scene, sky_wcs):
    wcs = sky_wcs(scene.shape)
    moved = wcs.pixel_to_world(210.4, 209.75)
    east, north = wcs.pixel_to_world(210, 210).spherical_offsets_to(moved)
    assert planted.ra == pytest.approx(east.to_value("mas"), abs=0.15)
    assert planted.dec == pytest.approx(north.to_value("mas"), abs=0.15)
    assert planted.position_mad < 0.3


def test_sky_that_was_left_is_found(planted):
    assert planted.sky == pytest.approx(0.2, abs=0.015)


def test_a_mosaic_that_is_far_off_is_measured_all_the_same(scene, tmp_path):
    path = scene.write(tmp_path / "far_i2d.fits", shift=(9.0, -7.0))
    found = compare_with_truth(path, scene.truth)
    assert found.stars >= 15
    assert abs(found.flux) < 0.2
    assert np.hypot(found.ra, found.dec) == pytest.approx(63 * np.hypot(9, 7), rel=1e-3)


def test_neighbours_are_left_out(scene, tmp_path):
    """A star twice as bright at 4 pixels from each would spoil the apertures."""
    from astropy.table import vstack

    crowd = scene.truth.copy()
    crowd["ra"] += 4 * 0.063 / 3600
    both = vstack([scene.truth, crowd], metadata_conflicts="silent")
    both.meta = scene.truth.meta
    path = scene.write(tmp_path / "crowd_i2d.fits")
    found = compare_with_truth(path, both)
    assert found.stars == 0
    assert np.isnan(found.flux)


def test_position_angles_run_from_north_to_east(scene, tmp_path):
    mosaic = read_mosaic(scene.write(tmp_path / "a_i2d.fits"))
    sources = true_sources(mosaic, scene.truth, name="a")
    k = int(np.flatnonzero(~sources.star & (scene.truth["axis_ratio"] < 0.6))[0])
    x, y = sources.spread[k]
    far = int(np.argmax(np.hypot(x, y)))
    centre = mosaic.wcs.pixel_to_world(sources.x[k], sources.y[k])
    tip = mosaic.wcs.pixel_to_world(sources.x[k] + x[far], sources.y[k] + y[far])
    turned = (centre.position_angle(tip).deg - scene.truth["pa"][k] + 90) % 180 - 90
    assert abs(turned) < 12


def test_what_is_missing_is_named(scene, tmp_path, image_writer, sky_wcs):
    path = scene.write(tmp_path / "a_i2d.fits")
    bare = scene.truth.copy()
    bare.remove_column("flux_F444W")
    with pytest.raises(InputError, match="no fluxes in F444W"):
        compare_with_truth(path, bare)
    data = np.ones((50, 50))
    raw = image_writer(tmp_path / "b.fits", data, wcs=sky_wcs((50, 50)), unit="DN/s")
    with pytest.raises(InputError, match="DN/s"):
        compare_with_truth(raw, scene.truth)


def test_the_table_is_read_back_with_its_metadata(scene, tmp_path):
    scene.truth.write(tmp_path / "truth.ecsv", format="ascii.ecsv")
    table = read_truth(tmp_path / "truth.ecsv")
    assert len(table) == len(scene.truth)
    assert "F444W" in table.meta["encircled_energy"]


@pytest.mark.parametrize("text", ["", "# %ECSV 1.0\n# ---\na b\n1 2\n", "so\nmuch"])
def test_what_is_no_truth_table_is_named(tmp_path, text):
    path = tmp_path / "some.ecsv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"some\.ecsv"):
        read_truth(path)
