"""Exposures are put in order by their headers."""

import pytest

from webbmosaic.errors import InputError
from webbmosaic.files.timeline import earlier_exposures, exposure_span, pointings


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
