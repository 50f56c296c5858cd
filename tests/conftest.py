"""A small simulated programme, for all tests."""

from __future__ import annotations

import shutil

import pytest

from commands import typed

FOUR_LONG = ("--detector", "NRCBLONG", "--filter", "F444W", "--visits", "1")


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Four dithers of one detector in a 10 arcsec subarray, and all they need."""
    folder = tmp_path_factory.mktemp("raw")
    typed("simulate", folder, *FOUR_LONG, "--dithers", 4)
    return folder


@pytest.fixture(scope="session")
def crds(raw):
    """The environment that the simulation asks for."""
    return {
        "CRDS_PATH": str(raw / "crds_cache"),
        "CRDS_CONTEXT": "jwst_0001.pmap",
        "NIRCAM_WISP_TEMPLATES": str(raw / "wisp_templates"),
    }


@pytest.fixture
def laid_out(raw, tmp_path):
    """A work folder with the raw exposures copied into it."""
    work = tmp_path / "work"
    typed("prepare", raw / "mastDownload", "-C", work, "--copy")
    return work


@pytest.fixture
def forgetful(tmp_path, raw):
    """A copy of the reference cache that a test may damage."""
    cache = tmp_path / "crds_cache"
    shutil.copytree(raw / "crds_cache", cache)
    return cache
