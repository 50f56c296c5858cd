"""The root of the command line: commands are found by name and imported when used."""

from __future__ import annotations

import importlib
import sys

import click

from webbmosaic import __version__
from webbmosaic.cli.output import print_problem, steady_output
from webbmosaic.errors import UsageError, WebbmosaicError

__all__ = ["main", "webbmosaic"]

#: Heading -> {command: where it is}. Only the one used is imported.
_COMMANDS = {
    "Get data": {
        "query": "archive:query",
        "download": "archive:download",
        "stage0": "stage0:stage0",
        "prepare": "prepare:prepare",
        "references": "references:references",
        "refcat": "references:refcat",
        "simulate": "simulate:simulate",
    },
    "Reduce": {
        "stage1": "reduce:stage1",
        "stage2": "reduce:stage2",
        "stage3": "reduce:stage3",
        "run": "reduce:run",
        "mosaic": "mosaic:mosaic",
        "step": "step:step",
        "masks": "masks:masks",
        "wisp-template": "wisp_template:wisp_template",
    },
    "Look": {
        "status": "status:status",
        "report": "report:report",
        "quicklook": "report:quicklook",
    },
    "Keep": {
        "settings": "settings:settings",
    },
}
_HELP = {
    "query": "List the exposures MAST holds for a program, field or name.",
    "download": "Fetch raw ramps from MAST.",
    "stage0": "Download, lay out, fetch references and plan, in one command.",
    "prepare": "Lay out raw ramps in a work folder.",
    "references": "Find, fetch, lock and check the CRDS reference files.",
    "refcat": "Catalogues for absolute astrometry.",
    "simulate": "Make raw exposures with a known truth, and their references.",
    "stage1": "Raw ramps to clean count-rate images (uncal to rate).",
    "stage2": "Count rates to calibrated images (rate to cal).",
    "stage3": "Calibrated images to mosaics (cal to i2d).",
    "run": "All stages in order, for all that is in the folder.",
    "plan": "The list of tasks: what is current, what is to be done, and why.",
    "mosaic": "One mosaic of any calibrated images.",
    "step": "One cleaning step on one file.",
    "masks": "Propose, accept and transfer masks of claws and bad areas.",
    "wisp-template": "Make wisp templates from your own exposures.",
    "status": "What is done, what failed and why, what is left.",
    "ledger": "Check every product against the record of how it was made.",
    "retry": "Submit again what failed or was lost.",
    "cancel": "Cancel the jobs of a work folder.",
    "task": "Run one task of a plan; what job scripts call.",
    "clean": "Remove intermediate and superseded files.",
    "report": "One HTML page to judge the reduction by.",
    "quicklook": "A PNG of each image.",
    "settings": "Show, check or write the settings.",
}
_WHERE = {name: where for part in _COMMANDS.values() for name, where in part.items()}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_WHERE)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in _WHERE:
            return None
        module, _, name = _WHERE[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"webbmosaic.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        for heading, commands in _COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, _HELP[name]) for name in commands])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
    epilog="Start here: webbmosaic simulate demo && . demo/environment.sh &&"
    " webbmosaic prepare demo/mastDownload -C work && webbmosaic run -C work",
)
@click.version_option(__version__, prog_name="webbmosaic")
def webbmosaic() -> None:
    """
    Reduce JWST imaging, from raw ramps to mosaics.

    Each exposure, such as jw01345002001_14201_00001_nrcb4, has its own folder in the
    work folder. Every command can be stopped and run again: what is already done with
    the same inputs and settings is left alone.
    """


def main(arguments: list[str] | None = None) -> None:
    """
    Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process by default.

    Notes
    -----
    Exit status 0: all good; 1: some exposure or file failed; 2: the command was not
    understood; 130: stopped by Ctrl-C.
    """
    with steady_output() as output:
        status = _status_of(arguments)
        output.flush()
    if output.problem:
        print_problem(output.problem)
        status = status or 1
    sys.exit(status)


def _status_of(arguments: list[str] | None) -> int:
    """Run a command and give its exit status; every error ends in a sentence."""
    try:
        # Not standalone: click would take any broken pipe for a closed terminal.
        done = webbmosaic.main(
            args=arguments, prog_name="webbmosaic", standalone_mode=False
        )
        return done if isinstance(done, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        return 130
    except SystemExit as ended:
        return (
            ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        )
    except UsageError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    except WebbmosaicError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        why = error.strerror or type(error).__name__
        click.echo(f"Error: {error.filename}: {why}", err=True)
        return 1
