"""Write the pages that follow from the code: docs/cli.md and docs/settings.md.

python scripts/make_docs.py          write them
python scripts/make_docs.py --check  only say whether they are up to date
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from webbmosaic.cli.root import webbmosaic
from webbmosaic.compat import COMMANDS
from webbmosaic.settings import Settings
from webbmosaic.settings_file import as_toml

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Write or check the generated pages."""
    pages = {"cli.md": cli_page(), "settings.md": settings_page()}
    stale = (
        [n for n, text in pages.items() if (DOCS / n).read_text() != text]
        if ("--check" in sys.argv)
        else []
    )
    if stale:
        print(f"{', '.join(stale)} stale: run scripts/make_docs.py")
        sys.exit(1)
    if "--check" not in sys.argv:
        for name, text in pages.items():
            (DOCS / name).write_text(text)


def cli_page() -> str:
    """Give the help of every command."""
    parts = ["# Commands\n\nGenerated from the program itself.\n"]
    for path, command in commands(webbmosaic, ("webbmosaic",)):
        parent = click.Context(click.Group(), info_name=" ".join(path[:-1]) or None)
        context = click.Context(command, info_name=path[-1], parent=parent)
        context.terminal_width = 80
        text = command.get_help(context).strip()
        parts.append(f"## {' '.join(path)}\n\n```text\n{text}\n```\n")
    parts.append("## The predecessor's names\n")
    for old, new in COMMANDS.items():
        parts.append(f"- `{old}`: `webbmosaic {new.to[0]}`")
    return "\n".join(parts) + "\n"


def commands(
    group: click.Command, path: tuple[str, ...]
) -> list[tuple[tuple[str, ...], click.Command]]:
    """List a command and all below it."""
    found = [(path, group)]
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None:
                found += commands(command, (*path, name))
    return found


def settings_page() -> str:
    """Give every setting with its default."""
    return (
        "# Settings\n\nGenerated from the program itself: `webbmosaic settings` prints"
        " the same.\nThe command line wins over `WORK/webbmosaic.toml`, and that over"
        " the default.\n\n```toml\n" + as_toml(Settings()).rstrip() + "\n```\n"
    )


if __name__ == "__main__":
    main()
