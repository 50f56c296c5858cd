"""Reading what others wrote: JSON and whole numbers of any making."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["parse_json", "whole_number"]

#: Longer numbers of bytes, rows or seconds are no such numbers.
_DIGITS = re.compile(r"[0-9]{1,18}")


def parse_json(text: str | bytes) -> Any:
    """
    Parse JSON, however deep it is nested.

    Parameters
    ----------
    text : str or bytes
        Perhaps JSON.

    Returns
    -------
    value : object

    Raises
    ------
    ValueError
        If it is none, not UTF-8, or nested too deep to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        msg = "it is nested too deep"
        raise ValueError(msg) from error


def whole_number(value: object) -> int | None:
    """
    Read a number of bytes, rows or seconds.

    Parameters
    ----------
    value : object
        A number, or a text of the digits 0 to 9.

    Returns
    -------
    number : int or None
        None where it is no whole number that makes sense.

    Examples
    --------
    >>> whole_number("12000"), whole_number(12000.0), whole_number("²")
    (12000, 12000, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return value if 0 <= value < 10**18 else None
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if _DIGITS.fullmatch(text) else None
