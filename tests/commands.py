"""Typing commands as a user would, and finding what they made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def typed(*words, env=None, check=0):
    """Type a command as a user would; `check` is the exit status to expect."""
    done = subprocess.run(
        [sys.executable, "-m", "webbmosaic.cli", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def uncals(work: Path) -> list[Path]:
    """The raw exposures of a work folder."""
    return sorted(work.glob("jw*/uncals/*_uncal.fits"))
