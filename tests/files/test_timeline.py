"""Exposures are put in order by their headers."""

import math

import numpy as np
import pytest

from webbmosaic.errors import InputError
from webbmosaic.files.timeline import (
    earlier_exposures,
    exposure_span,
    pointings,
    sky_shifts,
)


def test_spans_are_seconds():
    start, end = exposure_span({"EXPSTART": 60000.0, "EXPEND": 60000.01}, "a")
    assert start == 60000 * 86400
    assert end - start == pytest.approx(864)


def test_date_and_time_do_as_well():
    header = {"DATE-OBS": "2023-02-25", "TIME-OBS": "00:10:00", "EFFEXPTM": 100.0}
    start, end = exposure_span(header, "a")
    assert start == pytest.approx(60000 * 86400 + 600, abs=1e-3)
    assert end - start == pytest.approx(100)


def test_a_header_without_a_time_is_named():
    with pytest.raises(InputError, match="a_rate"):
        exposure_span({}, "a_rate.fits")


def test_only_what_ended_before_and_lately_counts():
    spans = {"d": (500, 600), "a": (0, 100), "b": (350, 450), "c": (470, 520)}
    assert earlier_exposures(spans, "d", 1000) == ["a", "b"]
    assert earlier_exposures(spans, "d", 200) == ["b"]
    assert earlier_exposures(spans, "a", 1000) == []


def test_pointings_closer_than_a_few_pixels_are_one():
    places = [(10.0, 60.0), (10.0001, 60.0), (10.00001, 60.0), (10.0, 60.0001)]
    headers = [{"RA_REF": ra, "DEC_REF": dec} for ra, dec in places]
    assert pointings(headers, apart=0.1) == [0, 1, 0, 2]
    assert pointings(headers, apart=1.0) == [0, 0, 0, 0]
    assert pointings([{"RA_REF": 359.99999}, {"RA_REF": 0.00001}]) == [0, 0]


def wcs(ra, dec, turn=0.0):
    """A WCS of 0.03 arcsec pixels, turned from north to east."""
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    scale = {"CDELT1": 0.03 / 3600, "CDELT2": 0.03 / 3600}
    matrix = {"PC1_1": -c, "PC1_2": s, "PC2_1": s, "PC2_2": c}
    return {"CRVAL1": ra, "CRVAL2": dec, **scale, **matrix}


@pytest.mark.parametrize("turn", [0.0, 40.0, 200.0])
def test_the_sky_moves_against_the_telescope(turn):
    from astropy.wcs import WCS

    headers = [wcs(0.0001, 60.0, turn), wcs(359.9998, 60.0003, turn)]
    star, places = (0.0, 60.0001), []
    for header in headers:
        known = WCS({**header, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
        places.append(np.array(known.world_to_pixel_values(*star)))
    dx, dy = places[1] - places[0]
    first, second = sky_shifts(headers, ["a", "b"])
    assert first == (0, 0)
    assert second == pytest.approx((dy, dx), abs=0.1)
    assert math.hypot(*second) > 20


def test_without_a_wcs_nobody_knows_where_it_looked():
    with pytest.raises(InputError, match=r"b.fits: the header has no CRVAL1"):
        sky_shifts([wcs(1, 2), {}], ["a.fits", "b.fits"])
