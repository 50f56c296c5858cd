"""The command ``webbmosaic simulate``."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from webbmosaic.cli.simulate import simulate
from webbmosaic.simulate.effects import EFFECTS


def run(*arguments):
    return CliRunner().invoke(simulate, [str(a) for a in arguments])


def test_help_names_every_effect():
    text = run("--help").output
    assert [name for name in EFFECTS if name not in text] == []


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from webbmosaic.cli.simulate import simulate;"
        "heavy = {'numpy', 'astropy', 'scipy', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--no", "sky", "--only", "sky"), "not both"),
        (("--frames", "huge"), "'huge' is not one of"),
        (("--dithers", 0), "0 is not in the range"),
    ],
)
def test_what_cannot_be_understood(tmp_path, arguments, sentence):
    result = run(tmp_path / "x", *arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert not (tmp_path / "x").exists()


def test_an_unknown_effect_is_refused_with_the_known_ones(tmp_path):
    code = "from webbmosaic.cli.__main__ import main; main()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "simulate",
            str(tmp_path / "x"),
            "--no",
            "gravity",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "'gravity' is not one of" in done.stderr
    assert "one_over_f" in done.stderr
    assert not (tmp_path / "x").exists()


def test_makes_and_then_keeps(tmp_path):
    options = (
        *("--detector", "nrcblong", "--visits", 1, "--dithers", 1, "--groups", 2),
        *("--only", "sky", "--seed", 3),
    )
    first = run(tmp_path / "a b", *options)
    assert first.exit_code == 0, first.output
    assert "made 2, kept 0 of 2" in first.output
    assert "source '" in first.output  # quoted
    second = run(tmp_path / "a b", *options)
    assert "nothing to do: all 2" in second.output
