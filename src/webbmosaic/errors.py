"""Every way in which webbmosaic fails.

::

    WebbmosaicError                 a sentence for the user; never a traceback
    |-- UsageError                  the command or a setting was not understood
    |-- NothingToDo                 skipped: this step has no work here
    |-- UnusableDataError           the exposure cannot give a product (no human needed)
    |-- InputError                  a file is missing, truncated, empty or foreign
    |-- ReferenceFileError          a CRDS reference or context is missing or changed
    |-- AlignmentError              exposures could not be aligned within the limits
    |-- OutlierError                too much of an exposure differs from the others
    |-- PipelineError               a step of the jwst pipeline failed
    |-- ArchiveError                an archive did not give what was asked of it
    |   `-- AuthorizationError      ... because it wants a (better) token
    `-- StorageError                the disk is full or cannot be written

Each message names the dataset, file or option, says what is wrong, and what to try.
``NothingToDo`` ends a task as *skipped*, ``UnusableDataError`` as *unusable*, every
other as *failed*; a task that needs a failed one is *blocked*.
"""


class WebbmosaicError(Exception):
    """
    Something a user can understand and act on went wrong.

    As text it holds no character that could steer a terminal, whatever a server, a
    file or its name has put into the sentence.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """
    Take out of a text what is no letter, sign, blank or end of a line.

    Parameters
    ----------
    text : str
        Perhaps of others.

    Returns
    -------
    text : str
    """
    kept = (c if c.isprintable() or c in "\n\t" else " " * c.isspace() for c in text)
    return "".join(kept)


class UsageError(WebbmosaicError):
    """The command, an option or a setting was not understood."""


class NothingToDo(WebbmosaicError):  # noqa: N818 - it is an ending, not an error
    """There is nothing to do here, knowingly: the task ends as *skipped*."""


class UnusableDataError(WebbmosaicError):
    """The data cannot give a product, whatever anybody does."""


class InputError(WebbmosaicError):
    """A file is missing, truncated, empty or not what it should be."""


class ReferenceFileError(WebbmosaicError):
    """A CRDS context or reference file is missing, or not the one locked."""


class AlignmentError(WebbmosaicError):
    """Exposures could not be aligned within the limits set."""


class OutlierError(WebbmosaicError):
    """More of an exposure differs from the others than is allowed."""


class PipelineError(WebbmosaicError):
    """A step of the jwst pipeline raised."""


class ArchiveError(WebbmosaicError):
    """An archive did not give what was asked of it."""


class AuthorizationError(ArchiveError):
    """The archive wants a token, or a better one."""


class StorageError(WebbmosaicError):
    """The disk is full or cannot be written."""
