"""Asking a TAP service a long question: one asynchronous job, looked at before used.

The protocol is IVOA's Table Access Protocol 1.1 (jobs as in UWS, answers as in DALI).
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from astropy.table import Table

from webbmosaic.archives.answers import no_answer
from webbmosaic.archives.threads import within
from webbmosaic.archives.transport import PATIENCE, Archive, Tell
from webbmosaic.errors import ArchiveError, printable

__all__ = ["ask"]

#: Seconds to connect, and between two bytes.
TIMEOUT = (15.0, 30.0)
#: Phases of a job that goes on (UWS 1.1, section 2.1.3).
_GOING_ON = ("PENDING", "QUEUED", "EXECUTING", "SUSPENDED", "HELD", "UNKNOWN")

#: What astropy, numpy and expat raise at what is no VOTable.
_ODD = (
    *(ValueError, LookupError, TypeError, AttributeError, OSError, EOFError),
    *(SyntaxError, ArithmeticError, RecursionError, Warning),
)


def ask(
    url: str, query: str, *, columns: Sequence[str], tell: Tell, patience: float = 0.0
) -> Table:
    """
    Run a query as a job and check the answer.

    Parameters
    ----------
    url : str
        The service; jobs are made at ``url/async``.
    query : str
        ADQL.
    columns : sequence of str
        What the answer must have.
    tell : callable
        Takes sentences for the user.
    patience : float, optional
        Seconds for all of it; by default `webbmosaic.archives.transport.PATIENCE`.

    Returns
    -------
    table : `~astropy.table.Table`
        All rows; never a part of them.

    Raises
    ------
    ArchiveError
        If the service does not answer, refuses or stops the job, cuts the answer off,
        or leaves columns out.
    """
    archive = Archive(url, tell=tell)
    session = archive.session(retries=3, timeout=TIMEOUT)

    def run() -> bytes:
        job = _start(session, archive, query)
        _wait(session, archive, job)
        return bytes(_get(session, archive, f"{job}/results/result").content)

    body = within(patience or PATIENCE, archive.host, run)
    return _checked(body, columns, archive.host)


def _start(session: requests.Session, archive: Archive, query: str) -> str:
    """Start a job and give its address, at this very service."""
    form = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable"}
    form |= {"PHASE": "RUN", "QUERY": query}
    try:
        answer = session.post(f"{archive.url}/async", data=form, allow_redirects=False)
    except (requests.RequestException, ValueError) as error:
        raise _unanswered(archive, error) from error
    name = urlsplit(answer.headers.get("Location", "")).path.rstrip("/")
    name = name.rpartition("/")[2]
    if not answer.ok or not name:
        what = f"started no job (HTTP {answer.status_code}{_words(answer.content)})"
        raise ArchiveError(f"{archive.host} {what}. Try: again later")
    return f"{archive.url}/async/{quote(name, safe='')}"


def _wait(session: requests.Session, archive: Archive, job: str) -> None:
    """Wait for the end of a job, which must be a good one."""
    pause = 0.1
    while True:
        phase = _get(session, archive, f"{job}/phase").text.strip().upper()
        if phase == "COMPLETED":
            return
        if phase not in _GOING_ON:
            break
        time.sleep(pause)
        pause = min(1.5 * pause, 5.0)
    why = ""
    if phase == "ERROR":
        try:
            why = _words(_get(session, archive, f"{job}/error").content)
        except ArchiveError:
            why = ""
    msg = f"{archive.host} ended the job with {phase[:40] or 'nothing'}{why}"
    raise ArchiveError(f"{msg}. Try: again later")


def _get(session: requests.Session, archive: Archive, url: str) -> requests.Response:
    try:
        answer = session.get(url)
    except (requests.RequestException, ValueError) as error:
        raise _unanswered(archive, error) from error
    if not answer.ok:
        status = f"(HTTP {answer.status_code}{_words(answer.content)})"
        raise ArchiveError(f"{archive.host} fails {status}. Try: again later")
    return answer


def _unanswered(archive: Archive, error: Exception) -> ArchiveError:
    advice = "Try: again later, or a catalogue of yours"
    msg = f"{archive.url} does not answer: {no_answer(error)}. {advice}"
    return ArchiveError(msg)


def _words(body: bytes) -> str:
    """Take what a service says of an error, without its mark-up, and not all of it."""
    text = re.sub(r"<[^>]*>", " ", body[:20_000].decode("utf-8", "replace"))
    text = " ".join(printable(text).split())
    return f": {text[:200]}" if text else ""


def _checked(body: bytes, columns: Sequence[str], host: str) -> Table:
    from astropy.io.votable import parse

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd units, old versions
            votable: Any = parse(BytesIO(body))
            resources = votable.resources
            infos = [i for r in resources for i in r.infos] + list(votable.infos)
            status = {str(i.value).upper() for i in infos if i.name == "QUERY_STATUS"}
            texts = [str(i.content or "") for i in infos if i.name == "QUERY_STATUS"]
            _refuse(status, texts, host)
            tables = list(votable.iter_tables())
            table = tables[0].to_table(use_names_over_ids=True) if tables else Table()
    except _ODD as error:
        msg = f"{host}'s answer is cut off or no VOTable. Try: again later"
        raise ArchiveError(msg) from error
    missing = [name for name in columns if name not in table.colnames]
    if missing:
        msg = f"{host}'s answer has no column {', '.join(missing)}. Try: again later"
        raise ArchiveError(msg)
    return table


def _refuse(status: set[str], texts: list[str], host: str) -> None:
    """Refuse what the service itself calls incomplete or wrong (DALI 1.1, 4.4)."""
    if "OVERFLOW" in status:
        msg = f"{host} gave only a part of the rows (OVERFLOW). Try: a smaller field"
        raise ArchiveError(msg)
    if "ERROR" in status:
        why = _words(" ".join(texts).encode())
        raise ArchiveError(f"{host} could not do the query{why}. Try: again later")
