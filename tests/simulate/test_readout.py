import pytest

from webbmosaic.errors import UsageError
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.readout import readout


@pytest.mark.parametrize(
    ("detector", "subarray", "pattern", "tframe"),
    [
        ("NRCB1", "FULL", "RAPID", 10.73677),
        ("NRCB1", "SUB160", "RAPID", 0.27864),
        ("NRCBLONG", "SUB320", "SHALLOW4", 1.06904),
        ("NRCB4", "SUB640", "MEDIUM8", 4.18584),
        ("NRCB1", "SUB400P", "BRIGHT1", 1.65624),
        ("NRCB1", "SUBGRISM64", "RAPID", 0.34061),
        ("MIRIMAGE", "FULL", "FASTR1", 2.77504),
        ("MIRIMAGE", "FULL", "SLOWR1", 23.88992),
        ("MIRIMAGE", "BRIGHTSKY", "FASTR1", 0.86528),
        ("NIS", "FULL", "NISRAPID", 10.73677),
    ],
)
def test_a_frame_takes_as_long_as_jdox_says(detector, subarray, pattern, tframe):
    plan = readout(aperture(detector, subarray), pattern, 5)
    assert plan.tframe == pytest.approx(tframe, abs=2e-5)


def test_a_group_is_its_frames_and_the_gap():
    plan = readout(aperture("NRCB1"), "SHALLOW4", 9)
    assert (plan.nframes, plan.groupgap) == (4, 1)
    assert plan.tgroup == pytest.approx(5 * plan.tframe)
    assert plan.group_times[0] == pytest.approx(2.5 * plan.tframe)
    assert plan.group_times[8] - plan.group_times[0] == pytest.approx(8 * plan.tgroup)
    assert plan.integration_time == pytest.approx(44 * plan.tframe)


def test_exposure_time_counts_the_integrations():
    plan = readout(aperture("MIRIMAGE"), "FASTR1", 10, nints=3)
    assert plan.exposure_time == pytest.approx(30 * 2.77504)


def test_an_unknown_pattern_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="no pattern 'FASTR1'; it has RAPID"):
        readout(aperture("NRCB1"), "FASTR1", 5)


def test_an_exposure_needs_groups():
    with pytest.raises(UsageError, match="needs groups"):
        readout(aperture("NRCB1"), "RAPID", 0)
