"""The command ``webbmosaic simulate``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

__all__ = ["simulate"]

FRAMES = ("small", "full")


class _Command(click.Command):
    """A command whose help ends with the list of effects, read when it is asked for."""

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the effects."""
        from webbmosaic.simulate.effects import EFFECTS

        formatter.write_paragraph()
        formatter.write_text("Effects: " + ", ".join(EFFECTS) + ".")


@click.command(cls=_Command)
@click.argument(
    "folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path)
)
@click.option(
    "--frames",
    type=click.Choice(FRAMES),
    default="small",
    show_default=True,
    help="Subarrays of 5 to 56 arcsec, or full frames.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Of all random numbers."
)
@click.option(
    "--no", "without", metavar="EFFECT", multiple=True, help="Leave this effect out."
)
@click.option("--only", metavar="EFFECT", multiple=True, help="Leave all others out.")
@click.option(
    "--filter", "filters", metavar="NAME", multiple=True, help="Simulate this filter."
)
@click.option(
    "--detector",
    "detectors",
    metavar="NAME",
    multiple=True,
    help="Simulate this detector.",
)
@click.option(
    "--visits",
    type=click.IntRange(1, 999),
    default=2,
    show_default=True,
    help="Visits of each observation.",
)
@click.option(
    "--dithers",
    type=click.IntRange(1, 99999),
    default=2,
    show_default=True,
    help="Dithers of each visit.",
)
@click.option(
    "--groups", "ngroups", type=click.IntRange(2, 500), help="Groups in each ramp."
)
@click.option(
    "-j",
    "--processes",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="all cores",
    metavar="N",
    help="How many detectors to simulate at once.",
)
def simulate(
    folder: Path,
    *,
    processes: int,
    without: tuple[str, ...],
    only: tuple[str, ...],
    **options: object,
) -> None:
    """Simulate raw exposures of which everything is known.

    Writes into DIR a programme of NIRCam and MIRI exposures as MAST would deliver them,
    the CRDS references they need, wisp templates, and the truth: the sky
    (truth.ecsv) and what happened to each exposure (truth_exposures.ecsv). Options
    that take a NAME or EFFECT can be given several times. The same options give the
    same files; files that are there already are kept.

    \b
    Then:
      . DIR/environment.sh
      webbmosaic prepare DIR/mastDownload -C WORK
      webbmosaic run -C WORK --abs-refcat DIR/reference_stars.ecsv
    """  # noqa: D301 - the \b is for click
    if without and only:
        msg = "give --no or --only, not both"
        raise click.UsageError(msg)
    from webbmosaic.simulate.effects import Effects
    from webbmosaic.simulate.observe import simulate as carry_out
    from webbmosaic.simulate.program import exposures, make_program

    effects = Effects.only(*only) if only else Effects().without(*without)
    chosen = {key: value for key, value in options.items() if value is not None}
    program = make_program(**chosen, effects=effects)  # type: ignore[arg-type]
    total = 1 + sum(1 for _ in exposures(program))
    with _Progress(total) as progress:
        carry_out(folder, program, jobs=processes, report=progress.tell)
    if progress.made:
        click.echo(f"made {progress.made}, kept {progress.kept} of {total} in {folder}")
    else:
        click.echo(f"nothing to do: all {total} are in {folder}")
    click.echo(f"next: source {shlex.quote(str(folder / 'environment.sh'))}")


class _Progress:
    """A bar on a terminal, a line for each thing made elsewhere."""

    def __init__(self, total: int) -> None:
        self.made, self.kept, self.total = 0, 0, total
        self._stack = ExitStack()
        self._advance: Callable[[], None] | None = None

    def __enter__(self) -> _Progress:
        if sys.stdout.isatty():
            from rich.progress import Progress

            bar = self._stack.enter_context(Progress(transient=True))
            task = bar.add_task("simulating", total=self.total)
            self._advance = lambda: bar.advance(task)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def tell(self, outcome: tuple[str, bool]) -> None:
        """Count what was made, or was there already."""
        name, there = outcome
        self.kept += there
        self.made += not there
        if self._advance is not None:
            self._advance()
        elif not there:
            click.echo(f"[{self.made + self.kept}/{self.total}] {name}")
