"""Everything a task says goes into its log, and nothing of it to the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["capture"]

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextlib.contextmanager
def capture(log: Path) -> Iterator[None]:
    """
    Send logging, warnings and all that is printed into one file.

    Parameters
    ----------
    log : `~pathlib.Path`
        Written anew.

    Notes
    -----
    The file descriptors 1 and 2 are turned too, because C libraries and crds print past
    Python's logging. An exception is written to the log with its traceback and goes on.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8", buffering=1) as stream,
        _redirected(stream.fileno()),
    ):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(_FORMAT))
        root = logging.getLogger()
        level, handlers = root.level, root.handlers[:]
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        logging.captureWarnings(capture=True)
        try:
            yield
        except BaseException:
            root.exception("stopped here")
            raise
        finally:
            logging.captureWarnings(capture=False)
            root.handlers[:] = handlers
            root.setLevel(level)


@contextlib.contextmanager
def _redirected(target: int) -> Iterator[None]:
    """Point standard output and error of the process at another file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
