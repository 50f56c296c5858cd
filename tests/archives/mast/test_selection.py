import pytest

from webbmosaic.archives.holdings import (
    Exposure,
    Product,
    optical_elements,
    own_channel,
    parts_of_name,
)
from webbmosaic.archives.selection import Selection, read_date
from webbmosaic.errors import ArchiveError

EXPOSURE = Exposure(
    name="jw01345002001_14201_00001",
    program="01345",
    observation="002",
    visit="001",
    instrument="NIRCAM",
    exposure_type="NRC_IMAGE",
    elements=("F200W", "F444W"),
    date="2022-12-24T10:00:00",
)
MOSAIC = Exposure("jw01345-o002_t021_nircam_clear-f200w", "01345", "002", "")
GUIDING = Exposure("jw01345002001_gs-fg_2022358100000", "01345", "002", "001")
UNCAL = Product(
    name="jw01345002001_14201_00001_nrcb4_uncal.fits",
    uri="x",
    exposure="jw01345002001_14201_00001",
    suffix="uncal",
    level="1b",
    elements=("F200W",),
)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, True),
        ({"programs": ("1345",)}, True),
        ({"programs": ("01727",)}, False),
        ({"observations": ("2", "7")}, True),
        ({"observations": ("020",)}, False),
        ({"visits": ("1",)}, True),
        ({"visits": ("2",)}, False),
        ({"instruments": ("nircam",)}, True),
        ({"instruments": ("miri",)}, False),
        ({"filters": ("F115W",)}, True),  # the list of files decides
        ({"after": "2022-12-24"}, True),
        ({"after": "2022-12-24T11:00"}, False),
        ({"after": "2022-12-25"}, False),
        ({"before": "2022-12-24"}, True),
        ({"before": "2022-12-24T09:00"}, False),
        ({"before": "2022-12-23"}, False),
        ({"before": "20221223"}, False),
        ({"before": "20221224"}, True),
        ({"after": "20221224"}, True),
        ({"after": "20221225"}, False),
        ({"before": "2022-W51"}, True),
        ({"before": "2022-W50"}, False),
        ({"after": "2022-W51-6"}, True),
        ({"after": "2022-W52"}, False),
        ({"after": "2022-12-24T11:00+02:00"}, True),
        ({"after": "2022-12-24T11:00-02:00"}, False),
        ({"before": "2022-12-24T11:59+02:00"}, False),
        ({"before": "2022-12-24T12:00+02:00"}, True),
        ({"before": "2022-12-24T10"}, True),
        ({"before": "2022-12-24T10:00:00Z"}, True),
        ({"datasets": ("jw01345002001_14201_00001_nrcb4",)}, True),
        ({"datasets": ("jw01345002001_14201_00002_nrcb4",)}, False),
        ({"datasets": ("jw01345002*",)}, True),
        ({"datasets": ("jw01345003*", "*nrcb4")}, True),
        ({"levels": ("1",)}, True),
        ({"levels": ("3",)}, False),
    ],
)
def test_exposures_are_chosen_by_every_option(options, wanted):
    assert Selection(**options).wants_exposure(EXPOSURE) is wanted


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, True),
        ({"suffixes": ("rate", "uncal")}, True),
        ({"suffixes": ("rate",)}, False),
        ({"suffixes": (), "levels": ("1",)}, True),
        ({"suffixes": (), "levels": ("2", "3")}, False),
        ({"detectors": ("NRCB4",)}, True),
        ({"detectors": ("nrca4",)}, False),
        ({"filters": ("F200W",)}, True),
        ({"filters": ("F444W",)}, False),
        ({"datasets": ("jw01345002001_14201_00001_nrcb4",)}, True),
        ({"datasets": ("JW01345*_nrcb?",)}, True),
        ({"datasets": ("nrcb4",)}, True),
        ({"datasets": ("jw01345*_nrca?",)}, False),
        ({"datasets": ("jw01345*_nrcb",)}, False),
        ({"datasets": ("*_uncal.fits",)}, True),
        ({"datasets": ("*_nrcb4_uncal",)}, True),
        ({"datasets": ("*_nrc[ab]?",)}, True),
        ({"datasets": ("jw01345002001_14201_0000?",)}, True),
        ({"extensions": ("jpg",)}, False),
        ({"kinds": ("preview",)}, False),
    ],
)
def test_files_are_chosen_by_every_option(options, wanted):
    assert Selection(**options).wants_product(UNCAL) is wanted


def test_wildcards_match_whole_names():
    long = Product("jw01345002001_14201_00001_nrcblong_uncal.fits", "x", suffix="uncal")
    one = Selection(datasets=("jw01345002*_nrcb?",))
    assert not one.wants_product(long)
    assert Selection(datasets=("jw01345002*_nrcb*",)).wants_product(long)


def test_combined_products_are_wanted_with_level_3_only():
    assert not Selection().wants_exposure(MOSAIC)
    assert Selection(levels=("3",)).wants_exposure(MOSAIC)
    assert Selection(suffixes=("i2d",)).wants_exposure(MOSAIC)


def test_guide_stars_come_when_asked_for():
    assert not Selection().wants_exposure(GUIDING)
    asked = Selection(guide_stars=True)
    assert asked.wants_exposure(GUIDING)
    assert asked.wants_type(GUIDING)


def test_only_imaging_is_wanted_unless_said_otherwise():
    spectra = Exposure("jw1", "01345", "002", "001", exposure_type="NRS_MSASPEC")
    assert not Selection().wants_type(spectra)
    assert Selection(exposure_types=()).wants_type(spectra)
    assert Selection().wants_type(EXPOSURE)


def test_previews_of_wanted_files_are_wanted():
    thumb = Product(
        "jw01345002001_14201_00001_nrcb4_uncal_thumb.jpg", "x", kind="preview"
    )
    both = Selection(kinds=("science", "preview"), extensions=("fits", "jpg"))
    assert both.wants_product(thumb)
    assert not Selection().wants_product(thumb)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("F200W;CLEAR", ("F200W",)),
        ("F150W2;F162M", ("F162M",)),
        ("F444W;F470N", ("F470N",)),
        ("F322W2 F323N", ("F323N",)),
        ("f770w", ("F770W",)),
        ("", ()),
    ],
)
def test_a_pupil_filter_names_the_light(text, elements):
    assert optical_elements(text) == elements


@pytest.mark.parametrize(
    ("detector", "own"),
    [("nrcb4", ("F200W",)), ("nrcblong", ("F444W",)), ("mirimage", ("F200W", "F444W"))],
)
def test_a_detector_has_the_filter_of_its_channel(detector, own):
    name = f"jw01345002001_14201_00001_{detector}_uncal.fits"
    assert own_channel(name, ("F200W", "F444W")) == own


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        (UNCAL.name, "jw01345002001_14201_00001_nrcb4"),
        (
            "jw01345002001_0210a_00001-seg002_nis_rateints.fits",
            "jw01345002001_0210a_00001-seg002_nis",
        ),
        ("jw01345-o002_t021_nircam_f200w_i2d.fits", "jw01345-o002_t021_nircam_f200w"),
        ("odd.fits", "odd"),
    ],
)
def test_each_dataset_has_its_folder(name, folder):
    assert Product(name, "x").folder == folder


@pytest.mark.parametrize(
    "name",
    ["../x.fits", "/etc/x.fits", "a/b.fits", ".hidden", "..", "", "a\\b", "a\nb", "-x"],
)
def test_names_that_could_leave_the_folder_are_refused(name):
    with pytest.raises(ArchiveError, match="unsafe"):
        Product(name, "x")


def test_names_say_program_observation_and_visit():
    assert parts_of_name(EXPOSURE.name) == ("01345", "002", "001")
    assert parts_of_name(MOSAIC.name) == ("01345", "002", "")
    assert parts_of_name("else") == ("", "", "")


def test_dates_are_checked():
    assert read_date("2022-12-24 18:00") == "2022-12-24T18:00"
    assert read_date("2022-W51") == "2022-W51"
    for text in ("last week", "2022-12-24+02:00", "9999-12-31", "0001-01-01T00+05:00"):
        with pytest.raises(ValueError, match=r".+"):
            read_date(text)
