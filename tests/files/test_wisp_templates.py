"""Templates are found by detector and filter, and cut for subarrays."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from webbmosaic.errors import InputError, UsageError
from webbmosaic.files.wisp_templates import (
    VARIABLE,
    find_templates,
    read_template,
    template_folder,
    write_template,
)


def write(path, image):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(path)
    return path


def test_all_components_of_a_detector_and_filter_are_found(tmp_path):
    names = [
        "wisps_nrcb4_F200W.fits",
        "wisps_nrcb4_F200W_2.fits",
        "wisps_nrcb4_F200WX.fits",
        "wisps_nrcb3_F200W.fits",
        "wisps_nrcb4_F162M.fits",
    ]
    for name in names:
        (tmp_path / name).touch()
    found = find_templates(tmp_path, "NRCB4", "F200W")
    assert [p.name for p in found] == names[:2]
    assert [p.name for p in find_templates(tmp_path, "nrcb4", "F162M")] == names[4:]
    assert find_templates(tmp_path / "nowhere", "nrcb4", "F200W") == []


def test_where_templates_are(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert template_folder("", tmp_path) == tmp_path / "wisp_templates"
    monkeypatch.setenv(VARIABLE, "/templates")
    assert template_folder("", tmp_path) == Path("/templates")
    assert template_folder("mine", tmp_path) == Path("mine")


def test_padding_becomes_unknown(tmp_path):
    image = np.arange(48, dtype=np.float32).reshape(6, 8)
    image[:, 0] = 7.5
    template = read_template(write(tmp_path / "a.fits", image), (6, 8))
    assert np.isnan(template[:, 0]).all()
    assert np.isfinite(template[:, 1:]).all()


def test_a_template_without_padding_is_left_alone(tmp_path):
    image = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    template = read_template(write(tmp_path / "a.fits", image), (6, 8))
    np.testing.assert_array_equal(template, image)


def test_a_subarray_is_cut_out(tmp_path):
    image = np.arange(400, dtype=np.float32).reshape(20, 20)
    template = read_template(write(tmp_path / "a.fits", image), (4, 5), (11, 3))
    np.testing.assert_array_equal(template, image[2:6, 10:15])


def test_a_template_that_does_not_cover_the_frame_is_refused(tmp_path):
    path = write(tmp_path / "a.fits", np.zeros((20, 20), np.float32))
    with pytest.raises(InputError, match="does not cover"):
        read_template(path, (10, 10), (15, 15))


def test_files_without_an_image_are_named(tmp_path):
    path = tmp_path / "a.fits"
    path.write_text("nothing")
    with pytest.raises(InputError, match=r"a\.fits"):
        read_template(path, (4, 4))
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(InputError, match="no 2D image"):
        read_template(path, (4, 4))


def test_a_template_is_written_with_its_weight_and_exposures(tmp_path):
    path = tmp_path / "wisps_nrcb4_F200W.fits"
    template = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    planes = (template, np.ones_like(template))
    write_template(path, planes, [("jw1", 0.5), ("jw22", 0.25)], {"FILTER": "F200W"})
    np.testing.assert_array_equal(read_template(path, (6, 8)), template)
    with fits.open(path) as hdus:
        assert hdus[0].header["FILTER"] == "F200W"
        assert list(hdus["EXPOSURES"].data["exposure"]) == ["jw1", "jw22"]
        assert hdus["WEIGHT"].data.sum() == 48
    with pytest.raises(UsageError, match="none are given"):
        write_template(path, planes, [], {})
