"""The predecessor's commands in our words."""

import re
from pathlib import Path

import click
import pytest

from webbmosaic.cli.root import webbmosaic
from webbmosaic.compat import COMMANDS, translate


def test_the_walk_through(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert translate(
        "go-jwst-imaging-precopy-uncal-files", ["mast/jw1_uncal.fits"]
    ) == ["prepare", "mast/jw1_uncal.fits"]
    assert translate("go-jwst-imaging-presort-visits.py", []) == ["prepare"]
    assert translate("go-jwst-imaging-stage-1", []) == ["stage1"]
    assert translate("go-jwst-imaging-stage-2", []) == ["stage2"]
    assert translate("go-jwst-imaging-stage-3", []) == ["stage3", "--legacy-links"]
    words = [
        "a_cal.fits",
        "b_cal.fits",
        "--combine-obsnum",
        "--pixel-scale",
        "0.030",
        "--kernel",
        "square",
        "--pixfrac",
        "1.0",
        "calibrated_mosaic_multiobs",
    ]
    assert translate("go-jwst-imaging-stage-3-step-1.py", words) == [
        *("stage3", "--legacy-links", "--combine-obs", "--pixel-scale", "0.030"),
        *("--kernel", "square", "--pixfrac", "1.0"),
        *("--output-dir", "calibrated_mosaic_multiobs", "a_cal.fits", "b_cal.fits"),
    ]


@pytest.mark.parametrize(
    "text", ["--maximum-cores", "-Maximum_Cores", "--MAXIMUM-CORES"]
)
def test_dashes_underscores_and_case_do_not_matter(text):
    expected = ["stage1", "--maximum-cores", "half"]
    assert translate("go-jwst-imaging-stage-1", [text, "half"]) == expected
    assert translate("go-jwst-imaging-stage-1", [f"{text}=half"]) == expected


def test_lists_with_commas():
    assert translate(
        "go-jwst-imaging-precopy-uncal-files", ["--check-filters", "F090W, F115W"]
    ) == ["prepare", "--filter", "F090W", "--filter", "F115W"]


def test_wildcards_that_the_shell_left(tmp_path):
    for name in ("b_uncal.fits", "a_uncal.fits"):
        (tmp_path / name).touch()
    words = translate(
        "go-jwst-imaging-precopy-uncal-files", [f"{tmp_path}/*_uncal.fits"]
    )
    assert [Path(w).name for w in words[1:]] == ["a_uncal.fits", "b_uncal.fits"]


def test_what_is_not_supported_is_refused_with_a_sentence():
    with pytest.raises(click.UsageError, match="--grism is not supported: spectro"):
        translate("go-jwst-imaging-stage-1", ["--grism"])
    with pytest.raises(
        click.UsageError, match="--user-flat-dir is not supported: flats"
    ):
        translate("go-jwst-imaging-stage-2", ["--user-flat-dir", "x"])


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(click.UsageError, match="Did you mean --pixel-scale"):
        translate("go-jwst-imaging-stage-3", ["--pixelscale", "0.03"])


def test_a_value_that_is_not_there():
    with pytest.raises(click.UsageError, match="--kernel needs a value"):
        translate("go-jwst-imaging-stage-3", ["--kernel"])


@pytest.mark.parametrize("name", COMMANDS)
def test_our_side_of_the_table_exists(name):
    """Every option that the table translates to is one of our command."""
    command = COMMANDS[name]
    ours = webbmosaic.get_command(click.Context(webbmosaic), command.to[0])
    known = {text for p in ours.params for text in (*p.opts, *p.secondary_opts)}
    known.add("--help")
    to = [*command.to[1:], command.last, *command.positional]
    for option in command.options.values():
        to += option.to
        assert option.refused or option.to or not option.value
    used = {text for text in to if re.match(r"-[-\w]", text)}
    assert used <= known


def test_every_command_is_installed():
    """Each name of the table is a program that pip installs, and no other is."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    installed = set(re.findall(r'^"(go-[^"]+)" = "webbmosaic.compat:main"', text, re.M))
    assert installed == set(COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ["--login-token=SECRET"],
        ["--login_token", "SECRET"],
        ["-Login-Token=SECRET"],
        ["--login-tokn=SECRET"],
        ["--logintoken=SECRET"],
        ["--user=SECRET"],
    ],
)
def test_no_message_holds_the_value_of_an_option(words):
    for name in COMMANDS:
        with pytest.raises(click.UsageError) as refused:
            translate(name, ["1345", *words])
        assert "SECRET" not in refused.value.format_message()
        assert words[0].partition("=")[0] in refused.value.format_message()
