"""Standard output that may be closed or full without stopping the work."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

__all__ = ["SteadyStream", "print_problem", "steady_output"]


class SteadyStream(io.TextIOBase):
    """
    A text stream that goes on when its file no longer takes what is written.

    Parameters
    ----------
    inner : file object
        What is written to.
    """

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        #: Why nothing can be written any more; empty while it can, and where only the
        #: reader has left (``| head``).
        self.problem = ""
        self._lost = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream inside."""
        return self._inner.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Of the stream inside."""
        return self._inner.errors

    @property
    def buffer(self) -> object:
        """Of the stream inside."""
        return self._inner.buffer

    def writable(self) -> bool:
        """Say yes, always."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._inner.isatty()

    def fileno(self) -> int:
        """Of the stream inside."""
        return self._inner.fileno()

    def write(self, text: str) -> int:
        """Write, unless that is no longer possible."""
        if not self._lost:
            try:
                self._inner.write(text)
                if text.endswith("\n"):
                    self._inner.flush()
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Flush, unless that is no longer possible."""
        if not self._lost:
            try:
                self._inner.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost = True
        if error.errno != errno.EPIPE:
            self.problem = error.strerror or str(error)
        # What is still in the buffer goes nowhere, and quietly.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError):
            os.dup2(nowhere, self._inner.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def steady_output() -> Iterator[SteadyStream]:
    """
    Let the work go on when standard output is closed, full, or read no more.

    Yields
    ------
    output : SteadyStream
        Standard output.
    """
    for number in (0, 1, 2):  # a closed one would become the next file that is opened
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    out, err = (stream or _nowhere() for stream in before)
    output = SteadyStream(out)
    sys.stdout, sys.stderr = output, SteadyStream(err)
    try:
        yield output
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = (
            old if old is not None else new
            for old, new in zip(before, (out, err), strict=True)
        )


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - until the end


def print_problem(problem: str) -> None:
    """Say on standard error why standard output is incomplete."""
    with contextlib.suppress(OSError):
        os.write(2, f"Error: standard output: {problem}\n".encode())
