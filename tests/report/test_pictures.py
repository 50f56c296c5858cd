import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from webbmosaic.errors import InputError
from webbmosaic.report.pictures import block_mean, read_picture, stretch_limits


@pytest.fixture
def ramp():
    rng = np.random.default_rng(0)
    return rng.normal(5, 1, (120, 90)).astype(np.float32)


def test_a_small_image_is_copied(tmp_path, ramp, image_writer):
    shown = read_picture(image_writer(tmp_path / "a_cal.fits", ramp))
    np.testing.assert_array_equal(shown.data, ramp)
    assert shown.label == "NRCBLONG  F444W  cal"
    assert shown.unit == "MJy/sr"


def test_bad_pixels_are_blank(tmp_path, ramp, image_writer):
    dq = np.zeros(ramp.shape, int)
    dq[3, 4], dq[5, 6], dq[7, 8] = 1, 2, 1 + (1 << 30)
    shown = read_picture(image_writer(tmp_path / "a_cal.fits", ramp, dq=dq))
    assert np.isnan(shown.data[3, 4])
    assert np.isnan(shown.data[7, 8])
    assert np.isnan(shown.data).sum() == 2


def test_blocks_are_averaged_without_what_is_bad(tmp_path, ramp, image_writer):
    dq = np.zeros(ramp.shape, int)
    dq[0, 0] = 1
    ramp[0, 0] = 1e6
    path = image_writer(tmp_path / "a_cal.fits", ramp, dq=dq)
    shown = read_picture(path, longest=60)
    assert shown.data.shape == (60, 45)
    assert shown.shape == ramp.shape
    assert shown.data[0, 0] == pytest.approx(ramp[:2, :2].ravel()[1:].mean(), rel=1e-5)
    assert shown.data[9, 7] == pytest.approx(ramp[18:20, 14:16].mean(), rel=1e-5)


def test_uneven_blocks_at_the_edge():
    values = np.arange(15, dtype=np.float32).reshape(3, 5)
    means = block_mean(values, 2)
    assert means.shape == (2, 3)
    assert means[1, 2] == 14
    assert means[0, 0] == values[:2, :2].mean()


def test_a_huge_mosaic_takes_little_memory(tmp_path, image_writer):
    data = np.ones((3000, 3000), np.float32)
    path = image_writer(tmp_path / "a_i2d.fits", data)
    tracemalloc.start()
    shown = read_picture(path, longest=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(shown.data.shape) <= 250
    assert (shown.data == 1).all()
    assert peak < 0.35 * data.nbytes


def test_scaled_integers_and_cubes(tmp_path):
    cube = np.full((2, 30, 40), 40000, np.uint16)
    cube[1] = 7
    fits.writeto(tmp_path / "a.fits", cube)
    shown = read_picture(tmp_path / "a.fits")
    assert shown.data.shape == (30, 40)
    assert (shown.data == 40000).all()


def test_the_sky_is_known_where_the_header_knows(tmp_path, ramp, image_writer, sky_wcs):
    with_sky = image_writer(tmp_path / "a.fits", ramp, wcs=sky_wcs(ramp.shape))
    wcs = read_picture(with_sky).wcs
    assert wcs is not None
    assert wcs.pixel_to_world(44, 59).dec.deg == pytest.approx(-27.8, abs=1e-5)
    assert read_picture(image_writer(tmp_path / "b.fits", ramp)).wcs is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no picture at all\n" * 300),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: fits.PrimaryHDU().writeto(path, overwrite=True),
        lambda path: path.unlink(),
    ],
    ids=["empty", "text", "truncated", "no image", "missing"],
)
def test_what_cannot_be_read_is_named(tmp_path, image_writer, spoil):
    path = image_writer(tmp_path / "broken_cal.fits", np.ones((300, 300)))
    spoil(path)
    with pytest.raises(InputError, match=r"broken_cal\.fits"):
        read_picture(path)


def test_the_stretch_follows_sky_and_noise():
    rng = np.random.default_rng(1)
    data = rng.normal(3, 0.1, (300, 300))
    data[100:110, 100:110] = 500
    data[:, :40] = np.nan
    low, high, knee = stretch_limits(data)
    assert low == pytest.approx(3 - 0.3, abs=0.02)
    assert knee == pytest.approx(0.4, rel=0.1)
    assert 5 < high <= 500


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_the_stretch_of_an_empty_image_is_usable(value):
    low, high, knee = stretch_limits(np.full((20, 20), value))
    assert low < high
    assert knee > 0
