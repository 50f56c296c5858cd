"""Steps on models in memory: what they change, and what they leave alone."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from webbmosaic.datasets import Dataset
from webbmosaic.files.masks import write_regions
from webbmosaic.files.wisp_templates import VARIABLE, template_name
from webbmosaic.settings import Settings, Snowballs, Wisps
from webbmosaic.settings_file import read_settings
from webbmosaic.stages.artefacts import (
    claws,
    extra_inputs,
    note_ramp,
    snowball_areas,
    snowballs,
    watch_ramp,
    wisps,
    with_folders,
)

NAME = "jw01345002001_14201_00001_nrcb4"
SIDE = 256
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)
WISP = np.exp(-0.5 * ((Y - 120 - 0.4 * (X - 128)) / 18) ** 2).astype(np.float32)
SQUARE = np.array([[9.5, 19.5], [29.5, 19.5], [29.5, 44.5], [9.5, 44.5]])


def make_model(data=None, *, detector="NRCB4", pupil="CLEAR", name=NAME):
    from stdatamodels.jwst.datamodels import ImageModel

    rng = np.random.default_rng(3)
    noise = rng.normal(2, 1, (SIDE, SIDE))
    model = ImageModel(data=(noise if data is None else data + noise).astype("f4"))
    model.err = np.ones((SIDE, SIDE), np.float32)
    model.var_rnoise = np.ones((SIDE, SIDE), np.float32)
    model.dq = np.zeros((SIDE, SIDE), np.uint32)
    model.meta.filename = f"{name}_rate.fits"
    model.meta.instrument.name = "NIRCAM"
    model.meta.instrument.detector = detector
    model.meta.instrument.filter = "F200W" if pupil == "CLEAR" else "F150W2"
    model.meta.instrument.pupil = pupil
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    return model


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def planted(work, filter_name="F200W"):
    folder = work / "wisp_templates"
    folder.mkdir(exist_ok=True)
    path = folder / template_name("nrcb4", filter_name)
    fits.PrimaryHDU(WISP).writeto(path)
    return path


def settings(work, **sections):
    return with_folders(read_settings(None, sections), work)


def test_a_wisp_is_subtracted_and_its_error_added(work):
    planted(work)
    model = make_model(1.5 * WISP)
    numbers = wisps(model, settings(work))
    assert numbers["status"] == "subtracted"
    assert numbers["amplitudes"][0] == pytest.approx(1.5, abs=0.15)
    assert np.median(model.data[WISP > 0.8]) == pytest.approx(2, abs=0.1)
    error = numbers["errors"][0]
    np.testing.assert_allclose(model.err**2, 1 + (error * WISP) ** 2, rtol=1e-4)
    np.testing.assert_allclose(model.var_rnoise, model.err**2, rtol=1e-4)
    with pytest.warns(UserWarning, match="history"):
        assert "Removed wisps" in str(model.history[0])


def test_no_wisp_nothing_changes(work):
    planted(work)
    model = make_model()
    before = model.data.copy()
    numbers = wisps(model, settings(work))
    assert "no significant wisp" in numbers["status"]
    np.testing.assert_array_equal(model.data, before)
    assert (model.err == 1).all()


def test_without_a_template_there_is_a_warning_and_no_abort(work, caplog):
    with caplog.at_level(logging.WARNING):
        numbers = wisps(make_model(), settings(work))
    assert numbers == {"status": "skipped: no wisps_nrcb4_F200W.fits"}
    assert "wisps_nrcb4_F200W.fits" in caplog.text


def test_other_detectors_have_no_wisps(work, caplog):
    assert wisps(make_model(detector="NRCB1"), settings(work)) is None
    assert not caplog.text


def test_a_filter_in_the_pupil_wheel_looks_for_its_own_template(work):
    planted(work)
    model = make_model(1.5 * WISP, pupil="F162M")
    assert wisps(model, settings(work)) is None
    planted(work, "F162M")
    assert wisps(model, settings(work))["status"] == "subtracted"


def test_a_given_template_is_used_for_any_detector(work):
    path = planted(work)
    model = make_model(1.5 * WISP, detector="NRCB1")
    given = settings(work, wisps={"template_file": str(path)})
    assert wisps(model, given)["status"] == "subtracted"


def test_bad_pixels_do_not_count(work):
    planted(work)
    model = make_model(1.5 * WISP)
    model.data[100:150], model.dq[100:150] = 500, 1
    numbers = wisps(model, settings(work))
    assert numbers["amplitudes"][0] == pytest.approx(1.5, abs=0.2)


def test_masks_are_flagged_and_the_data_stay(work):
    write_regions(work / "masks" / "jw01345002001.reg", [SQUARE], [])
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[100:110, 100:110] = 1
    fits.PrimaryHDU(image).writeto(work / "masks" / f"{NAME}_claw.fits")
    model = make_model()
    before = model.data.copy()
    numbers = claws(model, settings(work))
    assert numbers["pixels"] == 20 * 25 + 100
    flagged = model.dq == 1 | 2**30
    assert flagged.sum() == numbers["pixels"]
    assert flagged[105, 105]
    np.testing.assert_array_equal(model.data, before)
    assert len({f["sha256"] for f in numbers["files"]}) == 2


def test_masks_twice_are_masks_once(work):
    write_regions(work / "masks" / "jw01345002001.reg", [SQUARE], [])
    model = make_model()
    claws(model, settings(work))
    once = model.dq.copy()
    claws(model, settings(work))
    np.testing.assert_array_equal(model.dq, once)


def test_without_masks_the_step_does_not_apply(work):
    assert claws(make_model(), settings(work)) is None


class OnSky:
    """A model with a WCS that everything goes through."""

    def __init__(self):
        from astropy.wcs import WCS

        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval, wcs.wcs.crpix = (53.0, -27.8), (101.0, 81.0)
        wcs.wcs.cdelt = -0.03 / 3600, 0.03 / 3600
        self.data = np.zeros((SIDE, SIDE))
        self.dq = np.zeros((SIDE, SIDE), np.uint32)
        light = SimpleNamespace(filter="F200W", pupil="CLEAR")
        self.meta = SimpleNamespace(
            filename=f"{NAME}_rate.fits", wcs=wcs, instrument=light
        )
        self.sky = wcs.pixel_to_world_values

    def add_history_entry(self, *text):
        """Nobody reads it."""


def draw(work, text):
    (work / "masks").mkdir(exist_ok=True)
    (work / "masks" / f"{NAME}.reg").write_text(text)
    model = OnSky()
    numbers = claws(model, settings(work))
    return model.dq > 0, numbers


def test_regions_on_the_sky_go_through_the_wcs(work):
    mask, _ = draw(work, 'icrs\ncircle(53.0,-27.8,0.3")\n')
    far = np.hypot(X - 100, Y - 80)
    assert mask[far < 9.4].all()
    assert not mask[far > 10.6].any()


def test_sky_and_pixel_regions_in_one_file_with_holes(work):
    corners = [(10, 150), (60, 150), (60, 200), (10, 200)]
    ring = ",".join(f"{c:.9f}" for p in corners for c in OnSky().sky(*p))
    text = f'icrs\npolygon({ring})\nellipse(53.0,-27.8,0.6",0.3",0)\n'
    mask, _ = draw(work, text + "image\n-circle(101,81,4.5)\nbox(201,51,20,10,90)\n")
    assert mask[151:199, 11:59].all()
    # Position angles of DS9's sky regions turn from west to north: along x here.
    assert mask[80, 118]
    assert not mask[98, 100]
    assert not mask[80, 100]
    assert mask[58, 200]
    assert mask.sum() == pytest.approx(
        50 * 50 + np.pi * (20 * 10 - 4.5**2) + 200, rel=0.03
    )


@pytest.mark.parametrize(
    "place",
    ["53.05,-27.8", "233.0,27.8", "53.0,89.9", "0:00:00,-27:48:00"],
)
def test_a_region_elsewhere_on_the_sky_masks_nothing(work, place):
    mask, numbers = draw(work, f'fk5\ncircle({place},0.3")\n')
    assert not mask.any()
    assert numbers["pixels"] == 0


def test_a_region_may_reach_over_the_edge(work):
    ra, dec = OnSky().sky(-5, 100)
    mask, _ = draw(work, f'icrs\ncircle({ra:.9f},{dec:.9f},0.3")\n')
    assert np.count_nonzero(mask ^ (np.hypot(X + 5, Y - 100) < 10)) < 8
    assert mask.sum() > 50


def test_a_file_of_any_name_is_known_by_its_header(work):
    write_regions(work / "masks" / "jw01345002001_nrcb4.reg", [SQUARE], [])
    model = make_model(name="mine")
    assert claws(model, settings(work)) is None
    known = model.meta.observation
    known.program_number, known.observation_number = "01345", "002"
    known.visit_number, known.visit_group, known.sequence_id = "001", "14", "2"
    known.activity_id, known.exposure_number = "01", "1"
    assert claws(model, settings(work))["pixels"] == 20 * 25


def test_what_decides_the_product_is_listed(work):
    template = planted(work)
    mask = work / "masks" / f"{NAME}.reg"
    write_regions(mask, [SQUARE], [])
    dataset = Dataset.parse(NAME)
    given = settings(work)
    both = {"masks": (mask,), "wisps": (template,)}
    assert extra_inputs(given, dataset, "F200W") == both
    assert extra_inputs(given, dataset, "F090W") == {"masks": (mask,), "wisps": ()}
    off = settings(work, wisps={"enabled": False}, masks={"enabled": False})
    assert extra_inputs(off, dataset, "F200W") == {"masks": (), "wisps": ()}


def test_the_users_folders_win(work, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/env")
    assert with_folders(Settings(), work).wisps.template_dir == "/env"
    given = Settings(wisps=Wisps(template_dir="mine"))
    assert with_folders(given, work).wisps.template_dir == "mine"
    assert with_folders(given, work).masks.mask_dir == str(work / "masks")


FAR = np.hypot(Y - 90, X - 110)


class Ramp:
    """Group flags of a snowball in group 2, and of a star that fills up."""

    def __init__(self):
        self.groupdq = np.zeros((1, 5, SIDE, SIDE), np.uint8)
        self.groupdq[0, 2][(FAR < 14) & (FAR >= 5)] = 4
        self.groupdq[0, 2:, FAR < 5] = 2


def test_snowballs_of_the_ramp_are_masked_in_the_rate():
    hook, found = watch_ramp(Settings(), Path("ramp.fits"))
    assert hook == "webbmosaic.stages.artefacts.note_ramp"
    note_ramp(Ramp())
    assert len(found) == 1
    model = make_model(20 * np.exp(-FAR / 6))
    numbers = snowballs(model, Settings(), found)
    assert numbers["snowballs"] == 1
    assert (model.dq[FAR < 12] == 1 | 4).all()
    assert (model.dq[FAR > 22] == 0).all()


def test_snowballs_are_found_in_a_rate_file_too():
    model = make_model(20 * np.exp(-FAR / 6))
    model.dq[FAR < 14] = 4
    model.dq[FAR < 5] = 2 | 1
    (circle,) = snowball_areas(model, Settings())
    assert circle == pytest.approx((90, 110, 14), abs=0.6)
    assert snowballs(model, Settings())["snowballs"] == 1


def test_a_saturated_star_is_left_alone():
    model = make_model(3000 / (1 + (FAR / 4) ** 2))
    model.dq[FAR < 14] = 4
    model.dq[FAR < 5] = 2 | 1
    numbers = snowballs(model, Settings())
    assert (numbers["snowballs"], numbers["stars"]) == (0, 1)
    assert model.dq[90, 118] == 4


def test_snowballs_can_be_switched_off():
    off = Settings(snowballs=Snowballs(enabled=False))
    assert snowballs(make_model(), off) is None
