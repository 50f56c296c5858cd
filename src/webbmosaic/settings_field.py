"""What a setting knows about itself."""

from __future__ import annotations

from dataclasses import field
from typing import Any

__all__ = ["AFFECTS", "setting"]

#: What a setting can affect. What reaches pixels decides whether a product is current;
#: ``outputs`` asks for a further file and is no reason to redo when it is withdrawn.
AFFECTS = ("pixels", "outputs", "speed", "place", "proposals")


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    choices: tuple[str, ...] = (),
    affects: str = "pixels",
    reads: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """
    Make a dataclass field that knows its meaning.

    Parameters
    ----------
    default : object
    doc : str
        One sentence for the user.
    unit : str, optional
    choices : tuple of str, optional
        All values that are allowed.
    affects : str, optional
        One of `AFFECTS`.
    reads : str, optional
        ``file`` where the value names a file that is read: it must exist, and its
        content, not its name, decides. ``folder`` likewise, for a folder.
    low, high : float, optional
        The range that is allowed, for each number.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "choices": choices,
        "affects": affects,
        "reads": reads,
        "low": low,
        "high": high,
    }
    return field(default=default, metadata=metadata)
