"""Alignment of calibrated images: what is found, said, judged, kept in files."""

import dataclasses
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from sky_images import CENTRE, make_cal, make_sky, open_cal, to_sky, write_catalogue
from webbmosaic.errors import AlignmentError, InputError, UsageError
from webbmosaic.settings import Alignment
from webbmosaic.stages.alignment import align, write_aligned, write_side_files
from webbmosaic.stages.corrections import apply_file, read_correction
from webbmosaic.stages.tangent_plane import on_plane

DITHERS = [(0.0, 0.0), (0.9, 0.3), (-0.6, 0.8), (0.4, -0.9)]
NAME = "jw01345001{visit:03d}_02101_{k:05d}_nrcblong"


@pytest.fixture
def rng():
    return np.random.default_rng(13)


@pytest.fixture
def sky(rng):
    return make_sky(rng, n=140, half=9.0)


def visit_of(folder, sky, rng, *, visit=1, off=(0.0, 0.0), count=2, **given):
    """The dithers of one visit, which is off by so many arcsec."""
    return [
        make_cal(
            folder,
            NAME.format(visit=visit, k=k + 1),
            sky,
            dither=given.get("at", np.zeros(2)) + DITHERS[k],
            off=np.asarray(off) + rng.normal(0, 0.002, 2),
            rng=rng,
            **{k: v for k, v in given.items() if k != "at"},
        )
        for k in range(count)
    ]


def aligned(paths, **wanted):
    models = [open_cal(path) for path in paths]
    return align(models, paths, Alignment(**wanted), "group")


def errors_mas(models, off_of):
    """How far the middle of each image is from its true place."""
    found = []
    for model in models:
        ny, nx = model.data.shape
        middle = np.array([[(nx - 1) / 2, (ny - 1) / 2]])
        found.append(on_plane(model.meta.wcs, middle, CENTRE)[0] - off_of(model))
    return 1000 * np.array(found)


def true_place(model):
    return np.array(DITHERS[int(model.meta.observation.exposure_number) - 1])


# ------------------------------------------------------------------ what was measured


@pytest.mark.parametrize("offset", [0.03, 0.06, 0.12, 0.25])
def test_a_catalogue_of_too_few_stars_is_never_agreed_with(tmp_path, sky, rng, offset):
    """Fault (a): 2 of 3 matches, unaligned, 'done', 'agrees: true'."""
    paths = visit_of(tmp_path, sky, rng, off=(offset, 0))
    inside = np.abs(sky[:, :2]).max(axis=1) < 3
    few = write_catalogue(tmp_path / "few.ecsv", sky[inside][:2])
    with pytest.raises(AlignmentError, match=r"the catalogue few.ecsv was not met.*3"):
        aligned(paths, abs_refcat=str(few), tolerance=0.2)
    kept = aligned(paths, abs_refcat=str(few), tolerance=0.2, on_misaligned="keep")
    assert not kept.islands[0]["on_catalogue"]
    assert "kept although" in kept.notes[-1]


def test_a_catalogue_of_enough_stars_is_met_whatever_the_tolerance(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng, off=(0.12, 0.0))
    refcat = write_catalogue(tmp_path / "r.ecsv", sky[:40])
    for tolerance in (0.05, 0.1, 0.2, 0.4):
        done = aligned(paths, abs_refcat=str(refcat), tolerance=tolerance)
        errors = errors_mas(done.models, true_place)
        assert np.abs(errors).max() < 1.5
        assert {o["aligned_to"] for o in done.exposures} == {"catalogue"}


def test_a_missed_catalogue_does_not_cost_the_relative_solution(tmp_path, sky, rng):
    """Fault (b): and it is the catalogue that is named, not the other exposures."""
    paths = visit_of(tmp_path, sky, rng) + visit_of(
        tmp_path, sky, rng, visit=2, off=(3.0, -2.0)
    )
    other = make_sky(np.random.default_rng(77), n=60, half=9.0)
    refcat = write_catalogue(tmp_path / "other.ecsv", other)
    with pytest.raises(AlignmentError) as failed:
        aligned(paths, abs_refcat=str(refcat))
    said = str(failed.value)
    assert "the catalogue other.ecsv was not met within 25 arcsec" in said
    assert "The exposures agree with each other to" in said
    assert "alignment.abs_minobj" in said
    assert "where the other exposures have them" not in said
    kept = aligned(paths, abs_refcat=str(refcat), on_misaligned="keep")
    errors = errors_mas(kept.models, true_place)
    assert errors.std(axis=0).max() < 1


def test_a_visit_far_off_meets_others_and_the_catalogue(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng) + visit_of(
        tmp_path, sky, rng, visit=2, off=(3.0, -2.0)
    )
    refcat = write_catalogue(tmp_path / "r.ecsv", sky[:80], rng=rng, error=0.005)
    done = aligned(paths, abs_refcat=str(refcat))
    errors = errors_mas(done.models, true_place)
    assert np.abs(errors).max() < 4  # some 10 stars of 5 mas
    assert errors.std(axis=0).max() < 0.8
    assert "a wrong guide star?" in " ".join(done.notes)
    facts = done.islands[0]
    assert facts["on_catalogue"]
    assert facts["catalogue_matches"] >= 8
    assert 2 < facts["catalogue_rms_mas"] < 9
    assert facts["offset_error_mas"] < 3
    assert facts["rms_mas"] < 5
    assert facts["rms_error_mas"] > 0


def test_tiles_without_overlap_are_no_fault(tmp_path, rng):
    """Fault (d): no evidence is not evidence against."""
    one, two = make_sky(rng, n=100, half=9), make_sky(rng, n=100, half=9)
    two[:, 1] += 120
    both = np.concatenate([one, two])
    paths = visit_of(tmp_path, both, rng, off=(0.05, 0)) + visit_of(
        tmp_path, both, rng, visit=2, at=np.array([0.0, 120.0]), off=(-0.3, 0.1)
    )
    done = aligned(paths)
    assert len(done.models) == 4
    assert len(done.islands) == 2
    refcat = write_catalogue(tmp_path / "r.ecsv", both)
    done = aligned(paths, abs_refcat=str(refcat))
    assert [i["on_catalogue"] for i in done.islands] == [True, True]

    def place(model):
        up = 120.0 * (model.meta.observation.visit_number == "002")
        return true_place(model) + np.array([0.0, up])

    assert np.abs(errors_mas(done.models, place)).max() < 2


def test_a_part_that_the_catalogue_lacks_is_judged(tmp_path, rng):
    one, two = make_sky(rng, n=100, half=9), make_sky(rng, n=100, half=9)
    two[:, 1] += 120
    both = np.concatenate([one, two])
    paths = visit_of(tmp_path, both, rng) + visit_of(
        tmp_path, both, rng, visit=2, at=np.array([0.0, 120.0])
    )
    refcat = write_catalogue(tmp_path / "half.ecsv", one)
    with pytest.raises(AlignmentError, match=r"001002.*half.ecsv was not met"):
        aligned(paths, abs_refcat=str(refcat))
    dropped = aligned(paths, abs_refcat=str(refcat), on_misaligned="drop")
    assert len(dropped.models) == 2
    assert {m.meta.observation.visit_number for m in dropped.models} == {"001"}


# ------------------------------------------------------------------ policy and gates


@pytest.fixture
def with_a_stranger(tmp_path, sky, rng):
    """Two dithers, and a visit that says to be there but shows another sky."""
    paths = visit_of(tmp_path, sky, rng, count=3)
    elsewhere = make_sky(np.random.default_rng(5), n=140, half=9)
    return paths + visit_of(tmp_path, elsewhere, rng, visit=2, count=1)


def test_a_misaligned_exposure_fails_the_mosaic(with_a_stranger):
    with pytest.raises(AlignmentError) as failed:
        aligned(with_a_stranger)
    said = str(failed.value)
    assert "jw01345001002" in said
    assert "jw01345001001" not in said
    assert "do not lie where the other exposures have them" in said
    assert "alignment.searchrad" in said


def test_or_is_kept_or_dropped(with_a_stranger):
    kept = aligned(with_a_stranger, on_misaligned="keep")
    assert len(kept.models) == 4
    assert any(note.startswith("kept although") for note in kept.notes)
    dropped = aligned(with_a_stranger, on_misaligned="drop")
    assert len(dropped.models) == 3
    assert any(note.startswith("dropped because") for note in dropped.notes)
    assert len(dropped.exposures) == 4  # what was found is recorded all the same


@pytest.mark.parametrize("limit", [0.5, 2.9, 3.3, 10.0])
def test_max_shift(tmp_path, sky, rng, limit):
    paths = visit_of(tmp_path, sky, rng, off=(3.0, 1.0), count=1)
    refcat = write_catalogue(tmp_path / "r.ecsv", sky)
    wanted = {"abs_refcat": str(refcat), "max_shift": limit}
    if limit > np.hypot(3, 1):
        assert aligned(paths, **wanted).models
    else:
        with pytest.raises(AlignmentError, match=r"moved by 3\.16 arcsec.*max_shift"):
            aligned(paths, **wanted)


def test_max_rotation(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng, turn=0.15)
    refcat = str(write_catalogue(tmp_path / "r.ecsv", sky))
    done = aligned(paths, abs_refcat=refcat, max_rotation=0.25)
    assert abs(abs(done.exposures[0]["rotation_deg"]) - 0.15) < 0.02
    with pytest.raises(AlignmentError, match=r"turned by .*max_rotation"):
        aligned(paths, abs_refcat=refcat, max_rotation=0.1)


def test_max_residual(tmp_path, sky, rng):
    """A galaxy of sources that wobble: each exposure has them elsewhere."""
    shaken = [sky.copy() for _ in range(2)]
    for one in shaken:
        one[:, :2] += rng.normal(0, 0.04, (len(sky), 2))
    paths = [
        make_cal(tmp_path, NAME.format(visit=1, k=k + 1), shaken[k], rng=rng)
        for k in range(2)
    ]
    with pytest.raises(AlignmentError, match=r"scatter by .*max_residual is 10"):
        aligned(paths, max_residual=10.0, tolerance=0.3)
    assert len(aligned(paths, max_residual=80.0, tolerance=0.3).models) == 2


def test_too_few_sources_within_a_visit_keep_the_pointing(tmp_path, rng):
    bare = make_sky(rng, n=1, half=2)
    done = aligned(visit_of(tmp_path, bare, rng))
    assert "too few sources" in done.notes[0]
    assert all(o["shift_mas"] == (0.0, 0.0) for o in done.exposures)


def test_too_few_sources_between_visits_cannot_be_trusted(tmp_path, rng):
    bare = make_sky(rng, n=1, half=2)
    paths = visit_of(tmp_path, bare, rng, count=1)
    paths += visit_of(tmp_path, bare, rng, visit=2, count=1)
    with pytest.raises(AlignmentError, match="too few sources"):
        aligned(paths)


def test_nothing_to_do(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng, count=1)
    assert "nothing to align it to" in aligned(paths).notes[0]
    off = aligned(paths, enabled=False)
    assert off.notes == ["alignment is switched off"]


# ------------------------------------------------------------------ files


def test_what_was_done_is_kept_and_applied_when_read(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng, off=(0.2, 0.1))
    refcat = write_catalogue(tmp_path / "r.ecsv", sky)
    done = aligned(paths, abs_refcat=str(refcat))
    folder = tmp_path / "mosaic"
    written = write_side_files(done, folder)
    assert [p.name for p in written] == [
        f"{NAME.format(visit=1, k=k)}_alignment.json" for k in (1, 2)
    ]
    facts = json.loads(written[0].read_text())
    assert facts["matches"] > 5
    assert facts["shift_error_mas"] > 0
    model = open_cal(paths[0])
    assert apply_file(model, written[0])
    again = errors_mas([model], true_place)
    np.testing.assert_allclose(
        again, errors_mas(done.models[:1], true_place), atol=1e-3
    )
    assert not apply_file(model, written[0])  # it has it already
    other = open_cal(paths[1])
    with pytest.raises(InputError, match="was made for another pointing"):
        apply_file(other, written[0])


def test_aligned_exposures_are_written_on_demand(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng, off=(0.2, 0.1), count=1)
    refcat = write_catalogue(tmp_path / "r.ecsv", sky)
    done = aligned(paths, abs_refcat=str(refcat))
    written = write_aligned(done, tmp_path / "mosaic")
    assert written[0].name == f"{NAME.format(visit=1, k=1)}_tweakreg.fits"
    with fits.open(written[0]) as hdus:
        header = hdus["SCI"].header
        there = WCS(header).all_pix2world([[79.5, 79.5]], 0)[0]
    want = to_sky(np.array(DITHERS[0]))
    apart = (there - np.ravel(want)) * 3.6e6 * [np.cos(np.radians(CENTRE[1])), 1]
    assert np.hypot(*apart) < 3
    again = open_cal(written[0])
    assert np.abs(errors_mas([again], true_place)).max() < 2
    assert str(done.models[0].meta.filename).endswith("_cal.fits")


def test_a_damaged_side_file_is_named(tmp_path):
    path = tmp_path / "x_alignment.json"
    path.write_text('{"correction": {}}')
    with pytest.raises(InputError, match=r"x_alignment.json: holds no correction"):
        read_correction(path)


def test_a_correction_beside_a_cal_is_applied(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng, off=(0.2, 0.1), count=1)
    refcat = write_catalogue(tmp_path / "r.ecsv", sky)
    write_side_files(aligned(paths, abs_refcat=str(refcat)), tmp_path)
    again = aligned(paths, enabled=False)
    assert np.abs(errors_mas(again.models, true_place)).max() < 2
    assert "moved by the _alignment.json" in again.notes[0]


@pytest.mark.parametrize("origin", [0, 1])
def test_a_users_catalogue_beside_a_cal(tmp_path, sky, rng, origin):
    paths = visit_of(tmp_path, sky, rng, off=(0.2, 0.1), count=2)
    for path in paths:
        from webbmosaic.science.astrometry import find_stars

        model = open_cal(path)
        stars = find_stars(model.data, np.isfinite(model.data), fwhm=2.3)
        beside = path.with_name(f"{path.stem}_cat_for_tweakreg.csv")
        Table(stars[:, :2] + origin, names=("x", "y")).write(beside, format="ascii.csv")
    refcat = write_catalogue(tmp_path / "r.ecsv", sky)
    done = aligned(paths, abs_refcat=str(refcat), custom_origin=origin)
    assert np.abs(errors_mas(done.models, true_place)).max() < 3


def test_sextractors_columns_count_from_one(tmp_path, sky, rng):
    paths = visit_of(tmp_path, sky, rng, count=1)
    beside = paths[0].with_name(f"{paths[0].stem}_cat_for_tweakreg.csv")
    beside.write_text("X_IMAGE,Y_IMAGE\n11.0,21.0\n")
    from webbmosaic.stages.sightings import sight

    found = sight(open_cal(paths[0]), paths[0], Alignment())
    np.testing.assert_allclose(found.stars[0, :2], [10, 20])
    beside.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no columns x and y"):
        sight(open_cal(paths[0]), paths[0], Alignment())


@pytest.mark.parametrize("form", ["offsets", "pairs"])
def test_a_table_of_offsets_moves_visits_and_exposures(tmp_path, sky, rng, form):
    paths = visit_of(tmp_path, sky, rng, off=(0.5, 15.4), count=2)
    table = tmp_path / "offsets.csv"
    if form == "offsets":
        table.write_text("name,east,north\njw01345001001,-0.5,-15.4\n")
    else:
        old, new = (to_sky(np.array(p)) for p in ([0.5, 15.4], [0.0, 0.0]))
        cells = [f"{v[0]:.9f}" for v in (*old, *new)]
        table.write_text(
            "name,old_ra,old_dec,new_ra,new_dec\njw01345001001,"
            + ",".join(cells)
            + "\n"
        )
    done = aligned(paths, offsets=str(table), enabled=False)
    assert np.abs(errors_mas(done.models, true_place)).max() < 8
    assert "2 of 2 exposures moved by" in done.notes[0]
    with pytest.raises(UsageError, match="there is no file"):
        aligned(paths, offsets=str(tmp_path / "none.csv"))
    table.write_text("visit,dx\n1,2\n")
    with pytest.raises(UsageError, match="needs columns name, east, north"):
        aligned(paths, offsets=str(table))


def test_proper_motions_are_followed_to_the_epoch(tmp_path, sky, rng):
    """Stars that moved by 70 mas since 2016, together."""
    paths = visit_of(tmp_path, sky, rng, count=2)
    years = (59949 - 57388.5) / 365.25
    then = sky[:, :2] - np.array([10.0, -3.0]) * years / 1000
    ra, dec = to_sky(then)
    motion = {"pmra": np.full(len(sky), 10.0), "pmdec": np.full(len(sky), -3.0)}
    path = tmp_path / "gaia.ecsv"
    Table({"ra": ra, "dec": dec, **motion}, meta={"epoch": 2016.0}).write(path)
    done = aligned(paths, abs_refcat=str(path))
    assert np.abs(errors_mas(done.models, true_place)).max() < 1.5


def test_another_filter_far_off_still_ties(tmp_path, sky, rng):
    """SW, LW and MIRI-like pixels and widths of one sky, each visit off by its own."""
    paths = visit_of(tmp_path, sky, rng, off=(0.3, 0.0))
    paths += visit_of(
        tmp_path, sky, rng, visit=2, off=(-1.2, 0.4), fwhm=4.5,
        meta={"instrument.filter": "F1000W"},
    )  # fmt: skip
    refcat = write_catalogue(tmp_path / "r.ecsv", sky)
    done = aligned(paths, abs_refcat=str(refcat))
    assert np.abs(errors_mas(done.models, true_place)).max() < 4


def test_every_setting_is_read():
    """None is left that no code looks at."""
    import inspect

    from webbmosaic.stages import alignment, alignment_policy, sightings, stage3

    modules = (alignment, alignment_policy, sightings, stage3)
    text = "".join(inspect.getsource(m) for m in modules)
    for field in dataclasses.fields(Alignment):
        assert field.name in text, field.name
