"""Options of the cleaning steps become settings."""

import pytest

from webbmosaic.cli.cleaning import cleaning_overrides
from webbmosaic.errors import UsageError


@pytest.mark.parametrize(
    ("given", "angles"),
    [
        (("30,-30",), [30, -30]),
        (("30", "-30"), [30, -30]),
        (("none",), []),
    ],
)
def test_angles_in_one_option_or_several(given, angles):
    assert cleaning_overrides({"angles": given}) == {"stripes": {"angles": angles}}


@pytest.mark.parametrize("given", ["30;-30", "nan", "inf", "30,", "up"])
def test_what_is_no_angle_is_refused(given):
    with pytest.raises(UsageError, match="write numbers with commas"):
        cleaning_overrides({"angles": (given,)})


def test_nothing_given_changes_nothing():
    assert cleaning_overrides({"angles": (), "mask": None}) == {}
