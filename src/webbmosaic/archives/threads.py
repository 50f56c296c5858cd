"""Threads that hold nobody up: waiting has an end, and Ctrl-C ends it at once.

They are daemons. One that waits for a silent server when the program ends is left
behind, and with it nothing that the next run could not use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from webbmosaic.errors import ArchiveError

__all__ = ["in_threads", "in_words", "within"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Settled = tuple[_Result | None, BaseException | None]


def _settled(action: Callable[[], _Result]) -> _Settled[_Result]:
    """Do something and give its result, or its error to whom it concerns."""
    try:
        return action(), None
    except BaseException as error:  # noqa: BLE001 - else it would be seen by nobody
        return None, error


def within(seconds: float, who: str, action: Callable[[], _Result]) -> _Result:
    """
    Wait for something that asks a server, but not for ever.

    Time limits of sockets count from byte to byte; a server that sends one a minute
    would be waited for all day.

    Parameters
    ----------
    seconds : float
        How long.
    who : str
        Is asked, for the message.
    action : callable
        What is done.

    Returns
    -------
    result : object
        Of the action.

    Raises
    ------
    ArchiveError
        If it has not ended by then; whatever else the action raises.
    """
    answers: SimpleQueue[_Settled[_Result]] = SimpleQueue()
    run = threading.Thread(target=lambda: answers.put(_settled(action)), daemon=True)
    run.start()
    try:
        result, error = answers.get(timeout=seconds)
    except Empty:
        msg = f"{who} did not come to an end within {in_words(seconds)}. Try: later"
        raise ArchiveError(msg) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def in_threads(
    items: Sequence[_Item], action: Callable[[_Item], _Result], threads: int
) -> Iterator[tuple[_Item, _Result | None, BaseException | None]]:
    """
    Do something with many items, several at once.

    Parameters
    ----------
    items : sequence
        What there is to do, in this order.
    action : callable
        Called with each item.
    threads : int
        How many at once.

    Yields
    ------
    item, result, error : tuple
        As they end; where there is an error there is no result.
    """
    todo: SimpleQueue[_Item] = SimpleQueue()
    ended: SimpleQueue[tuple[_Item, _Result | None, BaseException | None]]
    ended = SimpleQueue()
    for item in items:
        todo.put(item)

    def work() -> None:
        while True:
            try:
                item = todo.get_nowait()
            except Empty:
                return
            ended.put((item, *_settled(partial(action, item))))

    for number in range(min(threads, len(items))):
        threading.Thread(target=work, daemon=True, name=f"stream-{number}").start()
    for _ in items:
        yield ended.get()


def in_words(seconds: float) -> str:
    """
    Write a time for people.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    text : str

    Examples
    --------
    >>> in_words(90), in_words(7200), in_words(1e9)
    ('90 s', '120 min', '11574 days')
    """
    if seconds <= 120:
        return f"{seconds:.0f} s"
    if seconds <= 7200:
        return f"{seconds / 60:.0f} min"
    return (
        f"{seconds / 86400:.0f} days" if seconds > 172800 else f"{seconds / 3600:.0f} h"
    )
