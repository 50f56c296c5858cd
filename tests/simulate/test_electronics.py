import numpy as np
import pytest

from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.electronics import one_over_f, pink_level, slope_weights
from webbmosaic.simulate.geometry import aperture

STRIPE = aperture("NRCB1", "SUBGRISM64")


def draws(frame, common, output, count=6):
    generator = Streams(3, "e").of("one_over_f")
    return [
        one_over_f(frame, common=common, output=output, generator=generator)
        for _ in range(count)
    ]


def rms(frames):
    return np.sqrt(np.mean([frame.astype(float) ** 2 for frame in frames]))


@pytest.mark.parametrize("level", [0.5, 3.0])
def test_the_level_is_the_standard_deviation(level):
    assert rms(draws(STRIPE, level, 0, 20)) == pytest.approx(level, rel=0.15)


def test_power_falls_as_one_over_frequency():
    power = 0
    for frame in draws(aperture("NIS"), 1, 0, 2):
        # NIRISS reads along y: a column of the first output is a piece of the stream.
        pieces = frame.T[:, :512]
        power = power + np.mean(np.abs(np.fft.rfft(pieces, axis=1)) ** 2, axis=0)
    frequency = np.arange(8, 200)
    slope = np.polyfit(np.log(frequency), np.log(power[8:200]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


def test_common_noise_is_mirrored_in_neighbouring_outputs():
    (frame,) = draws(STRIPE, 1, 0, 1)
    outputs = frame.reshape(64, 4, 512)
    for number in (1, 2, 3):
        same = outputs[:, number, :: -1 if number % 2 else 1]
        np.testing.assert_array_equal(outputs[:, 0], same)


def test_outputs_alone_are_independent():
    (frame,) = draws(STRIPE, 0, 1, 1)
    outputs = frame.reshape(64, 4, 512)[:, [0, 2]] - frame.mean()
    fast = np.diff(outputs, axis=-1)
    assert abs(np.mean(fast[:, 0] * fast[:, 1])) < 0.05 * fast.var()


def test_rows_are_stripes():
    (frame,) = draws(STRIPE, 1, 0.3, 1)
    rows = frame.reshape(64, 4, 512)
    assert rows.mean(axis=2).std() > 5 * (rows.std() / np.sqrt(512))


def test_a_window_has_one_stream():
    (frame,) = draws(aperture("NRCB1", "SUB160"), 1, 1, 1)
    assert frame.shape == (160, 160)


def test_short_frames_have_less_of_the_slow_noise():
    full, small = aperture("NRCB1"), aperture("NRCB1", "SUB160")
    assert pink_level(small, 1.0) < pink_level(full, 1.0) < 1.0


def test_slope_weights_give_the_slope():
    weights = slope_weights(7, 20.0)
    ramp = 3.0 + 0.25 * 20.0 * np.arange(7)
    assert np.sum(weights * ramp) == pytest.approx(0.25, rel=1e-5)
