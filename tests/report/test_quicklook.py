import numpy as np
import pytest
from matplotlib.image import imread

from webbmosaic.report.pictures import read_picture
from webbmosaic.report.quicklook import (
    make_pictures,
    write_pair,
    write_quicklook,
    write_thumbnail,
)


@pytest.fixture
def starry(tmp_path, image_writer, sky_wcs):
    """A noisy frame with a bright block at the lower left, and a dead strip on top."""
    data = np.random.default_rng(0).normal(0, 1, (100, 100))
    data[20:30, 10:20] += 500
    dq = np.zeros(data.shape, int)
    dq[90:] = 1
    path = tmp_path / "one_cal.fits"
    return image_writer(path, data, dq=dq, wcs=sky_wcs(data.shape))


def test_the_thumbnail_shows_light_and_dead_pixels_where_they_are(tmp_path, starry):
    write_thumbnail(read_picture(starry), tmp_path / "small.png")
    seen = imread(tmp_path / "small.png")[::-1, :, :3]
    assert seen.shape[:2] == (100, 100)
    assert (seen[22:28, 12:18] > 0.99).all()
    assert seen[40:80].mean() < 0.3
    blue = seen[91:, :, 2] - seen[91:, :, 0]
    assert (blue > 0.1).all(), "dead pixels have a colour of their own"
    assert np.ptp(seen[:89], axis=2).max() < 0.01


def test_the_quicklook_has_the_picture_and_axes(tmp_path, starry):
    write_quicklook(read_picture(starry), tmp_path / "a.png", title="one")
    seen = imread(tmp_path / "a.png")[..., :3]
    dark = (seen.mean(axis=2) < 0.5).mean()
    assert 0.4 < dark < 0.9
    assert min(seen.shape[:2]) > 500
    left = seen[:, :90].mean(axis=2)
    assert (left < 0.5).sum() > 50, "no labels beside the picture"


@pytest.mark.parametrize("shape", [(64, 2048), (300, 40)])
def test_thin_frames_stay_visible(tmp_path, image_writer, sky_wcs, shape):
    data = np.random.default_rng(0).normal(0, 1, shape)
    path = image_writer(tmp_path / "thin_cal.fits", data, wcs=sky_wcs(shape))
    write_quicklook(read_picture(path), tmp_path / "a.png")
    assert min(imread(tmp_path / "a.png").shape[:2]) > 150


def test_an_image_without_any_data_can_be_drawn(tmp_path, image_writer, sky_wcs):
    path = image_writer(
        tmp_path / "nil_i2d.fits", np.full((50, 60), np.nan), wcs=sky_wcs((50, 60))
    )
    make_pictures(path, tmp_path / "a.png", thumbnail=tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert imread(tmp_path / "b.png").shape[:2] == (50, 60)


def test_a_pair_has_one_stretch(tmp_path, image_writer, sky_wcs):
    """The same scene with more noise looks noisier, not the same."""
    rng = np.random.default_rng(0)
    wcs = sky_wcs((100, 100))
    paths = [
        image_writer(tmp_path / f"{n}_i2d.fits", rng.normal(7, n, (100, 100)), wcs=wcs)
        for n in (5, 1)
    ]
    before, after = (read_picture(path) for path in paths)
    write_pair(before, after, tmp_path / "pair.png", titles=("Before", "After"))
    seen = imread(tmp_path / "pair.png")[..., 0]
    height, width = seen.shape
    row = slice(height // 4, 3 * height // 4)
    left = seen[row, width // 6 : 2 * width // 6]
    right = seen[row, 4 * width // 6 : 5 * width // 6]
    assert left.std() > 2.5 * right.std()
