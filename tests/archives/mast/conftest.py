"""A local MAST for every test of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mast_server import Archive as Holdings
from mast_server import serving

from webbmosaic.archives.transport import Archive


@dataclass
class Mast:
    """The server's side and the client's side of one archive."""

    holdings: Holdings
    url: str

    def client(self, token: str | None = None) -> Archive:
        return Archive(self.url, token)


@pytest.fixture
def mast(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mast]:
    """Run an empty MAST on this machine, and let the commands use it."""
    holdings = Holdings()
    monkeypatch.delenv("MAST_API_TOKEN", raising=False)
    with serving(holdings) as url:
        monkeypatch.setenv("WEBBMOSAIC_MAST_URL", url)
        yield Mast(holdings, url)
