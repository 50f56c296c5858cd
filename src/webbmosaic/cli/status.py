"""``webbmosaic status``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from webbmosaic.cli.options import work_dir

__all__ = ["status"]


@click.command(epilog="Example: webbmosaic status -C ceers")
@work_dir
@click.option("-v", "--verbose", is_flag=True, help="List also what is done.")
def status(work: Path, *, verbose: bool) -> None:
    """
    What is done, what failed and why, what is left.

    Done: the product is there. Skipped and unusable: nothing to do, nobody need look.
    Failed: see the sentence. Blocked: what it needs failed. Left: not tried yet.
    Exit status 1 if something failed.
    """
    from webbmosaic.datasets import Workspace
    from webbmosaic.files.ledger import ENDINGS
    from webbmosaic.run.folder import folder_records

    counts: dict[str, Counter[str]] = {}
    sentences = []
    for stage, owner, record in folder_records(Workspace(work)):
        outcome = record.outcome if record else "left"
        counts.setdefault(stage, Counter())[outcome] += 1
        if record is not None and (record.sentence or record.notes or verbose):
            said = [record.sentence] if record.sentence else record.notes
            sentences.append(f"  {owner}  {stage} {outcome}: {'; '.join(said)}")
    for stage, outcomes in sorted(counts.items()):
        order = [o for o in (*ENDINGS, "left") if outcomes[o]]
        click.echo(f"{stage}  " + "  ".join(f"{outcomes[o]} {o}" for o in order))
    for sentence in sentences:
        click.echo(sentence.rstrip(": "))
    if any(outcomes["failed"] + outcomes["blocked"] for outcomes in counts.values()):
        sys.exit(1)
