import numpy as np
import pytest

from webbmosaic.errors import UsageError
from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.rates import RateLevels, make_rate


@pytest.fixture(scope="module")
def frame():
    return make_rate(
        None,
        Streams(2, "r"),
        subarray="SUBGRISM64",
        detector="NRCB3",
        levels=RateLevels(tilted=0.33, wisp=1.0),
    )


def test_the_frame_is_the_sum_of_its_parts(frame):
    good = frame.dq == 0
    parts = frame.truth + frame.one_over_f + frame.columns + frame.tilted + frame.wisp
    noise = (frame.data - parts)[good] / frame.err[good]
    assert noise.std() == pytest.approx(1, rel=0.01)
    assert abs(noise.mean()) < 0.02


def test_levels_are_in_units_of_the_white_noise(frame):
    assert frame.tilted.std() / frame.sigma == pytest.approx(0.33, rel=0.15)
    assert frame.columns.std() / frame.sigma == pytest.approx(0.12, rel=0.1)
    assert frame.amplitude == pytest.approx(frame.sigma)
    stripes = [
        make_rate(None, Streams(seed, "r"), subarray="SUBGRISM64", detector="NRCB3")
        for seed in range(12)
    ]
    level = np.sqrt(np.mean([(s.one_over_f / s.sigma) ** 2 for s in stripes]))
    assert level == pytest.approx(0.41, rel=0.2)


def test_bad_pixels_and_the_border_are_flagged(frame):
    assert np.isnan(frame.data).mean() == pytest.approx(3e-3, rel=0.5)
    assert (frame.dq[np.isnan(frame.data)] & 1).all()
    assert not frame.data[:4].any()
    assert (frame.dq[:4] >= 2**31).all()


def test_sources_add_their_photons_and_their_noise():
    source = np.zeros((160, 160), np.float32)
    source[80:90, 80:90] = 400.0
    streams = Streams(2, "r")
    lit = make_rate(source, streams, subarray="SUB160")
    dark = make_rate(None, streams, subarray="SUB160")
    gain = lit.setup.detector.gain
    assert lit.truth[85, 85] - dark.truth[85, 85] == pytest.approx(400 / gain)
    assert lit.err[85, 85] > 2 * dark.err[85, 85]
    np.testing.assert_array_equal(lit.data[:70], dark.data[:70])


def test_a_source_of_the_wrong_shape_is_refused():
    with pytest.raises(UsageError, match=r"source has the shape \(2, 2\)"):
        make_rate(np.zeros((2, 2), np.float32), Streams(1, "r"), subarray="SUB160")
