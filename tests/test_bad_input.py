"""Broken and foreign input: a sentence each, the others go on, nothing is written."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits

from commands import typed, uncals
from webbmosaic.datasets import Dataset, Workspace
from webbmosaic.files.ledger import read_record


def renamed(work, exposure):
    """Lay out a further exposure, a copy of the first, under another number."""
    source = uncals(work)[0]
    name = source.name.replace("_00001_", f"_{exposure:05d}_")
    target = work / name.removesuffix("_uncal.fits") / "uncals" / name
    target.parent.mkdir(parents=True)
    shutil.copy(source, target)
    return target


def truncated(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("this is no FITS file\n" * 100)


def without_asdf(path):
    with fits.open(path) as hdus:
        kept = fits.HDUList([h.copy() for h in hdus if h.name != "ASDF"])
        kept.writeto(path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def without_keyword(path):
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["READPATT"]


def spectrum(path):
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["EXP_TYPE"] = "NRC_WFSS"


def saturated(path):
    with fits.open(path, mode="update") as hdus:
        hdus["SCI"].data[:] = np.uint16(65535)


BROKEN = {
    11: (
        truncated,
        "failed",
        r"jw.*00011_nrcblong_uncal.fits: .*(truncated|incomplete)",
    ),
    12: (empty, "failed", r"jw.*00012_nrcblong_uncal.fits: .*empty"),
    13: (text, "failed", r"jw.*00013_nrcblong_uncal.fits: .*FITS"),
    14: (without_asdf, "failed", r"jw.*00014_nrcblong_uncal.fits: .*ASDF"),
    15: (without_keyword, "failed", r"jw.*00015_nrcblong_uncal.fits: .*READPATT"),
    16: (spectrum, "skipped", r"jw.*00016_nrcblong_uncal.fits: EXP_TYPE is NRC_WFSS"),
    17: (saturated, "unusable", r"jw.*00017_nrcblong_uncal.fits: only .* usable"),
}


@pytest.fixture(scope="module")
def broken(raw, crds, tmp_path_factory):
    """One good exposure and one of each kind of trouble, after stage 1."""
    work = tmp_path_factory.mktemp("broken")
    typed("prepare", raw / "mastDownload", "-C", work, "--copy")
    for path in uncals(work)[1:]:
        shutil.rmtree(path.parents[1])
    for number, (damage, _, _) in BROKEN.items():
        damage(renamed(work, number))
    done = typed("stage1", "-C", work, "-j", 2, env=crds, check=1)
    return work, done


@pytest.mark.parametrize("number", BROKEN)
def test_each_trouble_has_its_sentence(broken, number):
    work, done = broken
    _, outcome, sentence = BROKEN[number]
    dataset = next(
        d for d in Workspace(work).datasets() if d.exposure == f"{number:05d}"
    )
    record = read_record(Workspace(work).record(dataset, "stage1"))
    assert record.outcome == outcome
    assert record.sentence
    assert re.search(sentence, record.sentence), record.sentence
    assert record.sentence in done.stdout
    assert not Workspace(work).rate(dataset).exists()


def test_the_others_are_done(broken):
    work, done = broken
    good = next(d for d in Workspace(work).datasets() if d.exposure == "00001")
    assert Workspace(work).rate(good).exists()
    assert "stage1: 1 done, 5 failed, 1 skipped, 1 unusable" in done.stdout


def test_status_tells_the_same(broken, crds):
    work, _ = broken
    said = typed("status", "-C", work, check=1).stdout
    assert "stage1  1 done  1 skipped  1 unusable  5 failed" in said
    assert "00012_nrcblong_uncal.fits" in said


def test_prepare_refuses_the_broken_and_takes_the_good(broken, tmp_path):
    work, _ = broken
    done = typed("prepare", *uncals(work), "-C", tmp_path, check=1)
    assert "5 broken" in done.stdout
    assert "left out" in done.stdout
    assert "NRC_WFSS" in done.stdout
    laid = {p.name.split("_")[2] for p in uncals(tmp_path)}
    assert laid == {"00001", "00017"}


def test_a_missing_reference_is_named(laid_out, crds, forgetful):
    flats = list(forgetful.rglob("*flat*.fits"))
    for path in flats:
        path.unlink()
    dataset = Dataset.parse(uncals(laid_out)[0].name)
    done = typed(
        *("stage1", dataset, "-C", laid_out, "-j", 1),
        env={**crds, "CRDS_PATH": str(forgetful)},
        check=1,
    )
    assert f"{dataset}: its 'flat' reference {flats[0].name}" in done.stdout


def test_no_context_is_refused(laid_out, crds):
    done = typed("stage1", "-C", laid_out, env={**crds, "CRDS_CONTEXT": ""}, check=1)
    assert "no CRDS context is pinned" in done.stderr


def test_a_killed_run_goes_on_where_it_was(laid_out, crds):
    words = ["stage1", "-C", str(laid_out), "-j", "2"]
    program = [sys.executable, "-m", "webbmosaic.cli", *words]
    process = subprocess.Popen(
        program, env={**os.environ, **crds}, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(laid_out.glob("jw*/calibrated1_rates/*_rate.fits")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in laid_out.glob("jw*/calibrated1_rates/jw*_rate.fits"):
        with fits.open(path) as hdus:  # whole, whenever it appears
            hdus.verify("exception")
    done = typed(*words, env=crds)
    assert "failed" not in done.stdout
    assert len(list(laid_out.glob("jw*/calibrated1_rates/jw*_rate.fits"))) == 4
    assert not list(laid_out.rglob(".[0-9]*-*_rate.fits"))
    assert "nothing to do" in typed(*words, env=crds).stdout
