"""The main job: raw ramps to a mosaic that agrees with the truth, and again dully."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from commands import typed
from webbmosaic.compat import translate
from webbmosaic.files.ledger import read_record
from webbmosaic.report.truth import compare_with_truth, read_truth

GROUP = "jw09901_obs001_NIRCAM_F444W"
UNDERSAMPLED = ("--filter", "F115W", "--detector", "NRCB1", "--visits", 1)
REAL = Path(__file__).parents[2] / "shared" / "data" / "niriss_sub80"


@pytest.fixture(scope="module")
def reduced(raw, crds, tmp_path_factory):
    """Four dithers, reduced to a mosaic in one go."""
    work = tmp_path_factory.mktemp("reduced")
    typed("prepare", raw / "mastDownload", "-C", work)
    catalogue = ("--abs-refcat", raw / "reference_stars.ecsv")
    done = typed("run", "-C", work, "-j", 2, *catalogue, env=crds)
    return work, done


def again(work, raw, crds, *more):
    catalogue = ("--abs-refcat", raw / "reference_stars.ecsv")
    return typed("run", "-C", work, "-j", 2, *catalogue, *more, env=crds).stdout


def mosaic_of(work):
    return work / "calibrated3_mosaic" / GROUP / f"{GROUP}_i2d.fits"


def test_every_product_is_there(reduced):
    work, done = reduced
    assert len(list(work.glob("jw*/calibrated1_rates/*_rate.fits"))) == 4
    assert len(list(work.glob("jw*/calibrated2_cals/*_cal.fits"))) == 4
    beside = {p.name for p in mosaic_of(work).parent.iterdir()}
    expected = {
        f"{GROUP}_i2d.fits",
        f"{GROUP}_cat.ecsv",
        f"{GROUP}_segm.fits",
        "asn.json",
    }
    assert expected <= beside
    assert "stage3: 1 done" in done.stdout


def test_the_pipeline_talks_to_its_logs_only(reduced):
    work, done = reduced
    assert "INFO" not in done.stdout + done.stderr
    for log in work.glob("jw*/logs/stage1.log"):
        assert "Step ramp_fit done" in log.read_text()


def test_running_again_is_dull(reduced, raw, crds):
    said = again(reduced[0], raw, crds)
    assert said.strip() == "nothing to do: all 14 products are current"


def test_a_changed_setting_redoes_what_depends_on_it(reduced, raw, crds):
    said = again(reduced[0], raw, crds, "--dry-run", "--set", "outliers.beside=3.5")
    stale = [line for line in said.splitlines() if "current" not in line]
    assert stale == [
        "stage3: 1 of 1 tasks to run",
        f"  {GROUP}: settings changed (outliers.beside: 3.0 to 3.5)",
    ]


@pytest.mark.parametrize(
    "harmless",
    [
        "detector1.maximum_cores=all",
        "stripes.save_diagnostics=/tmp/none",
        "masks.threshold=9",
    ],
)
def test_what_reaches_no_pixel_redoes_nothing(reduced, raw, crds, harmless):
    said = again(reduced[0], raw, crds, "--dry-run", "--set", harmless)
    assert said.strip() == "nothing to do: all 14 products are current"


def test_the_flat_is_applied_once_and_errors_follow(reduced):
    for path in reduced[0].glob("jw*/calibrated2_cals/*_cal.fits"):
        with fits.open(path) as hdus:
            assert hdus[0].header["S_FLAT"] == "COMPLETE"
            parts = [hdus[f"VAR_{n}"].data for n in ("POISSON", "RNOISE", "FLAT")]
            good = (hdus["DQ"].data & 1) == 0
            np.testing.assert_allclose(
                hdus["ERR"].data[good] ** 2, sum(parts)[good], rtol=1e-3
            )


def test_the_sky_is_recorded_and_gone(reduced):
    for path in reduced[0].glob("jw*/state/stage2.json"):
        sky = read_record(path).numbers["sky"]
        assert 0.2 < sky["level"] < 0.4  # MJy / sr; 0.25 was planted, and faint light
        cal = next(path.parents[1].glob("calibrated2_cals/*_cal.fits"))
        with fits.open(cal) as hdus:
            assert hdus[0].header["BKGSUB"] is True
            assert hdus[0].header["BKGLEVEL"] == pytest.approx(sky["level"])


def test_alignment_is_reported(reduced):
    record = read_record(mosaic_of(reduced[0]).parent / "state" / "stage3.json")
    found = record.numbers["alignment"]
    assert len(found) == 4
    for one in found:
        assert one["status"] == "COMPLETE"
        assert one["matches"] >= 4
        assert one["residual_mas"] < 6
        assert np.hypot(*one["shift_mas"]) > 10  # the planted pointing error of a visit


def test_the_mosaic_agrees_with_the_truth(reduced, raw):
    """Small frames hold few stars: wider than what full frames must reach."""
    found = compare_with_truth(mosaic_of(reduced[0]), read_truth(raw / "truth.ecsv"))
    assert found.stars >= 5
    assert abs(found.flux) < 2
    assert found.flux_mad < 2.5
    assert np.hypot(found.ra, found.dec) < 3
    assert found.position_mad < 3


@pytest.fixture(scope="module")
def undersampled(tmp_path_factory):
    """Four dithers in a filter whose stars are narrower than two pixels."""
    folder = tmp_path_factory.mktemp("undersampled")
    typed("simulate", folder / "raw", *UNDERSAMPLED, "--dithers", 4)
    raw, work = folder / "raw", folder / "work"
    crds = {"CRDS_PATH": str(raw / "crds_cache"), "CRDS_CONTEXT": "jwst_0001.pmap"}
    typed("prepare", raw / "mastDownload", "-C", work)
    catalogue = ("--abs-refcat", raw / "reference_stars.ecsv")
    typed("run", "-C", work, "-j", 2, *catalogue, env=crds)
    return work, raw


def test_undersampled_stars_keep_their_light(undersampled):
    """The pipeline's own outlier detection takes 20 % of it."""
    work, raw = undersampled
    i2d = next(work.glob("calibrated3_mosaic/*/*_i2d.fits"))
    found = compare_with_truth(i2d, read_truth(raw / "truth.ecsv"))
    assert found.stars >= 3
    assert abs(found.flux) < 1


def test_outliers_are_recorded_by_magnitude(undersampled):
    path = next(undersampled[0].glob("calibrated3_mosaic/*/state/stage3.json"))
    numbers = read_record(path).numbers["outliers"]
    assert all(0 < share < 5e-3 for share in numbers["fractions"])
    assert all(share > 0.9 for share in numbers["compared"])
    assert all(0.8 < noise < 1.3 for noise in numbers["noise"])
    bright = [b for mag, b in numbers["by_magnitude"].items() if int(mag) < 22]
    assert sum(b["sources"] for b in bright) >= 5
    assert all(b["rejected"] < 0.01 for b in bright)


def test_too_many_outliers_fail_with_a_sentence(undersampled):
    work, _ = undersampled
    cals = sorted(work.glob("jw*/calibrated2_cals/*_cal.fits"))
    words = ("--set", "outliers.max_rejected=0.00001", "-o", work / "x_i2d.fits")
    done = typed("mosaic", *cals, *words, check=1)
    assert "differ from the other exposures" in done.stdout + done.stderr
    assert not (work / "x_i2d.fits").exists()


def test_the_tables(reduced):
    folder = reduced[0] / "calibrated3_mosaic"
    with (folder / "mosaic_info_table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [r["filter"] for r in rows] == ["F444W"] * 4
    assert list(rows[0])[:4] == ["program", "obs_num", "target_group", "target_name"]
    assert all((folder / row["file_path"]).is_file() for row in rows)
    listing = json.loads((folder / "mosaic_info_table.json").read_text())
    path = f"{GROUP}/{GROUP}_i2d.fits"
    assert len(listing[path]) == 4
    out = (folder / "mosaic_info_table.out").read_text().split()
    assert out == [path]
    with (folder / "list_obs.csv").open() as stream:
        (product,) = csv.DictReader(stream)
    assert product["name"] == GROUP
    assert product["path"] == path
    assert product["members"] == "4"
    times = [fits.getval(folder / row["file_path"], "EFFEXPTM") for row in rows]
    assert float(product["exposure_time"]) == pytest.approx(sum(times), rel=1e-4)
    assert float(product["pixel_scale"]) == pytest.approx(0.063, rel=0.02)
    assert int(product["catalogue_matches"]) >= 3
    assert abs(float(product["offset_east_mas"])) < 3
    assert 22 < float(product["depth_abmag"]) < 30
    assert (folder / "mosaic_info_table.txt").read_text().startswith("# program")


def test_the_report(reduced, raw):
    truth = raw / "truth.ecsv"
    said = typed("report", "-C", reduced[0], "--truth", truth).stdout
    page = (reduced[0] / "report" / "index.html").read_text()
    assert GROUP in said
    assert GROUP in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert len(list((reduced[0] / "report").rglob("*.png"))) >= 9


def test_the_predecessors_commands_do_the_same(reduced, crds):
    """Presorting rewrites the table; the old names of mosaics are links."""
    work, _ = reduced
    table = work / "table_of_jwst_dataset_visit_instrument_filter_groups.csv"
    table.unlink()
    old = translate("go-jwst-imaging-presort-visits.py", [str(work)])
    assert "4 exposures" in typed(*old).stdout
    assert table.read_text().startswith("group_id,group_size,dataset_name")
    cals = sorted(map(str, work.glob("jw*/calibrated2_cals/*_cal.fits")))
    out = work / "calibrated_mosaic_multiobs"
    words = [*cals, "--combine-obsnum", "--pixel-scale", "0.060", str(out)]
    typed(*translate("go-jwst-imaging-stage-3-step-1.py", words), "-C", work, env=crds)
    assert (out / "001_NIRCAM_F444W" / f"{GROUP}_i2d.fits").exists()
    with fits.open(out / GROUP / f"{GROUP}_i2d.fits") as hdus:
        scale = abs(hdus["SCI"].header["CDELT1"]) * 3600
    assert scale == pytest.approx(0.06, rel=1e-3)


def test_one_step_on_one_file(reduced, crds, tmp_path):
    rate = next(reduced[0].glob("jw*/calibrated1_rates/*_rate.fits"))
    out = tmp_path / rate.name
    before = rate.read_bytes()
    said = typed("step", "stripes", rate, "-o", out, env=crds).stdout
    assert "rms_after" in said
    assert out.exists()
    assert rate.read_bytes() == before
    assert (
        "there is no step 'stripe'"
        in typed("step", "stripe", rate, env=crds, check=2).stderr
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="the real NIRISS exposures are not there")
def test_a_real_star_is_round_and_single(tmp_path):
    cals = sorted(REAL.glob("jw01093014001*_cal.fits"))
    out = tmp_path / "star_i2d.fits"
    typed("mosaic", *cals, "-o", out, "--exp-type", "NIS_AMI")
    image = np.nan_to_num(fits.getdata(out, "SCI"))
    y, x = np.unravel_index(image.argmax(), image.shape)
    core = image[y - 2 : y + 3, x - 2 : x + 3]
    rows, columns = np.mgrid[-2:3, -2:3]
    xx, yy = ((core * m).sum() / core.sum() for m in (columns**2, rows**2))
    assert xx / yy == pytest.approx(1, abs=0.1)
    others = image.copy()
    others[y - 3 : y + 4, x - 3 : x + 4] = 0
    assert others.max() < 0.5 * image.max()


@pytest.mark.skipif(not REAL.is_dir(), reason="the real NIRISS exposures are not there")
def test_another_exposure_type_is_refused_unless_accepted(tmp_path):
    cal = next(REAL.glob("*_cal.fits"))
    done = typed("mosaic", cal, "-o", tmp_path / "x_i2d.fits", check=2)
    assert "accept it with --exp-type NIS_AMI" in done.stderr
    assert not list(tmp_path.iterdir())
