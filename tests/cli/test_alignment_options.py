"""Gaia is asked before any job runs, once for each field."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from webbmosaic.archives import gaia
from webbmosaic.archives.catalogs import read_catalog
from webbmosaic.cli.alignment_options import with_gaia
from webbmosaic.errors import InputError
from webbmosaic.settings import Alignment, Settings

HEADERS = [
    {"RA_REF": 150.0, "DEC_REF": 2.0, "SUBSIZE1": 2048, "INSTRUME": "NIRCAM"},
    {"RA_REF": 150.01, "DEC_REF": 2.0, "SUBSIZE1": 2048, "INSTRUME": "NIRCAM"},
    {"RA_REF": 53.1, "DEC_REF": -27.8, "SUBSIZE1": 160, "INSTRUME": "MIRI"},
    {},
]


@pytest.fixture
def asked(monkeypatch):
    cones = []

    def answer(ra, dec, radius, *, epoch, folder):
        cones.append((ra, dec, radius))
        stars = {"RA": [ra, ra + 0.001], "DEC": [dec, dec], "ID": [len(cones), 99]}
        return Table({**stars, "pmra": [1.0, np.nan], "pmdec": [2.0, np.nan]})

    monkeypatch.setattr(gaia, "gaia_cone", answer)
    return cones


def test_gaia_becomes_a_file(asked, tmp_path):
    settings = Settings(alignment=Alignment(abs_refcat="gaia"))
    changed = with_gaia(settings, HEADERS, tmp_path)
    assert len(asked) == 2  # both exposures of the one field together
    assert asked[0][2] > 0.03  # degrees: a detector of 130 arcsec, its corners and more
    stars = read_catalog(tmp_path / changed.alignment.abs_refcat)
    assert len(stars) == 3
    assert float(stars.meta["epoch"]) == 2016.0
    again = with_gaia(settings, HEADERS, tmp_path)
    assert again.alignment.abs_refcat == changed.alignment.abs_refcat
    assert len(asked) == 2


def test_a_file_stays_a_file(asked, tmp_path):
    settings = Settings(alignment=Alignment(abs_refcat="mine.fits"))
    assert with_gaia(settings, HEADERS, tmp_path) is settings
    assert not asked


def test_no_star_is_said(monkeypatch, tmp_path):
    empty = Table({"RA": [0.0], "DEC": [0.0], "ID": [1]})[:0]
    monkeypatch.setattr(gaia, "gaia_cone", lambda *_a, **_k: empty)
    settings = dataclasses.replace(Settings(), alignment=Alignment(abs_refcat="gaia"))
    with pytest.raises(InputError, match="no star"):
        with_gaia(settings, HEADERS, tmp_path)
