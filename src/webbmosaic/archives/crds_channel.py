"""The way on which crds asks its server: ours, which is checked and has time limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from webbmosaic.archives.answers import no_answer
from webbmosaic.archives.reading import parse_json
from webbmosaic.archives.references import environment
from webbmosaic.archives.threads import within
from webbmosaic.archives.transport import PATIENCE, Archive, Tell
from webbmosaic.errors import ArchiveError

if TYPE_CHECKING:
    import requests

__all__ = ["talking_to"]

_NUMBER = count(1)


@contextmanager
def talking_to(
    url: str, retries: int, tell: Tell = lambda _sentence: None
) -> Iterator[None]:
    """
    Let crds speak to one server, quietly and through our channel.

    Parameters
    ----------
    url : str
        The server.
    retries : int
        How often a question is repeated.
    tell : callable, optional
        Takes sentences for the user.
    """
    from crds.client import api
    from crds.core import log

    ours = {
        "CRDS_SERVER_URL": url,
        "CRDS_OBSERVATORY": "jwst",
        **dict.fromkeys(("CRDS_READONLY_CACHE", "CRDS_MODE", "CRDS_CONTEXT")),
        "CRDS_CONFIG_URI": "none",  # an address that crds would ask unchecked
    }
    verbosity = log.set_verbose(-3)
    api.set_crds_server(url)
    archive = Archive(url, tell=tell)
    api.S = _Channel(archive, archive.session(retries=retries))
    try:
        with environment(ours):
            yield
    finally:
        log.set_verbose(verbosity)


class _Channel:
    """Asks a CRDS server; stands where crds has a client of its own (JSON-RPC 1.0)."""

    def __init__(self, archive: Archive, session: requests.Session) -> None:
        self._archive = archive
        self._session = session

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return partial(self._ask, method)

    def _ask(self, method: str, *parameters: object) -> Any:
        import requests
        from crds.client.proxy import crds_decode
        from crds.core.exceptions import ServiceError

        number = f"webbmosaic-{next(_NUMBER):08x}"
        url = f"{self._archive.url}/json/{method}/{number}/"
        question = {"jsonrpc": "1.0", "method": method, "id": number}
        body = json.dumps({**question, "params": parameters})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}  # as crds does
        post = partial(self._session.post, url, data=body, headers=headers)
        try:
            answer = within(PATIENCE, self._archive.host, post)
        except requests.RequestException as error:
            raise ArchiveError(no_answer(error)) from error
        if not answer.ok:
            msg = f"it fails at {method} (HTTP {answer.status_code})"
            raise ArchiveError(msg)
        try:
            reply = parse_json(answer.content)
            if not reply["error"]:
                return crds_decode(reply["result"])
            what = str(reply["error"]["message"])
        except (ValueError, KeyError, TypeError, EOFError, RecursionError) as error:
            msg = f"its answer to {method} is not understood"
            raise ArchiveError(msg) from error
        raise ServiceError(f"{method}: {what}")
