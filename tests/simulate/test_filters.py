import numpy as np
import pytest

from webbmosaic.datasets import effective_filter
from webbmosaic.errors import UsageError
from webbmosaic.simulate.filters import (
    electrons_per_mjy,
    filter_facts,
    filters,
    nominal_pixel_area,
)
from webbmosaic.simulate.instruments import detector_facts

DETECTORS = ("NRCA3", "NRCB1", "NRCALONG", "NRCBLONG", "MIRIMAGE", "NIS")


@pytest.mark.parametrize("detector", DETECTORS)
def test_keywords_name_the_filter(detector):
    for name in filters(detector):
        facts = filter_facts(detector, name)
        assert effective_filter(facts.filter, facts.pupil) == name


@pytest.mark.parametrize("detector", DETECTORS)
def test_facts_are_sane(detector):
    for name in filters(detector):
        facts = filter_facts(detector, name)
        assert 0.5 < facts.pivot < 26
        assert 0 < facts.width < facts.pivot
        assert 0.1 < facts.sky < 1000
        assert 0.1 < facts.photmjsr < 60
    well = detector_facts(detector)
    assert well.bias + well.full_well / well.gain < 65_535


@pytest.mark.parametrize(
    ("detector", "steradian"), [("NRCB1", 2.23e-14), ("NRCBLONG", 9.24e-14)]
)
def test_the_pixel_area_agrees_with_the_published_one(detector, steradian):
    area = nominal_pixel_area(detector) * np.deg2rad(1 / 3600) ** 2
    assert area == pytest.approx(steradian, rel=0.01)


def test_a_star_gives_the_published_rate():
    # JDox, NIRCam Absolute Flux Calibration: zeropoint -6.10 - 2.5 log10(PIXAR_SR).
    zeropoint = -6.10 - 2.5 * np.log10(2.23e-14)
    flux = 3.631e-3 * 10 ** (-0.4 * zeropoint)
    rate = electrons_per_mjy("NRCB1", "F200W") * flux
    assert rate == pytest.approx(2.00 / 2.056, rel=0.02)


def test_an_unknown_filter_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="NRCB1 has no filter 'F444W'; it has F070W"):
        filter_facts("NRCB1", "F444W")


def test_an_unknown_detector_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="'NRCB9' is not one of NRCA1"):
        detector_facts("NRCB9")
