"""``webbmosaic status``."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webbmosaic.cli.options import work_dir

if TYPE_CHECKING:
    from webbmosaic.run.known import Known

__all__ = ["status"]

_TROUBLE = ("failed", "blocked")
#: A dataset or group at the beginning of a sentence, or a file named after one.
_NAME = re.compile(r"jw\d{5}\w*[-+\w]*")


@click.command(epilog="Example: webbmosaic status -C ceers")
@work_dir
@click.option("-v", "--verbose", is_flag=True, help="List also what is done.")
@click.option("--verify", is_flag=True, help="Hash every product, not only its size.")
def status(work: Path, *, verbose: bool, verify: bool) -> None:
    """
    What is done, what failed and why, what is left.

    Done: the product is there. Skipped and unusable: nothing to do, nobody need look.
    Failed: see the sentence. Blocked: what it needs failed. Left: not tried yet. Gone
    and changed: the product was deleted, or cut or altered, since it was made. Exit
    status 1 if something failed.
    """
    from webbmosaic.datasets import Workspace
    from webbmosaic.files.ledger import ENDINGS
    from webbmosaic.run.known import known_tasks

    workspace = Workspace(work)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    said: list[Known] = []
    overrides: Counter[tuple[str, str]] = Counter()
    for known in known_tasks(workspace, full=verify):
        counts[known.stage][known.ending] += 1
        overrides.update(
            (known.stage, f"{k} = {v}") for k, v in known.overrides.items()
        )
        if known.sentence or known.notes or (verbose and known.ending != "left"):
            said.append(known)
    for stage, endings in sorted(counts.items()):
        order = [e for e in (*ENDINGS, "gone", "changed", "left") if endings[e]]
        click.echo(f"{stage}  " + "  ".join(f"{endings[e]} {e}" for e in order))
    for (stage, change), number in overrides.items():
        click.echo(
            f"  {number} of {stage} with a setting from the command line: {change}"
        )
    for line in _sentences(said):
        click.echo(line)
    trouble = sum(endings[e] for endings in counts.values() for e in _TROUBLE)
    sys.exit(1 if trouble else 0)


def _sentences(said: list[Known]) -> list[str]:
    """Give one line for each thing to say, with those that it holds for."""
    groups: dict[tuple[str, str, str], list[Known]] = defaultdict(list)
    for known in said:
        text = known.sentence or "; ".join(known.notes)
        if known.ending == "blocked":
            text = _cause(text)
        groups[known.stage, known.ending, _NAME.sub("*", text)].append(known)
    lines = []
    for (stage, ending, _), some in groups.items():
        text = some[0].sentence or "; ".join(some[0].notes)
        if ending == "blocked":
            text = _cause(text)
        who, what = some[0].owner, "mosaics" if stage == "stage3" else "exposures"
        if some[1:]:
            who = f"{len(some)} {what} (the first: {who})"
        lines.append(f"  {who}  {stage} {ending}: {text}".rstrip(": "))
    return lines


def _cause(sentence: str) -> str:
    """Name what a task waits for; its own sentence stands there already."""
    found = re.search(r"(\w+)(?: of (\S+))? ended as (\w+)", sentence)
    if found is None:
        return sentence
    stage, owner, ending = found.groups()
    return f"because {stage}{f' of {owner}' if owner else ''} {ending}"
