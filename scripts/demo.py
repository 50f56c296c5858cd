"""The main job from end to end: simulate a programme, reduce it, judge it by truth.

    python scripts/demo.py demo --processes 2

Each line that starts with $ can be typed as it stands. Running it again does nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the commands one after the other, and say where to look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", default="2")
    given = parser.parse_args()
    work, cores = given.folder, given.processes
    raw = work / "raw"
    start = time.monotonic()
    run("simulate", raw, "-j", cores)
    environment = {**os.environ, **sourced(raw / "environment.sh")}
    run("prepare", raw / "mastDownload", "-C", work, env=environment)
    catalogue = ("--abs-refcat", raw / "reference_stars.ecsv")
    run("run", "-C", work, "-j", cores, *catalogue, env=environment)
    run("report", "-C", work, "--truth", raw / "truth.ecsv", "-j", cores)
    page = work / "report" / "index.html"
    print(f"\nDone in {time.monotonic() - start:.0f} s. Look at {page.resolve()}")


def run(*words: object, env: dict[str, str] | None = None) -> None:
    """Run one command, and stop where it fails."""
    arguments = [str(word) for word in words]
    print(f"\n$ webbmosaic {shlex.join(arguments)}", flush=True)
    program = [sys.executable, "-m", "webbmosaic.cli", *arguments]
    ended = subprocess.run(program, env=env, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


def sourced(path: Path) -> dict[str, str]:
    """Give the variables that a shell would have after sourcing a file."""
    print(f"\n$ . {path}", flush=True)
    text = subprocess.run(
        ["sh", "-c", f". {shlex.quote(str(path.resolve()))} && env -0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)


if __name__ == "__main__":
    main()
