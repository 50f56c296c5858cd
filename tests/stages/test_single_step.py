"""One step on one file: what is written, and what is said when nothing is."""

import re

import numpy as np
import pytest
from stdatamodels.jwst.datamodels import ImageModel, Level1bModel

from small_rates import write_rate
from webbmosaic.errors import (
    InputError,
    ReferenceFileError,
    StorageError,
    UsageError,
)
from webbmosaic.files.masks import write_regions
from webbmosaic.files.models import open_image
from webbmosaic.settings import Settings, Stripes
from webbmosaic.stages.single_step import run_single_step, work_folder

NAME = "jw01345002001_14201_00001_nrcb4"
SQUARE = np.array([[9.5, 19.5], [29.5, 19.5], [29.5, 44.5], [9.5, 44.5]])


@pytest.fixture
def rate(tmp_path, monkeypatch):
    monkeypatch.delenv("CRDS_CONTEXT", raising=False)
    return write_rate(tmp_path / "work", NAME)


def test_the_work_folder_is_that_of_the_file_or_where_it_is(rate, tmp_path):
    assert work_folder(rate) == tmp_path / "work"
    for stray in (tmp_path / rate.name, tmp_path / "x" / "a.fits"):
        assert work_folder(stray) == stray.parent


def test_masks_beside_a_stray_file_are_used(rate, tmp_path):
    stray = tmp_path / f"{NAME}_rate.fits"
    stray.write_bytes(rate.read_bytes())
    write_regions(tmp_path / "masks" / f"{NAME}.reg", [SQUARE], [])
    out = tmp_path / "out.fits"
    before = stray.read_bytes()
    assert run_single_step("claws", stray, out, Settings())["pixels"] == 500
    assert stray.read_bytes() == before
    assert np.count_nonzero(open_image(out).dq) == 500
    run_single_step("claws", stray, stray, Settings())
    once = open_image(stray).dq.copy()
    run_single_step("claws", stray, stray, Settings())
    np.testing.assert_array_equal(open_image(stray).dq, once)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("claws", "no mask for this exposure in .*work/masks"),
        ("wisps", "no wisps_nrcb4_F200W.fits"),
    ],
)
def test_nothing_to_do_is_said_and_the_image_stays(rate, step, why, tmp_path):
    before, out = rate.read_bytes(), tmp_path / "out.fits"
    said = run_single_step(step, rate, rate, Settings())["status"]
    assert re.search(rf"^skipped: .*{why}", said)
    assert rate.read_bytes() == before
    run_single_step(step, rate, out, Settings())  # the next step finds its input
    np.testing.assert_array_equal(open_image(out).data, open_image(rate).data)


@pytest.fixture
def bare(tmp_path):
    model = ImageModel(data=np.random.default_rng(1).normal(size=(64, 64)))
    model.dq, model.err = np.zeros((64, 64), np.uint32), np.ones((64, 64))
    model.meta.exposure.type, model.meta.subarray.name = "NRC_IMAGE", "SUB64P"
    chip, frame = model.meta.instrument, model.meta.subarray
    chip.name, chip.detector, chip.filter, chip.pupil = (
        *("NIRCAM", "NRCB4"),
        *("F200W", "CLEAR"),
    )
    frame.fastaxis, frame.slowaxis = 1, -2
    path = tmp_path / "bare.fits"
    model.save(str(path))
    return path


def test_stripes_need_few_keywords(bare, tmp_path):
    run_single_step("stripes", bare, tmp_path / "out.fits", Settings())
    assert open_image(tmp_path / "out.fits").err.min() > 1
    with pytest.raises(InputError, match="lacks the keywords DATE-OBS"):
        run_single_step("persistence", bare, bare, Settings())


def test_who_asks_for_a_step_gets_it(bare):
    off = Settings(stripes=Stripes(enabled=False))
    assert run_single_step("stripes", bare, bare, off)["rms_before"] > 0


def test_how_it_was_read_must_be_known(rate):
    with pytest.raises(InputError, match="lacks FASTAXIS"):
        run_single_step("stripes", rate, rate, Settings())


def test_the_sky_is_not_subtracted_twice(rate):
    level = run_single_step("sky", rate, rate, Settings())["level"]
    again = run_single_step("sky", rate, rate, Settings())
    assert again["status"] == "skipped: its sky was subtracted before"
    assert open_image(rate).meta.background.level == pytest.approx(level)


def test_the_flat_needs_pinned_references(rate):
    with pytest.raises(ReferenceFileError, match="no CRDS context is pinned"):
        run_single_step("flat", rate, rate, Settings())


def test_unknown_steps_are_named(rate):
    with pytest.raises(UsageError, match="there is no step 'stripe'"):
        run_single_step("stripe", rate, rate, Settings())


def test_a_place_that_cannot_be_written_is_said(rate, tmp_path):
    (tmp_path / "file").write_text("no folder")
    target = tmp_path / "file" / "out.fits"
    with pytest.raises(StorageError, match=r"out\.fits: cannot be written"):
        run_single_step("sky", rate, target, Settings())


def test_regions_on_the_sky_without_references_are_said(rate, monkeypatch):
    from jwst.assign_wcs import AssignWcsStep

    def give_up(*_, **__):
        raise SystemExit(255)

    monkeypatch.setattr(AssignWcsStep, "call", give_up)
    masks = rate.parents[2] / "masks"
    masks.mkdir()
    (masks / f"{NAME}.reg").write_text('fk5\ncircle(53,-27.8,2")\n')
    with pytest.raises(ReferenceFileError, match="set CRDS_PATH"):
        run_single_step("claws", rate, rate, Settings())


@pytest.mark.parametrize("step", ["wisps", "snowballs", "sky"])
def test_raw_ramps_are_no_images_and_stay(tmp_path, step):
    path = tmp_path / f"{NAME}_uncal.fits"
    model = Level1bModel(data=np.zeros((1, 2, 8, 8), np.uint16))
    model.meta.exposure.type, model.meta.instrument.name = "NRC_FLAT", "NIRCAM"
    model.save(str(path))
    before = path.read_bytes()
    with pytest.raises(InputError, match="no single image"):
        run_single_step(step, path, path, Settings())
    assert path.read_bytes() == before
