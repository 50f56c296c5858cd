"""Names of exposures, groups and files."""

from pathlib import Path

import pytest

from webbmosaic.datasets import (
    Dataset,
    Group,
    Wanted,
    Workspace,
    effective_filter,
    find_dataset_name,
)
from webbmosaic.errors import UsageError

NAMES = [
    "jw01345002001_14201_00001_nrcb4",
    "jw01345002001_0210a_00001_nrcblong",  # activities count in base 36
    "jw01837004020_02101_00003-seg002_mirimage",
    "jw01093014001_03102_00001_nis",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_survives_the_round_trip(name):
    assert str(Dataset.parse(name)) == name
    assert str(Dataset.parse(f"some/where/{name}_uncal.fits")) == name


@pytest.mark.parametrize(
    "name",
    ["", "jw01345", NAMES[0][:-6], NAMES[0] + "x", "x" + NAMES[0], "jw1_1_1_nrcb4"],
)
def test_what_is_no_name_is_refused_with_an_example(name):
    with pytest.raises(
        UsageError, match=r"jw01345002001_14201_00001_nrcb4|is not one of"
    ):
        Dataset.parse(name)
    assert find_dataset_name(name) is None


def test_an_unknown_detector_is_named():
    with pytest.raises(UsageError, match="detector 'nrs1' is not one of nrca1"):
        Dataset.parse("jw01345002001_14201_00001_nrs1")


@pytest.mark.parametrize(
    ("wheel", "pupil", "name"),
    [
        ("F200W", "CLEAR", "F200W"),
        ("F150W2", "F162M", "F162M"),
        ("F444W", "F470N", "F470N"),
        ("CLEAR", "F115W", "F115W"),  # NIRISS
        ("F480M", "NRM", "F480M"),
        ("F770W", None, "F770W"),
        ("F200W", "GDHS0", "F200W"),
    ],
)
def test_the_filter_that_shaped_the_light(wheel, pupil, name):
    assert effective_filter(wheel, pupil) == name


def test_a_group_is_named_after_its_members():
    group = Group(("01345",), ("002",), (), "NIRCAM", ("F200W",))
    assert str(group) == "jw01345_obs002_NIRCAM_F200W"
    by_visit = Group(("01345",), ("002",), ("003",), "NIRCAM", ("F200W",))
    assert str(by_visit) == "jw01345_obs002_visit003_NIRCAM_F200W"
    many = tuple(f"{n:03d}" for n in range(1, 7))
    combined = Group(("01345",), many, (), "MIRI", ("F770W",))
    assert str(combined) == "jw01345_obs001+002+003+many+006_MIRI_F770W"


def test_the_work_folder_keeps_the_contract(tmp_path):
    name = NAMES[0]
    (tmp_path / name).mkdir()
    (tmp_path / "jw_is_no_dataset").mkdir()
    work = Workspace(tmp_path)
    (dataset,) = work.datasets()
    below = {
        work.uncal: "uncals/{}_uncal.fits",
        work.rate: "calibrated1_rates/{}_rate.fits",
        work.cal: "calibrated2_cals/{}_cal.fits",
    }
    for path, expected in below.items():
        assert path(dataset) == tmp_path / name / expected.format(name)
    assert work.record(dataset, "stage1") == tmp_path / name / "state" / "stage1.json"
    mosaic = work.mosaic("jw01345_obs002_NIRCAM_F200W")
    assert mosaic.relative_to(tmp_path) == Path(
        "calibrated3_mosaic/jw01345_obs002_NIRCAM_F200W"
        "/jw01345_obs002_NIRCAM_F200W_i2d.fits"
    )


def test_a_work_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        Workspace(tmp_path / "nowhere").datasets()


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted(), None),
        (Wanted(programs=("1345",), observations=("2",), visits=("1",)), None),
        (Wanted(instruments=("nircam",), filters=("f200w", "f115w")), None),
        (Wanted(programs=("1346",)), "program 01345 is not wanted"),
        (Wanted(observations=("3",)), "observation 002 is not wanted"),
        (Wanted(instruments=("miri",)), "instrument NIRCAM is not wanted"),
        (Wanted(filters=("F444W",)), "filter F200W is not wanted"),
    ],
)
def test_why_an_exposure_is_not_meant(wanted, reason):
    dataset = Dataset.parse("jw01345002001_14201_00001_nrcb4")
    assert wanted.why_not(dataset, "F200W") == reason
