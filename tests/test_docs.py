"""The documentation cannot drift: commands, settings and links are checked."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from webbmosaic.cli.root import webbmosaic
from webbmosaic.compat import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def all_commands(group, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


EVERY = dict(all_commands(webbmosaic))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_and_option_has_help(path):
    command = EVERY[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{parameter.name} of {' '.join(path)}"


def test_generated_pages_are_up_to_date():
    script = ROOT / "scripts" / "make_docs.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_pages_exist(page):
    for name in re.findall(
        r"^\s*(?:\$ )?webbmosaic ([a-z][\w-]*)", page.read_text(), re.M
    ):
        assert (name,) in EVERY, name
    for name in re.findall(r"\bgo-jwst-imaging-[\w.-]+\w", page.read_text()):
        if page.name not in ("coming-from-crab.md",):
            assert name in COMMANDS, name


def test_every_change_is_noted():
    assert len((ROOT / "CHANGES.md").read_text().splitlines()) > 10
