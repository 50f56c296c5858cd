"""What may be combined: followed, left out, or refused with a sentence."""

import numpy as np
import pytest

from sky_images import CENTRE, make_cal, make_sky, open_cal
from webbmosaic.errors import InputError, StorageError, UnusableDataError
from webbmosaic.settings import Members
from webbmosaic.stages import membership
from webbmosaic.stages.membership import check_room, choose_members, follow_target

NAME = "jw01345001001_02101_{k:05d}_nrcblong"
PLAIN = {"exposure.type": "NRC_IMAGE"}


@pytest.fixture
def write(tmp_path):
    sky = make_sky(np.random.default_rng(1), n=5)

    def cals(*metas, **given):
        return [
            make_cal(
                tmp_path,
                NAME.format(k=k + 1),
                sky,
                size=40,
                meta={**PLAIN, **m},
                **given,
            )
            for k, m in enumerate(metas)
        ]

    return cals


def chosen(paths, **wanted):
    models = [open_cal(path) for path in paths]
    return choose_members(models, paths, Members(**wanted), "group")


def test_plain_images_are_all_kept(write):
    assert chosen(write({}, {}, {})) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"instrument.pupil": "WLP8"}, "PUPIL is WLP8"),
        ({"instrument.pupil": "GRISMR"}, "PUPIL is GRISMR"),
        ({"instrument.pupil": "MASKRND"}, "PUPIL is MASKRND"),
        ({"visit.type": "PRIME_WFSC_ROUTINE"}, "VISITYPE is PRIME_WFSC_ROUTINE"),
        ({"exposure.ngroups": 1}, "one group"),
        ({"target.type": "MOVING"}, "its target moves"),
    ],
)
def test_what_is_no_plain_image_is_left_out_with_a_sentence(write, odd, said):
    kept, notes = chosen(write({}, odd, {}))
    assert kept == [0, 2]
    assert len(notes) == 1
    assert said in notes[0]
    assert NAME.format(k=2) in notes[0]


@pytest.mark.parametrize(
    "fine",
    [
        {"instrument.pupil": "F405N"},
        {"visit.type": "PARALLEL_PURE"},
        {"visit.type": "PRIME_TARGETED_FIXED"},
        {"exposure.ngroups": 2},
    ],
)
def test_plain_imaging_is_known(write, fine):
    assert chosen(write({}, fine))[0] == [0, 1]


def test_one_group_is_taken_on_demand_and_alone_is_unusable(write):
    paths = write({"exposure.ngroups": 1}, {"exposure.ngroups": 1})
    assert chosen(paths, one_group=True)[0] == [0, 1]
    with pytest.raises(UnusableDataError, match=r"one group.*members\.one_group"):
        chosen(paths)


def test_units_must_be_the_same(write):
    paths = write({}, {}, {"bunit_data": "uJy/arcsec^2"})
    with pytest.raises(InputError, match=r"uJy/arcsec\^2 in .*00003"):
        chosen(paths)


def test_a_rate_is_refused_by_its_name(write):
    paths = write({}, {"bunit_data": "DN/s", "wcs": None})
    with pytest.raises(InputError, match=r"00002.*is no calibrated image .*stage2"):
        chosen(paths)


def test_a_mosaic_is_refused_by_its_name(write):
    paths = write({}, {"resample.pointings": 4})
    with pytest.raises(InputError, match=r"00002.*is a mosaic already"):
        chosen(paths)


@pytest.mark.parametrize("arcmin", [1, 20, 29, 31, 200])
def test_what_is_far_from_all_others_is_left_out(write, tmp_path, arcmin):
    paths = write({}, {})
    far = (CENTRE[0], CENTRE[1] + arcmin / 60)
    sky = make_sky(np.random.default_rng(1), n=5)
    paths.append(make_cal(tmp_path, NAME.format(k=9), sky, size=40, centre=far))
    kept, notes = chosen(paths)
    assert kept == ([0, 1, 2] if arcmin < 30 else [0, 1])
    assert bool(notes) == (arcmin > 30)


@pytest.mark.parametrize("ra", [53.1, 0.00003])
def test_a_moving_target_stands_still(write, ra):
    """Also across right ascension 0."""
    steps = [(ra + k * 2e-5 - 2e-5) % 360 for k in range(3)]
    metas = [
        {"target.type": "MOVING", "wcsinfo.mt_ra": s, "wcsinfo.mt_dec": CENTRE[1]}
        for s in steps
    ]
    models = [open_cal(p) for p in write(*metas, centre=(ra, CENTRE[1]))]
    pixels = [
        m.meta.wcs.backward_transform(m.meta.wcsinfo.mt_ra, CENTRE[1]) for m in models
    ]
    notes = follow_target(models, follow=True, name="group")
    assert "was followed" in notes[0]
    places = np.array([m.meta.wcs(*xy) for m, xy in zip(models, pixels, strict=True)])
    apart = (places[:, 0] - places[0, 0] + 180) % 360 - 180
    np.testing.assert_allclose(apart, 0, atol=1e-9)
    assert models[0].meta.wcs.bounding_box is not None


def test_a_moving_target_of_unknown_place_is_refused(write):
    models = [open_cal(p) for p in write({"target.type": "MOVING"})]
    with pytest.raises(InputError, match="MT_RA"):
        follow_target(models, follow=True, name="group")
    assert "sky stands still" in follow_target(models, follow=False, name="group")[0]
    fixed = [open_cal(p) for p in write({})]
    assert follow_target(fixed, follow=True, name="group") == []


def test_the_size_is_compared_with_what_is_free(write, tmp_path, monkeypatch):
    models = [open_cal(p) for p in write({}, {})]
    given = {"pixel_scale": 0.0, "ratio": 1.0, "name": "group"}
    ny, nx = check_room(models, tmp_path, **given)
    assert abs(ny - 40) <= 1
    assert abs(nx - 40) <= 1
    ny, _ = check_room(models, tmp_path, **{**given, "pixel_scale": 0.0315})
    assert abs(ny - 80) <= 1
    monkeypatch.setattr(membership, "_free_memory", lambda: 1e5)
    with pytest.raises(StorageError, match=r"41 x 41 pixels.*of memory.*pixel-scale"):
        check_room(models, tmp_path, **{**given, "ratio": 0.98})
    monkeypatch.undo()
    monkeypatch.setattr(membership, "_free_disk", lambda folder: 1e3)
    with pytest.raises(StorageError, match="of disk in"):
        check_room(models, tmp_path / "not" / "yet", **given)
