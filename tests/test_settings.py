"""Settings: defaults, TOML, the command line, and what was narrowed."""

import dataclasses

import pytest

from webbmosaic.errors import UsageError
from webbmosaic.settings import SECTIONS, Settings
from webbmosaic.settings_file import as_toml, parse_assignments, read_settings


def written(tmp_path, text):
    path = tmp_path / "webbmosaic.toml"
    path.write_text(text)
    return path


def test_no_file_means_the_defaults(tmp_path):
    assert read_settings(tmp_path / "none.toml") == Settings()


def test_the_command_line_wins_over_the_file(tmp_path):
    path = written(tmp_path, "[resample]\nkernel = 'point'\npixfrac = 1\n")
    settings = read_settings(path, {"resample": {"kernel": "gaussian"}})
    assert settings.resample.kernel == "gaussian"
    assert settings.resample.pixfrac == 1.0


def test_narrowing_goes_from_instrument_to_filter_to_detector(tmp_path):
    text = """
    [sky]
    subtract = false
    [sky.instrument.NIRCAM]
    subtract = true
    [sky.filter.F200W]
    subtract = false
    [sky.detector.nrcb4]
    subtract = true
    """
    settings = read_settings(written(tmp_path, text))

    def subtract(instrument, filter_name, detector):
        return settings.for_exposure(
            instrument=instrument, filter_name=filter_name, detector=detector
        ).sky.subtract

    assert not subtract("MIRI", "F770W", "mirimage")
    assert subtract("NIRCAM", "F115W", "nrca1")
    assert not subtract("NIRCAM", "F200W", "nrca1")
    assert subtract("NIRCAM", "F200W", "NRCB4")


def test_stripes_are_nircams_unless_asked_for():
    assert Settings().for_exposure(instrument="NIRCAM").stripes.enabled
    assert not Settings().for_exposure(instrument="MIRI").stripes.enabled
    asked = read_settings(None, {"stripes": {"enabled": True}})
    assert asked.for_exposure(instrument="MIRI").stripes.enabled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[strips]", "there is no 'strips'; did you mean 'stripes'"),
        ("[stripes]\nangels = [30]", "there is no 'angels'; did you mean 'angles'"),
        ("[stripes]\nangles = 'x'", "should be a list of numbers"),
        ("[resample]\npixfrac = true", "should be float"),
        ("[resample]\nkernel = 'round'", "is not one of square"),
        ("[stripes.filter.F200W]\nangels = [30]", r"\[stripes.filter.F200W\]"),
        ("stripes = 3", "is a section"),
        ("[stripes", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        read_settings(written(tmp_path, text))


def test_assignments_are_toml_or_bare_words():
    texts = [
        "stripes.angles=[30, -30]",
        "resample.kernel=gaussian",
        "sky.enabled=false",
    ]
    assert parse_assignments(texts) == {
        "stripes": {"angles": [30, -30]},
        "resample": {"kernel": "gaussian"},
        "sky": {"enabled": False},
    }
    with pytest.raises(UsageError, match=r"section\.key=value"):
        parse_assignments(["kernel=gaussian"])


def test_what_is_written_reads_back(tmp_path):
    text = "[stripes]\nangles = []\n[sky.filter.F200W]\nenabled = false\n"
    settings = read_settings(written(tmp_path, text))
    again = read_settings(written(tmp_path, as_toml(settings)))
    names = {"instrument": "NIRCAM", "filter_name": "F200W"}
    assert again.for_exposure(**names) == settings.for_exposure(**names)
    assert again.stripes.angles == ()
    assert again.for_exposure(instrument="MIRI").stripes.enabled is False


def test_every_setting_is_documented():
    for section in SECTIONS.values():
        assert section.__doc__
        for item in dataclasses.fields(section):
            assert item.metadata["doc"].endswith("."), item.name
