"""A programme becomes a folder, reproducibly, resumably and without half files."""

import errno
import json
import os
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from webbmosaic.errors import StorageError, UsageError
from webbmosaic.files.products import sha256
from webbmosaic.simulate import observe
from webbmosaic.simulate.effects import Effects
from webbmosaic.simulate.geometry import v2v3_to_pixel
from webbmosaic.simulate.observe import psf_of, simulate, uncal_path
from webbmosaic.simulate.pointing import Pointing
from webbmosaic.simulate.program import exposures, make_program
from webbmosaic.simulate.psf import encircled_energy

PROGRAM = make_program(detectors=("NRCBLONG",), visits=1, dithers=2, ngroups=5, seed=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "a folder's name"
    outcomes = []
    simulate(folder, PROGRAM, report=outcomes.append)
    assert not any(there for _, there in outcomes)
    return folder


def hashes(folder):
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): sha256(p) for p in files}


def names(program=PROGRAM):
    return [e.name for e in exposures(program)]


def test_everything_is_where_users_look_for_it(made):
    for name in names():
        assert uncal_path(made, name) == (
            made / f"mastDownload/JWST/{name}/{name}_uncal.fits"
        )
        assert uncal_path(made, name).is_file()
    assert (made / "crds_cache/config/jwst/server_config").is_file()
    assert (made / "wisp_templates").is_dir()
    assert not list(made.rglob(".*"))


def test_truth_tables_are_read_as_they_say(made):
    sky, table = (Table.read(made / f) for f in ("truth.ecsv", "truth_exposures.ecsv"))
    assert {"ra", "dec", "kind", "mag_F444W", "flux_F444W"} <= set(sky.colnames)
    assert list(table["dataset"]) == names()
    exposure = next(iter(exposures(PROGRAM)))
    assert table["ra_actual"][0] == exposure.actual.ra_ref
    assert table["ra_commanded"][0] == exposure.commanded.ra_ref
    assert table["sky"][0] == exposure.setup.filter.sky
    assert (table["cosmic_rays_pixels"] > 0).all()


def test_reference_stars_are_the_truth_s(made):
    stars = Table.read(made / "reference_stars.ecsv")
    sky = Table.read(made / "truth.ecsv")
    assert len(stars) > 20
    assert set(stars["RA"]) <= set(sky["ra"][sky["kind"] == "star"])


def test_environment_survives_a_shell(made):
    script = f'. "{made}/environment.sh"; echo "$CRDS_PATH|$CRDS_SERVER_URL"'
    environment = {**os.environ, "CRDS_SERVER_URL": "https://example.org"}
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{made}/crds_cache|"


def test_again_does_nothing(made):
    before = {p: p.stat().st_mtime_ns for p in made.rglob("*_uncal.fits")}
    outcomes = []
    simulate(made, PROGRAM, report=outcomes.append)
    assert all(there for _, there in outcomes)
    assert before == {p: p.stat().st_mtime_ns for p in made.rglob("*_uncal.fits")}


def test_same_seed_same_bytes_in_any_number_of_processes(made, tmp_path):
    simulate(tmp_path / "b", PROGRAM, jobs=2)
    one, two = hashes(made), hashes(tmp_path / "b")
    different = {name for name in one if one[name] != two.get(name)}
    assert different == {"environment.sh"}  # absolute paths
    assert set(one) == set(two)


def test_what_is_lost_is_made_again_as_it_was(made):
    """The last exposure holds traces of the one before, which is not written again."""
    first, last = (uncal_path(made, name) for name in names())
    wanted, untouched = sha256(last), first.stat().st_mtime_ns
    last.unlink()
    (last.parent / ".123-x_uncal.fits").write_bytes(b"left by a killed process")
    outcomes = dict[str, bool]()
    simulate(made, PROGRAM, report=lambda o: outcomes.update([o]))
    assert sha256(last) == wanted
    assert first.stat().st_mtime_ns == untouched
    assert outcomes[names()[-1]] is False
    assert outcomes[names()[0]] is True
    assert not list(last.parent.glob(".*"))


@pytest.mark.parametrize("options", [{"seed": 5}, {"ngroups": 6}])
def test_another_programme_is_refused(made, options):
    other = make_program(
        **{
            "detectors": ("NRCBLONG",),
            "visits": 1,
            "dithers": 2,
            "ngroups": 5,
            "seed": 4,
            **options,
        }
    )
    with pytest.raises(UsageError, match="other settings"):
        simulate(made, other)


def test_somebody_else_s_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="holds other files"):
        simulate(tmp_path, PROGRAM)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_effects_can_be_left_out_alone(made, tmp_path):
    """Without cosmic rays, pixels that none hit are as they were."""
    program = make_program(
        detectors=("NRCBLONG",),
        visits=1,
        dithers=1,
        ngroups=5,
        seed=4,
        effects=Effects().without("cosmic_rays", "snowball"),
    )
    simulate(tmp_path / "c", program)
    name = names()[0]
    with_them, without = (
        fits.getdata(uncal_path(folder, name)).astype(int)[0]
        for folder in (made, tmp_path / "c")
    )
    touched = (with_them != without).any(axis=0)
    numbers = json.loads((made / "truth" / f"{name}.json").read_text())
    planted = numbers["cosmic_rays_pixels"] + numbers["snowball_pixels"]
    assert 0 < np.count_nonzero(touched) < 6 * planted + 500
    assert touched.mean() < 0.4


@pytest.mark.parametrize("writes", [0, 2, 8])
def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch, writes):
    """The disk is full after so many files: the first, the truth, a reference."""
    count = iter(range(writes))

    def fsync(_):
        if next(count, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "tiny"
    with pytest.raises(StorageError, match="No space left"):
        simulate(folder, PROGRAM)
    assert len([p for p in folder.rglob("*") if p.is_file()]) <= writes
    assert not list(folder.rglob(".*"))
    assert not (folder / "crds_cache").exists()
    assert not (folder / "environment.sh").exists()


def test_a_disk_that_fills_up_while_exposing(made, tmp_path, monkeypatch):
    def full(*_arguments):
        msg = "disk full"
        raise StorageError(msg)

    monkeypatch.setattr(observe, "save_model", full)
    monkeypatch.setattr(observe, "write_references", _no_references)
    with pytest.raises(StorageError):
        simulate(tmp_path / "d", PROGRAM)
    assert not list((tmp_path / "d").rglob("*_uncal.fits"))
    assert not (tmp_path / "d" / "truth_exposures.ecsv").exists()


def _no_references(folder, *_arguments, **_options):
    for name in ("crds_cache", "wisp_templates"):
        (folder / name).mkdir(parents=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_pipeline_finds_the_stars_where_and_as_bright_as_they_are(
    made, monkeypatch
):
    """detector1 and image2 with the mini cache: fluxes and places of isolated stars."""
    monkeypatch.setenv("CRDS_PATH", str(made / "crds_cache"))
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0001.pmap")
    monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
    pipeline = pytest.importorskip("jwst.pipeline")
    exposure = next(iter(exposures(PROGRAM)))
    path = uncal_path(made, exposure.name)
    rate = pipeline.Detector1Pipeline.call(str(path), configure_log=False)
    skip = {"resample": {"skip": True}}
    cal = pipeline.Image2Pipeline.call(rate, steps=skip, configure_log=False)[0]
    catalog = Table.read(made / "truth.ecsv")
    errors, world = _compare(exposure, catalog, cal)
    assert len(errors) >= 6
    assert abs(np.median(errors)) < 0.02
    assert world.max() < 1e-7  # degrees x 3600 = 0.4 mas


def _compare(exposure, catalog, cal):
    """Fractional flux errors of isolated stars, and errors of the WCS in degrees."""
    frame, name = exposure.setup.aperture, exposure.setup.filter.name
    where = exposure.actual.to_v2v3(catalog["ra"].value, catalog["dec"].value)
    x, y = v2v3_to_pixel(frame, *where)
    commanded: Pointing = exposure.commanded
    flux = np.asarray(catalog[f"flux_{name}"].value)
    inside = (np.minimum(x, y) > 12) & (np.maximum(x, y) < frame.nx - 13)
    expected = commanded.to_sky(*where)
    ra, dec = cal.meta.wcs(x[inside], y[inside])
    world = np.hypot(ra - expected[0][inside], dec - expected[1][inside])
    image = cal.data * cal.area * cal.meta.photometry.pixelarea_steradians * 1e6
    bad = (cal.dq & 1) > 0
    bright = inside & (catalog["kind"] == "star") & (flux > 4e-6) & (flux < 6e-5)
    errors = []
    yy, xx = np.indices(image.shape)
    energy = encircled_energy(psf_of(frame.detector, name), np.array([3.0, 7.0, 10.0]))
    for i in np.flatnonzero(bright):
        near = np.hypot(x - x[i], y - y[i])
        distance = np.hypot(xx - x[i], yy - y[i])
        aperture = distance < 3.0
        crowded = ((near > 0) & (near < 13) & (flux > 0.03 * flux[i])).any()
        if crowded or (bad & (distance < 5)).any():
            continue
        ring = (distance > 7) & (distance < 10) & ~bad
        star_in_ring = flux[i] * (energy[2] - energy[1]) / (np.pi * 51)
        sky = np.mean(image[ring]) - star_in_ring
        # Whole pixels sum a little more or less than the disk: scale by the area.
        psf, x0, y0 = psf_of(frame.detector, name).stamp(x[i], y[i])
        share = sum(psf[v - y0, u - x0] for v, u in np.argwhere(aperture))
        found = (image[aperture] - sky).sum()
        errors.append(found / share / flux[i] - 1)
    return np.array(errors), world
