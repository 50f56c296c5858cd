"""Headers say what the pipeline needs and what the telescope was told."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from webbmosaic.files.models import save_model
from webbmosaic.simulate.geometry import pixel_to_v2v3
from webbmosaic.simulate.headers import uncal_model
from webbmosaic.simulate.program import exposures, make_program

#: Without one of these, detector1 or image2 of jwst 3.0 fails or calibrates wrongly.
NEEDED = [
    "DATE-OBS", "TIME-OBS", "INSTRUME", "DETECTOR", "SUBARRAY", "READPATT", "FILTER",
    "EXP_TYPE", "NGROUPS", "NFRAMES", "GROUPGAP", "TGROUP", "TFRAME", "SUBSTRT1",
    "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "FASTAXIS", "SLOWAXIS", "EFFEXPTM",
    "NOUTPUTS", "NINTS", "ZEROFRAM", "PROGRAM", "OBSERVTN", "VISIT", "VISITGRP",
    "SEQ_ID", "ACT_ID", "EXPOSURE", "TSOVISIT", "VISITYPE", "TARGTYPE", "FILENAME",
    "DATE-BEG", "DATE-END", "EXPSTART",
]  # fmt: skip
NEEDED_OF_THE_IMAGE = [
    "V2_REF", "V3_REF", "VPARITY", "V3I_YANG", "RA_REF", "DEC_REF", "ROLL_REF",
    "VA_SCALE", "RA_V1", "DEC_V1", "PA_V3",
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One exposure of each instrument and channel: name -> (exposure, file)."""
    folder = tmp_path_factory.mktemp("uncal")
    found = {}
    for exposure in exposures(make_program(ngroups=2)):
        frame = exposure.setup.aperture
        if frame.detector not in found:
            ramp = np.full((1, 2, frame.ny, frame.nx), 7, np.uint16)
            path = folder / f"{exposure.name}_uncal.fits"
            save_model(uncal_model(exposure, ramp), path)
            found[frame.detector] = exposure, path
    return found


@pytest.mark.parametrize("detector", ["NRCB1", "NRCBLONG", "MIRIMAGE"])
def test_all_that_the_pipeline_needs_is_there(written, detector):
    exposure, path = written[detector]
    with fits.open(path) as file:
        assert [k for k in NEEDED if k not in file[0].header] == []
        assert [k for k in NEEDED_OF_THE_IMAGE if k not in file["SCI"].header] == []
        assert "ASDF" in file
        assert file["SCI"].data.dtype == np.uint16
        assert file["SCI"].data.shape == (1, 2, *exposure.setup.aperture.shape)
        assert ("PUPIL" in file[0].header) == (detector != "MIRIMAGE")


def test_the_header_holds_the_commanded_pointing(written):
    exposure, path = written["NRCB1"]
    header = fits.getheader(path, "SCI")
    assert header["RA_REF"] == exposure.commanded.ra_ref
    assert header["ROLL_REF"] == exposure.commanded.roll_ref
    assert header["RA_REF"] != exposure.actual.ra_ref


@pytest.mark.parametrize("detector", ["NRCB1", "NRCBLONG", "MIRIMAGE"])
def test_the_linear_wcs_is_right_but_for_the_distortion(written, detector):
    exposure, path = written[detector]
    frame = exposure.setup.aperture
    x, y = np.array([20.0, 150.0, 90.0]), np.array([30.0, 60.0, 155.0])
    header = fits.getheader(path, "SCI")
    for key in ("NAXIS3", "NAXIS4"):
        del header[key]
    header["NAXIS"] = 2
    ra, dec = WCS(header).pixel_to_world_values(x, y)
    exact = exposure.commanded.to_sky(*pixel_to_v2v3(frame, x, y))
    scale = np.cos(np.deg2rad(dec))
    error = np.hypot((ra - exact[0]) * scale, dec - exact[1]) * 3600
    assert error.max() < 2 * frame.pixel_scale


def test_equal_exposures_are_equal_files(written, tmp_path):
    exposure, path = written["NRCB1"]
    ramp = fits.getdata(path)
    again = tmp_path / path.name
    save_model(uncal_model(exposure, ramp), again)
    assert again.read_bytes() == path.read_bytes()
