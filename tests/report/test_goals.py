import pytest

from webbmosaic.report.goals import GOALS, judge

FINE = {
    "flux": 0.1,
    "flux_mad": 0.5,
    "ra": 0.2,
    "dec": -0.3,
    "position_mad": 0.5,
    "galaxy_flux": -1.0,
    "galaxy_mad": 1.0,
    "sky": -0.01,
    "sky_error": 0.005,
    "stars": 30,
    "galaxies": 10,
    "snr": 300.0,
}


@pytest.mark.parametrize("key", GOALS)
def test_what_reaches_the_goal_is_good(key):
    assert judge(FINE, key, fwhm=0.1) == "good"


@pytest.mark.parametrize("key", GOALS)
def test_what_is_far_beyond_is_bad(key):
    assert judge({**FINE, key: -20.0 * GOALS[key]}, key, fwhm=0.1) == "bad"


@pytest.mark.parametrize("key", GOALS)
def test_what_was_not_measured_is_unknown(key):
    assert judge({**FINE, key: None}, key) == "unknown"


def test_few_noisy_stars_prove_nothing():
    """A median of 0.7 % from 4 stars that scatter by 2 % is no proof of a bias."""
    noisy = {**FINE, "flux": 0.7, "flux_mad": 2.0, "stars": 4, "snr": 50.0}
    assert judge(noisy, "flux") == "noise"
    assert judge(noisy, "flux_mad") == "noise"
    assert judge({**noisy, "stars": 4000}, "flux") == "bad"
    assert judge({**noisy, "snr": 500.0}, "flux_mad") == "bad"


def test_positions_are_as_good_as_the_stars_are_sharp_and_bright():
    faint = {**FINE, "position_mad": 2.0, "snr": 20.0}
    assert judge(faint, "position_mad", fwhm=0.1) == "noise"
    assert judge(faint, "position_mad", fwhm=0.02) == "bad"
