import ast
import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from webbmosaic.simulate.crds_files import CONTEXT, PARAMETER_TYPES, REFERENCE_TYPES
from webbmosaic.simulate.detector import make_ramp
from webbmosaic.simulate.effects import Effects, Streams
from webbmosaic.simulate.light import wisp_pattern
from webbmosaic.simulate.pixels import make_setup, pixel_maps
from webbmosaic.simulate.references import write_references

SEED = 5
SETUPS = [
    make_setup("NRCB3", "SUB160", "F200W", pattern="SHALLOW4", ngroups=5),
    make_setup("NRCB3", "SUB160", "F162M", pattern="SHALLOW4", ngroups=7),
    make_setup("NRCBLONG", "SUB64P", "F444W", pattern="DEEP8", ngroups=8),
    make_setup("MIRIMAGE", "SUB64", "F770W", pattern="FASTR1", ngroups=20),
]


def energy(detector, name, radii):
    """A star whose light falls as an exponential."""
    return 1 - np.exp(-((radii / 3) ** 1.2))


def write(folder, setups=SETUPS):
    return write_references(folder, setups, seed=SEED, energy=energy, area=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return write(tmp_path_factory.mktemp("references"))


def reference(cache, setup, reftype, **extra):
    """Read the name of a reference out of the mappings, as crds would."""
    frame = setup.aperture
    instrument = frame.instrument.lower()
    text = (cache / f"mappings/jwst/jwst_{instrument}_{reftype}_0001.rmap").read_text()
    header = ast.literal_eval(text.split("header = ")[1].split("\n\n")[0])
    known = {
        "META.INSTRUMENT.DETECTOR": frame.detector,
        "META.SUBARRAY.NAME": frame.subarray,
        "META.INSTRUMENT.FILTER": setup.filter.filter,
        "META.INSTRUMENT.PUPIL": setup.filter.pupil,
        "META.EXPOSURE.READPATT": setup.readout.pattern,
    }
    key = repr(tuple(known[k] for k in header["parkey"][0]))
    name = text.split(f"{key} : ")[1].split("'")[3]
    return cache / "references" / "jwst" / instrument / name


def test_every_mapping_carries_its_own_sha1(cache):
    mappings = list((cache / "mappings" / "jwst").iterdir())
    assert len(mappings) > 20
    for path in mappings:
        lines = path.read_text().splitlines(keepends=True)
        rest = "".join(line for line in lines if "sha1sum" not in line)
        digest = hashlib.sha1(rest.encode(), usedforsecurity=False).hexdigest()
        assert f"'sha1sum' : '{digest}'" in path.read_text()


def test_every_type_is_listed(cache):
    text = (cache / "mappings/jwst/jwst_miri_0001.imap").read_text()
    selector = ast.literal_eval(text.split("selector = ")[1])
    assert set(selector) == {*REFERENCE_TYPES, *PARAMETER_TYPES}
    assert selector["superbias"] == "N/A"
    assert selector["rscd"] == "jwst_miri_rscd_0001.rmap"


def test_equal_input_gives_equal_bytes(cache, tmp_path):
    again = write(tmp_path)
    files = sorted(p.relative_to(cache) for p in cache.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(again) for p in again.rglob("*") if p.is_file()
    )
    for name in files:
        assert (cache / name).read_bytes() == (again / name).read_bytes(), name


def test_references_hold_the_pixels_of_the_exposures(cache):
    setup = SETUPS[0]
    maps = pixel_maps(setup, Effects(), SEED)
    bias = fits.getdata(reference(cache, setup, "superbias"), "SCI")
    np.testing.assert_array_equal(bias, maps.bias)
    flat = fits.getdata(reference(cache, setup, "flat"), "SCI")
    seeing = maps.efficiency > 0
    np.testing.assert_array_equal(flat[seeing], (maps.efficiency * maps.area)[seeing])
    dq = fits.getdata(reference(cache, setup, "mask"), "DQ")
    np.testing.assert_array_equal(dq >= 2**31, maps.reference)
    np.testing.assert_array_equal(dq & 1 > 0, maps.dead | maps.hot)


def test_one_dark_serves_the_longest_ramp_of_its_pattern(cache):
    names = {reference(cache, setup, "dark") for setup in SETUPS[:2]}
    (path,) = names
    header = fits.getheader(path)
    assert (header["NGROUPS"], header["NFRAMES"], header["GROUPGAP"]) == (7, 4, 1)
    assert fits.getdata(path, "SCI").shape == (7, 160, 160)
    miri = fits.getdata(reference(cache, SETUPS[3], "dark"), "SCI")
    assert miri.shape == (1, 20, 64, 72)


def test_flats_are_those_of_the_filter(cache):
    one, two = (reference(cache, setup, "flat") for setup in SETUPS[:2])
    assert one != two
    assert fits.getheader(two)["PUPIL"] == "F162M"


def test_aperture_corrections_restore_the_light(cache):
    table = fits.getdata(reference(cache, SETUPS[0], "apcorr"), "APCORR")
    rows = table[table["filter"] == "F200W"]
    for row in rows:
        caught = energy("", "", row["radius"])
        assert caught == pytest.approx(row["eefraction"], abs=0.002)
        ring = np.diff(energy("", "", np.array([row["skyin"], row["skyout"]])))[0]
        ring *= row["radius"] ** 2 / (row["skyout"] ** 2 - row["skyin"] ** 2)
        assert (caught - ring) * row["apcorr"] == pytest.approx(1, abs=0.005)


def test_wisp_templates_are_where_wisps_can_be(cache):
    folder = cache.parent / "wisp_templates"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["wisps_nrcb3_F162M.fits", "wisps_nrcb3_F200W.fits"]
    template = fits.getdata(folder / names[0])
    assert template.shape == (2048, 2048)
    part = wisp_pattern(SETUPS[0].aperture)
    np.testing.assert_allclose(template[:160, 1888:], 0.01 * part, rtol=1e-6)


def test_nothing_is_left_when_writing_stops(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_all_types_that_jwst_may_ask_for_are_known():
    pytest.importorskip("jwst")
    from jwst.pipeline import Detector1Pipeline, Image2Pipeline, Image3Pipeline

    pipelines = (Detector1Pipeline, Image2Pipeline, Image3Pipeline)
    steps = [step for p in pipelines for step in p.step_defs.values()]
    assert {t for s in steps for t in s.reference_file_types} <= set(REFERENCE_TYPES)
    asked = {s.get_config_reftype() for s in (*steps, *pipelines)}
    assert asked <= set(PARAMETER_TYPES)


@pytest.fixture
def fresh_crds(cache, monkeypatch):
    """Let crds, which remembers mappings by name, read this cache and forget it."""
    from crds.core import utils

    monkeypatch.setenv("CRDS_PATH", str(cache))
    monkeypatch.setenv("CRDS_CONTEXT", CONTEXT)
    monkeypatch.setenv("CRDS_READONLY_CACHE", "1")
    monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
    utils.clear_function_caches()
    yield
    utils.clear_function_caches()


@pytest.mark.usefixtures("fresh_crds")
@pytest.mark.filterwarnings("ignore:.get_cache_lock:DeprecationWarning")
def test_the_pipeline_recovers_the_sky_without_a_missing_reference(tmp_path, caplog):
    from jwst.pipeline import Detector1Pipeline, Image2Pipeline

    setup = SETUPS[3]
    raw = make_ramp(
        np.zeros(setup.aperture.shape, np.float32),
        setup,
        Streams(SEED, "jw01001001001_02101_00001_mirimage"),
        effects=Effects().without("background_drift"),
    )
    file = uncal(setup, raw.ramp, tmp_path)
    with caplog.at_level(logging.INFO):
        rate = Detector1Pipeline.call(str(file), configure_log=False)
        cal = Image2Pipeline.call(
            rate, configure_log=False, steps={"resample": {"skip": True}}
        )[0]
    good = cal.dq == 0
    error = cal.err[good].mean() / np.sqrt(good.sum())
    assert good.mean() > 0.9
    assert np.median(cal.data[good]) == pytest.approx(7.0, abs=6 * error + 0.01)
    assert set(warnings(caplog)) <= {"ipc", "reset", "refpix"}


def warnings(caplog):
    """Names of the steps that complained."""
    loud = [r for r in caplog.records if r.levelno >= logging.WARNING]
    # crds says what it thinks of servers of other tests in the same process.
    steps = [record.name for record in loud if record.name.startswith("jwst.")]
    return [name.split(".")[1] for name in steps]


def uncal(setup, ramp, folder) -> Path:
    """Write a raw exposure that points somewhere."""
    from webbmosaic.simulate.headers import uncal_model
    from webbmosaic.simulate.pointing import Pointing
    from webbmosaic.simulate.program import Exposure

    frame = setup.aperture
    pointing = Pointing(53.1, -27.8, 40.0, frame.v2_ref, frame.v3_ref)
    name = "jw01001001001_02101_00001_mirimage"
    exposure = Exposure(
        name, setup, pointing, pointing, 60000.0, 1, 1, (0.0, 0.0), "01001001001"
    )
    path = folder / f"{name}_uncal.fits"
    uncal_model(exposure, ramp).save(str(path))
    return path
