"""What becomes of a request that got no answer, or one that asks for patience."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import requests
import urllib3

from webbmosaic.archives.reading import whole_number

__all__ = ["no_answer", "passes", "pause_asked"]


def pause_asked(text: str) -> float:
    """
    Read a Retry-After.

    Parameters
    ----------
    text : str
        Seconds, or a date.

    Returns
    -------
    pause : float
        Seconds; 0 where it is neither.
    """
    seconds = whole_number(text)
    if seconds is not None:
        return float(seconds)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


#: Failures that are the same the next time, and what they are called.
_LASTING = (
    (
        requests.exceptions.SSLError,
        "the certificate is not accepted. Is the clock of this machine right, or does a"
        " proxy come between? REQUESTS_CA_BUNDLE names other certificates",
    ),
    (requests.TooManyRedirects, "the archive redirects in circles"),
    (
        (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
            urllib3.exceptions.LocationParseError,
        ),
        "the archive redirects to what is no address",
    ),
    (requests.exceptions.ContentDecodingError, "the answer cannot be decompressed"),
)
_PASSING = (
    ((requests.Timeout, urllib3.exceptions.TimeoutError), "no answer came in time"),
    (requests.exceptions.ProxyError, "the proxy does not let the request through"),
    (
        (requests.ConnectionError, urllib3.exceptions.HTTPError, OSError),
        "the connection was refused or cut",
    ),
)


def passes(error: Exception) -> bool:
    """Tell whether another try may succeed where this error came."""
    return not any(isinstance(error, kinds) for kinds, _ in _LASTING)


def no_answer(error: Exception) -> str:
    """
    Say why no answer came.

    Parameters
    ----------
    error : Exception
        Of requests or urllib3.

    Returns
    -------
    reason : str
        Such as ``no answer came in time``.
    """
    known = (*_LASTING, *_PASSING)
    words = (words for kinds, words in known if isinstance(error, kinds))
    return next(words, f"the answer is not understood ({type(error).__name__})")
